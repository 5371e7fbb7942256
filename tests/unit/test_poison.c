/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A failed write-back. The kernel says so once and marks the pages clean, so that trying again would succeed with the
 * data lost: here a second msync always succeeds, and must not be believed.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "mapping/mapping.h"
#include "unit.h"

#define PAGES 4u

static const char *path;
static size_t page;

static atomic_uint events;
static struct pm_event last_event;

static void count_event(struct pm_mapping *m, const struct pm_event *event, void *arg)
{
	(void)m;
	if (event->kind != PM_EVENT_WRITE_BACK_FAILED)
		return;
	if (atomic_fetch_add(arg ? (atomic_uint *)arg : &events, 1) == 0)
		last_event = *event;
}

static void start(const struct fake_machine *machine)
{
	page = unit_page();
	path = unit_file("file", PAGES * page);
	fake_start(machine);
	atomic_store(&events, 0);
}

static struct pm_mapping *map(void)
{
	return unit_map(path, UNIT_OPTIONS(.on_event = count_event));
}

static int call_of(int number, struct pm_mapping *m)
{
	char *at = pm_base(m);
	switch (number) {
	case 0:
		return pm_flush(m, at, 1);
	case 1:
		return pm_drain(m);
	case 2:
		return pm_persist(m, at, 1);
	case 3:
		return pm_deep_persist(m, at, 1);
	case 4:
		return pm_sync(m);
	case 5:
		return pm_memcpy(m, at, "x", 1, 0);
	case 6:
		return pm_memset(m, at, 0, 1, PM_NOFLUSH);
	default:
		return pm_memmove(m, at, at + 1, 1, PM_NODRAIN);
	}
}
#define CALLS 8

static void check_poisoned(struct pm_mapping *m, int error)
{
	char before = *(char *)pm_base(m);
	unsigned calls = fake_syscalls();
	for (int i = 0; i < CALLS; i++) {
		ck_assert_int_eq(call_of(i, m), error);
		ck_assert_ptr_nonnull(strstr(pm_error_detail(), path));
		ck_assert_ptr_nonnull(strstr(pm_error_detail(), "pm_clear_error"));
	}
	ck_assert_uint_eq(fake_syscalls(), calls);
	ck_assert_int_eq(*(char *)pm_base(m), before);
	ck_assert_int_eq(unit_query(m)->error, error);
}

static void check_whole(struct pm_mapping *m)
{
	for (int i = 0; i < CALLS; i++)
		ck_assert_int_eq(call_of(i, m), 0);
	ck_assert_int_eq(unit_query(m)->error, 0);
}

static const int causes[] = {EIO, ENOSPC, EDQUOT, EROFS};

/* Whatever call meets the error. */
START_TEST(an_error_stays)
{
	start(&fake_plain);
	struct pm_mapping *m = map();
	unit_ok(pm_flush(m, pm_base(m), 1));
	fake_fail(FAKE_msync, 1, causes[_i / CALLS]);
	int rc = call_of(_i % CALLS, m);
	if (rc == 0)
		rc = pm_drain(m);
	ck_assert_int_eq(rc, -causes[_i / CALLS]);
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	check_poisoned(m, rc);
	check_poisoned(m, rc);
	/* What helps is said, where something does. */
	ck_assert_int_eq(strstr(pm_error_detail(), "; free space on") != NULL, rc == -ENOSPC);
	ck_assert_ptr_null(strstr(pm_error_detail(), "ask for less")); /* nothing was asked for */
	ck_assert_int_eq(strstr(pm_error_detail(), "; raise the quota") != NULL, rc == -EDQUOT);
	ck_assert_int_eq(pm_unmap(m), rc);
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}
END_TEST

START_TEST(unmapping_returns_what_its_own_drain_met)
{
	start(&fake_plain);
	struct pm_mapping *m = map();
	unit_ok(pm_flush(m, pm_base(m), 1));
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_unmap(m), -EIO);
	ck_assert_uint_eq(atomic_load(&events), 1);
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}
END_TEST

/* The kernel's error is about the file, whatever its name and whatever the mapping. */
START_TEST(every_mapping_of_the_file_is_suspect)
{
	start(&fake_plain);
	ck_assert_int_eq(link(path, unit_path("other name")), 0);
	struct pm_mapping *m = map(), *same = map(), *named = unit_map(unit_path("other name"), NULL);
	struct pm_mapping *reader = unit_map(path, UNIT_OPTIONS(.flags = PM_READ_ONLY));
	struct pm_mapping *other = unit_map(unit_file("other", page), NULL);
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -EIO);
	check_poisoned(m, -EIO);
	check_poisoned(same, -EIO);
	ck_assert_int_eq(pm_drain(named), -EIO);
	ck_assert_int_eq(pm_drain(reader), -EIO);
	check_whole(other);
	struct pm_mapping *later = map();
	check_poisoned(later, -EIO);
	ck_assert_int_eq(pm_unmap(m), -EIO);
	ck_assert_int_eq(pm_unmap(same), -EIO);
	ck_assert_int_eq(pm_unmap(named), -EIO);
	ck_assert_int_eq(pm_unmap(reader), -EIO);
	struct pm_mapping *last = map();
	check_poisoned(last, -EIO);
	ck_assert_int_eq(pm_unmap(later), -EIO);
	ck_assert_int_eq(pm_unmap(last), -EIO);
	/* No mapping is left that remembers. */
	struct pm_mapping *fresh = map();
	check_whole(fresh);
	unit_ok(pm_unmap(fresh));
	unit_ok(pm_unmap(other));
}
END_TEST

START_TEST(each_mapping_hears_of_it_once)
{
	atomic_uint heard[2] = {0, 0};
	struct pm_mapping *m[2];
	start(&fake_plain);
	for (int i = 0; i < 2; i++)
		m[i] = unit_map(path, UNIT_OPTIONS(.offset = page, .length = page, .on_event = count_event,
		                                   .event_arg = &heard[i]));
	fake_fail(FAKE_msync, 1, ENOSPC);
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < 2; i++)
			ck_assert_int_eq(pm_persist(m[i], pm_base(m[i]), 1), -ENOSPC);
	ck_assert_uint_eq(heard[0], 1);
	ck_assert_uint_eq(heard[1], 1);
	ck_assert_uint_eq(last_event.size, sizeof(last_event));
	ck_assert_int_eq(last_event.reason, PM_REASON_WRITE_BACK_FAILED);
	ck_assert_int_eq(last_event.error, -ENOSPC);
	ck_assert_uint_eq(last_event.offset, page);
	ck_assert_uint_eq(last_event.length, page);
	ck_assert_int_eq(last_event.old_granularity, PM_PAGE);
	ck_assert_int_eq(last_event.new_granularity, PM_PAGE);
	/* Cleared, it may fail anew, and that is news again. */
	unit_ok(pm_clear_error(m[0]));
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_persist(m[0], pm_base(m[0]), 1), -EIO);
	ck_assert_uint_eq(heard[0], 2);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pm_unmap(m[i]), -EIO);
}
END_TEST

START_TEST(clearing_writes_everything_and_ends_the_poison)
{
	start(&fake_plain);
	struct pm_mapping *m = map(), *other = map();
	char *base = pm_base(m), before[PAGES];
	unit_ok(pm_clear_error(m));
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_persist(m, base, 1), -EIO);
	for (size_t i = 0; i < PAGES; i++)
		before[i] = base[i * page];
	fake_forget();
	unit_ok(pm_clear_error(m));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	ck_assert_uint_ge(fake_calls(FAKE_madvise), 1);
	ck_assert_uint_eq(fake_find(FAKE_msync, 0)->address, (uintptr_t)base);
	ck_assert_uint_eq(fake_find(FAKE_msync, 0)->length, PAGES * page);
	for (size_t i = 0; i < PAGES; i++)
		ck_assert_int_eq(base[i * page], before[i]);
	check_whole(m);
	/* The other one's stores are its own affair. */
	check_poisoned(other, -EIO);
	unit_ok(pm_clear_error(other));
	check_whole(other);
	unit_ok(pm_unmap(m));
	unit_ok(pm_unmap(other));
}
END_TEST

START_TEST(clearing_in_vain_leaves_the_poison)
{
	start(&fake_plain);
	struct pm_mapping *m = map();
	fake_fail(FAKE_msync, 0, EIO);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -EIO);
	ck_assert_int_eq(pm_clear_error(m), -EIO);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "pm_clear_error"));
	fake_fail(FAKE_msync, 0, 0);
	check_poisoned(m, -EIO);
	unit_ok(pm_clear_error(m));
	check_whole(m);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Clearing writes back, too: if that fails, it is a failed write-back of the file like any other. */
START_TEST(clearing_in_vain_poisons_the_others)
{
	start(&fake_plain);
	struct pm_mapping *m = map(), *other = map();
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -EIO);
	unit_ok(pm_clear_error(other));
	check_whole(other);
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_clear_error(m), -EIO);
	check_poisoned(other, -EIO);
	ck_assert_int_eq(pm_unmap(m), -EIO);
	ck_assert_int_eq(pm_unmap(other), -EIO);
}
END_TEST

static struct pm_mapping *beside;

/* Another mapping of the file meets a failure while the first writes everything back. */
static void fail_beside(enum fake_call c)
{
	if (c != FAKE_msync)
		return;
	counting.hook = NULL;
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_persist(beside, pm_base(beside), 1), -EIO);
}

/* The kernel may have told the other one of what the first stored. */
START_TEST(a_failure_beside_the_clearing_stays)
{
	start(&fake_plain);
	struct pm_mapping *m = map();
	beside = map();
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -EIO);
	unit_ok(pm_clear_error(beside));
	counting.hook = fail_beside;
	pm_clear_error(m);
	ck_assert_ptr_null(counting.hook);
	check_poisoned(m, -EIO);
	unit_ok(pm_clear_error(m));
	check_whole(m);
	check_poisoned(beside, -EIO);
	unit_ok(pm_unmap(m));
	ck_assert_int_eq(pm_unmap(beside), -EIO);
}
END_TEST

START_TEST(a_reader_cannot_clear)
{
	start(&fake_plain);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_READ_ONLY));
	fake_fail(FAKE_fdatasync, 1, EIO);
	ck_assert_int_eq(pm_sync(m), -EIO);
	ck_assert_int_eq(pm_clear_error(m), -EACCES);
	ck_assert_int_eq(pm_drain(m), -EIO);
	ck_assert_int_eq(pm_unmap(m), -EIO);
}
END_TEST

/* Made read-only under its open files: msync goes on returning 0, and ext4 writes nothing. */
START_TEST(success_on_a_read_only_file_system_is_not_believed)
{
	static const int answers[] = {0, ENOSYS /* Linux before 5.8 */, EACCES /* the mode of the file has changed */};
	start(&fake_plain);
	fake_fail(FAKE_faccessat2_write, 0, answers[_i / CALLS]);
	struct pm_mapping *m = map(), *other = map();
	unit_ok(pm_flush(m, pm_base(m), 1));
	fake.machine.is_read_only = true;
	int rc = call_of(_i % CALLS, m);
	ck_assert_int_eq(rc ? rc : pm_drain(m), -EROFS);
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	check_poisoned(m, -EROFS);
	check_poisoned(other, -EROFS);
	ck_assert_uint_eq(atomic_load(&events), 2);
	ck_assert_int_eq(pm_clear_error(m), -EROFS);
	/* Writable again, what was skipped has still to be written. */
	fake.machine.is_read_only = false;
	check_poisoned(m, -EROFS);
	unit_ok(pm_clear_error(m));
	check_whole(m);
	ck_assert_int_eq(pm_unmap(other), -EROFS);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Nor is what cannot be checked. */
START_TEST(success_that_cannot_be_checked_is_not_believed)
{
	start(&fake_plain);
	struct pm_mapping *m = map();
	fake_fail(FAKE_faccessat2_write, 0, ENOSYS);
	unit_ok(pm_persist(m, pm_base(m), 1));
	fake_fail(FAKE_fstatfs, 1, ESTALE);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -ESTALE);
	check_poisoned(m, -ESTALE);
	ck_assert_int_eq(pm_unmap(m), -ESTALE);
}
END_TEST

/* Creating and growing are synced as well. */
START_TEST(a_file_is_not_grown_on_a_read_only_file_system)
{
	start(&fake_plain);
	struct pm_mapping *m, *grown = NULL;
	fake.machine.is_read_only = true;
	struct pm_options *o = UNIT_OPTIONS(.flags = PM_CREATE, .length = (PAGES + 1) * page);
	ck_assert_int_eq(pm_map(path, o, &grown), -EROFS);
	ck_assert_int_eq(pm_map(unit_path("new"), o, &grown), -EROFS);
	ck_assert(!unit_exists(unit_path("new")));
	ck_assert_uint_eq(unit_size_of(path), PAGES * page);
	m = map();
	ck_assert_int_eq(pm_resize(m, (PAGES + 1) * page), -EROFS);
	ck_assert_uint_eq(unit_size_of(path), PAGES * page);
	check_poisoned(m, -EROFS);
	ck_assert_int_eq(pm_unmap(m), -EROFS);
}
END_TEST

/* A reader may well map a file of a read-only file system. The node of a device may lie on one. */
START_TEST(where_read_only_means_nothing)
{
	start(&fake_plain);
	fake.machine.is_read_only = true;
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_READ_ONLY));
	unit_ok(pm_persist(m, pm_base(m), 1));
	unit_ok(pm_unmap(m));
	start(&fake_block_device);
	m = map();
	unit_ok(pm_persist(m, pm_base(m), 1));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Lines cannot fail; the way into the medium can. */
START_TEST(a_direct_mapping_can_be_poisoned_by_its_deep_flush)
{
	start(&fake_dax);
	struct pm_mapping *m = map();
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_deep_persist(m, pm_base(m), 1), -EIO);
	check_poisoned(m, -EIO);
	fake.recovers = true;
	unit_ok(pm_clear_error(m));
	check_whole(m);
	unit_ok(pm_unmap(m));
}
END_TEST

/* The lines are where a persist brings them: that the way further failed says nothing of the data. */
START_TEST(a_device_is_not_poisoned_by_its_deep_flush)
{
	start(&fake_device_dax);
	path = unit_file("file", PAGES * 2 * page);
	struct pm_mapping *m = map();
	fake_fail(FAKE_write, 0, EIO);
	ck_assert_int_eq(pm_deep_persist(m, pm_base(m), 1), -EIO);
	unit_ok(pm_drain(m));
	fake_fail(FAKE_write, 0, 0);
	check_whole(m);
	unit_ok(pm_deep_persist(m, pm_base(m), 1));
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(the_report_says_so_in_words)
{
	char text[1024];
	start(&fake_plain);
	struct pm_mapping *m = map();
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_sync(m), -EIO);
	ck_assert_int_gt(pm_explain(unit_query(m), text, sizeof(text)), 0);
	ck_assert_ptr_nonnull(strstr(text, "poisoned"));
	ck_assert_ptr_nonnull(strstr(text, "pm_clear_error"));
	ck_assert_int_eq(pm_unmap(m), -EIO);
}
END_TEST

/* Order of the reasons: nothing helps while the file system is not there. */
START_TEST(only_a_file_system_that_is_gone_is_worse)
{
	bool is_gone = _i & 1;
	start(_i & 2 ? &fake_dax : &fake_plain);
	struct pm_mapping *m = map();
	fake_fail(FAKE_msync, 1, EIO);
	pm_flush(m, pm_base(m), 8);
	ck_assert_int_eq(pm_granularity_of(m) == PM_PAGE ? pm_drain(m) : pm_deep_persist(m, pm_base(m), 8), -EIO);
	fake.machine.is_gone = is_gone;
	fake.machine.statx_errno = is_gone ? 0 : EIO;
	const struct pm_report *r = unit_query(m);
	ck_assert_int_eq(r->reason, is_gone ? PM_REASON_DEVICE_GONE : PM_REASON_SHUT_DOWN);
	ck_assert(r->advice == PM_ADVICE_REMOUNT && r->error == -EIO);
	pm_unmap(m);
}
END_TEST

/* ---- Threads that share the write-back share its failure ---- */

#define THREADS 8

static struct pm_mapping *shared;
static pthread_barrier_t together;

static void *drain_together(void *arg)
{
	int rc = pm_flush(shared, arg, 1);
	pthread_barrier_wait(&together);
	return (void *)(intptr_t)(rc ? rc : pm_drain(shared));
}

START_TEST(threads_that_share_a_failure_report_it_once)
{
	start(&fake_plain);
	counting.recording = false;
	shared = map();
	for (unsigned round = 0; round < 200; round++) {
		pthread_t thread[THREADS];
		pthread_barrier_init(&together, NULL, THREADS);
		atomic_store(&events, 0);
		fake_fail(FAKE_msync, 0, EIO);
		for (int i = 0; i < THREADS; i++)
			ck_assert_int_eq(pthread_create(&thread[i], NULL, drain_together, pm_base(shared)), 0);
		for (int i = 0; i < THREADS; i++) {
			void *rc;
			pthread_join(thread[i], &rc);
			ck_assert_int_eq((intptr_t)rc, -EIO);
		}
		ck_assert_uint_eq(atomic_load(&events), 1);
		pthread_barrier_destroy(&together);
		fake_fail(FAKE_msync, 0, 0);
		unit_ok(pm_clear_error(shared));
	}
	unit_ok(pm_unmap(shared));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("poison");
	tcase_add_loop_test(c, an_error_stays, 0, (int)COUNT(causes) * CALLS);
	tcase_add_test(c, unmapping_returns_what_its_own_drain_met);
	tcase_add_test(c, every_mapping_of_the_file_is_suspect);
	tcase_add_test(c, each_mapping_hears_of_it_once);
	tcase_add_test(c, clearing_writes_everything_and_ends_the_poison);
	tcase_add_test(c, clearing_in_vain_leaves_the_poison);
	tcase_add_test(c, clearing_in_vain_poisons_the_others);
	tcase_add_test(c, a_failure_beside_the_clearing_stays);
	tcase_add_test(c, a_reader_cannot_clear);
	tcase_add_loop_test(c, success_on_a_read_only_file_system_is_not_believed, 0, 3 * CALLS);
	tcase_add_test(c, success_that_cannot_be_checked_is_not_believed);
	tcase_add_test(c, a_file_is_not_grown_on_a_read_only_file_system);
	tcase_add_test(c, where_read_only_means_nothing);
	tcase_add_test(c, a_direct_mapping_can_be_poisoned_by_its_deep_flush);
	tcase_add_test(c, a_device_is_not_poisoned_by_its_deep_flush);
	tcase_add_test(c, the_report_says_so_in_words);
	tcase_add_loop_test(c, only_a_file_system_that_is_gone_is_worse, 0, 4);
	tcase_add_test(c, threads_that_share_a_failure_report_it_once);
	return unit_run();
}

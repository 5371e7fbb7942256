/* SPDX-License-Identifier: BSD-3-Clause */
/* What others do to the file between two of our calls, and what runs out. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "durability/leader.h"
#include "mapping/mapping.h"
#include "unit.h"

static const char *path;
static int others; /* descriptor of another process, as it were */
static struct pm_mapping *other;

/* ---- Growing and undoing ---- */

static void map_meanwhile(enum fake_call c)
{
	/* Between the creation by name and the lease, for which an open(2) would wait. */
	if (c != FAKE_lease_signal || other)
		return;
	counting.hook = NULL;
	other = unit_map(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = 100));
}

START_TEST(what_somebody_has_mapped_is_not_undone)
{
	struct pm_mapping *m = NULL;
	path = unit_path("file");
	other = NULL;
	fake_start(&fake_plain);
	fake.machine.has_unnamed_files = false;
	counting.hook = map_meanwhile;
	/* Two are theirs. */
	fake_fail(FAKE_fsync, 3, EIO);
	ck_assert_int_eq(pm_map(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = 20000), &m), -EIO);
	ck_assert_ptr_nonnull(other);
	ck_assert(unit_exists(path));
	ck_assert_uint_ge(unit_size_of(path), 100);
	/* But it may have lost what that sync was to write. */
	ck_assert_int_eq(pm_memset(other, pm_base(other), 'x', 100, 0), -EIO);
	unit_ok(pm_clear_error(other));
	unit_ok(pm_memset(other, pm_base(other), 'x', 100, 0));
	unit_ok(pm_unmap(other));
}
END_TEST

static void grow_meanwhile(enum fake_call c)
{
	if (c == FAKE_fallocate || c == FAKE_ftruncate)
		ck_assert_int_eq(ftruncate(others, 1 << 20), 0);
}

static bool ends;

/* After the file was opened and looked at. */
static void cut_meanwhile(enum fake_call c)
{
	if (c != FAKE_openat || !fake_calls(FAKE_statx))
		return;
	counting.hook = NULL;
	unit_ok(pm_resize(other, unit_page()));
	if (ends)
		unit_ok(pm_unmap(other));
}

/* By another mapping of this process, which ends before this one is known to it, or lives on. */
START_TEST(what_somebody_cuts_off_is_not_mapped)
{
	path = unit_file("file", 8 * unit_page());
	ends = _i;
	fake_start(&fake_plain);
	other = unit_map(path, NULL);
	fake_forget();
	counting.hook = cut_meanwhile;
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_CREATE));
	ck_assert_ptr_null(counting.hook);
	ck_assert_uint_eq(pm_length(m), unit_page());
	unit_ok(pm_unmap(m));
	if (!ends)
		unit_ok(pm_unmap(other));
}
END_TEST

START_TEST(growing_never_shrinks)
{
	path = unit_file("file", 10);
	fake_start(&fake_plain);
	counting.hook = grow_meanwhile;
	others = open(path, O_RDWR | O_CLOEXEC);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_CREATE | PM_SPARSE, .length = 5000));
	ck_assert_uint_eq(unit_size_of(path), 1 << 20);
	unit_ok(pm_unmap(m));
	close(others);
}
END_TEST

START_TEST(a_limit_on_files_is_an_error)
{
	struct rlimit before, limit;
	struct pm_mapping *m = NULL;
	path = unit_path("file");
	fake_start(&fake_plain);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = before;
	limit.rlim_cur = 65536;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	int rc = pm_map(path, UNIT_OPTIONS(.flags = PM_CREATE | (_i ? PM_SPARSE : 0), .length = 1 << 20), &m);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
	ck_assert_int_eq(rc, -EFBIG);
	ck_assert(!unit_exists(path));
}
END_TEST

/* proc_sys_fs(5) protected_symlinks: not by the kernel's hand, since the creation follows links itself. */
START_TEST(a_strangers_link_in_a_shared_directory)
{
	struct pm_mapping *m = NULL;
	const char *directory = unit_path("shared"), *link = unit_path("shared/link"), *target = unit_path("target");
	if (geteuid() != 0)
		return;
	ck_assert_int_eq(mkdir(directory, 0777), 0);
	ck_assert_int_eq(chmod(directory, 01777), 0);
	ck_assert_int_eq(chown(directory, 65533, 65533), 0);
	ck_assert_int_eq(symlink(target, link), 0);
	fake_start(&fake_plain);
	ck_assert_int_eq(lchown(link, 65534, 65534), 0);
	ck_assert_int_eq(pm_map(link, UNIT_OPTIONS(.flags = PM_CREATE, .length = 10), &m), -EACCES);
	ck_assert(!unit_exists(target));
	ck_assert_int_eq(lchown(link, 65533, 65533), 0);
	m = unit_map(link, UNIT_OPTIONS(.flags = PM_CREATE, .length = 10));
	ck_assert(unit_exists(target));
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- Looking ---- */

START_TEST(a_file_cut_off_inside_the_range)
{
	path = unit_file("file", 1 << 20);
	fake_start(&fake_dax);
	struct pm_mapping *m = unit_map(path, NULL);
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	ck_assert_int_eq(truncate(path, 8192), 0);
	const struct pm_report *r = unit_query(m);
	ck_assert_int_eq(r->granularity, PM_PAGE);
	ck_assert_int_eq(r->reason, PM_REASON_TRUNCATED);
	ck_assert_int_eq(r->evidence[PM_EV_IN_FILE].state, PM_NO);
	ck_assert_uint_eq(r->evidence[PM_EV_IN_FILE].value, 8192);
	ck_assert_uint_eq(r->evidence[PM_EV_ALLOCATED].value, 8192);
	ck_assert_int_eq(pm_resize(m, 1 << 20), -ERANGE);
	ck_assert_int_eq(truncate(path, 1 << 20), 0);
	/* Long again, but what was cut off fails until pm_resize(), and after it the mapping is not promoted. */
	r = unit_query(m);
	ck_assert_int_eq(r->granularity, PM_PAGE);
	ck_assert_int_eq(r->reason, PM_REASON_TRUNCATED);
	ck_assert_int_eq(r->evidence[PM_EV_IN_FILE].state, PM_NO);
	ck_assert_uint_eq(r->evidence[PM_EV_IN_FILE].value, 8192);
	char text[4096];
	pm_explain(r, text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "truncated to 8192, inside the range, and has grown since"));
	unit_ok(pm_resize(m, 1 << 20));
	r = unit_query(m);
	ck_assert_int_eq(r->granularity, PM_PAGE);
	ck_assert_int_eq(r->reason, PM_REASON_NOT_PROMOTED);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Grown again or not, the backing that keeps nothing is the reason. */
START_TEST(a_volatile_file_cut_off_inside_the_range)
{
	char text[4096];
	path = unit_file("file", 1 << 20);
	fake_start(&fake_tmpfs);
	struct pm_mapping *m = unit_map(path, NULL);
	for (off_t length = 8192; length <= 1 << 20; length <<= 7) {
		ck_assert_int_eq(truncate(path, length), 0);
		const struct pm_report *r = unit_query(m);
		ck_assert_int_eq(r->granularity, PM_NONE);
		ck_assert_int_eq(r->reason, PM_REASON_VOLATILE);
		ck_assert_int_eq(r->evidence[PM_EV_IN_FILE].state, PM_NO);
		pm_explain(r, text, sizeof(text));
		ck_assert_ptr_nonnull(strstr(text, "No store in the file is safe from a power failure"));
	}
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(shortage_says_nothing_of_the_file)
{
	struct pm_report r;
	path = unit_file("file", 1 << 20);
	fake_start(&fake_dax);
	struct pm_mapping *m = NULL;
	/* The second is the first attribute of the region. */
	fake_fail(FAKE_openat, 2, EMFILE);
	ck_assert_int_eq(pm_map(path, UNIT_OPTIONS(.sync = PM_GUARANTEE), &m), -EMFILE);
	m = unit_map(path, UNIT_OPTIONS(.sync = PM_GUARANTEE));
	fake_fail(FAKE_openat, 0, EMFILE);
	ck_assert_int_eq(pm_query(m, &r, sizeof(r)), -EMFILE);
	fake_fail(FAKE_openat, 0, 0);
	fake_fail(FAKE_mmap, 1, ENOMEM);
	ck_assert_int_eq(pm_query(m, &r, sizeof(r)), -ENOMEM);
	fake_fail(FAKE_memfd_create, 1, ENFILE);
	ck_assert_int_eq(pm_query(m, &r, sizeof(r)), -ENFILE);
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	ck_assert_int_eq(unit_query(m)->verdict, PM_VERDICT_MET);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_refused_resize_moves_nothing)
{
	static const struct fake_extent first = {.logical = 0, .length = 8192};
	path = unit_file("file", 8192);
	fake_start(&fake_dax);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.sync = PM_GUARANTEE));
	const void *base = pm_base(m);
	fake.machine.extents = &first;
	fake.machine.extent_count = 1;
	ck_assert_int_eq(pm_resize(m, 64 << 20), -PM_ENOTSYNC);
	ck_assert_ptr_eq(pm_base(m), base);
	ck_assert_uint_eq(pm_length(m), 8192);
	ck_assert_uint_eq(unit_size_of(path), 8192);
	ck_assert_uint_eq(fake_calls(FAKE_mremap), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- Clearing ---- */

static atomic_bool held, released, fails;

static void hold_the_first(enum fake_call c)
{
	if (c != FAKE_msync || atomic_exchange(&held, true))
		return;
	while (!atomic_load(&released))
		usleep(1000);
	if (atomic_load(&fails))
		fake_fail(FAKE_msync, 1, EIO);
}

static void *persist(void *mapping)
{
	return (void *)(intptr_t)pm_persist(mapping, pm_base(mapping), 1);
}

static void *clear(void *mapping)
{
	return (void *)(intptr_t)pm_clear_error(mapping);
}

/* A write-back that is under way may still fail, and clean what was made dirty too early. */
START_TEST(clearing_waits_for_a_write_back_under_way)
{
	pthread_t writer, clearer;
	void *rc;
	path = unit_file("file", 1 << 20);
	fake_start(&fake_plain);
	struct pm_mapping *m = unit_map(path, NULL);
	other = unit_map(path, NULL);
	/* On a DAX file only what is mapped counts as being in memory. */
	memset(pm_base(m), 1, 4096);
	counting.hook = hold_the_first;
	ck_assert_int_eq(pthread_create(&writer, NULL, persist, m), 0);
	while (!atomic_load(&held))
		usleep(1000);
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_persist(other, pm_base(other), 1), -EIO);
	unsigned before = fake_calls(FAKE_madvise);
	ck_assert_int_eq(pthread_create(&clearer, NULL, clear, m), 0);
	usleep(100000);
	ck_assert_uint_eq(fake_calls(FAKE_madvise), before);
	atomic_store(&released, true);
	pthread_join(writer, &rc);
	pthread_join(clearer, &rc);
	ck_assert_ptr_null(rc);
	ck_assert_uint_gt(fake_calls(FAKE_madvise), before);
	unit_ok(pm_persist(m, pm_base(m), 1));
	unit_ok(pm_unmap(m));
	ck_assert_int_eq(pm_unmap(other), -EIO);
}
END_TEST

static struct pm_mapping *drained;
static pthread_t drainer;
static unsigned before_drain;

/* As of a call that had found no error yet. */
static void *write_back(void *mapping)
{
	struct pm_mapping *m = mapping;
	return (void *)(intptr_t)pm_strategy_writeback.persist(&m->medium, m->medium.map, 1);
}

static void drain_while_pages_are_dirtied(enum fake_call c)
{
	if (c != FAKE_madvise || atomic_exchange(&held, true))
		return;
	before_drain = fake_calls(FAKE_msync);
	ck_assert_int_eq(pthread_create(&drainer, NULL, write_back, drained), 0);
	usleep(100000);
	ck_assert_uint_eq(fake_calls(FAKE_msync), before_drain);
}

/* It may fail, and its failure must outlive the clearing; or clean what is being made dirty. */
START_TEST(no_drain_starts_while_an_error_is_cleared)
{
	void *rc;
	path = unit_file("file", 1 << 20);
	fake_start(&fake_plain);
	drained = unit_map(path, NULL);
	memset(pm_base(drained), 1, 4096);
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_persist(drained, pm_base(drained), 1), -EIO);
	atomic_store(&held, false);
	counting.hook = drain_while_pages_are_dirtied;
	unit_ok(pm_clear_error(drained));
	ck_assert(atomic_load(&held));
	pthread_join(drainer, &rc);
	unit_ok(pm_unmap(drained));
}
END_TEST

static void *only_drain(void *mapping)
{
	struct pm_mapping *m = mapping;
	return (void *)(intptr_t)pm_strategy_writeback.drain(&m->medium);
}

/* Until so many wait for a leader. */
static void wait_for(struct pm_mapping *m, int wanted)
{
	for (int found = 0; found < wanted; usleep(1000)) {
		pthread_mutex_lock(&m->medium.writeback.lock);
		found = 0;
		for (const struct pm_page_request *r = m->medium.writeback.waiting; r; r = r->next)
			found++;
		pthread_mutex_unlock(&m->medium.writeback.lock);
	}
}

/* The first clearing takes what was flushed, and fails; the second has nothing to do with it. */
START_TEST(a_drain_that_a_clearing_blocks_is_told_of_its_failure)
{
	pthread_t first, second;
	void *rc;
	path = unit_file("file", 1 << 20);
	fake_start(&fake_plain);
	drained = unit_map(path, NULL);
	atomic_store(&fails, true);
	for (int round = 0; round < 20; round++) {
		counting.hook = NULL;
		fake_fail(FAKE_msync, 1, EIO);
		ck_assert_int_eq(pm_persist(drained, pm_base(drained), 1), -EIO);
		atomic_store(&held, false);
		atomic_store(&released, false);
		counting.hook = hold_the_first;
		pm_strategy_writeback.flush(&drained->medium, drained->medium.map, 1);
		ck_assert_int_eq(pthread_create(&first, NULL, clear, drained), 0);
		while (!atomic_load(&held))
			usleep(1000);
		ck_assert_int_eq(pthread_create(&second, NULL, clear, drained), 0);
		wait_for(drained, 1);
		ck_assert_int_eq(pthread_create(&drainer, NULL, only_drain, drained), 0);
		wait_for(drained, 2);
		atomic_store(&released, true);
		pthread_join(first, &rc);
		ck_assert_int_eq((int)(intptr_t)rc, -EIO);
		pthread_join(second, &rc);
		ck_assert_ptr_null(rc);
		pthread_join(drainer, &rc);
		ck_assert_int_eq((int)(intptr_t)rc, -EIO);
		unit_ok(pm_clear_error(drained));
	}
	unit_ok(pm_unmap(drained));
}
END_TEST

static void *persist_often(void *mapping)
{
	for (;;) {
		pthread_testcancel();
		pm_persist(mapping, pm_base(mapping), 1);
	}
	return NULL;
}

/* The thread leads, or waits for a leader, by a request on its stack. */
START_TEST(a_thread_that_is_cancelled_leaves_nothing_behind)
{
	pthread_t thread;
	/* What pthread_cancel(3) loads; a small system lacks it. */
	if (!dlopen("libgcc_s.so.1", RTLD_NOW))
		return;
	path = unit_file("file", 1 << 20);
	fake_start(&fake_plain);
	struct pm_mapping *m = unit_map(path, NULL);
	counting.hook = hold_the_first;
	for (int round = 0; round < 20; round++) {
		atomic_store(&held, false);
		atomic_store(&released, false);
		ck_assert_int_eq(pthread_create(&thread, NULL, persist_often, m), 0);
		while (!atomic_load(&held))
			usleep(1000);
		pthread_cancel(thread);
		usleep(2000);
		atomic_store(&released, true);
		pthread_join(thread, NULL);
		unit_ok(pm_persist(m, pm_base(m), 1));
	}
	unit_ok(pm_unmap(m));
}
END_TEST

#define WAITING 8

static void start_waiting(struct pm_mapping *m, pthread_t *writer, pthread_t waiting[static WAITING])
{
	atomic_store(&held, false);
	atomic_store(&released, false);
	ck_assert_int_eq(pthread_create(writer, NULL, persist, m), 0);
	while (!atomic_load(&held))
		usleep(1000);
	for (int i = 0; i < WAITING; i++)
		ck_assert_int_eq(pthread_create(&waiting[i], NULL, persist, m), 0);
	wait_for(m, WAITING);
}

/* A call that waited for the failed write-back gets its error, also if it wakes after the clearing. */
START_TEST(clearing_hides_nothing_from_those_who_wait)
{
	pthread_t writer, clearer, waiting[WAITING];
	void *rc;
	path = unit_file("file", 1 << 20);
	fake_start(&fake_plain);
	struct pm_mapping *m = unit_map(path, NULL);
	other = unit_map(path, NULL);
	counting.hook = hold_the_first;
	atomic_store(&fails, true);
	for (int round = 0; round < 20; round++) {
		start_waiting(m, &writer, waiting);
		fake_fail(FAKE_msync, 1, EIO);
		ck_assert_int_eq(pm_persist(other, pm_base(other), 1), -EIO);
		ck_assert_int_eq(pthread_create(&clearer, NULL, clear, m), 0);
		usleep(10000);
		atomic_store(&released, true);
		for (int i = 0; i < WAITING; i++) {
			pthread_join(waiting[i], &rc);
			ck_assert_int_eq((int)(intptr_t)rc, -EIO);
		}
		pthread_join(writer, &rc);
		ck_assert_int_eq((int)(intptr_t)rc, -EIO);
		pthread_join(clearer, &rc);
		ck_assert_ptr_null(rc);
		/* A call that got the error late may have latched it again. */
		unit_ok(pm_clear_error(m));
		unit_ok(pm_clear_error(other));
	}
	unit_ok(pm_unmap(m));
	unit_ok(pm_unmap(other));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("meanwhile");
	tcase_add_test(c, what_somebody_has_mapped_is_not_undone);
	tcase_add_loop_test(c, what_somebody_cuts_off_is_not_mapped, 0, 2);
	tcase_add_test(c, growing_never_shrinks);
	tcase_add_loop_test(c, a_limit_on_files_is_an_error, 0, 2);
	tcase_add_test(c, a_strangers_link_in_a_shared_directory);
	tcase_add_test(c, a_file_cut_off_inside_the_range);
	tcase_add_test(c, a_volatile_file_cut_off_inside_the_range);
	tcase_add_test(c, shortage_says_nothing_of_the_file);
	tcase_add_test(c, a_refused_resize_moves_nothing);
	tcase_add_test(c, clearing_waits_for_a_write_back_under_way);
	tcase_add_test(c, no_drain_starts_while_an_error_is_cleared);
	tcase_add_test(c, clearing_hides_nothing_from_those_who_wait);
	tcase_add_test(c, a_drain_that_a_clearing_blocks_is_told_of_its_failure);
	tcase_add_test(c, a_thread_that_is_cancelled_leaves_nothing_behind);
	return unit_run();
}

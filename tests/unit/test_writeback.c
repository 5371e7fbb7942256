/* SPDX-License-Identifier: BSD-3-Clause */
/* Page granularity: how many calls, over what, and which drains share them. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "durability/leader.h"
#include "mapping/mapping.h"
#include "unit.h"

#define PAGES 16u

static struct pm_mapping *m;
static char *base;
static size_t page;

static void map_on(const struct fake_machine *machine, const struct pm_options *o)
{
	const char *path = unit_file("file", PAGES * unit_page());
	fake_start(machine);
	fake.machine.release = FAKE_WITHOUT_FOLIOS;
	m = unit_map(path, o);
	base = pm_base(m);
	page = unit_page();
	fake_forget();
}

static void unmap(void)
{
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files(), 0);
	ck_assert_uint_eq(fake_mapped_bytes(), 0);
}

/*
 * So many write-backs were made, the last over pages [first, end): an msync each, and the question whether it can be
 * believed; and what the file is then; no other call.
 */
static void check_msync(unsigned calls, size_t first, size_t end)
{
	ck_assert_uint_eq(fake_calls(FAKE_msync), calls);
	ck_assert_uint_eq(fake_calls(FAKE_faccessat2_write), calls);
	ck_assert_uint_eq(fake_syscalls(), 3 * calls);
	if (!calls)
		return;
	const struct fake_record *r = fake_find(FAKE_msync, calls - 1);
	ck_assert_uint_eq(r->address, (uintptr_t)base + first * page);
	ck_assert_uint_eq(r->length, (end - first) * page);
}

START_TEST(flushes_of_one_page_cost_one_call)
{
	map_on(&fake_plain, NULL);
	for (size_t i = 0; i < 16; i++)
		unit_ok(pm_flush(m, base + page + i * 64, 64));
	ck_assert_uint_eq(fake_syscalls(), 0);
	unit_ok(pm_drain(m));
	check_msync(1, 1, 2);
	unit_ok(pm_drain(m));
	check_msync(1, 1, 2);
	unmap();
}
END_TEST

/* In units of 1/16 page, so that a boundary is never missed by accident; -1 and +1 are bytes. */
static const struct {
	struct {
		unsigned at;
		int bytes;
		unsigned length;
		int length_bytes;
	} range[3];
	unsigned first, end; /* pages of the one call */
} hulls[] = {
	{{{0, 0, 0, 1}}, 0, 1},
	{{{16, -1, 0, 1}}, 0, 1},
	{{{16, -1, 0, 2}}, 0, 2},
	{{{16, 0, 16, 0}}, 1, 2},
	{{{16, 0, 16, 1}}, 1, 3},
	{{{16, 1, 16, -1}}, 1, 2},
	{{{8, 0, 16, 0}}, 0, 2},
	{{{3 * 16, 0, 0, 8}, {9 * 16, 0, 0, 8}}, 3, 10},
	{{{9 * 16, 0, 0, 8}, {3 * 16, 0, 0, 8}}, 3, 10},
	{{{9 * 16, 0, 0, 8}, {3 * 16, 0, 0, 8}, {5 * 16, 0, 16, 0}}, 3, 10},
	{{{15 * 16, 0, 16, 0}, {0, 0, 0, 1}}, 0, 16},
	{{{0, 0, 256, 0}}, 0, 16},
	{{{256, -1, 0, 1}}, 15, 16},
};

START_TEST(one_call_covers_every_recorded_range)
{
	map_on(&fake_plain, NULL);
	for (int i = 0; i < 3; i++) {
		size_t unit = page / 16, at = hulls[_i].range[i].at * unit, length = hulls[_i].range[i].length * unit;
		at += (size_t)hulls[_i].range[i].bytes;
		length += (size_t)hulls[_i].range[i].length_bytes;
		if (length)
			unit_ok(pm_flush(m, base + at, length));
	}
	unit_ok(pm_drain(m));
	check_msync(1, hulls[_i].first, hulls[_i].end);
	unmap();
}
END_TEST

START_TEST(random_ranges_are_covered_and_no_more)
{
	map_on(&fake_plain, NULL);
	for (unsigned round = 0, rounds = unit_rounds(500); round < rounds; round++) {
		size_t low = SIZE_MAX, high = 0;
		for (uint32_t n = unit_random() % 5 + 1; n; n--) {
			size_t at = unit_random() % (PAGES * page), length = unit_random() % (PAGES * page - at) + 1;
			unit_ok(pm_flush(m, base + at, length));
			low = at < low ? at : low;
			high = at + length > high ? at + length : high;
		}
		fake_forget();
		unit_ok(pm_drain(m));
		check_msync(1, low / page, (high + page - 1) / page);
	}
	unmap();
}
END_TEST

/* offset is not a multiple of a page: the base is the byte at the offset, the call begins at its page. */
START_TEST(an_unaligned_mapping_is_written_from_its_page)
{
	map_on(&fake_plain, UNIT_OPTIONS(.offset = unit_page() + 100, .length = 200));
	ck_assert_int_eq(base[0], unit_pattern(page + 100));
	unit_ok(pm_persist(m, base, 200));
	ck_assert_uint_eq(fake_find(FAKE_msync, 0)->address, (uintptr_t)base - 100);
	ck_assert_uint_eq(fake_find(FAKE_msync, 0)->length, page);
	unmap();
}
END_TEST

static const struct {
	const char *name;
	unsigned calls; /* of msync */
	unsigned first, end;
} whole_calls[] = {
	{"persist", 1, 2, 4}, {"deep_persist", 1, 2, 4}, {"sync", 1, 0, PAGES}, {"memcpy", 1, 2, 4},
	{"memset", 1, 2, 4},
	{"memcpy, nodrain", 0, 0, 0}, {"memcpy, nodrain, drain", 1, 2, 4}, {"memcpy, noflush, drain", 0, 0, 0},
	{"memset, noflush, drain", 0, 0, 0}, {"memmove", 1, 2, 4}, {"drain", 0, 0, 0},
};

static int call_by_number(int number, void *at, size_t length)
{
	static char source[65536 * 2];
	switch (number) {
	case 0:
		return pm_persist(m, at, length);
	case 1:
		return pm_deep_persist(m, at, length);
	case 2:
		return pm_sync(m);
	case 3:
		return pm_memcpy(m, at, source, length, 0);
	case 4:
		return pm_memset(m, at, 1, length, 0);
	case 5:
		return pm_memcpy(m, at, source, length, PM_NODRAIN);
	case 6:
		return pm_memcpy(m, at, source, length, PM_NODRAIN) || pm_drain(m);
	case 7:
		return pm_memcpy(m, at, source, length, PM_NOFLUSH) || pm_drain(m);
	case 8:
		return pm_memset(m, at, 1, length, PM_NOFLUSH) || pm_drain(m);
	case 9:
		return pm_memmove(m, at, base, length, 0);
	default:
		return pm_drain(m);
	}
}

START_TEST(each_call_makes_as_many_calls_as_it_must)
{
	map_on(&fake_plain, NULL);
	unit_ok(call_by_number(_i, base + 2 * page + 8, page));
	check_msync(whole_calls[_i].calls, whole_calls[_i].first, whole_calls[_i].end);
	/* The CPU has no part in it. */
	ck_assert_uint_eq(fake.write_backs + fake.fences + fake.streams, 0);
	unmap();
}
END_TEST

static int any_call(int number, const void *address, size_t length)
{
	static char source[8];
	void *at = (void *)(uintptr_t)address;
	switch (number) {
	case 0:
		return pm_flush(m, at, length);
	case 1:
		return pm_persist(m, at, length);
	case 2:
		return pm_deep_persist(m, at, length);
	case 3:
		return pm_memcpy(m, at, source, length, 0);
	case 4:
		return pm_memmove(m, at, source, length, 0);
	default:
		return pm_memset(m, at, 0, length, 0);
	}
}

START_TEST(nothing_costs_nothing)
{
	map_on(_i % 2 ? &fake_dax : &fake_plain, NULL);
	unit_ok(any_call(_i / 2, base, 0));
	unit_ok(any_call(_i / 2, base + PAGES * page, 0));
	unit_ok(any_call(_i / 2, base + 77, 0));
	ck_assert_uint_eq(fake_syscalls(), 0);
	ck_assert_uint_eq(fake.write_backs + fake.fences, 0);
	unit_ok(pm_drain(m));
	ck_assert_uint_eq(fake_syscalls(), 0);
	unmap();
}
END_TEST

START_TEST(a_range_that_leaves_the_mapping_is_refused)
{
	/* 100 bytes: the rest of the page is mapped, and still no part of the mapping. */
	map_on(_i % 2 ? &fake_dax : &fake_plain, UNIT_OPTIONS(.offset = 4, .length = 100));
	const struct {
		const char *at;
		size_t length;
	} wrong[] = {
		{base - 1, 1}, {base + 100, 1}, {base + 99, 2}, {base, 101},
		{base, SIZE_MAX}, {base + 1, SIZE_MAX}, {base + 100, SIZE_MAX - 99}, {NULL, 1}, {NULL, SIZE_MAX},
		{(char *)UINTPTR_MAX, 1},
	};
	for (size_t i = 0; i < COUNT(wrong); i++) {
		ck_assert_int_eq(any_call(_i / 2, wrong[i].at, wrong[i].length), -ERANGE);
		ck_assert_ptr_nonnull(strstr(pm_error_detail(), "file"));
	}
	ck_assert_uint_eq(fake_syscalls(), 0);
	ck_assert_uint_eq(fake.write_backs + fake.fences, 0);
	unit_ok(any_call(_i / 2, base + 99, 1));
	unmap();
}
END_TEST

START_TEST(a_signal_is_not_seen)
{
	map_on(&fake_plain, NULL);
	fake_interrupt(FAKE_msync, 3);
	fake_interrupt(FAKE_faccessat2_write, 2);
	unit_ok(pm_persist(m, base, 1));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 4);
	ck_assert_uint_eq(fake_calls(FAKE_faccessat2_write), 3);
	ck_assert_uint_eq(fake_syscalls(), 8);
	unmap();
}
END_TEST

/* msync on a mapping of a read-only descriptor returns 0 and does nothing: mm/mmap.c clears VM_SHARED. */
START_TEST(msync_of_a_read_only_descriptor_is_not_relied_on)
{
	map_on(&fake_plain, UNIT_OPTIONS(.flags = PM_READ_ONLY));
	fake_interrupt(FAKE_fdatasync, 2);
	unit_ok(pm_persist(m, base, 1));
	ck_assert_uint_eq(fake_calls(FAKE_fdatasync), 3);
	ck_assert_uint_eq(fake_syscalls(), 4);
	ck_assert_int_eq(fake_find(FAKE_fdatasync, 0)->fd, m->medium.fd);
	fake_forget();
	unit_ok(pm_sync(m));
	ck_assert_uint_eq(fake_calls(FAKE_fdatasync), 1);
	ck_assert_uint_eq(fake_syscalls(), 2);
	unmap();
}
END_TEST

START_TEST(a_volatile_mapping_makes_no_call)
{
	map_on(&fake_tmpfs, NULL);
	for (int i = 0; i < (int)COUNT(whole_calls); i++)
		unit_ok(call_by_number(i, base, page));
	ck_assert_uint_eq(fake_syscalls(), 0);
	unmap();
}
END_TEST

START_TEST(unmapping_drains_what_was_flushed)
{
	map_on(&fake_plain, NULL);
	unit_ok(pm_flush(m, base + page, 1));
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	map_on(&fake_plain, NULL);
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 0);
}
END_TEST

/* ---- Threads that drain at once ---- */

#define THREADS 8

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_cond = PTHREAD_COND_INITIALIZER;
static bool gate_open, somebody_waits, first_fails;
static atomic_bool first_is_done;
static atomic_uint returned;

/* The first msync blocks until the gate opens, and may fail then. */
static void block_first_msync(enum fake_call c)
{
	if (c != FAKE_msync)
		return;
	pthread_mutex_lock(&gate_lock);
	bool first = !somebody_waits;
	somebody_waits = true;
	pthread_cond_broadcast(&gate_cond);
	while (first && !gate_open)
		pthread_cond_wait(&gate_cond, &gate_lock);
	pthread_mutex_unlock(&gate_lock);
	if (first && first_fails)
		fake_fail(FAKE_msync, 1, EIO);
	if (first)
		atomic_store(&first_is_done, true);
}

static void wait_until_blocked(void)
{
	pthread_mutex_lock(&gate_lock);
	while (!somebody_waits)
		pthread_cond_wait(&gate_cond, &gate_lock);
	pthread_mutex_unlock(&gate_lock);
}

static void open_gate(void)
{
	pthread_mutex_lock(&gate_lock);
	gate_open = true;
	pthread_cond_broadcast(&gate_cond);
	pthread_mutex_unlock(&gate_lock);
}

static void *persist_first(void *arg)
{
	return (void *)(intptr_t)pm_persist(m, arg, 1);
}

static void *persist_and_look(void *arg)
{
	int rc = pm_persist(m, arg, 1);
	atomic_fetch_add(&returned, 1);
	return (void *)(intptr_t)(rc ? rc : !atomic_load(&first_is_done));
}

static void start_first(pthread_t *thread, bool fails)
{
	gate_open = somebody_waits = false;
	first_fails = fails;
	atomic_store(&first_is_done, false);
	counting.hook = block_first_msync;
	ck_assert_int_eq(pthread_create(thread, NULL, persist_first, base), 0);
	wait_until_blocked();
}

static void start_others(pthread_t thread[static THREADS])
{
	atomic_store(&returned, 0);
	for (size_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, persist_and_look, base + (i + 3) * page), 0);
	for (size_t waiting = 0; waiting < THREADS; usleep(1000)) {
		waiting = 0;
		pthread_mutex_lock(&m->medium.writeback.lock);
		for (const struct pm_page_request *r = m->medium.writeback.waiting; r; r = r->next)
			waiting++;
		pthread_mutex_unlock(&m->medium.writeback.lock);
	}
}

/* None writes, and none returns, since the first may have taken its page. Then one writes for all. */
START_TEST(threads_that_drain_meanwhile_are_written_together)
{
	pthread_t first, thread[THREADS];
	void *rc;
	map_on(&fake_plain, NULL);
	start_first(&first, false);
	start_others(thread);
	/* The one that blocks is not counted yet. */
	ck_assert_uint_eq(fake_calls(FAKE_msync), 0);
	ck_assert_uint_eq(atomic_load(&returned), 0);
	open_gate();
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(thread[i], &rc);
		ck_assert_ptr_null(rc);
	}
	pthread_join(first, &rc);
	ck_assert_ptr_null(rc);
	check_msync(2, 3, 3 + THREADS);
	unmap();
}
END_TEST

START_TEST(a_failure_is_told_to_all_who_drain_meanwhile)
{
	pthread_t first, thread[THREADS];
	void *rc;
	map_on(&fake_plain, NULL);
	start_first(&first, true);
	start_others(thread);
	ck_assert_uint_eq(atomic_load(&returned), 0);
	open_gate();
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(thread[i], &rc);
		ck_assert_int_eq((int)(intptr_t)rc, -EIO);
	}
	pthread_join(first, &rc);
	ck_assert_int_eq((int)(intptr_t)rc, -EIO);
	fake_forget();
	unit_ok(pm_clear_error(m));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	unmap();
}
END_TEST

static void *drain_and_look(void *arg)
{
	(void)arg;
	int rc = pm_drain(m);
	return (void *)(intptr_t)(rc ? rc : !atomic_load(&first_is_done));
}

/* What another thread recorded and is writing now may be what this one flushed: a drain waits for it. */
START_TEST(a_drain_waits_for_a_write_back_under_way)
{
	pthread_t first, second;
	void *rc;
	map_on(&fake_plain, NULL);
	start_first(&first, false);
	ck_assert_int_eq(pthread_create(&second, NULL, drain_and_look, NULL), 0);
	usleep(50000);
	open_gate();
	pthread_join(second, &rc);
	ck_assert_ptr_null(rc);
	pthread_join(first, &rc);
	ck_assert_ptr_null(rc);
	check_msync(1, 0, 1);
	unmap();
}
END_TEST

/* ---- Demotion ---- */

/* A flush may be under way, or was made before and not drained, without having been recorded. */
START_TEST(a_demoted_mapping_writes_back_whole)
{
	map_on(&fake_dax, NULL);
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	unit_ok(pm_flush(m, base + 5 * page, 64));
	ck_assert_uint_eq(fake_syscalls(), 0);
	fake.machine.sync = FAKE_REFUSES;
	ck_assert_int_eq(unit_query(m)->granularity, PM_PAGE);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	for (unsigned i = 0; i < 3; i++) {
		fake_forget();
		unit_ok(pm_drain(m));
		check_msync(1, 0, PAGES);
		unit_ok(pm_persist(m, base + page, 8));
		check_msync(2, 0, PAGES);
	}
	fake.machine.sync = FAKE_ACCEPTS;
	ck_assert_int_eq(unit_query(m)->granularity, PM_PAGE);
	unmap();
}
END_TEST

int main(void)
{
	TCase *c = unit_case("write-back");
	tcase_add_test(c, flushes_of_one_page_cost_one_call);
	tcase_add_loop_test(c, one_call_covers_every_recorded_range, 0, (int)COUNT(hulls));
	tcase_add_test(c, random_ranges_are_covered_and_no_more);
	tcase_add_test(c, an_unaligned_mapping_is_written_from_its_page);
	tcase_add_loop_test(c, each_call_makes_as_many_calls_as_it_must, 0, (int)COUNT(whole_calls));
	tcase_add_loop_test(c, nothing_costs_nothing, 0, 12);
	tcase_add_loop_test(c, a_range_that_leaves_the_mapping_is_refused, 0, 12);
	tcase_add_test(c, a_signal_is_not_seen);
	tcase_add_test(c, msync_of_a_read_only_descriptor_is_not_relied_on);
	tcase_add_test(c, a_volatile_mapping_makes_no_call);
	tcase_add_test(c, unmapping_drains_what_was_flushed);
	tcase_add_test(c, threads_that_drain_meanwhile_are_written_together);
	tcase_add_test(c, a_failure_is_told_to_all_who_drain_meanwhile);
	tcase_add_test(c, a_drain_waits_for_a_write_back_under_way);
	tcase_add_test(c, a_demoted_mapping_writes_back_whole);
	return unit_run();
}

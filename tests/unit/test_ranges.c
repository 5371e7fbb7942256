/* SPDX-License-Identifier: BSD-3-Clause */
/* Pages that wait to be written: what is recorded comes out again, once, in order; and scattered, by which calls. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernel/magic.h"
#include "mapping/mapping.h"
#include "unit.h"

#define BLOCK 4096u /* pages that a handful ends with */
#define GAP 16u     /* pages: so close they are one run */

/* ---- Against a plain model ---- */

/* More than 1 GiB of 4 KiB pages, where the uppermost words change. */
#define MODEL_PAGES 300000u

static struct pm_page_set ranges;
static bool model[MODEL_PAGES];

/* Half of the ranges lie in a corner, so that they meet. */
static void add_some(unsigned count, size_t page)
{
	size_t corner = unit_random() % (MODEL_PAGES - 400);
	while (count--) {
		size_t first = unit_random() % 2 ? corner + unit_random() % 300 : unit_random() % MODEL_PAGES;
		size_t most = unit_random() % 8 ? 3 : 20000;
		size_t end = first + 1 + unit_random() % most;
		end = end < MODEL_PAGES ? end : MODEL_PAGES;
		size_t from = first * page + unit_random() % page, to = (end - 1) * page + 1 + unit_random() % page;
		if (from >= to)
			continue;
		pm_page_set_add(&ranges, from, to - from);
		memset(&model[first], true, end - first);
	}
}

/* Runs of a walk, one by one; those that two parts of it cut are one. */
struct reader {
	struct pm_page_walk walk;
	size_t next;
};

static void begin(struct reader *r)
{
	r->walk.block = r->next = 0;
	pm_page_set_take(&ranges, &r->walk);
}

static bool read_run(struct reader *r, struct pm_page_run *run)
{
	if (r->next == r->walk.count)
		return false;
	*run = r->walk.run[r->next++];
	if (r->next == r->walk.count && r->walk.more) {
		pm_page_set_take(&ranges, &r->walk);
		r->next = r->walk.count && r->walk.run[0].first - run->end <= GAP;
		run->end = r->next ? r->walk.run[0].end : run->end;
	}
	return true;
}

static bool is_empty(void)
{
	struct reader r;
	begin(&r);
	return !r.walk.count && !r.walk.more;
}

static bool expect_run(size_t *at, struct pm_page_run *run)
{
	while (*at < MODEL_PAGES && !model[*at])
		++*at;
	if (*at == MODEL_PAGES)
		return false;
	*run = (struct pm_page_run){*at, *at};
	for (; *at < MODEL_PAGES && *at - run->end <= GAP; ++*at)
		if (model[*at])
			run->end = *at + 1;
	return true;
}

START_TEST(what_is_recorded_comes_out_in_order_and_once)
{
	size_t page = unit_page();
	ranges = (struct pm_page_set){0};
	ck_assert_int_eq(pm_page_set_reserve(&ranges, MODEL_PAGES * page), 0);
	for (unsigned round = 0, rounds = unit_rounds(200); round < rounds; round++) {
		struct pm_page_run run, expected;
		struct reader r;
		size_t at = 0;
		memset(model, 0, sizeof(model));
		ck_assert(is_empty());
		/* Now and then more runs than are taken at a time. */
		add_some(round % 10 ? unit_random() % 20 + 1 : 3000, page);
		begin(&r);
		while (expect_run(&at, &expected)) {
			ck_assert(read_run(&r, &run));
			ck_assert_uint_eq(run.first, expected.first);
			ck_assert_uint_eq(run.end, expected.end);
		}
		ck_assert(!read_run(&r, &run));
	}
	pm_page_set_free(&ranges);
}
END_TEST

START_TEST(room_grows_and_never_shrinks)
{
	size_t page = unit_page();
	ranges = (struct pm_page_set){0};
	struct pm_page_run run;
	struct reader r;
	ck_assert(is_empty());
	for (size_t pages = 1; pages < MODEL_PAGES; pages = pages * 3 + 1) {
		ck_assert_int_eq(pm_page_set_reserve(&ranges, pages * page), 0);
		ck_assert_int_eq(pm_page_set_reserve(&ranges, page), 0);
		pm_page_set_add(&ranges, (pages - 1) * page, page);
		begin(&r);
		ck_assert(read_run(&r, &run));
		ck_assert_uint_eq(run.first, pages - 1);
		ck_assert_uint_eq(run.end, pages);
	}
	pm_page_set_free(&ranges);
}
END_TEST

/* Another thread has set the page and not yet its block: a thread that finds the page set may not rely on the other. */
START_TEST(a_page_half_recorded_by_another_is_recorded)
{
	struct reader r;
	struct pm_page_run run;
	ranges = (struct pm_page_set){0};
	ck_assert_int_eq(pm_page_set_reserve(&ranges, unit_page()), 0);
	atomic_store(&ranges.pages[0], 1);
	ck_assert(is_empty());
	pm_page_set_add(&ranges, 0, 1);
	begin(&r);
	ck_assert(read_run(&r, &run) && !read_run(&r, &run));
	pm_page_set_free(&ranges);
}
END_TEST

/* What is recorded behind a walk is left to the next one: its runs ascend. A block is taken with all that is in it. */
START_TEST(a_walk_does_not_turn_back)
{
	struct pm_page_walk w = {0};
	size_t block = 64 * 64, page = unit_page();
	ranges = (struct pm_page_set){0};
	ck_assert_int_eq(pm_page_set_reserve(&ranges, 8 * block * page), 0);
	for (size_t at = block; at < 2 * block; at += GAP + 2)
		pm_page_set_add(&ranges, at * page, 1);
	pm_page_set_add(&ranges, 3 * block * page, 1);
	pm_page_set_take(&ranges, &w);
	ck_assert_uint_eq(w.count, (block + GAP + 1) / (GAP + 2));
	ck_assert_uint_eq(w.run[w.count - 1].end, 2 * block - (block - 1) % (GAP + 2));
	ck_assert(w.more);
	pm_page_set_add(&ranges, 0, 1);
	pm_page_set_add(&ranges, block * page, 1);
	pm_page_set_take(&ranges, &w);
	ck_assert_uint_eq(w.run[0].first, 3 * block);
	ck_assert(w.count == 1 && !w.more);
	w.block = 0;
	pm_page_set_take(&ranges, &w);
	ck_assert(w.count == 2 && !w.more);
	ck_assert(w.run[0].first == 0 && w.run[1].first == block);
	ck_assert(is_empty());
	pm_page_set_free(&ranges);
}
END_TEST

/* ---- Which calls ---- */

#define PAGES 6000u    /* more than 16 MiB: more than a block */
#define FILE_OFFSET 3u /* of the mapping, in pages */

static struct pm_mapping *m;
static char *base;
static size_t page;

static void map_on(const struct fake_machine *machine)
{
	page = unit_page();
	fake_start(machine);
	if (machine == &fake_plain)
		fake.machine.release = FAKE_WITHOUT_FOLIOS;
	const char *path = unit_file("file", page);
	ck_assert_int_eq(truncate(path, (off_t)((FILE_OFFSET + PAGES) * page)), 0);
	m = unit_map(path, UNIT_OPTIONS(.offset = FILE_OFFSET * page, .flags = PM_SPARSE));
	base = pm_base(m);
	fake_forget();
}

static void unmap(void)
{
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files(), 0);
	ck_assert_uint_eq(fake_mapped_bytes(), 0);
}

static void check_range(unsigned nth, size_t first, size_t count, unsigned long flags)
{
	const struct fake_record *r = fake_find(FAKE_sync_file_range, nth);
	ck_assert_ptr_nonnull(r);
	ck_assert_int_eq(r->fd, m->medium.fd);
	ck_assert_uint_eq(r->offset, (FILE_OFFSET + first) * page);
	ck_assert_uint_eq(r->length, count * page);
	ck_assert_uint_eq(r->flags, flags);
}

static void check_msync(size_t first, size_t count)
{
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	ck_assert_uint_eq(fake_calls(FAKE_faccessat2_write), 1);
	ck_assert_uint_eq(fake_find(FAKE_msync, 0)->address, (uintptr_t)base + first * page);
	ck_assert_uint_eq(fake_find(FAKE_msync, 0)->length, count * page);
}

/*
 * Runs far apart: all but the first are started, all but the last are written and waited for, the last one's msync
 * makes all durable.
 */
START_TEST(scattered_runs_are_written_apart)
{
	static const size_t first[] = {0, 40, 41, 100, 5000};
	map_on(&fake_plain);
	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = COUNT(first); i--;)
			unit_ok(pm_flush(m, base + first[i] * page + 7, page / 2));
		ck_assert_uint_eq(fake_syscalls(), 0);
		unit_ok(pm_drain(m));
		/* Whether it can be done is asked once, by a call that must fail; pm_map() asked for the release. */
		ck_assert_uint_eq(fake_calls(FAKE_uname), 0);
		ck_assert_uint_eq(fake_calls(FAKE_wrong_sync), round ? 0 : 1);
		check_range(0, 40, 2, SYNC_FILE_RANGE_WRITE);
		check_range(1, 100, 1, SYNC_FILE_RANGE_WRITE);
		check_range(2, 5000, 1, SYNC_FILE_RANGE_WRITE);
		check_range(3, 0, 1, SYNC_FILE_RANGE_WRITE_AND_WAIT);
		check_range(4, 40, 2, SYNC_FILE_RANGE_WRITE_AND_WAIT);
		check_range(5, 100, 1, SYNC_FILE_RANGE_WRITE_AND_WAIT);
		ck_assert_uint_eq(fake_calls(FAKE_sync_file_range), 6);
		check_msync(5000, 1);
		ck_assert_uint_eq(fake_syscalls(), 9 + (round ? 0 : 1));
		fake_forget();
		unit_ok(pm_drain(m));
		ck_assert_uint_eq(fake_syscalls(), 0);
	}
	unmap();
}
END_TEST

START_TEST(a_small_gap_is_written_with_its_neighbours)
{
	map_on(&fake_plain);
	unit_ok(pm_flush(m, base, 1));
	unit_ok(pm_flush(m, base + (1 + GAP) * page, 1));
	unit_ok(pm_drain(m));
	check_msync(0, GAP + 2);
	ck_assert_uint_eq(fake_syscalls(), 3);
	unit_ok(pm_flush(m, base, 1));
	unit_ok(pm_flush(m, base + (2 + GAP) * page, 1));
	fake_forget();
	unit_ok(pm_drain(m));
	check_msync(2 + GAP, 1);
	ck_assert_uint_eq(fake_calls(FAKE_sync_file_range), 1 + 1);
	unmap();
}
END_TEST

/* However many: in handfuls, all of one but its first started before that is waited for; one msync for all. */
START_TEST(many_runs_end_in_one_msync)
{
	static const unsigned counts[] = {2, 63, 64, 65, 127, 128, 129, 200};
	unsigned count = counts[_i], firsts[] = {0, BLOCK / 25 + 1}, handfuls = count > firsts[1] ? 2 : 1;
	map_on(&fake_plain);
	for (unsigned i = 0; i < count; i++)
		unit_ok(pm_flush(m, base + i * 25 * page, page));
	unit_ok(pm_drain(m));
	ck_assert_uint_eq(fake_calls(FAKE_sync_file_range), 2 * count - handfuls - 1);
	check_msync((count - 1) * 25, 1);
	/* Each was started once and, but for the last, waited for once, in this order. */
	bool started[200] = {false}, waited[200] = {false};
	for (unsigned i = 0; i < handfuls; i++)
		started[firsts[i]] = true;
	for (unsigned i = 0; i < 2 * count - handfuls - 1; i++) {
		const struct fake_record *r = fake_find(FAKE_sync_file_range, i);
		size_t at = (r->offset / page - FILE_OFFSET) / 25;
		bool *done = r->flags == SYNC_FILE_RANGE_WRITE ? started : waited;
		ck_assert(!done[at]);
		ck_assert(done == started || started[at]);
		done[at] = true;
	}
	for (unsigned i = 0; i < count; i++)
		ck_assert(started[i] && waited[i] == (i + 1 < count));
	unmap();
}
END_TEST

/* Where it is not known to be durable it is one call over all. */
static const struct {
	uint32_t magic;
	const char *release;
	int refusal; /* errno of a sync_file_range that must fail, */
	bool is_ignored; /* or it does not */
	bool is_apart;
} elsewhere[] = {
	{EXT4_SUPER_MAGIC, NULL, 0, false, true},
	{XFS_SUPER_MAGIC, NULL, 0, false, true},
	{BTRFS_SUPER_MAGIC, NULL, 0, false, false},
	{OVERLAYFS_SUPER_MAGIC, NULL, 0, false, false},
	{NFS_SUPER_MAGIC, NULL, 0, false, false},
	{EXT4_SUPER_MAGIC, "5.2.0", 0, false, true},
	{EXT4_SUPER_MAGIC, "10.0", 0, false, true},
	{EXT4_SUPER_MAGIC, "5.1.21", 0, false, false},
	{EXT4_SUPER_MAGIC, "4.19.0-amd64", 0, false, false},
	{EXT4_SUPER_MAGIC, "unknown", 0, false, false},
	{EXT4_SUPER_MAGIC, NULL, ENOSYS, false, false},
	{EXT4_SUPER_MAGIC, NULL, EIO, false, false},
	{EXT4_SUPER_MAGIC, NULL, 0, true, false},
};

START_TEST(elsewhere_it_is_one_call_over_all)
{
	struct fake_machine machine = fake_plain;
	machine.magic = elsewhere[_i].magic;
	machine.release = elsewhere[_i].release ? elsewhere[_i].release : FAKE_WITHOUT_FOLIOS;
	map_on(&machine);
	if (elsewhere[_i].refusal)
		fake_fail(FAKE_wrong_sync, 1, elsewhere[_i].refusal);
	if (elsewhere[_i].is_ignored)
		fake.machine.ignores = PM_CALL_SYNC_FILE_RANGE;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 70; i++)
			unit_ok(pm_flush(m, base + (9 + 20 * i) * page, 1));
		fake_forget();
		unit_ok(pm_drain(m));
		if (elsewhere[_i].is_apart)
			check_msync(9 + 20 * 69, 1);
		else
			check_msync(9, 20 * 69 + 1);
		ck_assert(round == 0 || elsewhere[_i].is_apart || fake_syscalls() == 3);
	}
	unmap();
}
END_TEST

/* Whose type it is that 9p hands on: that of its server's file system. */
START_TEST(a_type_of_a_server_is_not_trusted)
{
	struct fake_machine machine = fake_plain;
	machine.magic = _i ? EXT4_SUPER_MAGIC : XFS_SUPER_MAGIC;
	machine.has_no_device = true;
	map_on(&machine);
	for (unsigned i = 0; i < 70; i++)
		unit_ok(pm_flush(m, base + (9 + 20 * i) * page, 1));
	fake_forget();
	unit_ok(pm_drain(m));
	check_msync(9, 20 * 69 + 1);
	unmap();
}
END_TEST

/* Everything, without a call for each of its parts; and they are not written again. */
START_TEST(a_sync_covers_what_was_recorded)
{
	map_on(&fake_plain);
	for (unsigned i = 0; i < 70; i++)
		unit_ok(pm_flush(m, base + 20 * i * page, 1));
	unit_ok(pm_sync(m));
	check_msync(0, PAGES);
	ck_assert_uint_eq(fake_syscalls(), 3);
	unit_ok(pm_drain(m));
	ck_assert_uint_eq(fake_syscalls(), 3);
	unmap();
}
END_TEST

START_TEST(signals_are_not_seen)
{
	map_on(&fake_plain);
	unit_ok(pm_flush(m, base, 1));
	unit_ok(pm_flush(m, base + 50 * page, 1));
	fake_interrupt(FAKE_sync_file_range, 5);
	unit_ok(pm_drain(m));
	ck_assert_uint_eq(fake_calls(FAKE_sync_file_range), 5 + 2);
	unmap();
}
END_TEST

/*
 * Whichever of the calls fails: the others are still made, so that what can be written is; the error is the drain's,
 * and stays. Calls 1 and 2 start, 3 and 4 write and wait, 5 is the msync.
 */
START_TEST(a_failure_of_any_part_is_the_drains)
{
	map_on(&fake_plain);
	if (_i < 5)
		fake_fail(FAKE_sync_file_range, (unsigned)_i, EIO);
	else
		fake_fail(FAKE_msync, 1, EIO);
	for (unsigned i = 0; i < 3; i++)
		unit_ok(pm_flush(m, base + 50 * i * page, 1));
	ck_assert_int_eq(pm_drain(m), -EIO);
	ck_assert_uint_eq(fake_calls(FAKE_sync_file_range), 4);
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	ck_assert_uint_eq(fake_find(FAKE_msync, 0)->address, (uintptr_t)base + 100 * page);
	ck_assert_int_eq(pm_drain(m), -EIO);
	ck_assert_int_eq(pm_persist(m, base, 1), -EIO);
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	unit_ok(pm_clear_error(m));
	fake_forget();
	unit_ok(pm_persist(m, base, 1));
	check_msync(0, 1);
	unmap();
}
END_TEST

/* The first failure is the one that is returned. */
START_TEST(the_first_of_several_failures_is_kept)
{
	map_on(&fake_plain);
	fake_fail(FAKE_sync_file_range, 4, ENOSPC);
	fake_fail(FAKE_msync, 1, EIO);
	for (unsigned i = 0; i < 3; i++)
		unit_ok(pm_flush(m, base + 50 * i * page, 1));
	ck_assert_int_eq(pm_drain(m), -ENOSPC);
	ck_assert_int_eq(pm_drain(m), -ENOSPC);
	unit_ok(pm_clear_error(m));
	unmap();
}
END_TEST

/* Two gigabytes, grown from a page: the last page is recorded like the first. */
START_TEST(a_mapping_that_grew_records_its_end)
{
	page = unit_page();
	fake_start(&fake_plain);
	m = unit_map(unit_file("file", page), UNIT_OPTIONS(.flags = PM_SPARSE));
	uint64_t length = (uint64_t)MODEL_PAGES * page;
	unit_ok(pm_resize(m, length));
	base = pm_base(m);
	fake_forget();
	unit_ok(pm_persist(m, base + length - 1, 1));
	check_msync(MODEL_PAGES - 1, 1);
	unit_ok(pm_resize(m, page));
	base = pm_base(m);
	fake_forget();
	unit_ok(pm_persist(m, base + page - 1, 1));
	check_msync(0, 1);
	unmap();
}
END_TEST

int main(void)
{
	TCase *c = unit_case("ranges");
	tcase_add_test(c, what_is_recorded_comes_out_in_order_and_once);
	tcase_add_test(c, room_grows_and_never_shrinks);
	tcase_add_test(c, a_page_half_recorded_by_another_is_recorded);
	tcase_add_test(c, a_walk_does_not_turn_back);
	tcase_add_test(c, scattered_runs_are_written_apart);
	tcase_add_test(c, a_small_gap_is_written_with_its_neighbours);
	tcase_add_loop_test(c, many_runs_end_in_one_msync, 0, 8);
	tcase_add_loop_test(c, elsewhere_it_is_one_call_over_all, 0, (int)COUNT(elsewhere));
	tcase_add_loop_test(c, a_type_of_a_server_is_not_trusted, 0, 2);
	tcase_add_test(c, a_sync_covers_what_was_recorded);
	tcase_add_test(c, signals_are_not_seen);
	tcase_add_loop_test(c, a_failure_of_any_part_is_the_drains, 1, 6);
	tcase_add_test(c, the_first_of_several_failures_is_kept);
	tcase_add_test(c, a_mapping_that_grew_records_its_end);
	return unit_run();
}

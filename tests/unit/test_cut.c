/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Another process cuts the file off inside the mapping: no 0 for bytes that it no longer has, and all else as before.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cutting.h"
#include "mapping/mapping.h"

static void check_not_poisoned(void)
{
	ck_assert_int_eq(pm_errors_current(&cut.m->errors), 0);
	unit_ok(pm_persist(cut.m, cut.base, cut.end)); /* all that is left is as durable as before */
}

/* Each tells of what was taken by then: whether a call records its range before it sees the end is its own affair. */
static void unmap_as_drained(bool may_tell)
{
	int rc = pm_drain(cut.m);
	ck_assert(!rc || (may_tell && rc == -ERANGE));
	ck_assert_int_eq(pm_unmap(cut.m), rc);
}

/* ---- On pages: exact to the byte, at the first call ---- */

static const struct {
	int64_t from, length; /* from the end */
	bool beyond;
} ranges[] = {
	{-100, 100, false},  {-100, 101, true}, {-1, 1, false},     {0, 1, true},         {-8192, 8192, false},
	{-8192, 8193, true}, {1, 1, true},      {4096, 4096, true}, {-20000, 100, false}, {-20000, 60000, true},
};
#define RANGES (sizeof(ranges) / sizeof(ranges[0]))

static int by_persist(char *at, size_t length)
{
	return pm_persist(cut.m, at, length);
}

static int by_deep_persist(char *at, size_t length)
{
	return pm_deep_persist(cut.m, at, length);
}

static int by_drain(char *at, size_t length)
{
	int rc = pm_flush(cut.m, at, length);
	return rc ? rc : pm_drain(cut.m);
}

static int by_write(char *at, size_t length)
{
	static const char bytes[65536];
	return pm_write(cut.m, at, bytes, length);
}

static int by_commit(char *at, size_t length)
{
	const struct pm_range range = {at, length};
	return pm_commit(cut.m, &range, 1);
}

/* Among others that the file has; distant, so that they would be written by sync_file_range(2). */
static int by_commit_among(char *at, size_t length)
{
	return pm_commit(cut.m,
	                 (struct pm_range[]){{cut.base + 3 * cut.page, 1},
	                                     {at, length},
	                                     {cut.base, 100},
	                                     {cut.base + CUT_PAGES * cut.page, 0}},
	                 4);
}

static int (*const ways[])(char *at, size_t length) = {by_persist, by_deep_persist, by_drain,
                                                       by_write,   by_commit,       by_commit_among};
#define WAYS 6
#define DRAIN 2

START_TEST(a_range_is_told_to_the_byte)
{
	for (size_t i = 0; i < RANGES; i++) {
		for (int noticed = 0; noticed < 2; noticed++) {
			cut_start(_i % 2 ? &fake_tmpfs : &fake_plain, NULL);
			if (_i % 2)
				cut.m->terms.strategy = &pm_strategy_writeback; /* as if it had a medium */
			cut_to(cut.end);
			if (noticed)
				unit_query(cut.m);
			int rc = ways[_i / 2](cut.base + cut.end + ranges[i].from, (size_t)ranges[i].length);
			if (ranges[i].beyond)
				cut_check_told(rc);
			else
				ck_assert_msg(rc == 0, "range %zu: %d, %s", i, rc, pm_error_detail());
			ck_assert_uint_eq(unit_size_of(cut.path), cut.end);
			check_not_poisoned();
			unmap_as_drained(ranges[i].beyond);
		}
	}
}
END_TEST

static const struct fake_machine *const pages_and_lines[] = {&fake_plain, &fake_dax, &fake_eadr};

/* Once seen, by whatever call, every range behind the end returns it, and no other. */
START_TEST(once_noticed_it_is_told_everywhere)
{
	char bytes[64] = "";
	cut_start(pages_and_lines[_i], NULL);
	cut_to(cut.end);
	unit_query(cut.m);
	char *gone = cut.base + cut.end;
	for (int i = 0; i < 2; i++) {
		cut_check_told(pm_flush(cut.m, gone, 1));
		cut_check_told(pm_persist(cut.m, gone - 1, 2));
		cut_check_told(pm_deep_persist(cut.m, gone, 1));
		cut_check_told(pm_sync(cut.m));
		cut_check_told(pm_write(cut.m, gone, bytes, 1));
		cut_check_told(by_commit(gone, 1));
		cut_check_told(by_commit_among(gone - 1, 2));
		/* Nothing is begun: to write back a line beyond the page would be a SIGBUS. */
		unsigned lines = atomic_load(&fake.lines);
		cut_check_told(by_commit_among(cut.base + 7 * cut.page, 64));
		ck_assert_uint_eq(atomic_load(&fake.lines), lines);
		/* Before the word is stored: beyond the page that would be a SIGBUS. */
		cut_check_told(pm_publish64(cut.m, (uint64_t *)(void *)(cut.base + 7 * cut.page), 1));
		/* Refused before a byte is stored: beyond the page it would be a SIGBUS. */
		cut_check_told(pm_memcpy(cut.m, cut.base + 7 * cut.page, bytes, 64, 0));
		cut_check_told(pm_memset(cut.m, cut.base + 7 * cut.page, 1, 64, PM_NODRAIN));
		cut_check_told(pm_memmove(cut.m, cut.base + 7 * cut.page, cut.base, 64, PM_NOFLUSH));
		check_not_poisoned();
		unit_ok(pm_memcpy(cut.m, gone - 64, bytes, 64, 0));
		unit_ok(pm_deep_persist(cut.m, cut.base, 100));
		unit_ok(by_commit_among(cut.base + cut.page, 2 * cut.page));
		unit_ok(pm_write(cut.m, gone - 1, bytes, 1));
		unit_ok(pm_flush(cut.m, gone - 10, 10));
	}
	unmap_as_drained(true);
}
END_TEST

/* A read that meets the end first says where it is, and every later call knows it. */
START_TEST(a_read_notices)
{
	char bytes[4] = "";
	cut_start(pages_and_lines[_i], NULL);
	cut_to(cut.end);
	unit_ok(pm_read(cut.m, bytes, cut.base + cut.end - 4, 4));
	cut_check_told(pm_read(cut.m, bytes, cut.base + cut.end - 3, 4));
	cut_check_told(pm_persist(cut.m, cut.base + cut.end, 1));
	cut_check_told(pm_read(cut.m, bytes, cut.base + cut.end + cut.page, 1));
	check_not_poisoned();
	unit_ok(pm_resize(cut.m, cut.end));
	unit_ok(pm_read(cut.m, bytes, (char *)pm_base(cut.m) + cut.end - 4, 4));
	unit_ok(pm_unmap(cut.m));
}
END_TEST

static void cut_for_the_read(enum fake_call c)
{
	if (c == FAKE_pread || c == FAKE_statx_now)
		unit_expect(!truncate(cut.path, (off_t)(c == FAKE_pread ? cut.end : CUT_PAGES * cut.page)));
}

/* Between two looks another process cuts the file and makes it long again: no end is made up. */
START_TEST(a_read_that_was_too_short)
{
	char bytes[4] = "";
	cut_start(pages_and_lines[_i], NULL);
	counting.hook = cut_for_the_read;
	ck_assert_int_eq(pm_read(cut.m, bytes, cut.base + cut.end + cut.page, 4), -ERANGE);
	counting.hook = NULL;
	ck_assert_msg(strstr(pm_error_detail(), "when it was read"), "%s", pm_error_detail());
	unit_ok(pm_unmap(cut.m));
}
END_TEST

/* What names no range: every thread gets the error, whichever recorded the range, until the mapping is resized. */
START_TEST(a_drain_tells_of_what_was_recorded)
{
	cut_start(&fake_plain, NULL);
	unit_ok(pm_flush(cut.m, cut.base + 10 * cut.page, 1));
	unit_ok(pm_flush(cut.m, cut.base, 1));
	cut_to(cut.end);
	unit_ok(pm_persist(cut.m, cut.base, 1)); /* takes the other as well */
	cut_check_told(pm_drain(cut.m));
	cut_check_told(pm_drain(cut.m));
	check_not_poisoned();
	unit_ok(pm_resize(cut.m, cut.end));
	ck_assert_uint_eq(pm_length(cut.m), cut.end);
	unit_ok(pm_drain(cut.m));
	cut.base = pm_base(cut.m);
	unit_ok(pm_persist(cut.m, cut.base + cut.end - 1, 1));
	unit_ok(pm_sync(cut.m));
	unit_ok(pm_unmap(cut.m));
}
END_TEST

/* Scattered runs are written through the descriptor: there the look comes before. */
START_TEST(scattered_pages_too)
{
	cut_start(&fake_plain, NULL);
	unit_ok(pm_flush(cut.m, cut.base, 1));
	unit_ok(pm_flush(cut.m, cut.base + 40 * cut.page, 1));
	cut_to(cut.end);
	cut_check_told(pm_drain(cut.m));
	cut_check_told(pm_unmap(cut.m));
}
END_TEST

/* What was recorded and drained while the file had it is not held against the drains that follow. */
START_TEST(what_was_drained_before_is_not_told)
{
	cut_start(&fake_plain, NULL);
	unit_ok(pm_persist(cut.m, cut.base, CUT_PAGES * cut.page));
	cut_to(cut.end);
	unit_ok(pm_flush(cut.m, cut.base + 5 * cut.page, CUT_IN_PAGE));
	unit_ok(pm_drain(cut.m));
	unit_ok(pm_drain(cut.m));
	unit_ok(pm_unmap(cut.m));
}
END_TEST

START_TEST(a_sync_tells)
{
	cut_start(pages_and_lines[_i], NULL);
	cut_to(cut.end);
	cut_check_told(pm_sync(cut.m));
	cut_check_told(pm_sync(cut.m));
	check_not_poisoned();
	cut_check_told(pm_drain(cut.m));
	cut_check_told(pm_unmap(cut.m));
}
END_TEST

/* On lines nothing is asked: a look closes the short cut. In the last page a 0 comes until then, as documented. */
START_TEST(lines_are_told_by_a_look)
{
	cut_start(&fake_dax, UNIT_OPTIONS(.flags = _i ? PM_WATCH : 0));
	cut_to(cut.end);
	for (int i = 0; _i && i < 3000 && cut.m->terms.lines; i++)
		usleep(1000);
	if (!_i)
		unit_query(cut.m);
	ck_assert_ptr_null(cut.m->terms.lines);
	cut_check_told(pm_persist(cut.m, cut.base + cut.end, 1));
	unit_ok(pm_persist(cut.m, cut.base + cut.end - 1, 1));
	cut_check_told(pm_unmap(cut.m));
}
END_TEST

START_TEST(demoted_drains_tell)
{
	cut_start(&fake_dax, NULL);
	fake.machine.sync = FAKE_REFUSES;
	unit_query(cut.m);
	ck_assert_int_eq(pm_granularity_of(cut.m), PM_PAGE);
	cut_to(cut.end);
	unit_ok(pm_persist(cut.m, cut.base, 1));
	cut_check_told(pm_persist(cut.m, cut.base + cut.end, 1));
	cut_check_told(pm_drain(cut.m)); /* each covers the whole mapping */
	cut_check_told(pm_unmap(cut.m));
}
END_TEST

/* Another process makes the file longer again: zeros, where acknowledged bytes were. */
START_TEST(a_file_that_grows_again_is_still_told)
{
	cut_start(pages_and_lines[_i], NULL);
	cut_to(cut.end);
	unit_query(cut.m);
	cut_to(CUT_PAGES * cut.page);
	cut_check_told(pm_persist(cut.m, cut.base + cut.end, 1));
	unit_query(cut.m);
	cut_check_told(pm_persist(cut.m, cut.base + cut.end, 1));
	unit_ok(pm_resize(cut.m, CUT_PAGES * cut.page));
	unit_ok(pm_persist(cut.m, cut.base + cut.end, 1));
	unit_ok(pm_drain(cut.m));
	unit_ok(pm_unmap(cut.m));
}
END_TEST

START_TEST(a_cut_mapping_does_not_grow)
{
	cut_start(&fake_plain, NULL);
	cut_to(cut.end);
	ck_assert_int_eq(pm_resize(cut.m, 2 * CUT_PAGES * cut.page), -ERANGE);
	ck_assert_int_eq(pm_resize(cut.m, CUT_PAGES * cut.page), -ERANGE);
	ck_assert_uint_eq(unit_size_of(cut.path), cut.end);
	unit_ok(pm_resize(cut.m, cut.end - 10));
	ck_assert_uint_eq(unit_size_of(cut.path), cut.end); /* what it does not end at is left alone */
	unit_ok(pm_unmap(cut.m));
}
END_TEST

/* A mapping that does not reach there gets no error. */
START_TEST(a_cut_behind_the_mapping_is_none)
{
	cut_start(&fake_plain, UNIT_OPTIONS(.length = 4 * unit_page(), .offset = 100));
	cut_to(cut.end);
	unit_query(cut.m);
	unit_ok(pm_persist(cut.m, cut.base, pm_length(cut.m)));
	unit_ok(pm_sync(cut.m));
	cut_to(100 + 4 * cut.page);
	unit_ok(pm_persist(cut.m, cut.base, pm_length(cut.m)));
	cut_to(100 + 4 * cut.page - 1);
	ck_assert_int_eq(pm_persist(cut.m, cut.base, pm_length(cut.m)), -ERANGE);
	unit_ok(pm_persist(cut.m, cut.base, pm_length(cut.m) - 1));
	ck_assert_int_eq(pm_unmap(cut.m), -ERANGE); /* of that persist */
}
END_TEST

/* ---- Calls that drain before the end of the mapping or of a part ---- */

static int by_unmap(void)
{
	return pm_unmap(cut.m);
}

/* The last page has nothing flushed. */
static int by_give_up(void)
{
	return pm_give_up(cut.m, cut.base + (CUT_PAGES - 1) * cut.page, cut.page);
}

static int by_give_up_of_all(void)
{
	return pm_give_up(cut.m, cut.base, CUT_PAGES * cut.page);
}

static int (*const endings[])(void) = {by_unmap, by_give_up, by_give_up_of_all};
#define ENDINGS 3

/* The pages were given up all the same, and the unmapping tells it again. */
static void end_the_rest(int ending)
{
	if (!ending)
		return;
	ck_assert_int_eq(pm_persist(cut.m, cut.base + (CUT_PAGES - 1) * cut.page, 1), -ERANGE);
	ck_assert_int_eq(pm_errors_current(&cut.m->errors), 0);
	cut_check_told(pm_unmap(cut.m));
}

/* What was recorded and never drained, in one run and in scattered ones. */
START_TEST(an_ending_tells_of_what_was_recorded)
{
	cut_start(&fake_plain, NULL);
	unit_ok(pm_flush(cut.m, cut.base, _i < ENDINGS ? 16 * cut.page : 1));
	if (_i >= ENDINGS)
		unit_ok(pm_flush(cut.m, cut.base + 40 * cut.page, 1));
	cut_to(cut.end);
	cut_check_told(endings[_i % ENDINGS]());
	end_the_rest(_i % ENDINGS);
}
END_TEST

/* Told once is no reason for a 0; nor is a file that is as long again. */
START_TEST(an_ending_tells_again)
{
	cut_start(&fake_plain, NULL);
	unit_ok(pm_flush(cut.m, cut.base, 16 * cut.page));
	cut_to(cut.end);
	cut_check_told(pm_drain(cut.m));
	if (_i >= ENDINGS)
		cut_to(CUT_PAGES * cut.page);
	cut_check_told(endings[_i % ENDINGS]());
	end_the_rest(_i % ENDINGS);
}
END_TEST

/* A persist of another range took it, and returned 0 for its own. */
START_TEST(an_ending_tells_of_what_another_call_took)
{
	cut_start(&fake_plain, NULL);
	unit_ok(pm_flush(cut.m, cut.base + 10 * cut.page, 1));
	cut_to(cut.end);
	unit_ok(pm_persist(cut.m, cut.base, 1));
	cut_check_told(endings[_i]());
	end_the_rest(_i);
}
END_TEST

START_TEST(an_ending_after_a_demotion_tells)
{
	cut_start(&fake_dax, NULL);
	unit_ok(pm_flush(cut.m, cut.base + 10 * cut.page, 1));
	fake.machine.sync = FAKE_REFUSES;
	unit_query(cut.m);
	ck_assert_int_eq(pm_granularity_of(cut.m), PM_PAGE);
	cut_to(cut.end);
	cut_check_told(endings[_i]());
	end_the_rest(_i);
}
END_TEST

/* Lines that were flushed are not recorded. Once the cut was seen by a call, not by a look, each ending tells it. */
START_TEST(an_ending_on_lines_tells)
{
	cut_start(_i / ENDINGS ? &fake_eadr : &fake_dax, NULL);
	unit_ok(pm_flush(cut.m, cut.base, CUT_PAGES * cut.page));
	cut_to(cut.end);
	cut_check_told(pm_sync(cut.m));
	cut_check_told(pm_drain(cut.m));
	ck_assert_int_ge(pm_granularity_of(cut.m), PM_CACHE_LINE);
	cut_check_told(endings[_i % ENDINGS]());
	end_the_rest(_i % ENDINGS);
}
END_TEST

/* pm_unmap() asks for the file anyway, before it moves the times. */
START_TEST(an_unmapping_of_lines_sees_the_cut)
{
	cut_start(_i % 2 ? &fake_eadr : &fake_dax, UNIT_OPTIONS(.flags = _i / 2 ? PM_READ_ONLY : 0));
	unit_ok(pm_flush(cut.m, cut.base, 1));
	unit_ok(pm_drain(cut.m));
	cut_to(cut.end);
	ck_assert_int_eq(pm_unmap(cut.m), _i / 2 ? 0 : -ERANGE); /* read-only: nothing was stored through it */
}
END_TEST

/* What lies before the end, what was drained before the cut, and what pm_resize() acknowledged. */
START_TEST(an_ending_that_lost_nothing)
{
	cut_start(&fake_plain, NULL);
	if (_i / ENDINGS == 0) {
		unit_ok(pm_persist(cut.m, cut.base, CUT_PAGES * cut.page));
		unit_ok(pm_flush(cut.m, cut.base, cut.end));
		cut_to(cut.end);
	} else {
		unit_ok(pm_flush(cut.m, cut.base, CUT_PAGES * cut.page));
		cut_to(cut.end);
		cut_check_told(pm_drain(cut.m));
		cut_to(CUT_PAGES * cut.page);
		unit_ok(pm_resize(cut.m, CUT_PAGES * cut.page));
		cut.base = pm_base(cut.m);
		unit_ok(pm_flush(cut.m, cut.base, CUT_PAGES * cut.page));
	}
	unit_ok(endings[_i % ENDINGS]());
	if (_i % ENDINGS)
		unit_ok(pm_unmap(cut.m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("cut");
	tcase_add_loop_test(c, a_range_is_told_to_the_byte, 0, 2 * WAYS);
	tcase_add_loop_test(c, once_noticed_it_is_told_everywhere, 0, 3);
	tcase_add_loop_test(c, a_read_notices, 0, 3);
	tcase_add_loop_test(c, a_read_that_was_too_short, 0, 3);
	tcase_add_test(c, a_drain_tells_of_what_was_recorded);
	tcase_add_test(c, scattered_pages_too);
	tcase_add_test(c, what_was_drained_before_is_not_told);
	tcase_add_loop_test(c, a_sync_tells, 0, 3);
	tcase_add_loop_test(c, lines_are_told_by_a_look, 0, 2);
	tcase_add_test(c, demoted_drains_tell);
	tcase_add_loop_test(c, a_file_that_grows_again_is_still_told, 0, 3);
	tcase_add_test(c, a_cut_mapping_does_not_grow);
	tcase_add_test(c, a_cut_behind_the_mapping_is_none);
	tcase_add_loop_test(c, an_ending_tells_of_what_was_recorded, 0, 2 * ENDINGS);
	tcase_add_loop_test(c, an_ending_tells_again, 0, 2 * ENDINGS);
	tcase_add_loop_test(c, an_ending_tells_of_what_another_call_took, 0, ENDINGS);
	tcase_add_loop_test(c, an_ending_after_a_demotion_tells, 0, ENDINGS);
	tcase_add_loop_test(c, an_ending_on_lines_tells, 0, 2 * ENDINGS);
	tcase_add_loop_test(c, an_unmapping_of_lines_sees_the_cut, 0, 4);
	tcase_add_loop_test(c, an_ending_that_lost_nothing, 0, 2 * ENDINGS);
	return unit_run();
}

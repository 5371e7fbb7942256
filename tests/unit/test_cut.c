/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Another process cuts the file off inside the mapping: no 0 for bytes that it no longer has, and all else as before.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mapping/mapping.h"
#include "unit.h"

#define PAGES 64u
#define IN_PAGE 100u

static struct pm_mapping *m;
static char *base;
static const char *path;
static size_t page;
static uint64_t end; /* after the cut: inside a page */

static void start(const struct fake_machine *machine, const struct pm_options *o)
{
	page = unit_page();
	path = unit_file("file", PAGES * page);
	fake_start(machine);
	m = unit_map(path, o);
	base = pm_base(m);
	end = 5 * page + IN_PAGE;
}

static void cut(uint64_t size)
{
	ck_assert_int_eq(truncate(path, (off_t)size), 0);
}

static void check_not_poisoned(void)
{
	ck_assert_int_eq(pm_errors_current(&m->errors), 0);
	unit_ok(pm_persist(m, base, end)); /* all that is left is as durable as before */
}

static void check_told(int rc)
{
	ck_assert_int_eq(rc, -ERANGE);
	char number[24];
	snprintf(number, sizeof(number), "%llu", (unsigned long long)end);
	ck_assert_msg(strstr(pm_error_detail(), number), "%s", pm_error_detail());
}

/* Each tells of what was taken by then: whether a call records its range before it sees the end is its own affair. */
static void unmap_as_drained(bool may_tell)
{
	int rc = pm_drain(m);
	ck_assert(!rc || (may_tell && rc == -ERANGE));
	ck_assert_int_eq(pm_unmap(m), rc);
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
	return pm_persist(m, at, length);
}

static int by_deep_persist(char *at, size_t length)
{
	return pm_deep_persist(m, at, length);
}

static int by_drain(char *at, size_t length)
{
	int rc = pm_flush(m, at, length);
	return rc ? rc : pm_drain(m);
}

static int by_write(char *at, size_t length)
{
	static const char bytes[65536];
	return pm_write(m, at, bytes, length);
}

static int by_commit(char *at, size_t length)
{
	const struct pm_range range = {at, length};
	return pm_commit(m, &range, 1);
}

/* Among others that the file has; distant, so that they would be written by sync_file_range(2). */
static int by_commit_among(char *at, size_t length)
{
	return pm_commit(
		m, (struct pm_range[]){{base + 3 * page, 1}, {at, length}, {base, 100}, {base + PAGES * page, 0}}, 4);
}

static int (*const ways[])(char *at, size_t length) = {by_persist, by_deep_persist, by_drain,
                                                       by_write,   by_commit,       by_commit_among};
#define WAYS 6
#define DRAIN 2

START_TEST(a_range_is_told_to_the_byte)
{
	for (size_t i = 0; i < RANGES; i++) {
		for (int noticed = 0; noticed < 2; noticed++) {
			start(_i % 2 ? &fake_tmpfs : &fake_plain, NULL);
			if (_i % 2)
				m->terms.strategy = &pm_strategy_writeback; /* as if it had a medium */
			cut(end);
			if (noticed)
				unit_query(m);
			int rc = ways[_i / 2](base + end + ranges[i].from, (size_t)ranges[i].length);
			if (ranges[i].beyond)
				check_told(rc);
			else
				ck_assert_msg(rc == 0, "range %zu: %d, %s", i, rc, pm_error_detail());
			ck_assert_uint_eq(unit_size_of(path), end);
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
	start(pages_and_lines[_i], NULL);
	cut(end);
	unit_query(m);
	char *gone = base + end;
	for (int i = 0; i < 2; i++) {
		check_told(pm_flush(m, gone, 1));
		check_told(pm_persist(m, gone - 1, 2));
		check_told(pm_deep_persist(m, gone, 1));
		check_told(pm_sync(m));
		check_told(pm_write(m, gone, bytes, 1));
		check_told(by_commit(gone, 1));
		check_told(by_commit_among(gone - 1, 2));
		/* Nothing is begun: to write back a line beyond the page would be a SIGBUS. */
		unsigned lines = atomic_load(&fake.lines);
		check_told(by_commit_among(base + 7 * page, 64));
		ck_assert_uint_eq(atomic_load(&fake.lines), lines);
		/* Before the word is stored: beyond the page that would be a SIGBUS. */
		check_told(pm_publish64(m, (uint64_t *)(void *)(base + 7 * page), 1));
		/* Refused before a byte is stored: beyond the page it would be a SIGBUS. */
		check_told(pm_memcpy(m, base + 7 * page, bytes, 64, 0));
		check_told(pm_memset(m, base + 7 * page, 1, 64, PM_NODRAIN));
		check_told(pm_memmove(m, base + 7 * page, base, 64, PM_NOFLUSH));
		check_not_poisoned();
		unit_ok(pm_memcpy(m, gone - 64, bytes, 64, 0));
		unit_ok(pm_deep_persist(m, base, 100));
		unit_ok(by_commit_among(base + page, 2 * page));
		unit_ok(pm_write(m, gone - 1, bytes, 1));
		unit_ok(pm_flush(m, gone - 10, 10));
	}
	unmap_as_drained(true);
}
END_TEST

/* A read that meets the end first says where it is, and every later call knows it. */
START_TEST(a_read_notices)
{
	char bytes[4] = "";
	start(pages_and_lines[_i], NULL);
	cut(end);
	unit_ok(pm_read(m, bytes, base + end - 4, 4));
	check_told(pm_read(m, bytes, base + end - 3, 4));
	check_told(pm_persist(m, base + end, 1));
	check_told(pm_read(m, bytes, base + end + page, 1));
	check_not_poisoned();
	unit_ok(pm_resize(m, end));
	unit_ok(pm_read(m, bytes, (char *)pm_base(m) + end - 4, 4));
	unit_ok(pm_unmap(m));
}
END_TEST

static void cut_for_the_read(enum fake_call c)
{
	if (c == FAKE_pread || c == FAKE_statx_now)
		unit_expect(!truncate(path, (off_t)(c == FAKE_pread ? end : PAGES * page)));
}

/* Between two looks another process cuts the file and makes it long again: no end is made up. */
START_TEST(a_read_that_was_too_short)
{
	char bytes[4] = "";
	start(pages_and_lines[_i], NULL);
	counting.hook = cut_for_the_read;
	ck_assert_int_eq(pm_read(m, bytes, base + end + page, 4), -ERANGE);
	counting.hook = NULL;
	ck_assert_msg(strstr(pm_error_detail(), "when it was read"), "%s", pm_error_detail());
	unit_ok(pm_unmap(m));
}
END_TEST

/* What names no range: every thread gets the error, whichever recorded the range, until the mapping is resized. */
START_TEST(a_drain_tells_of_what_was_recorded)
{
	start(&fake_plain, NULL);
	unit_ok(pm_flush(m, base + 10 * page, 1));
	unit_ok(pm_flush(m, base, 1));
	cut(end);
	unit_ok(pm_persist(m, base, 1)); /* takes the other as well */
	check_told(pm_drain(m));
	check_told(pm_drain(m));
	check_not_poisoned();
	unit_ok(pm_resize(m, end));
	ck_assert_uint_eq(pm_length(m), end);
	unit_ok(pm_drain(m));
	base = pm_base(m);
	unit_ok(pm_persist(m, base + end - 1, 1));
	unit_ok(pm_sync(m));
	unit_ok(pm_unmap(m));
}
END_TEST

/* Scattered runs are written through the descriptor: there the look comes before. */
START_TEST(scattered_pages_too)
{
	start(&fake_plain, NULL);
	unit_ok(pm_flush(m, base, 1));
	unit_ok(pm_flush(m, base + 40 * page, 1));
	cut(end);
	check_told(pm_drain(m));
	check_told(pm_unmap(m));
}
END_TEST

/* What was recorded and drained while the file had it is not held against the drains that follow. */
START_TEST(what_was_drained_before_is_not_told)
{
	start(&fake_plain, NULL);
	unit_ok(pm_persist(m, base, PAGES * page));
	cut(end);
	unit_ok(pm_flush(m, base + 5 * page, IN_PAGE));
	unit_ok(pm_drain(m));
	unit_ok(pm_drain(m));
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_sync_tells)
{
	start(pages_and_lines[_i], NULL);
	cut(end);
	check_told(pm_sync(m));
	check_told(pm_sync(m));
	check_not_poisoned();
	check_told(pm_drain(m));
	check_told(pm_unmap(m));
}
END_TEST

/* On lines nothing is asked: a look closes the short cut. In the last page a 0 comes until then, as documented. */
START_TEST(lines_are_told_by_a_look)
{
	start(&fake_dax, UNIT_OPTIONS(.flags = _i ? PM_WATCH : 0));
	cut(end);
	for (int i = 0; _i && i < 3000 && m->terms.lines; i++)
		usleep(1000);
	if (!_i)
		unit_query(m);
	ck_assert_ptr_null(m->terms.lines);
	check_told(pm_persist(m, base + end, 1));
	unit_ok(pm_persist(m, base + end - 1, 1));
	check_told(pm_unmap(m));
}
END_TEST

START_TEST(demoted_drains_tell)
{
	start(&fake_dax, NULL);
	fake.machine.sync = FAKE_REFUSES;
	unit_query(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	cut(end);
	unit_ok(pm_persist(m, base, 1));
	check_told(pm_persist(m, base + end, 1));
	check_told(pm_drain(m)); /* each covers the whole mapping */
	check_told(pm_unmap(m));
}
END_TEST

/* Another process makes the file longer again: zeros, where acknowledged bytes were. */
START_TEST(a_file_that_grows_again_is_still_told)
{
	start(pages_and_lines[_i], NULL);
	cut(end);
	unit_query(m);
	cut(PAGES * page);
	check_told(pm_persist(m, base + end, 1));
	unit_query(m);
	check_told(pm_persist(m, base + end, 1));
	unit_ok(pm_resize(m, PAGES * page));
	unit_ok(pm_persist(m, base + end, 1));
	unit_ok(pm_drain(m));
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_cut_mapping_does_not_grow)
{
	start(&fake_plain, NULL);
	cut(end);
	ck_assert_int_eq(pm_resize(m, 2 * PAGES * page), -ERANGE);
	ck_assert_int_eq(pm_resize(m, PAGES * page), -ERANGE);
	ck_assert_uint_eq(unit_size_of(path), end);
	unit_ok(pm_resize(m, end - 10));
	ck_assert_uint_eq(unit_size_of(path), end); /* what it does not end at is left alone */
	unit_ok(pm_unmap(m));
}
END_TEST

/* A mapping that does not reach there gets no error. */
START_TEST(a_cut_behind_the_mapping_is_none)
{
	start(&fake_plain, UNIT_OPTIONS(.length = 4 * unit_page(), .offset = 100));
	cut(end);
	unit_query(m);
	unit_ok(pm_persist(m, base, pm_length(m)));
	unit_ok(pm_sync(m));
	cut(100 + 4 * page);
	unit_ok(pm_persist(m, base, pm_length(m)));
	cut(100 + 4 * page - 1);
	ck_assert_int_eq(pm_persist(m, base, pm_length(m)), -ERANGE);
	unit_ok(pm_persist(m, base, pm_length(m) - 1));
	ck_assert_int_eq(pm_unmap(m), -ERANGE); /* of that persist */
}
END_TEST

/* ---- Calls that drain before the end of the mapping or of a part ---- */

static int by_unmap(void)
{
	return pm_unmap(m);
}

/* The last page has nothing flushed. */
static int by_give_up(void)
{
	return pm_give_up(m, base + (PAGES - 1) * page, page);
}

static int by_give_up_of_all(void)
{
	return pm_give_up(m, base, PAGES * page);
}

static int (*const endings[])(void) = {by_unmap, by_give_up, by_give_up_of_all};
#define ENDINGS 3

/* The pages were given up all the same, and the unmapping tells it again. */
static void end_the_rest(int ending)
{
	if (!ending)
		return;
	ck_assert_int_eq(pm_persist(m, base + (PAGES - 1) * page, 1), -ERANGE);
	ck_assert_int_eq(pm_errors_current(&m->errors), 0);
	check_told(pm_unmap(m));
}

/* What was recorded and never drained, in one run and in scattered ones. */
START_TEST(an_ending_tells_of_what_was_recorded)
{
	start(&fake_plain, NULL);
	unit_ok(pm_flush(m, base, _i < ENDINGS ? 16 * page : 1));
	if (_i >= ENDINGS)
		unit_ok(pm_flush(m, base + 40 * page, 1));
	cut(end);
	check_told(endings[_i % ENDINGS]());
	end_the_rest(_i % ENDINGS);
}
END_TEST

/* Told once is no reason for a 0; nor is a file that is as long again. */
START_TEST(an_ending_tells_again)
{
	start(&fake_plain, NULL);
	unit_ok(pm_flush(m, base, 16 * page));
	cut(end);
	check_told(pm_drain(m));
	if (_i >= ENDINGS)
		cut(PAGES * page);
	check_told(endings[_i % ENDINGS]());
	end_the_rest(_i % ENDINGS);
}
END_TEST

/* A persist of another range took it, and returned 0 for its own. */
START_TEST(an_ending_tells_of_what_another_call_took)
{
	start(&fake_plain, NULL);
	unit_ok(pm_flush(m, base + 10 * page, 1));
	cut(end);
	unit_ok(pm_persist(m, base, 1));
	check_told(endings[_i]());
	end_the_rest(_i);
}
END_TEST

START_TEST(an_ending_after_a_demotion_tells)
{
	start(&fake_dax, NULL);
	unit_ok(pm_flush(m, base + 10 * page, 1));
	fake.machine.sync = FAKE_REFUSES;
	unit_query(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	cut(end);
	check_told(endings[_i]());
	end_the_rest(_i);
}
END_TEST

/* Lines that were flushed are not recorded. Once the cut was seen by a call, not by a look, each ending tells it. */
START_TEST(an_ending_on_lines_tells)
{
	start(_i / ENDINGS ? &fake_eadr : &fake_dax, NULL);
	unit_ok(pm_flush(m, base, PAGES * page));
	cut(end);
	check_told(pm_sync(m));
	check_told(pm_drain(m));
	ck_assert_int_ge(pm_granularity_of(m), PM_CACHE_LINE);
	check_told(endings[_i % ENDINGS]());
	end_the_rest(_i % ENDINGS);
}
END_TEST

/* pm_unmap() asks for the file anyway, before it moves the times. */
START_TEST(an_unmapping_of_lines_sees_the_cut)
{
	start(_i % 2 ? &fake_eadr : &fake_dax, UNIT_OPTIONS(.flags = _i / 2 ? PM_READ_ONLY : 0));
	unit_ok(pm_flush(m, base, 1));
	unit_ok(pm_drain(m));
	cut(end);
	ck_assert_int_eq(pm_unmap(m), _i / 2 ? 0 : -ERANGE); /* read-only: nothing was stored through it */
}
END_TEST

/* What lies before the end, what was drained before the cut, and what pm_resize() acknowledged. */
START_TEST(an_ending_that_lost_nothing)
{
	start(&fake_plain, NULL);
	if (_i / ENDINGS == 0) {
		unit_ok(pm_persist(m, base, PAGES * page));
		unit_ok(pm_flush(m, base, end));
		cut(end);
	} else {
		unit_ok(pm_flush(m, base, PAGES * page));
		cut(end);
		check_told(pm_drain(m));
		cut(PAGES * page);
		unit_ok(pm_resize(m, PAGES * page));
		base = pm_base(m);
		unit_ok(pm_flush(m, base, PAGES * page));
	}
	unit_ok(endings[_i % ENDINGS]());
	if (_i % ENDINGS)
		unit_ok(pm_unmap(m));
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

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pm_resize() lets a mapping of a file that was cut off go on, also where the file has grown again. It acknowledges
 * only what the caller was told, and each sentence advises what is still possible.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "cutting.h"
#include "mapping/mapping.h"

/* The file is cut off before something flushed, which a call for another range sees, and grows again. */
static void lose_unseen(void)
{
	unit_ok(pm_flush(cut.m, cut.base + 10 * cut.page, 1));
	cut_to(cut.end);
	unit_ok(pm_persist(cut.m, cut.base, 1));
	cut_to(CUT_PAGES * cut.page);
}

static void check_durable(void)
{
	cut.base = pm_base(cut.m);
	unit_ok(pm_flush(cut.m, cut.base, (size_t)pm_length(cut.m)));
	unit_ok(pm_drain(cut.m));
	unit_ok(pm_unmap(cut.m));
}

/* ---- What the caller was told ---- */

static unsigned asked;

static void grow_before_the_second_look(enum fake_call c)
{
	if (c == FAKE_statx_now && ++asked == 2)
		cut_to(CUT_PAGES * cut.page);
}

static void let_it_grow_before_the_second_look(void)
{
	asked = 0;
	counting.hook = grow_before_the_second_look;
}

/* The drain of pm_resize() itself saw the cut, or a call that returned 0 for its own range. */
START_TEST(a_cut_is_told_before_it_is_acknowledged)
{
	bool was_seen_before = _i & 1, has_reserve = _i & 4;
	cut_start(&fake_plain, UNIT_OPTIONS(.reserve = has_reserve ? 2 * CUT_PAGES * unit_page() : 0));
	uint64_t length = _i & 2 ? cut.end + 1 : CUT_PAGES * cut.page;
	unit_ok(pm_flush(cut.m, cut.base + 10 * cut.page, 1));
	cut_to(cut.end);
	if (was_seen_before) {
		unit_ok(pm_persist(cut.m, cut.base, 1)); /* takes the other as well */
		cut_to(CUT_PAGES * cut.page);
	} else {
		let_it_grow_before_the_second_look();
	}
	cut_check_told(pm_resize(cut.m, length));
	counting.hook = NULL;
	ck_assert_uint_eq(unit_size_of(cut.path), CUT_PAGES * cut.page);
	ck_assert_uint_eq(pm_length(cut.m), CUT_PAGES * cut.page);
	cut_check_told(pm_drain(cut.m));
	ck_assert_int_eq(pm_errors_current(&cut.m->errors), 0);
	unit_ok(pm_resize(cut.m, length));
	unit_ok(pm_drain(cut.m));
	check_durable();
}
END_TEST

static void grow_after_the_look(enum fake_call c)
{
	if (c == FAKE_statx_now)
		cut_to(CUT_PAGES * cut.page);
}

/* Lines are not asked about: the look of pm_resize() sees the cut, and the file grows before the call asks itself. */
START_TEST(so_is_one_of_lines)
{
	cut_start(_i ? &fake_eadr : &fake_dax, NULL);
	unit_ok(pm_persist(cut.m, cut.base + 10 * cut.page, 1));
	cut_to(cut.end);
	counting.hook = grow_after_the_look;
	cut_check_told(pm_resize(cut.m, CUT_PAGES * cut.page));
	counting.hook = NULL;
	ck_assert_uint_eq(unit_size_of(cut.path), CUT_PAGES * cut.page);
	cut_check_told(pm_persist(cut.m, cut.base + cut.end, 1));
	unit_ok(pm_resize(cut.m, CUT_PAGES * cut.page));
	check_durable();
}
END_TEST

/* A mapping that is to grow: what was cut off is told before the file is made longer. */
START_TEST(so_is_one_of_a_mapping_that_grows)
{
	cut_start(&fake_plain, NULL);
	unit_ok(pm_flush(cut.m, cut.base + 10 * cut.page, 1));
	cut_to(cut.end);
	let_it_grow_before_the_second_look();
	cut_check_told(pm_resize(cut.m, 2 * CUT_PAGES * cut.page));
	counting.hook = NULL;
	ck_assert_uint_eq(unit_size_of(cut.path), CUT_PAGES * cut.page);
	unit_ok(pm_resize(cut.m, 2 * CUT_PAGES * cut.page));
	ck_assert_uint_eq(unit_size_of(cut.path), 2 * CUT_PAGES * cut.page);
	check_durable();
}
END_TEST

/* A report and an event tell it as well. */
START_TEST(what_a_look_told_is_acknowledged)
{
	struct pm_event event = {.kind = 0};
	cut_start(&fake_plain, NULL);
	unit_ok(pm_flush(cut.m, cut.base + 10 * cut.page, 1));
	cut_to(cut.end);
	unit_ok(pm_persist(cut.m, cut.base, 1));
	if (!_i)
		unit_query(cut.m);
	while (_i && event.kind != PM_EVENT_TRUNCATED)
		unit_ok(pm_next_event(cut.m, &event, sizeof(event)));
	cut_to(CUT_PAGES * cut.page);
	unit_ok(pm_resize(cut.m, CUT_PAGES * cut.page));
	unit_ok(pm_drain(cut.m));
	check_durable();
}
END_TEST

/* The file had grown again when it was looked at: there is no event, and the report knows the cut from the drain. */
START_TEST(a_look_that_came_too_late)
{
	struct pm_event event;
	struct pm_report r;
	cut_start(&fake_plain, NULL);
	lose_unseen();
	if (_i) {
		unit_ok(pm_query(cut.m, &r, _i == 1 ? sizeof(r) : offsetof(struct pm_report, evidence)));
		ck_assert_int_eq(r.reason, PM_REASON_TRUNCATED);
	} else {
		while (!pm_next_event(cut.m, &event, sizeof(event)))
			ck_assert_int_ne(event.kind, PM_EVENT_TRUNCATED);
		cut_check_told(pm_resize(cut.m, CUT_PAGES * cut.page));
	}
	unit_ok(pm_resize(cut.m, CUT_PAGES * cut.page));
	check_durable();
}
END_TEST

/* The reason is the poison; a row tells the cut, unless the caller left no room for it. */
START_TEST(a_report_of_a_poisoned_mapping_tells_a_cut)
{
	struct pm_report r;
	size_t rows = offsetof(struct pm_report, evidence);
	size_t size = _i ? rows + PM_EV_IN_FILE * sizeof(struct pm_evidence) : sizeof(r);
	cut_start(&fake_plain, NULL);
	lose_unseen();
	pm_shared_file_fail(cut.m->errors.shared, atomic_load(&cut.m->errors.shared->error_seq), -EIO);
	unit_ok(pm_query(cut.m, &r, size));
	ck_assert_int_eq(r.reason, PM_REASON_WRITE_BACK_FAILED);
	ck_assert(_i || r.evidence[PM_EV_IN_FILE].state == PM_NO);
	fake.recovers = true;
	unit_ok(pm_clear_error(cut.m));
	if (_i)
		cut_check_told(pm_resize(cut.m, CUT_PAGES * cut.page));
	unit_ok(pm_resize(cut.m, CUT_PAGES * cut.page));
	check_durable();
}
END_TEST

static void cut_deeper(enum fake_call c)
{
	if (c != FAKE_mprotect)
		return;
	counting.hook = NULL;
	unit_ok(pm_flush(cut.m, cut.base + 10 * cut.page, 1));
	cut_to(cut.end);
	unit_ok(pm_persist(cut.m, cut.base, 1));
}

/* Within a reserve other threads go on while the call runs, and see what it has not seen. */
START_TEST(what_is_seen_during_the_call_is_not_acknowledged)
{
	cut_start(&fake_plain, UNIT_OPTIONS(.reserve = CUT_PAGES * unit_page()));
	cut_to(20 * cut.page);
	ck_assert_int_eq(pm_persist(cut.m, cut.base + 30 * cut.page, 1), -ERANGE);
	cut_to(CUT_PAGES * cut.page);
	counting.hook = cut_deeper;
	unit_ok(pm_resize(cut.m, 50 * cut.page));
	cut_check_told(pm_drain(cut.m));
	unit_ok(pm_resize(cut.m, 50 * cut.page));
	check_durable();
}
END_TEST

static int store_beyond(void *arg)
{
	*(volatile char *)arg = 1;
	return 0;
}

/* A fault tells it, and every later call knows the end that the fault saw. */
START_TEST(what_a_fault_told_is_acknowledged)
{
	cut_start(_i ? &fake_dax : &fake_plain, NULL);
	fake.guards = true;
	unit_ok(pm_guard_install());
	unit_ok(pm_flush(cut.m, cut.base + 10 * cut.page, 1));
	cut_to(cut.end);
	ck_assert_int_eq(pm_guarded(cut.m, store_beyond, cut.base + 10 * cut.page, NULL, 0), -EIO);
	cut_to(CUT_PAGES * cut.page);
	cut_check_told(pm_persist(cut.m, cut.base + 10 * cut.page, 1));
	unit_ok(pm_resize(cut.m, CUT_PAGES * cut.page));
	check_durable();
	unit_ok(pm_guard_remove());
}
END_TEST

/* What was told of one cut is no word about a deeper one. */
START_TEST(each_cut_is_told)
{
	cut_start(&fake_plain, NULL);
	cut_to(20 * cut.page);
	ck_assert_int_eq(pm_persist(cut.m, cut.base + 30 * cut.page, 1), -ERANGE);
	lose_unseen();
	cut_check_told(pm_resize(cut.m, CUT_PAGES * cut.page));
	unit_ok(pm_resize(cut.m, CUT_PAGES * cut.page));
	unit_ok(pm_drain(cut.m));
	check_durable();
}
END_TEST

/* Told once, and acknowledged: a later cut at the same place is told again. */
START_TEST(a_cut_that_was_acknowledged_counts_for_no_other)
{
	cut_start(&fake_plain, NULL);
	for (int i = 0; i < 3; i++) {
		lose_unseen();
		cut_check_told(pm_resize(cut.m, CUT_PAGES * cut.page));
		unit_ok(pm_resize(cut.m, CUT_PAGES * cut.page));
		unit_ok(pm_drain(cut.m));
	}
	check_durable();
}
END_TEST

/* What another process made long again is durable before lines are promised there, or the call fails. */
START_TEST(what_grew_again_is_synced)
{
	cut_start(_i ? &fake_dax : &fake_plain, NULL);
	fake.recovers = true;
	cut_to(cut.end);
	ck_assert_int_eq(pm_sync(cut.m), -ERANGE);
	cut_to(CUT_PAGES * cut.page);
	fake_fail(FAKE_fsync, 0, EIO);
	ck_assert_int_eq(pm_resize(cut.m, CUT_PAGES * cut.page), -EIO);
	fake_fail(FAKE_fsync, 0, 0);
	unit_ok(pm_clear_error(cut.m));
	cut_check_told(pm_persist(cut.m, cut.base + cut.end, 1));
	fake_forget();
	unit_ok(pm_resize(cut.m, CUT_PAGES * cut.page));
	ck_assert_uint_eq(fake_calls(FAKE_fsync), 1);
	check_durable();
}
END_TEST

/* What lies behind the new length is the mapping's no more. */
START_TEST(what_is_not_kept_needs_no_word)
{
	cut_start(&fake_plain, UNIT_OPTIONS(.reserve = _i & 1 ? CUT_PAGES * unit_page() : 0));
	unit_ok(pm_flush(cut.m, cut.base + 10 * cut.page, 1));
	cut_to(cut.end);
	if (_i & 2)
		let_it_grow_before_the_second_look();
	unit_ok(pm_resize(cut.m, cut.end));
	counting.hook = NULL;
	unit_ok(pm_drain(cut.m));
	check_durable();
}
END_TEST

/* ---- What the sentence advises ---- */

static int touch_the_end(void)
{
	return pm_persist(cut.m, cut.base + cut.end, 1);
}

static int give_up_a_page(void)
{
	unit_ok(pm_flush(cut.m, cut.base + 10 * cut.page, 1));
	return pm_give_up(cut.m, cut.base, cut.page);
}

static const struct {
	unsigned flags;
	bool has_reserve, has_gap, can_resize;
	int (*tell)(void);
} advices[] = {
	{.tell = touch_the_end, .can_resize = true},
	{.tell = touch_the_end, .flags = PM_READ_ONLY},
	{.tell = touch_the_end, .flags = PM_READ_ONLY, .has_reserve = true, .can_resize = true},
	{.tell = touch_the_end, .has_gap = true},
	{.tell = give_up_a_page},
};
#define ADVICES 5

START_TEST(the_sentence_advises_what_is_possible)
{
	bool can_resize = advices[_i].can_resize;
	cut_start(&fake_plain, UNIT_OPTIONS(.flags = advices[_i].flags,
	                                    .reserve = advices[_i].has_reserve ? CUT_PAGES * unit_page() : 0));
	if (advices[_i].has_gap)
		unit_ok(pm_give_up(cut.m, cut.base + 60 * cut.page, cut.page));
	cut_to(cut.end);
	cut_check_told(advices[_i].tell());
	ck_assert_msg(!strstr(pm_error_detail(), "pm_resize()") == !can_resize, "%s", pm_error_detail());
	ck_assert_msg(strstr(pm_error_detail(), "map again"), "%s", pm_error_detail());
	ck_assert_int_eq(!pm_resize(cut.m, cut.end), can_resize);
	pm_unmap(cut.m);
}
END_TEST

/* After it there is no mapping that pm_resize() or pm_clear_error() could be called on. */
START_TEST(an_unmapping_advises_no_call_on_the_mapping)
{
	static const int expected[] = {-ERANGE, -EIO, -EBADF};
	cut_start(&fake_plain, NULL);
	unit_ok(pm_flush(cut.m, cut.base + 10 * cut.page, 1));
	if (_i == 0)
		cut_to(cut.end);
	else if (_i == 1)
		fake_fail(FAKE_msync, 0, EIO);
	else
		close(cut.m->medium.fd);
	ck_assert_int_eq(pm_unmap(cut.m), expected[_i]);
	const char *text = pm_error_detail();
	bool is_possible = !strstr(text, "pm_resize") && !strstr(text, "pm_clear_error") && !strstr(text, "unmap and");
	ck_assert_msg(is_possible, "%s", text);
	ck_assert_msg(strstr(text, "pm_unmap(") || strstr(text, "pm_unmap "), "%s", text);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("cut_told");
	tcase_add_loop_test(c, a_cut_is_told_before_it_is_acknowledged, 0, 8);
	tcase_add_loop_test(c, so_is_one_of_lines, 0, 2);
	tcase_add_test(c, so_is_one_of_a_mapping_that_grows);
	tcase_add_loop_test(c, what_a_look_told_is_acknowledged, 0, 2);
	tcase_add_loop_test(c, a_look_that_came_too_late, 0, 3);
	tcase_add_loop_test(c, a_report_of_a_poisoned_mapping_tells_a_cut, 0, 2);
	tcase_add_loop_test(c, what_a_fault_told_is_acknowledged, 0, 2);
	tcase_add_test(c, what_is_seen_during_the_call_is_not_acknowledged);
	tcase_add_test(c, each_cut_is_told);
	tcase_add_test(c, a_cut_that_was_acknowledged_counts_for_no_other);
	tcase_add_loop_test(c, what_grew_again_is_synced, 0, 2);
	tcase_add_loop_test(c, what_is_not_kept_needs_no_word, 0, 4);
	tcase_add_loop_test(c, the_sentence_advises_what_is_possible, 0, ADVICES);
	tcase_add_loop_test(c, an_unmapping_advises_no_call_on_the_mapping, 0, 3);
	return unit_run();
}

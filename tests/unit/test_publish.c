/* SPDX-License-Identifier: BSD-3-Clause */
/* From what the steps of a look returned to its events, without a mapping. */
#include <errno.h>

#include "observe/observe.h"
#include "observe/publish.h"
#include "unit.h"

static const struct pm_in_force lines = {PM_CACHE_LINE, PM_YES, PM_YES}, pages = {PM_PAGE, PM_NO, PM_YES};
static const struct pm_span range = {4096, 8192};
static struct pm_terms terms;
static struct pm_medium medium;
static struct pm_mapped mapped;
static struct pm_shared_file shared;
static struct pm_errors errors;
static struct pm_observed o;

static void start(void)
{
	fake_start(&fake_plain);
	terms = (struct pm_terms){.granularity = PM_PAGE, .decision = {.sync = PM_NO, .direct = PM_YES}};
	medium = (struct pm_medium){.end = UINT64_MAX};
	mapped = (struct pm_mapped){.range = range};
	shared.error_seq = 0;
	errors = (struct pm_errors){.shared = &shared};
	o = (struct pm_observed){.mapped = &mapped, .terms = &terms, .medium = &medium, .errors = &errors};
	pm_terms_init(&terms);
	pm_observed_init(&o);
	pm_events_init(&o.events, NULL, NULL, NULL, "file");
}

static void stop(void)
{
	pm_events_destroy(&o.events);
	pm_terms_destroy(&terms);
}

static struct pm_event take(void)
{
	struct pm_event event = {.kind = 0};
	int rc = pm_events_take(&o.events, &event);
	ck_assert(!rc || rc == -EAGAIN);
	return event;
}

START_TEST(an_event_has_both_states)
{
	start();
	struct pm_look look = {.range = range, .before = lines, .after = pages, .changes = {.range = range}};
	pm_changes_add(&look.changes, PM_REASON_HOLE)->length = 4096;
	pm_changes_add(&look.changes, PM_REASON_SHUT_DOWN)->error = -EIO;
	pm_publish(&o, &look, false);
	struct pm_event e = take();
	ck_assert_int_eq(e.kind, PM_EVENT_HOLE);
	ck_assert_uint_eq(e.size, sizeof(e));
	ck_assert_uint_eq(e.offset, 4096);
	ck_assert_uint_eq(e.length, 4096);
	ck_assert_int_eq(e.old_granularity, PM_CACHE_LINE);
	ck_assert_int_eq(e.new_granularity, PM_PAGE);
	ck_assert_int_eq(e.old_sync, PM_YES);
	ck_assert_int_eq(e.sync, PM_NO);
	ck_assert_int_eq(e.old_direct, PM_YES);
	ck_assert_int_eq(e.direct, PM_YES);
	ck_assert_int_eq(e.error, 0);
	e = take();
	ck_assert_int_eq(e.kind, PM_EVENT_FS_OFFLINE);
	ck_assert_uint_eq(e.length, 8192);
	ck_assert_int_eq(e.error, -EIO);
	ck_assert_int_eq(take().kind, 0);
	stop();
}
END_TEST

static const struct {
	enum pm_reason reason;
	enum pm_event_kind kind;
} changes[] = {
	{PM_REASON_TRUNCATED, PM_EVENT_TRUNCATED},
	{PM_REASON_HOLE, PM_EVENT_HOLE},
	{PM_REASON_SHARED, PM_EVENT_SHARED},
	{PM_REASON_UNLINKED, PM_EVENT_NAME_LOST},
	{PM_REASON_MOVED, PM_EVENT_NAME_LOST},
	{PM_REASON_UNNAMED, PM_EVENT_NAME_LOST},
	{PM_REASON_COPIED_UP, PM_EVENT_NAME_LOST},
	{PM_REASON_MOUNTED_OVER, PM_EVENT_NAME_LOST},
	{PM_REASON_PAGE_CACHE, PM_EVENT_PAGE_CACHE},
	{PM_REASON_BAD_BLOCKS, PM_EVENT_BAD_BLOCKS},
	{PM_REASON_DAX_FLAG, PM_EVENT_DAX_FLAG},
	{PM_REASON_READ_ONLY, PM_EVENT_READ_ONLY},
	{PM_REASON_IMMUTABLE, PM_EVENT_READ_ONLY},
	{PM_REASON_SHUT_DOWN, PM_EVENT_FS_OFFLINE},
	{PM_REASON_DEVICE_GONE, PM_EVENT_FS_OFFLINE},
	{PM_REASON_MODIFIED, PM_EVENT_MODIFIED},
	{PM_REASON_OPENED_WRITING, PM_EVENT_OPENED},
	{PM_REASON_OPENED_DIRECT, PM_EVENT_OPENED},
};

START_TEST(a_change_is_one_event)
{
	start();
	struct pm_look look = {.range = range, .before = lines, .after = pages, .changes = {.range = range}};
	pm_changes_add(&look.changes, changes[_i].reason);
	pm_publish(&o, &look, false);
	struct pm_event e = take();
	ck_assert_int_eq(e.kind, changes[_i].kind);
	ck_assert_int_eq(e.reason, changes[_i].reason);
	ck_assert_int_eq(take().kind, 0);
	stop();
}
END_TEST

static const struct {
	struct pm_transition transition;
	int kind;
} transitions[] = {
	{{{PM_CACHE_LINE, PM_YES, PM_YES}, {PM_CACHE_LINE, PM_NO, PM_YES}, PM_REASON_HOLE}, 0},
	{{{PM_CACHE_LINE, PM_YES, PM_YES}, {PM_PAGE, PM_NO, PM_YES}, PM_REASON_HOLE}, PM_EVENT_DEMOTED},
	{{{PM_PAGE, PM_YES, PM_YES}, {PM_NONE, PM_NO, PM_YES}, PM_REASON_SHUT_DOWN}, PM_EVENT_DEMOTED},
	{{{PM_PAGE, PM_YES, PM_YES}, {PM_CACHE_LINE, PM_NO, PM_YES}, PM_REASON_NONE}, PM_EVENT_PROMOTED},
	{{{PM_GRANULARITY_UNKNOWN, PM_YES, PM_YES}, {PM_BYTE, PM_NO, PM_YES}, PM_REASON_UNNAMED}, PM_EVENT_DEMOTED},
	{{{PM_GRANULARITY_UNKNOWN, PM_YES, PM_YES}, {PM_GRANULARITY_UNKNOWN, PM_NO, PM_YES}, PM_REASON_NONE}, 0},
};

START_TEST(a_transition_is_one_event_or_none)
{
	start();
	struct pm_look look = {.range = range, .transition = transitions[_i].transition};
	pm_publish(&o, &look, false);
	struct pm_event e = take();
	ck_assert_int_eq(e.kind, transitions[_i].kind);
	ck_assert_int_eq(e.reason, e.kind ? transitions[_i].transition.reason : PM_REASON_NONE);
	ck_assert_uint_eq(e.length, e.kind ? 8192 : 0);
	ck_assert_int_eq(take().kind, 0);
	stop();
}
END_TEST

/* A look that promotes and then demotes: each event says what it changed. */
START_TEST(a_transition_tells_itself)
{
	start();
	struct pm_look look = {.range = range, .before = pages, .after = pages,
	                       .back = {.transition = {pages, lines, PM_REASON_NONE}},
	                       .transition = {lines, pages, PM_REASON_SHARED}};
	pm_publish(&o, &look, false);
	for (unsigned i = 0; i < 2; i++) {
		struct pm_event e = take();
		ck_assert_int_eq(e.kind, i ? PM_EVENT_DEMOTED : PM_EVENT_PROMOTED);
		ck_assert_int_eq(e.old_granularity, i ? PM_CACHE_LINE : PM_PAGE);
		ck_assert_int_eq(e.new_granularity, i ? PM_PAGE : PM_CACHE_LINE);
		ck_assert_int_eq(e.old_sync, i ? PM_YES : PM_NO);
		ck_assert_int_eq(e.sync, i ? PM_NO : PM_YES);
	}
	stop();
}
END_TEST

/* Two threads look one after the other, and the second publishes first. */
START_TEST(the_last_event_is_of_the_last_look)
{
	start();
	struct pm_look first = pm_look_begin(&o);
	first.transition = (struct pm_transition){pages, lines, PM_REASON_NONE};
	pm_look_end(&o, &first);
	struct pm_look second = pm_look_begin(&o);
	second.transition = (struct pm_transition){lines, pages, PM_REASON_SHARED};
	pm_look_end(&o, &second);
	pm_publish(&o, &second, false);
	pm_publish(&o, &first, false);
	ck_assert_int_eq(take().kind, PM_EVENT_PROMOTED);
	ck_assert_int_eq(take().kind, PM_EVENT_DEMOTED);
	stop();
}
END_TEST

/* As many as a look can have, in the order of its steps. */
START_TEST(the_steps_have_an_order)
{
	start();
	shared.error_seq = 1;
	struct pm_look look = {.range = range,
	                       .before = lines,
	                       .after = pages,
	                       .broken = PM_REASON_LEASE_FORCED,
	                       .failure = -EIO,
	                       .back = {.transition = {pages, lines, PM_REASON_NONE}},
	                       .transition = {lines, pages, PM_REASON_SHARED}};
	for (unsigned i = 0; i < PM_CHANGES; i++) {
		pm_changes_add(&look.back.changes, PM_REASON_HOLE);
		pm_changes_add(&look.changes, PM_REASON_SHARED);
	}
	pm_publish(&o, &look, false);
	static const enum pm_event_kind kinds[] = {PM_EVENT_LEASE_BROKEN, PM_EVENT_HOLE, PM_EVENT_WRITE_BACK_FAILED,
	                                           PM_EVENT_PROMOTED, PM_EVENT_DEMOTED, PM_EVENT_SHARED};
	for (size_t i = 0; i < COUNT(kinds); i++)
		ck_assert_int_eq(take().kind, kinds[i]);
	ck_assert_int_eq(take().kind, 0);
	stop();
}
END_TEST

/* The look's or a call's, whichever comes first. */
START_TEST(a_failure_is_one_event)
{
	start();
	struct pm_look look = {.range = range, .before = lines, .after = pages};
	shared.error_seq = 1;
	look.back.failure = -EIO;
	pm_publish(&o, &look, false);
	pm_publish_failure(&o, -EIO);
	look.back.failure = 0;
	look.failure = -ENOSPC;
	pm_publish(&o, &look, false);
	struct pm_event e = take();
	ck_assert_int_eq(e.kind, PM_EVENT_WRITE_BACK_FAILED);
	ck_assert_int_eq(e.reason, PM_REASON_WRITE_BACK_FAILED);
	ck_assert_int_eq(e.error, -EIO);
	ck_assert_int_eq(e.old_granularity, PM_CACHE_LINE);
	ck_assert_int_eq(take().kind, 0);
	shared.error_seq = 2;
	pm_publish_failure(&o, -ENOSPC);
	pm_publish(&o, &look, false);
	e = take();
	ck_assert_int_eq(e.error, -ENOSPC);
	ck_assert_int_eq(e.old_granularity, PM_PAGE);
	ck_assert_int_eq(take().kind, 0);
	stop();
}
END_TEST

int main(void)
{
	TCase *c = unit_case("publish");
	tcase_add_test(c, an_event_has_both_states);
	tcase_add_loop_test(c, a_change_is_one_event, 0, (int)COUNT(changes));
	tcase_add_loop_test(c, a_transition_is_one_event_or_none, 0, (int)COUNT(transitions));
	tcase_add_test(c, a_transition_tells_itself);
	tcase_add_test(c, the_last_event_is_of_the_last_look);
	tcase_add_test(c, the_steps_have_an_order);
	tcase_add_test(c, a_failure_is_one_event);
	return unit_run();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* From a decision to the strategy in force, without a mapping. */
#include "durability/lines_after_pages.h"
#include "durability/direct.h"
#include "durability/page.h"
#include "observe/transition.h"
#include "unit.h"

static struct pm_terms terms;
static struct pm_medium medium;

static struct pm_decision decision(enum pm_granularity granularity)
{
	bool is_met = granularity >= PM_CACHE_LINE;
	return (struct pm_decision){.granularity = granularity, .sync = is_met ? PM_YES : PM_NO,
	                            .grade = is_met ? PM_GRADE_PROMISED : PM_GRADE_ACCEPTED,
	                            .verdict = is_met ? PM_VERDICT_MET : PM_VERDICT_DEMOTED,
	                            .reason = is_met ? PM_REASON_NONE : PM_REASON_HOLE};
}

static void start(enum pm_granularity granularity)
{
	fake_start(&fake_dax);
	terms = (struct pm_terms){.is_synchronous = true};
	medium = (struct pm_medium){.cpu = pm_cpu(), .end = UINT64_MAX};
	pm_terms_init(&terms);
	pm_page_init(&medium.writeback);
	terms.decision = decision(granularity);
	pm_terms_begin(&terms, &medium);
}

static void stop(void)
{
	pm_page_destroy(&medium.writeback);
	pm_terms_destroy(&terms);
}

/* How many grades up, or down. */
static int adopt(enum pm_backing backing, struct pm_decision d, bool may_promote)
{
	struct pm_requested requested = {.backing = backing};
	enum pm_granularity before = atomic_load(&terms.granularity);
	struct pm_transition done = pm_terms_adopt(&terms, &medium, &requested, &d, may_promote);
	ck_assert_int_eq(done.from.granularity, before);
	ck_assert_int_eq(done.to.granularity, atomic_load(&terms.granularity));
	ck_assert_int_eq(done.reason, d.reason);
	return (int)done.to.granularity - (int)done.from.granularity;
}

static const struct {
	enum pm_backing backing;
	enum pm_granularity from, to;
	bool may_promote, is_synchronous;
	int steps;
	const struct pm_strategy *strategy;
	enum pm_granularity in_force;
} ways[] = {
	{PM_BACKING_FILE, PM_CACHE_LINE, PM_CACHE_LINE, true, true, 0, &pm_strategy_cacheline, PM_CACHE_LINE},
	{PM_BACKING_FILE, PM_CACHE_LINE, PM_PAGE, false, true, -1, &pm_strategy_writeback, PM_PAGE},
	{PM_BACKING_FILE, PM_BYTE, PM_CACHE_LINE, false, true, -1, &pm_strategy_cacheline, PM_CACHE_LINE},
	{PM_BACKING_FILE, PM_CACHE_LINE, PM_NONE, false, true, -2, &pm_strategy_writeback, PM_NONE},
	/* Never raised by a look, and without MAP_SYNC from the start not at all. */
	{PM_BACKING_FILE, PM_PAGE, PM_CACHE_LINE, false, true, 0, &pm_strategy_writeback, PM_PAGE},
	{PM_BACKING_FILE, PM_PAGE, PM_CACHE_LINE, true, false, 0, &pm_strategy_writeback, PM_PAGE},
	{PM_BACKING_FILE, PM_PAGE, PM_CACHE_LINE, true, true, 1, &pm_strategy_line_after_page,
	 PM_CACHE_LINE},
	{PM_BACKING_FILE, PM_CACHE_LINE, PM_BYTE, true, true, 0, &pm_strategy_cacheline, PM_CACHE_LINE},
	/* Without a write-back of the kernel lines are all that can be done. */
	{PM_BACKING_DEVICE_DAX, PM_CACHE_LINE, PM_NONE, false, true, -2, &pm_strategy_cacheline, PM_NONE},
};

START_TEST(a_decision_is_taken_up)
{
	start(ways[_i].from);
	terms.is_synchronous = ways[_i].is_synchronous;
	ck_assert_int_eq(adopt(ways[_i].backing, decision(ways[_i].to), ways[_i].may_promote), ways[_i].steps);
	ck_assert_ptr_eq(atomic_load(&terms.strategy), ways[_i].strategy);
	ck_assert_int_eq(atomic_load(&terms.granularity), ways[_i].in_force);
	/* Once. */
	ck_assert_int_eq(adopt(ways[_i].backing, decision(ways[_i].in_force), false), 0);
	stop();
}
END_TEST

/* What was flushed while the kernel served is completed by the strategy that follows. */
START_TEST(there_and_back)
{
	start(PM_CACHE_LINE);
	ck_assert_ptr_nonnull(atomic_load(&terms.lines));
	adopt(PM_BACKING_FILE, decision(PM_PAGE), false);
	ck_assert_ptr_null(atomic_load(&terms.lines));
	ck_assert(atomic_load(&medium.writeback.all));
	adopt(PM_BACKING_FILE, decision(PM_CACHE_LINE), true);
	ck_assert_ptr_eq(atomic_load(&terms.strategy), &pm_strategy_line_after_page);
	/* Its drains have something to do: no short cut. */
	ck_assert_ptr_null(atomic_load(&terms.lines));
	stop();
}
END_TEST

/* What was recorded on PM_PAGE is completed on lines, also where the mapping was promoted to more than lines. */
START_TEST(there_and_back_by_way_of_bytes)
{
	start(PM_BYTE);
	adopt(PM_BACKING_FILE, decision(PM_PAGE), false);
	adopt(PM_BACKING_FILE, decision(PM_BYTE), true);
	ck_assert_ptr_eq(atomic_load(&terms.strategy), &pm_strategy_line_after_page);
	ck_assert_int_eq(adopt(PM_BACKING_FILE, decision(PM_CACHE_LINE), false), -1);
	ck_assert_ptr_eq(atomic_load(&terms.strategy), &pm_strategy_line_after_page);
	ck_assert_ptr_null(atomic_load(&terms.lines));
	stop();
}
END_TEST

START_TEST(what_could_be_had_is_said)
{
	start(PM_PAGE);
	adopt(PM_BACKING_FILE, decision(PM_CACHE_LINE), false);
	ck_assert_int_eq(terms.decision.granularity, PM_PAGE);
	ck_assert_int_eq(terms.decision.sync, PM_NO);
	ck_assert_int_eq(terms.decision.verdict, PM_VERDICT_DEMOTED);
	ck_assert_int_eq(terms.decision.reason, PM_REASON_NOT_PROMOTED);
	stop();
}
END_TEST

/* From none to pages: what else is amiss of pages is usual. */
START_TEST(what_was_mended_is_said)
{
	static const struct {
		enum pm_reason reason, said;
	} all[] = {{PM_REASON_PAGE_CACHE, PM_REASON_NOT_PROMOTED},
	           {PM_REASON_AVOIDED, PM_REASON_NOT_PROMOTED},
	           {PM_REASON_HOLE, PM_REASON_HOLE}};
	struct pm_decision pages = decision(PM_PAGE);
	pages.reason = all[_i].reason;
	start(PM_NONE);
	adopt(PM_BACKING_FILE, pages, true);
	ck_assert_int_eq(terms.decision.granularity, PM_NONE);
	ck_assert_int_eq(terms.decision.reason, all[_i].said);
	stop();
}
END_TEST

/* With PM_FAIL_ON_DEMOTION, or where nothing is durable any more; once, until it is acknowledged. */
START_TEST(a_lost_guarantee)
{
	struct pm_decision refused = decision(_i == 2 ? PM_NONE : PM_PAGE);
	refused.verdict = PM_VERDICT_REFUSED;
	refused.error = _i == 2 ? -PM_EVOLATILE : -PM_ENOTSYNC;
	start(PM_CACHE_LINE);
	terms.fails_on_loss = _i == 1;
	adopt(PM_BACKING_FILE, refused, false);
	ck_assert_int_eq(atomic_load(&terms.lost_guarantee), _i ? refused.error : 0);
	pm_terms_acknowledge(&terms, &medium);
	ck_assert_int_eq(atomic_load(&terms.lost_guarantee), 0);
	adopt(PM_BACKING_FILE, refused, false);
	ck_assert_int_eq(atomic_load(&terms.lost_guarantee), 0);
	stop();
}
END_TEST

int main(void)
{
	TCase *c = unit_case("transition");
	tcase_add_loop_test(c, a_decision_is_taken_up, 0, (int)COUNT(ways));
	tcase_add_test(c, there_and_back);
	tcase_add_test(c, there_and_back_by_way_of_bytes);
	tcase_add_test(c, what_could_be_had_is_said);
	tcase_add_loop_test(c, what_was_mended_is_said, 0, 3);
	tcase_add_loop_test(c, a_lost_guarantee, 0, 3);
	return unit_run();
}

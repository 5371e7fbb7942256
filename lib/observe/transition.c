/* SPDX-License-Identifier: BSD-3-Clause */
#include "durability/direct.h"
#include "durability/lines_after_pages.h"
#include "durability/page.h"
#include "facts/evidence.h"
#include "observe/transition.h"
#include "sys/trace.h"

void pm_terms_init(struct pm_terms *t)
{
	pthread_mutex_init(&t->lock, NULL);
}

void pm_terms_destroy(struct pm_terms *t)
{
	pthread_mutex_destroy(&t->lock);
}

void pm_terms_close_short_cut(struct pm_terms *t)
{
	atomic_store(&t->lines, NULL);
}

/* If every call must check something first, the short cut is closed. */
static bool may_take_short_cut(struct pm_terms *t, struct pm_medium *medium, const struct pm_strategy *strategy)
{
	return strategy == &pm_strategy_cacheline && !atomic_load(&t->lost_guarantee) &&
	       !(medium->identity && atomic_load(&medium->identity->lost)) && !pm_medium_is_cut(medium) &&
	       !pm_parts_have_gaps(&medium->parts);
}

void pm_terms_set_strategy(struct pm_terms *t, struct pm_medium *medium, const struct pm_strategy *strategy)
{
	if (may_take_short_cut(t, medium, strategy))
		atomic_store(&t->lines, medium->cpu);
	/* Another thread may close it just now: what makes it close it has noted before. */
	if (!may_take_short_cut(t, medium, strategy))
		pm_terms_close_short_cut(t);
	atomic_store(&t->strategy, strategy);
}

void pm_terms_begin(struct pm_terms *t, struct pm_medium *medium)
{
	static const struct pm_strategy *const of_granularity[] = {
		[PM_NONE] = &pm_strategy_volatile,
		[PM_PAGE] = &pm_strategy_writeback,
		[PM_CACHE_LINE] = &pm_strategy_cacheline,
		[PM_BYTE] = &pm_strategy_fence,
	};
	enum pm_granularity g = t->decision.granularity;
	if (g == PM_NONE && t->decision.best_effort)
		g = medium->device_dax ? PM_CACHE_LINE : PM_PAGE;
	pm_terms_set_strategy(t, medium, of_granularity[g]);
	atomic_store(&t->granularity, t->decision.granularity);
}

/*
 * Switches to the kernel's write-back, also where that promises nothing any more. A device-dax has no write-back: it
 * goes on flushing lines, which is all that can be done, and only says less.
 */
static void demote(struct pm_terms *t, struct pm_medium *medium, enum pm_backing backing, enum pm_granularity to)
{
	if (backing == PM_BACKING_FILE && to <= PM_PAGE) {
		if (atomic_load(&t->granularity) > PM_PAGE) {
			pm_page_demoted(&medium->writeback);
			pm_terms_set_strategy(t, medium, &pm_strategy_writeback);
		}
	} else if (to == PM_CACHE_LINE && atomic_load(&t->strategy) != &pm_strategy_line_after_page) {
		pm_terms_set_strategy(t, medium, &pm_strategy_cacheline);
	}
	atomic_store(&t->granularity, to);
}

/*
 * Lines again. Pages that were recorded for the kernel's write-back are completed by the strategy of a promoted
 * mapping.
 */
static void promote(struct pm_terms *t, struct pm_medium *medium, enum pm_granularity to)
{
	pm_page_promoted(&medium->writeback);
	pm_terms_set_strategy(t, medium, &pm_strategy_line_after_page);
	atomic_store(&t->granularity, to);
}

/*
 * The facts allow more than the mapping was made with: user space must not commit alone without MAP_SYNC from the
 * start.
 */
static void decline(struct pm_terms *t, const struct pm_requested *requested, const struct pm_decision *d,
                    enum pm_granularity now)
{
	t->decision.granularity = now;
	if (now >= PM_CACHE_LINE)
		return;
	t->decision.sync = PM_NO;
	/* From none to pages: what the medium lacked was mended, and what else is amiss is usual of pages. */
	bool is_mended = now == PM_NONE && (d->reason == PM_REASON_PAGE_CACHE || d->reason == PM_REASON_AVOIDED);
	if (d->grade < PM_GRADE_TRUSTED && !is_mended) /* there is worse */
		return;
	t->decision.grade = PM_GRADE_ACCEPTED;
	t->decision.verdict = requested->sync == PM_GUARANTEE ? PM_VERDICT_REFUSED : PM_VERDICT_DEMOTED;
	t->decision.reason = PM_REASON_NOT_PROMOTED;
	t->decision.advice = PM_ADVICE_MAP_AGAIN;
}

/* With the lock held. */
static void adopt(struct pm_terms *t, struct pm_medium *medium, const struct pm_requested *requested,
                  const struct pm_decision *d, bool may_promote)
{
	enum pm_granularity now = atomic_load(&t->granularity);
	bool was_met = t->decision.verdict != PM_VERDICT_REFUSED;
	t->decision = *d;
	if (d->granularity > now && now == PM_PAGE && may_promote && t->is_synchronous) {
		promote(t, medium, d->granularity);
		return;
	}
	/* Where no store is durable any more there is nothing to fall back to. */
	bool fails = t->fails_on_loss || d->error == -PM_EVOLATILE;
	if (d->verdict == PM_VERDICT_REFUSED && was_met && fails) {
		atomic_store(&t->lost_guarantee, d->error);
		pm_terms_close_short_cut(t);
	}
	if (d->granularity > now)
		decline(t, requested, d, now);
	if (d->granularity >= now)
		return;
	demote(t, medium, requested->backing, d->granularity);
	pm_trace_demote(medium->map, now, d->granularity, d->reason);
}

/* With the lock held. */
static struct pm_in_force in_force(struct pm_terms *t)
{
	return (struct pm_in_force){atomic_load(&t->granularity), t->decision.sync, t->decision.direct};
}

struct pm_in_force pm_terms_in_force(struct pm_terms *t)
{
	pthread_mutex_lock(&t->lock);
	struct pm_in_force now = in_force(t);
	pthread_mutex_unlock(&t->lock);
	return now;
}

struct pm_transition pm_terms_adopt(struct pm_terms *t, struct pm_medium *medium, const struct pm_requested *requested,
                                    const struct pm_decision *d, bool may_promote)
{
	pthread_mutex_lock(&t->lock);
	struct pm_transition done = {.from = in_force(t), .reason = d->reason};
	adopt(t, medium, requested, d, may_promote);
	done.to = in_force(t);
	pthread_mutex_unlock(&t->lock);
	enum pm_granularity from = done.from.granularity, to = done.to.granularity;
	if (to != from)
		pm_count(to < from ? &medium->counters.demotions : &medium->counters.promotions, 1);
	return done;
}

void pm_terms_acknowledge(struct pm_terms *t, struct pm_medium *medium)
{
	pthread_mutex_lock(&t->lock);
	if (atomic_exchange(&t->lost_guarantee, 0))
		pm_terms_set_strategy(t, medium, atomic_load(&t->strategy));
	pthread_mutex_unlock(&t->lock);
}

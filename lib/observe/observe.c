/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "durability/direct.h"
#include "error.h"
#include "facts/evidence.h"
#include "facts/gather.h"
#include "facts/name.h"
#include "facts/subject.h"
#include "kernel/limits.h"
#include "observe/observe.h"

void pm_observed_init(struct pm_observed *o)
{
	pm_turns_init(&o->turns);
}

void pm_observed_destroy(struct pm_observed *o)
{
	pm_events_destroy(&o->events);
	pm_turns_destroy(&o->turns);
}

/* ---- Lease, assess, transition, changes ---- */

/*
 * What another process wrote, allocated or truncated is made durable before its event, and before lines are promised on
 * it: lines do not cover it (durability/direct.c). Also where a hole has demoted the mapping meanwhile.
 */
static void cover_others(struct pm_observed *o, int *failure)
{
	if (!o->terms->is_synchronous || pm_errors_current(o->errors) || !pm_sources_is_written(&o->sources))
		return;
	int rc = pm_commit_inode(o->medium);
	o->sources.may_be_written = rc != 0;
	if (rc)
		*failure = pm_errors_add(o->errors, rc);
}

/*
 * The path that leads to the file now may be in no journal yet where another process has renamed or linked something on
 * it. A guarantee, and a promise on lines, wait until it is durable.
 */
static bool settle_name(struct pm_observed *o, pm_evidence_table e, int *failure)
{
	struct pm_mapped *m = o->mapped;
	bool is_promised = o->terms->is_synchronous || pm_requested_guarantee(&m->requested);
	if (!m->file || !S_ISREG(m->file->stx.stx_mode) || !is_promised)
		return true;
	m->is_path_unsynced |= pm_sources_was_moved(&o->sources) || o->snapshot.name != PM_REASON_NONE;
	if (!m->is_path_unsynced || e[PM_EV_NAMED].state != PM_YES)
		return true;
	int rc = pm_observed_sync_path(o, failure);
	if (rc)
		pm_evidence_set(&e[PM_EV_NAMED], PM_NO, PM_NAME_MOVED, "syncfs(2)",
		                "its new path cannot be synced");
	return !rc;
}

int pm_observe_locked(struct pm_observed *o, pm_evidence_table e, bool all, bool by_watcher, struct pm_look *ret)
{
	struct pm_subject s;
	struct pm_decision fresh;
	*ret = pm_look_here(o);
	ret->broken = pm_answer_break(o, &ret->failure);
	cover_others(o, &ret->failure);
	if (!ret->broken && by_watcher)
		ret->back = pm_retake(o, e, &s, &fresh);
	int rc = ret->back.is_assessed ? 0 : pm_observed_assess(o, e, &s, &fresh);
	if (rc)
		return rc;
	if (!settle_name(o, e, &ret->failure))
		fresh = pm_decide(e, &o->mapped->requested);
	if (all)
		pm_evidence_for_report(e, &s);
	/* Only the options of the mount show it, which few observations read. */
	if (!o->mapped->is_emergency && s.found.emergency) {
		o->mapped->is_emergency = true;
		fresh = pm_decide(e, &o->mapped->requested);
	}
	ret->transition = pm_observed_adopt(o, &fresh, false);
	ret->changes = pm_observed_compare(o, e, &s);
	/* An event of this observation also covers what was announced during it. */
	if (o->sources.may_be_written)
		cover_others(o, &ret->failure);
	return 0;
}

/* ---- All of it ---- */

void pm_report_fill(struct pm_report *r, const struct pm_decision *d, const struct pm_requested *requested)
{
	r->size = sizeof(*r);
	r->granularity = d->granularity;
	r->sync = d->sync;
	r->direct = d->direct;
	r->grade = d->grade;
	r->verdict = d->verdict;
	r->reason = d->reason;
	r->advice = d->advice;
	r->sync_request = requested->sync;
	r->direct_request = requested->direct;
}

/*
 * Once the rows are there. It takes the place of the advice that each mapping of the page cache has under hints, which
 * is another medium: this one can be followed at once.
 */
static void advise_access(struct pm_report *r)
{
	bool is_free = r->advice == PM_ADVICE_NONE || r->advice == PM_ADVICE_MOUNT_DAX;
	if (is_free && r->granularity == PM_PAGE && r->evidence[PM_EV_LARGE_FOLIOS].value)
		r->advice = PM_ADVICE_RANDOM_ACCESS;
}

static bool is_guaranteed(const struct pm_report *r)
{
	return r->sync_request == PM_GUARANTEE || r->direct_request == PM_GUARANTEE;
}

/* A poisoned mapping makes no durability call succeed; only a file system that is not there is worse. */
static void blame_poison(struct pm_report *r)
{
	r->verdict = is_guaranteed(r) ? PM_VERDICT_REFUSED : PM_VERDICT_DEMOTED;
	r->grade = r->grade > PM_GRADE_ACCEPTED ? PM_GRADE_ACCEPTED : r->grade;
	if (r->reason == PM_REASON_DEVICE_GONE || r->reason == PM_REASON_SHUT_DOWN)
		return;
	r->reason = PM_REASON_WRITE_BACK_FAILED;
	r->advice = PM_ADVICE_CLEAR_ERROR;
}

/* Nothing is known of the file, and a write-back through its descriptor would be of another file. */
static void blame_descriptor(struct pm_report *r, bool all)
{
	r->verdict = is_guaranteed(r) ? PM_VERDICT_REFUSED : PM_VERDICT_DEMOTED;
	r->grade = PM_GRADE_NONE;
	r->sync = r->sync == PM_YES ? PM_UNKNOWN : r->sync;
	r->reason = PM_REASON_DESCRIPTOR_LOST;
	r->advice = PM_ADVICE_MAP_AGAIN;
	r->error = r->error ? r->error : -EBADF;
	if (all)
		pm_evidence_set(&r->evidence[PM_EV_OWN_DESCRIPTION], PM_NO, EBADF, "statx(2)",
		                "closed or reused by the program");
}

/* In the order of the decision: a backing that keeps nothing, and a file system that takes no store, come first. */
static bool is_worse_than_end(const struct pm_report *r)
{
	return r->granularity < PM_PAGE || r->reason == PM_REASON_SHUT_DOWN || r->reason == PM_REASON_DEVICE_GONE ||
	       r->reason == PM_REASON_READ_ONLY;
}

/* Calls on the part that was truncated fail until pm_resize(), also while the file is longer again. */
static void blame_end(struct pm_report *r, uint64_t cut_at, bool all)
{
	struct pm_evidence *row = &r->evidence[PM_EV_IN_FILE];
	if (row->state != PM_YES || cut_at == UINT64_MAX)
		return;
	if (!is_worse_than_end(r)) {
		r->verdict = is_guaranteed(r) ? PM_VERDICT_REFUSED : PM_VERDICT_DEMOTED;
		r->grade = r->grade > PM_GRADE_ACCEPTED ? PM_GRADE_ACCEPTED : r->grade;
		r->reason = PM_REASON_TRUNCATED;
		r->advice = PM_ADVICE_MAP_AGAIN;
	}
	if (!all)
		return;
	pm_evidence_set(row, PM_NO, 0, "an earlier look", "has grown since; pm_resize() ends it");
	row->value = cut_at;
}

int pm_observe_report(struct pm_observed *o, const char *call, struct pm_report *r, bool all)
{
	struct pm_look look;
	pm_turns_take(&o->turns);
	int rc = pm_observe_locked(o, r->evidence, all, false, &look);
	uint64_t cut_at = pm_medium_is_cut(o->medium) ? atomic_load(&o->medium->end) : UINT64_MAX;
	pm_look_end(o, &look);
	pm_publish(o, &look, false);
	if (rc)
		return pm_limit_no_evidence(o->name, call, rc);
	pthread_mutex_lock(&o->terms->lock);
	pm_report_fill(r, &o->terms->decision, &o->mapped->requested);
	r->offset = o->mapped->range.offset;
	r->length = o->mapped->range.length;
	pthread_mutex_unlock(&o->terms->lock);
	if (all)
		advise_access(r);
	blame_end(r, cut_at, all);
	r->error = pm_errors_current(o->errors);
	if (r->error)
		blame_poison(r);
	r->error = r->error ? r->error : atomic_load(&o->terms->lost_guarantee);
	if (o->mapped->file && atomic_load(&o->mapped->file->identity.lost))
		blame_descriptor(r, all);
	return 0;
}

bool pm_observe_if_free(struct pm_observed *o)
{
	struct pm_look look;
	pm_evidence_table e;
	if (!pm_turns_try(&o->turns))
		return false;
	/* Facts that cannot be gathered now are gathered by the next observation. */
	pm_observe_locked(o, e, false, true, &look);
	pm_look_end(o, &look);
	pm_publish(o, &look, true);
	return true;
}

void pm_observe_lease(struct pm_observed *o)
{
	if (!pm_lease_is_broken(&o->lease))
		return;
	struct pm_look look = pm_look_begin(o);
	look.broken = pm_answer_break(o, &look.failure);
	pm_look_end(o, &look);
	pm_publish(o, &look, false);
}

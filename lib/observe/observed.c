/* SPDX-License-Identifier: BSD-3-Clause */
#include "facts/evidence.h"
#include "facts/subject.h"
#include "file/sync.h"
#include "observe/observed.h"

int pm_observed_assess(struct pm_observed *o, pm_evidence_table e, struct pm_subject *s, struct pm_decision *ret)
{
	return pm_assess(o->mapped, o->medium, o->mapped->range.length, &o->lease, &o->sources, e, s, ret);
}

void pm_observed_adopt(struct pm_observed *o, const struct pm_decision *d, bool may_promote,
                       struct pm_event_batch *batch)
{
	int kind = pm_terms_adopt(o->terms, o->medium, &o->mapped->ask, d, may_promote);
	if (kind)
		pm_event_batch_add(batch, (enum pm_event_kind)kind, d->reason);
}

void pm_observed_fail(struct pm_observed *o, int rc, struct pm_event_batch *batch)
{
	pm_errors_add(o->errors, rc);
	if (pm_errors_mark_reported(o->errors))
		pm_event_batch_add(batch, PM_EVENT_WRITE_BACK_FAILED, PM_REASON_WRITE_BACK_FAILED)->error = rc;
}

int pm_observed_sync_path(struct pm_observed *o, struct pm_event_batch *batch)
{
	int rc = pm_file_sync_path(o->mapped->file, false);
	o->mapped->is_path_unsynced = rc;
	/* The kernel reports a write-back error once, and this sync may have taken it. */
	if (rc && o->mapped->file->suspect)
		pm_observed_fail(o, rc, batch);
	return rc;
}

void pm_observed_compare(struct pm_observed *o, const struct pm_evidence *e, const struct pm_subject *s,
                         struct pm_event_batch *batch)
{
	uint32_t announced = pm_sources_take(&o->sources);
	pm_changes_find(&o->snapshot, e, s, o->mapped->range, announced & IN_MODIFY, batch);
	/* A close may be the one of the last writer, and the next open is an event again. */
	if (announced & (IN_OPEN | IN_CLOSE_WRITE))
		pm_openers_announce(&o->openers, announced & IN_OPEN);
	if (atomic_load(&o->lease.is_held)) {
		pm_openers_none(&o->openers);
		return;
	}
	enum pm_reason opened = pm_openers_take(&o->openers);
	if (opened)
		pm_event_batch_add(batch, PM_EVENT_OPENED, opened);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "facts/evidence.h"
#include "facts/subject.h"
#include "file/sync.h"
#include "observe/observed.h"

int pm_observed_assess(struct pm_observed *o, pm_evidence_table e, struct pm_subject *s, struct pm_decision *ret)
{
	return pm_assess(o->mapped, o->medium, o->mapped->range.length, &o->lease, &o->sources, e, s, ret);
}

struct pm_transition pm_observed_adopt(struct pm_observed *o, const struct pm_decision *d, bool may_promote)
{
	return pm_terms_adopt(o->terms, o->medium, &o->mapped->requested, d, may_promote);
}

int pm_observed_sync_path(struct pm_observed *o, int *failure)
{
	int rc = pm_file_sync_path(o->mapped->file, false);
	o->mapped->is_path_unsynced = rc;
	/* The kernel reports a write-back error once, and this sync may have taken it. */
	if (rc && o->mapped->file->suspect)
		*failure = pm_errors_add(o->errors, rc);
	return rc;
}

struct pm_changes pm_observed_compare(struct pm_observed *o, const struct pm_evidence *e, const struct pm_subject *s)
{
	uint32_t announced = pm_sources_take(&o->sources);
	struct pm_changes found = pm_changes_find(&o->snapshot, e, s, o->mapped->range, announced & IN_MODIFY);
	/* A close may be the one of the last writer, and the next open is an event again. */
	if (announced & (IN_OPEN | IN_CLOSE_WRITE))
		pm_openers_announce(&o->openers, announced & IN_OPEN);
	if (atomic_load(&o->lease.is_held)) {
		pm_openers_none(&o->openers);
		return found;
	}
	enum pm_reason opened = pm_openers_take(&o->openers);
	if (opened)
		pm_changes_add(&found, opened);
	return found;
}

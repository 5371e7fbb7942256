/* SPDX-License-Identifier: BSD-3-Clause */
#include "durability/page.h"
#include "facts/evidence.h"
#include "facts/subject.h"
#include "file/copies.h"
#include "file/grow.h"
#include "kernel/trusted_sync.h"
#include "observe/retake.h"

/* The decision on the facts without the lease; where they cannot be gathered, the safe side. */
static struct pm_decision decide_without_lease(struct pm_observed *o)
{
	pm_evidence_table e;
	struct pm_subject s;
	struct pm_decision d = o->terms->decision;
	bool is_guaranteed = o->mapped->requested.sync == PM_GUARANTEE;
	if (!pm_observed_assess(o, e, &s, &d) || d.granularity <= PM_PAGE)
		return d;
	d.granularity = PM_PAGE;
	d.sync = PM_UNKNOWN;
	d.grade = PM_GRADE_ACCEPTED;
	d.verdict = is_guaranteed ? PM_VERDICT_REFUSED : PM_VERDICT_DEMOTED;
	d.error = is_guaranteed ? -PM_ENOTSYNC : 0;
	d.reason = PM_REASON_LEASE_REFUSED;
	d.advice = PM_ADVICE_CLOSE_OTHER_OPENS;
	return d;
}

/*
 * Switches the strategy first, then writes everything back, then lets the other process in. The write-back covers calls
 * under way as well: it takes the right to write from every page, so a store that it did not see faults after it, and
 * the call that flushes such a store finds the new strategy by then.
 */
enum pm_reason pm_answer_break(struct pm_observed *o, int *failure)
{
	if (!o->lease.is_wanted || !pm_lease_is_broken(&o->lease))
		return PM_REASON_NONE;
	pm_lease_note_break(&o->lease);
	struct pm_decision d = decide_without_lease(o);
	/* The break, which the caller returns, implies the transition. */
	struct pm_transition t = pm_observed_adopt(o, &d, false);
	bool is_demoted = t.from.granularity >= PM_CACHE_LINE && t.to.granularity == PM_PAGE;
	int rc = is_demoted ? pm_strategy_writeback.sync(o->medium) : 0;
	if (rc)
		*failure = pm_errors_add(o->errors, rc);
	return pm_lease_release(&o->lease) ? PM_REASON_LEASE_FORCED : PM_REASON_LEASE_BROKEN;
}

/* ---- The way back ---- */

/* Whether preparing the file again can undo what stands in the way. Where a sync leaves the inode out, nothing can. */
static bool is_mendable(const struct pm_mapped *m, const pm_evidence_table e, const struct pm_subject *s)
{
	if (e[PM_EV_FSYNC_COMPLETE].state != PM_YES)
		return false;
	bool is_whole = s->stx.stx_size >= s->end && e[PM_EV_ALLOCATED].state == PM_YES;
	return m->is_prepared || (is_whole && e[PM_EV_UNSHARED].state == PM_NO);
}

/*
 * With the lease, so that no other process has the file open. Shared extents are unshared by write faults:
 * FALLOC_FL_UNSHARE_RANGE goes through the page cache even on a DAX file before Linux 6.1.113 and 6.2
 * (fs/xfs/xfs_reflink.c xfs_reflink_unshare), and then the mapping shows old content.
 */
static int mend(struct pm_observed *o, const pm_evidence_table e, const struct pm_subject *s, int *failure)
{
	struct pm_file *f = o->mapped->file;
	int rc = 0;
	f->call = "the lease";
	f->size = s->stx.stx_size;
	/* Another process may have undone it. */
	if (o->mapped->is_copied_ahead)
		rc = pm_file_copy_singly(f, false);
	if (!rc && is_mendable(o->mapped, e, s))
		rc = pm_file_prepare(f, s->offset, s->length, true);
	if (rc)
		return rc;
	/* Syncs of a DAX file need not queue behind drains (durability/direct.c). */
	if (o->mapped->is_path_unsynced || o->sources.may_be_moved)
		return pm_observed_sync_path(o, failure);
	rc = pm_sync_file(f->fd, f->fsync_complete, false);
	if (rc)
		*failure = pm_errors_add(o->errors, rc);
	return rc;
}

/* Whether user space commits alone again. Takes the evidence for the attempt, and gathers it anew for the promotion. */
static bool return_to_lines(struct pm_observed *o, pm_evidence_table e, struct pm_subject *s, struct pm_decision *d,
                            struct pm_way_back *ret)
{
	/* Mending hides what the other process did to the extents, so that is looked for first. */
	ret->changes = pm_observed_compare(o, e, s);
	int rc = mend(o, e, s, &ret->failure);
	pm_own_write_end(&o->sources);
	ret->is_assessed = !rc && !pm_observed_assess(o, e, s, d);
	if (!ret->is_assessed || pm_errors_current(o->errors) || d->granularity <= PM_PAGE)
		return false;
	/* Mending may have taken longer than the kernel waits for a lease. */
	if (pm_lease_is_broken(&o->lease))
		return false;
	ret->transition = pm_observed_adopt(o, d, true);
	return true;
}

/*
 * With the lease held what failed is tried again, each time after twice as long. Nothing waits for facts that are in
 * the way and that no attempt can mend: each look gathers them anyway. Nor does anything wait after pm_clear_error(): a
 * latched failure allows no attempt before it.
 */
struct pm_way_back pm_retake(struct pm_observed *o, pm_evidence_table e, struct pm_subject *s, struct pm_decision *d)
{
	struct pm_way_back back = {.failure = 0};
	if (o->lease.is_wanted && !atomic_load(&o->lease.is_held))
		pm_lease_take(&o->lease);
	bool is_demoted = o->terms->is_synchronous && atomic_load(&o->terms->granularity) == PM_PAGE;
	if (!o->lease.is_wanted || !atomic_load(&o->lease.is_held) || !is_demoted)
		return back;
	if (pm_errors_current(o->errors) || !pm_backoff_is_over(&o->lease))
		return back;
	if (pm_observed_assess(o, e, s, d))
		return back;
	back.is_assessed = d->granularity <= PM_PAGE && !is_mendable(o->mapped, e, s);
	if (back.is_assessed)
		return back;
	bool has_returned = return_to_lines(o, e, s, d, &back);
	pm_backoff_note(&o->lease, has_returned || pm_errors_current(o->errors));
	return back;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "facts/policy.h"

/*
 * Whether PM_TRUST_KERNEL waives a row that is not as wanted. It waives what the kernel's word covers (holes, unwritten
 * extents, a clone that may come), not what is known to break that word. PROOF_ONLY: only a no stops the promise; with
 * an unknown the grade is promised.
 */
enum waiver { WAIVE_NEVER, WAIVE_UNKNOWN, WAIVE_ALWAYS, PROOF_ONLY };

/*
 * The facts that user-space durability depends on, the most instructive first. The first row that is not as wanted is
 * the reason.
 */
struct rule {
	enum pm_evidence_row row;
	enum pm_state wanted;
	enum pm_reason if_wrong;
	enum pm_reason if_unknown;
	enum pm_advice advice;
	enum waiver waiver;
	bool files_only; /* a device-dax has no file system, hence no extents */
};

static const struct rule rules[] = {
	{PM_EV_MAP_SYNC, PM_YES, PM_REASON_SYNC_REFUSED, PM_REASON_SYNC_REFUSED, PM_ADVICE_MOUNT_DAX, WAIVE_NEVER,
	 false},
	{PM_EV_SYNC_IGNORED, PM_NO, PM_REASON_SYNC_IGNORED, PM_REASON_SYNC_IGNORED, PM_ADVICE_LEAVE_SANDBOX,
	 WAIVE_UNKNOWN, true},
	{PM_EV_MAP_SYNC_IGNORED, PM_NO, PM_REASON_MAP_SYNC_IGNORED, PM_REASON_MAP_SYNC_IGNORED, PM_ADVICE_LEAVE_SANDBOX,
	 WAIVE_NEVER, false},
	{PM_EV_CPU, PM_YES, PM_REASON_CPU, PM_REASON_CPU, PM_ADVICE_OTHER_CPU, WAIVE_NEVER, false},
	{PM_EV_PROVIDER, PM_YES, PM_REASON_EMULATED_PMEM, PM_REASON_REGION_UNKNOWN, PM_ADVICE_REAL_MEDIUM,
	 WAIVE_UNKNOWN, false},
	{PM_EV_REGION, PM_YES, PM_REASON_REGION_UNKNOWN, PM_REASON_REGION_UNKNOWN, PM_ADVICE_REAL_MEDIUM, WAIVE_ALWAYS,
	 false},
	{PM_EV_CPU_FLUSH_SUFFICES, PM_YES, PM_REASON_FLUSH_COMMAND, PM_REASON_REGION_UNKNOWN, PM_ADVICE_REAL_MEDIUM,
	 WAIVE_UNKNOWN, false},
	{PM_EV_ARMED, PM_YES, PM_REASON_NOT_ARMED, PM_REASON_NOT_ARMED, PM_ADVICE_REAL_MEDIUM, PROOF_ONLY, false},
	{PM_EV_FSYNC_COMPLETE, PM_YES, PM_REASON_FSYNC_INCOMPLETE, PM_REASON_FSYNC_INCOMPLETE, PM_ADVICE_JOURNAL,
	 WAIVE_ALWAYS, true},
	/* Stores to written blocks need no commit, until another process punches, truncates or regrows it. */
	{PM_EV_FAST_COMMIT, PM_NO, PM_REASON_FAST_COMMIT, PM_REASON_FAST_COMMIT, PM_ADVICE_LEASE, WAIVE_UNKNOWN, true},
	{PM_EV_UNSHARED, PM_YES, PM_REASON_SHARED, PM_REASON_EXTENTS_UNKNOWN, PM_ADVICE_REWRITE, WAIVE_UNKNOWN, true},
	{PM_EV_ALLOCATED, PM_YES, PM_REASON_HOLE, PM_REASON_EXTENTS_UNKNOWN, PM_ADVICE_PREPARE, WAIVE_ALWAYS, true},
	{PM_EV_EXTENTS_WRITTEN, PM_YES, PM_REASON_UNWRITTEN, PM_REASON_EXTENTS_UNKNOWN, PM_ADVICE_PREPARE, WAIVE_ALWAYS,
	 true},
};

static enum pm_state direct_of(const struct pm_evidence *e)
{
	if (e[PM_EV_DEVICE_DAX].state == PM_YES)
		return PM_YES;
	return e[PM_EV_DAX].state;
}

static void blame(struct pm_decision *d, enum pm_reason reason, enum pm_advice advice)
{
	d->reason = reason;
	d->advice = advice;
}

/* The cases in which no store is known to become durable. */
static bool is_volatile(const struct pm_evidence *e, const struct pm_requested *requested, struct pm_decision *d)
{
	if (requested->backing == PM_BACKING_PRIVATE)
		blame(d, PM_REASON_PRIVATE, PM_ADVICE_NONE);
	else if (requested->backing == PM_BACKING_ANONYMOUS)
		blame(d, PM_REASON_ANONYMOUS, PM_ADVICE_NONE);
	else if (e[PM_EV_VOLATILE].state == PM_YES)
		blame(d, PM_REASON_VOLATILE, PM_ADVICE_REAL_MEDIUM);
	else if (e[PM_EV_ARMED].state == PM_NO && e[PM_EV_ARMED].value)
		blame(d, PM_REASON_NOT_ARMED, PM_ADVICE_REAL_MEDIUM);
	else if (e[PM_EV_SYNC_IGNORED].state == PM_YES)
		blame(d, PM_REASON_SYNC_IGNORED, PM_ADVICE_LEAVE_SANDBOX);
	else if (e[PM_EV_DEVICE_FLUSH].state == PM_NO)
		blame(d, PM_REASON_NO_DEVICE_FLUSH, PM_ADVICE_BARRIER);
	else
		return false;
	d->granularity = PM_NONE;
	d->sync = PM_NO;
	/* A crash of the process or the kernel takes nothing, and syncs that are not ignored are made. */
	d->best_effort = d->reason == PM_REASON_SYNC_IGNORED || d->reason == PM_REASON_NO_DEVICE_FLUSH ||
	                 d->reason == PM_REASON_NOT_ARMED;
	return true;
}

/*
 * Of a caller that wants the kernel's write-back. On an ext4 without a journal every drain syncs the whole file system
 * until the blocks of the range are written (pm_lines(7)), so preparing the file makes drains cheap. It meets no
 * request.
 */
static enum pm_advice advice_for_pages(const struct pm_evidence *e)
{
	bool is_unwritten = e[PM_EV_ALLOCATED].state == PM_NO || e[PM_EV_EXTENTS_WRITTEN].state == PM_NO;
	return e[PM_EV_FSYNC_COMPLETE].state == PM_NO && is_unwritten ? PM_ADVICE_PREPARE : PM_ADVICE_NONE;
}

/* What rules out user-space durability before the evidence for it counts. */
static bool is_lowered(const struct pm_evidence *e, const struct pm_requested *requested, struct pm_decision *d)
{
	const struct pm_evidence *forced = &e[PM_EV_ENV_OVERRIDE];
	bool avoids = requested->sync == PM_AVOID || requested->direct == PM_AVOID;
	bool avoids_all = requested->sync == PM_AVOID && requested->direct == PM_AVOID;
	if (e[PM_EV_MAP_SYNC_IGNORED].state == PM_YES && !avoids_all)
		blame(d, PM_REASON_MAP_SYNC_IGNORED, PM_ADVICE_LEAVE_SANDBOX);
	else if (d->direct == PM_NO && !avoids_all)
		blame(d, PM_REASON_PAGE_CACHE, PM_ADVICE_MOUNT_DAX);
	else if (d->direct == PM_UNKNOWN && avoids && requested->direct != PM_AVOID)
		blame(d, PM_REASON_DIRECT_UNKNOWN, PM_ADVICE_MOUNT_DAX);
	else if (avoids)
		blame(d, PM_REASON_AVOIDED, avoids_all ? advice_for_pages(e) : PM_ADVICE_NONE);
	else if (forced->state == PM_YES && forced->value <= PM_PAGE)
		blame(d, PM_REASON_ENV_OVERRIDE, PM_ADVICE_UNSET_ENV);
	else
		return false;
	d->sync = PM_NO;
	return true;
}

static bool is_waived(const struct rule *rule, enum pm_state state, bool trust)
{
	return trust && (rule->waiver == WAIVE_ALWAYS || (rule->waiver == WAIVE_UNKNOWN && state == PM_UNKNOWN));
}

/* A fact is missing: it is waived where it may be, otherwise the promise ends here. Returns whether to go on. */
static bool missing(struct pm_decision *d, enum pm_reason reason, enum pm_advice advice, bool waived)
{
	if (waived && d->grade != PM_GRADE_TRUSTED) {
		d->grade = PM_GRADE_TRUSTED;
		blame(d, PM_REASON_TRUSTED, advice);
	} else if (!waived) {
		d->grade = PM_GRADE_ACCEPTED;
		blame(d, reason, advice);
	}
	return waived;
}

/* While a lease is held no other process has the file open, so none can change its blocks. */
static bool is_moot(const struct rule *rule, const struct pm_evidence *e, const struct pm_requested *requested)
{
	if (rule->advice == PM_ADVICE_LEASE && e[PM_EV_LEASE_HELD].state == PM_YES)
		return true;
	return rule->files_only && requested->backing == PM_BACKING_DEVICE_DAX;
}

/* Whether every rule is met or waived. */
static bool are_rules_met(const struct pm_evidence *e, const struct pm_requested *requested, bool trust,
                          struct pm_decision *d)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		const struct rule *rule = &rules[i];
		enum pm_state state = e[rule->row].state;
		if (state == rule->wanted || is_moot(rule, e, requested))
			continue;
		if (rule->waiver == PROOF_ONLY && state == PM_UNKNOWN)
			continue;
		enum pm_reason reason = state == PM_UNKNOWN ? rule->if_unknown : rule->if_wrong;
		enum pm_advice advice = rule->advice == PM_ADVICE_LEASE && requested->lease
		                                ? PM_ADVICE_CLOSE_OTHER_OPENS
		                                : rule->advice;
		if (!missing(d, reason, advice, is_waived(rule, state, trust)))
			return false;
	}
	return true;
}

/* Whether no other process can come to share the extents, or that is waived. */
static bool stays_unshared(const struct pm_evidence *e, const struct pm_requested *requested, bool trust,
                           struct pm_decision *d)
{
	if (requested->backing != PM_BACKING_FILE || e[PM_EV_SHAREABLE].state == PM_NO ||
	    e[PM_EV_LEASE_HELD].state == PM_YES)
		return true;
	return requested->lease ? missing(d, PM_REASON_LEASE_REFUSED, PM_ADVICE_CLOSE_OTHER_OPENS, trust)
	                        : missing(d, PM_REASON_SHAREABLE, PM_ADVICE_LEASE, trust);
}

/* Walks through the facts. On return the grade is set, and the reason if the grade is below proven. */
static void grade_facts(const struct pm_evidence *e, const struct pm_requested *requested, bool trust,
                        struct pm_decision *d)
{
	if (d->direct == PM_UNKNOWN && !missing(d, PM_REASON_DIRECT_UNKNOWN, PM_ADVICE_MOUNT_DAX, trust))
		return;
	if (!are_rules_met(e, requested, trust, d) || !stays_unshared(e, requested, trust, d) ||
	    d->grade == PM_GRADE_TRUSTED)
		return;
	d->grade = PM_GRADE_PROMISED;
	if (e[PM_EV_DOMAIN].state != PM_YES)
		blame(d, PM_REASON_NO_DOMAIN, PM_ADVICE_STATE_DOMAIN);
	else if (e[PM_EV_ARMED].state != PM_YES)
		blame(d, PM_REASON_NOT_ARMED, PM_ADVICE_REAL_MEDIUM);
	else
		d->grade = PM_GRADE_PROVEN;
}

/* A virtio-pmem refuses MAP_SYNC for a reason that has a name. */
static void refine_refusal(const struct pm_evidence *e, struct pm_decision *d)
{
	if (d->reason == PM_REASON_SYNC_REFUSED && e[PM_EV_CPU_FLUSH_SUFFICES].state == PM_NO)
		blame(d, PM_REASON_FLUSH_COMMAND, PM_ADVICE_REAL_MEDIUM);
}

static void set_granularity(const struct pm_evidence *e, const struct pm_requested *requested, struct pm_decision *d)
{
	const struct pm_evidence *forced = &e[PM_EV_ENV_OVERRIDE];
	bool capped = forced->state == PM_YES && forced->value <= PM_CACHE_LINE;
	if (d->grade >= PM_GRADE_PROMISED && e[PM_EV_CPU_CACHE].state == PM_YES && !capped)
		d->granularity = PM_BYTE;
	else if (d->grade >= PM_GRADE_TRUSTED)
		d->granularity = PM_CACHE_LINE;
	else if (requested->backing == PM_BACKING_DEVICE_DAX)
		d->granularity = PM_NONE; /* there is no kernel write-back to fall back to */
	else
		d->granularity = PM_PAGE;
	/* A device-dax flushes lines even where it promises nothing: there is nothing else to flush. */
	d->best_effort = d->granularity == PM_NONE;
	if (d->reason == PM_REASON_AVOIDED && requested->backing == PM_BACKING_DEVICE_DAX)
		blame(d, PM_REASON_NO_WRITE_BACK, PM_ADVICE_USE_FSDAX);
}

static void set_sync(const struct pm_evidence *e, struct pm_decision *d)
{
	if (d->grade >= PM_GRADE_PROMISED)
		d->sync = PM_YES;
	else if (e[PM_EV_MAP_SYNC].state == PM_NO)
		d->sync = PM_NO;
}

/* A guarantee needs proof; a hint is met by any granularity that lets user space commit. */
static void set_verdict(const struct pm_requested *requested, struct pm_decision *d)
{
	bool fast = d->granularity >= PM_CACHE_LINE;
	bool sync_met = requested->sync == PM_AVOID ||
	                (requested->sync == PM_GUARANTEE ? fast && d->grade == PM_GRADE_PROVEN : fast);
	bool direct_met = requested->direct == PM_AVOID || d->direct == PM_YES;
	if (sync_met && direct_met) {
		d->verdict = PM_VERDICT_MET;
		return;
	}
	bool sync_refused = requested->sync == PM_GUARANTEE && !sync_met;
	bool direct_refused = requested->direct == PM_GUARANTEE && !direct_met;
	d->verdict = sync_refused || direct_refused ? PM_VERDICT_REFUSED : PM_VERDICT_DEMOTED;
	if (d->verdict != PM_VERDICT_REFUSED)
		return;
	/* A device-dax has no write-back to fall back to, whatever its medium is. */
	bool device = requested->backing == PM_BACKING_DEVICE_DAX && d->reason != PM_REASON_VOLATILE;
	bool no_medium = d->granularity == PM_NONE && !device;
	d->error = no_medium ? -PM_EVOLATILE : sync_refused ? -PM_ENOTSYNC : -PM_ENOTDIRECT;
	if (!sync_refused && !no_medium)
		blame(d, d->direct == PM_NO ? PM_REASON_PAGE_CACHE : PM_REASON_DIRECT_UNKNOWN, PM_ADVICE_MOUNT_DAX);
}

/* ---- What befell the file ---- */

enum pm_reason pm_reason_of_name(const struct pm_evidence *named)
{
	if (named->state != PM_NO)
		return PM_REASON_NONE;
	switch (named->error) {
	case PM_NAME_MOVED:
		return PM_REASON_MOVED;
	case PM_NAME_NEVER:
		return PM_REASON_UNNAMED;
	case PM_NAME_MOUNTED_OVER:
		return PM_REASON_MOUNTED_OVER;
	case PM_NAME_COPIED_UP:
		return PM_REASON_COPIED_UP;
	default:
		return PM_REASON_UNLINKED;
	}
}

/*
 * The worst first. Where the file system accepts no store any more, or the file has no place for it, a flush of lines
 * would still succeed: there only the kernel knows what a sync is worth.
 */
static bool takes_no_store(const struct pm_evidence *e, const struct pm_requested *requested, struct pm_decision *d)
{
	const struct pm_evidence *writable = &e[PM_EV_WRITABLE];
	if (e[PM_EV_FS_ONLINE].state == PM_NO)
		blame(d, e[PM_EV_FS_ONLINE].error == ENODEV ? PM_REASON_DEVICE_GONE : PM_REASON_SHUT_DOWN,
		      PM_ADVICE_REMOUNT);
	else if (writable->state == PM_NO && writable->error != PM_IMMUTABLE && !requested->read_only)
		blame(d, PM_REASON_READ_ONLY, PM_ADVICE_REMOUNT);
	else if (e[PM_EV_IN_FILE].state == PM_NO)
		blame(d, PM_REASON_TRUNCATED, PM_ADVICE_MAP_AGAIN);
	else
		return false;
	return true;
}

/* What was stored is durable, and the request is not met. */
static bool is_out_of_reach(const struct pm_evidence *e, const struct pm_requested *requested, struct pm_decision *d)
{
	enum pm_reason reason = pm_reason_of_name(&e[PM_EV_NAMED]);
	/* By the path that leads to the copy, or to the file now. */
	bool has_path = reason == PM_REASON_COPIED_UP || reason == PM_REASON_MOVED;
	if (reason)
		blame(d, reason, has_path ? PM_ADVICE_MAP_AGAIN : PM_ADVICE_NAME);
	else if (e[PM_EV_WRITABLE].state == PM_NO && !requested->read_only)
		blame(d, PM_REASON_IMMUTABLE, PM_ADVICE_MUTABLE);
	else
		return false;
	return true;
}

/* A guarantee is about the file, and ends with it. */
static void lose(const struct pm_evidence *e, const struct pm_requested *requested, struct pm_decision *d)
{
	if (requested->backing != PM_BACKING_FILE || d->granularity < PM_PAGE)
		return;
	if (takes_no_store(e, requested, d)) {
		d->sync = d->granularity > PM_PAGE ? PM_NO : d->sync;
		d->granularity = PM_PAGE;
	} else if (!is_out_of_reach(e, requested, d)) {
		return;
	}
	bool sync = requested->sync == PM_GUARANTEE, direct = requested->direct == PM_GUARANTEE;
	d->grade = d->grade > PM_GRADE_ACCEPTED ? PM_GRADE_ACCEPTED : d->grade;
	d->verdict = sync || direct ? PM_VERDICT_REFUSED : PM_VERDICT_DEMOTED;
	d->error = sync ? -PM_ENOTSYNC : direct ? -PM_ENOTDIRECT : 0;
}

struct pm_decision pm_decide(const struct pm_evidence e[PM_EVIDENCE_ROWS], const struct pm_requested *requested)
{
	struct pm_decision d = {.direct = direct_of(e)};
	if (requested->backing == PM_BACKING_PRIVATE || requested->backing == PM_BACKING_ANONYMOUS)
		d.direct = PM_NO;
	if (!is_volatile(e, requested, &d)) {
		bool trust = requested->trust_kernel && requested->sync == PM_HINT;
		if (!is_lowered(e, requested, &d)) {
			grade_facts(e, requested, trust, &d);
			if (e[PM_EV_MAP_SYNC].state != PM_YES)
				d.grade = PM_GRADE_NONE;
			refine_refusal(e, &d);
			set_sync(e, &d);
		}
		set_granularity(e, requested, &d);
	}
	set_verdict(requested, &d);
	lose(e, requested, &d);
	return d;
}

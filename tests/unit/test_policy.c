/* SPDX-License-Identifier: BSD-3-Clause */
/* pm_decide() as tables written by hand, and what must hold whatever the evidence says. */
#include <stdio.h>
#include <string.h>

#include "facts/policy.h"
#include "unit.h"

/* A file on a DAX file system of persistent memory about which everything is known. */
static void proven_file(pm_evidence_table e)
{
	static const enum pm_evidence_row yes[] = {
		PM_EV_MAP_SYNC, PM_EV_DAX, PM_EV_FILE_SYSTEM, PM_EV_ALLOCATED, PM_EV_EXTENTS_WRITTEN, PM_EV_UNSHARED,
		PM_EV_REGION, PM_EV_PROVIDER, PM_EV_CPU_FLUSH_SUFFICES, PM_EV_DOMAIN, PM_EV_CPU, PM_EV_FSYNC_COMPLETE,
		PM_EV_ARMED};
	static const enum pm_evidence_row no[] = {PM_EV_MAP_SYNC_IGNORED, PM_EV_DEVICE_DAX,   PM_EV_SHAREABLE,
	                                          PM_EV_CPU_CACHE,        PM_EV_ENV_OVERRIDE, PM_EV_LEASE_HELD,
	                                          PM_EV_SYNC_IGNORED,     PM_EV_FAST_COMMIT};
	memset(e, 0, sizeof(pm_evidence_table));
	for (size_t i = 0; i < COUNT(yes); i++)
		e[yes[i]].state = PM_YES;
	for (size_t i = 0; i < COUNT(no); i++)
		e[no[i]].state = PM_NO;
}

/* What a device-dax has no answer for. */
static void proven_device(pm_evidence_table e)
{
	static const enum pm_evidence_row unknown[] = {
		PM_EV_DAX,         PM_EV_ALLOCATED,      PM_EV_EXTENTS_WRITTEN, PM_EV_UNSHARED,   PM_EV_SHAREABLE,
		PM_EV_FILE_SYSTEM, PM_EV_FSYNC_COMPLETE, PM_EV_SYNC_IGNORED,    PM_EV_FAST_COMMIT};
	proven_file(e);
	e[PM_EV_DEVICE_DAX].state = PM_YES;
	for (size_t i = 0; i < COUNT(unknown); i++)
		e[unknown[i]].state = PM_UNKNOWN;
}

/*
 * Outcomes for the nine requests, sync before direct, each hint, guarantee, avoid: M met, F fell back, S refused with
 * PM_ENOTSYNC, D with PM_ENOTDIRECT, V with PM_EVOLATILE. Reason to sync hold where nothing is avoided. Trust
 * matters for a hint of sync alone: the last columns are for hint-hint and hint-guarantee with PM_TRUST_KERNEL.
 */
static const struct row {
	const char *name;
	enum pm_backing backing;
	struct {
		enum pm_evidence_row row;
		enum pm_state state;
		uint64_t value;
	} change[2];
	enum pm_reason reason;
	enum pm_advice advice;
	enum pm_grade grade;
	enum pm_granularity granularity;
	enum pm_state sync;
	const char *outcomes;
	bool waived; /* to PM_GRADE_TRUSTED and PM_CACHE_LINE; else as without */
	const char *trusted;
} rows[] = {
#define FILE_IS PM_BACKING_FILE
#define DEVICE_IS PM_BACKING_DEVICE_DAX
#define NO_CHANGE {{PM_EV_KERNEL, PM_YES, 0}}
#define IS(row, state) {{PM_EV_##row, PM_##state, 0}}
#define ARE(row, state, row2, state2) {{PM_EV_##row, PM_##state, 0}, {PM_EV_##row2, PM_##state2, 0}}
#define ENV_OVERRIDE(to) {{PM_EV_ENV_OVERRIDE, PM_YES, PM_##to}}
#define PROVEN PM_REASON_NONE, PM_ADVICE_NONE, PM_GRADE_PROVEN
#define PROMISED PM_REASON_NO_DOMAIN, PM_ADVICE_STATE_DOMAIN, PM_GRADE_PROMISED
#define SAYS(reason, advice) PM_REASON_##reason, PM_ADVICE_##advice
#define ACCEPTED PM_GRADE_ACCEPTED, PM_PAGE, PM_UNKNOWN, "FFFSSSMMM"
#define NOT_ASKED PM_GRADE_NONE, PM_PAGE, PM_NO, "FFFSSSMMM"
	{"all known", FILE_IS, NO_CHANGE, PROVEN, PM_CACHE_LINE, PM_YES, "MMFMMSMMM", false, "MM"},
	{"eADR", FILE_IS, IS(CPU_CACHE, YES), PROVEN, PM_BYTE, PM_YES, "MMFMMSMMM", false, "MM"},
	{"caches unknown", FILE_IS, IS(CPU_CACHE, UNKNOWN), PROVEN, PM_CACHE_LINE, PM_YES, "MMFMMSMMM", false, "MM"},
	{"eADR, forced to lines", FILE_IS, {{PM_EV_ENV_OVERRIDE, PM_YES, PM_CACHE_LINE}, {PM_EV_CPU_CACHE, PM_YES, 0}},
	 PROVEN, PM_CACHE_LINE, PM_YES, "MMFMMSMMM", false, "MM"},
	{"forced to pages", FILE_IS, ENV_OVERRIDE(PAGE), SAYS(ENV_OVERRIDE, UNSET_ENV), NOT_ASKED, false, "FF"},
	{"forced to lines", FILE_IS, ENV_OVERRIDE(CACHE_LINE), PROVEN, PM_CACHE_LINE, PM_YES, "MMFMMSMMM", false, "MM"},
	{"refused", FILE_IS, IS(MAP_SYNC, NO), SAYS(SYNC_REFUSED, MOUNT_DAX), NOT_ASKED, false, "FF"},
	{"not tried", FILE_IS, IS(MAP_SYNC, UNKNOWN), SAYS(SYNC_REFUSED, MOUNT_DAX), PM_GRADE_NONE, PM_PAGE, PM_UNKNOWN,
	 "FFFSSSMMM", false, "FF"},
	{"refused, virtio", FILE_IS, ARE(MAP_SYNC, NO, CPU_FLUSH_SUFFICES, NO), SAYS(FLUSH_COMMAND, REAL_MEDIUM),
	 NOT_ASKED,
	 false, "FF"},
	{"ignored", FILE_IS, IS(MAP_SYNC_IGNORED, YES), SAYS(MAP_SYNC_IGNORED, LEAVE_SANDBOX), NOT_ASKED, false,
	 "FF"},
	{"ignored?", FILE_IS, IS(MAP_SYNC_IGNORED, UNKNOWN), SAYS(MAP_SYNC_IGNORED, LEAVE_SANDBOX), ACCEPTED, false,
	 "FF"},
	{"not DAX", FILE_IS, IS(DAX, NO), SAYS(PAGE_CACHE, MOUNT_DAX), PM_GRADE_NONE, PM_PAGE, PM_NO, "FDFSSSFDM",
	 false, "FD"},
	{"DAX?", FILE_IS, IS(DAX, UNKNOWN), SAYS(DIRECT_UNKNOWN, MOUNT_DAX), PM_GRADE_ACCEPTED, PM_PAGE, PM_UNKNOWN,
	 "FDFSSSFDM", true, "FD"},
	{"DAX?, refused", FILE_IS, ARE(DAX, UNKNOWN, MAP_SYNC, NO), SAYS(DIRECT_UNKNOWN, MOUNT_DAX), PM_GRADE_NONE,
	 PM_PAGE, PM_NO, "FDFSSSFDM", false, NULL},
	{"CPU", FILE_IS, IS(CPU, NO), SAYS(CPU, OTHER_CPU), ACCEPTED, false, "FF"},
	{"CPU?", FILE_IS, IS(CPU, UNKNOWN), SAYS(CPU, OTHER_CPU), ACCEPTED, false, "FF"},
	{"emulated", FILE_IS, IS(PROVIDER, NO), SAYS(EMULATED_PMEM, REAL_MEDIUM), ACCEPTED, false, "FF"},
	{"provider?", FILE_IS, IS(PROVIDER, UNKNOWN), SAYS(REGION_UNKNOWN, REAL_MEDIUM), ACCEPTED, true, "MM"},
	{"region", FILE_IS, IS(REGION, NO), SAYS(REGION_UNKNOWN, REAL_MEDIUM), ACCEPTED, true, "MM"},
	{"region?", FILE_IS, IS(REGION, UNKNOWN), SAYS(REGION_UNKNOWN, REAL_MEDIUM), ACCEPTED, true, "MM"},
	{"flush command", FILE_IS, IS(CPU_FLUSH_SUFFICES, NO), SAYS(FLUSH_COMMAND, REAL_MEDIUM), ACCEPTED, false, "FF"},
	{"flush command?", FILE_IS, IS(CPU_FLUSH_SUFFICES, UNKNOWN), SAYS(REGION_UNKNOWN, REAL_MEDIUM), ACCEPTED, true,
	 "MM"},
	{"no journal", FILE_IS, IS(FSYNC_COMPLETE, NO), SAYS(FSYNC_INCOMPLETE, JOURNAL), ACCEPTED, true, "MM"},
	{"journal?", FILE_IS, IS(FSYNC_COMPLETE, UNKNOWN), SAYS(FSYNC_INCOMPLETE, JOURNAL), ACCEPTED, true, "MM"},
	{"fast commit", FILE_IS, IS(FAST_COMMIT, YES), SAYS(FAST_COMMIT, LEASE), ACCEPTED, false, "FF"},
	{"fast commit?", FILE_IS, IS(FAST_COMMIT, UNKNOWN), SAYS(FAST_COMMIT, LEASE), ACCEPTED, true, "MM"},
	{"fast commit, lease", FILE_IS, ARE(FAST_COMMIT, YES, LEASE_HELD, YES), PROVEN, PM_CACHE_LINE, PM_YES,
	 "MMFMMSMMM",
	 false, "MM"},
	{"shared", FILE_IS, IS(UNSHARED, NO), SAYS(SHARED, REWRITE), ACCEPTED, false, "FF"},
	{"shared?", FILE_IS, IS(UNSHARED, UNKNOWN), SAYS(EXTENTS_UNKNOWN, REWRITE), ACCEPTED, true, "MM"},
	{"hole", FILE_IS, IS(ALLOCATED, NO), SAYS(HOLE, PREPARE), ACCEPTED, true, "MM"},
	{"hole?", FILE_IS, IS(ALLOCATED, UNKNOWN), SAYS(EXTENTS_UNKNOWN, PREPARE), ACCEPTED, true, "MM"},
	{"unwritten", FILE_IS, IS(EXTENTS_WRITTEN, NO), SAYS(UNWRITTEN, PREPARE), ACCEPTED, true, "MM"},
	{"unwritten?", FILE_IS, IS(EXTENTS_WRITTEN, UNKNOWN), SAYS(EXTENTS_UNKNOWN, PREPARE), ACCEPTED, true, "MM"},
	{"reflink", FILE_IS, IS(SHAREABLE, YES), SAYS(SHAREABLE, LEASE), ACCEPTED, true, "MM"},
	{"reflink?", FILE_IS, IS(SHAREABLE, UNKNOWN), SAYS(SHAREABLE, LEASE), ACCEPTED, true, "MM"},
	{"reflink, lease", FILE_IS, ARE(SHAREABLE, YES, LEASE_HELD, YES), PROVEN, PM_CACHE_LINE, PM_YES, "MMFMMSMMM",
	 false, "MM"},
	{"domain", FILE_IS, IS(DOMAIN, NO), PROMISED, PM_CACHE_LINE, PM_YES, "MMFSSSMMM", false, "MM"},
	{"domain?", FILE_IS, IS(DOMAIN, UNKNOWN), PROMISED, PM_CACHE_LINE, PM_YES, "MMFSSSMMM", false, "MM"},
	{"armed?", FILE_IS, IS(ARMED, UNKNOWN), SAYS(NOT_ARMED, REAL_MEDIUM), PM_GRADE_PROMISED, PM_CACHE_LINE, PM_YES,
	 "MMFSSSMMM", false, "MM"},
	{"armed?, domain?", FILE_IS, ARE(ARMED, UNKNOWN, DOMAIN, UNKNOWN), PROMISED, PM_CACHE_LINE, PM_YES, "MMFSSSMMM",
	 false, "MM"},
	{"not armed", FILE_IS, IS(ARMED, NO), SAYS(NOT_ARMED, REAL_MEDIUM), ACCEPTED, false, "FF"},
	{"cannot save", FILE_IS, {{PM_EV_ARMED, PM_NO, 1}}, SAYS(NOT_ARMED, REAL_MEDIUM), PM_GRADE_NONE, PM_NONE, PM_NO,
	 "FFFVVVMMM", false, "FF"},
	{"device-dax, not armed", DEVICE_IS, IS(ARMED, NO), SAYS(NOT_ARMED, REAL_MEDIUM), PM_GRADE_ACCEPTED, PM_NONE,
	 PM_UNKNOWN, "FFFSSSMMM", false, "FF"},
	{"volatile region", FILE_IS, IS(VOLATILE, YES), SAYS(VOLATILE, REAL_MEDIUM), PM_GRADE_NONE, PM_NONE, PM_NO,
	 "FFFVVVMMM", false, "FF"},
	{"tmpfs", FILE_IS, ARE(VOLATILE, YES, DAX, NO), SAYS(VOLATILE, REAL_MEDIUM), PM_GRADE_NONE, PM_NONE, PM_NO,
	 "FVFVVVFVM", false, "FV"},
	{"syncs ignored", FILE_IS, IS(SYNC_IGNORED, YES), SAYS(SYNC_IGNORED, LEAVE_SANDBOX), PM_GRADE_NONE, PM_NONE,
	 PM_NO, "FFFVVVMMM", false, "FF"},
	{"syncs ignored, not DAX", FILE_IS, ARE(SYNC_IGNORED, YES, DAX, NO), SAYS(SYNC_IGNORED, LEAVE_SANDBOX),
	 PM_GRADE_NONE, PM_NONE, PM_NO, "FVFVVVFVM", false, "FV"},
	{"syncs ignored?", FILE_IS, IS(SYNC_IGNORED, UNKNOWN), SAYS(SYNC_IGNORED, LEAVE_SANDBOX), ACCEPTED, true, "MM"},
	{"volatile, syncs ignored", FILE_IS, ARE(VOLATILE, YES, SYNC_IGNORED, YES), SAYS(VOLATILE, REAL_MEDIUM),
	 PM_GRADE_NONE, PM_NONE, PM_NO, "FFFVVVMMM", false, "FF"},
	{"private", PM_BACKING_PRIVATE, NO_CHANGE, SAYS(PRIVATE, NONE), PM_GRADE_NONE, PM_NONE, PM_NO, "FVFVVVFVM",
	 false, "FV"},
	{"anonymous", PM_BACKING_ANONYMOUS, NO_CHANGE, SAYS(ANONYMOUS, NONE), PM_GRADE_NONE, PM_NONE, PM_NO,
	 "FVFVVVFVM", false, "FV"},
	{"device-dax", DEVICE_IS, NO_CHANGE, PROVEN, PM_CACHE_LINE, PM_YES, "MMFMMSMMM", false, "MM"},
	{"device-dax, eADR", DEVICE_IS, IS(CPU_CACHE, YES), PROVEN, PM_BYTE, PM_YES, "MMFMMSMMM", false, "MM"},
	{"device-dax, domain?", DEVICE_IS, IS(DOMAIN, UNKNOWN), PROMISED, PM_CACHE_LINE, PM_YES, "MMFSSSMMM", false,
	 "MM"},
	{"device-dax, emulated", DEVICE_IS, IS(PROVIDER, NO), SAYS(EMULATED_PMEM, REAL_MEDIUM), PM_GRADE_ACCEPTED,
	 PM_NONE,
	 PM_UNKNOWN, "FFFSSSMMM", false, "FF"},
	{"device-dax, region?", DEVICE_IS, IS(REGION, UNKNOWN), SAYS(REGION_UNKNOWN, REAL_MEDIUM), PM_GRADE_ACCEPTED,
	 PM_NONE, PM_UNKNOWN, "FFFSSSMMM", true, "MM"},
	{"device-dax, forced", DEVICE_IS, ENV_OVERRIDE(PAGE), SAYS(ENV_OVERRIDE, UNSET_ENV), PM_GRADE_NONE, PM_NONE,
	 PM_NO,
	 "FFFSSSMMM", false, "FF"},
	/* Several are wrong: the first that a person would want to hear of. */
	{"CPU and emulated", FILE_IS, ARE(CPU, NO, PROVIDER, NO), SAYS(CPU, OTHER_CPU), ACCEPTED, false, "FF"},
	{"emulated, hole", FILE_IS, ARE(PROVIDER, NO, ALLOCATED, NO), SAYS(EMULATED_PMEM, REAL_MEDIUM), ACCEPTED, false,
	 "FF"},
	{"shared, unwritten", FILE_IS, ARE(UNSHARED, NO, EXTENTS_WRITTEN, NO), SAYS(SHARED, REWRITE), ACCEPTED, false,
	 "FF"},
	{"hole, reflink", FILE_IS, ARE(ALLOCATED, NO, SHAREABLE, YES), SAYS(HOLE, PREPARE), ACCEPTED, true, "MM"},
	/* Trust is taken away again by what it cannot waive. */
	{"DAX?, CPU", FILE_IS, ARE(DAX, UNKNOWN, CPU, NO), SAYS(DIRECT_UNKNOWN, MOUNT_DAX), PM_GRADE_ACCEPTED, PM_PAGE,
	 PM_UNKNOWN, "FDFSSSFDM", false, NULL},
};

static void set_up(const struct row *row, pm_evidence_table e)
{
	if (row->backing == PM_BACKING_DEVICE_DAX)
		proven_device(e);
	else
		proven_file(e);
	for (int i = 0; i < 2 && (i == 0 || row->change[i].state != PM_UNKNOWN || row->change[i].row); i++) {
		e[row->change[i].row].state = row->change[i].state;
		e[row->change[i].row].value = row->change[i].value;
	}
}

/* The nine requests in the order of the outcomes. */
static struct pm_requested ask_of(enum pm_backing backing, unsigned request, bool trust)
{
	return (struct pm_requested){.backing = backing,
	                             .sync = (enum pm_request)(request / 3),
	                             .direct = (enum pm_request)(request % 3),
	                             .trust_kernel = trust};
}

static char outcome_of(const struct pm_decision *d)
{
	if (d->verdict == PM_VERDICT_MET || d->verdict == PM_VERDICT_DEMOTED) {
		ck_assert_int_eq(d->error, 0);
		return d->verdict == PM_VERDICT_MET ? 'M' : 'F';
	}
	ck_assert_int_eq(d->verdict, PM_VERDICT_REFUSED);
	static const int errors[] = {-PM_ENOTSYNC, -PM_ENOTDIRECT, -PM_EVOLATILE};
	for (int i = 0; i < 3; i++)
		if (d->error == errors[i])
			return "SDV"[i];
	return '?';
}

static bool is_volatile(const struct row *row)
{
	return row->reason == PM_REASON_VOLATILE || row->reason == PM_REASON_PRIVATE ||
	       row->reason == PM_REASON_ANONYMOUS ||
	       (row->reason == PM_REASON_SYNC_IGNORED && row->granularity == PM_NONE) ||
	       (row->reason == PM_REASON_NOT_ARMED && row->granularity == PM_NONE && row->backing == PM_BACKING_FILE);
}

/*
 * Where the kernel's write-back is asked for, the row matters only if the backing is volatile or has none; that the
 * caller asked for it is the reason where nothing worse holds.
 */
static void check_avoided(const struct row *row, const struct pm_requested *requested, const struct pm_decision *d,
                          char outcome)
{
	bool device = row->backing == PM_BACKING_DEVICE_DAX;
	ck_assert_int_eq(d->grade, PM_GRADE_NONE);
	ck_assert_int_eq(d->sync, PM_NO);
	ck_assert_int_eq(d->granularity, device || is_volatile(row) ? PM_NONE : PM_PAGE);
	if (is_volatile(row))
		ck_assert_int_eq(d->reason, row->reason);
	else if (outcome == 'D')
		ck_assert_int_eq(d->reason, d->direct == PM_NO ? PM_REASON_PAGE_CACHE : PM_REASON_DIRECT_UNKNOWN);
	else if (row->reason == PM_REASON_MAP_SYNC_IGNORED && row->sync == PM_NO &&
	         (requested->sync != PM_AVOID || requested->direct != PM_AVOID))
		ck_assert_int_eq(d->reason, PM_REASON_MAP_SYNC_IGNORED);
	else if (d->direct == PM_NO && (requested->sync != PM_AVOID || requested->direct != PM_AVOID))
		ck_assert_int_eq(d->reason, PM_REASON_PAGE_CACHE);
	else if (d->direct == PM_UNKNOWN && requested->direct != PM_AVOID)
		ck_assert_int_eq(d->reason, PM_REASON_DIRECT_UNKNOWN);
	else
		ck_assert_int_eq(d->reason, device ? PM_REASON_NO_WRITE_BACK : PM_REASON_AVOIDED);
}

START_TEST(each_rule_as_the_table_says)
{
	const struct row *row = &rows[_i];
	pm_evidence_table e;
	set_up(row, e);
	for (unsigned request = 0; request < 9; request++) {
		struct pm_requested requested = ask_of(row->backing, request, false);
		struct pm_decision d = pm_decide(e, &requested);
		char outcome = outcome_of(&d);
		ck_assert_msg(outcome == row->outcomes[request], "%s, request %u: %c", row->name, request, outcome);
		if (requested.sync == PM_AVOID || requested.direct == PM_AVOID) {
			check_avoided(row, &requested, &d, outcome);
			continue;
		}
		ck_assert_msg(d.reason == row->reason, "%s: %s", row->name, pm_reason_name(d.reason));
		ck_assert_msg(d.advice == row->advice, "%s: advice %d", row->name, d.advice);
		ck_assert_int_eq(d.grade, row->grade);
		ck_assert_int_eq(d.granularity, row->granularity);
		ck_assert_int_eq(d.sync, row->sync);
	}
}
END_TEST

START_TEST(trust_as_the_table_says)
{
	const struct row *row = &rows[_i];
	pm_evidence_table e;
	set_up(row, e);
	for (unsigned request = 0; request < 9; request++) {
		struct pm_requested requested = ask_of(row->backing, request, true);
		struct pm_decision d = pm_decide(e, &requested);
		char outcome = outcome_of(&d);
		bool matters = request < 2 && row->trusted;
		char expected = matters ? row->trusted[request] : row->outcomes[request];
		if (request < 2 && row->waived) {
			ck_assert_int_eq(d.grade, PM_GRADE_TRUSTED);
			ck_assert_int_eq(d.granularity, PM_CACHE_LINE);
			if (outcome != 'D')
				ck_assert_int_eq(d.reason, PM_REASON_TRUSTED);
			ck_assert_int_eq(d.sync, PM_UNKNOWN);
		} else if (request < 2 && row->trusted) {
			ck_assert_int_eq(d.reason, row->reason);
			ck_assert_int_eq(d.granularity, row->granularity);
		}
		ck_assert_msg(outcome == expected, "%s, request %u: %c", row->name, request, outcome);
	}
}
END_TEST

/* ---- Whatever the evidence ---- */

static const enum pm_evidence_row needed[] = {PM_EV_MAP_SYNC, PM_EV_CPU, PM_EV_PROVIDER, PM_EV_REGION,
                                              PM_EV_CPU_FLUSH_SUFFICES};
static const enum pm_evidence_row needed_of_files[] = {PM_EV_UNSHARED, PM_EV_ALLOCATED, PM_EV_EXTENTS_WRITTEN};

static bool all_hold(const pm_evidence_table e, enum pm_backing backing)
{
	bool device = backing == PM_BACKING_DEVICE_DAX;
	for (size_t i = 0; i < COUNT(needed); i++)
		if (e[needed[i]].state != PM_YES)
			return false;
	for (size_t i = 0; i < COUNT(needed_of_files) && !device; i++)
		if (e[needed_of_files[i]].state != PM_YES)
			return false;
	if (!device && e[PM_EV_SHAREABLE].state != PM_NO && e[PM_EV_LEASE_HELD].state != PM_YES)
		return false;
	if (!device && e[PM_EV_SYNC_IGNORED].state != PM_NO)
		return false;
	return e[PM_EV_MAP_SYNC_IGNORED].state == PM_NO && e[PM_EV_VOLATILE].state != PM_YES &&
	       (e[PM_EV_DAX].state == PM_YES || e[PM_EV_DEVICE_DAX].state == PM_YES);
}

/* Nothing that the evidence denies may be waived by trust. */
static bool none_denied(const pm_evidence_table e)
{
	bool direct_denied = e[PM_EV_DAX].state == PM_NO && e[PM_EV_DEVICE_DAX].state != PM_YES;
	return e[PM_EV_MAP_SYNC].state == PM_YES && e[PM_EV_MAP_SYNC_IGNORED].state == PM_NO &&
	       e[PM_EV_CPU].state == PM_YES && e[PM_EV_PROVIDER].state != PM_NO &&
	       e[PM_EV_CPU_FLUSH_SUFFICES].state != PM_NO && e[PM_EV_VOLATILE].state != PM_YES &&
	       e[PM_EV_SYNC_IGNORED].state != PM_YES && !direct_denied;
}

static const char *broken_rule(const pm_evidence_table e, const struct pm_requested *requested,
                               const struct pm_decision *d)
{
	bool fast = d->granularity >= PM_CACHE_LINE, trust = requested->trust_kernel && requested->sync == PM_HINT;
	const struct pm_evidence *forced = &e[PM_EV_ENV_OVERRIDE];
	if (d->granularity < PM_NONE || d->granularity > PM_BYTE)
		return "a granularity is decided";
	if (fast && !all_hold(e, requested->backing) && !trust)
		return "unknown never raises a promise";
	if (fast && !none_denied(e))
		return "trust never waives what is denied";
	if (fast && d->grade < PM_GRADE_TRUSTED)
		return "a grade stands behind it";
	if (d->grade >= PM_GRADE_PROMISED && !all_hold(e, requested->backing))
		return "promised means all facts hold";
	if (d->grade == PM_GRADE_PROVEN && e[PM_EV_DOMAIN].state != PM_YES)
		return "proven means that the domain is stated";
	if (d->granularity == PM_BYTE && (e[PM_EV_CPU_CACHE].state != PM_YES || d->grade < PM_GRADE_PROMISED))
		return "bytes need caches in the domain";
	if (d->sync == PM_YES && d->grade < PM_GRADE_PROMISED)
		return "sync follows from facts";
	if (fast && (requested->sync == PM_AVOID || requested->direct == PM_AVOID))
		return "what is avoided is not used";
	if (forced->state == PM_YES && d->granularity > (enum pm_granularity)forced->value && d->granularity > PM_PAGE)
		return "the environment lowers";
	if (d->verdict == PM_VERDICT_MET && requested->sync == PM_GUARANTEE && (d->grade != PM_GRADE_PROVEN || !fast))
		return "a guarantee needs proof";
	if (d->verdict == PM_VERDICT_MET && requested->direct == PM_GUARANTEE && d->direct != PM_YES)
		return "a direct guarantee needs a yes";
	if ((d->verdict == PM_VERDICT_REFUSED) != (d->error != 0) || d->error > 0)
		return "refused means an error";
	if (d->verdict == PM_VERDICT_REFUSED && requested->sync != PM_GUARANTEE && requested->direct != PM_GUARANTEE)
		return "only a guarantee is refused";
	if (d->verdict != PM_VERDICT_MET && d->reason == PM_REASON_NONE)
		return "there is a reason";
	return NULL;
}

static void set_context(pm_evidence_table e, struct pm_requested *requested, unsigned context)
{
	requested->backing = context == 5 ? PM_BACKING_DEVICE_DAX : PM_BACKING_FILE;
	e[PM_EV_DEVICE_DAX].state = context == 5 ? PM_YES : PM_NO;
	e[PM_EV_LEASE_HELD].state = context == 1 ? PM_YES : PM_NO;
	e[PM_EV_VOLATILE].state = context == 2 ? PM_YES : PM_UNKNOWN;
	e[PM_EV_SYNC_IGNORED].state = context == 6 ? PM_YES : context == 7 ? PM_UNKNOWN : PM_NO;
	e[PM_EV_ENV_OVERRIDE].state = context == 3 || context == 4 ? PM_YES : PM_NO;
	e[PM_EV_ENV_OVERRIDE].value = context == 3 ? PM_PAGE : PM_CACHE_LINE;
}

static void check_once(const pm_evidence_table e, const struct pm_requested *requested)
{
	struct pm_decision d = pm_decide(e, requested), again = pm_decide(e, requested);
	const char *broken = broken_rule(e, requested, &d);
	if (broken || memcmp(&d, &again, sizeof(d)) != 0) {
		for (int i = 0; i < PM_EVIDENCE_ROWS; i++)
			printf("%s: %s\n", pm_evidence_name((enum pm_evidence_row)i), pm_state_name(e[i].state));
		ck_abort_msg("%s", broken ? broken : "the same evidence, another decision");
	}
}

/* Counts the states of the rows up like an odometer. */
static bool advance(pm_evidence_table e, const enum pm_evidence_row *digits, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct pm_evidence *row = &e[digits[i]];
		row->state = row->state == PM_YES ? PM_UNKNOWN : (enum pm_state)(row->state + 1);
		if (row->state != PM_UNKNOWN)
			return true;
	}
	return false;
}

static const enum pm_evidence_row inputs[] = {
	PM_EV_MAP_SYNC, PM_EV_MAP_SYNC_IGNORED, PM_EV_DAX, PM_EV_CPU, PM_EV_PROVIDER, PM_EV_REGION,
	PM_EV_CPU_FLUSH_SUFFICES,
	PM_EV_SHAREABLE, PM_EV_DOMAIN, PM_EV_CPU_CACHE, PM_EV_UNSHARED, PM_EV_ALLOCATED, PM_EV_EXTENTS_WRITTEN};

/* All 3^13 states, with and without trust; which request in which context is scattered over them. */
START_TEST(no_evidence_breaks_a_rule)
{
	pm_evidence_table e;
	memset(e, 0, sizeof(e));
	uint32_t n = 0;
	do {
		for (uint32_t trust = 0; trust < 2; trust++, n++) {
			uint32_t scattered = n * 2654435761u >> 8;
			struct pm_requested requested = ask_of(PM_BACKING_FILE, scattered % 9, trust);
			set_context(e, &requested, scattered / 9 % 8);
			check_once(e, &requested);
		}
	} while (advance(e, inputs, COUNT(inputs)));
	ck_assert_uint_eq(n, 2 * 1594323);
}
END_TEST

/* Fewer rows, the extents standing for one another, with every request in every context. */
START_TEST(no_request_breaks_a_rule)
{
	pm_evidence_table e;
	memset(e, 0, sizeof(e));
	e[PM_EV_UNSHARED].state = e[PM_EV_ALLOCATED].state = e[PM_EV_EXTENTS_WRITTEN].state = PM_YES;
	do {
		for (unsigned n = 0; n < 2 * 3 * 3 * 8; n++) {
			struct pm_requested requested = ask_of(PM_BACKING_FILE, n / 2 % 9, n % 2);
			set_context(e, &requested, n / 18);
			check_once(e, &requested);
		}
	} while (advance(e, inputs, 10));
}
END_TEST

/* Preparing a file that is not DAX makes drains cheap on an ext4 without a journal, and meets no request. */
START_TEST(no_advice_that_cannot_help)
{
	pm_evidence_table e;
	struct pm_requested requested = ask_of(PM_BACKING_FILE, (unsigned)_i, false);
	bool avoids_all = requested.sync == PM_AVOID && requested.direct == PM_AVOID;
	proven_file(e);
	e[PM_EV_DAX].state = e[PM_EV_MAP_SYNC].state = e[PM_EV_FSYNC_COMPLETE].state = PM_NO;
	for (int hole = 0; hole < 2; hole++) {
		e[PM_EV_ALLOCATED].state = hole ? PM_NO : PM_YES;
		e[PM_EV_EXTENTS_WRITTEN].state = hole ? PM_YES : PM_NO;
		struct pm_decision d = pm_decide(e, &requested);
		ck_assert_int_eq(d.verdict == PM_VERDICT_MET, avoids_all);
		ck_assert_int_eq(d.advice, avoids_all ? PM_ADVICE_PREPARE : PM_ADVICE_MOUNT_DAX);
	}
	/* Nothing is left to prepare, or that is not known, or there is a journal. */
	static const enum pm_state done[3][3] = {
		{PM_YES, PM_YES, PM_NO}, {PM_UNKNOWN, PM_UNKNOWN, PM_NO}, {PM_NO, PM_NO, PM_YES}};
	for (int i = 0; i < 3; i++) {
		e[PM_EV_ALLOCATED].state = done[i][0];
		e[PM_EV_EXTENTS_WRITTEN].state = done[i][1];
		e[PM_EV_FSYNC_COMPLETE].state = done[i][2];
		ck_assert_int_eq(pm_decide(e, &requested).advice, avoids_all ? PM_ADVICE_NONE : PM_ADVICE_MOUNT_DAX);
	}
}
END_TEST

int main(void)
{
	TCase *c = unit_case("policy");
	tcase_add_loop_test(c, each_rule_as_the_table_says, 0, (int)COUNT(rows));
	tcase_add_loop_test(c, trust_as_the_table_says, 0, (int)COUNT(rows));
	tcase_add_test(c, no_evidence_breaks_a_rule);
	tcase_add_test(c, no_request_breaks_a_rule);
	tcase_add_loop_test(c, no_advice_that_cannot_help, 0, 9);
	return unit_run();
}

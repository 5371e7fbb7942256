/* SPDX-License-Identifier: BSD-3-Clause */
/* pm_decide() on a file that something befell while it is mapped. */
#include <errno.h>
#include <string.h>

#include "facts/policy.h"
#include "unit.h"

/* A file on a DAX file system of persistent memory about which everything is known. */
static void proven_file(pm_evidence_table e)
{
	static const enum pm_evidence_row yes[] = {
		PM_EV_MAP_SYNC, PM_EV_DAX, PM_EV_FILE_SYSTEM, PM_EV_ALLOCATED, PM_EV_EXTENTS_WRITTEN, PM_EV_UNSHARED,
		PM_EV_REGION, PM_EV_PROVIDER, PM_EV_CPU_FLUSH_SUFFICES, PM_EV_DOMAIN, PM_EV_CPU, PM_EV_FSYNC_COMPLETE};
	static const enum pm_evidence_row no[] = {PM_EV_MAP_SYNC_IGNORED, PM_EV_SYNC_IGNORED, PM_EV_DEVICE_DAX,
	                                          PM_EV_SHAREABLE,        PM_EV_CPU_CACHE,    PM_EV_FAST_COMMIT,
	                                          PM_EV_ENV_OVERRIDE,     PM_EV_LEASE_HELD};
	memset(e, 0, sizeof(pm_evidence_table));
	for (size_t i = 0; i < COUNT(yes); i++)
		e[yes[i]].state = PM_YES;
	for (size_t i = 0; i < COUNT(no); i++)
		e[no[i]].state = PM_NO;
}

/* The worst first: each takes the reason from those below it, and all of them a guarantee. */
static const struct {
	enum pm_evidence_row row;
	int error;
	enum pm_reason reason;
	enum pm_advice advice;
	bool lines_end;
} losses[] = {
	{PM_EV_FS_ONLINE, ENODEV, PM_REASON_DEVICE_GONE, PM_ADVICE_REMOUNT, true},
	{PM_EV_FS_ONLINE, EIO, PM_REASON_SHUT_DOWN, PM_ADVICE_REMOUNT, true},
	{PM_EV_WRITABLE, 0, PM_REASON_READ_ONLY, PM_ADVICE_REMOUNT, true},
	{PM_EV_IN_FILE, 0, PM_REASON_TRUNCATED, PM_ADVICE_MAP_AGAIN, true},
	{PM_EV_NAMED, ENOENT, PM_REASON_UNLINKED, PM_ADVICE_NAME, false},
	{PM_EV_NAMED, EEXIST, PM_REASON_UNLINKED, PM_ADVICE_NAME, false},
	{PM_EV_NAMED, EREMCHG, PM_REASON_MOVED, PM_ADVICE_MAP_AGAIN, false},
	{PM_EV_NAMED, ENOLINK, PM_REASON_UNNAMED, PM_ADVICE_NAME, false},
	{PM_EV_NAMED, ESTALE, PM_REASON_COPIED_UP, PM_ADVICE_MAP_AGAIN, false},
	{PM_EV_NAMED, EBUSY, PM_REASON_MOUNTED_OVER, PM_ADVICE_NAME, false},
	{PM_EV_WRITABLE, EPERM, PM_REASON_IMMUTABLE, PM_ADVICE_MUTABLE, false},
};

static void befall(pm_evidence_table e, size_t i)
{
	e[losses[i].row].state = PM_NO;
	e[losses[i].row].error = losses[i].error;
}

START_TEST(what_befell_the_file_comes_first)
{
	pm_evidence_table e;
	for (unsigned request = 0; request < 9; request++) {
		struct pm_requested requested = {.backing = PM_BACKING_FILE,
		                                 .sync = (enum pm_request)(request / 3),
		                                 .direct = (enum pm_request)(request % 3)};
		bool guaranteed = requested.sync == PM_GUARANTEE || requested.direct == PM_GUARANTEE;
		for (size_t worse = 0; worse <= (size_t)_i; worse++) {
			proven_file(e);
			struct pm_decision sound = pm_decide(e, &requested);
			befall(e, (size_t)_i);
			befall(e, worse);
			struct pm_decision d = pm_decide(e, &requested);
			ck_assert_int_eq(d.reason, losses[worse].reason);
			ck_assert_int_eq(d.advice, losses[worse].advice);
			ck_assert_int_eq(d.verdict, guaranteed ? PM_VERDICT_REFUSED : PM_VERDICT_DEMOTED);
			ck_assert_int_eq(d.error, requested.sync == PM_GUARANTEE ? -PM_ENOTSYNC
			                          : guaranteed                   ? -PM_ENOTDIRECT
			                                                         : 0);
			ck_assert_int_lt(d.grade, PM_GRADE_TRUSTED);
			ck_assert_int_eq(d.granularity, losses[worse].lines_end ? PM_PAGE : sound.granularity);
		}
	}
}
END_TEST

/* Not of a mapping that takes no store, nor of memory that no file keeps. */
START_TEST(what_befell_the_file_matters_to_whom)
{
	pm_evidence_table e;
	struct pm_requested requested = {.backing = PM_BACKING_FILE, .read_only = true};
	proven_file(e);
	e[PM_EV_WRITABLE].state = PM_NO;
	ck_assert_int_eq(pm_decide(e, &requested).verdict, PM_VERDICT_MET);
	e[PM_EV_WRITABLE].error = EPERM;
	ck_assert_int_eq(pm_decide(e, &requested).verdict, PM_VERDICT_MET);
	static const enum pm_backing others[] = {PM_BACKING_PRIVATE, PM_BACKING_ANONYMOUS, PM_BACKING_DEVICE_DAX};
	for (size_t i = 0; i < COUNT(losses); i++)
		befall(e, i);
	for (size_t i = 0; i < COUNT(others); i++) {
		requested = (struct pm_requested){.backing = others[i]};
		pm_evidence_table sound;
		proven_file(sound);
		struct pm_decision d = pm_decide(e, &requested), expected = pm_decide(sound, &requested);
		ck_assert_int_eq(d.reason, expected.reason);
	}
	requested = (struct pm_requested){.backing = PM_BACKING_FILE};
	e[PM_EV_VOLATILE].state = PM_YES;
	ck_assert_int_eq(pm_decide(e, &requested).reason, PM_REASON_VOLATILE);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("losses");
	tcase_add_loop_test(c, what_befell_the_file_comes_first, 0, (int)COUNT(losses));
	tcase_add_test(c, what_befell_the_file_matters_to_whom);
	return unit_run();
}

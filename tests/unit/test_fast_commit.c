/* SPDX-License-Identifier: BSD-3-Clause */
/* An ext4 with fast_commit is found out, and lines are promised there under a lease only. */
#include <errno.h>
#include <sys/resource.h>

#include "leasing.h"

static const struct {
	const char *name;
	struct fake_machine is;
	unsigned flags;
	enum pm_state state;
	unsigned collapses, syncs; /* of the search, and of what lines need */
} machines[] = {
	{"before Linux 5.10", {.fast_commit = FAKE_NO_COUNTERS}, 0, PM_NO, 0, 2},
	{"off", {.fast_commit = FAKE_COUNTERS_OFF, .has_unnamed_files = true}, 0, PM_NO, 1, 3},
	{"idle", {.fast_commit = FAKE_COUNTERS_IDLE, .has_unnamed_files = true}, 0, PM_YES, 1, 1},
	{"on", {.fast_commit = FAKE_COUNTERS_ON, .has_unnamed_files = true}, 0, PM_YES, 0, 0},
	{"not known", {.fast_commit = FAKE_COUNTERS_STRANGE, .has_unnamed_files = true}, 0, PM_UNKNOWN, 0, 0},
	{"not to be seen", {.hides_proc = true, .has_unnamed_files = true}, 0, PM_UNKNOWN, 0, 0},
	{"idle, counts commits", {.fast_commit = FAKE_COUNTERS_IDLE, .has_unnamed_files = true,
	                          .counts_commits_only = true}, 0,
	 PM_YES, 1, 1},
	/* The next are found out by commits, of which one is not counted where another process makes it. */
	{"off, cannot collapse", {.fast_commit = FAKE_COUNTERS_OFF, .has_unnamed_files = true,
	                          .refuses_collapse = true}, 0,
	 PM_NO, 1, 8 + 2},
	{"idle, cannot collapse, busy",
	 {.fast_commit = FAKE_COUNTERS_IDLE, .has_unnamed_files = true, .counts_commits_only = true,
	  .refuses_collapse = true,
	  .busy_commits = 3}, 0, PM_YES, 1, 3},
	{"off, no unnamed files", {.fast_commit = FAKE_COUNTERS_OFF}, 0, PM_NO, 0, 8 + 2},
	{"idle, no unnamed files", {.fast_commit = FAKE_COUNTERS_IDLE, .counts_commits_only = true, .busy_commits = 8},
	 0,
	 PM_YES, 0, 8},
	/* Nothing may be changed there. */
	{"off, read-only", {.fast_commit = FAKE_COUNTERS_OFF}, PM_READ_ONLY, PM_UNKNOWN, 0, 0},
};

static const char *path;

static void start(const struct fake_machine *is)
{
	struct fake_machine machine = fake_dax;
	machine.fast_commit = is->fast_commit;
	machine.counts_commits_only = is->counts_commits_only;
	machine.refuses_collapse = is->refuses_collapse;
	machine.busy_commits = is->busy_commits;
	machine.hides_proc = is->hides_proc;
	machine.has_unnamed_files = is->has_unnamed_files;
	path = unit_file("file", 4 * unit_page());
	fake_start(&machine);
}

START_TEST(whether_it_is_on)
{
	start(&machines[_i].is);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = machines[_i].flags));
	ck_assert_msg(fake_calls(FAKE_fallocate_collapse) == machines[_i].collapses &&
	                      fake_calls(FAKE_fsync) + fake_calls(FAKE_syncfs) == machines[_i].syncs,
	              "%s: %u collapses, %u fsyncs", machines[_i].name, fake_calls(FAKE_fallocate_collapse),
	              fake_calls(FAKE_fsync));
	const struct pm_report *r = unit_query(m);
	ck_assert_msg(r->evidence[PM_EV_FAST_COMMIT].state == machines[_i].state, "%s: %s", machines[_i].name,
	              pm_state_name(r->evidence[PM_EV_FAST_COMMIT].state));
	bool off = machines[_i].state == PM_NO;
	ck_assert_int_eq(r->granularity, off ? PM_CACHE_LINE : PM_PAGE);
	ck_assert_int_eq(r->reason, off ? PM_REASON_NONE : PM_REASON_FAST_COMMIT);
	ck_assert_int_eq(r->advice, off ? PM_ADVICE_NONE : PM_ADVICE_LEASE);
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}
END_TEST

/* As long as the file system is mounted; an answer that could not be had is looked for again. */
START_TEST(an_answer_is_remembered)
{
	static const struct fake_machine is[] = {
		{.fast_commit = FAKE_COUNTERS_OFF, .has_unnamed_files = true},
		{.fast_commit = FAKE_COUNTERS_ON, .has_unnamed_files = true}, {.hides_proc = true}};
	for (size_t i = 0; i < COUNT(is); i++) {
		start(&is[i]);
		unit_ok(pm_unmap(unit_map(path, NULL)));
		fake.machine.fast_commit = i ? FAKE_COUNTERS_OFF : FAKE_COUNTERS_ON;
		fake.machine.hides_proc = false;
		fake.machine.has_unnamed_files = true;
		struct pm_mapping *m = unit_map(path, NULL);
		ck_assert_int_eq(pm_granularity_of(m), i == 1 ? PM_PAGE : PM_CACHE_LINE);
		unit_ok(pm_unmap(m));
	}
	/* Mounted again it may be another. */
	fake.machine.replaced++;
	fake.machine.fast_commit = FAKE_COUNTERS_ON;
	struct pm_mapping *m = unit_map(path, NULL);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_guarantee_is_refused)
{
	struct pm_mapping *m = NULL;
	start(&(struct fake_machine){.fast_commit = FAKE_COUNTERS_IDLE, .has_unnamed_files = true});
	ck_assert_int_eq(pm_map(path, UNIT_OPTIONS(.sync = PM_GUARANTEE), &m), -PM_ENOTSYNC);
	ck_assert_ptr_null(m);
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}
END_TEST

/* RLIMIT_FSIZE holds for the file that is made to find out as well: beyond it is SIGXFSZ. */
START_TEST(no_limit_of_size_is_met)
{
	struct rlimit least = {8000, RLIM_INFINITY};
	start(&(struct fake_machine){.fast_commit = FAKE_COUNTERS_OFF, .has_unnamed_files = true});
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &least), 0);
	unit_ok(pm_unmap(unit_map(path, NULL)));
	ck_assert_uint_eq(fake_calls(FAKE_fallocate_collapse), 0);
}
END_TEST

/* Trust covers what is not known, not what is known to break it. */
START_TEST(trust)
{
	start(&(struct fake_machine){.fast_commit = FAKE_COUNTERS_ON});
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_TRUST_KERNEL));
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	unit_ok(pm_unmap(m));
	start(&(struct fake_machine){.hides_proc = true});
	m = unit_map(path, UNIT_OPTIONS(.flags = PM_TRUST_KERNEL));
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_lease_will_do)
{
	struct pm_options *o = UNIT_OPTIONS(.sync = PM_GUARANTEE, .flags = PM_LEASE);
	start(&(struct fake_machine){.fast_commit = FAKE_COUNTERS_ON});
	atomic_store(&fake.watcher_sleeps, true);
	struct pm_mapping *m = unit_map(path, o);
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	ck_assert_int_eq(unit_query(m)->grade, PM_GRADE_PROVEN);
	fake_fail(FAKE_getlease, 0, EAGAIN);
	const struct pm_report *r = unit_query(m);
	ck_assert_int_eq(r->granularity, PM_PAGE);
	ck_assert_int_eq(r->reason, PM_REASON_FAST_COMMIT);
	ck_assert_int_eq(r->advice, PM_ADVICE_CLOSE_OTHER_OPENS);
	fake_fail(FAKE_getlease, 0, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* pm_probe() says what pm_map() gives, as far as an unnamed file can tell, and leaves the file as it is. */
START_TEST(a_probe_changes_nothing)
{
	struct pm_report r;
	start(&(struct fake_machine){.fast_commit = FAKE_COUNTERS_OFF, .has_unnamed_files = true});
	unit_ok(pm_probe(path, NULL, &r, sizeof(r)));
	ck_assert_int_eq(r.granularity, PM_CACHE_LINE);
	start(&(struct fake_machine){.fast_commit = FAKE_COUNTERS_OFF});
	unit_ok(pm_probe(path, NULL, &r, sizeof(r)));
	ck_assert_int_eq(r.reason, PM_REASON_FAST_COMMIT);
	ck_assert_int_eq(r.evidence[PM_EV_FAST_COMMIT].state, PM_UNKNOWN);
	ck_assert_uint_eq(fake_calls(FAKE_fallocate_keep_size) + fake_calls(FAKE_fsync), 0);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("fast-commit");
	tcase_add_loop_test(c, whether_it_is_on, 0, (int)COUNT(machines));
	tcase_add_test(c, an_answer_is_remembered);
	tcase_add_test(c, a_guarantee_is_refused);
	tcase_add_test(c, no_limit_of_size_is_met);
	tcase_add_test(c, trust);
	tcase_add_test(c, a_lease_will_do);
	tcase_add_test(c, a_probe_changes_nothing);
	return unit_run();
}

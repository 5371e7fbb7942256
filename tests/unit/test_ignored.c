/* SPDX-License-Identifier: BSD-3-Clause */
/* Syncs that return 0 and are not made: a filter of system calls, or a preloaded shim. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

#define PAGES 4u
#define ALL (PM_CALL_MSYNC | PM_CALL_FSYNC | PM_CALL_FDATASYNC | PM_CALL_SYNCFS | PM_CALL_SYNC_FILE_RANGE)

static const struct fake_machine *machine_without_journal(void)
{
	static struct fake_machine machine;
	machine = fake_plain;
	machine.lacks_journal = true;
	return &machine;
}

/* What each kind of mapping stands on. */
static const struct {
	const char *name;
	const struct fake_machine *machine; /* NULL: an ext4 without a journal */
	unsigned flags, stands_on;
	bool is_new;
} kinds[] = {
	{"pages", &fake_plain, 0, PM_CALL_MSYNC, false},
	{"pages, read-only", &fake_plain, PM_READ_ONLY, PM_CALL_FDATASYNC, false},
	{"pages, new", &fake_plain, PM_CREATE, PM_CALL_MSYNC | PM_CALL_FSYNC, true},
	{"pages, grown", &fake_plain, PM_CREATE, PM_CALL_MSYNC | PM_CALL_FSYNC, false},
	{"pages, prepared", &fake_plain, PM_PREPARE, PM_CALL_MSYNC | PM_CALL_FSYNC, false},
	{"pages without a journal", NULL, 0, PM_CALL_MSYNC | PM_CALL_SYNCFS, false},
	{"a device", &fake_block_device, 0, PM_CALL_MSYNC, false},
	{"lines", &fake_dax, 0, PM_CALL_MSYNC | PM_CALL_FSYNC | PM_CALL_SYNCFS, false},
	{"lines, new", &fake_dax, PM_CREATE, PM_CALL_MSYNC | PM_CALL_FSYNC, true},
	{"bytes", &fake_eadr, 0, PM_CALL_MSYNC | PM_CALL_FSYNC | PM_CALL_SYNCFS, false},
};

static const char *start(int kind)
{
	const char *path = kinds[kind].is_new ? unit_path("new") : unit_file("file", PAGES * unit_page());
	unlink(unit_path("new"));
	fake_start(kinds[kind].machine ? kinds[kind].machine : machine_without_journal());
	return path;
}

static const struct pm_options *options(int kind, enum pm_request sync)
{
	static struct pm_options o;
	o = (struct pm_options){
		.size = sizeof(o), .flags = kinds[kind].flags, .sync = sync, .length = PAGES * unit_page()};
	return &o;
}

/* One call after the other is ignored: it counts where the mapping stands on it, and nowhere else. */
START_TEST(each_call_in_turn)
{
	for (unsigned call = 1; call <= PM_CALL_SYNC_FILE_RANGE; call <<= 1) {
		const char *path = start(_i);
		struct pm_mapping *m = unit_map(path, options(_i, PM_HINT));
		enum pm_granularity honest = pm_granularity_of(m);
		/* Its descriptors are of this machine. */
		unit_ok(pm_unmap(m));
		path = start(_i);
		fake.machine.ignores = call;
		m = unit_map(path, options(_i, PM_HINT));
		bool counts = kinds[_i].stands_on & call;
		ck_assert_msg(pm_granularity_of(m) == (counts ? PM_NONE : honest), "%s, call 0x%x: %s", kinds[_i].name,
		              call, pm_granularity_name(pm_granularity_of(m)));
		const struct pm_report *r = unit_query(m);
		ck_assert_int_eq(r->evidence[PM_EV_SYNC_IGNORED].state, counts ? PM_YES : PM_NO);
		ck_assert_int_eq(r->reason == PM_REASON_SYNC_IGNORED, counts);
		ck_assert_int_eq(r->advice == PM_ADVICE_LEAVE_SANDBOX, counts);
		unit_ok(pm_unmap(m));
	}
}
END_TEST

/* Nothing is made, grown or believed before it is refused. */
START_TEST(a_guarantee_is_refused)
{
	for (unsigned call = 1; call <= PM_CALL_SYNC_FILE_RANGE; call <<= 1) {
		struct pm_mapping *m;
		const char *path = start(_i);
		if (!(kinds[_i].stands_on & call))
			continue;
		fake.machine.ignores = call;
		ck_assert_int_eq(pm_map(path, options(_i, PM_GUARANTEE), &m), -PM_EVOLATILE);
		ck_assert_ptr_nonnull(strstr(pm_error_detail(), "a sync that must fail"));
		ck_assert(!kinds[_i].is_new || !unit_exists(path));
		ck_assert_uint_eq(fake_calls(FAKE_fsync) + fake_calls(FAKE_fallocate), 0);
		ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
	}
}
END_TEST

/* A probe says what pm_map() will, of a file that is to be made too. */
START_TEST(a_probe_foretells_it)
{
	struct pm_report r;
	const char *path = start(_i);
	fake.machine.ignores = ALL;
	unit_ok(pm_probe(path, options(_i, PM_HINT), &r, sizeof(r)));
	ck_assert_int_eq(r.granularity, PM_NONE);
	ck_assert_int_eq(r.reason, PM_REASON_SYNC_IGNORED);
}
END_TEST

/* The process shuts itself in after pm_map(): the next look notices, and what is left is done all the same. */
START_TEST(a_filter_that_comes_later)
{
	for (unsigned call = 1; call <= PM_CALL_SYNC_FILE_RANGE; call <<= 1) {
		struct pm_event event;
		const char *path = start(_i);
		struct pm_mapping *m = unit_map(path, options(_i, PM_HINT));
		enum pm_granularity honest = pm_granularity_of(m);
		while (!pm_next_event(m, &event, sizeof(event)))
			;
		fake.machine.ignores = call;
		bool counts = kinds[_i].stands_on & call;
		ck_assert_int_eq(unit_query(m)->granularity, counts ? PM_NONE : honest);
		ck_assert_int_eq(pm_granularity_of(m), counts ? PM_NONE : honest);
		if (counts) {
			unit_ok(pm_next_event(m, &event, sizeof(event)));
			ck_assert_int_eq(event.kind, PM_EVENT_DEMOTED);
			ck_assert_int_eq(event.reason, PM_REASON_SYNC_IGNORED);
			fake_forget();
			unit_ok(pm_persist(m, pm_base(m), 1));
			ck_assert_uint_eq(fake_calls(FAKE_msync) + fake_calls(FAKE_fdatasync), 1);
		}
		unit_ok(pm_unmap(m));
	}
}
END_TEST

/* Scattered runs are then no longer written apart without being written. */
START_TEST(a_filter_of_what_drains_use)
{
	const size_t page = unit_page(), length = 200 * page;
	fake_start(&fake_plain);
	struct pm_mapping *m = unit_map(unit_file("file", length), NULL);
	char *base = pm_base(m);
	unit_ok(pm_flush(m, base, 1));
	unit_ok(pm_flush(m, base + 100 * page, 1));
	unit_ok(pm_drain(m));
	ck_assert_uint_gt(fake_calls(FAKE_sync_file_range), 0);
	fake.machine.ignores = PM_CALL_SYNC_FILE_RANGE;
	ck_assert_int_eq(unit_query(m)->granularity, PM_NONE);
	unit_ok(pm_unmap(m));
}
END_TEST

/* pm_resize() needs an fsync(2), which pm_map() of the file did not. */
START_TEST(a_mapping_that_grows)
{
	const char *path = unit_file("file", PAGES * unit_page());
	struct pm_mapping *m;
	fake_start(&fake_plain);
	fake.machine.ignores = PM_CALL_FSYNC;
	m = unit_map(path, NULL);
	ck_assert_int_eq(unit_query(m)->granularity, PM_PAGE);
	unit_ok(pm_resize(m, 2 * PAGES * unit_page()));
	ck_assert_int_eq(pm_granularity_of(m), PM_NONE);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Under a guarantee there is nothing to fall back to: every durability call says so until that is acknowledged. */
START_TEST(a_guarantee_that_is_lost)
{
	fake_start(&fake_dax);
	struct pm_mapping *m = unit_map(unit_file("file", PAGES * unit_page()), UNIT_OPTIONS(.sync = PM_GUARANTEE));
	fake.machine.ignores = PM_CALL_MSYNC;
	ck_assert_int_eq(unit_query(m)->verdict, PM_VERDICT_REFUSED);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -PM_EVOLATILE);
	ck_assert_int_eq(pm_drain(m), -PM_EVOLATILE);
	unit_ok(pm_clear_error(m));
	unit_ok(pm_persist(m, pm_base(m), 1));
	unit_ok(pm_unmap(m));
}
END_TEST

/* One that fails as it must not says nothing: the real ones will fail, too. Lines are not promised. */
START_TEST(a_filter_that_refuses)
{
	static const int errors[] = {EPERM, ENOSYS, EACCES};
	for (size_t i = 0; i < COUNT(errors); i++) {
		fake_start(&fake_dax);
		fake_fail(FAKE_wrong_sync, 0, errors[i]);
		struct pm_mapping *m = unit_map(unit_file("file", PAGES * unit_page()), NULL);
		const struct pm_report *r = unit_query(m);
		ck_assert_int_eq(r->granularity, PM_PAGE);
		ck_assert_int_eq(r->evidence[PM_EV_SYNC_IGNORED].state, PM_UNKNOWN);
		ck_assert_int_eq(r->evidence[PM_EV_SYNC_IGNORED].error, errors[i]);
		ck_assert_int_eq(r->reason, PM_REASON_SYNC_IGNORED);
		unit_ok(pm_unmap(m));
	}
}
END_TEST

/* Nothing is asked where nothing is promised anyway, and a signal does not matter. */
START_TEST(what_is_not_asked)
{
	const char *path = unit_file("file", PAGES * unit_page());
	fake_start(&fake_tmpfs);
	unit_ok(pm_unmap(unit_map(path, NULL)));
	ck_assert_uint_eq(fake_calls(FAKE_wrong_sync), 0);
	fake_start(&fake_plain);
	unit_ok(pm_unmap(unit_map(path, UNIT_OPTIONS(.flags = PM_PRIVATE))));
	ck_assert_uint_eq(fake_calls(FAKE_wrong_sync), 0);
	fake_interrupt(FAKE_wrong_sync, 3);
	struct pm_mapping *m = unit_map(path, NULL);
	ck_assert_uint_eq(fake_calls(FAKE_wrong_sync), 4);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	unit_ok(pm_unmap(m));
}
END_TEST

/* The directory of a new file that cannot be opened for reading needs a syncfs(2) that was not foreseen. */
START_TEST(a_directory_that_cannot_be_synced)
{
	struct pm_mapping *m;
	fake_start(&fake_plain);
	fake.machine.ignores = PM_CALL_SYNCFS;
	fake_fail(FAKE_fsync, 2, EINVAL);
	const struct pm_options *o = UNIT_OPTIONS(.flags = PM_CREATE, .length = unit_page());
	ck_assert_int_eq(pm_map(unit_path("new"), o, &m), -EOPNOTSUPP);
	ck_assert(!unit_exists(unit_path("new")));
	fake.machine.ignores = 0;
	fake_fail(FAKE_fsync, 2, EINVAL);
	unit_ok(pm_unmap(unit_map(unit_path("new"), o)));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("ignored");
	tcase_add_loop_test(c, each_call_in_turn, 0, (int)COUNT(kinds));
	tcase_add_loop_test(c, a_guarantee_is_refused, 0, (int)COUNT(kinds));
	tcase_add_loop_test(c, a_probe_foretells_it, 0, (int)COUNT(kinds));
	tcase_add_loop_test(c, a_filter_that_comes_later, 0, (int)COUNT(kinds));
	tcase_add_test(c, a_filter_of_what_drains_use);
	tcase_add_test(c, a_mapping_that_grows);
	tcase_add_test(c, a_guarantee_that_is_lost);
	tcase_add_test(c, a_filter_that_refuses);
	tcase_add_test(c, what_is_not_asked);
	tcase_add_test(c, a_directory_that_cannot_be_synced);
	return unit_run();
}

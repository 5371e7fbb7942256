/* SPDX-License-Identifier: BSD-3-Clause */
/* The answer to a broken lease, and the way back, where something else fails or is not known meanwhile. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "leasing.h"
#include "observe/observe.h"

static struct pm_mapping *map_asleep(const struct fake_machine *machine, unsigned flags, enum pm_request sync)
{
	leased_path = unit_file("file", 1 << 20);
	fake_start(machine);
	atomic_store(&fake.watcher_sleeps, true);
	struct pm_mapping *m = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE | flags, .sync = sync));
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	return m;
}

/* Another process opens the file; the kernel does not wait for the answer of this one. */
static void break_lease(struct pm_mapping *m)
{
	fake_fail(FAKE_getlease, 0, EAGAIN);
	observe(m);
	fake_fail(FAKE_getlease, 0, 0);
}

static void wait_for_lines(struct pm_mapping *m)
{
	for (int i = 0; i < 200 && pm_granularity_of(m) == PM_PAGE; i++)
		observe(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
}

/* No descriptor is left to find out what holds without the lease: nothing is promised, and all is written back. */
START_TEST(what_is_not_known_at_a_break_is_not_promised)
{
	bool is_guaranteed = _i > 0;
	unsigned flags = _i > 1 ? PM_FAIL_ON_DEMOTION : 0;
	struct pm_mapping *m = map_asleep(&fake_xfs_reflink, flags, is_guaranteed ? PM_GUARANTEE : PM_HINT);
	fake_fail(FAKE_memfd_create, 0, EMFILE);
	fake_forget();
	break_lease(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	const struct fake_record *written = fake_find(FAKE_msync, 0), *released = first_of(FAKE_setlease, 0);
	ck_assert(written && written->address == (uintptr_t)pm_base(m) && written->length == 1 << 20);
	ck_assert(released && written < released);
	struct pm_event event = next_of(m, PM_EVENT_LEASE_BROKEN);
	ck_assert_int_eq(event.reason, PM_REASON_LEASE_BROKEN);
	ck_assert_int_eq(event.old_granularity, PM_CACHE_LINE);
	ck_assert_int_eq(event.new_granularity, PM_PAGE);
	ck_assert_int_eq(event.sync, PM_UNKNOWN);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), _i > 1 ? -PM_ENOTSYNC : 0);
	fake_fail(FAKE_memfd_create, 0, 0);
	wait_for_lines(m);
	ck_assert_int_eq(unit_query(m)->verdict, PM_VERDICT_MET);
	ck_assert_int_eq(pm_unmap(m), _i > 1 ? -PM_ENOTSYNC : 0);
}
END_TEST

/* The release finds no lease any more: the other process did not wait for the write-back. */
START_TEST(a_lease_that_was_taken_by_force_is_told)
{
	struct pm_mapping *m = map_asleep(&fake_xfs_reflink, 0, PM_HINT);
	fake_fail(FAKE_setlease, 1, _i ? EAGAIN : 0);
	break_lease(m);
	ck_assert_int_eq(next_of(m, PM_EVENT_LEASE_BROKEN).reason,
	                 _i ? PM_REASON_LEASE_FORCED : PM_REASON_LEASE_BROKEN);
	unit_ok(pm_unmap(m));
}
END_TEST

static struct pm_shared_file *file;

static void fail_elsewhere(enum fake_call c)
{
	if (c != FAKE_fsync)
		return;
	counting.hook = NULL;
	pm_shared_file_fail(file, atomic_load(&file->error_seq), -EIO);
}

/* A write-back of another mapping fails while this one is mended. What it lost may be this one's. */
START_TEST(a_failure_elsewhere_while_mending_promotes_nothing)
{
	struct pm_mapping *m = map_asleep(&fake_xfs_reflink, 0, PM_HINT);
	fake.recovers = true;
	break_lease(m);
	file = m->errors.shared;
	counting.hook = fail_elsewhere;
	for (int i = 0; i < 200 && counting.hook; i++)
		observe(m);
	ck_assert_ptr_null(counting.hook);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -EIO);
	unit_ok(pm_clear_error(m));
	wait_for_lines(m);
	unit_ok(pm_unmap(m));
}
END_TEST

/* A poisoned mapping promises nothing by any strategy, and its file is left as it is until it is cleared. */
START_TEST(a_poisoned_mapping_is_not_mended)
{
	struct pm_mapping *m = map_asleep(&fake_xfs_reflink, PM_PREPARE, PM_HINT);
	fake.recovers = true;
	break_lease(m);
	pm_shared_file_fail(m->errors.shared, 0, -EIO);
	fake_forget();
	for (int i = 0; i < 200; i++)
		observe(m);
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_LEASE_HELD].state, PM_YES);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	ck_assert_uint_eq(fake_calls(FAKE_fsync) + fake_calls(FAKE_fallocate_keep_size), 0);
	unit_ok(pm_clear_error(m));
	wait_for_lines(m);
	unit_ok(pm_unmap(m));
}
END_TEST

/* A sync may leave the inode out there, and so the extents that mending makes. */
START_TEST(a_file_whose_syncs_are_not_complete_is_not_mended)
{
	struct fake_machine machine = fake_dax;
	machine.lacks_journal = true;
	struct pm_mapping *m = map_asleep(&machine, PM_PREPARE | PM_TRUST_KERNEL, PM_HINT);
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_FSYNC_COMPLETE].state, PM_NO);
	break_lease(m);
	share_extents();
	observe(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	fake_forget();
	for (int i = 0; i < 200; i++)
		observe(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	ck_assert_uint_eq(fake_calls(FAKE_fallocate_keep_size) + fake_calls(FAKE_fsync), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- How long a failed attempt makes the next one wait ---- */

/* A look that another process's chmod(2) announces, say, comes within the second. */
START_TEST(attempts_wait_in_time_and_not_in_looks)
{
	struct pm_mapping *m = map_asleep(&fake_xfs_reflink, 0, PM_HINT);
	break_lease(m);
	share_extents();
	fake_fail(FAKE_madvise, 0, ENOSPC);
	observe(m);
	unsigned attempts = fake_calls(FAKE_madvise);
	ck_assert_uint_gt(attempts, 0);
	for (unsigned seconds = 1; seconds <= 4; seconds *= 2) {
		fake_forget();
		fake_time_passes(1000 * seconds - 1);
		for (int i = 0; i < 200; i++)
			ck_assert(pm_observe_if_free(&m->observed));
		ck_assert_uint_eq(fake_calls(FAKE_madvise), 0);
		fake_time_passes(1);
		ck_assert(pm_observe_if_free(&m->observed));
		ck_assert_uint_eq(fake_calls(FAKE_madvise), attempts);
	}
	fake_fail(FAKE_madvise, 0, 0);
	wait_for_lines(m);
	unit_ok(pm_unmap(m));
}
END_TEST

/* pm_clear_error() has written everything back, so what failed may succeed now. */
START_TEST(after_a_cleared_failure_nothing_waits)
{
	struct pm_mapping *m = map_asleep(&fake_xfs_reflink, 0, PM_HINT);
	fake.recovers = true;
	break_lease(m);
	for (int i = 0; i < 5; i++) {
		fake_fail(FAKE_fsync, 0, EIO);
		observe(m);
		ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -EIO);
		fake_fail(FAKE_fsync, 0, 0);
		unit_ok(pm_clear_error(m));
	}
	observe(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	unit_ok(pm_unmap(m));
}
END_TEST

/* A look gathers all that such an attempt would, and nothing twice. */
START_TEST(what_no_attempt_mends_makes_none_wait)
{
	static const struct fake_extent half = {.logical = 0, .length = 1 << 19};
	struct pm_mapping *m = map_asleep(&fake_xfs_reflink, 0, PM_HINT);
	break_lease(m);
	fake.machine.extents = &half;
	fake.machine.extent_count = 1;
	fake_forget();
	for (int i = 0; i < 100; i++)
		observe(m);
	ck_assert_int_eq(unit_query(m)->reason, PM_REASON_HOLE);
	ck_assert_uint_eq(fake_calls(FAKE_madvise) + fake_calls(FAKE_fallocate_keep_size), 0);
	fake_forget();
	observe(m);
	ck_assert_uint_eq(fake_calls(FAKE_memfd_create), 1);
	fake.machine.extents = NULL;
	fake.machine.extent_count = 0;
	fake_forget();
	observe(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	/* For the attempt and for the promotion. */
	ck_assert_uint_eq(fake_calls(FAKE_memfd_create), 2);
	unit_ok(pm_unmap(m));
}
END_TEST

/* With the lease it is known that no other process has the file open, so the next writer is a new one. */
START_TEST(a_writer_is_told_after_each_lease)
{
	struct pm_mapping *m = lease(0);
	if (unit_is_emulated())
		return;
	for (int i = 0; i < 2; i++) {
		struct intruder x = let_in(O_WRONLY);
		ck_assert_int_eq(next_of(m, PM_EVENT_OPENED).reason, PM_REASON_OPENED_WRITING);
		dismiss(&x);
		next_of(m, PM_EVENT_PROMOTED);
	}
	unit_ok(pm_unmap(m));
}
END_TEST

static struct pm_mapping *of_lease;
static struct intruder opener;
static atomic_uint processes;
static _Atomic enum pm_granularity at_next_process;

/* In the scan for another mapping: a process opens the leased file while the first of all processes is looked at. */
static void open_during_the_scan(enum fake_call c)
{
	if (c != FAKE_each_entry || pthread_equal(pthread_self(), main_thread))
		return;
	/* The first is /proc itself. */
	unsigned n = atomic_fetch_add(&processes, 1);
	if (n == 1) {
		opener = intrude(O_RDONLY);
		wait_for_break(of_lease);
	} else if (n == 2) {
		atomic_store(&at_next_process, pm_granularity_of(of_lease));
	}
}

/* A scan of /proc may take long: a process that opens the file waits for one process of it, not for its end. */
START_TEST(a_scan_keeps_no_lease_waiting)
{
	if (unit_is_emulated())
		return;
	of_lease = lease(0);
	unit_query(of_lease);
	counting.hook = open_during_the_scan;
	struct pm_mapping *other = unit_map(unit_file("other", 4096), UNIT_OPTIONS(.flags = PM_WATCH));
	while (atomic_load(&processes) < 3)
		usleep(1000);
	counting.hook = NULL;
	ck_assert_int_eq(at_next_process, PM_PAGE);
	ck_assert(is_in(&opener, WAIT_MS));
	dismiss(&opener);
	unit_ok(pm_unmap(other));
	unit_ok(pm_unmap(of_lease));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("retake");
	tcase_add_loop_test(c, what_is_not_known_at_a_break_is_not_promised, 0, 3);
	tcase_add_loop_test(c, a_lease_that_was_taken_by_force_is_told, 0, 2);
	tcase_add_test(c, a_failure_elsewhere_while_mending_promotes_nothing);
	tcase_add_test(c, a_poisoned_mapping_is_not_mended);
	tcase_add_test(c, a_file_whose_syncs_are_not_complete_is_not_mended);
	tcase_add_test(c, attempts_wait_in_time_and_not_in_looks);
	tcase_add_test(c, after_a_cleared_failure_nothing_waits);
	tcase_add_test(c, what_no_attempt_mends_makes_none_wait);
	tcase_add_test(c, a_writer_is_told_after_each_lease);
	tcase_add_test(c, a_scan_keeps_no_lease_waiting);
	return unit_run();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An XFS file under a lease is copied block by block before it is mapped with MAP_SYNC; where it cannot be, the lease
 * counts for nothing. What the kernel does otherwise is shown in the guest (tests/guest/test_stale.c).
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <unistd.h>

#include "file/copies.h"
#include "leasing.h"

static unsigned page(void)
{
	return (unsigned)sysconf(_SC_PAGESIZE);
}

static bool is_single(void)
{
	return fake.machine.xflags & FS_XFLAG_COWEXTSIZE && fake.machine.cow_size == page();
}

static unsigned hints(void)
{
	unsigned count = 0;
	const struct fake_record *r;
	for (unsigned n = 0; (r = fake_find(FAKE_ioctl, n)); n++)
		count += r->flags == FS_IOC_FSSETXATTR;
	return count;
}

static const char *start(void)
{
	leased_path = unit_file("file", 1 << 20);
	fake_start(&fake_xfs_reflink);
	return leased_path;
}

static bool single_when_mapped;

static void see_mmap(enum fake_call call)
{
	if (call == FAKE_mmap)
		single_when_mapped = is_single();
}

START_TEST(a_leased_file_is_copied_block_by_block)
{
	start();
	fake.machine.xflags = _i ? FS_XFLAG_COWEXTSIZE : 0;
	fake.machine.cow_size = _i == 1 ? 32 * page() : _i == 2 ? page() : 0;
	counting.hook = see_mmap;
	struct pm_mapping *m = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE, .sync = PM_GUARANTEE));
	ck_assert(single_when_mapped);
	ck_assert_uint_eq(hints(), _i != 2);
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	unit_ok(pm_unmap(m));
	ck_assert(is_single());
}
END_TEST

static const struct {
	const char *name;
	uint32_t xflags, extent_size; /* in pages */
} harmless[] = {{"an attribute of another kind", FS_XFLAG_NODUMP, 0},
                {"extents of one block", FS_XFLAG_EXTSIZE | FS_XFLAG_NOATIME, 1},
                {"a size that is not in force", 0, 16}};

START_TEST(other_attributes_stay)
{
	start();
	fake.machine.xflags = harmless[_i].xflags;
	fake.machine.extent_size = harmless[_i].extent_size * page();
	struct pm_mapping *m = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE, .sync = PM_GUARANTEE));
	ck_assert_msg(is_single(), "%s", harmless[_i].name);
	ck_assert_uint_eq(fake.machine.xflags, harmless[_i].xflags | FS_XFLAG_COWEXTSIZE);
	unit_ok(pm_unmap(m));
}
END_TEST

static unsigned until_struck, met;
static bool is_signal;

static void strike(enum fake_call call)
{
	see_mmap(call);
	if (call == FAKE_ioctl && ++met == until_struck && is_signal)
		fake_interrupt(FAKE_ioctl, 1);
	else if (call == FAKE_ioctl && met == until_struck)
		fake_fail(FAKE_ioctl, 1, EIO);
}

/* Each ioctl(2) of pm_map() is interrupted, or fails: it is mapped as it must be, or not at all and as it was. */
START_TEST(each_ioctl_is_struck_once)
{
	is_signal = _i & 1;
	bool fails = _i & 2;
	for (until_struck = 1, met = 1; met >= until_struck; until_struck++) {
		struct pm_mapping *m = NULL;
		start();
		fake.machine.xflags = FS_XFLAG_NODUMP;
		met = 0;
		counting.hook = strike;
		fake_fail(FAKE_fsync, 0, fails ? EIO : 0);
		int rc = pm_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE | PM_PREPARE, .sync = PM_GUARANTEE), &m);
		ck_assert_msg(!rc || fails || !is_signal, "after a signal at %u: %s", until_struck, pm_error_detail());
		ck_assert(rc || (is_single() && single_when_mapped));
		/* An ioctl that fails while the call is undone is the one thing that cannot be undone. */
		if (is_signal || !fails)
			ck_assert_uint_eq(fake.machine.xflags, FS_XFLAG_NODUMP | (rc ? 0 : FS_XFLAG_COWEXTSIZE));
		unit_ok(pm_unmap(m));
		counting.hook = NULL;
		fake_fail(FAKE_fsync, 0, 0);
		fake_stop();
	}
	ck_assert_uint_gt(until_struck, 3);
}
END_TEST

static const struct fake_machine *machine_without_dax(void)
{
	static struct fake_machine m;
	m = fake_xfs_reflink;
	m.dax = PM_NO;
	return &m;
}

START_TEST(without_map_sync_nothing_is_needed)
{
	leased_path = unit_file("file", 1 << 20);
	fake_start(machine_without_dax());
	struct pm_mapping *m = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE));
	ck_assert_uint_eq(hints(), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

static const struct fake_machine *unknown_machine(void)
{
	static struct fake_machine m;
	m = fake_xfs_reflink;
	m.magic = 0x1234567;
	m.reflink = PM_UNKNOWN;
	return &m;
}

/* A file system of a kind that does not copy ahead may not know the attribute. */
START_TEST(another_kind_of_file_system)
{
	leased_path = unit_file("file", 1 << 20);
	fake_start(unknown_machine());
	struct pm_mapping *m = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE));
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_MAP_SYNC].state, PM_YES);
	ck_assert_int_ne(unit_query(m)->evidence[PM_EV_SHAREABLE].state, PM_NO);
	ck_assert_uint_eq(hints(), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* What is not known to be without shared extents may have some. */
START_TEST(unknown_is_not_unshareable)
{
	start();
	fake.machine.reflink = PM_UNKNOWN;
	struct pm_mapping *m = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE));
	ck_assert(is_single());
	unit_ok(pm_unmap(m));
}
END_TEST

static const struct {
	const struct fake_machine *machine;
	unsigned flags;
	enum pm_state reflink;
} others[] = {{&fake_xfs_reflink, 0, PM_YES},
              {&fake_xfs_reflink, PM_LEASE, PM_NO},
              {&fake_xfs_reflink, PM_WATCH, PM_YES},
              {&fake_dax, PM_LEASE, PM_NO}, {&fake_dax, PM_LEASE, PM_UNKNOWN}, {&fake_plain, PM_LEASE, PM_NO}};

START_TEST(no_other_file_is_touched)
{
	leased_path = unit_file("file", 1 << 20);
	fake_start(others[_i].machine);
	fake.machine.reflink = others[_i].reflink;
	struct pm_mapping *m = unit_map(leased_path, UNIT_OPTIONS(.flags = others[_i].flags));
	ck_assert_uint_eq(hints(), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

static void refuse(int way)
{
	fake.machine.hints_errno = way == 0 ? EPERM : 0;
	fake.machine.xflags = way == 1 ? FS_XFLAG_EXTSIZE : 0;
	fake.machine.extent_size = way == 1 ? 16 * page() : 0;
}

START_TEST(a_guarantee_is_refused_where_it_cannot_be)
{
	struct pm_mapping *m = NULL;
	start();
	refuse(_i);
	int rc = pm_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE, .sync = PM_GUARANTEE), &m);
	ck_assert_int_eq(rc, _i ? -EINVAL : -EPERM);
	ck_assert_uint_eq(hints(), !_i); /* and none to undo what was not done */
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "cowextsize cannot be set"));
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), leased_path));
	ck_assert_uint_eq(fake_open_files(), 0);
	ck_assert_uint_eq(fake_mapped_bytes(), 0);
}
END_TEST

START_TEST(a_hint_gets_pages_without_map_sync)
{
	start();
	refuse(_i);
	struct pm_mapping *m = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE));
	ck_assert(!m->terms.is_synchronous);
	const struct pm_report *r = unit_query(m);
	ck_assert_int_eq(r->granularity, PM_PAGE);
	ck_assert_int_eq(r->reason, PM_REASON_LEASE_REFUSED);
	ck_assert_int_eq(r->evidence[PM_EV_LEASE_HELD].state, PM_NO);
	ck_assert_int_eq(r->evidence[PM_EV_LEASE_POSSIBLE].state, PM_NO);
	ck_assert_int_eq(r->evidence[PM_EV_LEASE_POSSIBLE].error, _i ? EINVAL : EPERM);
	refuse(-1);
	observe(m);
	ck_assert_int_eq(unit_query(m)->granularity, PM_PAGE);
	fake_forget();
	unit_ok(pm_persist(m, pm_base(m), 64));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	unit_ok(pm_unmap(m));
}
END_TEST

/* After the file was made what the mapping needs. */
START_TEST(a_failing_call_takes_it_back)
{
	struct pm_mapping *m = NULL;
	start();
	fake.machine.xflags = _i ? FS_XFLAG_COWEXTSIZE : 0;
	fake.machine.cow_size = _i ? 8 * page() : 0;
	fake_fail(FAKE_fsync, 0, EIO);
	ck_assert_int_lt(pm_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE | PM_PREPARE), &m), 0);
	ck_assert_uint_eq(hints(), 2);
	ck_assert_uint_eq(fake.machine.xflags, _i ? FS_XFLAG_COWEXTSIZE : 0);
	ck_assert_uint_eq(fake.machine.cow_size, _i ? 8 * page() : 0);
}
END_TEST

/* What the mapping needs is not taken back by a later call that fails, nor by a mapping that set nothing. */
START_TEST(a_later_failure_takes_nothing_back)
{
	struct pm_mapping *m = NULL;
	start();
	if (_i) {
		fake_fail(FAKE_mmap, 0, ENOMEM);
		ck_assert_int_lt(pm_map(leased_path, UNIT_OPTIONS(.flags = PM_CREATE, .length = 2 << 20), &m), 0);
		ck_assert_uint_eq(hints(), 0);
		return;
	}
	m = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE));
	fake_fail(FAKE_mremap, 0, ENOMEM);
	ck_assert_int_eq(pm_resize(m, 2 << 20), -ENOMEM);
	ck_assert(is_single());
	unit_ok(pm_unmap(m));
}
END_TEST

/* Once; what another process sets afterwards is that process's. */
START_TEST(it_is_taken_back_once)
{
	struct pm_file f = {.unit = page()};
	start();
	f.fd = open(leased_path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(f.fd, 0);
	unit_ok(pm_file_copy_singly(&f, true));
	ck_assert(is_single());
	pm_file_copy_as_before(&f);
	ck_assert_uint_eq(hints(), 2);
	pm_file_copy_as_before(&f);
	ck_assert_uint_eq(hints(), 2);
	close(f.fd);
}
END_TEST

/* Another process that has the file open may change the attribute. */
START_TEST(it_is_so_again_before_extents_are_made_whole)
{
	struct pm_mapping *m = lease_unobserved(PM_PREPARE);
	struct intruder x = intrude(O_RDWR);
	wait_for_break(m);
	observe(m);
	ck_assert(is_in(&x, WAIT_MS));
	share_extents();
	fake.machine.xflags = 0;
	fake.machine.hints_errno = _i ? EPERM : 0;
	dismiss(&x);
	fake_forget();
	observe(m);
	ck_assert_int_eq(is_single(), !_i);
	ck_assert_uint_eq(fake_calls(FAKE_madvise) > 0, !_i);
	ck_assert_int_eq(pm_granularity_of(m), _i ? PM_PAGE : PM_CACHE_LINE);
	/* It is not pm_map() that set it. */
	fake_fail(FAKE_mremap, 0, ENOMEM);
	ck_assert_int_eq(pm_resize(m, 2 << 20), -ENOMEM);
	ck_assert_int_eq(is_single(), !_i);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Nothing was set before, so nothing is set on the way back. */
START_TEST(where_it_is_not_needed_the_way_back_sets_nothing)
{
	static const struct fake_extent hole = {.logical = 1 << 20, .length = 1 << 20};
	leased_path = unit_file("file", 1 << 20);
	fake_start(&fake_dax);
	fake.recovers = true;
	atomic_store(&fake.watcher_sleeps, true);
	struct pm_mapping *m = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE | PM_PREPARE));
	struct intruder x = intrude(O_RDWR);
	wait_for_break(m);
	observe(m);
	ck_assert(is_in(&x, WAIT_MS));
	atomic_store(&fake.populated, false);
	fake.machine.extents = &hole;
	fake.machine.extent_count = 1;
	observe(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	dismiss(&x);
	fake_forget();
	observe(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	ck_assert_uint_eq(hints(), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("copies");
	tcase_add_loop_test(c, a_leased_file_is_copied_block_by_block, 0, 3);
	tcase_add_loop_test(c, other_attributes_stay, 0, (int)(sizeof(harmless) / sizeof(harmless[0])));
	tcase_add_loop_test(c, each_ioctl_is_struck_once, 0, 4);
	tcase_add_test(c, without_map_sync_nothing_is_needed);
	tcase_add_test(c, unknown_is_not_unshareable);
	tcase_add_test(c, another_kind_of_file_system);
	tcase_add_loop_test(c, a_later_failure_takes_nothing_back, 0, 2);
	tcase_add_test(c, it_is_taken_back_once);
	tcase_add_test(c, where_it_is_not_needed_the_way_back_sets_nothing);
	tcase_add_loop_test(c, no_other_file_is_touched, 0, (int)(sizeof(others) / sizeof(others[0])));
	tcase_add_loop_test(c, a_guarantee_is_refused_where_it_cannot_be, 0, 2);
	tcase_add_loop_test(c, a_hint_gets_pages_without_map_sync, 0, 2);
	tcase_add_loop_test(c, a_failing_call_takes_it_back, 0, 2);
	tcase_add_loop_test(c, it_is_so_again_before_extents_are_made_whole, 0, 2);
	return unit_run();
}

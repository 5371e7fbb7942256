/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An XFS file under a lease is copied block by block before it is mapped with MAP_SYNC; where it cannot be, the lease
 * counts for nothing. What the kernel does otherwise is shown in the guest (tests/guest/test_stale.c).
 */
#include <linux/fs.h>
#include <string.h>
#include <unistd.h>

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
	const struct fake_machine *machine;
	unsigned flags;
	enum pm_state reflink;
} others[] = {{&fake_xfs_reflink, 0, PM_YES},
              {&fake_xfs_reflink, PM_LEASE, PM_NO},
              {&fake_xfs_reflink, PM_WATCH, PM_YES},
              {&fake_dax, PM_LEASE, PM_NO}, {&fake_plain, PM_LEASE, PM_NO}};

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
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("copies");
	tcase_add_loop_test(c, a_leased_file_is_copied_block_by_block, 0, 3);
	tcase_add_loop_test(c, no_other_file_is_touched, 0, (int)(sizeof(others) / sizeof(others[0])));
	tcase_add_loop_test(c, a_guarantee_is_refused_where_it_cannot_be, 0, 2);
	tcase_add_loop_test(c, a_hint_gets_pages_without_map_sync, 0, 2);
	tcase_add_loop_test(c, a_failing_call_takes_it_back, 0, 2);
	tcase_add_loop_test(c, it_is_so_again_before_extents_are_made_whole, 0, 2);
	return unit_run();
}

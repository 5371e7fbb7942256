/* SPDX-License-Identifier: BSD-3-Clause */
/* A file system that copies what it writes: a store may find no block where the page has one. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "guarding.h"
#include "kernel/magic.h"
#include "mapping/mapping.h"

static size_t page;

static void start(void)
{
	page = unit_page();
	guarding_start();
}

/* btrfs needs a block for each store to a clean page, and fallocate(2) asks for none where the page has one. */
static const struct {
	uint32_t magic;
	bool full;
	unsigned flags;
	int again_errno, error;
	const char *says;
} copying[] = {
	{BTRFS_SUPER_MAGIC, true, 0, EFAULT, -ENOSPC, "no free block"},
	{BTRFS_SUPER_MAGIC, true, 0, 0, -ENOSPC, "no free block"},
	{BTRFS_SUPER_MAGIC, false, 0, EFAULT, -EIO, "is unknown"},
	{BTRFS_SUPER_MAGIC, false, 0, 0, -EAGAIN, "can be made now"},
	{BTRFS_SUPER_MAGIC, true, PM_READ_ONLY, EFAULT, -EIO, "the medium failed"},
	{BTRFS_SUPER_MAGIC, true, PM_PRIVATE, EFAULT, -EIO, "the medium failed"},
	{XFS_SUPER_MAGIC, true, 0, EFAULT, -EIO, "the medium failed"},
};

START_TEST(a_block_for_each_store)
{
	static const struct fake_extent written = {0, 99 << 20, 0};
	struct pm_fault f;
	start();
	fake_start(&fake_plain);
	fake.guards = true;
	fake.machine.magic = copying[_i].magic;
	struct pm_mapping *m = unit_map(guarding_path, UNIT_OPTIONS(.flags = copying[_i].flags));
	fake.machine.has_no_space = copying[_i].full;
	fake.machine.extents = &written;
	fake.machine.extent_count = 1;
	fake_fail(FAKE_madvise, 0, copying[_i].again_errno);
	struct guarding_forged forged = {BUS_ADRERR, (char *)pm_base(m) + 3 * page, 0};
	ck_assert_int_eq(pm_guarded(m, guarding_forge, &forged, &f, sizeof(f)), copying[_i].error);
	ck_assert_msg(!!strstr(pm_error_detail(), copying[_i].says), "%s", pm_error_detail());
	unit_ok(pm_unmap(m));
}
END_TEST

/* The same want, met by PM_PREPARE. */
START_TEST(a_block_for_each_page_that_is_prepared)
{
	static const struct fake_extent written = {0, 99 << 20, 0};
	struct pm_mapping *m;
	start();
	fake_start(&fake_plain);
	fake.machine.magic = BTRFS_SUPER_MAGIC;
	fake.machine.has_no_space = _i;
	fake.machine.extents = &written;
	fake.machine.extent_count = 1;
	fake_fail(FAKE_madvise, 0, EFAULT);
	ck_assert_int_eq(pm_map(guarding_path, UNIT_OPTIONS(.flags = PM_PREPARE), &m), _i ? -ENOSPC : -EIO);
	ck_assert(_i || strstr(pm_error_detail(), "or the medium failed"));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("copying");
	tcase_add_loop_test(c, a_block_for_each_store, 0, (int)COUNT(copying));
	tcase_add_loop_test(c, a_block_for_each_page_that_is_prepared, 0, 2);
	return unit_run();
}

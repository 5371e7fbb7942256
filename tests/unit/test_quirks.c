/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of quirks, as the running release selects from it. */
#include "kernel/magic.h"
#include "kernel/quirks.h"
#include "unit.h"

static const struct {
	uint32_t magic;
	enum pm_quirk quirk;
	const char *release;
	bool expected;
	unsigned asked; /* uname(2) */
} rows[] = {
	{XFS_SUPER_MAGIC, PM_FS_SHOWS_OLD_BLOCKS, "6.1.192", true, 1},
	{XFS_SUPER_MAGIC, PM_FS_SHOWS_OLD_BLOCKS, "6.2", false, 1},
	{XFS_SUPER_MAGIC, PM_FS_SHOWS_OLD_BLOCKS, "unknown", true, 1},
	{XFS_SUPER_MAGIC, PM_FS_RANGES, "5.1.21", false, 1},
	{XFS_SUPER_MAGIC, PM_FS_RANGES, "5.2.0-rc1", true, 1},
	{XFS_SUPER_MAGIC, PM_FS_RANGES, "unknown", false, 1},
	{EXT4_SUPER_MAGIC, PM_FS_RANGES, "10.0", true, 1},
	{EXT4_SUPER_MAGIC, PM_FS_FSYNC_SKIPS_FLUSH, "6.5.13", true, 1},
	{EXT4_SUPER_MAGIC, PM_FS_FSYNC_SKIPS_FLUSH, "6.6.1", false, 1},
	{EXT4_SUPER_MAGIC, PM_FS_FSYNC_BY_JOURNAL, "6.6.1", true, 0},
	{EXT4_SUPER_MAGIC, PM_FS_FSYNC_COMPLETE, "6.6.1", false, 0},
	{RAMFS_MAGIC, PM_FS_VOLATILE, "6.6.1", true, 0},
	{RAMFS_MAGIC, PM_FS_FSYNC_COMPLETE, "6.6.1", true, 0},
	{SQUASHFS_MAGIC, PM_FS_FSYNC_COMPLETE, "6.6.1", true, 0},
	{NTFS3_SUPER_MAGIC, PM_FS_STATMOUNT, "6.6.1", false, 0},
	{OVERLAYFS_SUPER_MAGIC, PM_FS_CACHESTAT, "6.6.1", false, 0},
	{0, PM_FS_LEASES_PROVE, "6.6.1", false, 0},
	{NFS_SUPER_MAGIC, PM_FS_LEASES_PROVE, "6.6.1", false, 0},
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

START_TEST(a_quirk_holds_for_its_releases)
{
	fake_start(&fake_plain);
	fake.machine.release = rows[_i].release;
	fake_forget();
	ck_assert_int_eq(pm_has_quirk(rows[_i].magic, rows[_i].quirk), rows[_i].expected);
	ck_assert_uint_eq(fake_calls(FAKE_uname), rows[_i].asked);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("quirks");
	tcase_add_loop_test(c, a_quirk_holds_for_its_releases, 0, (int)COUNT(rows));
	return unit_run();
}

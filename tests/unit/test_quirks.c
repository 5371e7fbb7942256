/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of quirks, as the running release selects from it. */
#include <stdio.h>
#include <string.h>

#include "kernel/magic.h"
#include "kernel/quirks.h"
#include "unit.h"

static const struct {
	uint32_t magic;
	enum pm_quirk_bit quirk;
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
	{EXT4_SUPER_MAGIC, PM_FS_LACKS_MAP_SYNC, "4.14.336", true, 1},
	{XFS_SUPER_MAGIC, PM_FS_LACKS_MAP_SYNC, "4.15", false, 1},
	{XFS_SUPER_MAGIC, PM_FS_CACHESTAT_CRASHES, "6.4.16", false, 1},
	{EXT4_SUPER_MAGIC, PM_FS_CACHESTAT_CRASHES, "6.5", true, 1},
	{BTRFS_SUPER_MAGIC, PM_FS_CACHESTAT_CRASHES, "6.12", false, 0},
	{0, PM_FS_LEASES_PROVE, "6.6.1", false, 0},
	{NFS_SUPER_MAGIC, PM_FS_LEASES_PROVE, "6.6.1", false, 0},
};

START_TEST(a_quirk_holds_for_its_releases)
{
	fake_start(&fake_plain);
	fake.machine.release = rows[_i].release;
	fake_forget();
	ck_assert_int_eq(pm_has_quirk(rows[_i].magic, rows[_i].quirk), rows[_i].expected);
	/* Of the kernel once, and of one that failed to tell again. */
	for (unsigned round = 0; round < 2; round++)
		ck_assert_int_eq(pm_has_quirk(rows[_i].magic, rows[_i].quirk), rows[_i].expected);
	bool is_told = strcmp(rows[_i].release, "unknown") != 0;
	ck_assert_uint_eq(fake_calls(FAKE_uname), rows[_i].asked * (is_told ? 1 : 3));
}
END_TEST

/* Every bit of every file system, of which ZFS is the last: at first, and by what is kept, as by the release itself. */
START_TEST(each_bit_is_the_same_in_each_way)
{
	fake_start(&fake_plain);
	fake.machine.release = "6.1.0-56";
	for (unsigned place = pm_file_system_place(ZFS_SUPER_MAGIC); place; place--) {
		const struct pm_file_system *fs = pm_file_system_at(place);
		for (unsigned bit = 0; bit < 64; bit++) {
			enum pm_quirk_bit quirk = (enum pm_quirk_bit)(1u << bit % 32);
			ck_assert_msg(pm_has_quirk(fs->magic, quirk) ==
			                      pm_release_has_quirk(fs->magic, quirk, fake.machine.release),
			              "%s, bit %u", fs->name, bit);
		}
	}
	for (unsigned round = 0; round < 2; round++)
		ck_assert(pm_has_quirk(PM_ANY_FILE_SYSTEM, PM_KERNEL_REPEATS_READS));
}
END_TEST

/* The file system, the release, whether it is direct, one row of evidence, and the names that follow. */
static const struct {
	uint32_t magic;
	const char *release;
	enum pm_state direct;
	enum pm_evidence_row row;
	enum pm_state state;
	const char *names[4];
} reports[] = {
	{EXT4_SUPER_MAGIC, "6.1.0-56", PM_NO, PM_EV_FSYNC_COMPLETE, PM_NO, {"fsync-skips-inode", "fsync-skips-flush"}},
	{EXT4_SUPER_MAGIC, "6.6.0", PM_NO, PM_EV_FSYNC_COMPLETE, PM_NO, {"fsync-skips-inode"}},
	{EXT4_SUPER_MAGIC, "6.1.0-56", PM_NO, PM_EV_FSYNC_COMPLETE, PM_YES, {0}},
	{EXT4_SUPER_MAGIC, "6.1.0-56", PM_NO, PM_EV_FSYNC_COMPLETE, PM_UNKNOWN, {0}},
	{0, "6.1.0-56", PM_NO, PM_EV_FSYNC_COMPLETE, PM_NO, {0}},
	{EXT4_SUPER_MAGIC, "6.12.95", PM_YES, PM_EV_FAST_COMMIT, PM_YES, {"fast-commit-loses-stores"}},
	{EXT4_SUPER_MAGIC, "6.12.95", PM_NO, PM_EV_FAST_COMMIT, PM_YES, {0}},
	{EXT4_SUPER_MAGIC, "6.12.95", PM_UNKNOWN, PM_EV_FAST_COMMIT, PM_YES, {0}},
	{EXT4_SUPER_MAGIC, "6.12.95", PM_YES, PM_EV_DAX, PM_YES, {"cachestat-crashes"}},
	{EXT4_SUPER_MAGIC, "6.4.16", PM_YES, PM_EV_DAX, PM_YES, {0}},
	{XFS_SUPER_MAGIC, "6.1.0-56", PM_YES, PM_EV_SHAREABLE, PM_YES, {"clone-loses-stores", "holes-show-old-data"}},
	{XFS_SUPER_MAGIC, "6.12.95", PM_YES, PM_EV_SHAREABLE, PM_YES, {"clone-loses-stores"}},
	{XFS_SUPER_MAGIC, "6.1.0-56", PM_NO, PM_EV_SHAREABLE, PM_YES, {0}},
	{XFS_SUPER_MAGIC, "4.14.1", PM_YES, PM_EV_MAP_SYNC, PM_NO, {"no-map-sync"}},
	{XFS_SUPER_MAGIC, "4.14.1", PM_YES, PM_EV_MAP_SYNC, PM_YES, {0}},
};

static struct pm_report report_of(int i)
{
	struct pm_report r = {.size = sizeof(r), .direct = reports[i].direct};
	r.evidence[PM_EV_FILE_SYSTEM].value = reports[i].magic;
	snprintf(r.evidence[PM_EV_KERNEL].text, sizeof(r.evidence[0].text), "%s", reports[i].release);
	r.evidence[reports[i].row].state = reports[i].state;
	return r;
}

START_TEST(a_report_has_the_quirks_of_its_kernel)
{
	struct pm_report r = report_of(_i);
	size_t count = 0;
	fake_start(&fake_plain);
	fake_forget();
	for (; reports[_i].names[count]; count++) {
		const struct pm_quirk *quirk = pm_quirk(&r, count);
		ck_assert_ptr_nonnull(quirk);
		ck_assert_str_eq(quirk->name, reports[_i].names[count]);
		ck_assert(quirk->effect[0] && quirk->advice[0]);
	}
	ck_assert_ptr_null(pm_quirk(&r, count));
	ck_assert_ptr_null(pm_quirk(&r, SIZE_MAX));
	ck_assert_uint_eq(fake_calls(FAKE_uname), 0);
}
END_TEST

START_TEST(a_report_without_the_rows_has_no_quirks)
{
	struct pm_report r = report_of(0);
	ck_assert_ptr_nonnull(pm_quirk(&r, 0));
	r.size = offsetof(struct pm_report, evidence) + PM_EV_KERNEL * sizeof(r.evidence[0]);
	ck_assert_ptr_null(pm_quirk(&r, 0));
	r.size = offsetof(struct pm_report, evidence) + PM_EV_FSYNC_COMPLETE * sizeof(r.evidence[0]);
	ck_assert_ptr_null(pm_quirk(&r, 0));
	ck_assert_ptr_null(pm_quirk(NULL, 0));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("quirks");
	tcase_add_loop_test(c, a_quirk_holds_for_its_releases, 0, (int)COUNT(rows));
	tcase_add_test(c, each_bit_is_the_same_in_each_way);
	tcase_add_loop_test(c, a_report_has_the_quirks_of_its_kernel, 0, (int)COUNT(reports));
	tcase_add_test(c, a_report_without_the_rows_has_no_quirks);
	return unit_run();
}

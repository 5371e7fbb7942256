/* SPDX-License-Identifier: BSD-3-Clause */
/* The file under the mapping: its extents, its file system, its mount, its page cache. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake_internal.h"
#include "kernel/magic.h"
#include "unit.h"

#define MB ((uint64_t)1 << 20)
#define SIZE (4 * MB)

/* A sparse file is enough: what its extents are is the fake's to say. */
static const char *file_of(uint64_t size)
{
	const char *path = unit_file("file", 1);
	ck_assert_int_eq(truncate(path, (off_t)size), 0);
	return path;
}

#define FINE UINT64_MAX

static const struct {
	const char *name;
	struct fake_extent extent[4];
	uint64_t offset, length; /* of the mapping; length 0: all of SIZE */
	uint64_t hole, unwritten, shared; /* where the first is to be found */
	enum pm_reason reason;
} layouts[] = {
	{"whole", {{0, SIZE, 0}}, 0, 0, FINE, FINE, FINE, PM_REASON_NONE},
	{"two", {{0, MB, 0}, {MB, 3 * MB, 0}}, 0, 0, FINE, FINE, FINE, PM_REASON_NONE},
	{"harmless flags", {{0, SIZE, FIEMAP_EXTENT_MERGED | FIEMAP_EXTENT_LAST}}, 0, 0, FINE, FINE, FINE,
	 PM_REASON_NONE},
	{"nothing", {{0, 0, 0}}, 0, 0, 0, FINE, FINE, PM_REASON_HOLE},
	{"hole at the start", {{4096, SIZE - 4096, 0}}, 0, 0, 0, FINE, FINE, PM_REASON_HOLE},
	{"hole inside", {{0, MB, 0}, {MB + 4096, 3 * MB - 4096, 0}}, 0, 0, MB, FINE, FINE, PM_REASON_HOLE},
	{"hole at the end", {{0, SIZE - 4096, 0}}, 0, 0, SIZE - 4096, FINE, FINE, PM_REASON_HOLE},
	{"two holes", {{0, MB, 0}, {2 * MB, MB, 0}}, 0, 0, MB, FINE, FINE, PM_REASON_HOLE},
	{"unwritten", {{0, MB, 0}, {MB, 3 * MB, FIEMAP_EXTENT_UNWRITTEN}}, 0, 0, FINE, MB, FINE, PM_REASON_UNWRITTEN},
	{"delayed", {{0, SIZE, FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_UNKNOWN}}, 0, 0, FINE, 0, FINE,
	 PM_REASON_UNWRITTEN},
	{"unknown place", {{0, SIZE, FIEMAP_EXTENT_UNKNOWN}}, 0, 0, FINE, 0, FINE, PM_REASON_UNWRITTEN},
	{"compressed", {{0, SIZE, FIEMAP_EXTENT_ENCODED}}, 0, 0, FINE, 0, FINE, PM_REASON_UNWRITTEN},
	{"inline", {{0, SIZE, FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_NOT_ALIGNED}}, 0, 0, FINE, 0, FINE,
	 PM_REASON_UNWRITTEN},
	{"shared", {{0, 3 * MB, 0}, {3 * MB, MB, FIEMAP_EXTENT_SHARED}}, 0, 0, FINE, FINE, 3 * MB, PM_REASON_SHARED},
	{"all wrong", {{MB, MB, FIEMAP_EXTENT_UNWRITTEN}, {2 * MB, MB, FIEMAP_EXTENT_SHARED}}, 0, 0, 0, MB, 2 * MB,
	 PM_REASON_SHARED},
	{"not in the range", {{0, MB, FIEMAP_EXTENT_SHARED}, {MB, 2 * MB, 0}}, MB, 2 * MB, FINE, FINE, FINE,
	 PM_REASON_NONE},
	{"just in the range", {{0, MB, 0}, {MB, 3 * MB, FIEMAP_EXTENT_UNWRITTEN}}, 4096, MB - 4095, FINE, MB, FINE,
	 PM_REASON_UNWRITTEN},
	{"longer than the file", {{0, 8 * MB, 0}}, 0, 0, FINE, FINE, FINE, PM_REASON_NONE},
};

static void check_extent_row(const struct pm_report *r, enum pm_evidence_row row, uint64_t where)
{
	const struct pm_evidence *e = &r->evidence[row];
	enum pm_state expected = where == FINE ? PM_YES : PM_NO;
	ck_assert_msg(e->state == expected, "%s: %s", pm_evidence_name(row), pm_state_name(e->state));
	ck_assert_uint_eq(e->value, where == FINE ? 0 : where);
}

START_TEST(an_extent_that_needs_the_file_system)
{
	fake_start(&fake_dax);
	fake.machine.extents = layouts[_i].extent;
	fake.machine.extent_count = COUNT(layouts[0].extent);
	const struct pm_report *r =
		unit_report(file_of(SIZE), UNIT_OPTIONS(.offset = layouts[_i].offset, .length = layouts[_i].length));
	check_extent_row(r, PM_EV_ALLOCATED, layouts[_i].hole);
	check_extent_row(r, PM_EV_EXTENTS_WRITTEN, layouts[_i].unwritten);
	check_extent_row(r, PM_EV_UNSHARED, layouts[_i].shared);
	ck_assert_msg(r->reason == layouts[_i].reason, "%s: %s", layouts[_i].name, pm_reason_name(r->reason));
	ck_assert_int_eq(r->granularity, r->reason == PM_REASON_NONE ? PM_CACHE_LINE : PM_PAGE);
}
END_TEST

/* More extents than one call returns: a defect in any of them is found. */
START_TEST(a_defect_in_the_last_of_many_extents)
{
	static struct fake_extent many[100];
	static const unsigned bad[] = {0, 31, 32, 33, 63, 64, 98, 99};
	for (unsigned i = 0; i < 100; i++)
		many[i] = (struct fake_extent){.logical = i * MB, .length = MB};
	const char *path = file_of(100 * MB);
	fake_start(&fake_dax);
	fake.machine.extents = many;
	fake.machine.extent_count = 100;
	ck_assert_int_eq(unit_report(path, NULL)->reason, PM_REASON_NONE);
	for (size_t i = 0; i < COUNT(bad); i++) {
		many[bad[i]].flags = FIEMAP_EXTENT_SHARED;
		check_extent_row(unit_report(path, NULL), PM_EV_UNSHARED, bad[i] * MB);
		many[bad[i]].flags = 0;
	}
	fake.machine.extent_count = 64;
	check_extent_row(unit_report(path, NULL), PM_EV_ALLOCATED, 64 * MB);
}
END_TEST

/* The rest of the last page is no part of the file. */
START_TEST(extents_end_where_the_file_ends)
{
	static const struct fake_extent one = {0, 5000, 0};
	fake_start(&fake_dax);
	fake.machine.extents = &one;
	fake.machine.extent_count = 1;
	ck_assert_int_eq(unit_report(file_of(5000), NULL)->reason, PM_REASON_NONE);
	check_extent_row(unit_report(file_of(5001), NULL), PM_EV_ALLOCATED, 5000);
}
END_TEST

START_TEST(a_file_system_that_does_not_tell)
{
	static const int silent[] = {EOPNOTSUPP, ENOTTY, EPERM};
	for (size_t i = 0; i < COUNT(silent); i++) {
		fake_start(&fake_dax);
		fake.machine.fiemap_errno = silent[i];
		const struct pm_report *r = unit_report(file_of(SIZE), NULL);
		ck_assert_int_eq(r->evidence[PM_EV_ALLOCATED].state, PM_UNKNOWN);
		ck_assert_int_eq(r->evidence[PM_EV_EXTENTS_WRITTEN].state, PM_UNKNOWN);
		ck_assert_int_eq(r->evidence[PM_EV_UNSHARED].state, PM_UNKNOWN);
		ck_assert_int_eq(r->evidence[PM_EV_UNSHARED].error, silent[i]);
		ck_assert_int_eq(r->reason, PM_REASON_EXTENTS_UNKNOWN);
	}
}
END_TEST

/* ---- The file system ---- */

static const struct {
	uint32_t magic;
	const char *name;
	enum pm_state known, is_volatile, shareable; /* with a geometry that says no reflink */
	const char *mount;
} file_systems[] = {
	{EXT4_SUPER_MAGIC, "ext2/ext3/ext4", PM_YES, PM_NO, PM_NO, "ext4 /dev/pmem0 rw"},
	{XFS_SUPER_MAGIC, "xfs", PM_YES, PM_NO, PM_NO, "xfs /dev/pmem0 rw"},
	{BTRFS_SUPER_MAGIC, "btrfs", PM_YES, PM_UNKNOWN, PM_UNKNOWN, "btrfs /dev/pmem0 rw"},
	{TMPFS_MAGIC, "tmpfs", PM_YES, PM_YES, PM_UNKNOWN, "tmpfs none rw"},
	{RAMFS_MAGIC, "ramfs", PM_YES, PM_YES, PM_UNKNOWN, "ramfs none rw"},
	{HUGETLBFS_MAGIC, "hugetlbfs", PM_YES, PM_YES, PM_UNKNOWN, "hugetlbfs none rw"},
	{OVERLAYFS_SUPER_MAGIC, "overlay", PM_YES, PM_UNKNOWN, PM_UNKNOWN, "overlay overlay rw,lowerdir=/a"},
	{0x12345678, "f_type 0x12345678", PM_UNKNOWN, PM_NO, PM_UNKNOWN, "strangefs /dev/pmem0 rw"},
	{0xf2f52010, "f2fs", PM_YES, PM_NO, PM_UNKNOWN, "f2fs /dev/pmem0 rw"},
};

START_TEST(a_file_system_by_its_number)
{
	fake_start(&fake_dax);
	fake.machine.magic = file_systems[_i].magic;
	fake.machine.mount = file_systems[_i].mount;
	fake.machine.reflink = PM_NO;
	fake.machine.disk_map = "one device";
	const struct pm_report *r = unit_report(file_of(SIZE), NULL);
	ck_assert_int_eq(r->evidence[PM_EV_FILE_SYSTEM].state, file_systems[_i].known);
	ck_assert_str_eq(r->evidence[PM_EV_FILE_SYSTEM].text, file_systems[_i].name);
	ck_assert_uint_eq(r->evidence[PM_EV_FILE_SYSTEM].value, file_systems[_i].magic);
	ck_assert_int_eq(r->evidence[PM_EV_VOLATILE].state, file_systems[_i].is_volatile);
	ck_assert_int_eq(r->evidence[PM_EV_SHAREABLE].state, file_systems[_i].shareable);
	bool is_volatile = file_systems[_i].is_volatile == PM_YES;
	ck_assert_int_eq(r->granularity, is_volatile                            ? PM_NONE
	                                 : file_systems[_i].shareable == PM_NO ? PM_CACHE_LINE
	                                                                       : PM_PAGE);
}
END_TEST

START_TEST(reflink_as_the_geometry_says)
{
	for (enum pm_state reflink = PM_UNKNOWN; reflink <= PM_YES; reflink++) {
		fake_start(&fake_xfs_reflink);
		fake.machine.reflink = reflink;
		const struct pm_report *r = unit_report(file_of(SIZE), NULL);
		ck_assert_int_eq(r->evidence[PM_EV_SHAREABLE].state, reflink);
		ck_assert_int_eq(r->granularity, reflink == PM_NO ? PM_CACHE_LINE : PM_PAGE);
		if (reflink == PM_UNKNOWN)
			ck_assert_int_eq(r->evidence[PM_EV_SHAREABLE].error, ENOTTY);
	}
}
END_TEST

START_TEST(mount_options_that_concern_us)
{
	static const struct {
		const char *line, *text;
	} mounts[] = {
		{"ext4 /dev/pmem0 rw,relatime,dax=always", "ext4 dax=always"},
		{"ext4 /dev/pmem0 ro,nobarrier,data=writeback,dax=never", "ext4 ro,nobarrier,data=writeback,dax=never"},
		{"xfs /dev/pmem0 rw,attr2,inode64", "xfs"},
		{"ext4 /dev/sda1 rw,nodax,barrier=0", "ext4 nodax,barrier=0"},
		{"ext4 /dev/sda1 ro,relatime", "ext4 ro"},
		{"ext4 /dev/sda1 ro", "ext4 ro"},
		{"tmpfs tmpfs rw", "tmpfs"},
		{"fuse.sshfs me@there: rw,user_id=0", "fuse.sshfs"},
		{"fuse.a-name-longer-than-the-room-for-it x ro", "fuse.a-name-longer-than-the-roo ro"},
		/* For good: fs/ext4/super.c never takes it back. */
		{"ext4 /dev/sda1 rw,relatime,emergency_ro", "ext4 emergency_ro"},
	};
	/* One mapping, so that an answer that was kept from before shows. */
	fake_start(&fake_dax);
	bool by_table = _i == 1;
	fake_fail(FAKE_statmount, 0, by_table ? ENOSYS : 0);
	struct pm_mapping *m = unit_map(file_of(SIZE), NULL);
	for (size_t i = 0; i < COUNT(mounts); i++) {
		fake.machine.mount = mounts[i].line;
		fake_forget();
		const struct pm_report *r = unit_query(m);
		const struct pm_evidence *e = &r->evidence[PM_EV_MOUNT];
		ck_assert_int_eq(e->state, PM_YES);
		ck_assert_str_eq(e->text, mounts[i].text);
		/* By the table the flags of the super block stand where fstatfs(2) finds them. */
		bool is_read_only = strstr(e->text, "emergency_ro") || (!by_table && strstr(e->text, " ro"));
		ck_assert_int_eq(r->evidence[PM_EV_WRITABLE].state, is_read_only ? PM_NO : PM_YES);
		ck_assert_str_eq(e->source, by_table ? "/proc/self/mountinfo" : "statmount(2)");
		ck_assert_uint_eq(fake_calls(FAKE_statmount), 1);
	}
	ck_assert_int_eq(unit_query(m)->reason, PM_REASON_READ_ONLY);
	/* Neither can be opened. */
	fake_fail(FAKE_statmount, 0, EPERM);
	fake_fail(FAKE_read, 0, EIO);
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_MOUNT].state, PM_UNKNOWN);
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_WRITABLE].state, PM_NO);
	unit_ok(pm_unmap(m));
}
END_TEST

/* One question tells the options and the flags; where it is not answered, fstatfs(2) tells the flags. */
START_TEST(a_mount_that_became_read_only)
{
	fake_start(_i / 2 ? &fake_dax : &fake_plain);
	struct pm_mapping *m = unit_map(file_of(SIZE), NULL);
	unit_query(m);
	fake_fail(FAKE_statmount, 0, _i % 2 ? ENOSYS : 0);
	for (int read_only = 0; read_only < 2; read_only++) {
		fake.machine.is_read_only = read_only;
		const struct pm_evidence *e = &unit_query(m)->evidence[PM_EV_WRITABLE];
		ck_assert_int_eq(e->state, read_only ? PM_NO : PM_YES);
		ck_assert_str_eq(e->source, _i % 2 ? "fstatfs(2)" : "statmount(2)");
	}
	fake.machine.is_read_only = false;
	fake_fail(FAKE_fstatfs, 0, EIO);
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_WRITABLE].state, _i % 2 ? PM_UNKNOWN : PM_YES);
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_WRITABLE].error, _i % 2 ? EIO : 0);
	fake_fail(FAKE_fstatfs, 0, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

static int statmount_of_older_kernels(uint64_t id, struct pm_mount *mount)
{
	(void)id;
	(void)mount;
	return -ENOSYS;
}

/* The kernel itself: what it tells of one mount is what its table has. */
START_TEST(one_mount_as_in_the_table)
{
	struct machine older;
	struct pm_mount mount;
	struct pm_mapping *m = unit_map(file_of(SIZE), NULL);
	struct statx stx;
	unit_ok(pm_sys_linux.statx(AT_FDCWD, unit_path("file"), 0, &stx));
	/* Of a file system without a block device the table is read first. */
	bool knows = stx.stx_dev_major && stx.stx_mask & STATX_MNT_ID_UNIQUE &&
	             !pm_sys_linux.statmount(stx.stx_mnt_id, &mount);
	struct pm_evidence one = unit_query(m)->evidence[PM_EV_MOUNT];
	ck_assert_str_eq(one.source, knows ? "statmount(2)" : "/proc/self/mountinfo");
	machine_put(&older, MACHINE(.statmount = statmount_of_older_kernels));
	const struct pm_evidence *row = &unit_query(m)->evidence[PM_EV_MOUNT];
	machine_remove(&older);
	ck_assert_str_eq(row->source, "/proc/self/mountinfo");
	/* A table that is read below a changed root need not have it (chroot(2)). */
	if (row->state != PM_UNKNOWN)
		ck_assert_str_eq(one.text, row->text);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- The page cache ---- */

START_TEST(cachestat_of_what_may_be_dax)
{
	for (unsigned i = 0; i < fake_machines_count; i++) {
		const struct fake_machine *machine = fake_machines[i];
		fake_start(machine);
		fake.machine.release = FAKE_WITHOUT_FOLIOS;
		const char *path = file_of(64 * unit_page());
		const struct pm_report *r = unit_report(path, NULL);
		const struct pm_evidence *e = &r->evidence[PM_EV_RESIDENT];
		bool cached = machine->dax == PM_NO;
		/* Of memory, a device, and what is not known to bear it: page by page. */
		bool bears = cached && (machine->magic == EXT4_SUPER_MAGIC || machine->magic == XFS_SUPER_MAGIC);
		ck_assert_uint_eq(fake_calls(FAKE_cachestat), bears);
		ck_assert_uint_ge(fake_calls(FAKE_mincore), !bears && machine->dax != PM_YES);
		ck_assert_uint_le(fake_calls(FAKE_mincore), !bears && machine->dax != PM_YES ? 4 : 0);
		struct statx stx;
		ck_assert_int_eq(pm_sys_linux.statx(AT_FDCWD, path, 0, &stx), 0);
		/* Where the test runs on DAX, mincore(2) tells of no cached page. */
		bool on_dax = stx.stx_attributes & stx.stx_attributes_mask & STATX_ATTR_DAX;
		if (cached && !bears && on_dax) {
			ck_assert_int_eq(e->state, PM_NO);
		} else if (cached) {
			ck_assert_int_eq(e->state, PM_YES);
			ck_assert_uint_eq(e->value, 0);
		} else if (machine->dax == PM_YES) {
			ck_assert_int_eq(e->state, PM_UNKNOWN);
		}
	}
}
END_TEST

/* Wherever the first cached page is, it is found, and few others are counted on the way. */
START_TEST(the_first_cached_page)
{
	const uint64_t page = unit_page(), pages = 20000;
	static const uint64_t places[] = {0, 1, 2, 15, 16, 17, 272, 273, 300, 4368, 4369, 9999, 19998, 19999, 20000};
	const char *path = file_of(page);
	ck_assert_int_eq(truncate(path, (off_t)(pages * page)), 0);
	fake_start(&fake_plain);
	/* From the second page on: the row speaks of the file. */
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.offset = page));
	for (size_t i = 0; i < COUNT(places); i++) {
		uint64_t counted = 0, from = fake.machine.cached_from = places[i] * page;
		fake_forget();
		const struct pm_evidence *e = &unit_query(m)->evidence[PM_EV_RESIDENT];
		ck_assert_int_eq(e->state, places[i] < pages ? PM_YES : PM_NO);
		ck_assert_uint_eq(e->value, places[i] == pages ? 0 : from < page ? page : from);
		ck_assert_uint_le(fake_calls(FAKE_cachestat), 40);
		if (places[i] <= 1)
			ck_assert_uint_eq(fake_calls(FAKE_cachestat), 1);
		for (unsigned n = 0; n < fake_calls(FAKE_cachestat); n++) {
			const struct fake_record *r = fake_find(FAKE_cachestat, n);
			uint64_t end = r->offset + r->length;
			counted += end > from ? end - (r->offset > from ? r->offset : from) : 0;
		}
		/* Of those that are there: one where they begin at once, never more than about twice all. */
		ck_assert_uint_le(counted, places[i] <= 1 ? page : 2 * (pages * page - from) + 32 * page);
	}
	unit_ok(pm_unmap(m));
}
END_TEST

static uint64_t leave_at;

/* The cache is emptied between two questions. */
static void leave(enum fake_call c)
{
	if (c == FAKE_cachestat && fake_calls(c) == 2)
		fake.machine.cached_from = leave_at;
}

START_TEST(cached_pages_that_go_meanwhile)
{
	const uint64_t page = unit_page();
	const char *path = file_of(page);
	ck_assert_int_eq(truncate(path, (off_t)(1000 * page)), 0);
	for (leave_at = 5 * page; leave_at <= 1000 * page; leave_at += 199 * page) {
		fake_start(&fake_plain);
		fake.machine.cached_from = 3 * page;
		struct pm_mapping *m = unit_map(path, NULL);
		fake_forget();
		counting.hook = leave;
		const struct pm_evidence *e = &unit_query(m)->evidence[PM_EV_RESIDENT];
		ck_assert_int_eq(e->state, leave_at < 1000 * page ? PM_YES : PM_NO);
		ck_assert_uint_eq(e->value, leave_at < 1000 * page ? leave_at : 0);
		counting.hook = NULL;
		unit_ok(pm_unmap(m));
	}
}
END_TEST

START_TEST(a_kernel_without_cachestat)
{
	const uint64_t pages = 10000;
	const char *path = unit_path("file");
	fake_start(&fake_plain);
	fake_fail(FAKE_cachestat, 0, ENOSYS);
	const struct pm_options *o = UNIT_OPTIONS(.flags = PM_CREATE | PM_SPARSE, .length = pages * unit_page());
	struct pm_mapping *m = unit_map(path, o);
	fake_forget();
	const struct pm_evidence *e = &unit_query(m)->evidence[PM_EV_RESIDENT];
	ck_assert_int_eq(e->state, PM_NO);
	ck_assert_uint_eq(fake_calls(FAKE_mincore), 9);
	/* With few neighbours. */
	ck_assert_int_eq(madvise(pm_base(m), pages * unit_page(), MADV_RANDOM), 0);
	((char *)pm_base(m))[9000 * unit_page()] = 1;
	uint64_t first = unit_query(m)->evidence[PM_EV_RESIDENT].value / unit_page();
	ck_assert_int_eq(e->state, PM_YES);
	/* A DAX file may have mapped 2 MiB; an emulator of user space may keep the advice from the kernel. */
	ck_assert_uint_ge(first, 9000 - 2048);
	ck_assert_uint_le(first, 9000);
	((char *)pm_base(m))[0] = 1;
	fake_forget();
	e = &unit_query(m)->evidence[PM_EV_RESIDENT];
	ck_assert_int_eq(e->state, PM_YES);
	ck_assert_uint_eq(e->value, 0);
	ck_assert_str_eq(e->source, "mincore(2)");
	ck_assert_uint_eq(fake_calls(FAKE_mincore), 1);
	fake_fail(FAKE_mincore, 0, EPERM);
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_RESIDENT].state, PM_UNKNOWN);
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("extents");
	tcase_add_loop_test(c, an_extent_that_needs_the_file_system, 0, (int)COUNT(layouts));
	tcase_add_test(c, a_defect_in_the_last_of_many_extents);
	tcase_add_test(c, extents_end_where_the_file_ends);
	tcase_add_test(c, a_file_system_that_does_not_tell);
	tcase_add_loop_test(c, a_file_system_by_its_number, 0, (int)COUNT(file_systems));
	tcase_add_test(c, reflink_as_the_geometry_says);
	tcase_add_loop_test(c, mount_options_that_concern_us, 0, 2);
	tcase_add_loop_test(c, a_mount_that_became_read_only, 0, 4);
	tcase_add_test(c, one_mount_as_in_the_table);
	tcase_add_test(c, cachestat_of_what_may_be_dax);
	tcase_add_test(c, the_first_cached_page);
	tcase_add_test(c, cached_pages_that_go_meanwhile);
	tcase_add_test(c, a_kernel_without_cachestat);
	return unit_run();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A file system on several devices: each of them counts. */
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"

#define XFS 0x58465342
#define F2FS 0xf2f52010
#define SD "pci0000:00/ata1/host0/block/sda"
#define F2FS_MAP                                                                                                       \
	" # of Sections :           60\n\nDisk Map for multi devices:\nDisk: 0 (zoned=0): 0x0 - 0x1ff on "             \
	"/dev/fake/vdj\n"

static const struct members {
	const char *name;
	uint32_t magic;
	const char *mount, *journals[3], *thread, *disk_map, *attributes[2][2];
	bool lacks_journal, hides_journals, hides_task;
	enum pm_state is_volatile, flushes;
	const char *what, *how;
} rows[] = {
	/* ext4 */
	{.name = "inside", .is_volatile = PM_NO, .flushes = PM_YES, .what = "sda", .how = "write back"},
	{.name = "inside, another inode", .journals = {"ram1", "sda-12", "vdb-8"}, .is_volatile = PM_NO,
	 .flushes = PM_YES,
	 .what = "sda"},
	{.name = "no journal", .lacks_journal = true, .journals = {"ram1"}, .is_volatile = PM_NO, .flushes = PM_YES,
	 .what = "sda"},
	{.name = "on memory", .journals = {"vdb-8", "ram1"}, .thread = "jbd2/ram1", .is_volatile = PM_YES,
	 .what = "journal: ram1"},
	{.name = "on another disk", .journals = {"vdj"}, .thread = "jbd2/vdj", .is_volatile = PM_NO, .flushes = PM_YES,
	 .what = "sda"},
	{.name = "on a disk that is not flushed", .journals = {"vdj"}, .thread = "jbd2/vdj",
	 .attributes = {{"vdj/queue/write_cache", "write through"}, {"vdj/cache_type", "write back"}},
	 	.is_volatile = PM_NO,
	 .flushes = PM_NO, .what = "sda", .how = "its journal: queue: write through"},
	{.name = "one of two, by its thread", .journals = {"ram1", "vdj"}, .thread = "jbd2/vdj", .is_volatile = PM_NO,
	 .flushes = PM_YES, .what = "sda"},
	{.name = "the other of two", .journals = {"ram1", "vdj"}, .thread = "jbd2/ram1", .is_volatile = PM_YES,
	 .what = "journal: ram1"},
	{.name = "the only one, its thread unseen", .journals = {"ram1"}, .is_volatile = PM_YES,
	 .what = "journal: ram1"},
	{.name = "one of two, its thread unseen", .journals = {"ram1", "vdj"}, .is_volatile = PM_UNKNOWN,
	 .flushes = PM_UNKNOWN,
	 .what = "may lie on another device"},
	{.name = "a device with a dash", .journals = {"dm-7", "vdj"}, .thread = "jbd2/dm-7", .is_volatile = PM_UNKNOWN,
	 .flushes = PM_UNKNOWN, .what = "journal: dm-7: no device"},
	{.name = "a name that was cut", .journals = {"vdjabcdefghijk", "ram1"}, .thread = "jbd2/vdjabcdefg",
	 .is_volatile = PM_NO,
	 .flushes = PM_YES, .what = "sda"},
	{.name = "none that fits", .journals = {"vdb-8", "sda1-8"}, .thread = "jbd2/ram1", .is_volatile = PM_UNKNOWN,
	 .flushes = PM_UNKNOWN, .what = "may lie on another device"},
	{.name = "not listed", .hides_journals = true, .is_volatile = PM_UNKNOWN, .flushes = PM_UNKNOWN,
	 .what = "may lie"},
	{.name = "whether it has one is not told", .hides_task = true, .journals = {"ram1"}, .is_volatile = PM_UNKNOWN,
	 .flushes = PM_UNKNOWN, .what = "may lie"},
	/* XFS */
	{.name = "log on a disk", .magic = XFS, .mount = "xfs /dev/sda rw,logdev=/dev/fake/vdj,logbufs=8",
	 .is_volatile = PM_NO,
	 .flushes = PM_YES, .what = "sda"},
	{.name = "log on memory", .magic = XFS, .mount = "xfs /dev/sda rw,logdev=/dev/fake/ram5", .is_volatile = PM_YES,
	 .what = "its log: ram5"},
	{.name = "log on a disk that is not flushed", .magic = XFS, .mount = "xfs /dev/sda rw,logdev=/dev/fake/vdj",
	 .attributes = {{"259:30/queue/write_cache", "write through"}, {"259:30/cache_type", "write back"}},
	 	.is_volatile = PM_NO,
	 .flushes = PM_NO, .how = "its log: queue"},
	{.name = "realtime data on memory", .magic = XFS, .mount = "xfs /dev/sda rw,rtdev=/dev/fake/zram3",
	 .is_volatile = PM_YES,
	 .what = "its realtime data: zram3"},
	{.name = "both", .magic = XFS, .mount = "xfs /dev/sda rw,logdev=/dev/fake/vdj,rtdev=/dev/fake/ram5",
	 .is_volatile = PM_YES,
	 .what = "realtime data: ram5"},
	{.name = "a log that cannot be reached", .magic = XFS, .mount = "xfs /dev/sda rw,logdev=/no/vdj",
	 .is_volatile = PM_UNKNOWN, .flushes = PM_UNKNOWN, .what = "/no/vdj: cannot be reached"},
	{.name = "a log by a relative path", .magic = XFS, .mount = "xfs /dev/sda rw,logdev=dev/fake/vdj",
	 .is_volatile = PM_UNKNOWN, .flushes = PM_UNKNOWN, .what = "its log: dev/fake/vdj: cannot"},
	{.name = "a log that is no device", .magic = XFS, .mount = "xfs /dev/sda rw,logdev=/etc/passwd",
	 .is_volatile = PM_UNKNOWN, .flushes = PM_UNKNOWN, .what = "/etc/passwd: cannot"},
	{.name = "of a file system that is not known", .magic = 0x52654973,
	 .mount = "reiserfs /dev/sda rw,jdev=/dev/fake/ram5",
	 .is_volatile = PM_YES, .what = "its journal: ram5"},
	/* f2fs */
	{.name = "one device", .magic = F2FS, .mount = "f2fs /dev/sda rw", .disk_map = " # of Sections :   60\n",
	 .is_volatile = PM_NO, .flushes = PM_YES, .what = "sda"},
	{.name = "two disks", .magic = F2FS, .mount = "f2fs /dev/sda rw",
	 .disk_map = F2FS_MAP "Disk: 1 (zoned=1): 0x200 - 0x3ff on /dev/fake/vdk\n", .is_volatile = PM_NO,
	 	.flushes = PM_YES,
	 .what = "sda"},
	{.name = "a disk and memory", .magic = F2FS, .mount = "f2fs /dev/sda rw",
	 .disk_map = F2FS_MAP "Disk: 1 (zoned=0): 0x200 - 0x3ff on /dev/fake/zram3\n", .is_volatile = PM_YES,
	 .what = "its devices: zram3"},
	{.name = "a device that cannot be reached", .magic = F2FS, .mount = "f2fs /dev/sda rw",
	 .disk_map = F2FS_MAP "Disk: 1 (zoned=0): 0x200 - 0x3ff on sdq\n", .is_volatile = PM_UNKNOWN,
	 	.flushes = PM_UNKNOWN,
	 .what = "its devices: sdq: cannot"},
	{.name = "not told", .magic = F2FS, .mount = "f2fs /dev/sda rw", .is_volatile = PM_UNKNOWN,
	 .flushes = PM_UNKNOWN,
	 .what = "further devices is not known"},
};

static void begin(const struct members *r)
{
	fake_start(&fake_plain);
	fake.machine.block = SD;
	fake.machine.magic = r->magic ? r->magic : EXT4_SUPER_MAGIC;
	fake.machine.mount = r->mount ? r->mount : "ext4 /dev/sda rw,relatime";
	memcpy(fake.machine.journals, r->journals, sizeof(r->journals));
	memcpy(fake.machine.attributes, r->attributes, sizeof(r->attributes));
	fake.machine.journal_thread = r->thread;
	fake.machine.disk_map = r->disk_map;
	fake.machine.lacks_journal = r->lacks_journal;
	fake.machine.hides_journals = r->hides_journals;
	fake.machine.hides_journal = r->hides_task;
}

static void check(const char *name, enum pm_state is_volatile, enum pm_state flushes, const char *what, const char *how)
{
	bool bad = is_volatile == PM_YES || flushes == PM_NO;
	struct pm_mapping *m = unit_map(unit_file("file", 4 * unit_page()), UNIT_OPTIONS(.sync = PM_HINT));
	ck_assert_msg(pm_granularity_of(m) == (bad ? PM_NONE : PM_PAGE), "%s", name);
	const struct pm_report *report = unit_query(m);
	const struct pm_evidence *v = &report->evidence[PM_EV_VOLATILE], *f = &report->evidence[PM_EV_DEVICE_FLUSH];
	ck_assert_msg(v->state == is_volatile, "%s: volatile %s, '%s'", name, pm_state_name(v->state), v->text);
	ck_assert_msg(is_volatile == PM_YES || f->state == flushes, "%s: flushed %s, '%s'", name,
	              pm_state_name(f->state), f->text);
	ck_assert_msg(!what || strstr(v->text, what), "%s: '%s'", name, v->text);
	ck_assert_msg(!how || strstr(f->text, how), "%s: '%s'", name, f->text);
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}

START_TEST(each_device_counts)
{
	const struct members *r = &rows[_i];
	begin(r);
	check(r->name, r->is_volatile, r->flushes, r->what, r->how);
	/* And what is remembered of it. */
	check(r->name, r->is_volatile, r->flushes, r->what, r->how);
}
END_TEST

/* Something else is mounted over /proc: what it lists is no journal. */
START_TEST(another_proc)
{
	begin(&rows[0]);
	fake.machine.over_proc = TMPFS_MAGIC;
	check("another /proc", PM_UNKNOWN, PM_UNKNOWN, "its journal: may lie", NULL);
}
END_TEST

/* Whether that is /proc cannot be found out. */
START_TEST(a_proc_that_does_not_answer)
{
	static const int errors[] = {EIO, EACCES, ENOSYS};
	begin(&rows[0]);
	fake_fail(FAKE_statfs, 0, errors[_i]);
	check("no answer", PM_UNKNOWN, PM_UNKNOWN, "its journal: may lie", NULL);
	fake_fail(FAKE_statfs, 0, 0);
	check("an answer", PM_NO, PM_YES, "sda", NULL);
}
END_TEST

/* The device mapper's names are others in /dev than in sysfs. */
START_TEST(a_btrfs_by_another_name)
{
	fake_start(&fake_plain);
	fake.machine.magic = BTRFS_SUPER_MAGIC;
	fake.machine.has_no_device = true;
	fake.machine.mount = "btrfs /dev/fake/by-name rw";
	fake.machine.slaves[0] = "vdk";
	check("no such name", PM_UNKNOWN, PM_UNKNOWN, "not found in sysfs", NULL);
	fake.machine.mount = "btrfs /dev/fake/mapper rw";
	check("another name", PM_NO, PM_YES, "vdk", NULL);
	fake.machine.slaves[1] = "ram5";
	check("another name, and memory", PM_YES, PM_UNKNOWN, "ram5", NULL);
}
END_TEST

/* What a loop device stands on has a journal, too. */
START_TEST(below_a_loop_device)
{
	static char under[256];
	begin(&rows[0]);
	snprintf(under, sizeof(under), "%s", unit_file("under", 1 << 20));
	fake.machine.under.magic = XFS;
	fake.machine.under.mount = "xfs /dev/vdz rw,logdev=/dev/fake/ram5";
	fake.machine.block = "virtual/block/loop0";
	fake.machine.journals[0] = "loop0-8";
	fake.machine.attributes[0][0] = "/loop/backing_file";
	fake.machine.attributes[0][1] = under;
	check("below a loop device", PM_YES, PM_UNKNOWN, "its log: ram5", NULL);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("members");
	tcase_add_loop_test(c, each_device_counts, 0, (int)COUNT(rows));
	tcase_add_test(c, another_proc);
	tcase_add_loop_test(c, a_proc_that_does_not_answer, 0, 3);
	tcase_add_test(c, a_btrfs_by_another_name);
	tcase_add_test(c, below_a_loop_device);
	return unit_run();
}

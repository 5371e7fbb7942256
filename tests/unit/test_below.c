/* SPDX-License-Identifier: BSD-3-Clause */
/* What a file system stands on: followed down to what forgets, and to what sends no flush. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kernel/magic.h"
#include "unit.h"

#define PAGES 4u
#define CIFS 0xff534d42u
#define F2FS 0xf2f52010
#define CACHE "/queue/write_cache"
#define SD "pci0000:00/ata1/host0/block/sda"

static char under[128]; /* a file, or a directory, that something stands on */
static char upper_option[256], loop_attribute[160];

static struct pm_mapping *map(enum pm_request sync)
{
	return unit_map(unit_file("file", PAGES * unit_page()), UNIT_OPTIONS(.sync = sync));
}

static void check(const char *name, enum pm_state is_volatile, enum pm_state flushes, const char *what, const char *how)
{
	struct pm_mapping *m = map(PM_HINT);
	bool bad = is_volatile == PM_YES || flushes == PM_NO;
	ck_assert_msg(pm_granularity_of(m) == (bad ? PM_NONE : PM_PAGE), "%s: %s", name,
	              pm_granularity_name(pm_granularity_of(m)));
	const struct pm_report *r = unit_query(m);
	const struct pm_evidence *v = &r->evidence[PM_EV_VOLATILE], *f = &r->evidence[PM_EV_DEVICE_FLUSH];
	ck_assert_msg(v->state == is_volatile, "%s: volatile %s, %s", name, pm_state_name(v->state), v->text);
	ck_assert_msg(f->state == flushes, "%s: flushed %s, %s", name, pm_state_name(f->state), f->text);
	ck_assert_msg(!what || strstr(v->text, what), "%s: '%s'", name, v->text);
	ck_assert_msg(!how || strstr(f->text, how), "%s: '%s'", name, f->text);
	ck_assert_int_eq(r->granularity, bad ? PM_NONE : PM_PAGE);
	if (bad)
		ck_assert_int_eq(r->reason, is_volatile == PM_YES ? PM_REASON_VOLATILE : PM_REASON_NO_DEVICE_FLUSH);
	if (bad)
		ck_assert_int_eq(r->advice, is_volatile == PM_YES ? PM_ADVICE_REAL_MEDIUM : PM_ADVICE_BARRIER);
	unit_ok(pm_unmap(m));
	if (!bad)
		return;
	ck_assert_int_eq(pm_map(unit_path("file"), UNIT_OPTIONS(.sync = PM_GUARANTEE), &m), -PM_EVOLATILE);
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}

/* ---- Disks ---- */

static const struct disk {
	const char *block, *slaves[3], *attributes[4][2];
	enum pm_state is_volatile, flushes;
	const char *what, *how;
} disks[] = {
	{SD, {0}, {{0}}, PM_NO, PM_YES, "sda", "write back"},
	{SD "/sda1", {0}, {{"259:3/../../sda/queue/write_cache", "write back"}, {CACHE, NULL}}, PM_NO, PM_YES, "sda",
	 "write back"},
	{"pci0/nvme/nvme0/nvme0n1", {0}, {{"259:3/queue/write_cache", "write back"}, {CACHE, NULL}}, PM_NO, PM_YES,
	 "nvme0n1",
	 NULL},
	{"pci0/nvme/nvme0/nvme0n1/nvme0n1p2", {0},
	 {{"259:3/../../nvme0n1/queue/write_cache", "write back"}, {CACHE, NULL}}, PM_NO, PM_YES, "nvme0n1", NULL},
	{SD, {0}, {{CACHE, NULL}}, PM_NO, PM_UNKNOWN, NULL, "cannot be read"},
	/* Memory. */
	{"virtual/block/ram1", {0}, {{0}}, PM_YES, PM_UNKNOWN, "ram1", NULL},
	{"virtual/block/zram0", {0}, {{0}}, PM_YES, PM_UNKNOWN, "zram0", NULL},
	{"virtual/block/nullb0", {0}, {{0}}, PM_YES, PM_UNKNOWN, "nullb0", NULL},
	{"pseudo_0/adapter0/host3/target3:0:0/3:0:0:0/block/sdb", {0}, {{0}}, PM_YES, PM_UNKNOWN, "sdb", NULL},
	/* Somewhere else. */
	{"virtual/block/nbd0", {0}, {{0}}, PM_UNKNOWN, PM_UNKNOWN, "another process or machine", NULL},
	{"virtual/block/ublkb0", {0}, {{0}}, PM_UNKNOWN, PM_UNKNOWN, "a process", NULL},
	{"platform/host2/session1/target2:0:0/2:0:0:1/block/sdc", {0}, {{0}}, PM_UNKNOWN, PM_UNKNOWN, "another machine",
	 NULL},
	{"virtual/nvme-fabrics/ctl/nvme1/nvme1n1", {0}, {{0}}, PM_UNKNOWN, PM_UNKNOWN, "another machine", NULL},
	{"tcm_loop_0/tcm_loop_adapter_0/host3/target3:0:1/3:0:1:0/block/sdd", {0}, {{0}}, PM_UNKNOWN, PM_UNKNOWN,
	 "a backstore",
	 NULL},
	{"platform/mtdram/mtd/mtd0/mtdblock0", {0}, {{0}}, PM_UNKNOWN, PM_UNKNOWN, "flash or memory", NULL},
	{"virtual/block/zd0", {0}, {{0}}, PM_UNKNOWN, PM_UNKNOWN, "unknown kind", NULL},
	{"virtual/block/ramfoo", {0}, {{0}}, PM_UNKNOWN, PM_UNKNOWN, "unknown kind", NULL},
	/* Upon others: the worst counts. */
	{"virtual/block/dm-0", {"vdb"}, {{0}}, PM_NO, PM_YES, "vdb", NULL},
	{"virtual/block/dm-0", {"vdb", "zram0"}, {{0}}, PM_YES, PM_UNKNOWN, "zram0", NULL},
	{"virtual/block/md127", {"ram0", "ram1"}, {{0}}, PM_YES, PM_UNKNOWN, "ram0", NULL},
	{"virtual/block/md0/md0p1", {0}, {{0}}, PM_UNKNOWN, PM_UNKNOWN, "no device is seen", NULL},
	{"virtual/block/bcache0", {"sda", "ram3"}, {{0}}, PM_YES, PM_UNKNOWN, "ram3", NULL},
	{"virtual/block/dm-0", {"vdb", "nbd1"}, {{0}}, PM_UNKNOWN, PM_UNKNOWN, "nbd1", NULL},
	{"virtual/block/dm-0", {0}, {{0}}, PM_UNKNOWN, PM_UNKNOWN, "no device is seen", NULL},
	/* Queues that send no flush. */
	{SD, {0}, {{CACHE, "write through"}}, PM_NO, PM_UNKNOWN, NULL, "no cache known"},
	{SD, {0}, {{CACHE, "write through"}, {"/cache_type", "write back"}}, PM_NO, PM_NO, NULL, "disk: write back"},
	{SD, {0}, {{CACHE, "write through"}, {"/cache_type", "write through"}}, PM_NO, PM_YES, NULL,
	 "no volatile cache"},
	{SD, {0}, {{CACHE, "write through"}, {"/0:0:0:0/cache_type", "write back"}, {"3/cache_type", NULL}}, PM_NO,
	 PM_NO,
	 NULL, "disk: write back"},
	{SD, {0}, {{CACHE, "write through"}, {"/0:0:0:0/cache_type", "write back, no read (daft)"},
	           {"3/cache_type", NULL}},
	 PM_NO, PM_NO, NULL, "disk: write back"},
	/* What a SCSI disk is believed to be, root may have said. */
	{SD, {0}, {{CACHE, "write through"}, {"/0:0:0:0/cache_type", "none"}, {"3/cache_type", NULL}}, PM_NO,
	 PM_UNKNOWN, NULL,
	 "no cache known"},
	{SD, {0}, {{CACHE, "sometimes"}}, PM_NO, PM_UNKNOWN, NULL, NULL},
	{"virtual/block/dm-0", {"vdb"}, {{"259:3/queue/write_cache", "write through"}}, PM_NO, PM_NO, NULL,
	 "dm-0: write through"},
	{"virtual/block/dm-0", {"vdb"}, {{CACHE, "write through"}, {"vdb/cache_type", "write back"}}, PM_NO, PM_NO,
	 NULL,
	 "disk: write back"},
	{"virtual/block/dm-0", {"vdb"}, {{CACHE, "write through"}, {"vdb/cache_type", "write through"}}, PM_NO, PM_YES,
	 NULL,
	 "no volatile cache"},
};

static void place(const struct disk *d)
{
	fake.machine.block = d->block;
	memcpy(fake.machine.slaves, d->slaves, sizeof(d->slaves));
	memcpy(fake.machine.attributes, d->attributes, sizeof(d->attributes));
}

/* An attribute that this kernel does not have is no failure to read it; one that cannot be read is. */
START_TEST(a_cache_that_sysfs_does_not_have)
{
	for (int is_refused = 0; is_refused < 2; is_refused++) {
		fake_start(&fake_plain);
		fake.machine.block = SD;
		fake.machine.attributes[0][0] = CACHE;
		fake.machine.attributes[0][1] = is_refused ? "write back" : NULL;
		if (is_refused)
			fake_fail(FAKE_read, 0, EIO);
		struct pm_mapping *m = map(PM_HINT);
		fake_fail(FAKE_read, 0, 0);
		ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
		if (is_refused)
			fake_fail(FAKE_pread, 0, EIO);
		const struct pm_evidence *e = &unit_query(m)->evidence[PM_EV_DEVICE_FLUSH];
		fake_fail(FAKE_pread, 0, 0);
		ck_assert_int_eq(e->state, PM_UNKNOWN);
		ck_assert_int_eq(e->error, is_refused ? EIO : 0);
		unit_ok(pm_unmap(m));
	}
}
END_TEST

START_TEST(a_disk)
{
	const struct disk *d = &disks[_i];
	fake_start(&fake_plain);
	place(d);
	check(d->block, d->is_volatile, d->flushes, d->what, d->how);
}
END_TEST

/* A node of a device that forgets is no better than the file system on it. */
START_TEST(a_node)
{
	fake_start(&fake_block_device);
	fake.machine.region = NULL;
	fake.machine.node_block = "virtual/block/ram1";
	struct pm_mapping *m = map(PM_HINT);
	ck_assert_int_eq(pm_granularity_of(m), PM_NONE);
	ck_assert_int_eq(unit_query(m)->reason, PM_REASON_VOLATILE);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- File systems ---- */

/* A file system, and what it makes of a file upon it. */
struct upon {
	uint32_t magic;
	const char *mount;
	bool has_no_device;
	enum pm_state is_volatile, flushes;
	const char *what, *how;
};

static const struct upon mounts[] = {
	{EXT4_SUPER_MAGIC, "ext4 /dev/sda rw,relatime", false, PM_NO, PM_YES, "sda", NULL},
	{EXT4_SUPER_MAGIC, "ext4 /dev/sda rw,nobarrier", false, PM_NO, PM_NO, NULL, "mounted nobarrier"},
	{EXT4_SUPER_MAGIC, "ext3 /dev/sda rw,barrier=0,data=ordered", false, PM_NO, PM_NO, NULL, "barrier=0"},
	{EXT4_SUPER_MAGIC, "ext4 /dev/sda rw,barrier=1", false, PM_NO, PM_YES, NULL, NULL},
	{EXT4_SUPER_MAGIC, "ext4 /dev/sda rw,nobarriers", false, PM_NO, PM_YES, NULL, NULL},
	{XFS_SUPER_MAGIC, "xfs /dev/sda rw,attr2,nobarrier,inode64", false, PM_NO, PM_NO, NULL, "mounted nobarrier"},
	{F2FS, "f2fs /dev/sda rw,fsync_mode=nobarrier", false, PM_NO, PM_NO, NULL, "fsync_mode=nobarrier"},
	{F2FS, "f2fs /dev/sda rw,fsync_mode=posix", false, PM_NO, PM_YES, NULL, NULL},
	{F2FS, "f2fs /dev/sda rw,checkpoint=disable:10%", false, PM_YES, PM_UNKNOWN, "checkpoint=disable", NULL},
	{F2FS, "f2fs /dev/sda rw,checkpoint=enable", false, PM_NO, PM_YES, NULL, NULL},
	{NTFS3_SUPER_MAGIC, "ntfs3 /dev/sda rw,uid=0", false, PM_NO, PM_YES, "sda", NULL},
	{0x1234, "strangefs /dev/sda rw", false, PM_NO, PM_UNKNOWN, "sda", "not known for this file system"},
	/* Servers keep what they keep. */
	{NFS_SUPER_MAGIC, "nfs4 host:/ rw,vers=4.2", true, PM_UNKNOWN, PM_UNKNOWN, "the NFS server's", NULL},
	{V9FS_MAGIC, "9p tag rw,cache=mmap", true, PM_UNKNOWN, PM_UNKNOWN, "the 9p server's", NULL},
	{FUSE_SUPER_MAGIC, "fuse.sshfs a: rw", true, PM_UNKNOWN, PM_UNKNOWN, "the FUSE server's", NULL},
	{FUSE_SUPER_MAGIC, "virtiofs tag rw", true, PM_UNKNOWN, PM_UNKNOWN, "the FUSE server's", NULL},
	{FUSE_SUPER_MAGIC, "fuseblk /dev/sda rw", false, PM_UNKNOWN, PM_UNKNOWN, "the FUSE server's", NULL},
	{CIFS, "cifs //a/b rw,nostrictsync", true, PM_UNKNOWN, PM_NO, "the SMB server's", "nostrictsync"},
	{0x4321, "otherfs none rw", true, PM_UNKNOWN, PM_UNKNOWN, "otherfs: no device is known", NULL},
	/* fs/9p passes on what its server says. */
	{BTRFS_SUPER_MAGIC, "9p tag rw", true, PM_UNKNOWN, PM_UNKNOWN, "the 9p server's", NULL},
	{BTRFS_SUPER_MAGIC, "otherfs none rw", true, PM_UNKNOWN, PM_UNKNOWN, "otherfs: no device is known", NULL},
	{OVERLAYFS_SUPER_MAGIC, "9p tag rw,upperdir=/", true, PM_UNKNOWN, PM_UNKNOWN, "the 9p server's", NULL},
	{BTRFS_SUPER_MAGIC, "btrfs /dev/vdc rw,subvol=/", true, PM_UNKNOWN, PM_UNKNOWN, "btrfs: its devices", NULL},
	{OVERLAYFS_SUPER_MAGIC, "overlay overlay rw,lowerdir=/a", true, PM_UNKNOWN, PM_UNKNOWN,
	 "without an upper layer", NULL},
	{OVERLAYFS_SUPER_MAGIC, "overlay overlay rw,upperdir=up,workdir=work", true, PM_UNKNOWN, PM_UNKNOWN,
	 "its upper layer is relative", NULL},
	{OVERLAYFS_SUPER_MAGIC, "overlay overlay rw,upperdir=/no/where", true, PM_UNKNOWN, PM_UNKNOWN,
	 "/no/where: cannot be",
	 NULL},
	{OVERLAYFS_SUPER_MAGIC, "overlay overlay rw,upperdir=/no/where,volatile", true, PM_YES, PM_UNKNOWN,
	 "mounted volatile",
	 NULL},
	{OVERLAYFS_SUPER_MAGIC, "overlay overlay rw,upperdir=/no/where,fsync=volatile", true, PM_YES, PM_UNKNOWN,
	 "mounted volatile", NULL},
	{OVERLAYFS_SUPER_MAGIC, "overlay overlay rw,upperdir=/novolatile,fsync=strict", true, PM_UNKNOWN, PM_UNKNOWN,
	 NULL,
	 NULL},
};

START_TEST(a_mount)
{
	fake_start(&fake_plain);
	fake.machine.block = SD;
	fake.machine.magic = mounts[_i].magic;
	fake.machine.mount = mounts[_i].mount;
	fake.machine.has_no_device = mounts[_i].has_no_device;
	fake.machine.disk_map = "one device";
	check(mounts[_i].mount, mounts[_i].is_volatile, mounts[_i].flushes, mounts[_i].what, mounts[_i].how);
	/* And by the table alone, as before Linux 6.11. */
	fake_fail(FAKE_statmount, 0, ENOSYS);
	check(mounts[_i].mount, mounts[_i].is_volatile, mounts[_i].flushes, mounts[_i].what, mounts[_i].how);
}
END_TEST

/* What the disk does not have need not be flushed. */
START_TEST(no_barrier_and_no_cache)
{
	static const char *const says[] = {"write through", "write back"};
	fake_start(&fake_plain);
	fake.machine.block = SD;
	fake.machine.mount = "ext4 /dev/sda rw,nobarrier";
	fake.machine.attributes[0][0] = CACHE;
	fake.machine.attributes[0][1] = "write through";
	fake.machine.attributes[1][0] = "/cache_type";
	fake.machine.attributes[1][1] = says[_i];
	if (_i == 0)
		check("no cache", PM_NO, PM_YES, NULL, "the disk has no volatile cache");
	else
		check("a cache", PM_NO, PM_NO, NULL, "nobarrier");
}
END_TEST

/* ---- Upon files ---- */

static const struct upon unders[] = {
	{TMPFS_MAGIC, "tmpfs none rw", true, PM_YES, PM_UNKNOWN, "tmpfs", NULL},
	{EXT4_SUPER_MAGIC, "ext4 /dev/vdz rw", false, PM_NO, PM_YES, "vdz", "write back"},
	{EXT4_SUPER_MAGIC, "ext4 /dev/vdz rw,nobarrier", false, PM_NO, PM_NO, "vdz", "nobarrier"},
	{NFS_SUPER_MAGIC, "nfs host:/ rw", true, PM_UNKNOWN, PM_UNKNOWN, "the NFS server's", NULL},
	{NTFS3_SUPER_MAGIC, "ntfs3 /dev/vdz rw", false, PM_NO, PM_YES, "vdz", NULL},
};

static void start_under(int i)
{
	fake_start(&fake_plain);
	snprintf(under, sizeof(under), "%s", unit_file("under", 1 << 20));
	fake.machine.under.magic = unders[i].magic;
	fake.machine.under.mount = unders[i].mount;
	fake.machine.under.has_no_device = unders[i].has_no_device;
}

static void stand_on_upper(int i, int way)
{
	start_under(i);
	fake.machine.upper = way;
	snprintf(upper_option, sizeof(upper_option), "overlay overlay rw,lowerdir=/a,upperdir=%s,workdir=/b", under);
	fake.machine.magic = OVERLAYFS_SUPER_MAGIC;
	fake.machine.has_no_device = true;
	fake.machine.mount = upper_option;
}

START_TEST(an_upper_layer)
{
	stand_on_upper(_i, FAKE_UPPER_SAME);
	check(unders[_i].mount, unders[_i].is_volatile, unders[_i].flushes, unders[_i].what, unders[_i].how);
}
END_TEST

static void stand_on_loop(int i)
{
	start_under(i);
	fake.machine.block = "virtual/block/loop0";
	snprintf(loop_attribute, sizeof(loop_attribute), "%s", under);
	fake.machine.attributes[0][0] = "/loop/backing_file";
	fake.machine.attributes[0][1] = loop_attribute;
	fake.machine.attributes[1][0] = "259:3/size";
	fake.machine.attributes[1][1] = "2048";
}

START_TEST(a_loop_device)
{
	stand_on_loop(_i);
	check(unders[_i].mount, unders[_i].is_volatile, unders[_i].flushes, unders[_i].what, unders[_i].how);
	/* Another file by that name is too short: it is of another mount namespace. */
	fake.machine.attributes[1][1] = "4096";
	fake.machine.loop = FAKE_LOOP_NO_NODE;
	check("too short", PM_UNKNOWN, PM_UNKNOWN, "not visible from here", NULL);
	/* The device knows better: its file was made shorter. */
	fake.machine.loop = FAKE_LOOP_TELLS;
	check("shortened", unders[_i].is_volatile, unders[_i].flushes, unders[_i].what, unders[_i].how);
	fake.machine.attributes[0][1] = "/no/file (deleted)";
	fake.machine.attributes[1][1] = "2048";
	check("deleted", PM_UNKNOWN, PM_UNKNOWN, NULL, NULL);
	/* Its queue does not send on what its file would take. */
	fake.machine.attributes[0][1] = loop_attribute;
	fake.machine.attributes[2][0] = "259:3" CACHE;
	fake.machine.attributes[2][1] = "write through";
	fake.machine.attributes[3][0] = "/ro";
	fake.machine.attributes[3][1] = "0";
	check("silent", unders[_i].is_volatile, PM_NO, NULL, NULL);
}
END_TEST

/* What is bad may be true of another file, and stays; what is good is unknown. */
static void check_doubt(const char *name, int i, const char *why)
{
	enum pm_state is_volatile = unders[i].is_volatile == PM_YES ? PM_YES : PM_UNKNOWN;
	enum pm_state flushes = unders[i].flushes == PM_NO ? PM_NO : PM_UNKNOWN;
	check(name, is_volatile, flushes, unders[i].is_volatile == PM_NO ? why : unders[i].what,
	      unders[i].flushes == PM_YES ? why : unders[i].how);
}

/* A later mount covers the backing file, or it belongs to another mount namespace; the size is the same. */
START_TEST(a_loop_device_with_another_file)
{
	for (int way = FAKE_LOOP_OTHER_FILE; way <= FAKE_LOOP_OTHER_DEVICE; way++) {
		stand_on_loop(_i);
		fake.machine.loop = way;
		check("another file", PM_UNKNOWN, PM_UNKNOWN, "not visible from here", "not visible from here");
		fake.machine.loop = FAKE_LOOP_TELLS;
		check("uncovered", unders[_i].is_volatile, unders[_i].flushes, unders[_i].what, unders[_i].how);
	}
}
END_TEST

START_TEST(a_loop_device_that_cannot_be_asked)
{
	for (int way = FAKE_LOOP_NO_NODE; way < FAKE_LOOP_WAYS; way++) {
		stand_on_loop(_i);
		fake.machine.loop = way;
		check_doubt("not asked", _i, "cannot be asked for its file");
	}
	/* A partition of it stands on the same file. */
	fake.machine.block = "virtual/block/loop0/loop0p1";
	fake.machine.attributes[0][0] = "/../../loop0/loop/backing_file";
	fake.machine.attributes[1][0] = "/../../loop0/size";
	fake.machine.replaced++;
	check_doubt("a partition", _i, "cannot be asked for its file");
}
END_TEST

/* By the numbers of the file system, which an overlay passes on. */
START_TEST(an_upper_layer_that_is_covered)
{
	for (int way = FAKE_UPPER_BLOCKS; way < FAKE_UPPER_WAYS; way++) {
		stand_on_upper(_i, way);
		check("covered", PM_UNKNOWN, PM_UNKNOWN, "not visible from here", "not visible from here");
	}
	for (int way = FAKE_UPPER_SAME; way <= FAKE_UPPER_BUSY; way++) {
		stand_on_upper(_i, way);
		check("itself", unders[_i].is_volatile, unders[_i].flushes, unders[_i].what, unders[_i].how);
	}
	stand_on_upper(_i, FAKE_UPPER_BUSY_OWN_ID);
	check_doubt("perhaps itself", _i, "its upper layer may be another");
	/* What the mount itself says is not in doubt. */
	snprintf(upper_option, sizeof(upper_option), "overlay overlay rw,upperdir=%s,volatile", under);
	check("volatile", PM_YES, unders[_i].flushes == PM_NO ? PM_NO : PM_UNKNOWN, NULL, NULL);
}
END_TEST

/* ---- What is remembered ---- */

/* Nothing more is asked at pm_map() once the mount is known; a query, a probe and a guarantee look anew. */
START_TEST(a_mount_that_is_known)
{
	fake_start(&fake_plain);
	fake.machine.block = SD;
	unit_ok(pm_unmap(map(PM_HINT)));
	fake_forget();
	struct pm_mapping *m = map(PM_HINT), *refused;
	ck_assert_uint_eq(fake_calls(FAKE_statmount), 0);
	ck_assert_uint_eq(fake_calls(FAKE_readlinkat), 1); /* the file's name */
	/* Remounted meanwhile. */
	fake.machine.mount = "ext4 /dev/sda rw,nobarrier";
	struct pm_report r;
	unit_ok(pm_probe(unit_path("file"), UNIT_OPTIONS(.sync = PM_GUARANTEE), &r, sizeof(r)));
	ck_assert_int_eq(r.granularity, PM_NONE);
	ck_assert_int_eq(r.verdict, PM_VERDICT_REFUSED);
	ck_assert_int_eq(pm_map(unit_path("file"), UNIT_OPTIONS(.sync = PM_GUARANTEE), &refused), -PM_EVOLATILE);
	ck_assert_int_eq(unit_query(m)->granularity, PM_NONE);
	/* By now that is known too, and looked at each time until it is mended. */
	struct pm_mapping *second = map(PM_HINT);
	ck_assert_int_eq(pm_granularity_of(second), PM_NONE);
	fake.machine.mount = "ext4 /dev/sda rw";
	struct pm_mapping *third = map(PM_HINT);
	ck_assert_int_eq(pm_granularity_of(third), PM_PAGE);
	/* Those that were made before promise no more than then, and say so. */
	ck_assert_int_eq(unit_query(second)->granularity, PM_NONE);
	ck_assert_int_eq(unit_query(second)->reason, PM_REASON_NOT_PROMOTED);
	ck_assert_int_eq(unit_query(second)->advice, PM_ADVICE_MAP_AGAIN);
	ck_assert_int_eq(unit_query(m)->reason, PM_REASON_NOT_PROMOTED);
	unit_ok(pm_unmap(m));
	unit_ok(pm_unmap(second));
	unit_ok(pm_unmap(third));
}
END_TEST

/* A table of the device mapper, or a loop device's file, is exchanged while the file system is mounted. */
START_TEST(what_can_be_exchanged_is_not_remembered)
{
	fake_start(&fake_plain);
	place(&(struct disk){"virtual/block/dm-0", {"vdb"}, {{0}}, PM_NO, PM_YES, NULL, NULL});
	struct pm_mapping *m = map(PM_HINT);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	fake.machine.slaves[0] = "ram0";
	struct pm_mapping *second = map(PM_HINT);
	ck_assert_int_eq(pm_granularity_of(second), PM_NONE);
	ck_assert_int_eq(unit_query(m)->granularity, PM_NONE);
	unit_ok(pm_unmap(m));
	unit_ok(pm_unmap(second));
}
END_TEST

/* The kernel's write-back is made all the same: a crash of the process or of the kernel is survived. */
START_TEST(the_best_is_done)
{
	fake_start(&fake_plain);
	fake.machine.mount = "ext4 /dev/sda rw,nobarrier";
	struct pm_mapping *m = map(PM_HINT);
	fake_forget();
	unit_ok(pm_persist(m, pm_base(m), 1));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	unit_ok(pm_unmap(m));
}
END_TEST

/* btrfs has more devices than the table of mounts names. */
START_TEST(all_devices_of_a_btrfs)
{
	fake_start(&fake_plain);
	fake.machine.magic = BTRFS_SUPER_MAGIC;
	fake.machine.has_no_device = true;
	fake.machine.mount = "btrfs /dev/vdb rw";
	fake.machine.slaves[0] = "vdb";
	fake.machine.slaves[1] = "vdc";
	check("two disks", PM_NO, PM_YES, "vdb", NULL);
	fake.machine.slaves[1] = "zram1";
	check("one of them memory", PM_YES, PM_UNKNOWN, "zram1", NULL);
	fake.machine.slaves[1] = NULL;
	fake.machine.mount = "btrfs /dev/vdb rw,nobarrier";
	check("no barrier", PM_NO, PM_NO, NULL, "nobarrier");
}
END_TEST

int main(void)
{
	TCase *c = unit_case("below");
	tcase_add_test(c, a_cache_that_sysfs_does_not_have);
	tcase_add_loop_test(c, a_disk, 0, (int)COUNT(disks));
	tcase_add_test(c, a_node);
	tcase_add_loop_test(c, a_mount, 0, (int)COUNT(mounts));
	tcase_add_loop_test(c, no_barrier_and_no_cache, 0, 2);
	tcase_add_loop_test(c, an_upper_layer, 0, (int)COUNT(unders));
	tcase_add_loop_test(c, a_loop_device, 0, (int)COUNT(unders));
	tcase_add_loop_test(c, a_loop_device_with_another_file, 0, (int)COUNT(unders));
	tcase_add_loop_test(c, a_loop_device_that_cannot_be_asked, 0, (int)COUNT(unders));
	tcase_add_loop_test(c, an_upper_layer_that_is_covered, 0, (int)COUNT(unders));
	tcase_add_test(c, a_mount_that_is_known);
	tcase_add_test(c, what_can_be_exchanged_is_not_remembered);
	tcase_add_test(c, the_best_is_done);
	tcase_add_test(c, all_devices_of_a_btrfs);
	return unit_run();
}

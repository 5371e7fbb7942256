/* SPDX-License-Identifier: BSD-3-Clause */
#include <limits.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "kernel/magic.h"
#include "kernel/quirks.h"
#include "sys/sys.h"

#define RELEASE(major, minor) ((unsigned)(major) << 16 | (unsigned)(minor))
#define ALWAYS 0u
#define NEVER UINT_MAX

static const struct pm_file_system file_systems[] = {
	{EXT4_SUPER_MAGIC, "ext2/ext3/ext4", "ext", NULL},
	{XFS_SUPER_MAGIC, "xfs", "xfs", NULL},
	{BTRFS_SUPER_MAGIC, "btrfs", "btrfs", NULL},
	{F2FS_SUPER_MAGIC, "f2fs", "f2fs", NULL},
	{TMPFS_MAGIC, "tmpfs", "tmpfs", NULL},
	{RAMFS_MAGIC, "ramfs", "ramfs", NULL},
	{HUGETLBFS_MAGIC, "hugetlbfs", "hugetlbfs", NULL},
	{OVERLAYFS_SUPER_MAGIC, "overlay", "overlay", NULL},
	{FUSE_SUPER_MAGIC, "fuse", "virtiofs", "FUSE"}, /* by its f_type the next is found */
	{FUSE_SUPER_MAGIC, "fuse", "fuse", "FUSE"},
	{NFS_SUPER_MAGIC, "nfs", "nfs", "NFS"},
	{V9FS_MAGIC, "9p", "9p", "9p"},
	{CIFS_SUPER_MAGIC, "cifs", "cifs", "SMB"},
	{SMB2_SUPER_MAGIC, "cifs", "", "SMB"},
	{CEPH_SUPER_MAGIC, "ceph", "ceph", "Ceph"},
	{AFS_FS_MAGIC, "afs", "afs", "AFS"},
	{EROFS_SUPER_MAGIC_V1, "erofs", "erofs", NULL},
	{SQUASHFS_MAGIC, "squashfs", "squashfs", NULL},
	{MSDOS_SUPER_MAGIC, "vfat", "", NULL},
	{EXFAT_SUPER_MAGIC, "exfat", "exfat", NULL},
	{NTFS3_SUPER_MAGIC, "ntfs3", "ntfs3", NULL},
	{BCACHEFS_SUPER_MAGIC, "bcachefs", "bcachefs", NULL},
	{ZFS_SUPER_MAGIC, "zfs", "zfs", NULL},
};

/*
 * A row: from which release and before which, of which file system, which bits; the place in the kernel, the test that
 * shows it on a real kernel, and the paragraph of the manual. "read, not shown": no test does, and the row stands on
 * the kernel's source; the test on the fake machine that may follow shows what the library makes of it.
 * tests/contract/quirks.py checks that tests and paragraphs exist. PROVES() is a row of PM_FS_LEASES_PROVE.
 */
#define ROW(from, before, magic, bits, source, test, manual) {from, before, magic, bits}
#define PROVES(magic, test)                                                                                            \
	ROW(ALWAYS, NEVER, magic, PM_FS_LEASES_PROVE, "fs/locks.c check_conflicting_open", test,                       \
	    "pm_file(7), Creating and growing")

static const struct {
	unsigned from, before;
	uint32_t magic;
	unsigned bits;
} rows[] = {
	/* What it is. */
	ROW(ALWAYS, NEVER, EXT4_SUPER_MAGIC, PM_FS_ON_BLOCK_DEVICE | PM_FS_COUNTS_LINKS, "fs/ext4/super.c ext4_fs_type",
	    "tests/guest/test_backing.c", "pm_below(7), Types and numbers that a server made up"),
	ROW(ALWAYS, NEVER, XFS_SUPER_MAGIC, PM_FS_ON_BLOCK_DEVICE | PM_FS_COUNTS_LINKS,
	    "fs/xfs/xfs_super.c xfs_fs_type", "tests/guest/test_backing.c",
	    "pm_below(7), Types and numbers that a server made up"),
	ROW(ALWAYS, NEVER, F2FS_SUPER_MAGIC, PM_FS_ON_BLOCK_DEVICE | PM_FS_COUNTS_LINKS, "fs/f2fs/super.c f2fs_fs_type",
	    "read, not shown; tests/unit/test_identity.c", "pm_below(7), Types and numbers that a server made up"),
	ROW(ALWAYS, NEVER, BTRFS_SUPER_MAGIC, PM_FS_COUNTS_LINKS, "fs/btrfs/inode.c btrfs_getattr",
	    "tests/guest/test_backing.c", "pm_file(7), The name of the file"),
	ROW(ALWAYS, NEVER, TMPFS_MAGIC, PM_FS_VOLATILE | PM_FS_COUNTS_LINKS, "mm/shmem.c", "tests/guest/test_backing.c",
	    "pm_below(7), Memory below"),
	/* 9p, which hands on the f_type of a server, has no file handles (fs/9p/vfs_super.c sets no s_export_op). */
	ROW(ALWAYS, NEVER, TMPFS_MAGIC, PM_FS_HANDLES, "mm/shmem.c shmem_encode_fh",
	    "read, not shown; tests/unit/test_identity.c", "pm_below(7), Types and numbers that a server made up"),
	ROW(ALWAYS, NEVER, BTRFS_SUPER_MAGIC, PM_FS_HANDLES, "fs/btrfs/export.c btrfs_encode_fh",
	    "read, not shown; tests/unit/test_identity.c", "pm_below(7), Types and numbers that a server made up"),
	ROW(ALWAYS, NEVER, RAMFS_MAGIC, PM_FS_VOLATILE, "fs/ramfs/inode.c", "tests/guest/test_backing.c",
	    "pm_below(7), Memory below"),
	ROW(ALWAYS, NEVER, HUGETLBFS_MAGIC, PM_FS_VOLATILE | PM_FS_HUGE_PAGES, "fs/hugetlbfs/inode.c",
	    "tests/guest/test_backing.c", "pm_below(7), Memory below"),
	ROW(ALWAYS, NEVER, OVERLAYFS_SUPER_MAGIC, PM_FS_IS_OVERLAY, "fs/overlayfs/copy_up.c ovl_copy_up_one",
	    "read, not shown; tests/unit/test_named.c", "pm_file(7), The name of the file"),
	ROW(ALWAYS, NEVER, NFS_SUPER_MAGIC, PM_FS_RENAMES_REMOVED, "fs/nfs/unlink.c nfs_sillyrename",
	    "tests/guest/test_backing.c", "pm_file(7), The name of the file"),

	/* statmount(2) with options crashes ntfs3 (fs/ntfs3/super.c ntfs_show_options): an allow list. */
	ROW(ALWAYS, NEVER, EXT4_SUPER_MAGIC, PM_FS_STATMOUNT | PM_FS_CACHESTAT, "fs/ext4/super.c ext4_show_options",
	    "tests/guest/test_backing.c", "pm_below(7), Which calls are made on which file system"),
	ROW(ALWAYS, NEVER, XFS_SUPER_MAGIC, PM_FS_STATMOUNT | PM_FS_CACHESTAT, "fs/xfs/xfs_super.c xfs_fs_show_options",
	    "tests/guest/test_backing.c", "pm_below(7), Which calls are made on which file system"),
	/*
	 * The further devices of a btrfs are found by the mount's source, which statmount(2) tells from Linux 6.13 on
	 * only.
	 */
	ROW(ALWAYS, NEVER, BTRFS_SUPER_MAGIC, PM_FS_CACHESTAT, "mm/filemap.c filemap_cachestat",
	    "tests/guest/test_backing.c", "pm_below(7), Which calls are made on which file system"),
	/* Before Linux 6.9 cachestat(2) of memory that is swapped out may crash: not on tmpfs. */
	ROW(ALWAYS, NEVER, TMPFS_MAGIC, PM_FS_STATMOUNT, "mm/filemap.c filemap_cachestat", "tests/guest/test_backing.c",
	    "pm_below(7), Which calls are made on which file system"),
	/* An overlay's inodes have no page cache that cachestat(2) could count. */
	ROW(ALWAYS, NEVER, OVERLAYFS_SUPER_MAGIC, PM_FS_STATMOUNT, "fs/overlayfs/params.c ovl_show_options",
	    "tests/guest/test_backing.c", "pm_below(7), Which calls are made on which file system"),
	ROW(ALWAYS, NEVER, FUSE_SUPER_MAGIC, PM_FS_STATMOUNT | PM_FS_CACHESTAT, "fs/fuse/inode.c fuse_show_options",
	    "tests/guest/test_backing.c", "pm_below(7), Which calls are made on which file system"),
	ROW(ALWAYS, NEVER, EROFS_SUPER_MAGIC_V1, PM_FS_STATMOUNT, "fs/erofs/super.c erofs_show_options",
	    "tests/guest/test_backing.c", "pm_below(7), Which calls are made on which file system"),

	/* What a direct file bears. */
	ROW(RELEASE(6, 5), NEVER, EXT4_SUPER_MAGIC, PM_FS_CACHESTAT_CRASHES, "mm/filemap.c filemap_cachestat",
	    "read, not shown; tests/unit/test_evidence.c", "pm_below(7), Which calls are made on which file system"),
	ROW(RELEASE(6, 5), NEVER, XFS_SUPER_MAGIC, PM_FS_CACHESTAT_CRASHES, "mm/filemap.c filemap_cachestat",
	    "read, not shown; tests/unit/test_evidence.c", "pm_below(7), Which calls are made on which file system"),
	ROW(ALWAYS, RELEASE(4, 15), EXT4_SUPER_MAGIC, PM_FS_LACKS_MAP_SYNC, "fs/dax.c dax_finish_sync_fault",
	    "read, not shown", "pm_evidence(7), What the kernel granted"),
	ROW(ALWAYS, RELEASE(4, 15), XFS_SUPER_MAGIC, PM_FS_LACKS_MAP_SYNC, "fs/dax.c dax_finish_sync_fault",
	    "read, not shown", "pm_evidence(7), What the kernel granted"),

	/* What syncs do. */
	ROW(ALWAYS, NEVER, EXT4_SUPER_MAGIC, PM_FS_FSYNC_BY_JOURNAL, "fs/ext4/fsync.c ext4_fsync_nojournal",
	    "tests/power/no_journal.sh", "pm_lines(7), ext4 without a journal"),
	ROW(ALWAYS, RELEASE(6, 6), EXT4_SUPER_MAGIC, PM_FS_FSYNC_SKIPS_FLUSH, "fs/ext4/fsync.c ext4_fsync_nojournal",
	    "tests/power/flushes.sh", "pm_lines(7), ext4 without a journal"),
	ROW(ALWAYS, NEVER, EXT4_SUPER_MAGIC, PM_FS_FAST_COMMIT, "fs/ext4/fast_commit.c", "tests/power/ways.sh",
	    "pm_lines(7), Whether an ext4 uses fast_commit"),
	ROW(ALWAYS, NEVER, XFS_SUPER_MAGIC, PM_FS_FSYNC_COMPLETE, "fs/xfs/xfs_file.c xfs_file_fsync",
	    "tests/power/paths.sh", "pm_lines(7), ext4 without a journal"),
	ROW(ALWAYS, NEVER, BTRFS_SUPER_MAGIC, PM_FS_FSYNC_COMPLETE, "fs/btrfs/file.c btrfs_sync_file",
	    "tests/guest/survive.c", "pm_lines(7), ext4 without a journal"),
	ROW(ALWAYS, NEVER, F2FS_SUPER_MAGIC, PM_FS_FSYNC_COMPLETE, "fs/f2fs/file.c f2fs_sync_file",
	    "read, not shown; tests/unit/test_journal.c", "pm_lines(7), ext4 without a journal"),
	ROW(ALWAYS, NEVER, TMPFS_MAGIC, PM_FS_FSYNC_COMPLETE, "fs/libfs.c noop_fsync",
	    "read, not shown; tests/unit/test_journal.c", "pm_lines(7), ext4 without a journal"),
	ROW(ALWAYS, NEVER, RAMFS_MAGIC, PM_FS_FSYNC_COMPLETE, "fs/libfs.c noop_fsync", "read, not shown",
	    "pm_lines(7), ext4 without a journal"),
	ROW(ALWAYS, NEVER, HUGETLBFS_MAGIC, PM_FS_FSYNC_COMPLETE, "fs/libfs.c noop_fsync",
	    "read, not shown; tests/unit/test_journal.c", "pm_lines(7), ext4 without a journal"),
	ROW(ALWAYS, NEVER, EROFS_SUPER_MAGIC_V1, PM_FS_FSYNC_COMPLETE, "read-only",
	    "read, not shown; tests/unit/test_journal.c", "pm_lines(7), ext4 without a journal"),
	ROW(ALWAYS, NEVER, SQUASHFS_MAGIC, PM_FS_FSYNC_COMPLETE, "read-only", "read, not shown",
	    "pm_lines(7), ext4 without a journal"),
	/* Before Linux 5.2 WRITE_AND_WAIT skips pages that are under write-back already: WB_SYNC_NONE. */
	ROW(RELEASE(5, 2), NEVER, EXT4_SUPER_MAGIC, PM_FS_RANGES, "fs/ext4/fsync.c ext4_sync_file, fs/sync.c",
	    "tests/guest/test_flushes.c", "pm_durability(7), What a drain of pages costs"),
	ROW(RELEASE(5, 2), NEVER, XFS_SUPER_MAGIC, PM_FS_RANGES, "fs/xfs/xfs_file.c xfs_file_fsync",
	    "tests/guest/test_flushes.c", "pm_durability(7), What a drain of pages costs"),

	/* What the page cache does: a store makes its whole folio dirty (fs/iomap/buffered-io.c iomap_page_mkwrite). */
	ROW(RELEASE(5, 18), NEVER, XFS_SUPER_MAGIC, PM_FS_LARGE_FOLIOS, "fs/xfs/xfs_icache.c mapping_set_large_folios",
	    "tests/guest/test_folios.c", "pm_durability(7), Large folios"),
	ROW(RELEASE(6, 16), NEVER, EXT4_SUPER_MAGIC, PM_FS_LARGE_FOLIOS, "fs/ext4/inode.c ext4_set_inode_mapping_order",
	    "read, not shown", "pm_durability(7), Large folios"),

	/* What extents do. */
	ROW(ALWAYS, NEVER, EXT4_SUPER_MAGIC, PM_FS_NEVER_SHARES, "fs/ext4/file.c: no remap_file_range",
	    "tests/guest/test_backing.c", "pm_lease(7), Why it is needed"),
	ROW(ALWAYS, NEVER, XFS_SUPER_MAGIC, PM_FS_TELLS_SHARING, "fs/xfs/libxfs/xfs_fs.h XFS_FSOP_GEOM_FLAGS_REFLINK",
	    "tests/power/reflink.sh", "pm_lease(7), Why it is needed"),
	ROW(ALWAYS, RELEASE(6, 2), XFS_SUPER_MAGIC, PM_FS_SHOWS_OLD_BLOCKS, "fs/dax.c dax_iomap_cow_copy",
	    "tests/guest/test_prepared.c", "pm_durability(7), Holes of a cloned file"),
	ROW(ALWAYS, NEVER, XFS_SUPER_MAGIC, PM_FS_COPIES_AHEAD, "fs/xfs/xfs_reflink.c xfs_find_trim_cow_extent",
	    "tests/guest/test_stale.c", "pm_lease(7), Copies of more than one block"),
	/*
	 * Not ZFS, whose faults reserve nothing; not bcachefs, whose faults reserve nothing for a page that has its
	 * copies (fs/bcachefs/fs-io-pagecache.c bch2_get_folio_disk_reservation).
	 */
	ROW(ALWAYS, NEVER, BTRFS_SUPER_MAGIC, PM_FS_COPIES_EACH_STORE,
	    "fs/btrfs/inode.c btrfs_page_mkwrite (fs/btrfs/file.c from 6.9)",
	    "read, not shown; tests/unit/test_copying.c", "pm_durability(7), A file system that is full or frozen"),

	/* Of its count of free blocks: fs/ext4/super.c ext4_statfs. */
	ROW(ALWAYS, NEVER, EXT4_SUPER_MAGIC, PM_FS_TAKES_ALL_BLOCKS, "fs/ext4/extents.c ext4_alloc_file_blocks",
	    "read, not shown; tests/unit/test_faults.c", "pm_file(7), Creating and growing"),

	/* Where it keeps what leads to the data. */
	ROW(ALWAYS, NEVER, EXT4_SUPER_MAGIC, PM_FS_JOURNAL_DEVICE, "fs/ext4/super.c ext4_get_dev_journal",
	    "tests/guest/test_backing.c", "pm_below(7), Memory below"),
	ROW(ALWAYS, NEVER, XFS_SUPER_MAGIC, PM_FS_REALTIME_DEVICE, "fs/xfs/xfs_iops.c xfs_inode_supports_dax",
	    "tests/guest/test_backing.c", "pm_below(7), Memory below"),
	ROW(ALWAYS, NEVER, F2FS_SUPER_MAGIC, PM_FS_DEVICE_LIST, "fs/f2fs/sysfs.c disk_map_seq_show",
	    "read, not shown; tests/unit/test_members.c", "pm_below(7), Memory below"),

	/* Whether fs/locks.c alone says which process has a file open: local file systems, whose open(2) asks it. */
	PROVES(EXT4_SUPER_MAGIC, "tests/guest/limits.sh"),
	PROVES(XFS_SUPER_MAGIC, "tests/guest/limits.sh"),
	PROVES(BTRFS_SUPER_MAGIC, "read, not shown"),
	PROVES(F2FS_SUPER_MAGIC, "read, not shown"),
	PROVES(TMPFS_MAGIC, "tests/race/race.c"),
	PROVES(HUGETLBFS_MAGIC, "read, not shown"),
	PROVES(OVERLAYFS_SUPER_MAGIC, "read, not shown"),
	PROVES(MSDOS_SUPER_MAGIC, "read, not shown"),
	PROVES(EXFAT_SUPER_MAGIC, "read, not shown"),
	PROVES(NTFS3_SUPER_MAGIC, "read, not shown"),
	PROVES(BCACHEFS_SUPER_MAGIC, "read, not shown"),
	PROVES(ZFS_SUPER_MAGIC, "read, not shown"),

	ROW(ALWAYS, RELEASE(6, 9), PM_ANY_FILE_SYSTEM, PM_KERNEL_REPEATS_READS, "mm/madvise.c madvise_populate",
	    "tests/guest/test_eio.c", "pm_durability(7), Faults"),
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

unsigned pm_file_system_place(uint32_t magic)
{
	unsigned place = COUNT(file_systems);
	while (place && file_systems[place - 1].magic != magic)
		place--;
	return place;
}

const struct pm_file_system *pm_file_system_at(unsigned place)
{
	return place ? &file_systems[place - 1] : NULL;
}

const struct pm_file_system *pm_file_system(uint32_t magic)
{
	return pm_file_system_at(pm_file_system_place(magic));
}

const struct pm_file_system *pm_server_of_type(const char *type)
{
	for (size_t i = 0; i < COUNT(file_systems); i++) {
		const struct pm_file_system *fs = &file_systems[i];
		if (fs->server && fs->type[0] && !strncmp(type, fs->type, strlen(fs->type)))
			return fs;
	}
	return NULL;
}

/* What cannot be parsed counts as the oldest kernel. */
static unsigned parse_release(const char *release)
{
	unsigned major, minor;
	return sscanf(release, "%u.%u", &major, &minor) == 2 ? RELEASE(major, minor) : ALWAYS;
}

static _Atomic unsigned running; /* 0: not known */

/* Asked for once: a process ends before its kernel does. */
static unsigned running_release(void)
{
	struct utsname name;
	if (!running && !PM_RETRY(pm_sys->uname(&name)))
		running = parse_release(name.release);
	return running;
}

/* release: NULL stands for the running one, which is asked for only if it matters. */
static bool has_quirk(uint32_t magic, enum pm_quirk_bit quirk, const char *release)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (rows[i].magic != magic || !(rows[i].bits & quirk))
			continue;
		if (rows[i].from == ALWAYS && rows[i].before == NEVER)
			return true;
		/* A bug may be there in two spans of releases: each has its row. */
		unsigned number = release ? parse_release(release) : running_release();
		if (rows[i].from <= number && number < rows[i].before)
			return true;
	}
	return false;
}

/* All that holds of a file system under the running release. */
static unsigned bits_of(uint32_t magic)
{
	unsigned bits = 0;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (rows[i].magic == magic && rows[i].from <= running && running < rows[i].before)
			bits |= rows[i].bits;
	return bits;
}

/* Each look asks ten times. Once the release is known, the answers of a file system are kept with its magic number. */
bool pm_has_quirk(uint32_t magic, enum pm_quirk_bit quirk)
{
	static _Atomic uint64_t known[8];
	_Atomic uint64_t *slot = &known[magic % COUNT(known)];
	uint64_t found = atomic_load(slot);
	if (magic && found >> 32 == magic)
		return found & quirk;
	bool has = has_quirk(magic, quirk, NULL);
	if (running)
		atomic_store(slot, (uint64_t)magic << 32 | bits_of(magic));
	return has;
}

bool pm_release_has_quirk(uint32_t magic, enum pm_quirk_bit quirk, const char *release)
{
	return has_quirk(magic, quirk, release);
}

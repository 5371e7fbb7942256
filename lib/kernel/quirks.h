/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What file systems and kernel releases are known to do and not to do. No other file asks for an f_type or a release:
 * it asks for a bit. A file system that is not in the table has no bits, so a bit is known to hold, never a guess.
 */
#ifndef PM_QUIRKS_H
#define PM_QUIRKS_H

#include <stdbool.h>
#include <stdint.h>

enum pm_quirk_bit {
	/* What it is. */
	PM_FS_VOLATILE = 1u << 0,        /* keeps its files in memory only */
	PM_FS_ON_BLOCK_DEVICE = 1u << 1, /* its st_dev is a device; without one its f_type was passed on by a server */
	PM_FS_IS_OVERLAY = 1u << 2,
	PM_FS_HUGE_PAGES = 1u << 3,      /* st_blksize is its page */
	PM_FS_COUNTS_LINKS = 1u << 4,    /* st_nlink can be relied on */
	PM_FS_RENAMES_REMOVED = 1u << 5, /* an open file that is removed is renamed to .nfsXXXX */
	PM_FS_HANDLES = 1u << 11, /* its file handles are the kernel's own; a server's mount of its f_type has none */

	/* What may be asked of it. */
	PM_FS_STATMOUNT = 1u << 6, /* statmount(2) with options does no harm */
	PM_FS_CACHESTAT = 1u << 7, /* cachestat(2) of a file that is not DAX does no harm */
	PM_FS_CACHESTAT_CRASHES = 1u << 24, /* of a DAX file it may crash the kernel */
	PM_FS_LACKS_MAP_SYNC = 1u << 25,    /* its files may be DAX, and cannot be mapped with MAP_SYNC */

	/* What its syncs do. */
	PM_FS_FSYNC_COMPLETE = 1u << 8,    /* fsync(2) and msync(2) write everything that leads to the data */
	PM_FS_FSYNC_BY_JOURNAL = 1u << 9,  /* they do if it has a journal: /sys/fs/ext4/DEVICE/journal_task */
	PM_FS_FSYNC_SKIPS_FLUSH = 1u << 20, /* without a journal they flush no device where the inode is clean */
	PM_FS_RANGES = 1u << 10,           /* msync(2) of any part commits what sync_file_range(2) wrote */
	PM_FS_FAST_COMMIT = 1u << 12,      /* may commit by fast_commit */

	/* What its extents do. */
	PM_FS_NEVER_SHARES = 1u << 13,    /* has no reflink */
	PM_FS_TELLS_SHARING = 1u << 14,   /* XFS_IOC_FSGEOMETRY says whether it has */
	PM_FS_SHOWS_OLD_BLOCKS = 1u << 15, /* a write fault of a DAX file may show what a block held before */
	PM_FS_COPIES_AHEAD = 1u << 21,     /* a write fault of a shared block allocates for blocks around it */
	PM_FS_COPIES_EACH_STORE = 1u << 23, /* a store to a clean page needs a block, even where the page has one */

	/* Where it keeps what leads to the data. */
	PM_FS_JOURNAL_DEVICE = 1u << 16,  /* maybe a journal on another device */
	PM_FS_REALTIME_DEVICE = 1u << 17, /* maybe data on another device: FS_XFLAG_REALTIME */
	PM_FS_DEVICE_LIST = 1u << 18,     /* maybe more devices: /proc/fs/f2fs/DEVICE/disk_map */

	PM_FS_LARGE_FOLIOS = 1u << 22, /* the page cache holds its files in folios of up to some MiB */

	PM_FS_TAKES_ALL_BLOCKS = 1u << 27, /* a fallocate(2) that fails took all; f_bfree counts every free block */

	PM_FS_LEASES_PROVE = 1u << 19, /* a write lease shows that no other process has the file open */

	/* Of any file system: */
	PM_KERNEL_REPEATS_READS = 1u << 26, /* MADV_POPULATE never ends at a page that cannot be read */
};

struct pm_file_system {
	uint32_t magic;     /* f_type of statfs(2) */
	const char *name;
	const char *type;   /* what its name in the table of mounts begins with; "": not compared */
	const char *server; /* which kind of server keeps the data; NULL: none does */
};

/* NULL: not known. */
const struct pm_file_system *pm_file_system(uint32_t magic);
/* The one with a server that the table of mounts names so; NULL: none. */
const struct pm_file_system *pm_server_of_type(const char *type);
/* Its place in the table, from 1, which does not change; 0: not known. */
unsigned pm_file_system_place(uint32_t magic);
const struct pm_file_system *pm_file_system_at(unsigned place);

#define PM_ANY_FILE_SYSTEM 0u

/* Whether that holds of the file system under a release, as uname(2) has it; one that cannot be read is the oldest. */
bool pm_release_has_quirk(uint32_t magic, enum pm_quirk_bit, const char *release);
/* The same under the running kernel. Calls uname(2) where it depends on the release. */
bool pm_has_quirk(uint32_t magic, enum pm_quirk_bit);

#endif

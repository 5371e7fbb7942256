/* SPDX-License-Identifier: BSD-3-Clause */
/* What test_backing.c expects of each kind of backing. How each is made is in matrix_rows.py. */
#ifndef BACKING_ROWS_H
#define BACKING_ROWS_H

#include <errno.h>
#include <pmdirect.h>
#include <stdbool.h>

struct expected {
	enum pm_granularity granularity;
	enum pm_state sync, direct;
	enum pm_grade grade;
	enum pm_reason reason;
	enum pm_advice advice;
};

#define PROVEN_LINE {PM_CACHE_LINE, PM_YES, PM_YES, PM_GRADE_PROVEN, PM_REASON_NONE, PM_ADVICE_NONE}
#define PROVEN_BYTE {PM_BYTE, PM_YES, PM_YES, PM_GRADE_PROVEN, PM_REASON_NONE, PM_ADVICE_NONE}
#define PROMISED {PM_CACHE_LINE, PM_YES, PM_YES, PM_GRADE_PROMISED, PM_REASON_NO_DOMAIN, PM_ADVICE_STATE_DOMAIN}
#define ACCEPTED(reason, advice) {PM_PAGE, PM_UNKNOWN, PM_YES, PM_GRADE_ACCEPTED, reason, advice}
#define SPARSE ACCEPTED(PM_REASON_HOLE, PM_ADVICE_PREPARE)
#define PAGE_CACHE {PM_PAGE, PM_NO, PM_NO, PM_GRADE_NONE, PM_REASON_PAGE_CACHE, PM_ADVICE_MOUNT_DAX}
#define SHAREABLE ACCEPTED(PM_REASON_SHAREABLE, PM_ADVICE_LEASE)
#define FAST_COMMIT ACCEPTED(PM_REASON_FAST_COMMIT, PM_ADVICE_LEASE)
#define NO_JOURNAL ACCEPTED(PM_REASON_FSYNC_INCOMPLETE, PM_ADVICE_JOURNAL)
#define EMULATED ACCEPTED(PM_REASON_EMULATED_PMEM, PM_ADVICE_REAL_MEDIUM)
#define FLUSH_COMMAND {PM_PAGE, PM_NO, PM_YES, PM_GRADE_NONE, PM_REASON_FLUSH_COMMAND, PM_ADVICE_REAL_MEDIUM}
#define VOLATILE {PM_NONE, PM_NO, PM_NO, PM_GRADE_NONE, PM_REASON_VOLATILE, PM_ADVICE_REAL_MEDIUM}
#define NO_FLUSH {PM_NONE, PM_NO, PM_NO, PM_GRADE_NONE, PM_REASON_NO_DEVICE_FLUSH, PM_ADVICE_BARRIER}
#define VOLATILE_DIRECT {PM_NONE, PM_NO, PM_YES, PM_GRADE_NONE, PM_REASON_VOLATILE, PM_ADVICE_REAL_MEDIUM}
#define REFUSED {PM_PAGE, PM_NO, PM_YES, PM_GRADE_NONE, PM_REASON_SYNC_REFUSED, PM_ADVICE_MOUNT_DAX}
#define NOT_ARMED {PM_NONE, PM_NO, PM_YES, PM_GRADE_NONE, PM_REASON_NOT_ARMED, PM_ADVICE_REAL_MEDIUM}
#define NOTHING {PM_GRANULARITY_UNKNOWN, PM_UNKNOWN, PM_UNKNOWN, PM_GRADE_NONE, PM_REASON_NONE, PM_ADVICE_NONE}
#define SHARED ACCEPTED(PM_REASON_SHARED, PM_ADVICE_REWRITE)
#define REGION_UNKNOWN ACCEPTED(PM_REASON_REGION_UNKNOWN, PM_ADVICE_REAL_MEDIUM)
#define IGNORED(direct) {PM_PAGE, PM_NO, direct, PM_GRADE_NONE, PM_REASON_MAP_SYNC_IGNORED, PM_ADVICE_LEAVE_SANDBOX}

/* What is mapped. A device is one where the backing has it. */
enum kind {
	NEW_FILES, /* made by the test, in DIRECTORY */
	OLD_FILE,  /* DIRECTORY/prepared, written by another process */
	READ_ONLY, /* the same file, which no user may write to */
	MEMFD,
	UNMAPPABLE, /* the file system has no shared mappings */
};

static const struct row {
	const char *name;
	struct expected prepared, sparse;
	int sync_guarantee; /* what pm_map() returns on a prepared file */
	int direct_guarantee;
	enum kind kind;
	const char *note;
	const char *server; /* whose the promise is, as the report names it; NULL: no server's */
	bool is_filled; /* the test meets its end */
} rows[] = {
	{"ext4-dax", PROMISED, SPARSE, -PM_ENOTSYNC, 0, .note = NULL},
	{"ext4-dax-memctrl", PROVEN_LINE, SPARSE, 0, 0, .note = NULL},
	{"ext4-dax-eadr", PROVEN_BYTE, SPARSE, 0, 0, .note = NULL},
	{"xfs-dax", PROVEN_LINE, SPARSE, 0, 0, .note = NULL},
	{"xfs-dax-nodomain", PROMISED, SPARSE, -PM_ENOTSYNC, 0, .note = NULL},
	{"xfs-dax-eadr", PROVEN_BYTE, SPARSE, 0, 0, .note = NULL},
	{"xfs-dax-reflink", SHAREABLE, SPARSE, -PM_ENOTSYNC, 0,
	 .note = "the kernel does not commit every copy-on-write fault before it returns, whatever it accepted; with "
	         "PM_LEASE it is as xfs-dax (test_events.c, tests/power/clone.py)"},
	{"xfs-inode-flag", PROVEN_LINE, SPARSE, 0, 0, .note = NULL},
	{"xfs-inode-noflag", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT, .note = NULL},
	{"ext4-nodax", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT, .note = NULL},
	{"xfs-nodax", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT, .note = NULL},
	{"ext4-disk", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT, .is_filled = true},
	{"ext4-nobarrier", NO_FLUSH, NO_FLUSH, -PM_EVOLATILE, -PM_EVOLATILE,
	 .note = "the kernel's write-back is made all the same, and a crash of the process or the kernel survived"},
	{"ext4-write-through", NO_FLUSH, NO_FLUSH, -PM_EVOLATILE, -PM_EVOLATILE,
	 .note = "the disk itself says that its cache is write back"},
	{"loop-tmpfs", VOLATILE, VOLATILE, -PM_EVOLATILE, -PM_EVOLATILE,
	 .note = "the file behind the loop device counts"},
	{"ext4-journal-brd", VOLATILE, VOLATILE, -PM_EVOLATILE, -PM_EVOLATILE, .note = "its journal counts"},
	{"xfs-log-brd", VOLATILE, VOLATILE, -PM_EVOLATILE, -PM_EVOLATILE, .note = "its log counts"},
	{"overlay-tmpfs", VOLATILE, VOLATILE, -PM_EVOLATILE, -PM_EVOLATILE, .note = "the upper layer counts",
	 .is_filled = true},
	{"xfs-disk", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT, .note = NULL},
	{"e820-ext4", EMULATED, EMULATED, -PM_ENOTSYNC, 0,
	 .note = "the kernel accepts MAP_SYNC; whether the memory survives cannot be known"},
	{"virtio-pmem-ext4", FLUSH_COMMAND, FLUSH_COMMAND, -PM_ENOTSYNC, 0,
	 .note = "durable by the flush command that msync sends to the host"},
	{"tmpfs", VOLATILE, VOLATILE, -PM_EVOLATILE, -PM_EVOLATILE, .note = NULL},
	{"devdax", PROVEN_LINE, PROVEN_LINE, 0, 0, .note = "there is no kernel write-back to fall back to"},
	{"devdax-nodomain", PROMISED, PROMISED, -PM_ENOTSYNC, 0, .note = "as devdax"},
	{"blockdev", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT, .note = NULL},
	{"ext4-dax-memctrl-unprivileged", PROVEN_LINE, SPARSE, 0, 0, .note = NULL},
	{"xfs-dax-unprivileged", PROVEN_LINE, SPARSE, 0, 0, .note = NULL},
	{"ext4-inode-flag", PROVEN_LINE, SPARSE, 0, 0, .note = NULL},
	{"ext4-file-flag", PROVEN_LINE, SPARSE, 0, 0, .kind = OLD_FILE,
	 .note = "the flag counts from the next time the inode is loaded"},
	{"ext4-inode-noflag", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT, .note = NULL},
	{"ext4-ro", FAST_COMMIT, FAST_COMMIT, -PM_ENOTSYNC, 0, .kind = READ_ONLY,
	 .note = "where nothing can be changed, ext4 does not tell whether it commits by fast_commit"},
	{"ext4-data-journal", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT,
	 .note = "the kernel leaves the flag out; with dax=always it refuses the mount"},
	{"ext4-encrypted", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT,
	 .note = "the kernel makes no encrypted file DAX"},
	{"ext4-encrypted-dax", VOLATILE_DIRECT, VOLATILE_DIRECT, -PM_EVOLATILE, 0,
	 .note = "a mistake of the kernel: the file is not encrypted on the medium, yet decrypted when it is loaded "
	         "again, so that nothing stored in it survives"},
	{"ext4-verity", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT, .kind = READ_ONLY,
	 .note = "the kernel makes no file under verity DAX"},
	{"ext4-fast-commit", FAST_COMMIT, FAST_COMMIT, -PM_ENOTSYNC, 0,
	 .note = "fast_commit breaks MAP_SYNC where a store needs metadata, as it does once another process has "
	         "punched or truncated the file; with PM_LEASE it is as ext4-dax-memctrl (tests/power/ways.c)"},
	{"ext4-nojournal", NO_JOURNAL, NO_JOURNAL, -PM_ENOTSYNC, 0,
	 .note = "after a power failure the file system needs e2fsck, as it always does without a journal"},
	{"ext2-dax", NO_JOURNAL, NO_JOURNAL, -PM_ENOTSYNC, 0, .note = "as ext4-nojournal", .is_filled = true},
	{"xfs-file-flag", PROVEN_LINE, SPARSE, 0, 0, .kind = OLD_FILE,
	 .note = "the flag counts from the next time the inode is loaded"},
	{"xfs-ro", PROVEN_LINE, SPARSE, 0, 0, .kind = READ_ONLY, .note = NULL},
	{"xfs-cloned", SHARED, SPARSE, -PM_ENOTSYNC, 0, .kind = OLD_FILE,
	 .note = "prepared, it has its own extents again, and is as xfs-dax-reflink"},
	{"xfs-realtime", REGION_UNKNOWN, REGION_UNKNOWN, -PM_ENOTSYNC, 0,
	 .note = "statx names the data device; the library does not look up on which memory the file is"},
	{"virtio-pmem-xfs", FLUSH_COMMAND, FLUSH_COMMAND, -PM_ENOTSYNC, 0, .note = "as virtio-pmem-ext4"},
	{"dm-linear", PROVEN_LINE, SPARSE, 0, 0, .note = "the regions of all devices below count"},
	{"dm-stripe", PROVEN_LINE, SPARSE, 0, 0, .note = "as dm-linear"},
	{"dm-mixed", EMULATED, EMULATED, -PM_ENOTSYNC, 0, .note = "the worst of the devices below counts"},
	{"dm-flakey", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT,
	 .note = "DAX does not pass it: xfs mounts without, ext4 refuses the mount"},
	{"loop", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT, .note = "DAX does not pass it"},
	{"overlay-upper", REFUSED, REFUSED, -PM_ENOTSYNC, 0, .note = "overlayfs does not know MAP_SYNC"},
	{"overlay-lower", REFUSED, REFUSED, -PM_ENOTSYNC, 0, .kind = READ_ONLY, .note = "as overlay-upper"},
	{"overlay-volatile", VOLATILE_DIRECT, VOLATILE_DIRECT, -PM_EVOLATILE, 0,
	 .note = "the overlay leaves fsync(2) out"},
	{"erofs-dax", REFUSED, REFUSED, -PM_ENOTSYNC, 0, .kind = READ_ONLY,
	 .note = "erofs does not know MAP_SYNC; nothing is stored"},
	{"btrfs", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT, .note = "btrfs has no DAX", .is_filled = true},
	{"virtiofs", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT,
	 .note = "without a DAX window, which QEMU does not offer", .server = "FUSE"},
	{"fuse", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT, .server = "FUSE", .is_filled = true},
	{"vfat", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT, .is_filled = true},
	{"exfat", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT, .is_filled = true},
	{"ntfs3", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT,
	 .note = "after a power failure the kernel mounts it with the option force only", .is_filled = true},
	{"nfs", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT, .server = "NFS"},
	{"ext4-unarmed", NOT_ARMED, NOT_ARMED, -PM_EVOLATILE, 0,
	 .note = "root can write to its region all the same, and nothing is durable there"},
	{"ext4-unarmed-ro", NOT_ARMED, NOT_ARMED, -PM_EVOLATILE, 0, .kind = READ_ONLY,
	 .note = "what was stored there may be gone"},
	{"9p-none", NOTHING, NOTHING, -ENODEV, -ENODEV, .kind = UNMAPPABLE,
	 .note = "no shared mappings: pm_map() and pm_probe() fail, and say so"},
	{"9p-mmap", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT, .server = "9p"},
	{"9p-loose", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT, .server = "9p"},
	{"brd", VOLATILE, VOLATILE, -PM_EVOLATILE, -PM_EVOLATILE, .note = NULL},
	{"zram", VOLATILE, VOLATILE, -PM_EVOLATILE, -PM_EVOLATILE, .note = NULL},
	{"blockdev-brd", VOLATILE, VOLATILE, -PM_EVOLATILE, -PM_EVOLATILE, .note = NULL},
	{"ramfs", VOLATILE, VOLATILE, -PM_EVOLATILE, -PM_EVOLATILE, .note = NULL},
	{"tmpfs-huge", VOLATILE, VOLATILE, -PM_EVOLATILE, -PM_EVOLATILE, .note = NULL},
	{"hugetlbfs", VOLATILE, VOLATILE, -PM_EVOLATILE, -PM_EVOLATILE, .note = NULL},
	{"memfd", VOLATILE, VOLATILE, -PM_EVOLATILE, -PM_EVOLATILE, .kind = MEMFD, .note = NULL},
	{"blockdev-pmem", PAGE_CACHE, PAGE_CACHE, -PM_ENOTSYNC, -PM_ENOTDIRECT, .note = "DAX belongs to file systems"},
	{"shim-all", IGNORED(PM_YES), IGNORED(PM_YES), -PM_ENOTSYNC, 0, .note = NULL},
	{"shim-sync", IGNORED(PM_YES), IGNORED(PM_YES), -PM_ENOTSYNC, 0, .note = NULL},
	{"shim-disk", IGNORED(PM_NO), IGNORED(PM_NO), -PM_ENOTSYNC, -PM_ENOTDIRECT, .note = NULL},
};

#endif

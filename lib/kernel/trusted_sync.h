/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether a sync that the kernel calls successful wrote everything. */
#ifndef PM_SYNCED_H
#define PM_SYNCED_H

#include <stdbool.h>
#include <sys/stat.h>

#include "pmdirect.h"

#define PM_JOURNALS "/proc/fs/jbd2"
/* Whether the journal of that ext4 lies inside it: 0; -ENOENT: there is none, or it lies elsewhere; another -errno. */
int pm_ext4_find_journal(const char *name);
/*
 * Whether a sync of a file on an ext4 writes all that leads to its data, the inode included. No: there is no journal;
 * -errno: sysfs does not report it. The answer does not change while the file system is mounted. *no_outer_journal, if
 * not NULL: no journal of it lies on another device.
 */
int pm_ext4_fsync_is_complete(const struct statx *, bool *no_outer_journal);
/*
 * Where the first block of the range begins that is not both allocated and written; its end if there is none; its begin
 * if the file system does not report extents. The range ends in the last page of the file or before.
 */
uint64_t pm_first_unwritten(int fd, uint64_t offset, uint64_t length);
static inline bool pm_extents_are_written(int fd, uint64_t offset, uint64_t length)
{
	return pm_first_unwritten(fd, offset, length) == offset + length;
}

/*
 * Returns rc, the result of a sync of the regular file behind fd, which is open for writing. Success counts only while
 * the file system is writable; otherwise -EROFS.
 */
int pm_verify_sync(int fd, int rc);
/*
 * Whether something else than the kernel answers one of the calls, PM_CALL_... of sys.h. Each is made so that it must
 * fail. Yes: the named call succeeded. Unknown: the named call failed with another error, or there are no calls.
 */
struct pm_ignored {
	enum pm_state state;
	int error; /* the positive errno that does not fit */
	const char *name;
};
struct pm_ignored pm_syncs_ignored(unsigned calls);
/*
 * Whether a sync that finds the inode clean flushes no device. may_skip_inode: fsync(2) may leave the inode out;
 * file_system: its f_type, 0 if it is not known.
 */
bool pm_fsync_skips_flush(bool may_skip_inode, uint32_t file_system);
/* Returns rc, the result of a sync; after a good one that may have skipped the flush syncfs(2) flushes the device. */
int pm_flush_after_sync(int fd, bool skips_flush, int rc);
/*
 * fsync(2), and first whatever fsync(2) may leave out, which is found out unless it is known. read_only: so is the
 * descriptor.
 */
int pm_sync_file(int fd, enum pm_state fsync_complete, bool read_only);
/*
 * A directory whose entry was made after a sync of the file, which wrote the directory's inode where fsync(2) may skip
 * it.
 */
int pm_sync_directory(int fd, enum pm_state fsync_complete);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether the kernel's word that something was written back is to be believed. */
#ifndef PM_SYNCED_H
#define PM_SYNCED_H

#include <stdbool.h>
#include <sys/stat.h>

#include "pmdirect.h"

/*
 * Whether a sync writes all that leads to the file's data, the inode included. No: an ext4 without a journal. Unknown: an
 * ext4 that sysfs does not tell of. It does not change as long as the file system is mounted.
 */
enum pm_state pm_syncs_inodes(int fd);
/* Likewise, of a file that lies on an ext4; -errno: it cannot be known. */
int pm_ext4_syncs_inodes(const struct statx *);
/* Whether every block of the range, up to the end of the file, is allocated and written: then no store changes the inode. */
bool pm_is_written(int fd, uint64_t offset, uint64_t length);

/*
 * Passes on rc, what a sync of the file behind fd returned, which must be a regular file open for writing. Success is
 * believed only while its file system can still be written to; else -EROFS.
 */
int pm_synced(int fd, int rc);
/* fsync(2), with what it would leave out by the above. */
int pm_sync_file(int fd);

#endif

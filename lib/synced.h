/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether the kernel's word that something was written back is to be believed. */
#ifndef PM_SYNCED_H
#define PM_SYNCED_H

/*
 * Passes on rc, what a sync of the file behind fd returned, which must be a regular file open for writing. Success is
 * believed only while its file system can still be written to; else -EROFS.
 */
int pm_synced(int fd, int rc);

#endif

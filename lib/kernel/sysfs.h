/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of /sys and /proc. A container may have mounted something else there, or over a part of it, so a file or a link
 * counts only if it lies on sysfs or procfs itself. -ENOSYS: it does not.
 */
#ifndef PM_SYSFS_H
#define PM_SYSFS_H

#include <sys/stat.h>
#include <sys/types.h>

/* Opens a file by its absolute path. Returns its descriptor or -errno. */
int pm_sysfs_open(const char *path, int flags);
/* Reads the text of a link. Returns its length or -errno. */
ssize_t pm_sysfs_link(const char *path, char *text, size_t size);
/* Reads a small file whole as text, without the last newline. Returns its length or -errno. */
int pm_read_text(const char *path, char *text, size_t size);
/* Ends what a read returned as text, without the last newline. Returns the length, or -errno if it is one. */
int pm_end_text(char *text, ssize_t got);
/* The inode of a link or file. */
int pm_sysfs_stat(const char *path, struct statx *);

#endif

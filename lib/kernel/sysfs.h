/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel tells in /sys and /proc. A container may have mounted something else there, or over a part of it: a file
 * or a link counts only where it lies on sysfs or procfs itself. -ENOSYS: it does not.
 */
#ifndef PM_SYSFS_H
#define PM_SYSFS_H

#include <sys/stat.h>
#include <sys/types.h>

/* Opens a file by its absolute path: its descriptor or -errno. */
int pm_sysfs_open(const char *path, int flags);
/* A link itself, as text: its length or -errno. */
ssize_t pm_sysfs_link(const char *path, char *text, size_t size);
/* Likewise its inode. */
int pm_sysfs_look(const char *path, struct statx *);

#endif

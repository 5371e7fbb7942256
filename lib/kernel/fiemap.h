/* SPDX-License-Identifier: BSD-3-Clause */
/* The extents of a file, as the file system reports them: ioctl_fiemap, Documentation/filesystems/fiemap.rst. */
#ifndef PM_FIEMAP_H
#define PM_FIEMAP_H

#include <linux/fiemap.h>
#include <stdint.h>

/*
 * Calls visit for each extent that meets [start, end), in order; the first and the last may extend beyond it. Ends
 * early with the result of visit, if that is not 0. Returns 0, or -errno where the file system does not report extents.
 */
int pm_each_extent(int fd, uint64_t start, uint64_t end, int (*visit)(void *arg, const struct fiemap_extent *),
                   void *arg);

#endif

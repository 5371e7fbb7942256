/* SPDX-License-Identifier: BSD-3-Clause */
/* The extents of a file, as the file system reports them: ioctl_fiemap, Documentation/filesystems/fiemap.rst. */
#ifndef PM_FIEMAP_H
#define PM_FIEMAP_H

#include <linux/fiemap.h>
#include <stdint.h>

/* What says that a block is not written yet, or that the map is no plain and final map of blocks. */
#define PM_EXTENT_NOT_WRITTEN                                                                                \
	(FIEMAP_EXTENT_UNWRITTEN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_ENCODED |  \
	 FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_NOT_ALIGNED)

/*
 * Calls visit for each extent that meets [start, end), in order; the first and the last may extend beyond it. Ends
 * early with the result of visit, if that is not 0. Returns 0, or -errno where the file system does not report extents.
 */
int pm_each_extent(int fd, uint64_t start, uint64_t end, int (*visit)(void *arg, const struct fiemap_extent *),
                   void *arg);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include <linux/fs.h>

#include "kernel/fiemap.h"
#include "sys/sys.h"

#define EXTENTS_A_CALL 32

int pm_each_extent(int fd, uint64_t start, uint64_t end, int (*visit)(void *arg, const struct fiemap_extent *),
                   void *arg)
{
	_Alignas(struct fiemap) char room[sizeof(struct fiemap) + EXTENTS_A_CALL * sizeof(struct fiemap_extent)];
	struct fiemap *map = (struct fiemap *)room;
	uint64_t at = start;
	while (at < end) {
		*map = (struct fiemap){.fm_start = at, .fm_length = end - at, .fm_extent_count = EXTENTS_A_CALL};
		int rc = PM_RETRY(pm_sys->ioctl(fd, FS_IOC_FIEMAP, map));
		for (unsigned i = 0; i < map->fm_mapped_extents && !rc; i++) {
			const struct fiemap_extent *x = &map->fm_extents[i];
			rc = visit(arg, x);
			at = x->fe_logical + x->fe_length > at ? x->fe_logical + x->fe_length : at;
		}
		if (rc)
			return rc;
		/* The last extent; or a file system that does not advance. */
		if (map->fm_mapped_extents < EXTENTS_A_CALL || at <= map->fm_start)
			break;
	}
	return 0;
}

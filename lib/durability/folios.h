/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Large folios of the page cache. A store makes its whole folio dirty, and a small commit then writes all of it
 * (fs/iomap/buffered-io.c iomap_page_mkwrite).
 *
 * MADV_COLD on a part of a clean folio makes single pages of it (mm/madvise.c madvise_cold_or_pageout_pte_range), if
 * this process maps it, and no other does. It changes no byte, writes no page and drops none, also where the program
 * has mapped other memory over a part of the mapping. A dirty folio stays as it is.
 */
#ifndef PM_FOLIOS_H
#define PM_FOLIOS_H

#include "durability/engine.h"

/* A part of the mapping, in whole pages, and where it lies in the file. */
struct pm_folios_part {
	char *map;
	uint64_t offset;
	size_t length;
	uint64_t file; /* a number that stands for it; 0: what was split before does not count */
};

/* As many cached bytes are split in some 10 ms. */
#define PM_FOLIOS_UNASKED ((uint64_t)64 << 20)

/*
 * Splits the folios of a part that are cached and clean. Does nothing if more than most bytes of it are cached, or if
 * this process did so before. Before Linux 6.5 nothing tells how much is cached, and a longer part than
 * PM_FOLIOS_UNASKED stays as it is. 0, or the error of the first call that failed.
 */
int pm_folios_split(int fd, struct pm_folios_part, uint64_t most);

/* Those of a range that write(2) has made, now that it is written back: the kernel caches what it is given as one. */
void pm_folios_split_range(const struct pm_medium *, const void *address, size_t length);

/* The runs of a write-back that may lie in large folios. */
struct pm_folios_seen {
	unsigned count;
	struct pm_folio_seen {
		uint64_t page;   /* of the run, as an offset in the file */
		uint64_t before; /* pages around it that were dirty, and were not asked for; 0: unknown */
	} run[8];
};

/* Before the runs are written; NULL: finds none. */
void pm_folios_look(struct pm_medium *, const struct pm_page_walk *, struct pm_folios_seen *);
/* After they were: counts what was written beyond them, and splits the folios. */
void pm_folios_settle(struct pm_medium *, const struct pm_folios_seen *);

#endif

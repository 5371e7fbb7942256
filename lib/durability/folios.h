/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Large folios of the page cache. A store makes its whole folio dirty, and a small commit then writes all of it
 * (fs/iomap/buffered-io.c iomap_page_mkwrite). The leader of a turn sees that, and drops the folio once it is clean.
 * The next access reads single pages, since the mapping has MADV_RANDOM.
 */
#ifndef PM_FOLIOS_H
#define PM_FOLIOS_H

#include "durability/engine.h"

#define PM_LARGEST_FOLIO ((uint64_t)2 << 20)

/* What was dirty around small runs, before they were written. */
struct pm_folios_found {
	unsigned count;
	struct {
		uint64_t offset, length, asked; /* in the file; asked: bytes in runs */
	} folio[8];
};

void pm_folios_look(struct pm_medium *, const struct pm_page_walk *, struct pm_folios_found *);
/* After the runs were written. */
void pm_folios_drop(struct pm_medium *, const struct pm_folios_found *);

#endif

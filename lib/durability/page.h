/* SPDX-License-Identifier: BSD-3-Clause */
/* Page granularity: the kernel writes dirty pages back. */
#ifndef PM_PAGE_H
#define PM_PAGE_H

#include "durability/engine.h"

/* PM_PAGE. */
extern const struct pm_strategy pm_strategy_writeback;

void pm_page_init(struct pm_writeback *);
void pm_page_destroy(struct pm_writeback *);
/*
 * Makes durable what write(2) put into a range, under any strategy. It touches no byte of the range, not even to write
 * the line back: on a page with a bad block that would fault.
 */
int pm_page_write_range(struct pm_medium *, const void *address, size_t length);
/*
 * Another strategy served the mapping until now. A flush that is still under way there is not recorded here, so from
 * now on every drain covers the whole mapping; the kernel knows which of its pages are dirty.
 */
void pm_page_demoted(struct pm_writeback *);
/* Lines serve again: from now on only what was recorded is left to write. */
void pm_page_promoted(struct pm_writeback *);
/* Everything recorded, or the whole mapping if a drain has to cover that. */
int pm_page_drain(struct pm_medium *);
/* Where msync(2) leaves the CPU caches alone, this thread writes the lines of a range back. */
void pm_page_write_lines(struct pm_medium *, const void *address, size_t length);

/* ---- For alone.c ---- */

/* Writes the whole mapping. The caller leads. */
int pm_page_write_all(struct pm_medium *);

#endif

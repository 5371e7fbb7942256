/* SPDX-License-Identifier: BSD-3-Clause */
/* Page granularity: the kernel writes dirty pages back. */
#ifndef PM_PAGE_H
#define PM_PAGE_H

#include <semaphore.h>

#include "durability/engine.h"

/* PM_PAGE. */
extern const struct pm_strategy pm_strategy_writeback;

/* What a call wants written. */
enum pm_page_wanted {
	PM_WANTED_RECORDED, /* everything that is recorded, whichever thread recorded it */
	PM_WANTED_RANGES,   /* the pages of its ranges, and no others */
	PM_WANTED_ALL,      /* the whole mapping */
	PM_WANTED_ALONE,    /* nothing: the call leads for itself alone */
};

/* The request of one call, on the stack of its thread. */
struct pm_page_request {
	enum pm_page_wanted wanted;
	const struct pm_range *ranges; /* the empty ones do not count */
	size_t count;
	bool leads;
	int rc;
	uint64_t waited; /* nanoseconds, for a leader and as one */
	int cancel_state; /* of the thread, before */
	sem_t woken;      /* it leads, or has been served */
	struct pm_page_request *next;
};

void pm_page_init(struct pm_writeback *);
void pm_page_destroy(struct pm_writeback *);
/* Records the pages of a range for a drain. */
void pm_page_record(struct pm_medium *, const void *address, size_t length);
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

/*
 * Queues the request. Returns the requests that the calling thread leads from then on, its own the first: nothing else
 * is written until pm_page_tell(). NULL: another thread has served it, with request->rc.
 */
struct pm_page_request *pm_page_ask(struct pm_writeback *, struct pm_page_request *);
/*
 * Ends the turn: tells those that were led, and the next leader. A failure is latched, and told to all that wait as
 * well: their pages may have been among those that were written.
 */
void pm_page_tell(struct pm_writeback *, struct pm_page_request *led, int rc);
/* Writes the whole mapping. The caller leads. */
int pm_page_write_all(struct pm_medium *);

#endif

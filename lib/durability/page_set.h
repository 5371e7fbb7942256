/* SPDX-License-Identifier: BSD-3-Clause */
/* The pages of a mapping that wait to be written: a bit each. Any number of threads add pages without a lock. */
#ifndef PM_PAGE_SET_H
#define PM_PAGE_SET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pm_page_set {
	_Atomic uint64_t *pages;  /* a bit each; NULL: none yet */
	_Atomic uint64_t *blocks; /* a bit for each block of words that may have one set */
	size_t words;             /* of pages */
	unsigned shift;           /* log2 of the page size */
};

/* Pages [first, end) of the mapping. */
struct pm_page_run {
	size_t first, end;
};

/* What a walk takes at a time: at least what there can be in a block. */
#define PM_PAGE_RUNS 256

struct pm_page_walk {
	size_t block; /* where the walk goes on; begins as 0 */
	bool more;    /* pages are left from there on */
	size_t count; /* of runs, in ascending order */
	struct pm_page_run run[PM_PAGE_RUNS];
};

/* Makes room for a mapping of length bytes. A set that becomes larger forgets its pages. 0 or -ENOMEM. */
int pm_page_set_reserve(struct pm_page_set *, size_t length);
void pm_page_set_free(struct pm_page_set *);
/* Adds the pages of a range that is not empty, also while another thread takes pages. */
void pm_page_set_add(struct pm_page_set *, size_t offset, size_t length);
/*
 * Takes the next runs in ascending order, and everything that lies in each block that the walk reaches. One walk at a
 * time: at its end every page that was added before the walk began has been taken, by this walk or an earlier one.
 */
void pm_page_set_take(struct pm_page_set *, struct pm_page_walk *);
bool pm_page_set_is_empty(const struct pm_page_set *);

/*
 * Adds the pages of a range, whether or not a set has them, to the runs that a walk holds. Runs that touch become one.
 * False: there is no room for another run.
 */
bool pm_page_walk_add(const struct pm_page_set *, struct pm_page_walk *, size_t offset, size_t length);
/* Makes one run of two where the gap is small and the set has no page in it. */
void pm_page_walk_close_gaps(const struct pm_page_set *, struct pm_page_walk *);

#endif

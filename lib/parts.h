/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is left of a range of addresses of which pieces were given up. Pieces are only ever added, under a lock of the
 * caller's; any number of threads ask meanwhile, and a signal handler may.
 */
#ifndef PM_PARTS_H
#define PM_PARTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pm_gaps;

/* All zero: everything is left. */
struct pm_parts {
	struct pm_gaps *_Atomic gaps;
};

struct pm_part {
	uintptr_t low, high;
};

static inline bool pm_parts_have_gaps(const struct pm_parts *p)
{
	return atomic_load_explicit(&p->gaps, memory_order_acquire);
}

/*
 * Makes room for one more piece, so that giving it up cannot fail: NULL: no memory. It is given up by pm_parts_cut(),
 * or released by free(3).
 */
struct pm_gaps *pm_parts_prepare(const struct pm_parts *);
void pm_parts_cut(struct pm_parts *, struct pm_gaps *room, uintptr_t low, uintptr_t high);
void pm_parts_free(struct pm_parts *);

/* Whether every byte of [low, high) is left. */
bool pm_parts_hold(const struct pm_parts *, uintptr_t low, uintptr_t high);
/* The first part of [low, high) that is left; false: none is. */
bool pm_parts_first(const struct pm_parts *, uintptr_t low, uintptr_t high, struct pm_part *ret);

/* The parts of [from, to) that are left, in order. */
#define PM_EACH_PART(part, parts, from, to)                                                                  \
	for (struct pm_part part = {.high = (from)};                                                         \
	     part.high < (to) && pm_parts_first((parts), part.high, (to), &part);)

#endif

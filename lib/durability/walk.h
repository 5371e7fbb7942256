/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The library's own accesses to a whole mapping: CPU write-back of its lines, and faults on its pages. A mapping with a
 * reserve may be made shorter meanwhile, and the pages behind its end become inaccessible only when the walks that
 * know of them are over. Those that begin later see the new end, and are not waited for.
 *
 * A fault may end a walk by a jump out of it (pm_guarded()). The place of the landing gives the walk up.
 */
#ifndef PM_WALK_H
#define PM_WALK_H

/* All zero: none. */
struct pm_walks {
	unsigned count[2]; /* by the phase in which they began */
	unsigned phase;
};

/* A walk within a walk of the same mapping is a part of it. */
void pm_walk_begin(struct pm_walks *);
void pm_walk_end(struct pm_walks *);
/* If a jump has ended a walk of this thread. */
void pm_walk_give_up(void);
/* Until those are over that have begun by now. One thread at a time. */
void pm_walks_wait(struct pm_walks *);

#endif

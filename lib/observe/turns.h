/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lock that every thread gets. The mutex of the C library goes to the thread that asks at the right moment: one that
 * queries in a loop takes it again before a thread that waits is awake, and that thread waits without end. Here a
 * thread that waits is overtaken at most PM_TURNS_OVERTAKEN times for itself and for each thread before it. Fewer would
 * cost more: each thread that does not overtake sleeps first.
 */
#ifndef PM_TURNS_H
#define PM_TURNS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define PM_TURNS_OVERTAKEN 8u

struct pm_turn;

struct pm_turns {
	pthread_mutex_t lock; /* of these; held for an instant */
	bool is_taken;
	unsigned char overtaken;       /* how often the first has been */
	atomic_uint count;             /* how often it was taken: the number of an observation */
	struct pm_turn *first, **last; /* that wait, the oldest first; where the next is queued unless none waits */
};

void pm_turns_init(struct pm_turns *);
void pm_turns_destroy(struct pm_turns *);
/* No point of cancellation, as pthread_mutex_lock(3) is none. */
void pm_turns_take(struct pm_turns *);
/* Whether it was taken without waiting. */
bool pm_turns_try(struct pm_turns *);
void pm_turns_give(struct pm_turns *);

#endif

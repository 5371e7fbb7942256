/* SPDX-License-Identifier: BSD-3-Clause */
/* Which thread writes for all that wait. */
#ifndef PM_LEADER_H
#define PM_LEADER_H

#include "durability/engine.h"

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
	bool is_exact; /* the pages were made dirty by write(2): no folio is, as a whole */
	int rc;
	bool starts;                   /* pm_leader_ask(): it is to start its write */
	int start_error;               /* of that; 0: none */
	uint64_t waited;               /* nanoseconds, for its start, for a leader and as one */
	_Atomic uint64_t longest_wait; /* nanoseconds: of a candidate */
	int cancel_state;              /* of the thread, before */
	_Atomic uint32_t order;        /* enum order of leader.c */
	uint32_t bit;                  /* by which it is woken */
	struct pm_page_request *next;
};

/*
 * Queues the request. Returns the requests that the calling thread leads from then on, its own the first: nothing else
 * is written until pm_leader_end_turn(). NULL: another thread has served it, with request->rc. The thread is not
 * cancelled before pm_leader_leave(): the others know of its request.
 *
 * With request->starts the thread leads only to start the write of its own ranges, and calls pm_leader_gather() then.
 */
struct pm_page_request *pm_leader_ask(struct pm_writeback *, struct pm_page_request *);
/* The same result as that of pm_leader_ask(), without starts. */
struct pm_page_request *pm_leader_gather(struct pm_writeback *, struct pm_page_request *);
/*
 * Ends the turn: the requests that were led get the result, and the next leader its order. A failure is latched, and
 * is the result of all that wait as well: their pages may have been among those that were written.
 */
void pm_leader_end_turn(struct pm_writeback *, struct pm_page_request *led, int rc);
/*
 * For the leader, in the middle of its turn: takes the commits that wait, each of few ranges and at most so many bytes,
 * the oldest first. NULL: there are none.
 */
struct pm_page_request *pm_leader_take_commits(struct pm_writeback *, size_t most);
/* Gives them, or any other list, the result. A request is gone then. */
void pm_leader_finish_each(struct pm_writeback *, struct pm_page_request *, int rc);
/* Ends what pm_leader_ask() began. Returns the request's result. */
int pm_leader_leave(struct pm_page_request *);

#endif

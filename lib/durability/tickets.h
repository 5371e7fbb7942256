/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The order of several threads that drain one mapping: which drain waits for which, and which of them a failed
 * write-back fails.
 *
 * Drains write at the same time. A drain may take pages that another thread recorded, so each waits for the drains that
 * began before it had taken all. A recovery (pm_clear_error()) keeps new drains from starting, and waits for those that
 * write.
 *
 * After a failure the kernel has reported the error and marked the pages clean (Documentation/core-api/errseq.rst), so
 * a second msync returns 0 with the data not on the medium. The first error is therefore latched until the recovery.
 */
#ifndef PM_TICKETS_H
#define PM_TICKETS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Of one drain, on the stack of its thread. */
struct pm_drain_ticket {
	uint64_t number; /* in the order in which drains start */
	uint64_t last;   /* the drain waits for those up to this number */
	uint64_t call;   /* in the order in which they were called: a recovery delays the start */
	bool covered;    /* failures of later drains are known by other means: it waits for none of them */
	bool woken;
	int cancel_state; /* of the thread, before */
	pthread_cond_t woken_cond;
	struct pm_drain_ticket *next;
};

struct pm_tickets {
	pthread_mutex_t lock;
	struct pm_drain_ticket *writing; /* the oldest first, in all lists */
	struct pm_drain_ticket *waiting; /* for some that write */
	struct pm_drain_ticket *blocked; /* until the recovery is over */
	uint64_t started;                /* number of the last drain */
	uint64_t called;
	bool recovering; /* no drain may start */
	int error;       /* latched until a recovery succeeds */
	int failure;     /* of the last drain that failed, for those that waited for it while the latch was cleared: */
	uint64_t failed; /* calls up to this one */
};

void pm_tickets_init(struct pm_tickets *);
void pm_tickets_destroy(struct pm_tickets *);

/* Takes the lock and gives it back. The thread is not cancelled in between: other drains know of its ticket. */
void pm_tickets_lock(struct pm_tickets *, struct pm_drain_ticket *);
void pm_tickets_unlock(struct pm_tickets *, struct pm_drain_ticket *);

/* ---- With the lock held ---- */

/* A drain is called: it gets its number when no recovery is under way. */
void pm_tickets_call(struct pm_tickets *, struct pm_drain_ticket *);
/* Its number, and with that its place in the order, without waiting: the recovery's own. */
void pm_tickets_number(struct pm_tickets *, struct pm_drain_ticket *);
/* The drain waits for all that have started by now: they may have taken what was recorded for it. */
void pm_tickets_follow(struct pm_tickets *, struct pm_drain_ticket *);
void pm_tickets_begin(struct pm_tickets *, struct pm_drain_ticket *);
/* Latches rc, if it is an error, and wakes those whose last predecessor has ended. */
void pm_tickets_end(struct pm_tickets *, struct pm_drain_ticket *, int rc);
/* Until those have ended that the drain waits for. Gives the lock back meanwhile. */
void pm_tickets_wait(struct pm_tickets *, struct pm_drain_ticket *);
/* What the drain returns. */
int pm_tickets_result(const struct pm_tickets *, const struct pm_drain_ticket *);
void pm_tickets_latch(struct pm_tickets *, int rc);

/* After it no drain writes or starts. Gives the lock back meanwhile. */
void pm_tickets_begin_recovery(struct pm_tickets *, struct pm_drain_ticket *);
void pm_tickets_end_recovery(struct pm_tickets *);

#endif

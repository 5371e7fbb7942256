/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The notifier thread, one a process: it runs the handlers for events that the watcher thread met, which must not wait
 * for a handler. It starts with the first queue that joins and ends with the last that leaves.
 */
#ifndef PM_NOTIFIER_H
#define PM_NOTIFIER_H

#include "observe/events.h"

struct pm_notified {
	struct pm_notified *next, **at; /* at: what points to it */
	struct pm_event_queue *queue; /* NULL: has not joined */
};

/* 0, or -errno: no thread can be started. */
int pm_notifier_join(struct pm_notified *, struct pm_event_queue *);
/* A queue that has joined has deferred events. */
void pm_notifier_wake(void);
/*
 * Waits until no handler of this queue runs in the notifier thread, and then runs it for the deferred events in the
 * calling thread. Does nothing for a queue that has not joined.
 */
void pm_notifier_leave(struct pm_notified *);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The events of one mapping: queued for pm_next_event() and for the handler. */
#ifndef PM_EVENTS_H
#define PM_EVENTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernel/kept.h"
#include "pmdirect.h"

struct pm_event_node;

struct pm_event_queue {
	pthread_mutex_t lock;
	struct pm_event_node *pending;  /* for pm_next_event(), oldest first */
	struct pm_event_node *deferred; /* for the handler, by the notifier thread */
	atomic_bool has_listener;       /* events are worth a call site */
	bool has_lost;                  /* an event found no memory, and no call has said so yet */
	int fd;                         /* eventfd(2), readable while an event is pending; -1: never asked for */
	struct pm_kept kept;
	pm_event_fn *handler; /* NULL: none */
	void *arg;
	struct pm_mapping *mapping; /* the handler's first argument */
	const char *name;           /* of the file, for the log */
};

void pm_events_init(struct pm_event_queue *, pm_event_fn *handler, void *arg, struct pm_mapping *, const char *name);
void pm_events_destroy(struct pm_event_queue *);
/* The descriptor, made by the first call. -EBADF: the program closed it. */
int pm_events_fd(struct pm_event_queue *);
void pm_events_close_fd(struct pm_event_queue *);
/*
 * For publish.c alone. Adds the call site to the event, queues it, and runs the handler unless is_deferred. Takes no
 * lock but the queue's, and none while the handler runs. Returns whether the event waits for pm_events_notify().
 */
bool pm_events_add(struct pm_event_queue *, struct pm_event *, unsigned look, bool is_deferred);
/* The oldest pending event: 0 or -EAGAIN. -ENOMEM, once: none is pending, and events were lost. */
int pm_events_take(struct pm_event_queue *, struct pm_event *);
/* Runs the handler for the oldest deferred event; false: there is none. */
bool pm_events_notify(struct pm_event_queue *);

#endif

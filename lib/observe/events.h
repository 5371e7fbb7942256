/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The events of one mapping: collected in a batch during a look, then queued for pm_next_event() and for the handler.
 */
#ifndef PM_EVENTS_H
#define PM_EVENTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernel/kept.h"
#include "pmdirect.h"

/* What an event says about the mapping, before and after. */
struct pm_event_state {
	enum pm_granularity granularity;
	enum pm_state sync, direct;
	uint64_t offset, length;
};

struct pm_event_node;

struct pm_event_queue {
	pthread_mutex_t lock;
	struct pm_event_node *pending; /* for pm_next_event(), oldest first */
	struct pm_event_node *untold;  /* for the handler, by the notifier thread */
	atomic_bool has_listener;      /* events are worth a call site */
	int fd;                        /* eventfd(2), readable while an event is pending; -1: never asked for */
	struct pm_kept kept;
	pm_event_fn *handler; /* NULL: none */
	void *arg;
	struct pm_mapping *mapping; /* the handler's first argument */
	const char *name;           /* of the file, for the log */
};

/* A look adds at most one event of each kind. */
#define PM_EVENT_BATCH 16

struct pm_event_batch {
	struct pm_event before; /* the state before, over the whole range */
	unsigned count;
	struct pm_event event[PM_EVENT_BATCH];
};

void pm_event_batch_begin(struct pm_event_batch *, const struct pm_event_state *before);
/* Adds an event over the whole range. */
struct pm_event *pm_event_batch_add(struct pm_event_batch *, enum pm_event_kind, enum pm_reason);

void pm_events_init(struct pm_event_queue *, pm_event_fn *handler, void *arg, struct pm_mapping *, const char *name);
void pm_events_destroy(struct pm_event_queue *);
/* The descriptor, made by the first call. -EBADF: the program closed it. */
int pm_events_fd(struct pm_event_queue *);
void pm_events_close_fd(struct pm_event_queue *);
/*
 * Queues the batch, and runs the handler unless is_deferred. Takes no lock but the queue's, and none while the handler
 * runs. Returns whether an event waits for pm_events_tell().
 */
bool pm_events_publish(struct pm_event_queue *, struct pm_event_batch *, const struct pm_event_state *after,
                       bool is_deferred);
/* The oldest pending event: 0 or -EAGAIN. */
int pm_events_take(struct pm_event_queue *, struct pm_event *);
/* Runs the handler for the oldest deferred event; false: there is none. */
bool pm_events_tell(struct pm_event_queue *);

#endif

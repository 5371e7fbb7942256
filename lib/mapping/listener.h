/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The descriptor that pm_event_fd() returns for a mapping without a watcher: an epoll(7) over what is announced about
 * the file, the queue of events, and a timer for the next scan of /proc.
 */
#ifndef PM_LISTENER_H
#define PM_LISTENER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "kernel/kept.h"
#include "observe/events.h"
#include "observe/openers.h"
#include "observe/sources.h"

struct pm_listener {
	int fd;              /* the epoll; 0: not made */
	bool throttled;      /* no scan until the timer expires */
	atomic_uchar wanted; /* enum pm_resource: by the call that failed, if the open did */
	struct pm_kept epoll, mounts, timer;
};

/* The descriptor, made by the first call, which also begins to watch the open file. */
int pm_listener_open(struct pm_listener *, struct pm_sources *, struct pm_event_queue *, int fd);
bool pm_listener_is_open(const struct pm_listener *);
void pm_listener_close(struct pm_listener *);
/* A scan is due: makes the descriptor readable, now or when the pause is over. */
void pm_listener_arm(struct pm_listener *);
/* Whether a scan may be made by now. */
bool pm_listener_may_scan(struct pm_listener *);
/* A scan was made: begins the pause, unless it was the first. */
void pm_listener_pause(struct pm_listener *);

#endif

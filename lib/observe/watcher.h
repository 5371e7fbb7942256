/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The watcher thread, one a process, however many mappings have PM_WATCH or PM_LEASE. It answers broken leases, looks
 * at a mapping when something is announced about its file, and at every one once a second, and scans /proc for all of
 * them. It starts with the first pm_watcher_acquire() and ends with the last pm_watcher_release().
 *
 * In a turn leases come first. The thread never waits for a mapping's lock: a mapping that another thread observes or
 * resizes stays due. It does wait for the file system that it asks about a file; one that does not answer holds up the
 * others.
 */
#ifndef PM_WATCHER_H
#define PM_WATCHER_H

#include "observe/lease.h"
#include "observe/openers.h"
#include "observe/sources.h"

/* A member. */
struct pm_watched {
	struct pm_watched *next, **at; /* at: what points to it */
	struct pm_lease *lease;
	struct pm_sources *sources;
	struct pm_openers *openers;
	bool (*observe)(void *arg); /* false: another thread holds the mapping's lock */
	void *arg;
	uint64_t due; /* in milliseconds of the clock; 0: not before the next tick */
};

/* 0, or -errno: the descriptors or the thread cannot be created. */
int pm_watcher_acquire(void);
void pm_watcher_release(void);
/* The thread that a broken lease signals. */
int pm_watcher_thread_id(void);
/* Watches the open file by the inotify instance that all members share. */
void pm_watcher_watch(struct pm_sources *, int fd);
/* From now on the thread looks at the member. */
void pm_watcher_add(struct pm_watched *);
/* Waits for the end of a look at this member. Does nothing for one that was not added. */
void pm_watcher_remove(struct pm_watched *);

#endif

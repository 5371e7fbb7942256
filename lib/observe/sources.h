/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What inotify(7) announces about the file of a mapping. One instance serves many files: the watcher has one for all
 * its mappings, a mapping without a thread one of its own where pm_event_fd() was called.
 */
#ifndef PM_SOURCES_H
#define PM_SOURCES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/inotify.h>

#include "kernel/kept.h"
#include "pmdirect.h"

struct pm_sources;

#define PM_SOURCES_BUCKETS 256u

/* An instance. */
struct pm_inotify {
	pthread_mutex_t lock;
	int fd;
	struct pm_kept kept;
	struct pm_sources *users[PM_SOURCES_BUCKETS]; /* by their watches */
	unsigned count;       /* of its users, */
	unsigned arrived;     /* and of those for which something has arrived */
	bool is_given_up;     /* by its owner: ends with its last user */
	/* A thread that looks at one file has drained what is announced about another; NULL: there is no other. */
	void (*on_arrival)(void);
};

/* Of one mapping. All zero: not watched. */
struct pm_sources {
	struct pm_sources *next, **at; /* at: what points to it */
	struct pm_inotify *inotify;
	int watch;                /* the kernel's number; the same for two users of one inode */
	enum pm_state is_watched; /* unknown: not asked for */
	int error;                /* positive errno, where it is asked for and cannot be */
	_Atomic uint32_t arrived; /* inotify mask, distributed and not taken yet */
	uint32_t pending;         /* taken by this library before it wrote itself; the next look reports it */
	bool may_be_written;      /* by another process, since pm_sources_is_written(), */
	bool may_be_moved;        /* or renamed, since pm_sources_was_moved() */
};

/* NULL: *error is set, a positive errno. */
struct pm_inotify *pm_inotify_open(void (*on_arrival)(void), int *error);
/* Its users go on, as long as they live. */
void pm_inotify_give_up(struct pm_inotify *);
/* Distributes what was announced among the users. */
void pm_inotify_drain(struct pm_inotify *);

/* Watches the open file; inotify may be NULL, for that error. A failure stays in sources->error. */
void pm_sources_add(struct pm_sources *, struct pm_inotify *, int fd, int error);
void pm_sources_remove(struct pm_sources *);
/* Whether a look would find something announced. */
static inline bool pm_sources_have_arrived(const struct pm_sources *s)
{
	return atomic_load(&s->arrived);
}
/* The inotify mask of all that was announced since the last call. */
uint32_t pm_sources_take(struct pm_sources *);
/* Whether another process may have written to the file since the last call; the event is still to come. */
bool pm_sources_is_written(struct pm_sources *);
/* The same of a rename of the file. */
bool pm_sources_was_moved(struct pm_sources *);
/*
 * Around a write of this library: an IN_MODIFY that arrives in between makes no event. The file still counts as perhaps
 * modified, since another process may have written in between as well.
 */
void pm_own_write_begin(struct pm_sources *);
void pm_own_write_end(struct pm_sources *);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A kernel that syncs one mapping: it writes pages to a medium, may fail, takes its time, and tells of a failure as
 * Linux does.
 */
#ifndef SYNCING_H
#define SYNCING_H

#include <pthread.h>
#include <stdatomic.h>

#include "kernel/magic.h"
#include "mapping/mapping.h"
#include "unit.h"

#define SYNCING_PAGES 10240u

struct syncing {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint32_t medium[SYNCING_PAGES];
	bool lost[SYNCING_PAGES];    /* a failure made the page clean */
	bool held[SYNCING_PAGES];    /* a call that writes it waits */
	bool reached[SYNCING_PAGES]; /* and does now */
	unsigned failures, told;     /* by the mapping's description */
	bool starts_write;           /* sync_file_range that does not wait has written when it returns */
	bool tells_writer;           /* a failure is told to the call that met it, and by no description */
	unsigned fails_page;         /* always; 0: none */
	unsigned fails_one_in;       /* of the pages written; 0: none */
	unsigned longest;            /* writing takes at most so long, and so may a flush, in microseconds */
	unsigned syncs, ranges;      /* msync, sync_file_range that wait */
	unsigned starts;             /* sync_file_range that do not wait */
	unsigned started;            /* the first page of the last of these */
	size_t pages;                /* that these covered */
	uint32_t random;
};

extern struct syncing kernel;
extern struct pm_mapping *syncing_mapping;
extern size_t syncing_page; /* in bytes */
/* XFS, ext4, btrfs, FUSE */
extern const uint32_t syncing_systems[4];

/* Maps a file of that file system. */
void syncing_start(uint32_t magic);
void syncing_stop(void);
/* At the start of a page of the mapping. */
uint32_t *counter(unsigned page);
int commit_page(unsigned page);

/* A thread that commits or persists a page. */
struct caller {
	pthread_t thread;
	unsigned n; /* syncing_page */
	bool commits;
	int rc;
	atomic_bool returned;
};

void begin_call(struct caller *, unsigned page, bool commits);
/* Until it writes its page, which is held. */
void begin_held(struct caller *, unsigned page, bool commits);
/* A call that writes that page waits. */
void hold_page(unsigned page, bool held);
/* Until so many requests wait. */
void wait_until_waiting(unsigned wanted);
int result_of(struct caller *);
/* To be run in a thread of its own, if at all. */
void *call_now(void *caller);

#endif

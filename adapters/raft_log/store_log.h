/* SPDX-License-Identifier: BSD-3-Clause */
/* The segments of the log, oldest first. One thread at a time, but for pmr_log_make_spare(). */
#ifndef PMR_STORE_LOG_H
#define PMR_STORE_LOG_H

#include <pthread.h>

#include "store_segment.h"
#include "store_snapshot.h"

enum pmr_spare { PMR_SPARE_NONE, PMR_SPARE_MAKING, PMR_SPARE_READY };

struct pmr_log {
	const struct pmr_home *home;
	struct pmr_segment *segments; /* the last one is active */
	size_t count, room;
	uint64_t segment_size;
	bool is_judging; /* by what is there whether it starts: what it does not need stays until that is known */
	bool has_forgotten; /* one of them, for want of memory */
	uint64_t *unneeded; /* numbers of segments */
	size_t unneeded_count, unneeded_room;
	pthread_mutex_t mutex; /* of the following */
	pthread_cond_t made;
	enum pmr_spare spare_state;
	struct pmr_segment spare;
	uint64_t next_number;
};

void pmr_log_init(struct pmr_log *log, const struct pmr_home *home, uint64_t segment_size);
void pmr_log_close(struct pmr_log *log);
void pmr_log_forget(struct pmr_log *log); /* closes all segments and keeps their files */

/* Makes the first segment of a directory that has none. */
int pmr_log_make(struct pmr_log *log, char *message);

/* For recovery: segments at the ends come and go, and the last one is made ready for appending. */
int pmr_log_add(struct pmr_log *log, const struct pmr_segment *s, char *message);
/* Removes a segment's file; while the log is judged, only once it is known that it starts. */
void pmr_log_remove(struct pmr_log *log, uint64_t number);
void pmr_log_begin_judging(struct pmr_log *log);
/* rc: whether it starts; returned, or RAFT_NOMEM. */
int pmr_log_end_judging(struct pmr_log *log, int rc, char *message);
void pmr_log_drop_first(struct pmr_log *log, size_t n);
void pmr_log_drop_last(struct pmr_log *log);
int pmr_log_settle(struct pmr_log *log, char *message);

uint64_t pmr_log_next(const struct pmr_log *log);
/* Stores entries, which pmr_log_commit() makes durable. */
int pmr_log_store(struct pmr_log *log, const struct raft_entry *entries, unsigned n, char *message);
int pmr_log_commit(struct pmr_log *log, char *message);
/* Publishes how far the log is durable, if that is not known from the next record. */
int pmr_log_rest(struct pmr_log *log, char *message);
bool pmr_log_is_at_rest(const struct pmr_log *log);

/* Drops all entries from index on. */
int pmr_log_truncate(struct pmr_log *log, uint64_t index, char *message);
/* Drops all entries; the next one has index. */
int pmr_log_reset(struct pmr_log *log, uint64_t index, char *message);
/* Removes segments that hold only entries below index. */
int pmr_log_trim(struct pmr_log *log, uint64_t index, char *message);

/* Any thread: makes the next segment before it is needed, if more than half of the active one is used. */
bool pmr_log_wants_spare(struct pmr_log *log);
void pmr_log_make_spare(struct pmr_log *log);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* A file for each snapshot: a header, the configuration, the data. It counts once its word is published. */
#ifndef PMR_STORE_SNAPSHOT_H
#define PMR_STORE_SNAPSHOT_H

#include "store_file.h"

struct pmr_snapshot_id {
	uint64_t index, term;
};

/* The newest snapshot, with index 0 if there is none. */
int pmr_snapshot_find(const struct pmr_home *home, struct pmr_snapshot_id *ret, char *message);
/* Removes files whose making was cut off, and those that are older than the newest. */
int pmr_snapshot_tidy(const struct pmr_home *home, struct pmr_snapshot_id newest, char *message);
/* Writes a snapshot, durable on return, and removes older ones. */
int pmr_snapshot_put(const struct pmr_home *home, const struct raft_snapshot *snapshot, char *message);
/* Allocated by raft_malloc(), as is what it points to; one buffer. */
int pmr_snapshot_get(const struct pmr_home *home, struct pmr_snapshot_id id, struct raft_snapshot **ret, char *message);
void pmr_snapshot_free(struct raft_snapshot *snapshot);

#endif

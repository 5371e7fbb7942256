/* SPDX-License-Identifier: BSD-3-Clause */
/* The start of a log: what a directory holds, and what of it goes. */
#ifndef PMR_STORE_RECOVER_H
#define PMR_STORE_RECOVER_H

#include "store_log.h"

/* Removes what an earlier attempt to make a log left. It fails if anything that has entries is there. */
int pmr_log_prepare(struct pmr_log *log, char *message);

/* Opens and recovers the log. *ret_first is the index of the first entry. */
int pmr_log_load(struct pmr_log *log, struct pmr_snapshot_id snapshot, struct pmr_entries *ret, uint64_t *ret_first,
                 char *message);

void pmr_entries_free(struct pmr_entries *entries);

#endif

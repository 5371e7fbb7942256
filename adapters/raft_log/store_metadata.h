/* SPDX-License-Identifier: BSD-3-Clause */
/* Term and vote, in two slots that are written in turn, and to which server the directory belongs. */
#ifndef PMR_STORE_METADATA_H
#define PMR_STORE_METADATA_H

#include "store_file.h"

struct pmr_metadata {
	struct pm_mapping *map;
	uint64_t sequence; /* of the newest slot */
	uint64_t term, vote;
	bool new_file;
};

/* Opens the file. *ret_made is true if it had no slot yet, so that the rest of the directory is to be made first, and
 * pmr_metadata_set() completes it; otherwise home->identity is set. */
int pmr_metadata_open(struct pmr_home *home, struct pmr_metadata *ret, bool *ret_made, char *message);
/* Durable on return, and never torn: a crash leaves the values before or these. */
int pmr_metadata_set(const struct pmr_home *home, struct pmr_metadata *m, uint64_t term, uint64_t vote, char *message);
/* After a failed start: closes it, and removes the file if this start made it. */
void pmr_metadata_discard(const struct pmr_home *home, struct pmr_metadata *m);
void pmr_metadata_close(struct pmr_metadata *m);

#endif

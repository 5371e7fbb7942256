/* SPDX-License-Identifier: BSD-3-Clause */
/* Has the kernel commit what a file has in no journal yet, without a sync of the file. */
#ifndef COMMITTER_H
#define COMMITTER_H

#include <pthread.h>
#include <stdbool.h>

#include "calls.h"

struct committer {
	pthread_mutex_t lock;
	void *page; /* of the file, mapped with MAP_SYNC, which the program does not know */
};

/* For the file of a mapping that was made, or will be, by this call. false: the kernel cannot do it here. */
bool committer_begin(struct committer *c, const struct map_call *call);
void committer_end(struct committer *c);
/* After true every change of the file's size and blocks that any process made before is durable, as after
 * fdatasync(2). Signals are blocked. */
bool committer_commit(struct committer *c);

#endif

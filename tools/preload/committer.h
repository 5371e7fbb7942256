/* SPDX-License-Identifier: BSD-3-Clause */
/* Has the kernel commit what a file has in no journal yet, without a sync of the file. */
#ifndef COMMITTER_H
#define COMMITTER_H

#include <stdbool.h>

/*
 * A page of the file, mapped with MAP_SYNC, which the program does not know; one thread at a time, with signals
 * blocked. After true every change of the file's size and blocks that any process made before is durable, as after
 * fdatasync(2).
 */
bool committer_commit(void *page);

#endif

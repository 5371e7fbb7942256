/* SPDX-License-Identifier: BSD-3-Clause */
/* The places of processes in the ledger: this one's, and those of programs that are about to begin. */
#ifndef PLACE_H
#define PLACE_H

#include "ledger.h"

/* Takes the place that was made for this process, and ends that of the image before. In the constructor. */
void place_begin(struct ledger *ledger);
/* In a child of fork(2), which has none until there is something to say of it. */
void place_forked(void);
/* A mapping for which there is no room. */
void place_lost_mapping(void);
/* Of exit(3). */
void place_end(void);
/* NULL: there is no room. */
struct ledger_process *place_of_process(void);

/* The process calls execve(2): the number of a place in the ledger, or -1. */
int place_expect(int32_t pid, const char *program);
/* The call failed. */
void place_unexpect(int place);
/* A child that posix_spawn(3) made. */
void place_spawned(int32_t pid, const char *program);

#endif

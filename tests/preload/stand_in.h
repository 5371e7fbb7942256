/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In place of the library, of DAX and of the kernel's commit, so that accelerate mode runs on any file of this machine:
 * each file is told to be on DAX, lines are promised everywhere, and pm_persist() only reads. A mapping is of
 * malloc(3), for the sanitizers, and says itself if it is used after its end.
 */
#ifndef STAND_IN_H
#define STAND_IN_H

#include <stdatomic.h>
#include <stdbool.h>

/* The companion's mapping that was made last. */
extern _Atomic(char *) stand_in_base;
/* The companion's mappings that are left. */
extern _Atomic int stand_in_mappings;
/* Threads in pm_persist(). */
extern _Atomic int stand_in_at_lines;
/* The kernel commits nothing. */
extern _Atomic bool stand_in_refuses;
/* The library promises no lines. */
extern _Atomic bool stand_in_promises_pages;
/* A thread stops now and then where it has taken or given a lock of the companion, and in the library. */
extern _Atomic bool stand_in_naps;

#endif

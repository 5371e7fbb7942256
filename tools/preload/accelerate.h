/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What accelerate mode does in place of the kernel. The interposed calls (calls_*.c) ask it; it is asked only where
 * `pmdirect run --accelerate` was given, and knows neither their table nor the report.
 *
 * A mark is what accelerate mode wants to be kept with a mapping that it made. The table cuts a mapping as the program
 * does: every piece that is left has the mark, and is never longer or elsewhere than what the program still has there.
 *
 * All functions are called with no lock held and keep errno, except where one is set as the result of a call. They may
 * run in several threads at once, and in a signal handler of the program.
 */
#ifndef ACCELERATE_H
#define ACCELERATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "calls.h"
#include "ledger.h"

/* Once, in the constructor: no other thread runs yet. */
void accelerate_begin(void);
/* In a child, before its first call is served: the marks are copies of the parent's. */
void accelerate_forked(void);

/*
 * In place of mmap(2) of a regular file on DAX, shared. What the call replaces (MAP_FIXED) was told by
 * accelerate_gone() before. false: nothing was made; the kernel gets the call. true: the mapping is at *ret_address;
 * *ret_mark is NULL if it needs no mark.
 */
bool accelerate_map(const struct map_call *call, void **ret_address, void **ret_mark);

/*
 * Before the kernel is told: these whole pages are no longer the mark's (munmap, mremap, MAP_FIXED over them, mprotect
 * without PROT_READ). They may never be accessed, flushed or unmapped by way of the mark again. is_last: no piece with
 * the mark is left. A call that then fails in the kernel leaves pages that have lost their mark, which is safe.
 */
void accelerate_gone(void *mark, void *address, size_t length, bool is_last);

/* Around a call of this process that may make a file shorter: meanwhile no thread is at lines that the file loses. */
void accelerate_resize_begin(void);
void accelerate_resize_end(void);

/* In place of msync(2) with MS_SYNC, of whole pages that all lie in pieces of one mark. WHY_NOT: it is done, and the
 * result is 0. Else the kernel gets the call, for that reason. */
enum why_kernel accelerate_msync(void *mark, void *address, size_t length);

#endif

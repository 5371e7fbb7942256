/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What accelerate mode does in place of the kernel. The interposed calls (calls_*.c) ask it, and only where
 * `pmdirect run --accelerate` was given.
 *
 * The program's mappings are the kernel's, as without it. A mark stands for a mapping of the companion's own, of the
 * same range of the file, by which lines are written back. Each piece of the table (table.h) that is left of the
 * program's mapping has the mark; with the last one the companion's mapping goes, and with it the file.
 *
 * All functions are called with no lock held and keep errno. They may run in several threads at once, and in a signal
 * handler of the program.
 */
#ifndef ACCELERATE_H
#define ACCELERATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledger.h"
#include "real.h"

struct file;

/* In a child, before its first call is served: the companion's mappings are not there. */
void accelerate_forked(bool by_fork);

/* After mmap(2) has made this shared mapping of a file on DAX; rounded: its length in whole pages. NULL: its msync(2)
 * is the kernel's. */
void *accelerate_map(struct file *file, const struct map_call *call, size_t rounded);

/* Pieces of so many bytes, which had the mark, are in the table no more. */
void accelerate_gone(void *mark, size_t length);

/* Before the program maps, unmaps or protects these pages: the companion leaves them. */
void accelerate_covered(uintptr_t start, uintptr_t end);

/* Around a call of this process that may make a file shorter: meanwhile no thread is at lines that the file loses. */
void accelerate_resize_begin(void);
void accelerate_resize_end(void);

/* In place of msync(2) with MS_SYNC, of whole pages. WHY_NOT: it is done, and the result is 0. Else the kernel gets the
 * call, for that reason. */
enum why_kernel accelerate_msync(void *mark, uintptr_t start, uintptr_t end);

#endif

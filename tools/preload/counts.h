/* SPDX-License-Identifier: BSD-3-Clause */
/* Counting in a row. Each function takes a NULL. */
#ifndef COUNTS_H
#define COUNTS_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "file.h"

#define COUNT(row, member, by)                                                                                         \
	do {                                                                                                           \
		if (row)                                                                                               \
			atomic_fetch_add_explicit(&(row)->member, by, memory_order_relaxed);                           \
	} while (0)

static inline struct ledger_row *row_of(struct file *file)
{
	return file ? file_row(file) : NULL;
}

/* Nanoseconds; mostly without a system call (vdso(7)). */
static inline uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the driver of the sweep and its account of what was promised. */
#ifndef SWEEPING_INTERNAL_H
#define SWEEPING_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* The case under way. */
extern struct sweep_case {
	bool is_first; /* nothing fails */
	bool has_threads;
	unsigned kind, nth; /* which call of the table, or what comes after it */
	int error;
	atomic_bool has_struck;
} sweep_case;

/* A symbolic link that a flow may make. */
extern const char *sweep_link;
/* Of the file before a flow. */
size_t sweep_size(void);
/* The fault is over. */
void sweep_disarm(void);

/* sweeping_others.c: a part of the kernel, below the calls that are counted. */
void others_start(void);
void others_stop(void);

void sweep_account_start(void);
/* Ends the mapping of a flow that an error ended, and makes it whole before. */
void sweep_finish(void);

#endif

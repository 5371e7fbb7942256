/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine that counts and records every call, breaks those that a test names, and passes the others to the machine
 * that it stands on.
 */
#ifndef MACHINE_COUNT_H
#define MACHINE_COUNT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/calls.h"
#include "machine/machine.h"

struct fake_record {
	enum fake_call call;
	unsigned number;  /* of all that were recorded, from 0: earlier ones have a smaller one */
	int fd;           /* or directory */
	uint64_t inode;   /* of fd, where it is a real file */
	const char *path; /* its beginning, in the record's own room; "": the call has none */
	uintptr_t address;
	uint64_t length, offset;
	unsigned long flags; /* open or mmap flags, advice, request, signal */
};

/* What a test may set and read; fake_count_start() clears it. */
extern struct fake_counting {
	/* Called at the start of each call, before it is counted. Other threads make calls while the test sets it. */
	void (*_Atomic hook)(enum fake_call);
	atomic_bool recording;
	atomic_uint calls[FAKE_CALLS_COUNT];
} counting;

/* Stands on the machine at hand, and takes its place; forgets everything before. */
void fake_count_start(void);
/* What it stands on; machine_put_at() puts others there, whose calls are counted and broken like all. */
extern const struct pm_sys *counting_below;
/* Forgets what was counted and recorded, not what is to be broken. */
void fake_count_forget(void);

unsigned fake_calls(enum fake_call);
/* All system calls; the environment, the user id, the clock and dlopen are none. */
unsigned fake_syscalls(void);
/* Whether it is a system call, and so may fail. */
bool fake_is_syscall(unsigned call);
const char *fake_name(enum fake_call);
/* The nth (from 0) record of that call; NULL if there is none. */
const struct fake_record *fake_find(enum fake_call, unsigned nth);
/* Still open that the library opened since the start. */
unsigned fake_open_files(void);
/* Counts a descriptor that came another way, if it is one; returns it. */
int fake_opened(int fd);

/* The nth call (from 1) of that kind from now on fails with the errno; 0: each. */
void fake_fail(enum fake_call, unsigned nth, int error);
/*
 * The nth breakable call of any kind from now on: not a close or what undoes something, since the library can do
 * nothing about these.
 */
void fake_fail_any(unsigned nth, int error);
bool fake_any_has_failed(void);
/* The next so many calls of that kind are interrupted by a signal. */
void fake_interrupt(enum fake_call, unsigned times);

#endif

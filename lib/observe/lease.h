/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The write lease of one file (fcntl(2) F_SETLEASE). While it is held no other process has the file open, so none can
 * share its extents, which is what breaks MAP_SYNC. An open(2) of another process waits until the lease is released, at
 * most /proc/sys/fs/lease-break-time (fs/locks.c __break_lease).
 */
#ifndef PM_LEASE_H
#define PM_LEASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernel/kept.h"

struct pm_lease {
	bool is_wanted; /* PM_LEASE */
	atomic_bool is_held;
	uint8_t failures; /* of the attempts to return to lines, since the last that succeeded; at most 7 */
	int fd;
	int signalled;                  /* the thread id that a break signals with SIGIO: the watcher thread's */
	int error;                      /* positive errno of the last attempt */
	struct pm_kept_file *identity;  /* of fd; NULL: not to be checked yet */
	uint64_t next_attempt;          /* to return to lines: when it is due, in ms */
};

void pm_lease_take(struct pm_lease *);
/* Whether the kernel has it no more, although it is held as far as is known. */
bool pm_lease_is_broken(const struct pm_lease *);
/* From now on it counts as lost; the kernel still keeps the other process waiting. */
void pm_lease_note_break(struct pm_lease *);
/* Lets the other process in; whether the kernel had done that by force, or whether that is not known. */
bool pm_lease_release(struct pm_lease *);
/* Releases a lease that is held. */
void pm_lease_end(struct pm_lease *);

/* Whether an attempt is due by now. */
bool pm_backoff_is_over(const struct pm_lease *);
/* After an attempt: one that failed makes the next wait 1 s, or twice as long as before, at most 64 s. */
void pm_backoff_note(struct pm_lease *, bool succeeded);

#endif

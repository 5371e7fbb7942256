/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which other processes have the file open for writing. Only a scan of /proc shows it, which reads every open file of
 * every process: one scan serves all mappings that are due, and none runs under a mapping's lock.
 */
#ifndef PM_OPENERS_H
#define PM_OPENERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "pmdirect.h"

#define PM_SCAN_PAUSE_MS 1000 /* at least, from one scan to the next */

struct pm_scan;

struct pm_openers {
	int fd; /* the library's own descriptor of the file, */
	atomic_bool scan_due;
	uint64_t inode; /* and its numbers */
	uint32_t major, minor;
	/* Of the scan under way, under the lock of scans: */
	struct pm_openers *next;
	struct pm_scan *scan; /* NULL: none has it */
	bool has_result, found, found_direct;
	/* Of the last result taken: */
	bool baseline_done;
	bool opened_before_baseline; /* an open was announced */
	bool writer, direct_writer;
};

struct pm_scan {
	struct pm_openers *targets;
	void (*before_each)(void); /* process; NULL: nothing */
	int process;
	char directory[64]; /* /proc/N/fd */
};

/* Which file it is. */
void pm_openers_of(struct pm_openers *, int fd, const struct statx *);
/* An open of the file is announced, or the baseline is due. */
void pm_openers_announce(struct pm_openers *, bool is_open);
/* A lease is held: no other process has the file open. */
void pm_openers_none(struct pm_openers *);
/*
 * Adds the file to a scan that has not begun, if it is due and no other scan has it or its result waits: whether it
 * did.
 */
bool pm_scan_add(struct pm_scan *, struct pm_openers *);
/* Ends early when no target is left. */
void pm_scan_run(struct pm_scan *);
/* Takes the file out of the scan under way. */
void pm_openers_end(struct pm_openers *);
/* Whether a scan has found something that was not taken yet. */
bool pm_openers_have_result(struct pm_openers *);
/* Takes the result: PM_REASON_OPENED_DIRECT or _WRITING where a new process has the file open, else PM_REASON_NONE. */
enum pm_reason pm_openers_take(struct pm_openers *);

#endif

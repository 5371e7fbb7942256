/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The system calls by which the kernel writes pages back, and what each of them is trusted with on which file system.
 */
#ifndef PM_WRITEBACK_CALLS_H
#define PM_WRITEBACK_CALLS_H

#include "durability/engine.h"

/*
 * Whether the descriptor still leads to the file, and where the file ends: 0, -EBADF, or why the file does not answer.
 * To be called before anything is written through the descriptor, and after what is to be trusted.
 */
int pm_medium_check(struct pm_medium *);
/*
 * The pages of a range, by msync(2): 0 only where the kernel's 0 can be trusted. Once the mapping has a gap it is the
 * whole file, by fdatasync(2).
 */
int pm_write_back(struct pm_medium *, uintptr_t low, uintptr_t high);
/* The whole file, by fdatasync(2): a mapping of a read-only descriptor has nothing that msync(2) would write. */
int pm_write_back_file(struct pm_medium *);
/* A run of recorded pages, by whichever of the two writes it. */
int pm_write_back_run(struct pm_medium *, struct pm_page_run);
/*
 * By sync_file_range(2), where pm_can_write_ranges(): starts to write the runs, or with
 * SYNC_FILE_RANGE_WRITE_AND_WAIT writes them. The first error.
 */
int pm_write_runs(struct pm_medium *, const struct pm_page_run *, size_t count, unsigned flags);
/*
 * Before a sync of the range by other means, which pm_flush_after_sync() follows: what fsync(2) would leave out there
 * is written. See PM_EV_FSYNC_COMPLETE in pm_evidence(7).
 */
int pm_complete_fsync(struct pm_medium *, uint64_t offset, size_t length);
/* The range was made longer, or a sync failed: fsync(2) may leave something out again. */
void pm_forget_complete_fsync(struct pm_medium *);

/*
 * Whether ranges of the span can be written by sync_file_range(2) each, and made durable by one msync(2) of any other
 * part of the file that follows.
 */
bool pm_can_write_ranges(struct pm_medium *, struct pm_page_run span);
/*
 * What failed since the last sync by that description, or since the last such question. Writes nothing, waits for
 * nothing.
 */
int pm_read_error(int fd);

#endif

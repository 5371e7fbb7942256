/* SPDX-License-Identifier: BSD-3-Clause */
/* The write lease that shows that no other process has the file. */
#ifndef PM_FILE_CLAIM_H
#define PM_FILE_CLAIM_H

#include <stdbool.h>

#include "file/file.h"

/*
 * Called before the file changes: tries to take the write lease without which pm_file_undo() leaves the change. Sets
 * f->alone.
 */
void pm_file_claim(struct pm_file *);
/*
 * Whether that lease still shows that no other process has had the file open, on a file system whose leases show that.
 */
bool pm_file_is_alone(struct pm_file *);
/* Releases that lease. */
void pm_file_release(struct pm_file *);
/* Takes a write lease whose break sends no signal: it is polled. Returns 0 or -errno. */
int pm_file_take_lease(const struct pm_file *);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Taking back what a failing call did to the file. */
#ifndef PM_FILE_UNDO_H
#define PM_FILE_UNDO_H

#include <stdbool.h>

#include "file/file.h"

/*
 * Takes back what this call did, where no other process can have it: removes a created file, gives a grown one its old
 * size. Releases the lease.
 */
void pm_file_undo(struct pm_file *);
/* Whether an unnamed file found no room because another process has created the file meanwhile: then open that file. */
bool pm_file_was_overtaken(const struct pm_file *, int rc);

#endif

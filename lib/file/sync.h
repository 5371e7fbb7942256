/* SPDX-License-Identifier: BSD-3-Clause */
/* Making the file durable. */
#ifndef PM_FILE_SYNC_H
#define PM_FILE_SYNC_H

#include "file/file.h"

/*
 * Makes data, size and allocation durable, and the directory entry if the directory is known or everything is to be
 * synced.
 */
int pm_file_sync(struct pm_file *);
/* Also the directories above: for a path that another process has changed. */
int pm_file_sync_path(struct pm_file *);

#endif

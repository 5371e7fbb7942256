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
/* Makes durable the file and the whole path that leads to it. Unless it is known, asks whether syncfs(2) is ignored. */
int pm_file_sync_path(struct pm_file *, bool is_syncfs_known);

#endif

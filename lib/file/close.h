/* SPDX-License-Identifier: BSD-3-Clause */
/* Closing the file under a mapping. */
#ifndef PM_FILE_CLOSE_H
#define PM_FILE_CLOSE_H

#include "file/file.h"

void pm_file_close_directory(struct pm_file *);
void pm_file_close(struct pm_file *);

#endif

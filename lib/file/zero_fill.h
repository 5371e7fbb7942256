/* SPDX-License-Identifier: BSD-3-Clause */
/* Zeros by write(2). */
#ifndef PM_FILE_ZERO_FILL_H
#define PM_FILE_ZERO_FILL_H

#include <stdint.h>

#include "file/file.h"

/*
 * Before a range of a DAX file is prepared that this process has not mapped yet: writes zeros into holes and unwritten
 * extents where the kernel would show what their blocks held. -EBUSY if that is needed and another process has the file
 * open.
 */
int pm_file_write_zeros(struct pm_file *, uint64_t offset, uint64_t length);
/* Zeros from the beginning to end: only for a file that no other process has. */
int pm_file_write_all(struct pm_file *, uint64_t end);

#endif

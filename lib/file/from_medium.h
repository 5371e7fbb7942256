/* SPDX-License-Identifier: BSD-3-Clause */
/* PM_FROM_MEDIUM: a new mapping shows what the medium holds. */
#ifndef PM_FILE_FROM_MEDIUM_H
#define PM_FILE_FROM_MEDIUM_H

#include <stdint.h>

#include "file/file.h"

/*
 * Drops the cached pages of a file that is not direct. -EBUSY: another mapping holds some of the range; -EOPNOTSUPP:
 * fsync(2) is ignored, so dirty pages stay. A sync comes first, and its error is returned.
 */
int pm_file_from_medium(struct pm_file *, uint64_t offset, uint64_t length);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Growing and preparing the file under a mapping. */
#ifndef PM_FILE_GROW_H
#define PM_FILE_GROW_H

#include <stdbool.h>
#include <stdint.h>

#include "file/file.h"

/* Makes the file reach end, allocated unless sparse. */
int pm_file_grow(struct pm_file *, uint64_t end, bool sparse);
/* Makes every block of the range allocated, written and unshared, and keeps its content. */
int pm_file_prepare(struct pm_file *, uint64_t offset, uint64_t length, bool direct);

#endif

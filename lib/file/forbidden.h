/* SPDX-License-Identifier: BSD-3-Clause */
/* What about the file forbids a change. */
#ifndef PM_FILE_FORBIDDEN_H
#define PM_FILE_FORBIDDEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "file/file.h"

enum pm_change { PM_CHANGE_CONTENT, PM_CHANGE_GROWS, PM_CHANGE_SHRINKS };

/* STATX_ATTR_IMMUTABLE, STATX_ATTR_APPEND; 0: neither. */
static inline uint64_t pm_file_fixed(const struct statx *stx)
{
	return stx->stx_attributes & stx->stx_attributes_mask & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND);
}
/* Whether the file was made immutable or append-only. */
static inline bool pm_file_is_fixed(const struct statx *stx)
{
	return pm_file_fixed(stx);
}
/* For the sentence: the attribute, the seal or the description, and what helps; NULL: none explains the error. */
const char *pm_file_what_forbids(int fd, int rc, enum pm_change);
/* pm_file_fail() whose sentence names that as well. */
int pm_file_fail_forbidden(const struct pm_file *, int rc, const char *doing, enum pm_change);
/* The same for a file that could not be opened or created. */
int pm_file_fail_to_open(const struct pm_file *, int rc, const char *path);
bool pm_file_is_immutable(int fd);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Stores into direct mappings, flushed but not drained. */
#ifndef PM_COPY_H
#define PM_COPY_H

#include "strategy.h"

/* flags are those of pm_memcpy(). source may overlap destination. length > 0. */
void pm_copy(struct pm_medium *, const struct pm_strategy *, void *destination, const void *source, size_t length,
             unsigned flags);
void pm_fill(struct pm_medium *, const struct pm_strategy *, void *destination, int value, size_t length,
             unsigned flags);

#endif

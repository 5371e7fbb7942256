/* SPDX-License-Identifier: BSD-3-Clause */
/* The words for what the policy decided. */
#ifndef PM_EXPLAIN_H
#define PM_EXPLAIN_H

#include <stddef.h>

#include "pmdirect.h"

/* "reason; advice" as one sentence part, cut to size. */
void pm_explain_reason(enum pm_reason, enum pm_advice, char *text, size_t size);

#endif

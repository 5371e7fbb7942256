/* SPDX-License-Identifier: BSD-3-Clause */
/* The words for the decision of the policy. */
#ifndef PM_EXPLAIN_H
#define PM_EXPLAIN_H

#include <stddef.h>

#include "pmdirect.h"

/* Writes "reason; advice" as one part of a sentence, cut to size. */
void pm_explain_reason(enum pm_reason, enum pm_advice, char *text, size_t size);

#endif

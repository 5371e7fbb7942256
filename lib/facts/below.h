/* SPDX-License-Identifier: BSD-3-Clause */
/* What the file system stands on: whether it loses its content, and whether flushes reach it. */
#ifndef PM_BELOW_H
#define PM_BELOW_H

#include <stdbool.h>

#include "facts/evidence.h"
#include "facts/subject.h"

/* anew: nothing is taken from an earlier look. */
void pm_evidence_below(pm_evidence_table, struct pm_subject *, bool anew);

#endif

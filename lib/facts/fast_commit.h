/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether the file lies on an ext4 with fast_commit. */
#ifndef PM_FAST_COMMIT_H
#define PM_FAST_COMMIT_H

#include "facts/evidence.h"
#include "facts/subject.h"

/* Called after the extents. May sync the file and change its times. */
void pm_evidence_fast_commit(pm_evidence_table, struct pm_subject *);

#endif

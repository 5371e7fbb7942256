/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether a store could still need the file system. */
#ifndef PM_EXTENTS_H
#define PM_EXTENTS_H

#include "facts/evidence.h"
#include "facts/subject.h"

/* The rows of the extents; again after extents changed. */
void pm_evidence_extents(pm_evidence_table, struct pm_subject *);
/* Whether the file system can share extents. */
void pm_evidence_shareable(pm_evidence_table, const struct pm_subject *);
/*
 * 0, or -EXDEV where the data lies on another device than statx(2) names (the realtime device of an XFS); another
 * -errno where that cannot be known.
 */
int pm_data_elsewhere(pm_evidence_table, const struct pm_subject *);

#endif

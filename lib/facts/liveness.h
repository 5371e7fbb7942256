/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether the file system and the file are still what they were, and the inode's DAX flag. */
#ifndef PM_LIVENESS_H
#define PM_LIVENESS_H

#include "facts/evidence.h"
#include "facts/subject.h"

/* Finds the device's entry in sysfs. */
void pm_evidence_life(pm_evidence_table, struct pm_subject *);

#endif

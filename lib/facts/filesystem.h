/* SPDX-License-Identifier: BSD-3-Clause */
/* The file system and the page cache behind a file. */
#ifndef PM_FILESYSTEM_H
#define PM_FILESYSTEM_H

#include "facts/evidence.h"
#include "facts/subject.h"

void pm_evidence_file_system(pm_evidence_table, struct pm_subject *);
void pm_evidence_residency(pm_evidence_table, const struct pm_subject *);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The file system and the page cache behind a file. */
#ifndef PM_FILESYSTEM_H
#define PM_FILESYSTEM_H

#include "facts/evidence.h"
#include "facts/subject.h"

/* The row of what can be written to is left to the mount, where that tells it: then it is unknown, without an error. */
void pm_evidence_file_system(pm_evidence_table, struct pm_subject *);
void pm_evidence_writable(pm_evidence_table, const struct pm_subject *);
void pm_evidence_residency(pm_evidence_table, const struct pm_subject *);

#endif

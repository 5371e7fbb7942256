/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Gathers facts and decides nothing. sysfs and procfs are read by absolute path, never relative to the working
 * directory.
 */
#ifndef PM_GATHER_H
#define PM_GATHER_H

#include <stdbool.h>

#include "facts/evidence.h"
#include "facts/subject.h"

/* Gathers what the decision needs, and no more; tries MAP_SYNC only if try_sync. */
void pm_evidence_for_decision(pm_evidence_table, struct pm_subject *, bool try_sync);
/*
 * The errno of a row that is unknown for want of descriptors or memory, else 0. Such a row says nothing about the file.
 */
int pm_evidence_shortage(pm_evidence_table);
/* Gathers what else may change under a live mapping. Called after the first. */
void pm_evidence_for_observation(pm_evidence_table, struct pm_subject *);
/* Gathers everything else that a report shows. Called after both. */
void pm_evidence_for_report(pm_evidence_table, struct pm_subject *);

#endif

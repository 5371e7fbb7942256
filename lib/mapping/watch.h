/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PM_WATCH_H
#define PM_WATCH_H

#include "mapping/mapping.h"

/* Joins the watcher, and takes the lease, as the flags ask; from then on the end must follow. */
int pm_mapping_watch_start(struct pm_mapping *, const struct pm_options *);
/*
 * With PM_LEASE, before the file is mapped: the lease is given up where it is not enough, with its rows. Under a
 * guarantee that fails.
 */
int pm_mapping_check_lease(struct pm_mapping *, const struct pm_options *, pm_evidence_table,
                           const struct pm_subject *);
int pm_mapping_recheck_lease(struct pm_mapping *, const struct pm_options *);
/* The mapping is complete: the watcher may look at it. */
void pm_mapping_watch_go(struct pm_mapping *);
/* Also where the watch was never started. */
void pm_mapping_watch_end(struct pm_mapping *);

#endif

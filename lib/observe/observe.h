/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Re-evaluates a live mapping: pm_query(), pm_next_event(), pm_resize(), pm_clear_error() under a guarantee and the
 * watcher thread call it. An observation has five steps: lease, assess, transition, changes, publish. The first four
 * run with the lock and return values; the last (publish.h) runs without it.
 */
#ifndef PM_OBSERVE_H
#define PM_OBSERVE_H

#include "facts/evidence.h"
#include "observe/publish.h"

void pm_observed_init(struct pm_observed *);
void pm_observed_destroy(struct pm_observed *);

/*
 * The first four steps, with the lock held. all: gathers every row. -errno: the facts could not be gathered, and the
 * look has what came before them.
 */
int pm_observe_locked(struct pm_observed *, pm_evidence_table, bool all, bool by_watcher, struct pm_look *ret);
/* All five, and the live report. call: the public function at work. */
int pm_observe_report(struct pm_observed *, const char *call, struct pm_report *, bool all);
/* All five, by the watcher thread; false: another thread holds the lock. */
bool pm_observe_if_free(struct pm_observed *);
/* Answers a lease that was broken before the watcher knew of the mapping. */
void pm_observe_lease(struct pm_observed *);
/* Fills the head of a report. */
void pm_report_fill(struct pm_report *, const struct pm_decision *, const struct pm_requested *);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A mapping as it is observed: the parts of this folder, and those of the mapping that an observation reads or changes.
 */
#ifndef PM_OBSERVED_H
#define PM_OBSERVED_H

#include "facts/evidence.h"
#include "facts/subject.h"
#include "observe/assess.h"
#include "observe/changes.h"
#include "observe/events.h"
#include "observe/lease.h"
#include "observe/openers.h"
#include "observe/sources.h"
#include "observe/transition.h"
#include "observe/turns.h"
#include "shared_file.h"

struct pm_observed {
	struct pm_turns turns; /* of one observation; taken before the lock of the terms */
	struct pm_snapshot snapshot;
	struct pm_sources sources;
	struct pm_openers openers;
	struct pm_lease lease;
	struct pm_event_queue events;
	/* The mapping's: */
	const char *name;
	struct pm_mapped *mapped;
	struct pm_terms *terms;
	struct pm_medium *medium;
	struct pm_errors *errors;
};

/* For retake.c and observe.c, with the lock held. The evidence for a decision on the mapping as it is. */
int pm_observed_assess(struct pm_observed *, pm_evidence_table, struct pm_subject *, struct pm_decision *ret);
struct pm_transition pm_observed_adopt(struct pm_observed *, const struct pm_decision *, bool may_promote);
/* Makes the path durable that leads to the file now. *failure: of a write-back, else unchanged. */
int pm_observed_sync_path(struct pm_observed *, int *failure);
/* What has changed since the last look, by the evidence, by inotify and by the last scan of /proc. */
struct pm_changes pm_observed_compare(struct pm_observed *, const struct pm_evidence *, const struct pm_subject *);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* What an observation does about the lease: it answers a break, and takes the lease and the lines back afterwards. */
#ifndef PM_RETAKE_H
#define PM_RETAKE_H

#include "observe/observed.h"

/*
 * With the lock of the observation held. A broken lease is answered in this order: demote, write everything back,
 * release it. Returns how it was broken; PM_REASON_NONE: it was not. *failure: of a write-back, else unchanged.
 */
enum pm_reason pm_answer_break(struct pm_observed *, int *failure);

/* What the way back came to, in this order. */
struct pm_way_back {
	struct pm_changes changes; /* found before it hid them */
	int failure;               /* of a write-back; 0: none */
	struct pm_transition transition;
	bool is_assessed;          /* the evidence and the decision are those of the mapping as it is now */
};

/*
 * With the lock, in the watcher thread, since mending may take long. A lost lease is taken again if it can be; then
 * what stands in the way of lines is mended, and the mapping promoted.
 */
struct pm_way_back pm_retake(struct pm_observed *, pm_evidence_table, struct pm_subject *, struct pm_decision *);

#endif

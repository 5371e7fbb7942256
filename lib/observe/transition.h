/* SPDX-License-Identifier: BSD-3-Clause */
/* What is in force: the decision that a mapping lives by, and the strategy that follows from it. */
#ifndef PM_TRANSITION_H
#define PM_TRANSITION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "durability/engine.h"
#include "facts/policy.h"

struct pm_terms {
	/* What every durability call reads. */
	/* The CPU, while lines are the strategy and a call has nothing to check first but its range; else NULL. */
	const struct pm_cpu *_Atomic lines;
	const struct pm_strategy *_Atomic strategy;
	/* PM_FAIL_ON_DEMOTION: the error of a guarantee that was lost and not acknowledged. */
	atomic_int lost_guarantee;
	_Atomic enum pm_granularity granularity;

	bool is_synchronous; /* mapped with MAP_SYNC */
	bool fails_on_loss;  /* PM_FAIL_ON_DEMOTION */
	pthread_mutex_t lock; /* of the decision and of the range, held for an instant */
	struct pm_decision decision;
};

/* What of the terms is in force. */
struct pm_in_force {
	enum pm_granularity granularity;
	enum pm_state sync, direct;
};

/* Before and after; of the same granularity: the terms stay. */
struct pm_transition {
	struct pm_in_force from, to;
	enum pm_reason reason;
};

void pm_terms_init(struct pm_terms *);
void pm_terms_destroy(struct pm_terms *);
/* The first strategy, by the decision. */
void pm_terms_begin(struct pm_terms *, struct pm_medium *);
void pm_terms_set_strategy(struct pm_terms *, struct pm_medium *, const struct pm_strategy *);
/* Every call checks the medium first from now on. */
void pm_terms_close_short_cut(struct pm_terms *);
/* Takes a fresh decision. What is in force is never raised unless may_promote. */
struct pm_transition pm_terms_adopt(struct pm_terms *, struct pm_medium *, const struct pm_requested *,
                                    const struct pm_decision *, bool may_promote);
struct pm_in_force pm_terms_in_force(struct pm_terms *);
/* The caller has acknowledged that a guarantee was lost. */
void pm_terms_acknowledge(struct pm_terms *, struct pm_medium *);

#endif

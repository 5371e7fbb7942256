/* SPDX-License-Identifier: BSD-3-Clause */
/* The last step of a look: it alone makes events, of what the other steps returned. */
#ifndef PM_PUBLISH_H
#define PM_PUBLISH_H

#include "observe/observed.h"
#include "observe/retake.h"

/* What an event says about the mapping, before and after. */
struct pm_in_force {
	enum pm_granularity granularity;
	enum pm_state sync, direct;
	struct pm_span range;
};

/* What the steps returned; zeros: nothing to publish. */
struct pm_look {
	struct pm_in_force before;
	enum pm_reason broken; /* the lease */
	struct pm_way_back back;
	int failure; /* of a write-back that no call of the application made */
	struct pm_transition transition;
	struct pm_changes changes;
	struct pm_transition grown; /* by pm_resize(), after the look */
};

struct pm_in_force pm_in_force(struct pm_observed *);
/* Makes the events of a look, and runs the handler unless by_watcher. With no lock held. */
void pm_publish(struct pm_observed *, const struct pm_look *, bool by_watcher);
/* Makes the event of a failed write-back, once for each failure. With no lock held. */
void pm_publish_failure(struct pm_observed *, int error);

#endif

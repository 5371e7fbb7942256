/* SPDX-License-Identifier: BSD-3-Clause */
/* The last step of a look: it alone makes events, of what the other steps returned. */
#ifndef PM_PUBLISH_H
#define PM_PUBLISH_H

#include "observe/observed.h"
#include "observe/retake.h"

/* What the steps returned; zeros: nothing to publish. */
struct pm_look {
	unsigned number; /* of the observation */
	struct pm_span range;
	struct pm_in_force before, after;
	enum pm_reason broken; /* the lease */
	struct pm_way_back back;
	int failure; /* of a write-back that no call of the application made */
	struct pm_transition transition;
	struct pm_changes changes;
	struct pm_transition grown; /* by pm_resize(), after the look */
};

/* Takes the lock of observations, for a look at what is in force now. */
struct pm_look pm_look_begin(struct pm_observed *);
/* The same with the lock held. */
struct pm_look pm_look_here(struct pm_observed *);
/* Notes what is in force by now, and gives the lock back. */
void pm_look_end(struct pm_observed *, struct pm_look *);
/* Makes the events of a look, and runs the handler unless by_watcher. With no lock held. */
void pm_publish(struct pm_observed *, const struct pm_look *, bool by_watcher);
/* Makes the event of a failed write-back, once for each failure. With no lock held. */
void pm_publish_failure(struct pm_observed *, int error);

#endif

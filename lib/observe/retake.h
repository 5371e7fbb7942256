/* SPDX-License-Identifier: BSD-3-Clause */
/* What an observation does about the lease: it answers a break, and takes the lease and the lines back afterwards. */
#ifndef PM_RETAKE_H
#define PM_RETAKE_H

#include "observe/observed.h"

/*
 * With the lock of the observation held. A broken lease is answered in this order: demote, write everything back,
 * release it. Returns whether it was broken.
 */
bool pm_answer_break(struct pm_observed *, struct pm_event_batch *);
/*
 * With the lock, in the watcher thread, since mending may take long. A lost lease is taken again if it can be; then
 * what stands in the way of lines is mended, and the mapping promoted.
 */
void pm_retake(struct pm_observed *, struct pm_event_batch *);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* What the evidence is worth. Pure: no system call, no state; the same input gives the same answer. */
#ifndef PM_POLICY_H
#define PM_POLICY_H

#include <stdbool.h>

#include "facts/evidence.h"

/* What the options of a mapping ask for. */
struct pm_requested {
	enum pm_backing backing;
	enum pm_request sync;
	enum pm_request direct;
	bool trust_kernel;
	bool lease; /* was asked for */
	bool read_only;
	enum pm_access access;
};

static inline bool pm_requested_guarantee(const struct pm_requested *requested)
{
	return requested->sync == PM_GUARANTEE || requested->direct == PM_GUARANTEE;
}

struct pm_decision {
	enum pm_granularity granularity;
	enum pm_state sync;
	enum pm_state direct;
	enum pm_grade grade;
	enum pm_verdict verdict;
	enum pm_reason reason;
	enum pm_advice advice;
	unsigned best_effort; /* on PM_NONE: make the syncs that make stores durable elsewhere all the same */
	int error; /* the result of pm_map() if the verdict is refused, else 0 */
};

/* What the row says about the file's name; PM_REASON_NONE if the file has its name, or that is not known. */
enum pm_reason pm_reason_of_name(const struct pm_evidence *named);

struct pm_decision pm_decide(const struct pm_evidence evidence[PM_EVIDENCE_ROWS], const struct pm_requested *requested);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The oldest event; a mapping without a thread looks for one first. */
#include <errno.h>
#include <string.h>

#include "mapping/mapping.h"

int pm_mapping_next_event(struct pm_mapping *m, struct pm_event *event)
{
	struct pm_report report;
	int rc = pm_events_take(&m->events, event);
	if (rc != -EAGAIN || m->watch.running)
		return rc;
	memset(&report, 0, sizeof(report));
	rc = pm_mapping_report(m, "pm_next_event", &report, false);
	if (!rc)
		pm_watch_search(m);
	return rc ? rc : pm_events_take(&m->events, event);
}

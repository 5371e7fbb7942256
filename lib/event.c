/* SPDX-License-Identifier: BSD-3-Clause */
/* Events, sent to whoever asked for them. */
#include "mapping.h"

void pm_mapping_event(struct pm_mapping *m, struct pm_event *event)
{
	if (!m->on_event)
		return;
	pthread_mutex_lock(&m->lock);
	event->size = sizeof(*event);
	event->new_granularity = atomic_load(&m->granularity);
	event->sync = m->decision.sync;
	event->direct = m->decision.direct;
	if (event->kind == PM_EVENT_FELL_BACK)
		event->reason = m->decision.reason;
	pthread_mutex_unlock(&m->lock);
	event->frames = pm_libunwind_call_site(event->frame, PM_EVENT_FRAMES, event->where, sizeof(event->where));
	m->on_event(m, event, m->event_arg);
}

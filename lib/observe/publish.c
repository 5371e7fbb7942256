/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "durability/engine.h"
#include "observe/changes.h"
#include "observe/events.h"
#include "observe/notifier.h"
#include "observe/publish.h"
#include "observe/transition.h"
#include "shared_file.h"

/* Which event a change is, by its reason. */
static const unsigned char kinds[] = {
	[PM_REASON_TRUNCATED] = PM_EVENT_TRUNCATED, [PM_REASON_HOLE] = PM_EVENT_HOLE,
	[PM_REASON_SHARED] = PM_EVENT_SHARED, [PM_REASON_MODIFIED] = PM_EVENT_MODIFIED,
	[PM_REASON_UNLINKED] = PM_EVENT_NAME_LOST, [PM_REASON_MOVED] = PM_EVENT_NAME_LOST,
	[PM_REASON_UNNAMED] = PM_EVENT_NAME_LOST, [PM_REASON_COPIED_UP] = PM_EVENT_NAME_LOST,
	[PM_REASON_MOUNTED_OVER] = PM_EVENT_NAME_LOST, [PM_REASON_PAGE_CACHE] = PM_EVENT_PAGE_CACHE,
	[PM_REASON_BAD_BLOCKS] = PM_EVENT_BAD_BLOCKS, [PM_REASON_DAX_FLAG] = PM_EVENT_DAX_FLAG,
	[PM_REASON_READ_ONLY] = PM_EVENT_READ_ONLY, [PM_REASON_IMMUTABLE] = PM_EVENT_READ_ONLY,
	[PM_REASON_SHUT_DOWN] = PM_EVENT_FS_OFFLINE, [PM_REASON_DEVICE_GONE] = PM_EVENT_FS_OFFLINE,
	[PM_REASON_OPENED_WRITING] = PM_EVENT_OPENED, [PM_REASON_OPENED_DIRECT] = PM_EVENT_OPENED,
};

/* What all events of a look have in common. */
struct publication {
	struct pm_observed *o;
	struct pm_in_force before, after;
	bool by_watcher, waits;
};

struct pm_in_force pm_in_force(struct pm_observed *o)
{
	pthread_mutex_lock(&o->terms->lock);
	struct pm_in_force now = {atomic_load(&o->terms->granularity), o->terms->decision.sync,
	                          o->terms->decision.direct, o->mapped->range};
	pthread_mutex_unlock(&o->terms->lock);
	return now;
}

static void publish_event(struct publication *p, enum pm_event_kind kind, const struct pm_file_change *c)
{
	struct pm_event event = {.size = sizeof(event),
	                         .kind = kind,
	                         .reason = c->reason,
	                         .error = c->error,
	                         .offset = c->offset,
	                         .length = c->length,
	                         .old_granularity = p->before.granularity,
	                         .new_granularity = p->after.granularity,
	                         .old_sync = p->before.sync,
	                         .old_direct = p->before.direct,
	                         .sync = p->after.sync,
	                         .direct = p->after.direct};
	if (kind == PM_EVENT_TRUNCATED)
		pm_medium_report_end(p->o->medium);
	p->waits |= pm_events_add(&p->o->events, &event, p->by_watcher);
}

static void publish_range(struct publication *p, enum pm_event_kind kind, enum pm_reason reason, int error)
{
	publish_event(p, kind, &(struct pm_file_change){reason, error, p->before.range.offset, p->before.range.length});
}

static void publish_changes(struct publication *p, const struct pm_changes *c)
{
	for (unsigned i = 0; i < c->count; i++)
		publish_event(p, (enum pm_event_kind)kinds[c->change[i].reason], &c->change[i]);
}

/* From unknown: a hint was not met from the start. */
static void publish_transition(struct publication *p, const struct pm_transition *done)
{
	bool is_demoted = done->to < done->from || done->from == PM_GRANULARITY_UNKNOWN;
	if (done->to != done->from)
		publish_range(p, is_demoted ? PM_EVENT_DEMOTED : PM_EVENT_PROMOTED, done->reason, 0);
}

void pm_publish(struct pm_observed *o, const struct pm_look *look, bool by_watcher)
{
	struct publication p = {o, look->before, pm_in_force(o), by_watcher, false};
	int failure = look->failure ? look->failure : look->back.failure;
	if (look->broken)
		publish_range(&p, PM_EVENT_LEASE_BROKEN, look->broken, 0);
	publish_changes(&p, &look->back.changes);
	if (failure && pm_errors_mark_reported(o->errors))
		publish_range(&p, PM_EVENT_WRITE_BACK_FAILED, PM_REASON_WRITE_BACK_FAILED, failure);
	publish_transition(&p, &look->back.transition);
	publish_transition(&p, &look->transition);
	publish_changes(&p, &look->changes);
	publish_transition(&p, &look->grown);
	if (p.waits)
		pm_notifier_wake();
}

void pm_publish_failure(struct pm_observed *o, int error)
{
	if (!pm_errors_mark_reported(o->errors))
		return;
	struct publication p = {.o = o, .before = pm_in_force(o)};
	p.after = p.before;
	publish_range(&p, PM_EVENT_WRITE_BACK_FAILED, PM_REASON_WRITE_BACK_FAILED, error);
}

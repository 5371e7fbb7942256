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
	const struct pm_look *look;
	bool by_watcher, waits;
};

struct pm_look pm_look_here(struct pm_observed *o)
{
	struct pm_look look = {.number = atomic_load(&o->turns.count)};
	pthread_mutex_lock(&o->terms->lock);
	look.range = o->mapped->range;
	pthread_mutex_unlock(&o->terms->lock);
	look.before = pm_terms_in_force(o->terms);
	return look;
}

struct pm_look pm_look_begin(struct pm_observed *o)
{
	pm_turns_take(&o->turns);
	return pm_look_here(o);
}

void pm_look_end(struct pm_observed *o, struct pm_look *look)
{
	look->after = pm_terms_in_force(o->terms);
	pm_turns_give(&o->turns);
}

static void publish_event(struct publication *p, enum pm_event_kind kind, const struct pm_file_change *c,
                          struct pm_in_force before, struct pm_in_force after)
{
	struct pm_event event = {.size = sizeof(event),
	                         .kind = kind,
	                         .reason = c->reason,
	                         .error = c->error,
	                         .offset = c->offset,
	                         .length = c->length,
	                         .old_granularity = before.granularity,
	                         .new_granularity = after.granularity,
	                         .old_sync = before.sync,
	                         .old_direct = before.direct,
	                         .sync = after.sync,
	                         .direct = after.direct};
	if (kind == PM_EVENT_TRUNCATED)
		pm_medium_report_end(p->o->medium);
	p->waits |= pm_events_add(&p->o->events, &event, p->look->number, p->by_watcher);
}

static void publish_range(struct publication *p, enum pm_event_kind kind, enum pm_reason reason, int error)
{
	const struct pm_look *l = p->look;
	publish_event(p, kind, &(struct pm_file_change){reason, error, l->range.offset, l->range.length}, l->before,
	              l->after);
}

static void publish_changes(struct publication *p, const struct pm_changes *c)
{
	for (unsigned i = 0; i < c->count; i++)
		publish_event(p, (enum pm_event_kind)kinds[c->change[i].reason], &c->change[i], p->look->before,
		              p->look->after);
}

/* From unknown: a hint was not met from the start. */
static void publish_transition(struct publication *p, const struct pm_transition *done)
{
	enum pm_granularity from = done->from.granularity, to = done->to.granularity;
	bool is_demoted = to < from || from == PM_GRANULARITY_UNKNOWN;
	struct pm_file_change whole = {done->reason, 0, p->look->range.offset, p->look->range.length};
	if (to != from)
		publish_event(p, is_demoted ? PM_EVENT_DEMOTED : PM_EVENT_PROMOTED, &whole, done->from, done->to);
}

void pm_publish(struct pm_observed *o, const struct pm_look *look, bool by_watcher)
{
	struct publication p = {o, look, by_watcher, false};
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
	struct pm_look look = pm_look_here(o);
	look.after = look.before;
	struct publication p = {o, &look, false, false};
	publish_range(&p, PM_EVENT_WRITE_BACK_FAILED, PM_REASON_WRITE_BACK_FAILED, error);
}

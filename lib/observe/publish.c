/* SPDX-License-Identifier: BSD-3-Clause */
#include "observe/notifier.h"
#include "observe/publish.h"

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
struct telling {
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

static void tell(struct telling *t, enum pm_event_kind kind, const struct pm_file_change *c)
{
	struct pm_event event = {.size = sizeof(event), .kind = kind, .reason = c->reason, .error = c->error,
	                         .offset = c->offset, .length = c->length,
	                         .old_granularity = t->before.granularity, .new_granularity = t->after.granularity,
	                         .old_sync = t->before.sync, .old_direct = t->before.direct,
	                         .sync = t->after.sync, .direct = t->after.direct};
	if (kind == PM_EVENT_TRUNCATED)
		pm_medium_tell_end(t->o->medium);
	t->waits |= pm_events_add(&t->o->events, &event, t->by_watcher);
}

static void tell_of_range(struct telling *t, enum pm_event_kind kind, enum pm_reason reason, int error)
{
	tell(t, kind, &(struct pm_file_change){reason, error, t->before.range.offset, t->before.range.length});
}

static void tell_changes(struct telling *t, const struct pm_changes *c)
{
	for (unsigned i = 0; i < c->count; i++)
		tell(t, (enum pm_event_kind)kinds[c->change[i].reason], &c->change[i]);
}

/* From unknown: a hint was not met from the start. */
static void tell_transition(struct telling *t, const struct pm_transition *done)
{
	bool is_demoted = done->to < done->from || done->from == PM_GRANULARITY_UNKNOWN;
	if (done->to != done->from)
		tell_of_range(t, is_demoted ? PM_EVENT_DEMOTED : PM_EVENT_PROMOTED, done->reason, 0);
}

void pm_publish(struct pm_observed *o, const struct pm_look *look, bool by_watcher)
{
	struct telling t = {o, look->before, pm_in_force(o), by_watcher, false};
	int failure = look->failure ? look->failure : look->back.failure;
	if (look->broken)
		tell_of_range(&t, PM_EVENT_LEASE_BROKEN, look->broken, 0);
	tell_changes(&t, &look->back.changes);
	if (failure && pm_errors_mark_reported(o->errors))
		tell_of_range(&t, PM_EVENT_WRITE_BACK_FAILED, PM_REASON_WRITE_BACK_FAILED, failure);
	tell_transition(&t, &look->back.transition);
	tell_transition(&t, &look->transition);
	tell_changes(&t, &look->changes);
	tell_transition(&t, &look->grown);
	if (t.waits)
		pm_notifier_wake();
}

void pm_publish_failure(struct pm_observed *o, int error)
{
	if (!pm_errors_mark_reported(o->errors))
		return;
	struct telling t = {.o = o, .before = pm_in_force(o)};
	t.after = t.before;
	tell_of_range(&t, PM_EVENT_WRITE_BACK_FAILED, PM_REASON_WRITE_BACK_FAILED, error);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The live report, and events. A mapping without a watcher looks, and scans /proc, in the calling thread. */
#include <errno.h>
#include <string.h>

#include "error.h"
#include "mapping/calls.h"
#include "observe/observe.h"

/* A scan is left to pm_next_event(), which a readable descriptor makes the application call. */
static void arm_listener(struct pm_mapping *m)
{
	if (!atomic_load(&m->observed.openers.scan_due))
		return;
	pm_turns_take(&m->observed.turns);
	if (pm_listener_is_open(&m->listener))
		pm_listener_arm(&m->listener);
	pm_turns_give(&m->observed.turns);
}

int pm_mapping_report(struct pm_mapping *m, const char *call, struct pm_report *r, bool all)
{
	int rc = pm_observe_report(&m->observed, call, r, all);
	if (!m->has_watcher)
		arm_listener(m);
	return rc;
}

/* ---- Without a watcher ---- */

/* With the lock held. */
static bool begin_scan(struct pm_mapping *m, struct pm_scan *scan)
{
	struct pm_openers *openers = &m->observed.openers;
	if (!pm_listener_is_open(&m->listener) || (!atomic_load(&openers->scan_due) && !m->listener.throttled))
		return false;
	return pm_listener_may_scan(&m->listener) && pm_scan_add(scan, openers);
}

/* With the lock held. What the scan found. The first scan is no reason to delay the next. */
static struct pm_changes end_scan(struct pm_mapping *m)
{
	struct pm_observed *o = &m->observed;
	struct pm_changes found = {.range = m->mapped.range};
	bool was_first = !o->openers.baseline_done;
	pm_own_write_begin(&o->sources);
	o->openers.opened_before_baseline |= was_first && o->sources.pending & IN_OPEN;
	enum pm_reason opened = pm_openers_take(&o->openers);
	if (opened)
		pm_changes_add(&found, opened);
	if (!was_first)
		pm_listener_pause(&m->listener);
	else if (atomic_load(&o->openers.scan_due))
		pm_listener_arm(&m->listener);
	return found;
}

static void scan_openers(struct pm_mapping *m)
{
	struct pm_observed *o = &m->observed;
	struct pm_scan scan = {.targets = NULL};
	pm_turns_take(&o->turns);
	bool is_begun = begin_scan(m, &scan);
	pm_turns_give(&o->turns);
	if (!is_begun)
		return;
	pm_scan_run(&scan);
	struct pm_look look = pm_look_begin(o);
	look.changes = end_scan(m);
	pm_look_end(o, &look);
	pm_publish(o, &look, false);
}

/* With the lock held. */
static int open_listener(struct pm_mapping *m)
{
	struct statx now;
	bool is_first = !pm_listener_is_open(&m->listener);
	if (is_first && pm_kept_file_stat(&m->file.identity, &now) == -EBADF)
		return -EBADF;
	int fd = pm_listener_open(&m->listener, &m->observed.sources, &m->observed.events, m->file.fd);
	if (fd >= 0 && is_first)
		pm_openers_announce(&m->observed.openers, false);
	return fd;
}

int pm_mapping_event_fd(struct pm_mapping *m)
{
	if (m->has_watcher)
		return pm_events_fd(&m->observed.events);
	pm_turns_take(&m->observed.turns);
	int fd = open_listener(m);
	bool has_baseline = m->observed.openers.baseline_done;
	pm_turns_give(&m->observed.turns);
	if (fd >= 0 && !has_baseline)
		scan_openers(m);
	return fd;
}

static int take_event(struct pm_mapping *m, struct pm_event *event)
{
	int rc = pm_events_take(&m->observed.events, event);
	return rc == -ENOMEM ? pm_fail(rc, "pm_next_event", m->name,
	                               "an event found no memory and is lost; pm_query() says what holds")
	                     : rc;
}

int pm_mapping_next_event(struct pm_mapping *m, struct pm_event *event)
{
	struct pm_report report;
	int rc = take_event(m, event);
	if (rc != -EAGAIN || m->has_watcher)
		return rc;
	memset(&report, 0, sizeof(report));
	rc = pm_mapping_report(m, "pm_next_event", &report, false);
	if (!rc)
		scan_openers(m);
	return rc ? rc : take_event(m, event);
}

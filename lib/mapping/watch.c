/* SPDX-License-Identifier: BSD-3-Clause */
/* PM_WATCH and PM_LEASE: a mapping joins the watcher, takes its lease, and leaves. */
#include <errno.h>
#include <stdlib.h>

#include "error.h"
#include "file/copies.h"
#include "kernel/limits.h"
#include "kernel/quirks.h"
#include "mapping/watch.h"
#include "observe/observe.h"

static bool observe_mapping(void *mapping)
{
	return pm_observe_if_free(&((struct pm_mapping *)mapping)->observed);
}

/* On failure pm_mapping_watch_end() takes it back. */
static int join(struct pm_mapping *m)
{
	struct pm_observed *o = &m->observed;
	m->member = calloc(1, sizeof(*m->member));
	int rc = m->member ? pm_watcher_acquire() : -ENOMEM;
	if (rc)
		return rc;
	m->has_watcher = true;
	rc = o->events.handler ? pm_notifier_join(&m->member->notified, &o->events) : 0;
	if (rc)
		return rc;
	pm_watcher_watch(&o->sources, m->file.fd);
	o->lease.is_wanted = m->flags & PM_LEASE;
	o->lease.signalled = pm_watcher_thread_id();
	if (o->lease.is_wanted)
		pm_lease_take(&o->lease);
	/* While a lease is held no other process has the file open. */
	if (atomic_load(&o->lease.is_held))
		pm_openers_none(&o->openers);
	else if (o->sources.is_watched == PM_YES)
		pm_openers_announce(&o->openers, false);
	return 0;
}

/* Under a guarantee the requested lease must be held; otherwise the report says why it is not. */
int pm_mapping_watch_start(struct pm_mapping *m, const struct pm_options *o)
{
	int rc = m->flags & (PM_WATCH | PM_LEASE) ? join(m) : 0;
	char limit[120];
	bool is_named = rc && pm_limit_name(limit, sizeof(limit), PM_RESOURCE_THREAD, 0, rc);
	if (rc)
		return pm_fail(rc, m->file.call, m->file.name, "the file cannot be watched: %s",
		               is_named ? limit : pm_strerror(rc));
	struct pm_lease *lease = &m->observed.lease;
	if (!lease->is_wanted || lease->is_held || o->sync != PM_GUARANTEE)
		return 0;
	const char *why = lease->error == EAGAIN
	                          ? "the file is open elsewhere, by another process or another descriptor: "
	                            "close it there"
	                  : lease->error == EACCES ? "only the owner, or a process with CAP_LEASE, may take one"
	                                           : pm_strerror(-lease->error);
	return pm_fail(-lease->error, m->file.call, m->file.name, "cannot take the lease: %s", why);
}

/* Without MAP_SYNC each fault keeps the page's lock until the page is mapped. */
int pm_mapping_check_lease(struct pm_mapping *m, const struct pm_options *o, pm_evidence_table e,
                           const struct pm_subject *s)
{
	struct pm_lease *lease = &m->observed.lease;
	m->mapped.is_copied_ahead = lease->is_wanted && e[PM_EV_MAP_SYNC].state == PM_YES &&
	                            e[PM_EV_SHAREABLE].state != PM_NO &&
	                            pm_has_quirk(s->found.file_system, PM_FS_COPIES_AHEAD);
	int rc = m->mapped.is_copied_ahead ? pm_file_copy_singly(&m->file, true) : 0;
	if (!rc)
		return 0;
	if (o->sync == PM_GUARANTEE)
		return pm_fail(rc, m->file.call, m->file.name,
		               "the lease is not enough: a store is lost where the file system copies more than a "
		               "block at a time, and cowextsize cannot be set to one block: %s; map as the owner, "
		               "and a file without extsize",
		               pm_strerror(rc));
	lease->is_wanted = false;
	pm_lease_end(lease);
	lease->error = -rc;
	pm_evidence_set(&e[PM_EV_LEASE_HELD], PM_NO, 0, "ioctl(FS_IOC_FSSETXATTR)", NULL);
	pm_evidence_set(&e[PM_EV_LEASE_POSSIBLE], PM_NO, -rc, "ioctl(FS_IOC_FSSETXATTR)", "cowextsize cannot be set");
	return 0;
}

/* Preparing may have taken longer than the kernel waits for a lease. */
int pm_mapping_recheck_lease(struct pm_mapping *m, const struct pm_options *o)
{
	if (o->sync != PM_GUARANTEE || !pm_lease_is_broken(&m->observed.lease))
		return 0;
	return pm_fail(-EAGAIN, m->file.call, m->file.name,
	               "the lease was broken during preparation: another process is opening the file");
}

void pm_mapping_watch_go(struct pm_mapping *m)
{
	struct pm_observed *o = &m->observed;
	if (!m->has_watcher)
		return;
	o->lease.identity = &m->file.identity;
	m->member->watched = (struct pm_watched){
		.lease = &o->lease, .sources = &o->sources, .openers = &o->openers,
		.observe = observe_mapping, .arg = m};
	pm_watcher_add(&m->member->watched);
	/* The signal of a break that came before found no member. */
	pm_observe_lease(o);
}

void pm_mapping_watch_end(struct pm_mapping *m)
{
	if (m->member)
		pm_watcher_remove(&m->member->watched);
	/* A handler may query the mapping until pm_notifier_leave() returns; no open(2) waits for the handler. */
	pm_turns_take(&m->observed.turns);
	pm_lease_end(&m->observed.lease);
	pm_turns_give(&m->observed.turns);
	if (m->has_watcher)
		pm_notifier_leave(&m->member->notified);
	pm_openers_end(&m->observed.openers);
	pm_listener_close(&m->listener);
	pm_sources_remove(&m->observed.sources);
	if (m->has_watcher)
		pm_watcher_release();
	m->has_watcher = false;
	free(m->member);
	m->member = NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The write lease (fcntl(2) F_SETLEASE): as long as it is held nobody else has the file open, so nobody can share its
 * extents, which is what breaks MAP_SYNC. Who opens the file is kept waiting until it is given back, at most
 * /proc/sys/fs/lease-break-time (fs/locks.c __break_lease).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "mapping/mapping.h"
#include "kernel/trusted_sync.h"
#include "sys/sys.h"

#define PATIENCE 64 /* looks, at most, from one attempt to return to lines to the next */

/* 0, or EBADF: the program took the descriptor away, and a lease is not to be touched on what it is now. */
static int ours(struct pm_mapping *m)
{
	struct statx now;
	return m->watch.established && pm_kept_file_look(&m->file.identity, &now) == -EBADF ? EBADF : 0;
}

/*
 * Whom a break signals must be said first: the kernel forgets it with each lease (fs/locks.c lease_modify) and then names
 * the process (lease_setup). It is the library's thread, where every signal is blocked, which reads it from a descriptor.
 * Without one it is nobody; for the instant until the kernel knows that, a signal whose default is to be ignored.
 */
void pm_lease_take(struct pm_mapping *m)
{
	int fd = m->file.fd;
	int rc = -ours(m);
	if (!rc)
		rc = PM_RETRY(pm_sys->lease_signal(fd, m->flags & PM_NO_THREAD ? SIGURG : SIGIO));
	if (!rc)
		rc = PM_RETRY(pm_sys->setlease(fd, F_WRLCK));
	if (m->flags & PM_NO_THREAD && rc != -EBADF)
		PM_RETRY(pm_sys->lease_silence(fd));
	m->watch.lease_error = -rc;
	atomic_store(&m->watch.lease_held, !rc);
}

void pm_lease_end(struct pm_mapping *m)
{
	if (atomic_exchange(&m->watch.lease_held, false) && !ours(m))
		PM_RETRY(pm_sys->setlease(m->file.fd, F_UNLCK));
}

/* The facts without the lease; where they cannot be had, the safe side. */
static struct pm_decision without_lease(struct pm_mapping *m)
{
	pm_evidence_table e;
	struct pm_subject s;
	struct pm_decision d = m->decision;
	if (!pm_mapping_judge(m, m->length, e, &s, &d) || d.granularity <= PM_PAGE)
		return d;
	d.granularity = PM_PAGE;
	d.sync = PM_UNKNOWN;
	d.grade = PM_GRADE_ACCEPTED;
	d.verdict = m->ask.sync == PM_GUARANTEE ? PM_VERDICT_REFUSED : PM_VERDICT_DEMOTED;
	d.error = m->ask.sync == PM_GUARANTEE ? -PM_ENOTSYNC : 0;
	d.reason = PM_REASON_LEASE_REFUSED;
	d.advice = PM_ADVICE_CLOSE_OTHER_OPENS;
	return d;
}

/*
 * Switches the strategy first, then writes everything back, then lets the intruder in. The write-back settles the calls
 * under way as well: it takes the right to write from every page, so a store it did not see faults after it, and
 * whoever flushes that store by then finds the new strategy.
 */
static void give_back(struct pm_mapping *m, struct pm_event_batch *batch)
{
	unsigned count = batch->count;
	bool had_lines = atomic_load(&m->granularity) >= PM_CACHE_LINE;
	atomic_store(&m->watch.lease_held, false);
	m->watch.lease_error = EAGAIN;
	struct pm_decision d = without_lease(m);
	pm_mapping_adopt(m, &d, false, batch);
	batch->count = count; /* the cause is the event, not that it fell back */
	if (had_lines && atomic_load(&m->granularity) == PM_PAGE) {
		int rc = pm_strategy_writeback.sync(&m->medium);
		if (rc)
			pm_mapping_failed_unasked(m, rc, batch);
	}
	bool forced = ours(m) || PM_RETRY(pm_sys->setlease(m->file.fd, F_UNLCK)) == -EAGAIN;
	pm_event_batch_add(batch, PM_EVENT_LEASE_BROKEN, forced ? PM_REASON_LEASE_FORCED : PM_REASON_LEASE_BROKEN);
}

/* What was done to the file meanwhile and can be undone: what was prepared may not be so any more. */
static bool is_mendable(const struct pm_mapping *m, const pm_evidence_table e, const struct pm_subject *s)
{
	if (e[PM_EV_FSYNC_COMPLETE].state != PM_YES) /* for that there is no mending */
		return false;
	bool whole = s->stx.stx_size >= s->end && e[PM_EV_ALLOCATED].state == PM_YES;
	return m->prepared || (whole && e[PM_EV_UNSHARED].state == PM_NO);
}

/*
 * Nobody else has the file open. What stands in the way is undone by write faults, since FALLOC_FL_UNSHARE_RANGE goes
 * through the page cache even on a DAX file before Linux 6.1.113 and 6.2 (fs/xfs/xfs_reflink.c xfs_reflink_unshare), and
 * then the mapping shows what once was there.
 */
static int mend(struct pm_mapping *m, const pm_evidence_table e, const struct pm_subject *s, struct pm_event_batch *batch)
{
	struct pm_file *f = &m->file;
	int rc = 0;
	f->call = "the lease";
	f->size = s->stx.stx_size;
	if (is_mendable(m, e, s))
		rc = pm_file_prepare(f, s->offset, s->length, true);
	if (rc)
		return rc;
	/* Not in the list of drains: on DAX it need not be (medium.c). */
	rc = pm_sync_file(f->fd, f->fsync_complete, false);
	if (rc)
		pm_mapping_failed_unasked(m, rc, batch);
	return rc;
}

/* Whether user space commits alone again. */
static bool return_to_lines(struct pm_mapping *m, struct pm_event_batch *batch)
{
	pm_evidence_table e;
	struct pm_subject s;
	struct pm_decision d;
	if (pm_mapping_judge(m, m->length, e, &s, &d) || (d.granularity <= PM_PAGE && !is_mendable(m, e, &s)))
		return false;
	/* What the intruder did is seen now or never. */
	pm_watch_compare(m, e, &s, batch);
	int rc = mend(m, e, &s, batch);
	pm_watch_discard(m);
	if (rc || pm_mapping_judge(m, m->length, e, &s, &d) || pm_mapping_error(m) || d.granularity <= PM_PAGE)
		return false;
	/* Mending may have taken long. */
	if (PM_RETRY(pm_sys->getlease(m->file.fd)) != F_WRLCK)
		return false;
	pm_mapping_adopt(m, &d, true, batch);
	return true;
}

/* With the lease held. What failed is tried again, each time after twice as many looks. */
static void try_to_return(struct pm_mapping *m, struct pm_event_batch *batch)
{
	struct pm_watch *w = &m->watch;
	if (!m->synchronous || atomic_load(&m->granularity) != PM_PAGE || pm_mapping_error(m))
		return;
	if (w->pause) {
		w->pause--;
		return;
	}
	w->patience = return_to_lines(m, batch) ? 0 : w->patience ? w->patience * 2 : 1;
	w->patience = w->patience > PATIENCE ? PATIENCE : w->patience;
	w->pause = w->patience;
}

void pm_lease_turn(struct pm_mapping *m, struct pm_event_batch *batch)
{
	struct pm_watch *w = &m->watch;
	if (!(m->flags & PM_LEASE))
		return;
	if (atomic_load(&w->lease_held) && PM_RETRY(pm_sys->getlease(m->file.fd)) != F_WRLCK) {
		give_back(m, batch);
		return;
	}
	/* Whoever takes it is signalled. */
	if (!(m->flags & PM_NO_THREAD) && !pthread_equal(pthread_self(), w->thread))
		return;
	if (!atomic_load(&w->lease_held)) {
		w->pause = w->patience = 0;
		pm_lease_take(m);
	}
	if (atomic_load(&w->lease_held))
		try_to_return(m, batch);
}

void pm_lease_poll(struct pm_mapping *m)
{
	struct pm_event_batch batch;
	if (!atomic_load(&m->watch.lease_held) || PM_RETRY(pm_sys->getlease(m->file.fd)) == F_WRLCK)
		return;
	pthread_mutex_lock(&m->watch.lock);
	pm_mapping_begin_batch(m, &batch);
	/* Another thread may have done it meanwhile. */
	if (atomic_load(&m->watch.lease_held))
		pm_lease_turn(m, &batch);
	pthread_mutex_unlock(&m->watch.lock);
	pm_mapping_publish(m, &batch);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Live reports, what a changed one does to the mapping, and probing. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "mapping/mapping.h"
#include "sys/sys.h"

/*
 * Switches to the kernel's write-back, also where that promises nothing any more. A device-dax has no write-back: it goes
 * on flushing lines, which is all that can be done, and only says less.
 */
static void demote(struct pm_mapping *m, enum pm_granularity to)
{
	if (m->ask.backing == PM_BACKING_FILE && to <= PM_PAGE) {
		if (atomic_load(&m->granularity) > PM_PAGE) {
			pm_page_demoted(&m->medium.writeback);
			pm_mapping_set_strategy(m, &pm_strategy_writeback);
		}
	} else if (to == PM_CACHE_LINE && atomic_load(&m->strategy) != &pm_strategy_line_after_page) {
		pm_mapping_set_strategy(m, &pm_strategy_cacheline);
	}
	atomic_store(&m->granularity, to);
}

/*
 * Lines again. What was flushed until now was recorded for the kernel's write-back: the strategy for a promoted mapping
 * completes that as well.
 */
static void promote(struct pm_mapping *m, enum pm_granularity to)
{
	pm_page_promoted(&m->medium.writeback);
	pm_mapping_set_strategy(m, &pm_strategy_line_after_page);
	atomic_store(&m->granularity, to);
}

/* Called with the lock held. Returns the event that it is, 0 if it is none. */
static int adopt_locked(struct pm_mapping *m, const struct pm_decision *d, bool may_promote)
{
	enum pm_granularity now = atomic_load(&m->granularity);
	bool was_met = m->decision.verdict != PM_VERDICT_REFUSED;
	m->decision = *d;
	if (d->granularity > now && now == PM_PAGE && may_promote && m->synchronous) {
		promote(m, d->granularity);
		return PM_EVENT_PROMOTED;
	}
	/* Nothing is left to fall back to where no store is durable any more. */
	bool fails = m->flags & PM_FAIL_ON_DEMOTION || d->error == -PM_EVOLATILE;
	if (d->verdict == PM_VERDICT_REFUSED && was_met && fails) {
		atomic_store(&m->lost, d->error);
		atomic_store(&m->persist_lines, NULL);
	}
	if (d->granularity > now) {
		/* Not taken up: the mapping was made without it, and user space must not commit alone. */
		m->decision.granularity = now;
		if (now >= PM_CACHE_LINE)
			return 0;
		m->decision.sync = PM_NO;
		/* From none to pages: what the medium lacked was mended, and what else is amiss is usual of pages. */
		bool is_mended = now == PM_NONE && (d->reason == PM_REASON_PAGE_CACHE || d->reason == PM_REASON_AVOIDED);
		if (d->grade < PM_GRADE_TRUSTED && !is_mended) /* there is worse */
			return 0;
		m->decision.grade = PM_GRADE_ACCEPTED;
		m->decision.verdict = m->ask.sync == PM_GUARANTEE ? PM_VERDICT_REFUSED : PM_VERDICT_DEMOTED;
		m->decision.reason = PM_REASON_NOT_PROMOTED;
		m->decision.advice = PM_ADVICE_MAP_AGAIN;
		return 0;
	}
	if (d->granularity == now)
		return 0;
	demote(m, d->granularity);
	return PM_EVENT_DEMOTED;
}

void pm_mapping_adopt(struct pm_mapping *m, const struct pm_decision *d, bool may_promote, struct pm_event_batch *batch)
{
	pthread_mutex_lock(&m->lock);
	int kind = adopt_locked(m, d, may_promote);
	pthread_mutex_unlock(&m->lock);
	if (kind)
		pm_event_batch_add(batch, (enum pm_event_kind)kind, d->reason);
}

static void fill(struct pm_report *r, const struct pm_decision *d, const struct pm_ask *ask)
{
	r->size = sizeof(*r);
	r->granularity = d->granularity;
	r->sync = d->sync;
	r->direct = d->direct;
	r->grade = d->grade;
	r->verdict = d->verdict;
	r->reason = d->reason;
	r->advice = d->advice;
	r->sync_request = ask->sync;
	r->direct_request = ask->direct;
}

int pm_mapping_judge(struct pm_mapping *m, uint64_t length, pm_evidence_table e, struct pm_subject *s,
                     struct pm_decision *ret)
{
	bool try_sync = m->ask.sync != PM_AVOID && m->ask.direct != PM_AVOID;
	struct pm_file now = m->file;
	*s = (struct pm_subject){.backing = PM_BACKING_ANONYMOUS, .fd = -1};
	pm_evidence_clear(e);
	if (m->ask.backing != PM_BACKING_ANONYMOUS) {
		/* The size may have changed under us; if the file does not answer, what was known stands. */
		int rc = PM_RETRY(pm_sys->statx(now.fd, "", AT_EMPTY_PATH, &now.stx));
		rc = pm_kept_file_check(&m->file.identity, &now.stx, rc);
		/* Another file says nothing of this one. */
		now.fd = rc == -EBADF ? -1 : now.fd;
		if (!rc && S_ISREG(now.stx.stx_mode))
			pm_mapping_note_end(m, now.stx.stx_size);
		m->file.stx = rc ? m->file.stx : now.stx;
		now.stx = m->file.stx;
		pm_mapping_subject(&now, &m->ask, m->offset, length, !(m->flags & PM_READ_ONLY), s);
		s->file_error = -rc;
		s->map = m->medium.map;
		s->uses_libpmem = m->medium.libpmem;
		s->lease_held = m->watch.lease_held;
		s->lease_error = m->watch.lease_error;
		s->syncs = m->syncs | (atomic_load(&m->medium.can_write_ranges) == PM_YES ? PM_CALL_SYNC_FILE_RANGE : 0);
		s->watched = m->watch.sources < 0 ? PM_UNKNOWN : m->watch.inotify < 0 ? PM_NO : PM_YES;
		s->watch_error = m->watch.error;
		s->emergency = m->watch.emergency;
	}
	pm_evidence_for_decision(e, s, try_sync);
	int rc = pm_evidence_shortage(e);
	if (rc)
		return rc;
	pm_evidence_for_look(e, s);
	*ret = pm_decide(e, &m->ask);
	return 0;
}

void pm_mapping_failed_unasked(struct pm_mapping *m, int rc, struct pm_event_batch *batch)
{
	pm_latch_fail(m->latch, atomic_load(&m->cleared), rc);
	if (pm_mapping_is_news(m))
		pm_event_batch_add(batch, PM_EVENT_WRITE_BACK_FAILED, PM_REASON_WRITE_BACK_FAILED)->error = rc;
}

/*
 * What another process wrote, allocated or cut is made durable before it is told, and before lines are promised on: they
 * do not cover it (medium.c).
 */
static void cover_others(struct pm_mapping *m, struct pm_event_batch *batch)
{
	/* Also where a hole that was punched first has made the mapping fall back meanwhile. */
	if (!m->synchronous || pm_mapping_error(m) || !pm_watch_is_written(m))
		return;
	int rc = pm_commit_inode(&m->medium);
	if (rc)
		pm_mapping_failed_unasked(m, rc, batch);
}

int pm_mapping_look(struct pm_mapping *m, struct pm_report *r, bool all, struct pm_event_batch *batch)
{
	struct pm_subject s;
	struct pm_decision fresh;
	pm_lease_turn(m, batch);
	cover_others(m, batch);
	int rc = pm_mapping_judge(m, m->length, r->evidence, &s, &fresh);
	if (rc)
		return rc;
	if (all)
		pm_evidence_for_report(r->evidence, &s);
	/* Only the options of the mount tell, which few looks read. */
	if (!m->watch.emergency && s.emergency) {
		m->watch.emergency = true;
		fresh = pm_decide(r->evidence, &m->ask);
	}
	pm_mapping_adopt(m, &fresh, false, batch);
	pm_watch_compare(m, r->evidence, &s, batch);
	/* What was announced while this look was made is told by it as well. */
	if (m->watch.unsettled)
		cover_others(m, batch);
	return 0;
}

static struct pm_event_state state_of(struct pm_mapping *m)
{
	pthread_mutex_lock(&m->lock);
	struct pm_event_state state = {.granularity = atomic_load(&m->granularity), .sync = m->decision.sync,
	                               .direct = m->decision.direct, .offset = m->offset, .length = m->length};
	pthread_mutex_unlock(&m->lock);
	return state;
}

void pm_mapping_begin_batch(struct pm_mapping *m, struct pm_event_batch *batch)
{
	struct pm_event_state before = state_of(m);
	pm_event_batch_begin(batch, &before);
}

void pm_mapping_publish(struct pm_mapping *m, struct pm_event_batch *batch)
{
	if (!batch->count)
		return;
	struct pm_event_state after = state_of(m);
	bool is_watcher = m->watch.running && pthread_equal(pthread_self(), m->watch.thread);
	if (pm_events_publish(&m->events, batch, &after, is_watcher))
		pm_notifier_wake();
}

/* No durability call succeeds any more; only a file system that is not there is worse. */
static void blame_poison(struct pm_report *r)
{
	bool guaranteed = r->sync_request == PM_GUARANTEE || r->direct_request == PM_GUARANTEE;
	r->verdict = guaranteed ? PM_VERDICT_REFUSED : PM_VERDICT_DEMOTED;
	r->grade = r->grade > PM_GRADE_ACCEPTED ? PM_GRADE_ACCEPTED : r->grade;
	if (r->reason == PM_REASON_DEVICE_GONE || r->reason == PM_REASON_SHUT_DOWN)
		return;
	r->reason = PM_REASON_WRITE_BACK_FAILED;
	r->advice = PM_ADVICE_CLEAR_ERROR;
}

/* Nothing is known of the file, and a write-back through its descriptor would be of another file. */
static void blame_descriptor(struct pm_report *r, bool all)
{
	bool guaranteed = r->sync_request == PM_GUARANTEE || r->direct_request == PM_GUARANTEE;
	r->verdict = guaranteed ? PM_VERDICT_REFUSED : PM_VERDICT_DEMOTED;
	r->grade = PM_GRADE_NONE;
	r->sync = r->sync == PM_YES ? PM_UNKNOWN : r->sync;
	r->reason = PM_REASON_DESCRIPTOR_LOST;
	r->advice = PM_ADVICE_MAP_AGAIN;
	r->error = r->error ? r->error : -EBADF;
	if (all)
		pm_evidence_set(&r->evidence[PM_EV_OWN_DESCRIPTION], PM_NO, EBADF, "statx(2)", "closed or reused by the program");
}

int pm_mapping_report(struct pm_mapping *m, const char *call, struct pm_report *r, bool all)
{
	struct pm_event_batch batch;
	pthread_mutex_lock(&m->watch.lock);
	pm_mapping_begin_batch(m, &batch);
	int rc = pm_mapping_look(m, r, all, &batch);
	pthread_mutex_unlock(&m->watch.lock);
	pm_mapping_publish(m, &batch);
	if (rc)
		return pm_fail(rc, call, m->name, "the evidence cannot be gathered: %s", pm_strerror(rc));
	pthread_mutex_lock(&m->lock);
	fill(r, &m->decision, &m->ask);
	r->offset = m->offset;
	r->length = m->length;
	pthread_mutex_unlock(&m->lock);
	r->error = pm_mapping_error(m);
	if (r->error)
		blame_poison(r);
	r->error = r->error ? r->error : atomic_load(&m->lost);
	if (atomic_load(&m->file.identity.lost))
		blame_descriptor(r, all);
	return 0;
}

/* ---- What pm_map() makes of a file ---- */

/* A created file on a direct medium is prepared without being asked, as long as it may be. */
bool pm_mapping_will_prepare(const struct pm_options *o, bool created, pm_evidence_table e)
{
	return o->flags & PM_PREPARE || (created && !(o->flags & PM_SPARSE) && e[PM_EV_DAX].state == PM_YES);
}

void pm_mapping_assume(pm_evidence_table e, const struct pm_options *o, bool grown, bool prepared)
{
	static const char *const source = "what growing and preparing will make of it";
	if (grown && e[PM_EV_IN_FILE].state == PM_NO)
		pm_evidence_set(&e[PM_EV_IN_FILE], PM_YES, 0, source, NULL);
	if (prepared) {
		pm_evidence_set(&e[PM_EV_ALLOCATED], PM_YES, 0, source, NULL);
		pm_evidence_set(&e[PM_EV_EXTENTS_WRITTEN], PM_YES, 0, source, NULL);
		pm_evidence_set(&e[PM_EV_UNSHARED], PM_YES, 0, source, NULL);
	} else if (grown) {
		pm_evidence_set(&e[PM_EV_ALLOCATED], o->flags & PM_SPARSE ? PM_NO : PM_YES, 0, source, NULL);
		pm_evidence_set(&e[PM_EV_EXTENTS_WRITTEN], PM_NO, 0, source, NULL);
	}
}

/* ---- Probing ---- */

/*
 * Whether the file lets itself be mapped so, and grown: nothing else that pm_map() does to it can be tried without a trace.
 * Only what is there is mapped: to map a hugetlbfs for writing grows the file (fs/hugetlbfs/inode.c hugetlbfs_file_mmap).
 */
static int try_to_map(const struct pm_file *f, const struct pm_ask *ask, struct pm_subject s, bool synchronous)
{
	uint64_t there = (f->size + f->unit - 1) / f->unit * f->unit;
	void *map = NULL;
	int limited = s.end > f->size ? pm_file_within_limit(f, s.end) : 0;
	if (limited)
		return limited;
	bool huge = f->unit > (size_t)sysconf(_SC_PAGESIZE);
	if (s.offset + s.length > there)
		s.length = there > s.offset ? there - s.offset : huge ? 0 : f->unit;
	int rc = s.length ? pm_mapping_mmap(f, ask, &s, synchronous, &map) : 0;
	if (map)
		PM_RETRY(pm_sys->munmap(map, (size_t)s.length));
	return rc;
}

static int look(struct pm_file *f, const struct pm_options *o, uint64_t length, struct pm_report *r)
{
	struct pm_subject s;
	struct pm_ask ask = pm_mapping_ask(o, f);
	pm_mapping_subject(f, &ask, o->offset, length, !(o->flags & PM_READ_ONLY), &s);
	s.syncs = pm_mapping_syncs(f, o);
	/* The stand-in for a file that is not there yet has no name. */
	s.name = f->created ? NULL : s.name;
	s.unseen = true;
	pm_evidence_for_decision(r->evidence, &s, o->sync != PM_AVOID && o->direct != PM_AVOID);
	int rc = o->sync == PM_GUARANTEE ? pm_evidence_shortage(r->evidence) : 0;
	if (rc)
		return pm_fail(rc, f->call, f->name, "the evidence cannot be gathered: %s", pm_strerror(rc));
	pm_evidence_for_look(r->evidence, &s);
	/* The verdict is on what pm_map() would see, and make of the file; the rows stay what was found. */
	pm_evidence_table assumed;
	memcpy(assumed, r->evidence, sizeof(assumed));
	pm_mapping_assume(assumed, o, o->offset + length > f->size,
	                  pm_mapping_will_prepare(o, f->created, assumed));
	/* Trying would be seen, and broken by this look. */
	if (ask.lease)
		pm_evidence_set(&assumed[PM_EV_LEASE_HELD], PM_YES, 0, "what asking for it will give", NULL);
	struct pm_decision d = pm_decide(assumed, &ask);
	bool synchronous = d.granularity >= PM_CACHE_LINE || (ask.lease && assumed[PM_EV_MAP_SYNC].state == PM_YES);
	rc = d.verdict == PM_VERDICT_REFUSED ? 0 : try_to_map(f, &ask, s, synchronous);
	if (rc)
		return rc;
	pm_evidence_for_report(r->evidence, &s);
	/* One that pm_map() will make longer is not cut off. */
	r->evidence[PM_EV_IN_FILE] = assumed[PM_EV_IN_FILE];
	fill(r, &d, &ask);
	return 0;
}

static int probe_anonymous(const struct pm_options *o, struct pm_report *r)
{
	struct pm_subject s = {.backing = PM_BACKING_ANONYMOUS, .fd = -1};
	struct pm_ask ask = pm_mapping_ask(o, NULL);
	pm_evidence_for_decision(r->evidence, &s, false);
	pm_evidence_for_report(r->evidence, &s);
	struct pm_decision d = pm_decide(r->evidence, &ask);
	fill(r, &d, &ask);
	r->length = o->length;
	return 0;
}

int pm_mapping_probe(const char *path, const struct pm_options *o, struct pm_report *r)
{
	struct pm_file f = {.call = "pm_probe", .name = path, .fd = -1, .directory_fd = -1};
	memset(r, 0, sizeof(*r));
	pm_evidence_clear(r->evidence);
	if (o->flags & PM_ANONYMOUS)
		return probe_anonymous(o, r);
	int rc = pm_file_open_unseen(&f, path, o);
	r->size = sizeof(*r);
	r->sync_request = o->sync;
	r->direct_request = o->direct;
	r->offset = o->offset;
	if (rc == -EOPNOTSUPP) /* no unnamed file in that directory: nothing to look at */
		return 0;
	if (rc)
		return rc;
	rc = pm_mapping_range(&f, o, &r->length);
	if (!rc)
		rc = look(&f, o, r->length, r);
	pm_file_close(&f);
	return rc;
}

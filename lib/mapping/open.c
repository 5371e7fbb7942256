/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "durability/writeback_calls.h"
#include "error.h"
#include "facts/evidence.h"
#include "facts/extents.h"
#include "facts/gather.h"
#include "facts/name.h"
#include "facts/subject.h"
#include "file/claim.h"
#include "file/close.h"
#include "file/open.h"
#include "file/sync.h"
#include "file/undo.h"
#include "kernel/attribute.h"
#include "kernel/limits.h"
#include "kernel/populate.h"
#include "kernel/trusted_sync.h"
#include "mapping/area.h"
#include "mapping/calls.h"
#include "mapping/gate.h"
#include "mapping/naming.h"
#include "mapping/shape.h"
#include "mapping/watch.h"
#include "observe/observe.h"
#include "sys/sys.h"
#include "sys/trace.h"

#define ATTEMPTS 40 /* another process may create and remove the file again and again */

static int map_pages(struct pm_mapping *m, struct pm_area_wish wish, const struct pm_subject *s)
{
	size_t area = m->reserved ? m->reserved : (size_t)s->length;
	if (pm_page_set_reserve(&m->medium.writeback.recorded, area))
		return pm_fail(-ENOMEM, m->file.call, m->file.name, "out of memory");
	if (m->mapped.is_prepared && !wish.address)
		wish.address = pm_area_huge_page_hint(s->offset, area);
	m->is_fixed = wish.is_fixed;
	void *map = NULL;
	int rc = pm_area_map(&m->file, &m->mapped.requested, s, m->terms.is_synchronous, m->reserved, &wish, &map);
	if (rc)
		return rc;
	m->medium.is_of_single_pages = pm_area_advise(&m->mapped.requested, s, map, area);
	if (m->medium.is_of_single_pages && !m->file.created)
		pm_area_split_folios(&m->file, &m->mapped.requested, s, map);
	m->medium.map = map;
	m->medium.map_length = (size_t)s->length;
	m->medium.offset = s->offset;
	m->base = m->medium.map + (m->mapped.range.offset - s->offset);
	m->length = m->mapped.range.length;
	return 0;
}

static void populate(struct pm_mapping *m)
{
	if (m->mapped.is_prepared && !(m->flags & PM_READ_ONLY))
		pm_populate_prepared(m->medium.map, m->medium.map_length, pm_file_is_direct(&m->file));
}

/* A prepared range is written, and pm_file_sync() calls syncfs(2) after that. */
static enum pm_fsync first_fsync(const struct pm_mapping *m, const struct pm_subject *s)
{
	if (!s->found.fsync_may_skip_inode)
		return PM_FSYNC_COMPLETE;
	bool is_written = m->mapped.is_prepared && S_ISREG(m->file.stx.stx_mode);
	return is_written ? PM_FSYNC_COMPLETE_WHILE_WRITTEN : PM_FSYNC_NEEDS_SYNCFS;
}

static void choose_strategy(struct pm_mapping *m, const struct pm_subject *s)
{
	m->medium.cpu = pm_cpu();
	m->medium.fd = s->fd;
	m->medium.identity = m->file.kept ? &m->file.identity : NULL;
	m->medium.reach = m->mapped.range.offset + m->mapped.range.length;
	m->medium.read_only = m->flags & PM_READ_ONLY;
	m->medium.is_device = !S_ISREG(m->file.stx.stx_mode);
	m->medium.file_system = s->found.file_system;
	m->medium.device_dax = pm_mapping_backing(m) == PM_BACKING_DEVICE_DAX;
	m->medium.region = s->found.region;
	m->medium.flush_caches_before_msync = s->found.caches_may_stay && pm_mapping_backing(m) == PM_BACKING_FILE;
	m->medium.device_major = s->stx.stx_dev_major;
	m->medium.device_minor = s->stx.stx_dev_minor;
	m->medium.fsync_skips_flush = pm_fsync_skips_flush(s->found.fsync_may_skip_inode, s->found.file_system);
	atomic_store(&m->medium.fsync, (unsigned char)first_fsync(m, s));
	if (m->terms.decision.granularity >= PM_CACHE_LINE)
		m->medium.libpmem = pm_libpmem_load(NULL);
	pm_terms_begin(&m->terms, &m->medium);
}

/* The mapping exists. A new file gets its name last: until then a failure leaves nothing. */
static int finish_open(struct pm_mapping *m, const struct pm_options *o)
{
	bool unnamed = m->file.unnamed;
	int rc = pm_file_link(&m->file, o);
	if (!rc && unnamed)
		rc = pm_file_sync(&m->file);
	if (!rc)
		populate(m);
	if (!rc)
		rc = pm_mapping_recheck_lease(m, o);
	if (rc)
		PM_RETRY(pm_sys->munmap(m->medium.map, pm_mapping_area(m)));
	return rc;
}

/*
 * Whether MAP_SYNC must be tried to decide. On a file that is not DAX the trial could only show that something ignores
 * the flag. Under a hint that changes nothing, and every report shows it.
 */
static bool sync_is_open(const struct pm_file *f, const struct pm_options *o)
{
	uint64_t known = f->stx.stx_attributes_mask & STATX_ATTR_DAX;
	bool page_cache = known && !(f->stx.stx_attributes & known) && f->backing != PM_BACKING_DEVICE_DAX;
	bool hints = o->sync == PM_HINT && o->direct == PM_HINT;
	return o->sync != PM_AVOID && o->direct != PM_AVOID && !(hints && page_cache);
}

/*
 * Gathers the evidence, assumes what pm_map() will make of the file, and decides. A refusal comes before the file is
 * touched.
 */
static int decide(struct pm_mapping *m, const struct pm_options *o, pm_evidence_table e, struct pm_subject *s)
{
	struct pm_file *f = &m->file;
	m->mapped.file = f;
	m->mapped.requested = pm_assess_request(o, f);
	m->mapped.is_path_unsynced = !f->created;
	pm_assess_subject(f, &m->mapped.requested, m->mapped.range, !(o->flags & PM_READ_ONLY), s);
	s->syncs = m->mapped.syncs = pm_assess_syncs(f, o);
	s->syncs_of_lines = m->mapped.syncs_of_lines = pm_assess_syncs_of_lines(f);
	s->is_anew = o->sync == PM_GUARANTEE;
	s->just_opened = !f->callers && !f->borrowed && !(o->flags & (PM_READ_ONLY | PM_PRIVATE));
	s->lease_held = m->observed.lease.is_held;
	s->lease_error = m->observed.lease.error;
	pm_evidence_clear(e);
	pm_evidence_for_decision(e, s, sync_is_open(f, o));
	pm_mapping_name_at_first(m, e, s);
	int rc = o->sync == PM_GUARANTEE ? pm_evidence_shortage(e) : 0;
	if (rc)
		return pm_limit_no_evidence(f->name, f->call, rc);
	m->mapped.is_prepared = pm_assess_will_prepare(o, f->created, e);
	pm_assess_assume(e, o, m->mapped.range.offset + m->mapped.range.length > f->size, m->mapped.is_prepared);
	m->terms.decision = pm_decide(e, &m->mapped.requested);
	if (m->terms.decision.verdict != PM_VERDICT_REFUSED) {
		rc = pm_mapping_check_lease(m, o, e, s);
		if (rc)
			return rc;
		m->terms.decision = pm_decide(e, &m->mapped.requested);
	}
	return m->terms.decision.verdict == PM_VERDICT_REFUSED ? pm_assess_refuse(f, &m->terms.decision) : 0;
}

/* A decision for pages needs no extents; a hole or a clone is an event only where there was none before. */
static void take_snapshot(struct pm_mapping *m, pm_evidence_table e, struct pm_subject *s)
{
	pm_own_write_end(&m->observed.sources);
	bool is_listened_to = m->observed.events.handler || m->flags & (PM_WATCH | PM_LEASE);
	if (is_listened_to && e[PM_EV_ALLOCATED].state == PM_UNKNOWN)
		pm_evidence_extents(e, s);
	pm_snapshot_take(&m->observed.snapshot, e, s, m->mapped.range);
}

/* The options are checked; m->file is open. On failure the caller undoes and closes the file. */
static int establish(struct pm_mapping *m, const struct pm_options *o)
{
	pm_evidence_table e;
	struct pm_subject s;
	struct pm_area_wish wish;
	struct pm_file *f = &m->file;
	int rc = pm_assess_range(f, o, &m->mapped.range);
	if (!rc)
		rc = pm_area_try_reserve(f, o->reserve, m->mapped.range.offset, m->mapped.range.length,
		                         &m->reserved);
	if (!rc)
		rc = pm_mapping_watch_start(m, o);
	if (!rc)
		rc = decide(m, o, e, &s);
	if (!rc)
		rc = pm_area_take_wish(f, o, &s, &wish);
	if (rc)
		return rc;
	f->read_only = o->flags & PM_READ_ONLY;
	f->fsync_complete = s.found.fsync_complete;
	f->f_type = s.found.file_system ? s.found.file_system : f->f_type;
	rc = pm_mapping_shape_file(m, o, e, &s);
	if (rc)
		return rc;
	/* A mapping that may be promoted needs the flag from the start: mmap(2) alone can set it. */
	m->terms.is_synchronous = m->terms.decision.granularity >= PM_CACHE_LINE ||
	                          (m->observed.lease.is_wanted && e[PM_EV_MAP_SYNC].state == PM_YES);
	rc = map_pages(m, wish, &s);
	if (!rc)
		rc = finish_open(m, o);
	if (rc)
		return rc;
	pm_shared_file_set_end(&m->errors.user, m->mapped.range.offset + m->mapped.range.length);
	choose_strategy(m, &s);
	if (f->created)
		pm_name_remember(&f->place, f->fd, &f->stx);
	take_snapshot(m, e, &s);
	return 0;
}

/* Counts the mappings that have left their shared file. */
static atomic_uint unmap_generation;

static void leave_shared_file(struct pm_mapping *m)
{
	atomic_fetch_add(&unmap_generation, 1);
	pm_shared_file_leave(m->errors.shared, &m->errors.user);
}

/*
 * Joins before the size counts: until the end of this mapping is known, no mapping of this process cuts the file. Only
 * a mapping that has joined cuts it, so the size seen at opening stands if there is no other mapping and none has left
 * since.
 */
static int join_and_establish(struct pm_mapping *m, const struct pm_options *o, unsigned generation)
{
	bool alone;
	m->file.kept = true;
	pm_kept_file_keep(&m->file.identity, m->file.fd, &m->file.stx, m->file.borrowed);
	m->errors.user.end = UINT64_MAX;
	m->errors.user.fd = m->observed.lease.fd = m->file.fd;
	pm_openers_of(&m->observed.openers, m->file.fd, &m->file.stx);
	m->errors.shared = pm_shared_file_join(&m->file.stx, &m->errors.user, &alone);
	if (!m->errors.shared) {
		int rc = pm_fail(-ENOMEM, m->file.call, m->file.name, "out of memory");
		pm_file_undo(&m->file);
		return rc;
	}
	bool stands = alone && atomic_load(&unmap_generation) == generation;
	int rc = stands ? 0 : pm_file_stat(&m->file);
	if (!rc)
		rc = establish(m, o);
	if (!rc) {
		pm_file_release(&m->file);
		m->file.copied_singly = false;
		return 0;
	}
	/* Before the lease that allows it is released. */
	pm_file_undo(&m->file);
	pm_mapping_watch_end(m);
	/* Perhaps the only report of what another mapping lost. */
	if (m->file.suspect)
		pm_shared_file_fail(m->errors.shared, atomic_load(&m->errors.shared->error_seq), rc);
	leave_shared_file(m);
	return rc;
}

static int establish_anonymous(struct pm_mapping *m, const struct pm_options *o)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	pm_evidence_table e;
	struct pm_subject s = {.backing = PM_BACKING_ANONYMOUS, .fd = -1, .found.region = PM_NO_REGION,
	                       .writable = !(o->flags & PM_READ_ONLY)};
	m->mapped.range.length = o->length;
	m->mapped.requested = pm_assess_request(o, NULL);
	pm_evidence_clear(e);
	pm_evidence_for_decision(e, &s, false);
	m->terms.decision = pm_decide(e, &m->mapped.requested);
	if (m->terms.decision.verdict == PM_VERDICT_REFUSED)
		return pm_assess_refuse(&m->file, &m->terms.decision);
	s.length = (m->mapped.range.length + page - 1) / page * page;
	struct pm_area_wish wish;
	int rc = pm_area_take_wish(&m->file, o, &s, &wish);
	if (!rc)
		rc = map_pages(m, wish, &s);
	if (!rc)
		choose_strategy(m, &s);
	return rc;
}

static struct pm_mapping *allocate(const char *path, int fd, const struct pm_options *o)
{
	struct pm_mapping *m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	if (path || o->flags & PM_ANONYMOUS)
		m->name = strdup(path ? path : "anonymous memory");
	else
		m->name = strdup(pm_name_descriptor(fd).text);
	m->place = pm_place_new();
	if (!m->name || !m->place) {
		pm_place_free(m->place);
		free(m->name);
		free(m);
		return NULL;
	}
	m->file = (struct pm_file){.call = path || o->flags & PM_ANONYMOUS ? "pm_map" : "pm_map_fd",
	                           .name = m->name,
	                           .fd = -1,
	                           .directory_fd = -1};
	m->flags = o->flags;
	m->mapped.range.offset = o->offset;
	pm_observed_init(&m->observed);
	pm_events_init(&m->observed.events, o->on_event, o->event_arg, m, m->name);
	m->observed.name = m->name;
	m->observed.mapped = &m->mapped;
	m->observed.terms = &m->terms;
	m->observed.medium = &m->medium;
	m->observed.errors = &m->errors;
	pm_terms_init(&m->terms);
	m->terms.fails_on_loss = o->flags & PM_FAIL_ON_DEMOTION;
	pm_page_init(&m->medium.writeback);
	pm_medium_init(&m->medium);
	return m;
}

static void release(struct pm_mapping *m)
{
	pm_mapping_watch_end(m);
	pm_observed_destroy(&m->observed);
	pm_file_close(&m->file);
	pm_page_destroy(&m->medium.writeback);
	pm_medium_destroy(&m->medium);
	pm_terms_destroy(&m->terms);
	pm_place_free(m->place);
	free(m->name);
	free(m);
}

/* A hint was not met from the start. */
static void publish_demotion(struct pm_mapping *m)
{
	struct pm_look look = {.range = m->mapped.range};
	look.transition.to = pm_terms_in_force(&m->terms);
	look.transition.reason = m->terms.decision.reason;
	pm_publish(&m->observed, &look, false);
}

/* Where the caller lends the descriptor (PM_BORROW_FD), the library leaves none of its own in the process. */
static bool may_keep_more(const struct pm_mapping *m)
{
	return m->file.kept && !m->file.borrowed;
}

/* One attempt. *by_name and *again as in struct pm_file. */
static int open_once(const char *path, int fd, const struct pm_options *o, struct pm_mapping **ret, bool *by_name,
                     bool *again)
{
	struct pm_mapping *m = allocate(path, fd, o);
	if (!m)
		return pm_fail(-ENOMEM, path ? "pm_map" : "pm_map_fd", path, "out of memory");
	unsigned generation = atomic_load(&unmap_generation);
	int rc;
	m->file.by_name = *by_name;
	if (o->flags & PM_ANONYMOUS) {
		rc = establish_anonymous(m, o);
	} else {
		rc = path ? pm_file_open(&m->file, m->name, o) : pm_file_reopen(&m->file, fd, o);
		if (!rc)
			rc = join_and_establish(m, o, generation);
		*by_name = m->file.by_name;
		*again = rc && (m->file.again || pm_file_was_overtaken(&m->file, rc));
		pm_file_close_directory(&m->file);
	}
	if (rc) {
		release(m);
		return rc;
	}
	m->file.callers = false;
	if (may_keep_more(m))
		pm_attributes_hold();
	pm_place_add(m->place, m->base, (size_t)m->mapped.range.length, m);
	*ret = m;
	if (m->terms.decision.verdict == PM_VERDICT_DEMOTED)
		publish_demotion(m);
	/* Where that event comes from, a caller without a handler knows. */
	m->observed.events.has_listener |= o->flags & (PM_WATCH | PM_LEASE);
	pm_mapping_watch_go(m);
	return 0;
}

static void trace_map(const struct pm_mapping *m)
{
	const struct pm_decision *d = &m->terms.decision;
	pm_trace_map(m->name, m->medium.map, m->mapped.range.length, d->granularity, d->reason);
}

int pm_mapping_open(const char *path, int fd, const struct pm_options *o, struct pm_mapping **ret)
{
	bool by_name = false, again = true;
	int rc = 0;
	for (int attempt = 0; again && attempt < ATTEMPTS; attempt++) {
		again = false;
		rc = open_once(path, fd, o, ret, &by_name, &again);
	}
	if (!rc)
		trace_map(*ret);
	return again && rc == -EEXIST ? -EAGAIN : rc;
}

int pm_mapping_close(struct pm_mapping *m)
{
	/* After a lost guarantee the kernel makes everything durable, and must still do it. */
	int lost = pm_gate_enter(m, "pm_unmap"), rc = pm_errors_current(&m->errors);
	uintptr_t low = (uintptr_t)m->medium.map, high = low + pm_mapping_area(m);
	struct pm_part part;
	bool is_left = pm_parts_first(&m->medium.parts, low, high, &part);
	int drained = rc ? rc : atomic_load(&m->terms.strategy)->drain(&m->medium);
	/* This sees the end of the file, which a drain of lines does not ask for. */
	bool touches = m->terms.is_synchronous && is_left && !pm_medium_check(&m->medium);
	if (!rc)
		rc = pm_gate_leave_drain(m, "pm_unmap", drained);
	rc = rc ? rc : lost;
	if (touches)
		pm_touch(&m->medium);
	pm_mapping_watch_end(m);
	pm_place_remove(m->place);
	int unmapped = 0;
	PM_EACH_PART(one, &m->medium.parts, low, high) {
		int ended = PM_RETRY(pm_sys->munmap((void *)one.low, one.high - one.low));
		unmapped = unmapped ? unmapped : ended;
	}
	if (!rc && unmapped)
		rc = pm_fail(unmapped, "pm_unmap", m->name, "munmap failed: %s", pm_strerror(unmapped));
	if (m->errors.shared)
		leave_shared_file(m);
	bool kept_more = may_keep_more(m);
	release(m);
	if (kept_more)
		pm_attributes_release();
	return rc;
}

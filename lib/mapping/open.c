/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "mapping/mapping.h"
#include "sys/sys.h"

#define HUGE_PAGE ((uintptr_t)2 << 20)
#define ATTEMPTS 40 /* another process may create and remove the file again and again */

struct pm_ask pm_mapping_ask(const struct pm_options *o, const struct pm_file *file)
{
	enum pm_backing backing = file ? file->backing : PM_BACKING_ANONYMOUS;
	if (file && o->flags & PM_PRIVATE)
		backing = PM_BACKING_PRIVATE;
	return (struct pm_ask){.backing = backing, .sync = o->sync, .direct = o->direct,
	                       .trust_kernel = o->flags & PM_TRUST_KERNEL, .lease = o->flags & PM_LEASE,
	                       .read_only = o->flags & PM_READ_ONLY};
}

void pm_mapping_subject(const struct pm_file *f, const struct pm_ask *ask, uint64_t offset, uint64_t length,
                        bool writable, struct pm_subject *s)
{
	uint64_t start = offset - offset % f->unit, end = offset + length;
	*s = (struct pm_subject){.backing = ask->backing, .fd = f->fd, .stx = f->stx, .offset = start,
	                         .unit = f->unit, .writable = writable, .region = ~0u, .name = &f->place};
	s->length = (end - start + f->unit - 1) / f->unit * f->unit;
	s->end = end;
}

/* Rules at the end of the file; *length becomes the real one. */
int pm_mapping_range(const struct pm_file *f, const struct pm_options *o, uint64_t *length)
{
	*length = o->length;
	if (!*length && o->offset < f->size)
		*length = f->size - o->offset;
	bool growable = o->flags & PM_CREATE && S_ISREG(f->stx.stx_mode);
	if (!*length && o->offset > f->size && !growable)
		return pm_fail(-ERANGE, f->call, f->name, "the offset is %llu, the file ends at %llu",
		               (unsigned long long)o->offset, (unsigned long long)f->size);
	if (!*length)
		return pm_fail(-EINVAL, f->call, f->name, "no length was given and there is nothing after the offset");
	if (*length > PTRDIFF_MAX - f->unit)
		return pm_fail(-EOVERFLOW, f->call, f->name, "%llu bytes are more than a process can address",
		               (unsigned long long)*length);
	if (o->offset > INT64_MAX - f->unit - *length)
		return pm_fail(-EOVERFLOW, f->call, f->name, "offset + length overflows");
	if (o->offset + *length > f->size && !growable)
		return pm_fail(-ERANGE, f->call, f->name, "the range ends at %llu, the file at %llu",
		               (unsigned long long)(o->offset + *length), (unsigned long long)f->size);
	if (f->backing == PM_BACKING_DEVICE_DAX && (o->offset % f->unit || *length % f->unit))
		return pm_fail(-EINVAL, f->call, f->name, "offset and length must be multiples of %zu", f->unit);
	return 0;
}

/* ---- Making the mapping ---- */

/* An address at which huge pages are possible, as a hint: nothing is ever mapped over anything. */
static void *huge_page_hint(uint64_t offset, size_t length)
{
	void *room = NULL;
	if (length < HUGE_PAGE ||
	    PM_RETRY(pm_sys->mmap(&room, length + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)))
		return NULL;
	uintptr_t at = (uintptr_t)room, wanted = offset & (HUGE_PAGE - 1);
	uintptr_t skew = (wanted - at) & (HUGE_PAGE - 1);
	PM_RETRY(pm_sys->munmap(room, length + HUGE_PAGE));
	return (void *)(at + skew);
}

/* What a file refuses, and what the caller can do; NULL: there is no more to be said than the error. */
static const char *why_unmappable(int rc, bool shared_to_write)
{
	switch (rc) {
	case -ENODEV:
		return "the file system has no shared mappings of this file (as sysfs, FUSE with direct_io and 9p without a cache): "
		       "use read(2) and write(2), or PM_PRIVATE where that is possible";
	case -EPERM:
		return "the file is sealed against writing (fcntl(2) F_SEAL_WRITE): map it with PM_READ_ONLY or PM_PRIVATE";
	case -ETXTBSY:
		return "the file is swap space in use: swapoff(8) first, or map it with PM_READ_ONLY";
	case -EINVAL:
		return shared_to_write ? "the file system has no shared mappings to write by: map it with PM_READ_ONLY or PM_PRIVATE"
		                       : NULL;
	default:
		return NULL;
	}
}

int pm_mapping_mmap(const struct pm_file *f, const struct pm_ask *ask, const struct pm_subject *s, bool synchronous,
                    void **map)
{
	int prot = PROT_READ | (s->writable ? PROT_WRITE : 0);
	int flags = synchronous ? MAP_SHARED_VALIDATE | MAP_SYNC : MAP_SHARED;
	if (ask->backing == PM_BACKING_PRIVATE)
		flags = MAP_PRIVATE;
	else if (ask->backing == PM_BACKING_ANONYMOUS)
		flags = MAP_PRIVATE | MAP_ANONYMOUS;
	int rc = PM_RETRY(pm_sys->mmap(map, (size_t)s->length, prot, flags, s->fd, s->offset));
	if (!rc)
		return 0;
	const char *why = why_unmappable(rc, s->writable && ask->backing == PM_BACKING_FILE);
	return why ? pm_fail(rc, f->call, f->name, "mmap failed: %s: %s", pm_strerror(rc), why)
	           : pm_mapping_no_room(f->name, f->call, "mmap", (size_t)s->length, rc);
}

static int map_pages(struct pm_mapping *m, const struct pm_subject *s)
{
	if (pm_page_set_reserve(&m->medium.writeback.recorded, (size_t)s->length))
		return pm_fail(-ENOMEM, m->file.call, m->file.name, "out of memory");
	void *map = m->prepared ? huge_page_hint(s->offset, (size_t)s->length) : NULL;
	int rc = pm_mapping_mmap(&m->file, &m->ask, s, m->synchronous, &map);
	if (rc)
		return rc;
	m->medium.map = map;
	m->medium.map_length = (size_t)s->length;
	m->medium.offset = s->offset;
	m->base = m->medium.map + (m->offset - s->offset);
	return 0;
}

/* Spares the first store of each page its fault. The file is prepared; without it all is as durable. */
static void populate(struct pm_mapping *m)
{
	if (m->prepared && !(m->flags & PM_READ_ONLY))
		PM_RETRY(pm_sys->madvise(m->medium.map, m->medium.map_length, MADV_POPULATE_WRITE));
}

void pm_mapping_set_strategy(struct pm_mapping *m, const struct pm_strategy *strategy)
{
	/* Where every call must look at something first, the short cut is closed. */
	bool direct = strategy == &pm_strategy_cacheline && !(m->flags & PM_NO_THREAD) && !atomic_load(&m->lost) &&
	              !atomic_load(&m->file.identity.lost) && !pm_medium_is_cut(&m->medium);
	atomic_store(&m->persist_lines, direct ? m->medium.cpu->persist : NULL);
	atomic_store(&m->strategy, strategy);
}

static void choose_strategy(struct pm_mapping *m, const struct pm_subject *s)
{
	enum pm_granularity g = m->decision.granularity;
	m->medium.cpu = pm_cpu();
	m->medium.fd = s->fd;
	m->medium.identity = m->file.kept ? &m->file.identity : NULL;
	m->medium.reach = m->offset + m->length;
	atomic_store(&m->medium.end, UINT64_MAX);
	m->medium.read_only = m->flags & PM_READ_ONLY;
	m->medium.leased = m->flags & PM_LEASE;
	m->medium.is_device = !S_ISREG(m->file.stx.stx_mode);
	m->medium.file_system = s->file_system;
	m->medium.device_dax = m->ask.backing == PM_BACKING_DEVICE_DAX;
	m->medium.region = s->region;
	m->medium.flush_caches_before_msync = s->caches_may_stay && m->ask.backing == PM_BACKING_FILE;
	m->medium.device_major = s->stx.stx_dev_major;
	m->medium.device_minor = s->stx.stx_dev_minor;
	atomic_store(&m->medium.fsync, s->fsync_may_skip_inode ? PM_FSYNC_NEEDS_SYNCFS : PM_FSYNC_COMPLETE);
	if (g >= PM_CACHE_LINE)
		m->medium.libpmem = pm_libpmem_load(NULL);
	static const struct pm_strategy *const of_granularity[] = {
		[PM_NONE] = &pm_strategy_volatile,
		[PM_PAGE] = &pm_strategy_writeback,
		[PM_CACHE_LINE] = &pm_strategy_cacheline,
		[PM_BYTE] = &pm_strategy_fence,
	};
	bool best_effort = g == PM_NONE && m->decision.best_effort;
	g = !best_effort ? g : m->medium.device_dax ? PM_CACHE_LINE : PM_PAGE;
	pm_mapping_set_strategy(m, of_granularity[g]);
	atomic_store(&m->granularity, m->decision.granularity);
}

/* Under a guarantee the lease that was asked for must be had; else the report says why it was not. */
static int start_watch(struct pm_mapping *m, const struct pm_options *o)
{
	int rc = pm_watch_start(m);
	if (rc)
		return pm_fail(rc, m->file.call, m->file.name, "the file cannot be watched: %s", pm_strerror(rc));
	int error = m->flags & PM_LEASE && !m->watch.lease_held ? -m->watch.lease_error : 0;
	if (!error || o->sync != PM_GUARANTEE)
		return 0;
	const char *why = error == -EAGAIN ? "the file is open elsewhere, by another process or another descriptor" :
	                  error == -EACCES ? "only the owner may take one" : pm_strerror(error);
	return pm_fail(error, m->file.call, m->file.name, "cannot take the lease: %s", why);
}

/* Preparing may have taken longer than the kernel waits for a lease that somebody wants to break. */
static int recheck_lease(struct pm_mapping *m, const struct pm_options *o)
{
	if (o->sync != PM_GUARANTEE || !m->watch.lease_held || PM_RETRY(pm_sys->getlease(m->file.fd)) == F_WRLCK)
		return 0;
	return pm_fail(-EAGAIN, m->file.call, m->file.name,
	               "the lease was broken during preparation: another process is opening the file");
}

/* The mapping is made. A new file gets its name last: until then a failure leaves nothing. */
static int finish(struct pm_mapping *m, const struct pm_options *o)
{
	bool unnamed = m->file.unnamed;
	int rc = pm_file_link(&m->file, o);
	if (!rc && unnamed)
		rc = pm_file_publish(&m->file);
	if (!rc)
		populate(m);
	if (!rc)
		rc = recheck_lease(m, o);
	if (rc)
		PM_RETRY(pm_sys->munmap(m->medium.map, m->medium.map_length));
	return rc;
}

/*
 * Whether MAP_SYNC must be tried to decide. Of a file that is not DAX it could only be found out that somebody swallows
 * the flag: under a hint that changes nothing, and every report says it.
 */
static bool sync_is_open(const struct pm_file *f, const struct pm_options *o)
{
	uint64_t told = f->stx.stx_attributes_mask & STATX_ATTR_DAX;
	bool page_cache = told && !(f->stx.stx_attributes & told) && f->backing != PM_BACKING_DEVICE_DAX;
	bool hints = o->sync == PM_HINT && o->direct == PM_HINT;
	return o->sync != PM_AVOID && o->direct != PM_AVOID && !(hints && page_cache);
}

unsigned pm_mapping_syncs(const struct pm_file *f, const struct pm_options *o)
{
	unsigned publishing = PM_CALL_FSYNC | (f->sync_all ? PM_CALL_SYNCFS : 0);
	bool publishes = o->flags & (PM_CREATE | PM_PREPARE) && S_ISREG(f->stx.stx_mode);
	return (o->flags & PM_READ_ONLY ? PM_CALL_FDATASYNC : PM_CALL_MSYNC) | (publishes ? publishing : 0);
}

/* The options are checked; m->file is open. On failure the caller undoes and closes the file. */
static int establish(struct pm_mapping *m, const struct pm_options *o)
{
	pm_evidence_table e;
	struct pm_subject s;
	struct pm_file *f = &m->file;
	int rc = pm_mapping_range(f, o, &m->length);
	if (!rc)
		rc = start_watch(m, o);
	if (rc)
		return rc;
	m->ask = pm_mapping_ask(o, f);
	pm_mapping_subject(f, &m->ask, m->offset, m->length, !(o->flags & PM_READ_ONLY), &s);
	s.syncs = m->syncs = pm_mapping_syncs(f, o);
	s.is_guaranteed = o->sync == PM_GUARANTEE;
	s.just_opened = !f->callers && !(o->flags & (PM_READ_ONLY | PM_PRIVATE));
	s.lease_held = m->watch.lease_held;
	s.lease_error = m->watch.lease_error;
	pm_evidence_clear(e);
	pm_evidence_for_decision(e, &s, sync_is_open(f, o));
	pm_mapping_name_at_first(m, e, &s);
	rc = o->sync == PM_GUARANTEE ? pm_evidence_shortage(e) : 0;
	if (rc)
		return pm_fail(rc, f->call, f->name, "the evidence cannot be gathered: %s", pm_strerror(rc));
	m->prepared = pm_mapping_will_prepare(o, f->created, e);
	pm_mapping_assume(e, o, m->offset + m->length > f->size, m->prepared);
	/* Refuse before the file is touched, if it can be known by now. */
	m->decision = pm_decide(e, &m->ask);
	if (m->decision.verdict == PM_VERDICT_REFUSED)
		return pm_mapping_refuse(f, &m->decision);
	f->read_only = o->flags & PM_READ_ONLY;
	f->fsync_complete = s.fsync_complete;
	rc = pm_mapping_shape_file(m, o, e, &s);
	if (rc)
		return rc;
	/* One that may be promoted needs the flag from the start: it cannot be had later. */
	m->synchronous = m->decision.granularity >= PM_CACHE_LINE ||
	                 (m->flags & PM_LEASE && e[PM_EV_MAP_SYNC].state == PM_YES);
	rc = map_pages(m, &s);
	if (!rc)
		rc = finish(m, o);
	if (rc)
		return rc;
	pm_latch_set_end(&m->user, m->offset + m->length);
	choose_strategy(m, &s);
	if (f->created)
		pm_name_remember(&f->place, f->fd, &f->stx);
	pm_watch_seed(m, e, &s);
	return 0;
}

/* Mappings that have left their latch. */
static atomic_uint departed;

static void leave(struct pm_mapping *m)
{
	atomic_fetch_add(&departed, 1);
	pm_latch_leave(m->latch, &m->user);
}

/*
 * Joined before the size counts: until the end of this mapping is known, no mapping of this process cuts the file. Only one
 * that has joined cuts it, so that the size seen at opening stands where there is no other and none has left since.
 */
static int join_and_establish(struct pm_mapping *m, const struct pm_options *o, unsigned departed_before)
{
	bool alone;
	m->file.kept = true;
	pm_kept_file_keep(&m->file.identity, m->file.fd, &m->file.stx);
	m->user.end = UINT64_MAX;
	m->user.fd = m->file.fd;
	m->latch = pm_latch_join(&m->file.stx, &m->user, &alone);
	if (!m->latch) {
		int rc = pm_fail(-ENOMEM, m->file.call, m->file.name, "out of memory");
		pm_file_undo(&m->file);
		return rc;
	}
	bool stands = alone && atomic_load(&departed) == departed_before;
	int rc = stands ? 0 : pm_file_look(&m->file);
	if (!rc)
		rc = establish(m, o);
	if (!rc) {
		pm_file_release(&m->file);
		return 0;
	}
	/* Before the lease that allows it is given back. */
	pm_file_undo(&m->file);
	pm_watch_end(m);
	/* Maybe the only word on what another mapping lost. */
	if (m->file.suspect)
		pm_latch_fail(m->latch, atomic_load(&m->latch->failures), rc);
	leave(m);
	return rc;
}

static int establish_anonymous(struct pm_mapping *m, const struct pm_options *o)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	pm_evidence_table e;
	struct pm_subject s = {.backing = PM_BACKING_ANONYMOUS, .fd = -1, .region = ~0u, .writable = !(o->flags & PM_READ_ONLY)};
	if (!o->length)
		return pm_fail(-EINVAL, m->file.call, m->file.name, "a length is needed");
	if (o->length > PTRDIFF_MAX - page)
		return pm_fail(-EOVERFLOW, m->file.call, m->file.name, "%llu bytes are more than a process can address",
		               (unsigned long long)o->length);
	m->length = o->length;
	m->ask = pm_mapping_ask(o, NULL);
	pm_evidence_clear(e);
	pm_evidence_for_decision(e, &s, false);
	m->decision = pm_decide(e, &m->ask);
	if (m->decision.verdict == PM_VERDICT_REFUSED)
		return pm_mapping_refuse(&m->file, &m->decision);
	s.length = (m->length + page - 1) / page * page;
	int rc = map_pages(m, &s);
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
	else if (asprintf(&m->name, "fd %d", fd) < 0)
		m->name = NULL;
	if (!m->name) {
		free(m);
		return NULL;
	}
	m->file = (struct pm_file){.call = path || o->flags & PM_ANONYMOUS ? "pm_map" : "pm_map_fd", .name = m->name, .fd = -1, .directory_fd = -1};
	m->flags = o->flags;
	m->offset = o->offset;
	pm_events_init(&m->events, o->on_event, o->event_arg, m);
	m->events.has_listener |= o->flags & (PM_WATCH | PM_LEASE);
	pthread_mutex_init(&m->lock, NULL);
	pm_page_init(&m->medium.writeback);
	pm_watch_init(&m->watch);
	return m;
}

static void release(struct pm_mapping *m)
{
	pm_watch_end(m);
	pm_events_destroy(&m->events);
	pm_file_close(&m->file);
	pm_page_destroy(&m->medium.writeback);
	pthread_mutex_destroy(&m->lock);
	free(m->name);
	free(m);
}

/* A hint was not met from the start. */
static void tell_demoted(struct pm_mapping *m)
{
	struct pm_event_batch batch;
	struct pm_event_state before = {.offset = m->offset, .length = m->length};
	pm_event_batch_begin(&batch, &before);
	pm_event_batch_add(&batch, PM_EVENT_DEMOTED, m->decision.reason);
	pm_mapping_publish(m, &batch);
}

/* One attempt. *by_name and *again as in struct pm_file. */
static int open_once(const char *path, int fd, const struct pm_options *o, struct pm_mapping **ret, bool *by_name,
                     bool *again)
{
	struct pm_mapping *m = allocate(path, fd, o);
	if (!m)
		return pm_fail(-ENOMEM, path ? "pm_map" : "pm_map_fd", path, "out of memory");
	unsigned departed_before = atomic_load(&departed);
	int rc;
	m->file.by_name = *by_name;
	if (o->flags & PM_ANONYMOUS) {
		rc = establish_anonymous(m, o);
	} else {
		rc = path ? pm_file_open(&m->file, m->name, o) : pm_file_reopen(&m->file, fd, o);
		if (!rc)
			rc = join_and_establish(m, o, departed_before);
		*by_name = m->file.by_name;
		*again = rc && (m->file.again || pm_file_was_overtaken(&m->file, rc));
		pm_file_close_directory(&m->file);
	}
	if (rc) {
		release(m);
		return rc;
	}
	m->file.callers = false;
	*ret = m;
	if (m->decision.verdict == PM_VERDICT_DEMOTED)
		tell_demoted(m);
	pm_watch_go(m);
	pm_lease_poll(m);
	return 0;
}

int pm_mapping_open(const char *path, int fd, const struct pm_options *o, struct pm_mapping **ret)
{
	bool by_name = false, again = true;
	int rc = 0;
	for (int attempt = 0; again && attempt < ATTEMPTS; attempt++) {
		again = false;
		rc = open_once(path, fd, o, ret, &by_name, &again);
	}
	return again && rc == -EEXIST ? -EAGAIN : rc;
}

int pm_mapping_close(struct pm_mapping *m)
{
	/* A guarantee that was lost leaves all to the kernel, which still must do it. */
	int lost = pm_mapping_poison(m, "pm_unmap"), rc = pm_mapping_error(m);
	if (!rc)
		rc = pm_mapping_failed(m, "pm_unmap", atomic_load(&m->strategy)->drain(&m->medium));
	rc = rc ? rc : lost;
	if (m->synchronous && !pm_medium_look(&m->medium))
		pm_touch(&m->medium);
	pm_watch_end(m);
	int unmapped = PM_RETRY(pm_sys->munmap(m->medium.map, m->medium.map_length));
	if (!rc && unmapped)
		rc = pm_fail(unmapped, "pm_unmap", m->name, "munmap failed: %s", pm_strerror(unmapped));
	if (m->latch)
		leave(m);
	release(m);
	return rc;
}

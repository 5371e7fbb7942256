/* SPDX-License-Identifier: BSD-3-Clause */
/* Growing and shrinking a mapping together with its file. */
#include <errno.h>

#include "durability/alone.h"
#include "durability/writeback_calls.h"
#include "error.h"
#include "facts/evidence.h"
#include "facts/extents.h"
#include "facts/subject.h"
#include "file/claim.h"
#include "file/forbidden.h"
#include "file/grow.h"
#include "file/sync.h"
#include "file/undo.h"
#include "file/zero_fill.h"
#include "kernel/limits.h"
#include "kernel/populate.h"
#include "mapping/area.h"
#include "mapping/calls.h"
#include "mapping/gate.h"
#include "mapping/split.h"
#include "observe/observe.h"
#include "sys/sys.h"

static bool is_regular(const struct pm_mapping *m)
{
	return S_ISREG(m->file.stx.stx_mode);
}

/* The mapping follows the file, or the device, and changes nothing of it. */
static bool follows(const struct pm_mapping *m)
{
	return m->flags & PM_READ_ONLY || !is_regular(m);
}

/* What lies before the mapping in its first page. */
static uint64_t lead(const struct pm_mapping *m)
{
	return m->mapped.range.offset % m->file.unit;
}

static size_t pages_of(const struct pm_mapping *m, uint64_t length)
{
	return (size_t)((lead(m) + length + m->file.unit - 1) / m->file.unit * m->file.unit);
}

static int check_kind(struct pm_mapping *m, uint64_t length)
{
	const char *call = "pm_resize";
	bool is_device = m->medium.device_dax || (pm_mapping_backing(m) == PM_BACKING_FILE && !is_regular(m));
	if (pm_mapping_backing(m) != PM_BACKING_FILE && !is_device)
		return pm_fail(-EINVAL, call, m->name, "only a shared mapping of a file can be resized");
	if (is_device && !m->reserved)
		return pm_fail(-EINVAL, call, m->name, "a mapping of a device can only be resized within a reserve");
	if (m->flags & PM_READ_ONLY && !m->reserved)
		return pm_fail(-EACCES, call, m->name,
		               "the mapping is read-only, and has no reserve within which it could follow the file");
	if (pm_parts_have_gaps(&m->medium.parts))
		return pm_fail(-EINVAL, call, m->name, "a part of the mapping was given up (pm_give_up()): map again");
	if (m->medium.device_dax && length % m->file.unit)
		return pm_fail(-EINVAL, call, m->name, "the length must be a multiple of %zu", m->file.unit);
	return 0;
}

static int check_arguments(struct pm_mapping *m, uint64_t length)
{
	const char *call = "pm_resize";
	if (!length)
		return pm_fail(-EINVAL, call, m->name, "length is 0");
	int rc = check_kind(m, length);
	if (rc)
		return rc;
	if (length > PTRDIFF_MAX - m->file.unit)
		return pm_fail(-EOVERFLOW, call, m->name, "%llu bytes are more than a process can address",
		               (unsigned long long)length);
	if (m->mapped.range.offset > INT64_MAX - m->file.unit - length)
		return pm_fail(-EOVERFLOW, call, m->name, "offset + length overflows");
	if (m->reserved && pages_of(m, length) > m->reserved)
		return pm_fail(-ENOMEM, call, m->name,
		               "the reserve ends at %llu bytes: unmap, and map with a larger one",
		               (unsigned long long)(m->reserved - lead(m)));
	return 0;
}

/* ---- Addresses ---- */

/* The caller put it there, and may rely on it. */
static int fail_to_stay(const struct pm_mapping *m, size_t length, int rc)
{
	const char *why = rc == -EFAULT   ? "the program has split it (mlock, mprotect, madvise)"
	                  : rc == -ENOMEM ? "there is no room behind it, or a limit was met"
	                                  : pm_strerror(rc);
	return pm_fail(rc == -EFAULT ? -EINVAL : rc, "pm_resize", m->name,
	               "the mapping was put at a fixed address, and cannot become %zu bytes long there: %s", length,
	               why);
}

static int move_all(struct pm_mapping *m, size_t map_length)
{
	void *map = m->medium.map;
	/* Everything that was recorded is drained. */
	int rc = pm_page_set_reserve(&m->medium.writeback.recorded, map_length);
	if (rc)
		return pm_fail(rc, "pm_resize", m->name, "out of memory");
	if (map_length != m->medium.map_length)
		rc = PM_RETRY(pm_sys->mremap(&map, m->medium.map_length, map_length, m->is_fixed ? 0 : MREMAP_MAYMOVE));
	if (rc == -EFAULT && !m->is_fixed) {
		rc = pm_mapping_map_anew(m, &map, map_length);
		if (rc)
			return rc;
	}
	if (rc && m->is_fixed)
		return fail_to_stay(m, map_length, rc);
	if (rc)
		return pm_area_no_room(m->name, "pm_resize", "mremap", map_length,
		                       map_length > m->medium.map_length ? map_length - m->medium.map_length : 0, rc);
	m->medium.map = map;
	return 0;
}

/* Within the reserve: the pages up to the new end become accessible, or those behind it inaccessible. */
static int give_access(struct pm_mapping *m, size_t from, size_t to)
{
	int access = PROT_READ | (m->flags & PM_READ_ONLY ? 0 : PROT_WRITE);
	int rc = from < to ? pm_area_set_access(m->medium.map, from, to, access)
	                   : pm_area_set_access(m->medium.map, to, from, PROT_NONE);
	return rc ? pm_area_no_room(m->name, "pm_resize", "mprotect", from < to ? to - from : from - to, 0, rc) : 0;
}

/* What other threads read. Only a mapping without a reserve has another base than before. */
static void publish(struct pm_mapping *m, uint64_t length, bool is_acknowledged)
{
	atomic_store(&m->medium.map_length, pages_of(m, length));
	pm_medium_set_reach(&m->medium, m->mapped.range.offset + length, is_acknowledged);
	/* The range of an event is read under that lock alone. */
	pthread_mutex_lock(&m->terms.lock);
	if (!m->reserved && m->base != m->medium.map + lead(m)) {
		m->base = m->medium.map + lead(m);
		pm_place_remove(m->place);
		pm_place_add(m->place, m->base, (size_t)length, m);
	}
	pm_place_set_length(m->place, (size_t)length);
	m->mapped.range.length = length;
	atomic_store(&m->length, length);
	pm_terms_set_strategy(&m->terms, &m->medium, atomic_load(&m->terms.strategy));
	pthread_mutex_unlock(&m->terms.lock);
	pm_shared_file_set_end(&m->errors.user, m->mapped.range.offset + length);
}

/*
 * The addresses alone, not the file. Within a reserve a shorter length is published first, and accesses of the
 * library's own that know the longer one end before its pages do.
 */
static int remap(struct pm_mapping *m, uint64_t length)
{
	size_t before = m->medium.map_length;
	uint64_t old_length = m->mapped.range.length;
	if (m->reserved && length < old_length) {
		publish(m, length, false);
		pm_walks_wait(&m->medium.walks);
	}
	int rc = m->reserved ? give_access(m, before, pages_of(m, length)) : move_all(m, pages_of(m, length));
	if (!rc)
		publish(m, length, true);
	else if (m->reserved && length < old_length)
		publish(m, old_length, false);
	pm_forget_complete_fsync(&m->medium);
	return rc;
}

/* ---- The file ---- */

/* Whether the grown range still supports the promise: otherwise the call is refused, or the mapping must be demoted. */
static int assess_grown(struct pm_mapping *m, uint64_t length, struct pm_decision *ret)
{
	pm_evidence_table e;
	struct pm_subject s;
	int rc = pm_assess(&m->mapped, &m->medium, length, &m->observed.lease, &m->observed.sources, e, &s, ret);
	if (rc)
		return pm_limit_no_evidence(m->name, "pm_resize", rc);
	return ret->verdict == PM_VERDICT_REFUSED ? pm_assess_refuse(&m->file, ret) : 0;
}

struct completion {
	struct pm_mapping *m;
	uint64_t start, added; /* to be prepared; nothing if 0 */
	int rc;
};

/* Returns a write-back error, and leaves any error in rc. */
static int prepare_and_sync(void *arg)
{
	struct completion *c = arg;
	struct pm_file *f = &c->m->file;
	c->rc = c->added ? pm_file_prepare(f, c->start, c->added, c->m->terms.decision.direct == PM_YES) : 0;
	if (!c->rc)
		c->rc = pm_file_sync(f);
	return f->suspect ? c->rc : 0;
}

/* The file is ready, and durable. Drains of other threads wait meanwhile. */
static int complete_file(struct pm_mapping *m, uint64_t start, uint64_t added)
{
	struct completion c = {.m = m, .start = start, .added = added};
	int rc = pm_page_sync_file(&m->medium, prepare_and_sync, &c);
	m->file.suspect |= rc != 0;
	return c.rc ? c.rc : rc;
}

/* A growth of the file may not be taken back: another process may have it open. */
static int try_room(struct pm_mapping *m, uint64_t end)
{
	size_t now = m->medium.map_length, wanted = pages_of(m, end - m->mapped.range.offset);
	bool is_tried = !m->reserved && end > m->file.size && wanted > now;
	return is_tried ? pm_area_try_room(m->name, "pm_resize", "mremap", wanted, wanted - now) : 0;
}

/* Makes the file reach end. [start, start + added) is the new part, with the page that was mapped in part. */
static int extend(struct pm_mapping *m, uint64_t end, uint64_t start, uint64_t added)
{
	struct pm_file *f = &m->file;
	uint64_t old_end = m->mapped.range.offset + m->mapped.range.length;
	int rc = try_room(m, end);
	if (!rc)
		rc = pm_file_grow(f, end, m->flags & PM_SPARSE);
	/* Not into the page that is mapped: it was prepared, and another thread may be storing into it. */
	uint64_t unmapped = (old_end + f->unit - 1) / f->unit * f->unit;
	if (!rc && m->mapped.is_prepared && m->terms.decision.direct == PM_YES && unmapped < end)
		rc = pm_file_write_zeros(f, unmapped, end - unmapped);
	return rc ? rc : complete_file(m, start, m->mapped.is_prepared ? added : 0);
}

/* The file, or the device, reaches that far already. Where lines are promised it is synced as by pm_map(). */
static int follow(struct pm_mapping *m, uint64_t end)
{
	if (end > m->file.size)
		return pm_fail(-ERANGE, "pm_resize", m->name, "the range ends at %llu, the file at %llu",
		               (unsigned long long)end, (unsigned long long)m->file.size);
	bool lines = atomic_load(&m->terms.granularity) >= PM_CACHE_LINE;
	return lines && is_regular(m) ? complete_file(m, 0, 0) : 0;
}

/* Demotes before the new part is visible: no store there can meet a promise that does not hold. */
static int reach_out(struct pm_mapping *m, uint64_t length, uint64_t added, struct pm_transition *ret)
{
	struct pm_decision decision;
	size_t map_length = pages_of(m, length);
	int rc = pm_file_stat(&m->file);
	if (!rc)
		rc = assess_grown(m, length, &decision);
	if (!rc)
		rc = m->reserved ? give_access(m, m->medium.map_length, map_length) : move_all(m, map_length);
	if (rc)
		return rc;
	bool is_prepared = m->mapped.is_prepared && !follows(m);
	if (is_prepared)
		pm_populate_prepared(m->medium.map + map_length - added, (size_t)added, pm_file_is_direct(&m->file));
	*ret = pm_observed_adopt(&m->observed, &decision, false);
	publish(m, length, !m->reserved);
	/* What was prepared is written, and synced after that: complete_file(). */
	if (!is_prepared)
		pm_forget_complete_fsync(&m->medium);
	return 0;
}

/* seen: how often files had been cut when the size was read. */
static int grow(struct pm_mapping *m, uint64_t length, uint64_t seen, struct pm_transition *ret)
{
	struct pm_file *f = &m->file;
	uint64_t old_end = m->mapped.range.offset + m->mapped.range.length, end = m->mapped.range.offset + length;
	uint64_t start = old_end / f->unit * f->unit, added = (end - start + f->unit - 1) / f->unit * f->unit;
	/* From now on no other mapping of this process cuts the file before that; one may have done so just before. */
	pm_shared_file_reach(m->errors.shared, &m->errors.user, end);
	int rc = pm_shared_files_cuts() == seen ? 0 : pm_file_stat(f);
	if (!rc)
		rc = follows(m) ? follow(m, end) : extend(m, end, start, added);
	if (!rc)
		rc = reach_out(m, length, added, ret);
	if (rc)
		pm_shared_file_set_end(&m->errors.user, old_end);
	return rc;
}

static int cut(struct pm_mapping *m, uint64_t length)
{
	struct pm_file *f = &m->file;
	uint64_t end = m->mapped.range.offset + length, old_length = m->mapped.range.length;
	/* Another mapping may have made the file longer just before, and be gone. */
	int rc = pm_file_stat(f);
	bool is_longer = !rc && f->size > m->mapped.range.offset + old_length;
	if (!rc)
		rc = remap(m, length);
	if (rc || is_longer)
		return rc;
	rc = PM_RETRY(pm_sys->ftruncate(f->fd, end));
	if (rc) {
		remap(m, old_length);
		return pm_file_fail_forbidden(f, rc, "the file cannot be made shorter", PM_CHANGE_SHRINKS);
	}
	f->size = end;
	return 0;
}

static int shrink(struct pm_mapping *m, uint64_t length)
{
	uint64_t end = m->mapped.range.offset + length;
	if (follows(m) || m->file.size != m->mapped.range.offset + m->mapped.range.length)
		return remap(m, length);
	bool sure;
	if (!pm_shared_file_begin_cut(m->errors.shared, &m->errors.user, end, &sure))
		return pm_fail(-EBUSY, "pm_resize", m->name,
		               "another mapping of %s reaches beyond offset %llu: unmap or shrink it first",
		               sure ? "the file" : "what may be the same file (the kernel does not say)",
		               (unsigned long long)end);
	int rc = cut(m, length);
	pm_shared_file_end_cut(m->errors.shared, &m->errors.user);
	return rc ? rc : complete_file(m, 0, 0);
}

/*
 * What this call did is no news to the next look. It changes the size and the extents; of all else the look before it
 * stands.
 */
static void see_anew(struct pm_mapping *m)
{
	pm_evidence_table e;
	struct pm_subject s;
	struct statx now;
	if (pm_kept_file_stat(&m->file.identity, &now))
		return;
	pm_evidence_clear(e);
	pm_assess_subject(&m->file, &m->mapped.requested, m->mapped.range, !m->mapped.requested.read_only, &s);
	s.stx.stx_size = now.stx_size;
	pm_evidence_extents(e, &s);
	pm_own_write_end(&m->observed.sources);
	pm_snapshot_take(&m->observed.snapshot, e, &s, m->mapped.range);
}

/* Nothing is resized through a descriptor that leads elsewhere by now. */
static int check_file(struct pm_mapping *m)
{
	struct statx now;
	int rc = pm_kept_file_stat(&m->file.identity, &now);
	if (rc == -EBADF)
		return pm_gate_leave(m, "pm_resize", rc);
	rc = pm_file_stat(&m->file);
	if (!rc)
		pm_gate_note_end(m, m->file.size, atomic_load(&m->medium.resized));
	return rc;
}

/* With the lock of observations held: the watcher thread looks at what changes here. */
static int resize(struct pm_mapping *m, uint64_t length, struct pm_look *ret)
{
	pm_evidence_table before;
	m->file.call = "pm_resize";
	m->mapped.syncs |= PM_CALL_FSYNC;
	/* What other processes did until now must not be mistaken for what this call does. */
	pm_observe_locked(&m->observed, before, false, false, ret);
	uint64_t cuts = pm_shared_files_cuts();
	int rc = check_file(m);
	uint64_t end = m->mapped.range.offset + (length < m->mapped.range.length ? length : m->mapped.range.length);
	/* The file may have grown again since this call saw it end there. */
	if (!rc && (m->file.size < end || pm_medium_is_unreported(&m->medium, end)))
		rc = pm_gate_cut_off(m, "pm_resize");
	if (rc || (length == m->mapped.range.length && !pm_medium_is_cut(&m->medium)))
		return rc;
	m->file.created = m->file.grown = false;
	bool grows = length > m->mapped.range.length;
	/* Other threads may not know that yet, and still wait for its -ERANGE. */
	if (grows && m->reserved && pm_medium_is_cut(&m->medium))
		return pm_gate_cut_off(m, "pm_resize");
	/* Where the file reaches there again another process made it longer, which is in no journal yet. */
	if (pm_medium_is_cut(&m->medium))
		rc = complete_file(m, 0, 0);
	if (rc || length == m->mapped.range.length) /* what was truncated is zeros now */
		return rc ? rc : remap(m, length);
	rc = grows ? grow(m, length, cuts, &ret->grown) : shrink(m, length);
	if (rc)
		pm_file_undo(&m->file);
	pm_file_release(&m->file);
	see_anew(m);
	return rc;
}

/* Every look reads the file's attributes anew. */
static int check_with_lock(struct pm_mapping *m, uint64_t length)
{
	pm_turns_take(&m->observed.turns);
	int rc = check_arguments(m, length);
	pm_turns_give(&m->observed.turns);
	return rc;
}

int pm_mapping_resize(struct pm_mapping *m, uint64_t length)
{
	struct pm_look look;
	int rc = check_with_lock(m, length);
	if (!rc)
		rc = pm_gate_enter(m, "pm_resize");
	if (!rc)
		rc = pm_gate_leave(m, "pm_resize", atomic_load(&m->terms.strategy)->drain(&m->medium));
	if (rc)
		return rc;
	pm_turns_take(&m->observed.turns);
	m->file.suspect = false;
	rc = resize(m, length, &look);
	bool suspect = m->file.suspect;
	pm_look_end(&m->observed, &look);
	pm_publish(&m->observed, &look, false);
	return suspect ? pm_gate_leave(m, "pm_resize", rc) : rc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Growing and shrinking a mapping together with its file. */
#include <errno.h>

#include "error.h"
#include "facts/evidence.h"
#include "facts/subject.h"
#include "file/claim.h"
#include "file/forbidden.h"
#include "file/grow.h"
#include "file/sync.h"
#include "file/undo.h"
#include "file/zero_fill.h"
#include "mapping/area.h"
#include "mapping/calls.h"
#include "mapping/gate.h"
#include "mapping/split.h"
#include "observe/observe.h"
#include "sys/sys.h"

static int check_arguments(struct pm_mapping *m, uint64_t length)
{
	const char *call = "pm_resize";
	if (!length)
		return pm_fail(-EINVAL, call, m->name, "length is 0");
	if (pm_mapping_backing(m) != PM_BACKING_FILE || !S_ISREG(m->file.stx.stx_mode))
		return pm_fail(-EINVAL, call, m->name, "only a shared mapping of a regular file can be resized");
	if (m->flags & PM_READ_ONLY)
		return pm_fail(-EACCES, call, m->name, "the mapping is read-only");
	if (length > PTRDIFF_MAX - m->file.unit)
		return pm_fail(-EOVERFLOW, call, m->name, "%llu bytes are more than a process can address",
		               (unsigned long long)length);
	if (m->mapped.range.offset > INT64_MAX - m->file.unit - length)
		return pm_fail(-EOVERFLOW, call, m->name, "offset + length overflows");
	return 0;
}

static int remap(struct pm_mapping *m, uint64_t length)
{
	uint64_t start = m->mapped.range.offset - m->mapped.range.offset % m->file.unit;
	size_t map_length =
		(size_t)((m->mapped.range.offset + length - start + m->file.unit - 1) / m->file.unit * m->file.unit);
	void *map = m->medium.map;
	/* Everything that was recorded is drained. */
	int rc = pm_page_set_reserve(&m->medium.writeback.recorded, map_length);
	if (rc)
		return pm_fail(rc, "pm_resize", m->name, "out of memory");
	if (map_length != m->medium.map_length)
		rc = PM_RETRY(pm_sys->mremap(&map, m->medium.map_length, map_length, MREMAP_MAYMOVE));
	if (rc == -EFAULT) {
		rc = pm_mapping_map_anew(m, &map, map_length);
		if (rc)
			return rc;
	}
	if (rc)
		return pm_area_no_room(m->name, "pm_resize", "mremap", map_length,
		                       map_length > m->medium.map_length ? map_length - m->medium.map_length : 0, rc);
	m->medium.map = map;
	m->medium.map_length = map_length;
	pm_forget_complete_fsync(&m->medium);
	/* The range of an event is read under that lock alone. */
	pthread_mutex_lock(&m->terms.lock);
	m->base = m->medium.map + (m->mapped.range.offset - start);
	m->mapped.range.length = length;
	pthread_mutex_unlock(&m->terms.lock);
	pm_medium_set_reach(&m->medium, m->mapped.range.offset + length);
	pm_terms_set_strategy(&m->terms, &m->medium, atomic_load(&m->terms.strategy));
	pm_shared_file_set_end(&m->user, m->mapped.range.offset + length);
	return 0;
}

/* Whether the grown range still supports the promise: otherwise the call is refused, or the mapping must be demoted. */
static int assess_grown(struct pm_mapping *m, uint64_t length, struct pm_decision *ret)
{
	pm_evidence_table e;
	struct pm_subject s;
	int rc = pm_assess(&m->mapped, &m->medium, length, &m->observed.lease, &m->observed.sources, e, &s, ret);
	if (rc)
		return pm_area_no_evidence(m->name, "pm_resize", rc);
	return ret->verdict == PM_VERDICT_REFUSED ? pm_assess_refuse(&m->file, ret) : 0;
}

static int grow(struct pm_mapping *m, uint64_t length, struct pm_event_batch *batch)
{
	struct pm_file *f = &m->file;
	uint64_t old_length = m->mapped.range.length, end = m->mapped.range.offset + length;
	struct pm_decision decision;
	/* The new part, and the page that was mapped in part. */
	uint64_t start = (m->mapped.range.offset + old_length) / f->unit * f->unit;
	uint64_t added = (end - start + f->unit - 1) / f->unit * f->unit;
	int rc = pm_file_grow(f, end, m->flags & PM_SPARSE);
	uint64_t reached = f->size;
	/* Not into the page that is mapped: it was prepared, and another thread may be storing into it. */
	uint64_t unmapped = (m->mapped.range.offset + old_length + f->unit - 1) / f->unit * f->unit;
	if (!rc && m->mapped.is_prepared && m->terms.decision.direct == PM_YES && unmapped < end)
		rc = pm_file_write_zeros(f, unmapped, end - unmapped);
	if (!rc && m->mapped.is_prepared)
		rc = pm_file_prepare(f, start, added, m->terms.decision.direct == PM_YES);
	if (!rc)
		rc = pm_file_sync(f);
	if (!rc)
		rc = pm_file_stat(f);
	if (!rc)
		rc = assess_grown(m, length, &decision);
	if (!rc)
		rc = remap(m, length);
	if (rc) {
		/* What other processes added meanwhile must not be undone. */
		f->size = reached;
		return rc;
	}
	pm_observed_adopt(&m->observed, &decision, false, batch);
	if (m->mapped.is_prepared)
		PM_RETRY(pm_sys->madvise(m->medium.map + m->medium.map_length - added, (size_t)added,
		                         MADV_POPULATE_WRITE));
	return 0;
}

static int shrink(struct pm_mapping *m, uint64_t length)
{
	uint64_t end = m->mapped.range.offset + length;
	struct pm_file *f = &m->file;
	if (f->size != m->mapped.range.offset + m->mapped.range.length)
		return remap(m, length);
	bool sure;
	if (pm_shared_file_others_end(m->errors.shared, &m->user, &sure) > end)
		return pm_fail(-EBUSY, "pm_resize", m->name,
		               "another mapping of %s reaches beyond offset %llu: unmap or shrink it first",
		               sure ? "the file" : "what may be the same file (the kernel does not say)",
		               (unsigned long long)end);
	uint64_t old_length = m->mapped.range.length;
	int rc = remap(m, length);
	if (rc)
		return rc;
	rc = PM_RETRY(pm_sys->ftruncate(f->fd, end));
	if (rc) {
		remap(m, old_length);
		return pm_file_fail_forbidden(f, rc, "the file cannot be made shorter", PM_CHANGE_SHRINKS);
	}
	f->size = end;
	return pm_file_sync(f);
}

static void see_anew(struct pm_mapping *m)
{
	pm_evidence_table e;
	struct pm_subject s;
	struct pm_decision d;
	m->observed.snapshot.is_taken = false;
	if (pm_observed_assess(&m->observed, e, &s, &d))
		return;
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
		pm_gate_note_end(m, m->file.size);
	return rc;
}

/* With the lock of observations held: the watcher thread looks at what changes here. */
static int resize(struct pm_mapping *m, uint64_t length, struct pm_event_batch *batch)
{
	pm_evidence_table before;
	m->file.call = "pm_resize";
	m->mapped.syncs |= PM_CALL_FSYNC;
	/* What other processes did until now must not be mistaken for what this call does. */
	pm_observe_locked(&m->observed, before, false, false, batch);
	int rc = check_file(m);
	uint64_t end = m->mapped.range.offset + (length < m->mapped.range.length ? length : m->mapped.range.length);
	if (!rc && m->file.size < end)
		rc = pm_gate_cut_off(m, "pm_resize");
	if (rc || (length == m->mapped.range.length && !pm_medium_is_cut(&m->medium)))
		return rc;
	m->file.created = m->file.grown = false;
	bool grows = length > m->mapped.range.length;
	if (length == m->mapped.range.length) /* the file reaches there again: what was cut off is zeros now */
		return remap(m, length);
	rc = grows ? grow(m, length, batch) : shrink(m, length);
	if (rc)
		pm_file_undo(&m->file);
	pm_file_release(&m->file);
	see_anew(m);
	return rc;
}

/* Every look reads the file's attributes anew. */
static int check_with_lock(struct pm_mapping *m, uint64_t length)
{
	pthread_mutex_lock(&m->observed.lock);
	int rc = check_arguments(m, length);
	pthread_mutex_unlock(&m->observed.lock);
	return rc;
}

int pm_mapping_resize(struct pm_mapping *m, uint64_t length)
{
	struct pm_event_batch batch;
	int rc = check_with_lock(m, length);
	if (!rc)
		rc = pm_gate_enter(m, "pm_resize");
	if (!rc)
		rc = pm_gate_leave(m, "pm_resize", atomic_load(&m->terms.strategy)->drain(&m->medium));
	if (rc)
		return rc;
	pthread_mutex_lock(&m->observed.lock);
	m->file.suspect = false;
	pm_observe_begin(&m->observed, &batch);
	rc = resize(m, length, &batch);
	bool suspect = m->file.suspect;
	pthread_mutex_unlock(&m->observed.lock);
	pm_observe_publish(&m->observed, &batch, false);
	return suspect ? pm_gate_leave(m, "pm_resize", rc) : rc;
}

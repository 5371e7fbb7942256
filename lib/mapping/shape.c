/* SPDX-License-Identifier: BSD-3-Clause */
/* What pm_map() makes of the file before it maps it. */
#include <errno.h>
#include <stdio.h>

#include "error.h"
#include "facts/evidence.h"
#include "facts/extents.h"
#include "facts/subject.h"
#include "file/from_medium.h"
#include "file/grow.h"
#include "file/sync.h"
#include "file/zero_fill.h"
#include "mapping/area.h"
#include "mapping/shape.h"
#include "sys/sys.h"

/* A created file is prepared as well as it can be; if the caller asked for it, a failure is an error. */
static int prepare_file(struct pm_mapping *m, const struct pm_options *o, bool direct, const struct pm_subject *s)
{
	struct pm_file *f = &m->file;
	int rc = direct ? pm_file_write_zeros(f, s->offset, s->length) : 0;
	if (!rc)
		rc = pm_file_prepare(f, s->offset, s->length, direct);
	if (rc != -EOPNOTSUPP || o->flags & PM_PREPARE)
		return rc;
	m->mapped.is_prepared = false;
	return f->unnamed ? pm_file_write_all(f, f->size) : 0;
}

/*
 * Makes durable what the file holds by now, and its entry, if the caller asked for that. Wherever lines are chosen, and
 * under a guarantee, the whole path: lines commit what is stored from now on, not what write(2), fallocate(2),
 * truncate(2) or rename(2) of any process left behind. A file without a name is synced when it has one, and the commit
 * of its new entry contains all that came before.
 */
static int sync_contents(struct pm_mapping *m, const struct pm_options *o, bool lines)
{
	bool is_promised = lines || pm_requested_guarantee(&m->mapped.requested);
	if (!S_ISREG(m->file.stx.stx_mode) || m->file.unnamed ||
	    !(o->flags & PM_CREATE || m->mapped.is_prepared || is_promised))
		return 0;
	m->mapped.is_path_unsynced &= !is_promised;
	return is_promised ? pm_file_sync_path(&m->file, lines) : pm_file_sync(&m->file);
}

/* Gathers the extents of the new part, and what other processes did to the rest while it was synced. */
static void decide_again(struct pm_mapping *m, pm_evidence_table e, struct pm_subject *s)
{
	pm_evidence_extents(e, s);
	m->terms.decision = pm_decide(e, &m->mapped.requested);
}

int pm_shape_check_medium(const struct pm_file *f, const struct pm_evidence *e)
{
	return e[PM_EV_VOLATILE].state == PM_YES
	               ? pm_fail(-EOPNOTSUPP, f->call, f->name,
	                         "PM_FROM_MEDIUM: there is no medium that keeps what is stored (%s)",
	                         e[PM_EV_VOLATILE].text)
	               : 0;
}

/* Before the file is touched. On a direct medium, and in a file that was just created, nothing is cached. */
static int start_from_medium(struct pm_mapping *m, pm_evidence_table e, const struct pm_subject *s)
{
	struct pm_file *f = &m->file;
	int rc = pm_shape_check_medium(f, e);
	if (rc)
		return rc;
	if (f->backing == PM_BACKING_DEVICE_DAX || e[PM_EV_DAX].state == PM_YES || f->created)
		return 0;
	return pm_file_from_medium(f, s->offset, s->length);
}

/*
 * A file that cannot be mapped at all cannot be grown or prepared either, and the first is what the caller must know.
 */
static int grow_and_prepare(struct pm_mapping *m, const struct pm_options *o, bool direct, const struct pm_subject *s)
{
	struct pm_file *f = &m->file;
	uint64_t end = m->mapped.range.offset + m->mapped.range.length;
	/* A file that is created here is removed again, and a reserve was tried. */
	bool is_tried = S_ISREG(f->stx.stx_mode) && !f->created && !m->reserved && end > f->size;
	/* MAP_FIXED_NOREPLACE holds its place while the file is mapped elsewhere. */
	size_t length = (size_t)s->length, needed = o->map_flags & MAP_FIXED_NOREPLACE ? 2 * length : length;
	int rc = is_tried ? pm_area_try_room(f->name, f->call, "mmap", length, needed) : 0;
	if (rc)
		return rc;
	rc = pm_file_grow(f, end, o->flags & PM_SPARSE);
	if (!rc && m->mapped.is_prepared)
		rc = prepare_file(m, o, direct, s);
	if (!rc || rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG)
		return rc;
	int unmappable = pm_area_try(f, &m->mapped.requested, *s, false, f->original_size);
	return unmappable ? unmappable : rc;
}

int pm_mapping_shape_file(struct pm_mapping *m, const struct pm_options *o, pm_evidence_table e, struct pm_subject *s)
{
	struct pm_file *f = &m->file;
	bool lines = m->terms.decision.granularity >= PM_CACHE_LINE;
	bool grown = m->mapped.range.offset + m->mapped.range.length > f->size, direct = e[PM_EV_DAX].state == PM_YES;
	int rc = o->flags & PM_FROM_MEDIUM ? start_from_medium(m, e, s) : 0;
	if (!rc)
		rc = grow_and_prepare(m, o, direct, s);
	if (!rc)
		rc = sync_contents(m, o, lines);
	if (S_ISREG(f->stx.stx_mode)) /* it ends where it was made to end */
		s->stx.stx_size = f->stx.stx_size = f->size;
	if (rc || (!grown && !m->mapped.is_prepared && !lines) || e[PM_EV_MAP_SYNC].state != PM_YES)
		return rc;
	decide_again(m, e, s);
	if (!lines && m->terms.decision.granularity >= PM_CACHE_LINE) {
		/* Another process wrote what was missing meanwhile, and that is not synced. */
		rc = sync_contents(m, o, true);
		if (rc)
			return rc;
		decide_again(m, e, s);
	}
	return m->terms.decision.verdict == PM_VERDICT_REFUSED ? pm_assess_refuse(f, &m->terms.decision) : 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>

#include "error.h"
#include "facts/evidence.h"
#include "facts/explain.h"
#include "facts/gather.h"
#include "facts/name.h"
#include "facts/subject.h"
#include "observe/assess.h"
#include "sys/sys.h"

struct pm_requested pm_assess_request(const struct pm_options *o, const struct pm_file *file)
{
	enum pm_backing backing = file ? file->backing : PM_BACKING_ANONYMOUS;
	if (file && o->flags & PM_PRIVATE)
		backing = PM_BACKING_PRIVATE;
	return (struct pm_requested){.backing = backing,
	                             .sync = o->sync,
	                             .direct = o->direct,
	                             .trust_kernel = o->flags & PM_TRUST_KERNEL,
	                             .lease = o->flags & PM_LEASE,
	                             .read_only = o->flags & PM_READ_ONLY,
	                             .access = o->access};
}

unsigned pm_assess_syncs(const struct pm_file *f, const struct pm_options *o)
{
	unsigned name_syncs = PM_CALL_FSYNC | (f->sync_all ? PM_CALL_SYNCFS : 0);
	bool syncs_name = o->flags & (PM_CREATE | PM_PREPARE) && S_ISREG(f->stx.stx_mode);
	return (o->flags & PM_READ_ONLY ? PM_CALL_FDATASYNC : PM_CALL_MSYNC) | (syncs_name ? name_syncs : 0);
}

/* The file itself, and the path to a file that was there before. */
unsigned pm_assess_syncs_of_lines(const struct pm_file *f)
{
	return PM_CALL_FSYNC | (f->created ? 0 : PM_CALL_SYNCFS);
}

void pm_assess_subject(const struct pm_file *f, const struct pm_requested *requested, struct pm_span range,
                       bool is_writable, struct pm_subject *s)
{
	uint64_t start = range.offset - range.offset % f->unit, end = range.offset + range.length;
	*s = (struct pm_subject){.backing = requested->backing,
	                         .fd = f->fd,
	                         .stx = f->stx,
	                         .offset = start,
	                         .unit = f->unit,
	                         .writable = is_writable,
	                         .access = requested->access,
	                         .is_borrowed = f->borrowed,
	                         .found.region = PM_NO_REGION,
	                         .name = &f->place};
	s->length = (end - start + f->unit - 1) / f->unit * f->unit;
	s->end = end;
}

int pm_assess_range(const struct pm_file *f, const struct pm_options *o, struct pm_span *ret)
{
	uint64_t length = o->length;
	uint64_t there = o->offset < f->size ? f->size - o->offset : 0;
	if (!length || (o->flags & PM_AT_LEAST && length < there))
		length = there;
	bool growable = o->flags & PM_CREATE && S_ISREG(f->stx.stx_mode);
	if (!length && o->offset > f->size && !growable)
		return pm_fail(-ERANGE, f->call, f->name, "the offset is %llu, the file ends at %llu",
		               (unsigned long long)o->offset, (unsigned long long)f->size);
	if (!length)
		return pm_fail(-EINVAL, f->call, f->name,
		               "options->length is 0, and the file ends at or before the offset");
	if (length > PTRDIFF_MAX - f->unit)
		return pm_fail(-EOVERFLOW, f->call, f->name, "%llu bytes are more than a process can address",
		               (unsigned long long)length);
	if (o->offset > INT64_MAX - f->unit - length)
		return pm_fail(-EOVERFLOW, f->call, f->name, "offset + length overflows");
	if (o->offset + length > f->size && !growable)
		return pm_fail(-ERANGE, f->call, f->name, "the range ends at %llu, the file at %llu",
		               (unsigned long long)(o->offset + length), (unsigned long long)f->size);
	if (f->backing == PM_BACKING_DEVICE_DAX && (o->offset % f->unit || length % f->unit))
		return pm_fail(-EINVAL, f->call, f->name, "offset and length must be multiples of %zu", f->unit);
	*ret = (struct pm_span){o->offset, length};
	return 0;
}

/* ---- What pm_map() will make of a file ---- */

bool pm_assess_will_prepare(const struct pm_options *o, bool is_created, pm_evidence_table e)
{
	return o->flags & PM_PREPARE || (is_created && !(o->flags & PM_SPARSE) && e[PM_EV_DAX].state == PM_YES);
}

void pm_assess_assume(pm_evidence_table e, const struct pm_options *o, bool is_grown, bool is_prepared)
{
	static const char *const source = "assumed: pm_map() grows and prepares the file";
	if (is_grown && e[PM_EV_IN_FILE].state == PM_NO)
		pm_evidence_set(&e[PM_EV_IN_FILE], PM_YES, 0, source, NULL);
	if (is_prepared) {
		pm_evidence_set(&e[PM_EV_ALLOCATED], PM_YES, 0, source, NULL);
		pm_evidence_set(&e[PM_EV_EXTENTS_WRITTEN], PM_YES, 0, source, NULL);
		pm_evidence_set(&e[PM_EV_UNSHARED], PM_YES, 0, source, NULL);
	} else if (is_grown) {
		pm_evidence_set(&e[PM_EV_ALLOCATED], o->flags & PM_SPARSE ? PM_NO : PM_YES, 0, source, NULL);
		pm_evidence_set(&e[PM_EV_EXTENTS_WRITTEN], PM_NO, 0, source, NULL);
	}
}

int pm_assess_refuse(const struct pm_file *f, const struct pm_decision *d)
{
	char why[256];
	pm_explain_reason(d->reason, d->advice, why, sizeof(why));
	return pm_fail(d->error, f->call, f->name, "%s: %s", pm_strerror(d->error), why);
}

/* ---- A live mapping ---- */

/* The size may have changed meanwhile. Where the file does not answer, what was known stands. */
static int refresh(struct pm_mapped *m, struct pm_medium *medium, struct pm_file *now)
{
	int rc = PM_RETRY(pm_sys->statx(now->fd, "", AT_EMPTY_PATH, &now->stx));
	rc = pm_kept_file_check(&m->file->identity, &now->stx, rc);
	/* Another file says nothing about this one. */
	now->fd = rc == -EBADF ? -1 : now->fd;
	if (!rc && S_ISREG(now->stx.stx_mode))
		pm_medium_note_end(medium, now->stx.stx_size, atomic_load(&medium->resized));
	m->file->stx = rc ? m->file->stx : now->stx;
	now->stx = m->file->stx;
	return rc;
}

static void show_watch(struct pm_subject *s, const struct pm_lease *lease, const struct pm_sources *sources)
{
	s->lease_held = lease->is_held;
	s->lease_error = lease->error;
	s->watched = sources->is_watched;
	s->watch_error = sources->error;
}

int pm_assess(struct pm_mapped *m, struct pm_medium *medium, uint64_t length, const struct pm_lease *lease,
              const struct pm_sources *sources, pm_evidence_table e, struct pm_subject *s, struct pm_decision *ret)
{
	*s = (struct pm_subject){.backing = PM_BACKING_ANONYMOUS, .fd = -1};
	pm_evidence_clear(e);
	if (m->file) {
		struct pm_file now = pm_file_facts(m->file);
		struct pm_span range = {m->range.offset, length};
		int rc = refresh(m, medium, &now);
		pm_assess_subject(&now, &m->requested, range, !m->requested.read_only, s);
		s->name = &m->file->place; /* outlives this call */
		s->file_error = -rc;
		s->map = medium->map;
		s->is_partial = pm_parts_have_gaps(&medium->parts);
		s->uses_libpmem = medium->libpmem;
		s->bytes_beyond = atomic_load(&medium->counters.bytes_beyond);
		s->syncs = m->syncs | (atomic_load(&medium->can_write_ranges) == PM_YES ? PM_CALL_SYNC_FILE_RANGE : 0);
		s->syncs_of_lines = m->syncs_of_lines;
		s->found.emergency = m->is_emergency;
		show_watch(s, lease, sources);
	}
	pm_evidence_for_decision(e, s, m->requested.sync != PM_AVOID && m->requested.direct != PM_AVOID);
	int rc = pm_evidence_shortage(e);
	if (rc)
		return rc;
	pm_evidence_for_observation(e, s);
	if (m->file)
		pm_name_note(&m->file->place, &e[PM_EV_NAMED]);
	*ret = pm_decide(e, &m->requested);
	return 0;
}

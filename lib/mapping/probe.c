/* SPDX-License-Identifier: BSD-3-Clause */
/* pm_probe(): the result of pm_map(), without a trace. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "error.h"
#include "facts/evidence.h"
#include "facts/gather.h"
#include "facts/subject.h"
#include "file/close.h"
#include "file/forbidden.h"
#include "file/open.h"
#include "kernel/limits.h"
#include "mapping/area.h"
#include "mapping/calls.h"
#include "mapping/shape.h"
#include "observe/observe.h"
#include "sys/sys.h"

/* Whether the file can be mapped so, and grown: nothing else of pm_map() can be tried without a trace. */
static int try_to_map(const struct pm_file *f, const struct pm_requested *requested, struct pm_subject s,
                      bool is_synchronous)
{
	int limited = s.end > f->size ? pm_file_within_limit(f, s.end) : 0;
	if (limited)
		return limited;
	int rc = pm_area_try(f, requested, s, is_synchronous, f->size);
	bool grows = s.end > f->size && S_ISREG(f->stx.stx_mode) && !f->created;
	if (!rc && grows && pm_file_what_forbids(f->fd, -EPERM, PM_CHANGE_GROWS))
		rc = pm_file_fail_forbidden(f, -EPERM, "the file cannot be grown", PM_CHANGE_GROWS);
	return rc;
}

/* What pm_map() would see and make of the file; the rows of the report stay what was found. */
static struct pm_decision foretell(const struct pm_file *f, const struct pm_options *o,
                                   const struct pm_requested *requested, struct pm_span range,
                                   pm_evidence_table assumed)
{
	pm_assess_assume(assumed, o, range.offset + range.length > f->size,
	                 pm_assess_will_prepare(o, f->created, assumed));
	/* A trial would be visible, and the open of this file would break the lease. */
	if (requested->lease)
		pm_evidence_set(&assumed[PM_EV_LEASE_HELD], PM_YES, 0, "assumed: pm_map() takes the lease", NULL);
	return pm_decide(assumed, requested);
}

static int assess(struct pm_file *f, const struct pm_options *o, struct pm_span range, struct pm_report *r)
{
	struct pm_subject s;
	struct pm_requested requested = pm_assess_request(o, f);
	pm_assess_subject(f, &requested, range, !(o->flags & PM_READ_ONLY), &s);
	s.syncs = pm_assess_syncs(f, o);
	s.syncs_of_lines = pm_assess_syncs_of_lines(f);
	/* The stand-in for a missing file has no name. */
	s.name = f->created ? NULL : s.name;
	s.unseen = true;
	s.is_anew = true;
	pm_evidence_for_decision(r->evidence, &s, o->sync != PM_AVOID && o->direct != PM_AVOID);
	int rc = o->sync == PM_GUARANTEE ? pm_evidence_shortage(r->evidence) : 0;
	if (rc)
		return pm_limit_no_evidence(f->name, f->call, rc);
	pm_evidence_for_observation(r->evidence, &s);
	pm_evidence_table assumed;
	memcpy(assumed, r->evidence, sizeof(assumed));
	struct pm_decision d = foretell(f, o, &requested, range, assumed);
	bool is_synchronous =
		d.granularity >= PM_CACHE_LINE || (requested.lease && assumed[PM_EV_MAP_SYNC].state == PM_YES);
	struct pm_area_wish wish;
	rc = d.verdict == PM_VERDICT_REFUSED ? 0 : pm_area_take_wish(f, o, &s, &wish);
	if (!rc && d.verdict != PM_VERDICT_REFUSED && o->flags & PM_FROM_MEDIUM)
		rc = pm_shape_check_medium(f, r->evidence);
	if (!rc && d.verdict != PM_VERDICT_REFUSED)
		rc = try_to_map(f, &requested, s, is_synchronous);
	if (rc)
		return rc;
	pm_evidence_for_report(r->evidence, &s);
	/* A file that pm_map() will make longer is not truncated. */
	r->evidence[PM_EV_IN_FILE] = assumed[PM_EV_IN_FILE];
	pm_report_fill(r, &d, &requested);
	return 0;
}

static int probe_anonymous(const struct pm_options *o, struct pm_report *r)
{
	struct pm_subject s = {.backing = PM_BACKING_ANONYMOUS, .fd = -1};
	struct pm_requested requested = pm_assess_request(o, NULL);
	pm_evidence_for_decision(r->evidence, &s, false);
	pm_evidence_for_report(r->evidence, &s);
	struct pm_decision d = pm_decide(r->evidence, &requested);
	pm_report_fill(r, &d, &requested);
	r->length = o->length;
	return 0;
}

int pm_mapping_probe(const char *path, int fd, const struct pm_options *o, struct pm_report *r)
{
	struct pm_descriptor_name name = pm_name_descriptor(fd);
	bool by_path = path || o->flags & PM_ANONYMOUS;
	struct pm_file f = {.call = by_path ? "pm_probe" : "pm_probe_fd", .name = path, .fd = -1, .directory_fd = -1};
	f.name = by_path ? path : name.text;
	size_t reserve;
	memset(r, 0, sizeof(*r));
	pm_evidence_clear(r->evidence);
	if (o->flags & PM_ANONYMOUS)
		return probe_anonymous(o, r);
	int rc = by_path ? pm_file_open_unseen(&f, path, o) : pm_file_borrow_unseen(&f, fd, o);
	r->size = sizeof(*r);
	r->sync_request = o->sync;
	r->direct_request = o->direct;
	r->offset = o->offset;
	if (rc == -EOPNOTSUPP) /* no unnamed file in that directory: there is nothing to look at */
		return 0;
	if (rc)
		return rc;
	struct pm_span range = {.length = 0};
	rc = pm_assess_range(&f, o, &range);
	r->length = range.length;
	if (!rc)
		rc = pm_area_try_reserve(&f, o->reserve, range.offset, range.length, &reserve);
	if (!rc)
		rc = assess(&f, o, range, r);
	pm_file_close(&f);
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "durability/alone.h"
#include "error.h"
#include "mapping/gate.h"
#include "mapping/naming.h"
#include "observe/publish.h"

/* After it there is no mapping left that another call could mend. */
static bool is_last(const char *call)
{
	return !strcmp(call, "pm_unmap");
}

/* Sends the event, once for each failure, and leaves the sentence. */
static int report_error(struct pm_mapping *m, const char *call, int error)
{
	pm_publish_failure(&m->observed, error);
	if (error == -ENOMEM && atomic_load(&m->medium.has_gap))
		return pm_fail(error, call, m->name,
		               "the program unmapped a part of the mapping (munmap(2)), and it is not known whether "
		               "what was stored is durable%s",
		               is_last(call) ? "" : ": pm_clear_error() makes it durable");
	return pm_fail(error, call, m->name, "a write-back failed or could not be confirmed: %s; %s%s",
	               pm_strerror(error),
	               is_last(call) ? "the mapping is gone, and what was stored through it may not be durable"
	                             : "the mapping is poisoned until pm_clear_error()",
	               pm_what_helps(error));
}

/* No answer through the descriptor counts any more, so no call promises anything by itself. */
static int report_lost_descriptor(struct pm_mapping *m, const char *call)
{
	pm_terms_close_short_cut(&m->terms);
	return pm_fail(
		-EBADF, call, m->name,
		"the program closed descriptor %d of this mapping, or another file has its number: %smap again",
		m->medium.fd, is_last(call) ? "" : "unmap and ");
}

int pm_gate_enter(struct pm_mapping *m, const char *call)
{
	int error = pm_errors_current(&m->errors);
	if (error)
		return report_error(m, call, error);
	if (atomic_load_explicit(&m->file.identity.lost, memory_order_relaxed))
		return report_lost_descriptor(m, call);
	error = atomic_load_explicit(&m->terms.lost_guarantee, memory_order_relaxed);
	return error ? pm_fail(error, call, m->name, "the guarantee was lost%s",
	                       is_last(call) ? ", and no call of pm_clear_error() acknowledged it"
	                                     : "; call pm_clear_error() to acknowledge it")
	             : 0;
}

int pm_gate_leave(struct pm_mapping *m, const char *call, int rc)
{
	if (!rc)
		return 0;
	if (rc == -EBADF && atomic_load(&m->file.identity.lost))
		return report_lost_descriptor(m, call);
	pm_errors_add(&m->errors, rc);
	/* If another thread cleared the error meanwhile, it still was this call's failure. */
	int error = pm_gate_enter(m, call);
	return error ? error : rc;
}

void pm_gate_note_end(struct pm_mapping *m, uint64_t end, unsigned resized)
{
	pm_medium_note_end(&m->medium, end, resized);
	pm_gate_note_cut(m);
}

void pm_gate_note_cut(struct pm_mapping *m)
{
	if (pm_medium_is_cut(&m->medium))
		pm_terms_close_short_cut(&m->terms);
}

/* Whether pm_resize() can let the mapping go on after the call. */
static bool can_go_on(const struct pm_mapping *m, const char *call)
{
	bool ends = is_last(call) || !strcmp(call, "pm_give_up");
	bool can_resize = pm_mapping_backing(m) == PM_BACKING_FILE && (m->reserved || !(m->flags & PM_READ_ONLY));
	return can_resize && !ends && !pm_parts_have_gaps(&m->medium.parts);
}

int pm_gate_cut_off(struct pm_mapping *m, const char *call)
{
	unsigned long long end = pm_medium_report_end(&m->medium);
	return pm_fail(-ERANGE, call, m->name,
	               "the file was truncated to %llu, inside the range, and what was stored beyond is lost: "
	               "%smap again",
	               end, can_go_on(m, call) ? "pm_resize() to what is left, or " : "");
}

/* On lines what was flushed is not recorded, so it may lie beyond. Through a read-only mapping nothing was stored. */
static bool is_flushed_beyond(struct pm_mapping *m)
{
	if (atomic_load(&m->medium.writeback.cut))
		return true;
	bool lines = atomic_load(&m->terms.strategy)->granularity >= PM_CACHE_LINE;
	return lines && pm_medium_is_cut(&m->medium) && !m->medium.read_only;
}

int pm_gate_leave_drain(struct pm_mapping *m, const char *call, int rc)
{
	rc = pm_gate_leave(m, call, rc);
	return !rc && is_flushed_beyond(m) ? pm_gate_cut_off(m, call) : rc;
}

int pm_gate_clear(struct pm_mapping *m)
{
	const char *call = "pm_clear_error";
	pm_mapping_acknowledge_name(m);
	pm_terms_acknowledge(&m->terms, &m->medium);
	int rc = pm_gate_enter(m, call);
	if (!rc || !pm_errors_current(&m->errors))
		return rc;
	unsigned failures = atomic_load(&m->errors.shared->error_seq);
	rc = pm_page_recover(&m->medium);
	if (rc == -EBADF)
		return pm_gate_leave(m, call, rc);
	if (rc) {
		/* This is a failed write-back like any other, unless there was no write-back. */
		if (rc != -EACCES)
			pm_shared_file_fail(m->errors.shared, failures, rc);
		return pm_fail(rc, call, m->name, "writing everything back failed again: %s%s", pm_strerror(rc),
		               pm_what_helps(rc));
	}
	pm_errors_clear(&m->errors, failures);
	return 0;
}

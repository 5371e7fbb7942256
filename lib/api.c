/* SPDX-License-Identifier: BSD-3-Clause */
/* Public entry of the calls that take no address: checks arguments, delegates. */
#include <errno.h>
#include <string.h>

#include "arguments.h"
#include "error.h"
#include "facts/evidence.h"
#include "kernel/limits.h"
#include "mapping/calls.h"
#include "mapping/gate.h"

static int take_path(const char *call, const char *path, const struct pm_options *o)
{
	if (path && !path[0])
		return pm_fail(-ENOENT, call, path, "the path is empty: %s", pm_strerror(-ENOENT));
	if (!path != !!(o->flags & PM_ANONYMOUS))
		return pm_fail(-EINVAL, call, path, path ? "path must be NULL with PM_ANONYMOUS" : "path is NULL");
	if (o->flags & PM_BORROW_FD)
		return pm_fail(-EINVAL, call, path, "PM_BORROW_FD needs a descriptor: pm_map_fd(), pm_probe_fd()");
	return 0;
}

static int take_descriptor(const char *call, const char *name, const struct pm_options *o)
{
	if (o->flags & (PM_ANONYMOUS | PM_EXCLUSIVE))
		return pm_fail(-EINVAL, call, name, "PM_ANONYMOUS and PM_EXCLUSIVE cannot be used with a descriptor");
	return 0;
}

/* ---- Life ---- */

int pm_map(const char *path, const struct pm_options *options, struct pm_mapping **ret_mapping)
{
	struct pm_options o;
	int rc = pm_take_options("pm_map", path, options, &o);
	if (!rc)
		rc = take_path("pm_map", path, &o);
	if (!rc && !ret_mapping)
		rc = pm_null_argument("pm_map", path, "ret_mapping");
	return rc ? rc : pm_mapping_open(path, -1, &o, ret_mapping);
}

int pm_map_fd(int fd, const struct pm_options *options, struct pm_mapping **ret_mapping)
{
	struct pm_descriptor_name name = pm_name_descriptor(fd);
	struct pm_options o;
	int rc = pm_take_options("pm_map_fd", name.text, options, &o);
	if (!rc)
		rc = take_descriptor("pm_map_fd", name.text, &o);
	if (!rc && !ret_mapping)
		rc = pm_null_argument("pm_map_fd", name.text, "ret_mapping");
	return rc ? rc : pm_mapping_open(NULL, fd, &o, ret_mapping);
}

int pm_unmap(struct pm_mapping *m)
{
	return m ? pm_mapping_close(m) : 0;
}

int pm_give_up(struct pm_mapping *m, void *address, size_t length)
{
	return m ? pm_mapping_give_up(m, address, length) : pm_no_mapping("pm_give_up");
}

int pm_resize(struct pm_mapping *m, uint64_t length)
{
	return m ? pm_mapping_resize(m, length) : pm_no_mapping("pm_resize");
}

void *pm_base(const struct pm_mapping *m)
{
	return m ? m->base : NULL;
}

uint64_t pm_length(const struct pm_mapping *m)
{
	return m ? atomic_load_explicit(&m->length, memory_order_acquire) : 0;
}

struct pm_mapping *pm_find(const void *address)
{
	return pm_place_find(address);
}

enum pm_granularity pm_granularity_of(const struct pm_mapping *m)
{
	return m ? atomic_load_explicit(&m->terms.granularity, memory_order_relaxed) : PM_GRANULARITY_UNKNOWN;
}

int pm_clear_error(struct pm_mapping *m)
{
	struct pm_report report = {.size = 0};
	if (!m)
		return pm_no_mapping("pm_clear_error");
	bool is_guaranteed = pm_requested_guarantee(&m->mapped.requested);
	/* The call acknowledges what is so now, and not only what an earlier look has seen. */
	if (is_guaranteed)
		pm_mapping_report(m, "pm_clear_error", &report, false);
	int rc = pm_gate_clear(m);
	if (is_guaranteed)
		pm_mapping_report(m, "pm_clear_error", &report, false);
	return rc;
}

int pm_guarded(struct pm_mapping *m, pm_guarded_fn *function, void *arg, struct pm_fault *fault, size_t fault_size)
{
	struct pm_fault full;
	if (!m)
		return pm_no_mapping("pm_guarded");
	memset(&full, 0, sizeof(full));
	if (!function)
		return pm_fail(-EINVAL, "pm_guarded", m->name, "function is NULL");
	if (fault && !pm_is_fault_size(fault_size))
		return pm_fail(-EINVAL, "pm_guarded", m->name,
		               "fault_size is %zu: too small, or it ends inside a member", fault_size);
	int rc = pm_mapping_guarded(m, function, arg, &full);
	if (fault) {
		full.size = fault_size < sizeof(full) ? fault_size : sizeof(full);
		memcpy(fault, &full, full.size);
	}
	return rc;
}

/* ---- Truth ---- */

/* Copies as much of the report as the caller has room for. */
static int give_report(const struct pm_report *full, struct pm_report *report, size_t size)
{
	size_t given = size < sizeof(*full) ? size : sizeof(*full);
	memcpy(report, full, given);
	report->size = given;
	return 0;
}

int pm_query(struct pm_mapping *m, struct pm_report *report, size_t report_size)
{
	struct pm_report full;
	if (!m)
		return pm_no_mapping("pm_query");
	int wrong = pm_check_report("pm_query", m->name, report, report_size);
	if (wrong)
		return wrong;
	memset(&full, 0, sizeof(full));
	int rc = pm_mapping_report(m, "pm_query", &full, report_size > offsetof(struct pm_report, evidence));
	if (rc)
		return rc;
	/* Another reason may hide a truncation, which then only the row tells. */
	bool has_row = report_size >= offsetof(struct pm_report, evidence[PM_EV_IN_FILE + 1]);
	if (full.reason == PM_REASON_TRUNCATED || (has_row && full.evidence[PM_EV_IN_FILE].state == PM_NO))
		pm_medium_report_end(&m->medium);
	return give_report(&full, report, report_size);
}

static uint64_t counted(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

int pm_statistics(struct pm_mapping *m, struct pm_statistics *statistics, size_t size)
{
	if (!m)
		return pm_no_mapping("pm_statistics");
	if (!statistics)
		return pm_null_argument("pm_statistics", m->name, "the struct pm_statistics");
	if (!pm_is_statistics_size(size))
		return pm_fail(-EINVAL, "pm_statistics", m->name,
		               "statistics_size is %zu: too small, or it ends inside a member", size);
	const struct pm_counters *c = &m->medium.counters;
	const struct pm_statistics full = {
		.size = size < sizeof(full) ? size : sizeof(full),
		.flushes = counted(&c->flushes),
		.drains = counted(&c->drains),
		.write_backs = counted(&c->write_backs),
		.bytes_asked = counted(&c->bytes_asked),
		.bytes_written = counted(&c->bytes_written),
		.errors = counted(&c->errors),
		.demotions = counted(&c->demotions),
		.promotions = counted(&c->promotions),
		.nanoseconds_waited = counted(&c->waited),
		.bytes_beyond = counted(&c->bytes_beyond),
	};
	memcpy(statistics, &full, full.size);
	return 0;
}

int pm_event_fd(struct pm_mapping *m)
{
	if (!m)
		return pm_no_mapping("pm_event_fd");
	if (pm_mapping_backing(m) == PM_BACKING_ANONYMOUS)
		return pm_fail(-EOPNOTSUPP, "pm_event_fd", m->name, "anonymous memory has no file to watch");
	int fd = pm_mapping_event_fd(m);
	if (fd >= 0)
		return fd;
	if (fd == -EBADF)
		return pm_fail(fd, "pm_event_fd", m->name,
		               "the program closed or replaced the descriptor of the file, or the one that an earlier "
		               "call returned: unmap and map again");
	char limit[120];
	bool is_named = pm_limit_name(limit, sizeof(limit), (enum pm_resource)m->listener.wanted, 0, fd);
	return pm_fail(fd, "pm_event_fd", m->name, "the mapping cannot be watched: %s",
	               is_named ? limit : pm_strerror(fd));
}

int pm_next_event(struct pm_mapping *m, struct pm_event *event, size_t event_size)
{
	struct pm_event full;
	if (!m)
		return pm_no_mapping("pm_next_event");
	if (!event)
		return pm_null_argument("pm_next_event", m->name, "the event");
	if (!pm_is_event_size(event_size))
		return pm_fail(-EINVAL, "pm_next_event", m->name,
		               "event_size is %zu: too small, or it ends inside a member", event_size);
	int rc = pm_mapping_next_event(m, &full);
	if (rc)
		return rc;
	full.size = event_size < sizeof(full) ? event_size : sizeof(full);
	memcpy(event, &full, full.size);
	return 0;
}

int pm_probe(const char *path, const struct pm_options *options, struct pm_report *report, size_t report_size)
{
	struct pm_report full;
	struct pm_options o;
	int rc = pm_take_options("pm_probe", path, options, &o);
	if (!rc)
		rc = take_path("pm_probe", path, &o);
	if (!rc)
		rc = pm_check_report("pm_probe", path, report, report_size);
	if (!rc)
		rc = pm_mapping_probe(path, -1, &o, &full);
	return rc ? rc : give_report(&full, report, report_size);
}

int pm_probe_fd(int fd, const struct pm_options *options, struct pm_report *report, size_t report_size)
{
	struct pm_descriptor_name name = pm_name_descriptor(fd);
	struct pm_report full;
	struct pm_options o;
	int rc = pm_take_options("pm_probe_fd", name.text, options, &o);
	if (!rc)
		rc = take_descriptor("pm_probe_fd", name.text, &o);
	if (!rc)
		rc = pm_check_report("pm_probe_fd", name.text, report, report_size);
	if (!rc)
		rc = pm_mapping_probe(NULL, fd, &o, &full);
	return rc ? rc : give_report(&full, report, report_size);
}

#define TEXT(number) #number
#define NUMBER(macro) TEXT(macro)

const char *pm_version(void)
{
	return NUMBER(PM_VERSION_MAJOR) "." NUMBER(PM_VERSION_MINOR) "." NUMBER(PM_VERSION_PATCH);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The arguments of a caller, before anything is done with them. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "arguments.h"
#include "error.h"
#include "sys/sys.h"

#define KNOWN_FLAGS                                                                                          \
	(PM_CREATE | PM_EXCLUSIVE | PM_READ_ONLY | PM_PRIVATE | PM_ANONYMOUS | PM_SPARSE | PM_PREPARE |      \
	 PM_TRUST_KERNEL | PM_WATCH | PM_LEASE | PM_FAIL_ON_DEMOTION | PM_FROM_MEDIUM |           \
	 PM_BORROW_FD | PM_AT_LEAST)

/* Other flags of mmap(2) are the library's to choose, or have no meaning for a file. */
#define KNOWN_MAP_FLAGS                                                                                      \
	(MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_POPULATE | MAP_NONBLOCK | MAP_LOCKED | MAP_NORESERVE)

static const char *contradiction_of_place(const struct pm_options *o)
{
	bool is_fixed = o->map_flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
	if (is_fixed && !o->address)
		return "MAP_FIXED and MAP_FIXED_NOREPLACE need options->address";
	if (is_fixed && o->reserve)
		return "a mapping at a fixed address cannot have a reserve";
	return NULL;
}

/* A flag that cannot do what it says. One that has nothing to do is none: MAP_FIXED beside MAP_FIXED_NOREPLACE. */
static const char *contradiction(const struct pm_options *o)
{
	unsigned f = o->flags;
	if (f & PM_EXCLUSIVE && !(f & PM_CREATE))
		return "PM_EXCLUSIVE needs PM_CREATE";
	if (f & PM_SPARSE && f & PM_PREPARE)
		return "PM_SPARSE and PM_PREPARE exclude each other";
	if (f & (PM_READ_ONLY | PM_PRIVATE) && f & (PM_CREATE | PM_PREPARE))
		return "a read-only or private mapping cannot create or prepare its file";
	if (f & PM_LEASE && f & (PM_READ_ONLY | PM_PRIVATE))
		return "a read-only or private mapping cannot hold a lease";
	if (f & PM_LEASE && f & PM_BORROW_FD)
		return "PM_LEASE takes the descriptor over, and PM_BORROW_FD leaves it to the caller";
	if (f & PM_FAIL_ON_DEMOTION && o->sync != PM_GUARANTEE && o->direct != PM_GUARANTEE)
		return "PM_FAIL_ON_DEMOTION needs a guarantee";
	if (f & PM_ANONYMOUS && f & ~(PM_ANONYMOUS | PM_PRIVATE))
		return "PM_ANONYMOUS goes with no other flag but PM_PRIVATE, which it is anyway";
	if (f & PM_ANONYMOUS && !o->length)
		return "options->length is 0, and anonymous memory has no file to take a length from";
	if (f & PM_ANONYMOUS && o->offset)
		return "anonymous memory has no offset";
	if (o->reserve && f & (PM_PRIVATE | PM_ANONYMOUS))
		return "only a shared mapping of a file can have a reserve";
	if (o->reserve && o->reserve < o->length)
		return "the reserve is smaller than the length";
	if (o->mode & ~07777u)
		return "mode has bits that are not permissions";
	return contradiction_of_place(o);
}

static int check_known(const char *call, const char *path, const struct pm_options *o)
{
	const struct {
		const char *kind, *member;
		unsigned unknown;
	} values[] = {
		{"flag", "flags", o->flags & ~KNOWN_FLAGS},
		{"flag", "map_flags", (unsigned)(o->map_flags & ~KNOWN_MAP_FLAGS)},
		{"request", "sync", (unsigned)o->sync > PM_AVOID ? (unsigned)o->sync : 0},
		{"request", "direct", (unsigned)o->direct > PM_AVOID ? (unsigned)o->direct : 0},
		{"access", "access", (unsigned)o->access > PM_ACCESS_SEQUENTIAL ? (unsigned)o->access : 0},
	};
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		if (values[i].unknown)
			return pm_fail(-EINVAL, call, path, "unknown %s 0x%x in options->%s", values[i].kind,
			               values[i].unknown, values[i].member);
	return 0;
}

/*
 * A struct has had several sizes, and each ends where a field does. The ends, in order, from the first that makes
 * sense.
 */
#define END(type, field) (offsetof(struct type, field) + sizeof(((struct type *)0)->field))
static const size_t option_ends[] = {END(pm_options, direct), END(pm_options, flags), END(pm_options, mode),
                                     offsetof(struct pm_options, offset), /* behind it, where that is aligned */
                                     END(pm_options, offset), END(pm_options, length), END(pm_options, on_event),
                                     END(pm_options, event_arg), END(pm_options, reserve),
                                     END(pm_options, access), END(pm_options, map_flags),
                                     END(pm_options, address)};
static const size_t event_ends[] = {
	END(pm_event, reason),   END(pm_event, error),           END(pm_event, offset),
	END(pm_event, length),   END(pm_event, old_granularity), END(pm_event, new_granularity),
	END(pm_event, old_sync), END(pm_event, old_direct),      END(pm_event, sync),
	END(pm_event, direct),   END(pm_event, frames),          END(pm_event, frame),
	END(pm_event, where)};
static const size_t statistics_ends[] = {
	END(pm_statistics, flushes),     END(pm_statistics, drains),        END(pm_statistics, write_backs),
	END(pm_statistics, errors),      END(pm_statistics, bytes_asked),   END(pm_statistics, bytes_written),
	END(pm_statistics, demotions),   END(pm_statistics, promotions),    END(pm_statistics, nanoseconds_waited),
	END(pm_statistics, bytes_beyond)};
static const size_t fault_ends[] = {END(pm_fault, code), END(pm_fault, offset), END(pm_fault, length),
                                    END(pm_fault, address)};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ENDS(array) array, COUNT(array)
#define SMALLEST_PAGE ((size_t)4096)
#define MOST_BYTES SMALLEST_PAGE /* of a struct that is accepted */

/* A larger struct is a newer one; padding may follow the last field. */
static bool ends_with_field(size_t size, const size_t *end, size_t count)
{
	if (size >= end[count - 1])
		return true;
	while (count && size != end[count - 1])
		count--;
	return count;
}

/*
 * The size is the caller's word. The page of the size itself can be read; MOST_BYTES reach into one more page at most,
 * and of that page the kernel is asked.
 */
static int check_readable(const void *address, size_t size)
{
	uintptr_t first = (uintptr_t)address, next = (first | (SMALLEST_PAGE - 1)) + 1;
	return size <= next - first ? 0 : PM_RETRY(pm_sys->rt_sigprocmask_reads((const void *)next));
}

int pm_null_argument(const char *call, const char *name, const char *what)
{
	return pm_fail(-EINVAL, call, name, "%s is NULL", what);
}

int pm_no_mapping(const char *call)
{
	return pm_null_argument(call, NULL, "the mapping");
}

/* Accepts options of any version of the struct; what this version does not know must not be set. */
int pm_take_options(const char *call, const char *path, const struct pm_options *in, struct pm_options *out)
{
	*out = (struct pm_options){.size = sizeof(*out)};
	if (!in)
		return 0;
	if (!in->size)
		return pm_fail(-EINVAL, call, path, "options->size is 0: set it to sizeof(struct pm_options)");
	if (in->size > MOST_BYTES)
		return pm_fail(-E2BIG, call, path, "options->size is %zu, more than a struct pm_options may have",
		               in->size);
	if (!ends_with_field(in->size, ENDS(option_ends)))
		return pm_fail(-EINVAL, call, path, "options->size is %zu: too small, or it ends inside a member",
		               in->size);
	int rc = check_readable(in, in->size);
	if (rc)
		return pm_fail(rc, call, path, "options->size is %zu, and the memory there cannot be read: %s",
		               in->size, pm_strerror(rc));
	const char *bytes = (const char *)in;
	for (size_t i = sizeof(*out); i < in->size; i++)
		if (bytes[i])
			return pm_fail(-E2BIG, call, path, "options that this version does not know are set");
	memcpy(out, in, in->size < sizeof(*out) ? in->size : sizeof(*out));
	rc = check_known(call, path, out);
	if (rc)
		return rc;
	const char *wrong = contradiction(out), *name = path;
	if (!path && out->flags & PM_ANONYMOUS)
		name = "anonymous memory";
	if (wrong)
		return pm_fail(-EINVAL, call, name, "%s", wrong);
	if (out->flags & PM_ANONYMOUS && out->length > PTRDIFF_MAX - (size_t)sysconf(_SC_PAGESIZE))
		return pm_fail(-EOVERFLOW, call, name, "%llu bytes are more than a process can address",
		               (unsigned long long)out->length);
	return 0;
}

/* Without the rows, or with as many rows as fit whole. */
int pm_check_report(const char *call, const char *name, const struct pm_report *report, size_t size)
{
	size_t head = offsetof(struct pm_report, evidence);
	if (!report)
		return pm_null_argument(call, name, "the report");
	if (size >= sizeof(*report) || (size >= head && (size - head) % sizeof(report->evidence[0]) == 0))
		return 0;
	return pm_fail(-EINVAL, call, name, "report_size is %zu: too small, or it ends inside a row", size);
}

bool pm_is_event_size(size_t size)
{
	return ends_with_field(size, ENDS(event_ends));
}

bool pm_is_statistics_size(size_t size)
{
	return ends_with_field(size, ENDS(statistics_ends));
}

bool pm_is_fault_size(size_t size)
{
	return ends_with_field(size, ENDS(fault_ends));
}

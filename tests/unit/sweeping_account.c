/* SPDX-License-Identifier: BSD-3-Clause */
/* What the library promised to a flow, held against what the kernel of the sweep holds. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "fake_internal.h"
#include "mapping/mapping.h"
#include "sweeping.h"
#include "sweeping_internal.h"
#include "unit.h"

#define RANGES_MOST 64
#define STEPS_MOST 64

struct pm_mapping *swept;
const char *swept_path, *sweep_link;

enum promise { STORED, FLUSHED, PROMISED };

static struct {
	uint64_t offset, size_before;
	bool existed, private, read_only;
	unsigned flags;
	struct range {
		uint64_t at, length;
		enum promise state;
	} ranges[RANGES_MOST];
	unsigned count, stores;
	int results[STEPS_MOST];
	unsigned steps;
} a;
static int first_results[STEPS_MOST];
static unsigned first_steps;
static char image[SWEEP_PAGES * 65536];

size_t sweep_size(void)
{
	return 3 * unit_page() + 1000;
}

void sweep_account_start(void)
{
	memset(&a, 0, sizeof(a));
	swept = NULL;
}

/* Without Check, whose allocations would count. */
static uint64_t size_of(const char *path)
{
	struct stat st;
	return stat(path, &st) ? 0 : (uint64_t)st.st_size;
}

/* ---- Ranges ---- */

static void add(uint64_t at, uint64_t length, enum promise state)
{
	if (!length)
		return;
	unit_expect(a.count < RANGES_MOST);
	a.ranges[a.count++] = (struct range){at, length, state};
}

/* Forgets what was promised of it. */
static void cut_out(uint64_t at, uint64_t end)
{
	for (unsigned i = a.count; i-- > 0;) {
		struct range r = a.ranges[i];
		if (r.at >= end || r.at + r.length <= at)
			continue;
		a.ranges[i] = a.ranges[--a.count];
		if (r.at < at)
			add(r.at, at - r.at, r.state);
		if (r.at + r.length > end)
			add(end, r.at + r.length - end, r.state);
	}
}

static void now(uint64_t at, uint64_t length, enum promise state)
{
	cut_out(at, at + length);
	add(at, length, state);
}

static void check_promises(void)
{
	for (unsigned i = 0; i < a.count; i++)
		if (a.ranges[i].state == PROMISED &&
		    !kernel_holds(image + a.ranges[i].at, a.offset + a.ranges[i].at, (size_t)a.ranges[i].length))
			sweep_abort("a false 0: the medium does not hold %llu bytes at %llu",
			            (unsigned long long)a.ranges[i].length, (unsigned long long)a.ranges[i].at);
}

static bool promises_anything(void)
{
	return !a.private && pm_granularity_of(swept) != PM_NONE;
}

static void keep(bool all)
{
	if (all) {
		a.count = 0;
		memcpy(image, pm_base(swept), (size_t)pm_length(swept));
		add(0, pm_length(swept), FLUSHED);
	}
	for (unsigned i = 0; i < a.count; i++)
		if (a.ranges[i].state == FLUSHED)
			a.ranges[i].state = PROMISED;
	check_promises();
}

/* ---- Results ---- */

static void before_call(void)
{
	pm_fail(-1, "sweep", NULL, "no error");
}

int sweep_result(const char *call, int rc)
{
	unit_expect(a.steps < STEPS_MOST);
	a.results[a.steps++] = rc;
	if (rc < 0 && rc != -EAGAIN && !strncmp(pm_error_detail(), "sweep", 5))
		sweep_abort("%s returns %d without a sentence", call, rc);
	if (rc == -EINTR)
		sweep_abort("%s returns -EINTR", call);
	if (sweep_case.error == EINTR && !sweep_case.is_first && !sweep_case.has_threads && a.steps <= first_steps &&
	    (rc < 0 || first_results[a.steps - 1] < 0) && rc != first_results[a.steps - 1])
		sweep_abort("%s returns %d after a signal, else %d: %s", call, rc, first_results[a.steps - 1],
		            pm_error_detail());
	if (sweep_case.is_first) {
		memcpy(first_results, a.results, sizeof(first_results));
		first_steps = a.steps;
	}
	return rc;
}

/* As far as it can be read; another process may have cut the file off. */
static void touch(void)
{
	uint64_t size = size_of(swept_path), page = unit_page();
	for (uint64_t at = 0; at < pm_length(swept) && a.offset + at < size; at += page)
		(void)*((volatile char *)pm_base(swept) + at);
}

/* ---- Calls ---- */

/*
 * What a failing call leaves where no lease shows that it is alone: a longer file where the caller has a descriptor,
 * both where leases are no proof.
 */
static bool may_stay(const char *call)
{
	return !fake.machine.has_unnamed_files || !strcmp(call, "pm_map_fd") || (swept && a.flags & PM_BORROW_FD);
}

static bool is_long_as(uint64_t before, const char *call)
{
	uint64_t size = size_of(swept_path);
	return size == before || (size > before && may_stay(call));
}

static int made(const char *call, const struct pm_options *o, int rc)
{
	if (sweep_result(call, rc)) {
		sweep_expect(!swept);
		/* Where the call fails anyway the fault may be one of undoing it, and then nothing can be done. */
		bool can_undo = sweep_case.is_first || first_results[a.steps - 1] >= 0;
		bool is_said = may_stay(call) && strstr(pm_error_detail(), "stays");
		if (unit_exists(swept_path) != a.existed && can_undo && !is_said)
			sweep_abort("%s failed with %d (%s), and the file was left behind", call, rc,
			            pm_error_detail());
		if (a.existed && !is_long_as(a.size_before, call) && can_undo)
			sweep_abort("%s failed with %d (%s), and the file is as long as %llu", call, rc,
			            pm_error_detail(), (unsigned long long)size_of(swept_path));
		return rc;
	}
	a.offset = o ? o->offset : 0;
	a.private = o && o->flags & (PM_PRIVATE | PM_ANONYMOUS);
	a.read_only = o && o->flags & PM_READ_ONLY;
	a.flags = o ? o->flags : 0;
	bool is_node = fake.machine.is_device_dax || fake.machine.is_block_device;
	if (a.flags & PM_CREATE && !is_node) {
		sweep_expect(kernel_holds_size());
		sweep_expect(kernel_holds_entry() || !strcmp(call, "pm_map_fd"));
	}
	if (!(a.flags & PM_ANONYMOUS))
		touch();
	memcpy(image, pm_base(swept), (size_t)pm_length(swept));
	return 0;
}

static void remember_file(void)
{
	a.existed = unit_exists(swept_path);
	a.size_before = a.existed ? size_of(swept_path) : 0;
	before_call();
}

int sweep_map(const struct pm_options *o)
{
	remember_file();
	bool anonymous = o && o->flags & PM_ANONYMOUS, linked = unit_exists(sweep_link);
	return made("pm_map", o, pm_map(anonymous ? NULL : linked ? sweep_link : swept_path, o, &swept));
}

int sweep_map_fd(const struct pm_options *o)
{
	remember_file();
	int fd = open(swept_path, O_RDWR | O_CLOEXEC), rc = pm_map_fd(fd, o, &swept);
	/* With a lease it is the library's now. */
	if (!rc && o && o->flags & PM_LEASE)
		fake_opened(fd);
	else
		close(fd);
	return made("pm_map_fd", o, rc);
}

static int lent = -1;

int sweep_borrow(const struct pm_options *o)
{
	remember_file();
	lent = open(swept_path, O_RDWR | O_CLOEXEC);
	return made("pm_map_fd", o, pm_map_fd(lent, o, &swept));
}

/* Whatever failed, the caller's descriptor is the caller's. */
static void take_back(void)
{
	if (lent >= 0)
		sweep_expect(!close(lent));
	lent = -1;
}

static char *at_of(uint64_t at)
{
	return (char *)pm_base(swept) + at;
}

int sweep_store(uint64_t at, size_t length)
{
	a.stores++;
	memset(at_of(at), (int)(a.stores * 37 + 1), length);
	memcpy(image + at, at_of(at), length);
	now(at, length, STORED);
	return 0;
}

int sweep_flush(uint64_t at, size_t length)
{
	before_call();
	int rc = sweep_result("pm_flush", pm_flush(swept, at_of(at), length));
	if (!rc && promises_anything())
		now(at, length, FLUSHED);
	return rc;
}

int sweep_drain(void)
{
	before_call();
	int rc = sweep_result("pm_drain", pm_drain(swept));
	if (!rc)
		keep(false);
	return rc;
}

/* A range that was made durable, or at least not. */
static int persisted(const char *call, int rc, uint64_t at, size_t length)
{
	if (!sweep_result(call, rc) && promises_anything()) {
		now(at, length, FLUSHED);
		keep(false);
	}
	return rc;
}

int sweep_persist(uint64_t at, size_t length)
{
	before_call();
	return persisted("pm_persist", pm_persist(swept, at_of(at), length), at, length);
}

int sweep_deep_persist(uint64_t at, size_t length)
{
	before_call();
	return persisted("pm_deep_persist", pm_deep_persist(swept, at_of(at), length), at, length);
}

int sweep_sync(void)
{
	before_call();
	int rc = sweep_result("pm_sync", pm_sync(swept));
	if (!rc && promises_anything())
		keep(true);
	return rc;
}

int sweep_commit(uint64_t at, uint64_t other, size_t length)
{
	struct pm_range ranges[] = {{at_of(at), length}, {at_of(other), length}};
	before_call();
	int rc = sweep_result("pm_commit", pm_commit(swept, ranges, COUNT(ranges)));
	if (!rc && promises_anything()) {
		now(at, length, PROMISED);
		now(other, length, PROMISED);
		check_promises();
	}
	return rc;
}

/* Stores by the library: of what it stores nothing is promised before the return. */
static int stored(const char *call, int rc, uint64_t at, size_t length, unsigned flags)
{
	now(at, length, STORED);
	memcpy(image + at, at_of(at), length);
	if (sweep_result(call, rc) || !promises_anything() || flags & PM_NOFLUSH)
		return rc;
	now(at, length, FLUSHED);
	if (!(flags & PM_NODRAIN))
		keep(false);
	return rc;
}

int sweep_copy(uint64_t at, size_t length, unsigned flags)
{
	char source[8192];
	unit_expect(length <= sizeof(source));
	memset(source, (int)(++a.stores * 41 + 1), length);
	before_call();
	int rc = flags & PM_TEMPORAL ? pm_memmove(swept, at_of(at), source, length, flags)
	                             : pm_memcpy(swept, at_of(at), source, length, flags);
	return stored("pm_memcpy", rc, at, length, flags);
}

int sweep_fill(uint64_t at, size_t length, unsigned flags)
{
	before_call();
	int rc = pm_memset(swept, at_of(at), (int)(++a.stores * 43 + 1), length, flags);
	return stored("pm_memset", rc, at, length, flags);
}

int sweep_write(uint64_t at, size_t length)
{
	char source[8192];
	unit_expect(length <= sizeof(source));
	memset(source, (int)(++a.stores * 47 + 1), length);
	before_call();
	return stored("pm_write", pm_write(swept, at_of(at), source, length), at, length, 0);
}

int sweep_read(uint64_t at, size_t length)
{
	char bytes[8192];
	before_call();
	int rc = sweep_result("pm_read", pm_read(swept, bytes, at_of(at), length));
	sweep_expect(rc || !memcmp(bytes, at_of(at), length));
	return rc;
}

int sweep_clear_bad_blocks(uint64_t at, size_t length)
{
	before_call();
	int rc = pm_clear_bad_blocks(swept, at_of(at), length);
	return stored("pm_clear_bad_blocks", rc, at, length, 0);
}

int sweep_resize(uint64_t length)
{
	uint64_t before = pm_length(swept), size = size_of(swept_path);
	before_call();
	int rc = sweep_result("pm_resize", pm_resize(swept, length));
	touch();
	if (rc && length > before) {
		sweep_expect(pm_length(swept) == before);
		if (!is_long_as(size, "pm_resize") && sweep_case.kind != FAKE_ftruncate)
			sweep_abort("pm_resize failed with %d (%s), and the file is as long as %llu", rc,
			            pm_error_detail(), (unsigned long long)size_of(swept_path));
	}
	if (pm_length(swept) < before)
		cut_out(pm_length(swept), before);
	if (rc)
		return rc;
	sweep_expect(pm_length(swept) == length && kernel_holds_size());
	memcpy(image, pm_base(swept), (size_t)length);
	keep(false);
	return 0;
}

int sweep_query(void)
{
	struct pm_report report;
	char text[4096];
	before_call();
	int rc = sweep_result("pm_query", pm_query(swept, &report, sizeof(report)));
	sweep_expect(rc || pm_explain(&report, text, sizeof(text)) > 0);
	return rc;
}

int sweep_probe(const struct pm_options *o)
{
	struct pm_report report;
	remember_file();
	int rc = sweep_result("pm_probe", pm_probe(swept_path, o, &report, sizeof(report)));
	sweep_expect(unit_exists(swept_path) == a.existed);
	sweep_expect(!a.existed || size_of(swept_path) == a.size_before);
	return rc;
}

int sweep_probe_fd(const struct pm_options *o)
{
	struct pm_report report;
	remember_file();
	int fd = open(swept_path, O_RDWR | O_CLOEXEC);
	int rc = sweep_result("pm_probe_fd", pm_probe_fd(fd, o, &report, sizeof(report)));
	sweep_expect(!close(fd) && size_of(swept_path) == a.size_before);
	return rc;
}

int sweep_event_fd(void)
{
	before_call();
	int fd = pm_event_fd(swept);
	sweep_result("pm_event_fd", fd < 0 ? fd : 0);
	return fd < 0 ? fd : 0;
}

int sweep_events(void)
{
	struct pm_event event;
	int rc;
	before_call();
	while (!(rc = pm_next_event(swept, &event, sizeof(event))))
		sweep_expect(event.kind >= PM_EVENT_DEMOTED);
	rc = rc == -EAGAIN ? 0 : rc;
	return sweep_result("pm_next_event", rc);
}

int sweep_clear_error(void)
{
	before_call();
	return sweep_result("pm_clear_error", pm_clear_error(swept));
}

int sweep_unmap(void)
{
	bool promises = promises_anything();
	before_call();
	int rc = sweep_result("pm_unmap", pm_unmap(swept));
	swept = NULL;
	if (!rc && promises)
		keep(false);
	return rc;
}

static void finish_mapping(void)
{
	sweep_case.is_first = false;
	sweep_case.error = 0;
	touch();
	/* Whatever failed, the mapping can be made whole, and then loses nothing. */
	if (!a.read_only && !a.private) {
		if (sweep_clear_error() || sweep_sync())
			sweep_abort("the mapping cannot be made whole: %s", pm_error_detail());
	}
	sweep_unmap();
}

void sweep_finish(void)
{
	if (swept)
		finish_mapping();
	take_back();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Public entry of the calls that take an address: checks the range and the gate, runs the strategy. */
#include <errno.h>
#include <string.h>

#include "arguments.h"
#include "durability/copy.h"
#include "durability/writeback_calls.h"
#include "error.h"
#include "mapping/calls.h"
#include "mapping/gate.h"
#include "mapping/naming.h"

#define KNOWN_COPY_FLAGS (PM_NODRAIN | PM_NOFLUSH | PM_TEMPORAL | PM_NONTEMPORAL)

/* ---- What each call checks ---- */

/* The gate is open unless one of three is known: a failed write-back, a lost descriptor, a lost guarantee. */
static inline int enter_gate(struct pm_mapping *m, const char *call)
{
	bool is_closed = pm_errors_current(&m->errors) ||
	                 atomic_load_explicit(&m->file.identity.lost, memory_order_relaxed) ||
	                 atomic_load_explicit(&m->terms.lost_guarantee, memory_order_relaxed);
	return __builtin_expect(is_closed, 0) ? pm_gate_enter(m, call) : 0;
}

static int out_of_range(struct pm_mapping *m, const char *call, const void *address, size_t length)
{
	long long at = (long long)((uintptr_t)address - (uintptr_t)m->base);
	size_t whole = (size_t)atomic_load(&m->length);
	/* The distance of NULL, or of another mapping's address, tells nothing. */
	if (at < -(long long)whole || at > (long long)whole)
		return pm_fail(-ERANGE, call, m->name,
		               "the range of %zu bytes begins at %p, which lies outside the mapping of %zu bytes at %p",
		               length, address, whole, (void *)m->base);
	return pm_fail(-ERANGE, call, m->name, "the range of %zu bytes at %lld leaves the mapping of %zu bytes", length,
	               at, whole);
}

static inline bool in_range(const struct pm_mapping *m, const void *address, size_t length)
{
	uint64_t at = (uintptr_t)address - (uintptr_t)m->base;
	uint64_t end = atomic_load_explicit(&m->length, memory_order_relaxed);
	return __builtin_expect(at <= end && length <= end - at, 1);
}

/* The same of a range that is not empty, by the one subtraction that the CPU needs for both comparisons. */
static inline bool has_bytes(const struct pm_mapping *m, const void *address, size_t length)
{
	uint64_t at = (uintptr_t)address - (uintptr_t)m->base, left;
	bool is_behind = __builtin_sub_overflow(atomic_load_explicit(&m->length, memory_order_relaxed), at, &left);
	return __builtin_expect(!is_behind && length - 1 < left, 1);
}

/* Whether the file was seen to end before the end of a range in the mapping, which is not empty. */
static inline bool is_beyond(const struct pm_mapping *m, const void *address, size_t length)
{
	uint64_t end = m->mapped.range.offset + ((uintptr_t)address - (uintptr_t)m->base) + length;
	return __builtin_expect(end > atomic_load_explicit(&m->medium.end, memory_order_relaxed), 0);
}

/* In a range that the mapping had at first. */
static inline bool is_given_up(const struct pm_mapping *m, const void *address, size_t length)
{
	return !pm_parts_hold(&m->medium.parts, (uintptr_t)address, (uintptr_t)address + length);
}

static int fail_given_up(const struct pm_mapping *m, const char *call)
{
	return pm_fail(-ERANGE, call, m->name, "a part of the range was given up (pm_give_up())");
}

static inline int check_range(struct pm_mapping *m, const char *call, const void *address, size_t length)
{
	if (!in_range(m, address, length))
		return out_of_range(m, call, address, length);
	if (__builtin_expect(is_given_up(m, address, length), 0))
		return fail_given_up(m, call);
	return is_beyond(m, address, length) ? pm_gate_cut_off(m, call) : 0;
}

static inline const struct pm_strategy *strategy_of(struct pm_mapping *m)
{
	return atomic_load_explicit(&m->terms.strategy, memory_order_acquire);
}

/* The result of a call on that range, after its work was done. A drain may have seen a new end meanwhile. */
static int finish_range(struct pm_mapping *m, const char *call, const void *address, size_t length, int rc)
{
	if (__builtin_expect(rc, 0))
		return pm_gate_leave(m, call, rc);
	if (__builtin_expect(pm_medium_is_cut(&m->medium), 0))
		pm_gate_note_cut(m);
	return is_beyond(m, address, length) ? pm_gate_cut_off(m, call) : 0;
}

/*
 * Lines have a short cut. While it is open, nothing but the range must be checked and nothing can fail, so the public
 * call ends in the CPU's function. NULL: every check has to be made.
 */
static inline const struct pm_cpu *short_cut(struct pm_mapping *m)
{
	const struct pm_cpu *cpu = atomic_load_explicit(&m->terms.lines, memory_order_acquire);
	return __builtin_expect(cpu && !pm_errors_current(&m->errors), 1) ? cpu : NULL;
}

/* ---- Durability ---- */

__attribute__((noinline)) static int flush_with_care(struct pm_mapping *m, const void *address, size_t length)
{
	if (!length)
		return 0;
	int rc = check_range(m, "pm_flush", address, length);
	if (!rc)
		rc = enter_gate(m, "pm_flush");
	return rc ? rc : strategy_of(m)->flush(&m->medium, address, length);
}

int pm_flush(struct pm_mapping *m, const void *address, size_t length)
{
	if (__builtin_expect(!m, 0))
		return pm_no_mapping("pm_flush");
	const struct pm_cpu *cpu = short_cut(m);
	if (!cpu || !has_bytes(m, address, length))
		return flush_with_care(m, address, length);
	return pm_cpu_write_back(cpu, address, length);
}

__attribute__((noinline)) static int drain_with_care(struct pm_mapping *m, const char *call)
{
	int rc = enter_gate(m, call);
	return rc ? rc : pm_gate_leave_drain(m, call, strategy_of(m)->drain(&m->medium));
}

int pm_drain(struct pm_mapping *m)
{
	if (__builtin_expect(!m, 0))
		return pm_no_mapping("pm_drain");
	const struct pm_cpu *cpu = short_cut(m);
	return cpu ? cpu->fence() : drain_with_care(m, "pm_drain");
}

__attribute__((noinline)) static int persist_with_care(struct pm_mapping *m, const char *call, const void *address,
                                                       size_t length)
{
	if (!length)
		return 0;
	int rc = check_range(m, call, address, length);
	if (!rc)
		rc = enter_gate(m, call);
	return rc ? rc : finish_range(m, call, address, length, strategy_of(m)->persist(&m->medium, address, length));
}

static inline int persist_range(struct pm_mapping *m, const char *call, const void *address, size_t length)
{
	if (__builtin_expect(!m, 0))
		return pm_no_mapping(call);
	const struct pm_cpu *cpu = short_cut(m);
	if (!cpu || !has_bytes(m, address, length))
		return persist_with_care(m, call, address, length);
	return cpu->persist(address, length);
}

int pm_persist(struct pm_mapping *m, const void *address, size_t length)
{
	return persist_range(m, "pm_persist", address, length);
}

/* Until all are checked nothing is done. *furthest is the one that ends last; NULL: all are empty. */
static int check_ranges(struct pm_mapping *m, const char *call, const struct pm_range *ranges, size_t count,
                        const struct pm_range **furthest)
{
	*furthest = NULL;
	for (size_t i = 0; i < count; i++) {
		const struct pm_range *r = &ranges[i];
		int rc = r->length ? check_range(m, call, r->address, r->length) : 0;
		if (rc)
			return rc;
		if (r->length && (!*furthest || (uintptr_t)r->address + r->length >
		                                        (uintptr_t)(*furthest)->address + (*furthest)->length))
			*furthest = r;
	}
	return 0;
}

static int commit_ranges(struct pm_mapping *m, const char *call, const struct pm_range *ranges, size_t count)
{
	const struct pm_range *furthest;
	int rc = check_ranges(m, call, ranges, count, &furthest);
	if (rc || !furthest)
		return rc;
	rc = enter_gate(m, call);
	return rc ? rc
	          : finish_range(m, call, furthest->address, furthest->length,
	                         strategy_of(m)->commit(&m->medium, ranges, count));
}

int pm_commit(struct pm_mapping *m, const struct pm_range *ranges, size_t count)
{
	if (!m)
		return pm_no_mapping("pm_commit");
	if (!ranges && count)
		return pm_null_argument("pm_commit", m->name, "ranges");
	return commit_ranges(m, "pm_commit", ranges, count);
}

int pm_publish64(struct pm_mapping *m, uint64_t *address, uint64_t value)
{
	const char *call = "pm_publish64";
	const struct pm_range word = {address, sizeof(value)};
	if (!m)
		return pm_no_mapping(call);
	if ((uintptr_t)address % sizeof(value))
		return pm_fail(-EINVAL, call, m->name, "the address is not aligned to 8 bytes");
	if (m->flags & PM_READ_ONLY)
		return pm_fail(-EACCES, call, m->name, "the mapping is read-only");
	int rc = check_range(m, call, address, sizeof(value));
	if (!rc)
		rc = drain_with_care(m, call);
	if (rc)
		return rc;
	__atomic_store_n(address, value, __ATOMIC_RELEASE);
	return commit_ranges(m, call, &word, 1);
}

int pm_deep_persist(struct pm_mapping *m, const void *address, size_t length)
{
	const char *call = "pm_deep_persist";
	if (!m)
		return pm_no_mapping(call);
	const struct pm_strategy *before = strategy_of(m);
	int rc = persist_range(m, call, address, length);
	if (rc || !length)
		return rc;
	/* A demotion meanwhile may have come after the persist by lines: then the way further is that of lines. */
	const struct pm_strategy *after = strategy_of(m);
	rc = (before->granularity > after->granularity ? before : after)->deepen(&m->medium, address, length);
	/* The lines are durable as after pm_persist(); only the way further failed. */
	if (rc && m->medium.device_dax)
		return pm_fail(rc, call, m->name, "the region's deep_flush cannot be written: %s", pm_strerror(rc));
	return finish_range(m, call, address, length, rc);
}

static void persist_parts(struct pm_mapping *m, uintptr_t low, uintptr_t high)
{
	PM_EACH_PART(part, &m->medium.parts, low, high)
		strategy_of(m)->persist(&m->medium, (const void *)part.low, part.high - part.low);
}

/* Lines of pages that are gone would fault, so only what is left before the end is written back. */
static int sync_up_to_end(struct pm_mapping *m, const char *call)
{
	uint64_t end = atomic_load(&m->medium.end);
	pm_walk_begin(&m->medium.walks);
	end = end < atomic_load(&m->medium.reach) ? end : atomic_load(&m->medium.reach);
	if (end > m->mapped.range.offset)
		persist_parts(m, (uintptr_t)m->base, (uintptr_t)m->base + (size_t)(end - m->mapped.range.offset));
	pm_walk_end(&m->medium.walks);
	return pm_gate_cut_off(m, call);
}

int pm_sync(struct pm_mapping *m)
{
	const char *call = "pm_sync";
	if (!m)
		return pm_no_mapping(call);
	int rc = enter_gate(m, call);
	bool lines = strategy_of(m)->granularity >= PM_CACHE_LINE && pm_mapping_backing(m) == PM_BACKING_FILE;
	size_t length = (size_t)atomic_load(&m->length);
	if (!rc && lines)
		rc = finish_range(m, call, m->base, length, pm_medium_check(&m->medium));
	if (rc == -ERANGE && lines)
		return sync_up_to_end(m, call);
	return rc ? rc : finish_range(m, call, m->base, length, strategy_of(m)->sync(&m->medium));
}

/* ---- Copies ---- */

/* A copy, or a fill, under way. */
struct copy {
	const char *call;
	void *destination;
	size_t length;
	unsigned flags;
	bool is_fill;
	int value;
	const void *source;
};

static int check_copy(struct pm_mapping *m, const struct copy *c)
{
	if (c->flags & ~KNOWN_COPY_FLAGS || !(~c->flags & (PM_TEMPORAL | PM_NONTEMPORAL)))
		return pm_fail(-EINVAL, c->call, m->name,
		               "flags holds an unknown flag, or both PM_TEMPORAL and PM_NONTEMPORAL");
	if (m->flags & PM_READ_ONLY)
		return pm_fail(-EACCES, c->call, m->name, "the mapping is read-only");
	if (!c->length)
		return 0;
	int rc = check_range(m, c->call, c->destination, c->length);
	return rc ? rc : enter_gate(m, c->call);
}

static inline struct pm_unflushed put_lines(struct pm_mapping *m, const struct pm_strategy *strategy,
                                            const struct copy *c)
{
	return c->is_fill ? pm_fill(&m->medium, strategy, c->destination, c->value, c->length, c->flags)
	                  : pm_copy(&m->medium, strategy, c->destination, c->source, c->length, c->flags);
}

/* Stores by the strategy that is in force. */
static struct pm_unflushed put_by_strategy(struct pm_mapping *m, const struct pm_strategy *strategy,
                                           const struct copy *c)
{
	if (strategy->granularity >= PM_CACHE_LINE)
		return put_lines(m, strategy, c);
	if (c->is_fill)
		memset(c->destination, c->value, c->length);
	else
		memmove(c->destination, c->source, c->length);
	return (struct pm_unflushed){c->destination, c->length};
}

/* Checks again: the stores were made after the first check, and the mapping may have been demoted meanwhile. */
__attribute__((noinline)) static int finish_copy(struct pm_mapping *m, const struct pm_strategy *before,
                                                 struct pm_unflushed rest, const struct copy *c)
{
	if (rest.length && !(c->flags & PM_NOFLUSH))
		before->flush(&m->medium, rest.address, rest.length);
	if (c->flags & (PM_NODRAIN | PM_NOFLUSH))
		return 0;
	int rc = enter_gate(m, c->call);
	return rc ? rc : finish_range(m, c->call, c->destination, c->length, strategy_of(m)->drain(&m->medium));
}

__attribute__((noinline)) static int copy_with_care(struct pm_mapping *m, const struct copy *c)
{
	int rc = check_copy(m, c);
	if (rc || !c->length)
		return rc;
	const struct pm_strategy *strategy = strategy_of(m);
	return finish_copy(m, strategy, put_by_strategy(m, strategy, c), c);
}

/* With the short cut open check_copy() finds nothing. */
static inline bool is_plain(struct pm_mapping *m, const struct copy *c)
{
	const unsigned temporal = PM_TEMPORAL | PM_NONTEMPORAL;
	return short_cut(m) && !(c->flags & ~(PM_NODRAIN | temporal)) && (c->flags & temporal) != temporal &&
	       !(m->flags & PM_READ_ONLY) && has_bytes(m, c->destination, c->length);
}

/*
 * Always inline: of each public call only the half that it needs is left. What takes care gets a copy of c, so that c
 * itself stays in registers.
 */
__attribute__((always_inline)) static inline int copy_range(struct pm_mapping *m, struct copy c)
{
	if (__builtin_expect(!m, 0))
		return pm_no_mapping(c.call);
	pm_copy_prefetch(c.destination, c.length);
	if (!is_plain(m, &c)) {
		struct copy whole = c;
		return copy_with_care(m, &whole);
	}
	struct pm_unflushed rest = {c.destination, c.length};
	if (c.is_fill || !pm_copy_small(m->medium.cpu, c.destination, c.source, c.length, c.flags))
		rest = put_lines(m, &pm_strategy_cacheline, &c);
	/* As in pm_persist() nothing is stored between the write-back and the fence. */
	const struct pm_cpu *cpu = short_cut(m);
	if (!cpu) {
		struct copy whole = c;
		return finish_copy(m, &pm_strategy_cacheline, rest, &whole);
	}
	if (!(c.flags & PM_NODRAIN))
		return cpu->persist(rest.address, rest.length);
	return rest.length ? cpu->write_back(rest.address, rest.length) : 0;
}

int pm_memmove(struct pm_mapping *m, void *destination, const void *source, size_t length, unsigned flags)
{
	return copy_range(m, (struct copy){"pm_memmove", destination, length, flags, .source = source});
}

int pm_memcpy(struct pm_mapping *m, void *destination, const void *source, size_t length, unsigned flags)
{
	return copy_range(m, (struct copy){"pm_memcpy", destination, length, flags, .source = source});
}

int pm_memset(struct pm_mapping *m, void *destination, int value, size_t length, unsigned flags)
{
	return copy_range(m, (struct copy){"pm_memset", destination, length, flags, .is_fill = true, .value = value});
}

/* ---- By read(2) and write(2) ---- */

static int fail_copied_up(const struct pm_mapping *m)
{
	return pm_fail(-ESTALE, "pm_read", m->name,
	               "the overlay copied the file up: read(2) shows the copy, the mapping the original; map it "
	               "again");
}

/* -EBADF: the number of the descriptor was closed, or leads to another file. A node is asked as well. */
static int ask_for_file(struct pm_mapping *m)
{
	struct statx now;
	if (m->medium.is_device && m->medium.identity)
		return pm_kept_file_stat(m->medium.identity, &now);
	return pm_medium_check(&m->medium);
}

static int fail_read(struct pm_mapping *m, const void *source, size_t length, int rc)
{
	if (rc == -EFAULT)
		return pm_fail(rc, "pm_read", m->name,
		               "the destination cannot be written, or pread(2) cannot fill it");
	if (rc != -ENODATA)
		return pm_fail(rc, "pm_read", m->name, "the range cannot be read: %s", pm_strerror(rc));
	pm_gate_note_cut(m);
	/* Another process may have made the file longer again since. */
	return is_beyond(m, source, length) ? pm_gate_cut_off(m, "pm_read")
	                                    : pm_fail(-ERANGE, "pm_read", m->name,
	                                              "the file ended inside the range when it was read");
}

int pm_read(struct pm_mapping *m, void *destination, const void *source, size_t length)
{
	if (!m)
		return pm_no_mapping("pm_read");
	if (!length)
		return 0;
	if (!in_range(m, source, length))
		return out_of_range(m, "pm_read", source, length);
	if (is_given_up(m, source, length))
		return fail_given_up(m, "pm_read");
	if (m->flags & (PM_PRIVATE | PM_ANONYMOUS) || m->medium.device_dax)
		return pm_fail(-EOPNOTSUPP, "pm_read", m->name,
		               "only a shared mapping of a file can be read by the kernel (pread(2))");
	/* Before, so that the caller's memory keeps what it holds; and after, for what is done meanwhile. */
	if (ask_for_file(m) == -EBADF)
		return pm_gate_leave(m, "pm_read", -EBADF);
	if (pm_mapping_is_of_another(m))
		return fail_copied_up(m);
	int rc = pm_medium_read(&m->medium, destination,
	                        m->mapped.range.offset + (uint64_t)((const char *)source - m->base), length);
	if (ask_for_file(m) == -EBADF) {
		/* What was read may be another file's. */
		memset(destination, 0, length);
		return pm_gate_leave(m, "pm_read", -EBADF);
	}
	if (!rc && pm_mapping_is_of_another(m))
		return fail_copied_up(m);
	return rc ? fail_read(m, source, length, rc) : 0;
}

/* write(2) must change the mapped file, and the descriptor must be the library's. */
static int check_write(struct pm_mapping *m, const char *call, const void *destination, size_t length)
{
	if (!m)
		return pm_no_mapping(call);
	if (m->flags & PM_READ_ONLY)
		return pm_fail(-EACCES, call, m->name, "the mapping is read-only");
	if (!length)
		return 0;
	int rc = check_range(m, call, destination, length);
	if (rc)
		return rc;
	if (m->flags & (PM_PRIVATE | PM_ANONYMOUS) || m->medium.device_dax)
		return pm_fail(-EOPNOTSUPP, call, m->name,
		               "only a shared mapping of a file can be written by the kernel (pwrite(2))");
	return enter_gate(m, call);
}

int pm_write(struct pm_mapping *m, void *destination, const void *source, size_t length)
{
	int rc = check_write(m, "pm_write", destination, length);
	return rc || !length ? rc : pm_mapping_write(m, destination, source, length);
}

int pm_clear_bad_blocks(struct pm_mapping *m, void *address, size_t length)
{
	int rc = check_write(m, "pm_clear_bad_blocks", address, length);
	return rc || !length ? rc : pm_mapping_clear_bad_blocks(m, address, length);
}

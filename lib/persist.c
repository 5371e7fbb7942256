/* SPDX-License-Identifier: BSD-3-Clause */
/* Public entry of the calls that take an address: checks the range and the gate, runs the strategy. */
#include <errno.h>
#include <string.h>

#include "arguments.h"
#include "durability/copy.h"
#include "error.h"
#include "facts/evidence.h"
#include "mapping/gate.h"

#define KNOWN_COPY_FLAGS (PM_NODRAIN | PM_NOFLUSH | PM_TEMPORAL | PM_NONTEMPORAL)

/* ---- Durability ---- */

static int out_of_range(const struct pm_mapping *m, const char *call)
{
	return pm_fail(-ERANGE, call, m->name, "the range leaves the mapping");
}

static inline bool in_range(const struct pm_mapping *m, const void *address, size_t length)
{
	uint64_t at = (uintptr_t)address - (uintptr_t)m->base;
	return __builtin_expect(at <= m->mapped.range.length && length <= m->mapped.range.length - at, 1);
}

/* Whether the file was seen to end before the end of a range in the mapping, which is not empty. */
static inline bool is_beyond(const struct pm_mapping *m, const void *address, size_t length)
{
	uint64_t end = m->mapped.range.offset + ((uintptr_t)address - (uintptr_t)m->base) + length;
	return __builtin_expect(end > atomic_load_explicit(&m->medium.end, memory_order_relaxed), 0);
}

static inline int check_range(struct pm_mapping *m, const char *call, const void *address, size_t length)
{
	if (!in_range(m, address, length))
		return out_of_range(m, call);
	return is_beyond(m, address, length) ? pm_gate_cut_off(m, call) : 0;
}

static inline const struct pm_strategy *strategy_of(struct pm_mapping *m)
{
	return atomic_load_explicit(&m->terms.strategy, memory_order_acquire);
}

/* The result of a call on that range, after its work was done. A drain may have seen a new end meanwhile. */
static int finish_range(struct pm_mapping *m, const char *call, const void *address, size_t length, int rc)
{
	if (rc)
		return pm_gate_leave(m, call, rc);
	if (__builtin_expect(pm_medium_is_cut(&m->medium), 0))
		pm_gate_note_end(m, atomic_load(&m->medium.end));
	return is_beyond(m, address, length) ? pm_gate_cut_off(m, call) : 0;
}

int pm_flush(struct pm_mapping *m, const void *address, size_t length)
{
	if (!m)
		return pm_no_mapping("pm_flush");
	if (!length)
		return 0;
	int rc = check_range(m, "pm_flush", address, length);
	if (!rc)
		rc = pm_gate_enter(m, "pm_flush");
	return rc ? rc : strategy_of(m)->flush(&m->medium, address, length);
}

int pm_drain(struct pm_mapping *m)
{
	if (!m)
		return pm_no_mapping("pm_drain");
	int rc = pm_gate_enter(m, "pm_drain");
	if (!rc)
		rc = pm_gate_leave(m, "pm_drain", strategy_of(m)->drain(&m->medium));
	return !rc && atomic_load(&m->medium.writeback.cut) ? pm_gate_cut_off(m, "pm_drain") : rc;
}

__attribute__((noinline)) static int persist_with_care(struct pm_mapping *m, const char *call, const void *address,
                                                       size_t length)
{
	if (!length)
		return 0;
	int rc = check_range(m, call, address, length);
	if (!rc)
		rc = pm_gate_enter(m, call);
	return rc ? rc : finish_range(m, call, address, length, strategy_of(m)->persist(&m->medium, address, length));
}

/*
 * On the strategy for lines nothing can fail after the checks, and the call ends in the CPU's function, without a
 * stack.
 */
static inline int persist_range(struct pm_mapping *m, const char *call, const void *address, size_t length)
{
	if (__builtin_expect(!m, 0))
		return pm_no_mapping(call);
	int (*persist_lines)(const void *, size_t) =
		atomic_load_explicit(&m->terms.persist_lines, memory_order_acquire);
	if (!persist_lines || !length || !in_range(m, address, length) || pm_errors_current(&m->errors))
		return persist_with_care(m, call, address, length);
	return persist_lines(address, length);
}

int pm_persist(struct pm_mapping *m, const void *address, size_t length)
{
	return persist_range(m, "pm_persist", address, length);
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
		return pm_fail(rc, call, m->name, "the region's deep_flush: %s", pm_strerror(rc));
	return finish_range(m, call, address, length, rc);
}

/* Lines of pages that are gone would fault, so only what is left before the end is written back. */
static int sync_up_to_end(struct pm_mapping *m, const char *call)
{
	uint64_t end = atomic_load(&m->medium.end);
	if (end > m->mapped.range.offset)
		strategy_of(m)->persist(&m->medium, m->base, (size_t)(end - m->mapped.range.offset));
	return pm_gate_cut_off(m, call);
}

int pm_sync(struct pm_mapping *m)
{
	const char *call = "pm_sync";
	if (!m)
		return pm_no_mapping(call);
	int rc = pm_gate_enter(m, call);
	bool lines = strategy_of(m)->granularity >= PM_CACHE_LINE && pm_mapping_backing(m) == PM_BACKING_FILE;
	if (!rc && lines)
		rc = finish_range(m, call, m->base, (size_t)m->mapped.range.length, pm_medium_check(&m->medium));
	if (rc == -ERANGE && lines)
		return sync_up_to_end(m, call);
	return rc ? rc
	          : finish_range(m, call, m->base, (size_t)m->mapped.range.length, strategy_of(m)->sync(&m->medium));
}

/* ---- Copies ---- */

static int check_copy(struct pm_mapping *m, const char *call, const void *destination, size_t length, unsigned flags)
{
	if (flags & ~KNOWN_COPY_FLAGS || !(~flags & (PM_TEMPORAL | PM_NONTEMPORAL)))
		return pm_fail(-EINVAL, call, m->name, "unknown flag, or both temporal ones");
	if (m->flags & PM_READ_ONLY)
		return pm_fail(-EACCES, call, m->name, "the mapping is read-only");
	if (!length)
		return 0;
	int rc = check_range(m, call, destination, length);
	return rc ? rc : pm_gate_enter(m, call);
}

/* A copy under way. */
struct copy {
	const char *call;
	void *destination;
	size_t length;
	unsigned flags;
};

/* Checks again: the stores were made after the first check, and the mapping may have been demoted meanwhile. */
__attribute__((noinline)) static int finish_copy(struct pm_mapping *m, const struct pm_strategy *before,
                                                 struct pm_unflushed rest, const struct copy *c)
{
	if (rest.length && !(c->flags & PM_NOFLUSH))
		before->flush(&m->medium, rest.address, rest.length);
	if (c->flags & (PM_NODRAIN | PM_NOFLUSH))
		return 0;
	int rc = pm_gate_enter(m, c->call);
	return rc ? rc : finish_range(m, c->call, c->destination, c->length, strategy_of(m)->drain(&m->medium));
}

__attribute__((noinline)) static int move_with_care(struct pm_mapping *m, const void *source, struct copy c)
{
	int rc = check_copy(m, c.call, c.destination, c.length, c.flags);
	if (rc || !c.length)
		return rc;
	const struct pm_strategy *strategy = strategy_of(m);
	struct pm_unflushed rest = {c.destination, c.length};
	if (strategy->granularity >= PM_CACHE_LINE)
		rest = pm_copy(&m->medium, strategy, c.destination, source, c.length, c.flags);
	else
		memmove(c.destination, source, c.length);
	return finish_copy(m, strategy, rest, &c);
}

__attribute__((noinline)) static int set_with_care(struct pm_mapping *m, int value, struct copy c)
{
	int rc = check_copy(m, c.call, c.destination, c.length, c.flags);
	if (rc || !c.length)
		return rc;
	const struct pm_strategy *strategy = strategy_of(m);
	struct pm_unflushed rest = {c.destination, c.length};
	if (strategy->granularity >= PM_CACHE_LINE)
		rest = pm_fill(&m->medium, strategy, c.destination, value, c.length, c.flags);
	else
		memset(c.destination, value, c.length);
	return finish_copy(m, strategy, rest, &c);
}

/* On the strategy for lines check_copy() finds nothing. */
static inline bool is_plain(struct pm_mapping *m, const void *destination, size_t length, unsigned flags)
{
	return atomic_load_explicit(&m->terms.persist_lines, memory_order_acquire) && length &&
	       (!flags || flags == PM_TEMPORAL || flags == PM_NONTEMPORAL) && !(m->flags & PM_READ_ONLY) &&
	       in_range(m, destination, length) && !pm_errors_current(&m->errors);
}

/* As in pm_persist() nothing is stored between the write-back and the fence. */
static inline int finish_plain(struct pm_mapping *m, struct pm_unflushed rest, const char *call, void *destination,
                               size_t length)
{
	int (*persist_lines)(const void *, size_t) =
		atomic_load_explicit(&m->terms.persist_lines, memory_order_acquire);
	if (!persist_lines || pm_errors_current(&m->errors))
		return finish_copy(m, &pm_strategy_cacheline, rest, &(struct copy){call, destination, length, 0});
	return persist_lines(rest.address, rest.length);
}

static inline int copy_range(struct pm_mapping *m, const char *call, void *destination, const void *source,
                             size_t length, unsigned flags)
{
	if (__builtin_expect(!m, 0))
		return pm_no_mapping(call);
	pm_copy_prefetch(destination, length);
	if (!is_plain(m, destination, length, flags))
		return move_with_care(m, source, (struct copy){call, destination, length, flags});
	return finish_plain(m, pm_copy(&m->medium, &pm_strategy_cacheline, destination, source, length, flags), call,
	                    destination, length);
}

int pm_memmove(struct pm_mapping *m, void *destination, const void *source, size_t length, unsigned flags)
{
	return copy_range(m, "pm_memmove", destination, source, length, flags);
}

int pm_memcpy(struct pm_mapping *m, void *destination, const void *source, size_t length, unsigned flags)
{
	return copy_range(m, "pm_memcpy", destination, source, length, flags);
}

int pm_memset(struct pm_mapping *m, void *destination, int value, size_t length, unsigned flags)
{
	if (__builtin_expect(!m, 0))
		return pm_no_mapping("pm_memset");
	pm_copy_prefetch(destination, length);
	if (!is_plain(m, destination, length, flags))
		return set_with_care(m, value, (struct copy){"pm_memset", destination, length, flags});
	return finish_plain(m, pm_fill(&m->medium, &pm_strategy_cacheline, destination, value, length, flags),
	                    "pm_memset", destination, length);
}

/* ---- By read(2) and write(2) ---- */

int pm_read(struct pm_mapping *m, void *destination, const void *source, size_t length)
{
	if (!m)
		return pm_no_mapping("pm_read");
	if (!length)
		return 0;
	if (!in_range(m, source, length))
		return out_of_range(m, "pm_read");
	if (m->flags & (PM_PRIVATE | PM_ANONYMOUS) || m->medium.device_dax)
		return pm_fail(-EOPNOTSUPP, "pm_read", m->name,
		               "only a shared mapping of a file can be read by read(2)");
	int rc = pm_medium_read(&m->medium, destination,
	                        m->mapped.range.offset + (uint64_t)((const char *)source - m->base), length);
	/* If the program closed or reused the number, it leads to a file that is not the mapping's. */
	if (pm_medium_check(&m->medium) == -EBADF)
		return pm_gate_leave(m, "pm_read", -EBADF);
	if (!rc && pm_mapping_is_of_another(m))
		return pm_fail(-ESTALE, "pm_read", m->name,
		               "the overlay copied the file up: read(2) shows the copy, the mapping the original; map "
		               "it again");
	if (rc == -ENODATA)
		return pm_fail(-ERANGE, "pm_read", m->name, "the file ends inside the range");
	return rc ? pm_fail(rc, "pm_read", m->name, "the range cannot be read: %s", pm_strerror(rc)) : 0;
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
		               "only a shared mapping of a file can be written by write(2)");
	return pm_gate_enter(m, call);
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

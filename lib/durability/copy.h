/* SPDX-License-Identifier: BSD-3-Clause */
/* Stores into direct mappings. */
#ifndef PM_COPY_H
#define PM_COPY_H

#include "durability/engine.h"

/*
 * From here on whole lines are streamed. Where streaming becomes faster than storing and writing back depends on what
 * was done to the lines before, which the library does not know. bench/copy --cut on a Xeon (Cascade Lake): at 384
 * bytes if the lines are scattered; at 256, or at once if misaligned, for the same lines again; at 640, or 160 if
 * misaligned, for one range behind the other. At 256 no case loses what another wins, and it is the unit in which
 * persistent memory writes (Yang et al., FAST 2020).
 */
#define PM_STREAM_FROM 256u

/*
 * Fetches the lines that will be stored to while the call is still being checked: the stores themselves wait until the
 * fence before them has completed. A prefetch never faults.
 */
__attribute__((always_inline)) static inline void pm_copy_prefetch(const char *to, size_t length)
{
	if (length >= PM_STREAM_FROM)
		return;
	__builtin_prefetch(to, 1);
	size_t in_line = (uintptr_t)to & 63;
	for (size_t at = 64; at < in_line + length; at += 64)
		__builtin_prefetch(to - in_line + at, 1);
}

/* A small copy from elsewhere, in the caller's own frame; false: it is one for pm_copy(). All of it must be flushed. */
__attribute__((always_inline)) static inline bool pm_copy_small(const struct pm_cpu *cpu, void *to, const void *from,
                                                                size_t length, unsigned flags)
{
	uintptr_t ahead = (uintptr_t)to - (uintptr_t)from;
	if (length >= PM_STREAM_FROM || flags & PM_NONTEMPORAL || ahead < length || -ahead < length || !cpu->copy)
		return false;
	cpu->copy(to, from, length);
	return true;
}

/* The part of a copy that must still be flushed; length may be 0, and address is NULL then. */
struct pm_unflushed {
	const void *address;
	size_t length;
};

/*
 * flags are those of pm_memcpy(). source may overlap destination. length > 0. The caller persists the rest, by one call
 * in which write-back and fence stand together: see pm_cpu.persist.
 */
struct pm_unflushed pm_copy(struct pm_medium *, const struct pm_strategy *, void *destination, const void *source,
                       size_t length, unsigned flags);
struct pm_unflushed pm_fill(struct pm_medium *, const struct pm_strategy *, void *destination, int value, size_t length,
                       unsigned flags);

#endif

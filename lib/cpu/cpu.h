/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a CPU can do for durability. meson chooses one file of cpu/. It asks the CPU and fills one table, so the rest of
 * the library has no #if, and tests can count every instruction.
 */
#ifndef PM_CPU_H
#define PM_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pm_cpu {
	const char *name;   /* the write-back instruction */
	const char *copies; /* the instruction set that copies */
	bool reaches_media; /* false: the instruction stops short of the persistence domain, or there is none */
	bool is_clwb;       /* write_back is CLWB of each line of 64 bytes */
	size_t line;        /* bytes of a streamed unit, a power of two, at most 256 */

	/*
	 * These three return 0 and keep nothing on the stack: a public call ends in them, without a frame of its own.
	 * Starts write-back of every line that [address, address + length) touches. length > 0.
	 */
	int (*write_back)(const void *address, size_t length);
	/* Waits until all write-backs and streamed stores of this CPU have reached the persistence domain. */
	int (*fence)(void);
	/*
	 * Both: a store between the write-back and the fence would be waited for as well. length 0, at NULL: only the
	 * fence.
	 */
	int (*persist)(const void *address, size_t length);
	/*
	 * Stores length bytes from the lowest to the highest, so source may be destination, or overlap it from above.
	 * An aligned 8-byte word inside the destination is stored whole. NULL: the CPU has nothing better than words.
	 */
	void (*copy)(void *destination, const void *source, size_t length);
	void (*set)(void *destination, int value, size_t length);
	/*
	 * Streams whole lines past the cache and needs only a fence; words are stored whole. Lengths are multiples of
	 * line, and destination is line-aligned. A line is read before it is stored. Lines are stored from the lowest
	 * to the highest, so source may be destination, or overlap it from above; and from the highest to the lowest,
	 * so source may be destination, or overlap it from below. All or none are NULL: not available.
	 */
	void (*stream_copy)(void *destination, const void *source, size_t length);
	void (*stream_down)(void *destination, const void *source, size_t length);
	void (*stream_set)(void *destination, int value, size_t length);
	/*
	 * Streams whole words of one line: by one instruction if length is a power of two, up to edge_most, and
	 * destination a multiple of it. More than one does not pay, unless edge_in_parts. Both or none are NULL: not
	 * available.
	 */
	void (*stream_edge)(void *destination, const void *source, size_t length);
	void (*stream_set_edge)(void *destination, int value, size_t length);
	size_t edge_most;
	bool edge_in_parts;
	bool head_first; /* the part of a line before whole lines is best stored and written back before they are */
	/* Upwards is slow where the destination is ahead of the source, modulo 4096, by 1 to so many bytes. */
	size_t alias;
};

/* The table for this machine; always the same pointer. Never NULL. */
const struct pm_cpu *pm_cpu(void);

/* Every table that this CPU can run, the best first, which is that of pm_cpu(); NULL behind the last. For tests. */
const struct pm_cpu *pm_cpu_variant(unsigned index);

/* Tests put a counting table here before mapping. */
extern const struct pm_cpu *pm_cpu_replacement;

/*
 * A table's write_back inside the function that calls it. Where many flushes share one fence the jump through the table
 * costs as much as all checks of a call: 1 to 4 % of the instructions themselves (bench/flushes).
 */
#if defined(__x86_64__)
static inline int pm_cpu_write_back(const struct pm_cpu *cpu, const void *address, size_t length)
{
	const uintptr_t line = 64, end = (uintptr_t)address + length;
	uintptr_t at = (uintptr_t)address & ~(line - 1);
	if (__builtin_expect(!cpu->is_clwb, 0))
		return cpu->write_back(address, length);
	/* The caller is not compiled for CPUs that have it, so the compiler refuses its own function for it. */
	do {
		__asm__ volatile("clwb %0" : "+m"(*(volatile char *)at) : : "memory");
		at += line;
	} while (__builtin_expect(at < end, 0));
	return 0;
}
#else
static inline int pm_cpu_write_back(const struct pm_cpu *cpu, const void *address, size_t length)
{
	return cpu->write_back(address, length);
}
#endif

#endif

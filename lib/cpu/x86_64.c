/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Intel SDM vol. 2 CLWB, CLFLUSHOPT, CLFLUSH, SFENCE; vol. 1 10.4.6.2 on streaming stores. CLWB and
 * CLFLUSHOPT are ordered only by a store fence; CLFLUSH is ordered with stores, and fenced all the same:
 * one way for all. Streaming uses SSE2, which every x86-64 system has, so no vector state must be checked.
 */
#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>
#include <stdint.h>

#include "cpu.h"

#define LINE ((uintptr_t)64)

const struct pm_cpu *pm_cpu_replacement;

#define DEFINE_WRITE_BACK(name, feature, instruction)                                                        \
	__attribute__((target(feature))) static void name(const void *address, size_t length)               \
	{                                                                                                    \
		uintptr_t end = (uintptr_t)address + length;                                                 \
		for (uintptr_t at = (uintptr_t)address & ~(LINE - 1); at < end; at += LINE)                  \
			instruction((void *)at);                                                             \
	}                                                                                                    \
	__attribute__((target(feature))) static int name##_and_fence(const void *address, size_t length)    \
	{                                                                                                    \
		name(address, length);                                                                       \
		_mm_sfence();                                                                                \
		return 0;                                                                                    \
	}

DEFINE_WRITE_BACK(write_back_clwb, "clwb", _mm_clwb)
DEFINE_WRITE_BACK(write_back_clflushopt, "clflushopt", _mm_clflushopt)
DEFINE_WRITE_BACK(write_back_clflush, "sse2", _mm_clflush)

static void fence(void)
{
	_mm_sfence();
}

static void stream_copy(void *destination, const void *source, size_t length)
{
	__m128i *to = destination;
	const __m128i *from = source;
	for (size_t n = length / LINE; n; n--, to += 4, from += 4) {
		__m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1);
		__m128i c = _mm_loadu_si128(from + 2), d = _mm_loadu_si128(from + 3);
		_mm_stream_si128(to, a);
		_mm_stream_si128(to + 1, b);
		_mm_stream_si128(to + 2, c);
		_mm_stream_si128(to + 3, d);
	}
}

static void stream_set(void *destination, int value, size_t length)
{
	__m128i fill = _mm_set1_epi8((char)value);
	__m128i *to = destination;
	for (size_t n = length / sizeof(*to); n; n--)
		_mm_stream_si128(to++, fill);
}

#define TABLE(instruction, function, reaches)                                                                \
	{                                                                                                    \
		.name = instruction, .reaches_media = reaches, .line = LINE, .write_back = function,         \
		.fence = fence, .persist = function##_and_fence, .stream_copy = stream_copy,                 \
		.stream_set = stream_set,                                                                    \
	}

static const struct pm_cpu with_clwb = TABLE("clwb", write_back_clwb, true);
static const struct pm_cpu with_clflushopt = TABLE("clflushopt", write_back_clflushopt, true);
static const struct pm_cpu with_clflush = TABLE("clflush", write_back_clflush, true);
/* A line size these loops do not know: no promise. */
static const struct pm_cpu with_other_line =
	TABLE("clflush with an unknown line size", write_back_clflush, false);

static const struct pm_cpu *detect(void)
{
	unsigned a, b, c, d;
	/* CPUID.1: EDX bit 19 CLFSH, EBX bits 15-8 its line size in units of 8 bytes. */
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(d & (1u << 19)) || ((b >> 8) & 0xff) * 8 != LINE)
		return &with_other_line;
	/* CPUID.7.0: EBX bit 24 CLWB, bit 23 CLFLUSHOPT. */
	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
		return &with_clflush;
	if (b & (1u << 24))
		return &with_clwb;
	return b & (1u << 23) ? &with_clflushopt : &with_clflush;
}

const struct pm_cpu *pm_cpu(void)
{
	static const struct pm_cpu *_Atomic detected;
	if (pm_cpu_replacement)
		return pm_cpu_replacement;
	const struct pm_cpu *cpu = atomic_load_explicit(&detected, memory_order_acquire);
	if (!cpu)
		atomic_store_explicit(&detected, cpu = detect(), memory_order_release);
	return cpu;
}

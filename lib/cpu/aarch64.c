/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arm ARM (DDI 0487) C5.3: DC CVAP cleans to the point of persistence, DC CVADP to the point of deep
 * persistence; DC CVAC only to the point of coherency, which may lie before the medium: no promise then. A DSB
 * waits for cache maintenance, a DMB does not. HWCAP: Linux Documentation/arch/arm64/elf_hwcaps.rst.
 */
#include <stdatomic.h>
#include <stdint.h>
#include <sys/auxv.h>

#include "cpu/cpu.h"

#define HWCAP_DC_CVAP (1ul << 16)
#define HWCAP2_DC_CVADP (1ul << 0)

const struct pm_cpu *pm_cpu_replacement;

static size_t line_size(void)
{
	uint64_t ctr;
	__asm__("mrs %0, ctr_el0" : "=r"(ctr));
	return (size_t)4 << ((ctr >> 16) & 15); /* DminLine: log2 of words */
}

static int fence(void)
{
	__asm__ volatile("dsb sy" : : : "memory");
	return 0;
}

#define DEFINE_WRITE_BACK(name, instruction)                                                         \
	static int name(const void *address, size_t length)                                          \
	{                                                                                            \
		uintptr_t line = line_size(), end = (uintptr_t)address + length;                     \
		for (uintptr_t at = (uintptr_t)address & ~(line - 1); at < end; at += line)          \
			__asm__ volatile(instruction : : "r"(at) : "memory");                        \
		return 0;                                                                            \
	}                                                                                            \
	static int name##_and_fence(const void *address, size_t length)                              \
	{                                                                                            \
		name(address, length);                                                               \
		return fence();                                                                      \
	}

/* Spelled as SYS: assemblers know the mnemonics only for newer architecture levels. */
DEFINE_WRITE_BACK(write_back_cvadp, "sys #3, c7, c13, #1, %0")
DEFINE_WRITE_BACK(write_back_cvap, "sys #3, c7, c12, #1, %0")
DEFINE_WRITE_BACK(write_back_cvac, "dc cvac, %0")

#define TABLE(instruction, function, reaches)                                                                          \
	{                                                                                                              \
		.name = instruction, .copies = "words", .reaches_media = reaches, .line = 64, .write_back = function,  \
		.fence = fence, .persist = function##_and_fence,                                                       \
	}

static const struct pm_cpu with_cvadp = TABLE("dc cvadp", write_back_cvadp, true);
static const struct pm_cpu with_cvap = TABLE("dc cvap", write_back_cvap, true);
static const struct pm_cpu with_cvac = TABLE("dc cvac", write_back_cvac, false);

const struct pm_cpu *pm_cpu_variant(unsigned index)
{
	static const struct pm_cpu *const tables[] = {&with_cvadp, &with_cvap, &with_cvac};
	unsigned best = getauxval(AT_HWCAP2) & HWCAP2_DC_CVADP ? 0 : getauxval(AT_HWCAP) & HWCAP_DC_CVAP ? 1 : 2;
	return index < 3 - best ? tables[best + index] : NULL;
}

const struct pm_cpu *pm_cpu(void)
{
	return pm_cpu_replacement ? pm_cpu_replacement : pm_cpu_variant(0);
}

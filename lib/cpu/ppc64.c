/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power ISA 3.1, book II 4.3.2: dcbstps stores a block to persistent storage, phwsync waits for it. POWER8 and POWER9
 * ignore the bits that tell them from dcbf and hwsync, with which the kernel does without a question
 * (arch/powerpc/lib/pmem.c, arch/powerpc/include/asm/barrier.h pmem_wmb). Here the older CPUs get the older
 * instructions, since emulators refuse the bits. A region that needs more than that, as papr_scm may, is asynchronous,
 * and its files get no MAP_SYNC. The new instructions are spelled as words: assemblers know them only for POWER10.
 */
#include <stdatomic.h>
#include <stdint.h>
#include <sys/auxv.h>

#include "cpu/cpu.h"

#define HWCAP2_ARCH_3_1 0x00040000ul /* arch/powerpc/include/uapi/asm/cputable.h PPC_FEATURE2_ARCH_3_1 */

const struct pm_cpu *pm_cpu_replacement;

static size_t line_size(void)
{
	size_t size = getauxval(AT_DCACHEBSIZE);
	return size ? size : 128;
}

#define DEFINE_TABLE(word, instruction, fence_instruction, mnemonic)                                                   \
	static int fence_##word(void)                                                                                  \
	{                                                                                                              \
		__asm__ volatile(fence_instruction : : : "memory");                                                    \
		return 0;                                                                                              \
	}                                                                                                              \
	static int write_back_##word(const void *address, size_t length)                                               \
	{                                                                                                              \
		uintptr_t line = line_size(), end = (uintptr_t)address + length;                                       \
		for (uintptr_t at = (uintptr_t)address & ~(line - 1); at < end; at += line)                            \
			__asm__ volatile(instruction : : "r"(at) : "memory");                                          \
		return 0;                                                                                              \
	}                                                                                                              \
	static int persist_##word(const void *address, size_t length)                                                  \
	{                                                                                                              \
		write_back_##word(address, length);                                                                    \
		return fence_##word();                                                                                 \
	}                                                                                                              \
	static const struct pm_cpu with_##word = {                                                                     \
		.name = mnemonic, .copies = "words", .reaches_media = true, .line = 128,                               \
		.write_back = write_back_##word, .fence = fence_##word, .persist = persist_##word}

/* dcbf RA=0, RB=%0 with L=6; sync with L=4 */
DEFINE_TABLE(dcbstps, ".long 0x7cc000ac | (%0 << 11)", ".long 0x7c8004ac", "dcbstps");
DEFINE_TABLE(dcbf, "dcbf 0, %0", "sync", "dcbf");

const struct pm_cpu *pm_cpu_variant(unsigned index)
{
	if (!(getauxval(AT_HWCAP2) & HWCAP2_ARCH_3_1))
		index++;
	return index == 0 ? &with_dcbstps : index == 1 ? &with_dcbf : NULL;
}

const struct pm_cpu *pm_cpu(void)
{
	return pm_cpu_replacement ? pm_cpu_replacement : pm_cpu_variant(0);
}

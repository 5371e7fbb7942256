/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RISC-V Base Cache Management Operation ISA Extensions 1.0: cbo.clean (Zicbom) writes a block back, as the kernel does
 * for persistent memory (arch/riscv/mm/pmem.c arch_wb_cache_pmem); a FENCE orders it like a store. User mode may
 * execute it only where the kernel says so by riscv_hwprobe(2), from Linux 6.15 on (arch/riscv/kernel/cpufeature.c).
 * Elsewhere it is an illegal instruction, and nothing is promised. It is spelled as .insn: assemblers know the mnemonic
 * only where the extension is enabled.
 */
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu/cpu.h"

/* Documentation/arch/riscv/hwprobe.rst */
#define SYSTEM_CALL_HWPROBE 258
#define KEY_IMA_EXT_0 4
#define EXT_ZICBOM ((uint64_t)1 << 55)
#define KEY_ZICBOM_BLOCK_SIZE 12

const struct pm_cpu *pm_cpu_replacement;

struct hwprobe {
	int64_t key;
	uint64_t value;
};

/*
 * Bytes of a block; 0: not each CPU has Zicbom for user mode. getauxval(3) does not tell, and the table of system calls
 * lies above this file: so this call does not pass it.
 */
static size_t ask_for_block(void)
{
	struct hwprobe pairs[] = {{KEY_IMA_EXT_0, 0}, {KEY_ZICBOM_BLOCK_SIZE, 0}};
	if (syscall(SYSTEM_CALL_HWPROBE, pairs, 2, 0, NULL, 0))
		return 0;
	uint64_t size = pairs[1].value;
	int known = pairs[0].key == KEY_IMA_EXT_0 && pairs[1].key == KEY_ZICBOM_BLOCK_SIZE;
	return known && pairs[0].value & EXT_ZICBOM && size && !(size & (size - 1)) ? size : 0;
}

/* Bytes of a block, 0 if there is none. Threads that meet here ask the same. */
static size_t block(void)
{
	static _Atomic size_t known = SIZE_MAX;
	size_t size = atomic_load_explicit(&known, memory_order_relaxed);
	if (size == SIZE_MAX) {
		size = ask_for_block();
		atomic_store_explicit(&known, size, memory_order_relaxed);
	}
	return size;
}

static int fence(void)
{
	__asm__ volatile("fence iorw, iorw" : : : "memory");
	return 0;
}

static int write_back(const void *address, size_t length)
{
	uintptr_t size = block(), end = (uintptr_t)address + length;
	for (uintptr_t at = (uintptr_t)address & ~(size - 1); at < end; at += size)
		__asm__ volatile(".insn i 0x0f, 2, x0, %0, 1" : : "r"(at) : "memory"); /* cbo.clean (%0) */
	return 0;
}

static int persist(const void *address, size_t length)
{
	write_back(address, length);
	return fence();
}

static int write_nothing_back(const void *address, size_t length)
{
	(void)address;
	(void)length;
	return 0;
}

static int persist_nothing(const void *address, size_t length)
{
	write_nothing_back(address, length);
	return fence();
}

static const struct pm_cpu with_zicbom = {
	.name = "cbo.clean", .copies = "words", .reaches_media = true, .line = 64, .write_back = write_back,
	.fence = fence, .persist = persist};
static const struct pm_cpu without = {
	.name = "no Zicbom", .copies = "words", .reaches_media = false, .line = 64, .write_back = write_nothing_back,
	.fence = fence, .persist = persist_nothing};

const struct pm_cpu *pm_cpu_variant(unsigned index)
{
	if (!block())
		index++;
	return index == 0 ? &with_zicbom : index == 1 ? &without : NULL;
}

const struct pm_cpu *pm_cpu(void)
{
	return pm_cpu_replacement ? pm_cpu_replacement : pm_cpu_variant(0);
}

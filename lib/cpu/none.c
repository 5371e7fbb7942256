/* SPDX-License-Identifier: BSD-3-Clause */
/* An unknown CPU: it promises nothing, so the kernel serves every mapping. */
#include <stdatomic.h>

#include "cpu/cpu.h"

const struct pm_cpu *pm_cpu_replacement;

static int write_nothing_back(const void *address, size_t length)
{
	(void)address;
	(void)length;
	return 0;
}

static int fence(void)
{
	atomic_thread_fence(memory_order_seq_cst);
	return 0;
}

static int persist_nothing(const void *address, size_t length)
{
	write_nothing_back(address, length);
	return fence();
}

static const struct pm_cpu none = {
	.name = "none", .copies = "words", .reaches_media = false, .line = 64, .write_back = write_nothing_back,
	.fence = fence, .persist = persist_nothing};

const struct pm_cpu *pm_cpu_variant(unsigned index)
{
	return index ? NULL : &none;
}

const struct pm_cpu *pm_cpu(void)
{
	return pm_cpu_replacement ? pm_cpu_replacement : &none;
}

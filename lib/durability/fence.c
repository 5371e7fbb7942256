/* SPDX-License-Identifier: BSD-3-Clause */
/* Byte granularity (eADR): the CPU caches are in the persistence domain, a fence orders the stores. */
#include "durability/strategy.h"

static int flush(struct pm_medium *m, const void *address, size_t length)
{
	(void)m;
	(void)address;
	(void)length;
	return 0;
}

static int drain(struct pm_medium *m)
{
	m->cpu->fence();
	return 0;
}

static int persist(struct pm_medium *m, const void *address, size_t length)
{
	(void)address;
	(void)length;
	return drain(m);
}

/* The msync of a deep flush does not write CPU caches back on such a region (dax/write_cache is 0). */
static int deepen(struct pm_medium *m, const void *address, size_t length)
{
	m->cpu->write_back(address, length);
	m->cpu->fence();
	return pm_medium_deepen(m, address, length);
}

static int sync_all(struct pm_medium *m)
{
	m->cpu->fence();
	pm_medium_touch(m);
	return pm_medium_commit(m);
}

const struct pm_strategy pm_strategy_fence = {
	.granularity = PM_BYTE,
	.flush = flush,
	.drain = drain,
	.persist = persist,
	.deepen = deepen,
	.sync = sync_all,
};

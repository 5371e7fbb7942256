/* SPDX-License-Identifier: BSD-3-Clause */
/* Cache-line granularity: write the lines back, then fence. No system call. */
#include "durability/strategy.h"

static int flush(struct pm_medium *m, const void *address, size_t length)
{
	m->cpu->write_back(address, length);
	return 0;
}

static int drain(struct pm_medium *m)
{
	m->cpu->fence();
	return 0;
}

static int persist(struct pm_medium *m, const void *address, size_t length)
{
	return m->cpu->persist(address, length);
}

const struct pm_strategy pm_strategy_cacheline = {
	.granularity = PM_CACHE_LINE,
	.flush = flush,
	.drain = drain,
	.persist = persist,
	.deepen = pm_medium_deepen,
	.sync = pm_medium_sync_lines,
};

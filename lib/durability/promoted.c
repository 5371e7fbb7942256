/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cache-line granularity again, on a mapping that the kernel's write-back has served meanwhile. What a thread flushed
 * then was recorded, and a flush may be under way while the strategy changes: its drain comes here. So every drain
 * completes what is recorded and waits for what is being written, which after the first few is nothing.
 */
#include "durability/strategy.h"

static int flush(struct pm_medium *m, const void *address, size_t length)
{
	return pm_strategy_cacheline.flush(m, address, length);
}

static int drain(struct pm_medium *m)
{
	m->cpu->fence();
	return pm_strategy_writeback.drain(m);
}

static int persist(struct pm_medium *m, const void *address, size_t length)
{
	flush(m, address, length);
	return drain(m);
}

static int sync_all(struct pm_medium *m)
{
	int rc = pm_medium_sync_lines(m), drained = pm_strategy_writeback.drain(m);
	return rc ? rc : drained;
}

const struct pm_strategy pm_strategy_promoted = {
	.granularity = PM_CACHE_LINE,
	.flush = flush,
	.drain = drain,
	.persist = persist,
	.deepen = pm_medium_deepen,
	.sync = sync_all,
};

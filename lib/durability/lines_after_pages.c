/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a thread flushed while pages served was recorded, and a flush may be under way while the strategy changes: its
 * drain comes here. So every drain completes what is recorded and waits for what is being written, which after the
 * first few is nothing.
 */
#include "durability/direct.h"
#include "durability/lines_after_pages.h"
#include "durability/page.h"

static int drain_both(struct pm_medium *m)
{
	m->cpu->fence();
	return pm_page_drain(m);
}

static int persist_both(struct pm_medium *m, const void *address, size_t length)
{
	pm_strategy_cacheline.flush(m, address, length);
	return drain_both(m);
}

static int sync_both(struct pm_medium *m)
{
	int rc = pm_sync_lines(m), drained = pm_page_drain(m);
	return rc ? rc : drained;
}

static int flush_line(struct pm_medium *m, const void *address, size_t length)
{
	return pm_strategy_cacheline.flush(m, address, length);
}

static int commit_line(struct pm_medium *m, const struct pm_range *ranges, size_t count)
{
	return pm_strategy_cacheline.commit(m, ranges, count);
}

static int deepen_line(struct pm_medium *m, const void *address, size_t length)
{
	return pm_strategy_cacheline.deepen(m, address, length);
}

const struct pm_strategy pm_strategy_line_after_page = {
	.granularity = PM_CACHE_LINE,
	.flush = flush_line,
	.drain = drain_both,
	.persist = persist_both,
	.commit = commit_line,
	.deepen = deepen_line,
	.sync = sync_both,
};

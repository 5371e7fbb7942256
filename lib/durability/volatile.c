/* SPDX-License-Identifier: BSD-3-Clause */
/* No granularity: nothing can make the stores durable, so nothing is done. */
#include "durability/strategy.h"

static int nothing_range(struct pm_medium *m, const void *address, size_t length)
{
	(void)m;
	(void)address;
	(void)length;
	return 0;
}

static int nothing(struct pm_medium *m)
{
	(void)m;
	return 0;
}

const struct pm_strategy pm_strategy_volatile = {
	.granularity = PM_NONE,
	.flush = nothing_range,
	.drain = nothing,
	.persist = nothing_range,
	.deepen = nothing_range,
	.sync = nothing,
};

/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "parts.h"

/* Never changed once it is published: a thread may still read a list that was replaced. */
struct pm_gaps {
	struct pm_gaps *older;
	size_t count;
	struct pm_part gap[]; /* in order, apart from each other */
};

struct pm_gaps *pm_parts_prepare(const struct pm_parts *p)
{
	const struct pm_gaps *now = atomic_load(&p->gaps);
	return calloc(1, sizeof(*now) + ((now ? now->count : 0) + 1) * sizeof(now->gap[0]));
}

static void append(struct pm_gaps *g, uintptr_t low, uintptr_t high)
{
	struct pm_part *last = g->count ? &g->gap[g->count - 1] : NULL;
	if (!last || low > last->high) {
		g->gap[g->count++] = (struct pm_part){low, high};
		return;
	}
	last->high = high > last->high ? high : last->high;
}

void pm_parts_cut(struct pm_parts *p, struct pm_gaps *room, uintptr_t low, uintptr_t high)
{
	struct pm_gaps *now = atomic_load(&p->gaps);
	size_t count = now ? now->count : 0, i = 0;
	for (; i < count && now->gap[i].low < low; i++)
		append(room, now->gap[i].low, now->gap[i].high);
	append(room, low, high);
	for (; i < count; i++)
		append(room, now->gap[i].low, now->gap[i].high);
	room->older = now;
	atomic_store(&p->gaps, room);
}

void pm_parts_free(struct pm_parts *p)
{
	struct pm_gaps *g = atomic_load(&p->gaps);
	while (g) {
		struct pm_gaps *older = g->older;
		free(g);
		g = older;
	}
}

bool pm_parts_first(const struct pm_parts *p, uintptr_t low, uintptr_t high, struct pm_part *ret)
{
	const struct pm_gaps *g = atomic_load_explicit(&p->gaps, memory_order_acquire);
	for (size_t i = 0; g && i < g->count && g->gap[i].low < high; i++) {
		if (g->gap[i].high <= low)
			continue;
		if (g->gap[i].low > low) {
			high = g->gap[i].low;
			break;
		}
		low = g->gap[i].high;
	}
	if (low >= high)
		return false;
	*ret = (struct pm_part){low, high};
	return true;
}

bool pm_parts_hold(const struct pm_parts *p, uintptr_t low, uintptr_t high)
{
	struct pm_part part;
	return low >= high || (pm_parts_first(p, low, high, &part) && part.low == low && part.high == high);
}

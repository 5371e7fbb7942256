/* SPDX-License-Identifier: BSD-3-Clause */
/* Pages that are the caller's from now on. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "durability/alone.h"
#include "error.h"
#include "mapping/calls.h"
#include "mapping/gate.h"

/* In whole pages: *low and *high. With the lock of observations held: the mapping is not resized meanwhile. */
static int check(const struct pm_mapping *m, const void *address, size_t length, uintptr_t *low, uintptr_t *high)
{
	const char *call = "pm_give_up";
	uintptr_t start = (uintptr_t)m->medium.map, end = start + pm_mapping_area(m);
	size_t unit = m->file.unit ? m->file.unit : (size_t)sysconf(_SC_PAGESIZE);
	*low = (uintptr_t)address;
	if (*low % unit)
		return pm_fail(-EINVAL, call, m->name, "the address is not a multiple of %zu", unit);
	if (*low < start || *low > end || length > end - *low)
		return pm_fail(-ERANGE, call, m->name, "the range leaves the mapping");
	*high = *low + (length + unit - 1) / unit * unit;
	return 0;
}

/* Waits for every access of the library's own that may not know it yet. */
static int give_up(struct pm_mapping *m, const void *address, size_t length)
{
	uintptr_t low = 0, high = 0;
	int rc = check(m, address, length, &low, &high);
	if (rc)
		return rc;
	struct pm_gaps *room = pm_parts_prepare(&m->medium.parts);
	struct pm_place *behind = pm_place_new();
	if (!room || !behind) {
		free(room);
		pm_place_free(behind);
		return pm_fail(-ENOMEM, "pm_give_up", m->name, "out of memory");
	}
	pm_place_cut(m->place, behind, (const void *)low, high - low);
	pm_page_give_up(&m->medium, room, low, high);
	pm_terms_close_short_cut(&m->terms);
	pm_walks_wait(&m->medium.walks);
	return 0;
}

int pm_mapping_give_up(struct pm_mapping *m, void *address, size_t length)
{
	const char *call = "pm_give_up";
	if (!length)
		return 0;
	int lost = pm_gate_enter(m, call), drained = pm_errors_current(&m->errors);
	if (!drained)
		drained = pm_gate_leave_drain(m, call, atomic_load(&m->terms.strategy)->drain(&m->medium));
	pm_turns_take(&m->observed.turns);
	int rc = give_up(m, address, length);
	pm_turns_give(&m->observed.turns);
	return rc ? rc : drained ? drained : lost;
}

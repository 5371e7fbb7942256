/* SPDX-License-Identifier: BSD-3-Clause */
#include "machine/machine.h"

#include <string.h>

#define ENTRIES (sizeof(struct pm_sys) / sizeof(void (*)(void)))

void machine_put_at(const struct pm_sys **at, struct machine *m, const struct pm_sys *entries)
{
	void (*own[ENTRIES])(void), (*all[ENTRIES])(void);
	m->at = at;
	m->below = *at;
	memcpy(own, entries, sizeof(own));
	memcpy(all, m->below, sizeof(all));
	for (size_t i = 0; i < ENTRIES; i++)
		if (own[i])
			all[i] = own[i];
	memcpy(&m->table, all, sizeof(all));
	*at = &m->table;
}

void machine_put(struct machine *m, const struct pm_sys *entries)
{
	machine_put_at(&pm_sys, m, entries);
}

void machine_remove(struct machine *m)
{
	*m->at = m->below;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A fake machine is a table of system calls made from another one: its own entries, and those of the machine below for
 * all others. Machines stand on each other; the lowest is Linux.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include "sys/sys.h"

struct machine {
	struct pm_sys table;
	const struct pm_sys *below, **at;
};

#define MACHINE(...) (&(const struct pm_sys){__VA_ARGS__})

/* Stands on what pm_sys names, and takes its place. Entries that are NULL are inherited. */
void machine_put(struct machine *, const struct pm_sys *entries);
/* The same at another place: a machine that was put later may stand there. */
void machine_put_at(const struct pm_sys **at, struct machine *, const struct pm_sys *entries);
/* The one below is back in its place. */
void machine_remove(struct machine *);

#endif

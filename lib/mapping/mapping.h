/* SPDX-License-Identifier: BSD-3-Clause */
/* One mapping, composed of its parts. Only the files of this folder and the public entry know it; the parts do not. */
#ifndef PM_MAPPING_H
#define PM_MAPPING_H

#include "durability/direct.h"
#include "durability/page.h"
#include "mapping/listener.h"
#include "observe/notifier.h"
#include "observe/observed.h"
#include "observe/watcher.h"
#include "places.h"

/* What a mapping is to the threads of the library. */
struct pm_member {
	struct pm_watched watched;   /* of the watcher */
	struct pm_notified notified; /* of the notifier, with a handler */
};

struct pm_mapping {
	struct pm_errors errors; /* failures of the file */
	/* What every durability call reads, together: from the end of errors to the beginning of terms. */
	unsigned flags;
	bool has_watcher, is_on_overlay, is_fixed;
	char *base;
	_Atomic uint64_t length; /* mapped.range.length, which is guarded by the locks of terms and observed */
	struct pm_terms terms;   /* what is in force */
	struct pm_mapped mapped; /* the range, and the request */
	struct pm_medium medium;

	struct pm_observed observed; /* what happens to the file meanwhile */

	struct pm_file file;
	struct pm_member *member; /* with PM_WATCH or PM_LEASE; else NULL */
	size_t reserved; /* bytes of addresses from medium.map on, of which map_length are accessible; 0: no reserve */
	struct pm_listener listener; /* without: the descriptor of pm_event_fd() */
	char *name;
	struct pm_place *place; /* of its addresses */
};

static inline enum pm_backing pm_mapping_backing(const struct pm_mapping *m)
{
	return m->mapped.requested.backing;
}

/* The addresses that are the mapping's. */
static inline size_t pm_mapping_area(const struct pm_mapping *m)
{
	return m->reserved ? m->reserved : m->medium.map_length;
}

#endif

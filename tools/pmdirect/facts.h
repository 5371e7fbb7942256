/* SPDX-License-Identifier: BSD-3-Clause */
/* What is known of the file behind a mapping of another process, without disturbing either. */
#ifndef FACTS_H
#define FACTS_H

#include <pmdirect.h>
#include <stdbool.h>
#include <stdint.h>

#include "area.h"

/* Of the file. What was not asked is 0, which is unknown. */
struct facts {
	bool is_probed;  /* the library was asked, and the members up to is_lost count */
	bool is_no_file; /* a device that is no memory, as /dev/dri/card0 */
	enum pm_granularity granularity;
	enum pm_state sync, map_sync, durable, large_folios;
	enum pm_grade grade;
	enum pm_reason reason;
	bool is_device, is_tmpfs, is_overlay; /* a device-dax; a file of a tmpfs, of an overlay */
	bool is_lost;             /* no store reaches the medium any more: the file system is read-only */
	enum pm_state direct;     /* may be known without a probe */
	const char *obstacle;     /* why it was not probed, in words; NULL: it was */
};

/* Of the page cache in front of the range. */
struct cached {
	bool is_known;
	uint64_t cached, dirty, write_back; /* bytes */
};

/* Valid until the next call. cached may be NULL. */
const struct facts *facts_of(const struct area *area, struct cached *cached);

/* What a report says; is_writable: of the mapping that is asked about. */
void facts_take(struct facts *facts, const struct pm_report *report, bool is_writable);

/* Forgets what is known, and closes the file that was kept open. */
void facts_forget(void);

/* The mapping itself. */
struct mapping_state {
	enum pm_granularity granularity;
	enum pm_state sync, direct, durable;
	const char *reason; /* the first fact in the way of more */
};

struct mapping_state mapping_state_of(const struct area *area, const struct facts *facts);

#endif

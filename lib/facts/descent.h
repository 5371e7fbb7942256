/* SPDX-License-Identifier: BSD-3-Clause */
/* What is found on the way down from a file system to the devices that keep its data. */
#ifndef PM_DESCENT_H
#define PM_DESCENT_H

#include <stdbool.h>

#include "pmdirect.h"

struct pm_subject;

struct pm_descent {
	enum pm_state is_volatile, flushes;
	bool has_no_cache;     /* each disk says itself that it has no cache */
	bool is_settled;       /* nothing on the way can be exchanged while it is in use */
	bool no_outer_journal; /* beforehand: of the ext4 that it begins with */
	bool is_met;           /* there was a disk, or what stands for one */
	int error;             /* positive errno */
	char what[56], how[56]; /* the texts of both */
	char device[65];       /* the sysfs name of the device that was asked for last; "": it does not exist */
	struct pm_subject *subject; /* beforehand: it begins with the device of this file; NULL: it asks by itself */
	/* Beforehand: goes on at a path, which a device may stand on. */
	void (*follow)(const char *path, unsigned depth, struct pm_descent *);
};
#define PM_DESCENT_DEPTH 8u /* of things upon things */

/* For a part of the way, to be merged. */
struct pm_descent pm_descent_part(const struct pm_descent *whole);
/* Of two results the worse one counts. */
void pm_descent_merge(struct pm_descent *, const struct pm_descent *other);
/*
 * The path that was followed may lead to another file than the one below: what was found to be bad stays, what was
 * found to be good is unknown.
 */
void pm_descent_doubt(struct pm_descent *, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Here the way ends, and nothing is known about what follows. */
void pm_descent_end(struct pm_descent *, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
void pm_descent_forgets(struct pm_descent *, const char *what);

#endif

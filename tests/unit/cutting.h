/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests share of a mapping whose file another process cuts off. */
#ifndef CUTTING_H
#define CUTTING_H

#include "unit.h"

#define CUT_PAGES 64u
#define CUT_IN_PAGE 100u

extern struct cutting {
	struct pm_mapping *m; /* of all CUT_PAGES */
	char *base;
	const char *path;
	size_t page;
	uint64_t end; /* after the cut: inside a page */
} cut;

void cut_start(const struct fake_machine *, const struct pm_options *);
/* Another process makes the file that long. */
void cut_to(uint64_t size);
/* The call failed, and its sentence has the end. */
void cut_check_told(int rc);

#endif

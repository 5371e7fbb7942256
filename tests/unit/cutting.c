/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cutting.h"

struct cutting cut;

void cut_start(const struct fake_machine *machine, const struct pm_options *o)
{
	size_t page = unit_page();
	const char *path = unit_file("file", CUT_PAGES * page);
	fake_start(machine);
	struct pm_mapping *m = unit_map(path, o);
	cut = (struct cutting){.m = m, .base = pm_base(m), .path = path, .page = page, .end = 5 * page + CUT_IN_PAGE};
}

/* Also in a hook, on any thread. */
void cut_to(uint64_t size)
{
	unit_expect(!truncate(cut.path, (off_t)size));
}

void cut_check_told(int rc)
{
	char number[24];
	snprintf(number, sizeof(number), "%llu", (unsigned long long)cut.end);
	ck_assert_int_eq(rc, -ERANGE);
	ck_assert_msg(strstr(pm_error_detail(), number), "%s", pm_error_detail());
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* PM_EV_RESIDENT is as true as mincore(2) and cachestat(2) are to the caller. */
#include <errno.h>

#include "unit.h"

#define SIZE 65536u

static const struct {
	int cachestat, may_write; /* errno */
	bool owner;
	enum pm_state resident;
	int error;
} residencies[] = {
	{ENOSYS, 0, true, PM_YES, 0},
	{ENOSYS, EACCES, true, PM_YES, 0},
	{ENOSYS, 0, false, PM_YES, 0},
	{ENOSYS, EACCES, false, PM_UNKNOWN, EPERM},
	{ENOSYS, EROFS, false, PM_UNKNOWN, EPERM},
	{ENOSYS, ENOSYS, false, PM_UNKNOWN, EPERM}, /* before Linux 5.8 */
	{EPERM, 0, true, PM_UNKNOWN, EPERM},        /* Linux 6.13 asks for the same right */
	{0, EACCES, false, PM_YES, 0},
};

START_TEST(residency_is_told_where_the_caller_may_ask)
{
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	fake.machine.is_others = !residencies[_i].owner;
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_READ_ONLY));
	/* So that there are pages. */
	ck_assert_int_eq(*(volatile char *)pm_base(m), unit_pattern(0));
	fake_fail(FAKE_cachestat, 0, residencies[_i].cachestat);
	fake_fail(FAKE_faccessat2_write, 0, residencies[_i].may_write);
	const struct pm_evidence *e = &unit_query(m)->evidence[PM_EV_RESIDENT];
	ck_assert_int_eq(e->state, residencies[_i].resident);
	ck_assert_int_eq(e->error, residencies[_i].error);
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("residency");
	tcase_add_loop_test(c, residency_is_told_where_the_caller_may_ask, 0, (int)COUNT(residencies));
	return unit_run();
}

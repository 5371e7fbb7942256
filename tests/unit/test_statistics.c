/* SPDX-License-Identifier: BSD-3-Clause */
/* What pm_statistics() counts. */
#include <errno.h>
#include <string.h>

#include "syncing.h"

#define ASK(s) unit_ok(pm_statistics(syncing_mapping, s, sizeof(*(s))))

static void check(uint64_t flushes, uint64_t drains, uint64_t write_backs, uint64_t asked, uint64_t pages)
{
	struct pm_statistics s;
	ASK(&s);
	ck_assert_uint_eq(s.size, sizeof(s));
	ck_assert_uint_eq(s.flushes, flushes);
	ck_assert_uint_eq(s.drains, drains);
	ck_assert_uint_eq(s.write_backs, write_backs);
	ck_assert_uint_eq(s.bytes_asked, asked);
	ck_assert_uint_eq(s.bytes_written, pages * syncing_page);
	ck_assert_uint_eq(s.errors + s.demotions + s.promotions, 0);
	ck_assert(!s.nanoseconds_waited == !write_backs);
}

START_TEST(pages_are_counted)
{
	syncing_start(XFS_SUPER_MAGIC);
	char *base = pm_base(syncing_mapping);
	check(0, 0, 0, 0, 0);
	unit_ok(pm_flush(syncing_mapping, base, 10));
	unit_ok(pm_flush(syncing_mapping, base, 0));
	unit_ok(pm_flush(syncing_mapping, base + 5 * syncing_page, syncing_page));
	check(2, 0, 0, 10 + syncing_page, 0);
	unit_ok(pm_drain(syncing_mapping)); /* the pages between included */
	check(2, 1, 1, 10 + syncing_page, 6);
	unit_ok(pm_drain(syncing_mapping));
	check(2, 2, 1, 10 + syncing_page, 6);
	unit_ok(pm_persist(syncing_mapping, base, 100));
	check(3, 3, 2, 110 + syncing_page, 7);
	char *apart = base + 40 * syncing_page;
	unit_ok(pm_commit(syncing_mapping, (struct pm_range[]){{base, 1}, {base, 0}, {apart, 2}}, 3));
	check(5, 4, 3, 113 + syncing_page, 9);
	unit_ok(pm_sync(syncing_mapping));
	check(5, 5, 4, 113 + syncing_page, 9 + SYNCING_PAGES);
	++*counter(0);
	kernel.fails_one_in = 1;
	ck_assert_int_eq(commit_page(0), -EIO);
	kernel.fails_one_in = 0;
	struct pm_statistics s;
	ASK(&s);
	ck_assert_uint_eq(s.errors, 1);
	unit_ok(pm_clear_error(syncing_mapping));
	syncing_stop();
}
END_TEST

/* Each commit waits for the one before: their times are of all threads. */
START_TEST(waiting_is_counted)
{
	struct pm_statistics s;
	syncing_start(XFS_SUPER_MAGIC);
	kernel.longest = 3000;
	++*counter(0);
	for (int i = 0; i < 20; i++)
		unit_ok(commit_page(0));
	ASK(&s);
	ck_assert_uint_gt(s.nanoseconds_waited, 0);
	syncing_stop();
}
END_TEST

START_TEST(lines_are_not_counted)
{
	struct pm_statistics s, none = {.size = sizeof(none)};
	const char *path = unit_file("file", 1 << 16);
	fake_start(&fake_dax);
	struct pm_mapping *m = unit_map(path, NULL);
	char *base = pm_base(m);
	unit_ok(pm_persist(m, base, 100));
	unit_ok(pm_flush(m, base, 100));
	unit_ok(pm_drain(m));
	unit_ok(pm_commit(m, &(struct pm_range){base, 1}, 1));
	unit_ok(pm_statistics(m, &s, sizeof(s)));
	ck_assert_mem_eq(&s, &none, sizeof(s));
	fake.machine.sync = FAKE_REFUSES;
	unit_query(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	unit_ok(pm_statistics(m, &s, sizeof(s)));
	ck_assert_uint_eq(s.demotions, 1);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_smaller_struct_gets_its_part)
{
	struct pm_statistics s;
	syncing_start(XFS_SUPER_MAGIC);
	unit_ok(commit_page(0));
	for (size_t size = 0; size <= sizeof(s) + 8; size++) {
		bool ends = size >= sizeof(s) || (size >= 16 && size % 8 == 0);
		memset(&s, 0xee, sizeof(s));
		ck_assert_int_eq(pm_statistics(syncing_mapping, &s, size), ends ? 0 : -EINVAL);
		if (!ends)
			continue;
		ck_assert_uint_eq(s.size, size < sizeof(s) ? size : sizeof(s));
		ck_assert_uint_eq(s.flushes, 1);
		ck_assert_uint_eq(s.drains, size > 16 ? 1 : 0xeeeeeeeeeeeeeeeeu);
	}
	ck_assert_int_eq(pm_statistics(syncing_mapping, NULL, sizeof(s)), -EINVAL);
	ck_assert_int_eq(pm_statistics(NULL, &s, sizeof(s)), -EINVAL);
	syncing_stop();
}
END_TEST

int main(void)
{
	TCase *c = unit_case("statistics");
	tcase_add_test(c, pages_are_counted);
	tcase_add_test(c, waiting_is_counted);
	tcase_add_test(c, lines_are_not_counted);
	tcase_add_test(c, a_smaller_struct_gets_its_part);
	return unit_run();
}

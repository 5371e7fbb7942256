/* SPDX-License-Identifier: BSD-3-Clause */
/* What a mapping keeps of memory and descriptors. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "mapping/mapping.h"
#include "unit.h"

START_TEST(a_plain_mapping_is_small)
{
	enum { MAPPINGS = 100 };
	static struct pm_mapping *m[MAPPINGS];
	const char *path[MAPPINGS];
	char name[20];
	fake_start(&fake_plain);
	counting.recording = false;
	unit_ok(pm_unmap(unit_map(unit_file("first", 1 << 20), NULL)));
	for (int i = 0; i < MAPPINGS; i++) {
		snprintf(name, sizeof(name), "file%d", i);
		path[i] = unit_file(name, 1 << 20);
	}
	size_t before = mallinfo2().uordblks;
	unsigned descriptors = fake_open_files();
	for (int i = 0; i < MAPPINGS; i++)
		m[i] = unit_map(path[i], NULL);
	ck_assert_uint_eq(fake_open_files() - descriptors, MAPPINGS);
	ck_assert_uint_le((mallinfo2().uordblks - before) / MAPPINGS, 2048);
	ck_assert_uint_ge((mallinfo2().uordblks - before) / MAPPINGS, sizeof(struct pm_mapping));
	for (int i = 0; i < MAPPINGS; i++)
		unit_ok(pm_unmap(m[i]));
}
END_TEST

static size_t resident_pages(void)
{
	size_t size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%zu %zu", &size, &resident), 2);
	fclose(f);
	return resident;
}

/* Of a mapping of 1 TiB: a bit a page, in pages of memory of which each stands for 128 MiB. */
START_TEST(bookkeeping_is_touched_where_stores_are)
{
	enum { STORES = 50 };
	struct pm_page_set set = {0};
	static struct pm_page_walk walk;
	size_t length = sizeof(void *) > 4 ? (size_t)1 << 40 : (size_t)1 << 31, taken = 0;
	memset(&walk, 0, sizeof(walk));
	size_t before = resident_pages();
	before = resident_pages();
	unit_ok(pm_page_set_reserve(&set, length));
	for (size_t i = 0; i < STORES; i++)
		pm_page_set_add(&set, length / STORES * i, 1);
	do {
		pm_page_set_take(&set, &walk);
		taken += walk.count;
	} while (walk.more);
	ck_assert_uint_eq(taken, STORES);
	ck_assert(pm_page_set_is_empty(&set));
	/* One for each store and some for the blocks, of 8,192; the kernel counts by and by. */
	ck_assert_uint_le(resident_pages() - before, STORES + 200);
	pm_page_set_free(&set);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("bookkeeping");
	tcase_add_test(c, a_plain_mapping_is_small);
	tcase_add_test(c, bookkeeping_is_touched_where_stores_are);
	return unit_run();
}

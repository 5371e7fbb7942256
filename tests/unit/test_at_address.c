/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A mapping at an address of the caller's, with the caller's flags of mmap(2). What is mapped there stays until the
 * file is mapped, whatever fails before: a failing mmap(2) with MAP_FIXED leaves a hole.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "unit.h"

#define PAGES 8u

static size_t page;
static char *room; /* PAGES + 2 pages of the program's own, in the middle of which the mapping is to be */
static const char *path;

static void start(const struct fake_machine *machine)
{
	page = unit_page();
	path = unit_file("file", PAGES * page);
	room = mmap(NULL, (PAGES + 2) * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert(room != MAP_FAILED);
	memset(room, 'r', (PAGES + 2) * page);
	fake_start(machine);
}

static void stop(void)
{
	munmap(room, (PAGES + 2) * page);
	ck_assert_uint_eq(fake_mapped_bytes(), 0);
	ck_assert_uint_eq(fake_open_files(), 0);
}

static bool is_rooms(unsigned first, unsigned count)
{
	for (size_t i = first * page; i < (first + count) * page; i++)
		if (room[i] != 'r')
			return false;
	return true;
}

static bool is_mapped(const char *at)
{
	unsigned char cached;
	return !mincore((void *)at, page, &cached);
}

static const struct fake_machine *const machines[] = {&fake_plain, &fake_dax, &fake_eadr, &fake_tmpfs};

START_TEST(it_replaces_what_is_there)
{
	start(machines[_i]);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.address = room + page, .map_flags = MAP_FIXED,
	                                                   .length = PAGES * page - 100));
	ck_assert_ptr_eq(pm_base(m), room + page);
	ck_assert(unit_has_pattern(room + page, 0, PAGES * page));
	ck_assert(is_rooms(0, 1) && is_rooms(PAGES + 1, 1));
	ck_assert_ptr_eq(pm_find(room + 2 * page), m);
	unit_ok(pm_memset(m, room + 2 * page, 7, 100, 0));
	unit_ok(pm_unmap(m));
	ck_assert(!is_mapped(room + page));
	stop();
}
END_TEST

/* The proof and the price of a promise are those of a mapping anywhere. */
START_TEST(it_is_as_synchronous_as_elsewhere)
{
	start(&fake_dax);
	struct pm_mapping *m =
		unit_map(path, UNIT_OPTIONS(.address = room, .map_flags = MAP_FIXED, .sync = PM_GUARANTEE));
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	const struct fake_record *r = NULL, *last = NULL;
	for (unsigned n = 0; (r = fake_find(FAKE_mmap, n)); n++)
		last = r->flags & MAP_SYNC ? r : last;
	ck_assert_uint_eq(last->flags & (MAP_TYPE | MAP_SYNC), MAP_SHARED_VALIDATE | MAP_SYNC);
	fake_forget();
	unit_ok(pm_persist(m, room + 100, 10));
	ck_assert_uint_eq(fake_syscalls(), 0);
	unit_ok(pm_unmap(m));
	stop();
}
END_TEST

START_TEST(the_kernel_is_told_the_flags)
{
	static const int flags[] = {MAP_POPULATE, MAP_LOCKED, MAP_NORESERVE, MAP_POPULATE | MAP_NONBLOCK};
	start(_i % 2 ? &fake_dax : &fake_plain);
	void *address = _i / 2 % 2 ? room + page : NULL;
	int place = address ? MAP_FIXED : 0, wanted = flags[_i / 4];
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.address = address, .map_flags = place | wanted));
	bool is_found = false;
	for (unsigned n = 0; fake_find(FAKE_mmap, n); n++)
		is_found |= ((int)fake_find(FAKE_mmap, n)->flags & wanted) == wanted;
	ck_assert(is_found);
	unit_ok(pm_unmap(m));
	stop();
}
END_TEST

START_TEST(a_hint_is_followed_where_there_is_room)
{
	start(&fake_plain);
	munmap(room + page, PAGES * page);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.address = room + page));
	ck_assert_ptr_eq(pm_base(m), room + page);
	struct pm_mapping *other = unit_map(path, UNIT_OPTIONS(.address = room + page));
	ck_assert_ptr_ne(pm_base(other), room + page);
	unit_ok(pm_unmap(m));
	unit_ok(pm_unmap(other));
	stop();
}
END_TEST

/* Also before Linux 4.17, which takes the flag for no flag, and beside MAP_FIXED. */
START_TEST(noreplace_takes_only_what_is_free)
{
	struct pm_mapping *m;
	struct pm_report report;
	start(_i % 2 ? &fake_dax : &fake_plain);
	fake.machine.takes_places_for_hints = _i / 2 % 2;
	int flags = MAP_FIXED_NOREPLACE | (_i / 4 ? MAP_FIXED : 0);
	struct pm_options *o = UNIT_OPTIONS(.address = room + page, .map_flags = flags);
	ck_assert_int_eq(pm_map(path, o, &m), -EEXIST);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "options->address"));
	ck_assert_int_eq(pm_probe(path, o, &report, sizeof(report)), -EEXIST);
	/* One page is in the way. */
	munmap(room + page, (PAGES - 1) * page);
	ck_assert_int_eq(pm_map(path, o, &m), -EEXIST);
	ck_assert(is_rooms(0, 1) && is_rooms(PAGES, 2) && !is_mapped(room + page));
	munmap(room + PAGES * page, page);
	unit_ok(pm_probe(path, o, &report, sizeof(report)));
	ck_assert(!is_mapped(room + page));
	m = unit_map(path, o);
	ck_assert_ptr_eq(pm_base(m), room + page);
	unit_ok(pm_unmap(m));
	stop();
}
END_TEST

/* A probe never maps over anything. */
START_TEST(a_probe_leaves_what_is_there)
{
	struct pm_report report;
	start(machines[_i]);
	unit_ok(pm_probe(path, UNIT_OPTIONS(.address = room, .map_flags = MAP_FIXED), &report, sizeof(report)));
	ck_assert(is_rooms(0, PAGES + 2));
	stop();
}
END_TEST

/* ---- What fails leaves what is there ---- */

static void fail_to_map(const struct pm_options *o, int error)
{
	struct pm_mapping *m = NULL;
	ck_assert_int_eq(pm_map(path, o, &m), error);
	ck_assert_ptr_null(m);
}

START_TEST(a_failing_call_leaves_no_hole)
{
	start(_i % 2 ? &fake_dax : &fake_plain);
	const struct pm_options *o = UNIT_OPTIONS(.address = room + page, .map_flags = MAP_FIXED);
	fail_to_map(UNIT_OPTIONS(.address = room + page, .map_flags = MAP_FIXED, .length = (PAGES + 1) * page),
	            -ERANGE);
	fake_fail(FAKE_mremap_over, 1, ENOMEM);
	fail_to_map(o, -ENOMEM);
	for (unsigned n = 1; n < 5; n++) {
		struct pm_mapping *m = NULL;
		fake_fail(FAKE_mmap, n, ENOMEM);
		if (!pm_map(path, o, &m)) {
			unit_ok(pm_unmap(m));
			break;
		}
		ck_assert(is_rooms(0, PAGES + 2));
	}
	fake_fail(FAKE_mmap, 0, 0);
	stop();
}
END_TEST

/* Not even where the kernel refuses the file's mapping as such. */
START_TEST(a_refused_guarantee_leaves_no_hole)
{
	start(&fake_plain);
	fail_to_map(UNIT_OPTIONS(.address = room + page, .map_flags = MAP_FIXED, .sync = PM_GUARANTEE), -PM_ENOTSYNC);
	ck_assert(is_rooms(0, PAGES + 2));
	struct pm_mapping *m = NULL;
	fake_fail(FAKE_mmap, 1, EACCES);
	ck_assert_int_eq(pm_map(path, UNIT_OPTIONS(.address = room, .map_flags = MAP_FIXED), &m), -EACCES);
	ck_assert(is_rooms(0, PAGES + 2));
	stop();
}
END_TEST

static const struct {
	size_t off;
	bool null;
	struct pm_options o;
	int error;
} wrong[] = {
	{1, false, {.map_flags = MAP_FIXED}, -EINVAL},
	{512, false, {.map_flags = MAP_FIXED_NOREPLACE}, -EINVAL},
	{0, true, {.map_flags = MAP_FIXED}, -EINVAL},
	{0, false, {.map_flags = MAP_FIXED, .reserve = 1 << 20}, -EINVAL},
	{0, false, {.map_flags = MAP_SHARED}, -EINVAL},
	{0, false, {.map_flags = MAP_ANONYMOUS}, -EINVAL},
	{0, false, {.map_flags = MAP_GROWSDOWN}, -EINVAL},
	{0, false, {.map_flags = MAP_SYNC}, -EINVAL},
	{0, false, {.map_flags = MAP_HUGETLB}, -EINVAL},
};

START_TEST(what_makes_no_sense_is_refused)
{
	start(&fake_plain);
	struct pm_options o = wrong[_i].o;
	o.size = sizeof(o);
	o.address = wrong[_i].null ? NULL : room + wrong[_i].off;
	fail_to_map(&o, wrong[_i].error);
	ck_assert(is_rooms(0, PAGES + 2));
	stop();
}
END_TEST

/* The sentence names the address, and not the file system; a probe says the same. */
START_TEST(no_process_has_the_address)
{
	start(&fake_plain);
	struct pm_options *o = UNIT_OPTIONS(.address = (void *)(UINTPTR_MAX - 16 * page + 1));
	o->map_flags = _i ? MAP_FIXED_NOREPLACE : MAP_FIXED;
	fail_to_map(o, -ENOMEM);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "options->address"));
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "addresses of a process"));
	struct pm_report report;
	ck_assert_int_eq(pm_probe(path, o, &report, sizeof(report)), -ENOMEM);
	stop();
}
END_TEST

/* ---- A resize ---- */

/* The caller chose the place: nothing is moved. */
START_TEST(it_never_moves)
{
	start(_i ? &fake_dax : &fake_plain);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.address = room, .map_flags = MAP_FIXED));
	ck_assert_int_eq(pm_resize(m, (PAGES + 1) * page), -ENOMEM);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "fixed address"));
	ck_assert(is_rooms(PAGES, 2));
	munmap(room + PAGES * page, 2 * page);
	unit_ok(pm_resize(m, (PAGES + 1) * page));
	ck_assert_ptr_eq(pm_base(m), room);
	unit_ok(pm_resize(m, 2 * page));
	ck_assert_ptr_eq(pm_base(m), room);
	unit_ok(pm_memset(m, room + page, 5, page, 0));
	unit_ok(pm_unmap(m));
	stop();
}
END_TEST

START_TEST(a_split_one_is_not_moved_either)
{
	start(&fake_plain);
	fake.machine.shows_real_smaps = true;
	munmap(room + PAGES * page, 2 * page);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.address = room, .map_flags = MAP_FIXED));
	ck_assert_int_eq(madvise(room + page, page, MADV_DONTDUMP), 0);
	ck_assert_int_eq(pm_resize(m, (PAGES + 1) * page), -EINVAL);
	ck_assert(unit_has_pattern(room, 0, PAGES * page));
	ck_assert_ptr_eq(pm_base(m), room);
	unit_ok(pm_unmap(m));
	stop();
}
END_TEST

/* The page of the address is the one that holds the offset. */
START_TEST(an_offset_inside_a_page)
{
	start(&fake_plain);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.address = room, .map_flags = MAP_FIXED,
	                                                   .offset = page + 100, .length = page));
	ck_assert_ptr_eq(pm_base(m), room + 100);
	ck_assert(unit_has_pattern(room, page, 2 * page));
	ck_assert(is_rooms(2, PAGES));
	unit_ok(pm_unmap(m));
	stop();
}
END_TEST

/* Memory without a file, and a private copy. */
START_TEST(other_backings)
{
	struct pm_mapping *m;
	start(&fake_plain);
	unit_ok(pm_map(_i ? path : NULL,
	               UNIT_OPTIONS(.flags = _i ? PM_PRIVATE : PM_ANONYMOUS, .length = 2 * page, .address = room + page,
	                            .map_flags = MAP_FIXED),
	               &m));
	ck_assert_ptr_eq(pm_base(m), room + page);
	ck_assert(is_rooms(0, 1) && is_rooms(3, PAGES - 1));
	unit_ok(pm_unmap(m));
	stop();
}
END_TEST

int main(void)
{
	TCase *t = unit_case("at_address");
	tcase_add_loop_test(t, it_replaces_what_is_there, 0, 4);
	tcase_add_test(t, it_is_as_synchronous_as_elsewhere);
	tcase_add_loop_test(t, the_kernel_is_told_the_flags, 0, 16);
	tcase_add_test(t, a_hint_is_followed_where_there_is_room);
	tcase_add_loop_test(t, noreplace_takes_only_what_is_free, 0, 8);
	tcase_add_loop_test(t, a_probe_leaves_what_is_there, 0, 4);
	tcase_add_loop_test(t, a_failing_call_leaves_no_hole, 0, 2);
	tcase_add_test(t, a_refused_guarantee_leaves_no_hole);
	tcase_add_loop_test(t, what_makes_no_sense_is_refused, 0, sizeof(wrong) / sizeof(wrong[0]));
	tcase_add_loop_test(t, no_process_has_the_address, 0, 2);
	tcase_add_loop_test(t, it_never_moves, 0, 2);
	tcase_add_test(t, a_split_one_is_not_moved_either);
	tcase_add_test(t, an_offset_inside_a_page);
	tcase_add_loop_test(t, other_backings, 0, 2);
	return unit_run();
}

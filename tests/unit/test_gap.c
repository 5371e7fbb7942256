/* SPDX-License-Identifier: BSD-3-Clause */
/* The program unmaps a part of the mapping, or maps something over it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mapping/mapping.h"
#include "unit.h"

#define PAGES 16u

static struct pm_mapping *m;
static const char *path;
static size_t page;
static char *base;

static void start(const struct fake_machine *machine, const struct pm_options *o)
{
	page = unit_page();
	path = unit_file("file", PAGES * page);
	fake_start(machine);
	fake.machine.release = FAKE_WITHOUT_FOLIOS;
	fake.really_syncs = fake.recovers = true;
	m = unit_map(path, o);
	base = pm_base(m);
}

static void unmap_part(unsigned first, unsigned count)
{
	ck_assert_int_eq(munmap(base + first * page, count * page), 0);
}

/* The library counts what it unmaps, and cannot know what the program did. */
static void stop(void)
{
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files(), 0);
}

START_TEST(a_part_that_is_gone_is_told_as_such)
{
	start(&fake_plain, NULL);
	base[3 * page] = base[5 * page] = 'x';
	unit_ok(pm_flush(m, base + 3 * page, 3 * page));
	unmap_part(4, 1 + (unsigned)_i);
	ck_assert_int_eq(pm_drain(m), -ENOMEM);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "the program unmapped a part of the mapping"));
	ck_assert_int_eq(pm_persist(m, base, 1), -ENOMEM);
	/* What was stored before is durable, in the part that is gone, too. */
	fake_forget();
	unit_ok(pm_clear_error(m));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 0);
	ck_assert_uint_eq(fake_calls(FAKE_fdatasync), 1);
	ck_assert_uint_ge(fake_find(FAKE_mmap, 0)->length, PAGES * page);
	ck_assert_uint_ge(fake_calls(FAKE_madvise), 1);
	/* And so is what follows, by a call whose errors have one meaning. */
	fake_forget();
	base[0] = 'y';
	unit_ok(pm_persist(m, base, 8 * page));
	unit_ok(pm_commit(m, (struct pm_range[]){{base, 1}, {base + 15 * page, 1}}, 2));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 0);
	ck_assert_uint_eq(fake_calls(FAKE_fdatasync), 2);
	fake_fail(FAKE_fdatasync, 1, ENOMEM);
	ck_assert_int_eq(pm_persist(m, base, 1), -ENOMEM);
	unit_ok(pm_clear_error(m));
	stop();
}
END_TEST

/* Elsewhere nothing is different, and nothing is looked for. */
START_TEST(what_does_not_touch_the_gap_succeeds)
{
	start(&fake_plain, NULL);
	unmap_part(8, 2);
	unit_ok(pm_persist(m, base, 8 * page));
	unit_ok(pm_persist(m, base + 10 * page, 6 * page));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 2);
	ck_assert_uint_eq(fake_calls(FAKE_mincore) + fake_calls(FAKE_fdatasync), 0);
	stop();
}
END_TEST

/* The same error where everything is mapped. */
START_TEST(a_failed_write_back_is_no_gap)
{
	start(&fake_plain, NULL);
	fake_fail(FAKE_msync, 1, ENOMEM);
	ck_assert_int_eq(pm_persist(m, base, PAGES * page), -ENOMEM);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "a write-back failed"));
	ck_assert(!atomic_load(&m->medium.has_gap));
	fake_forget();
	unit_ok(pm_clear_error(m));
	ck_assert_uint_eq(fake_calls(FAKE_fdatasync), 0);
	stop();
}
END_TEST

/* Where a filter ignores fdatasync(2) there is no other way. */
START_TEST(without_another_way_it_stays_poisoned)
{
	start(&fake_plain, NULL);
	unmap_part(8, 1);
	fake.machine.ignores = PM_CALL_FDATASYNC;
	ck_assert_int_eq(pm_persist(m, base, PAGES * page), -ENOMEM);
	ck_assert_int_eq(pm_clear_error(m), -ENOMEM);
	ck_assert_int_eq(pm_persist(m, base, 1), -ENOMEM);
	fake.machine.ignores = 0;
	ck_assert_int_eq(pm_unmap(m), -ENOMEM);
}
END_TEST

/* ---- A resize ---- */

/* Mapped anew, the mapping would lose what the program put there, or show what it took away. */
START_TEST(a_mapping_with_a_gap_is_not_moved)
{
	start(_i % 2 ? &fake_dax : &fake_plain, UNIT_OPTIONS(.offset = (_i & 2 ? unit_page() : 0)));
	fake.machine.shows_real_smaps = true;
	unsigned length = (unsigned)(pm_length(m) / page), first = _i / 4 ? length - 2 : 4;
	unmap_part(first, 2);
	ck_assert_int_eq(pm_resize(m, 2 * PAGES * page), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "munmap(2) was called on a part"));
	ck_assert_ptr_eq(pm_base(m), base);
	ck_assert_uint_eq(unit_size_of(path), PAGES * page);
	/* By these smaps nothing is MAP_SYNC, so that each drain covers the whole. */
	ck_assert_int_eq(pm_unmap(m), _i % 2 ? -ENOMEM : 0);
}
END_TEST

START_TEST(a_part_that_is_the_programs_is_not_dropped)
{
	static const unsigned places[] = {0, 4, PAGES - 1};
	start(&fake_plain, NULL);
	char *at = base + places[_i % 3] * page;
	int other = _i / 3 == 2 ? open(path, O_RDWR) : open(unit_file("other", PAGES * page), O_RDWR);
	int flags = MAP_FIXED | (_i / 3 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS);
	/* Of another file, or of another part of this one. */
	off_t offset = (off_t)(_i / 3 == 2 ? (places[_i % 3] + 1) % PAGES * page : places[_i % 3] * page);
	ck_assert_ptr_eq(mmap(at, page, PROT_READ | PROT_WRITE, flags, _i / 3 ? other : -1, _i / 3 ? offset : 0), at);
	*at = 'p';
	ck_assert_int_eq(pm_resize(m, 2 * PAGES * page), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "mmap(2) with MAP_FIXED was called on a part"));
	ck_assert_int_eq(*at, 'p');
	ck_assert_ptr_eq(pm_base(m), base);
	/* Another description of it keeps the growth from being undone. */
	ck_assert_uint_eq(unit_size_of(path), (_i / 3 == 2 ? 2 : 1) * PAGES * page);
	close(other);
	stop();
}
END_TEST

int main(void)
{
	TCase *c = unit_case("gap");
	tcase_add_loop_test(c, a_part_that_is_gone_is_told_as_such, 0, 4);
	tcase_add_test(c, what_does_not_touch_the_gap_succeeds);
	tcase_add_test(c, a_failed_write_back_is_no_gap);
	tcase_add_test(c, without_another_way_it_stays_poisoned);
	tcase_add_loop_test(c, a_mapping_with_a_gap_is_not_moved, 0, 8);
	tcase_add_loop_test(c, a_part_that_is_the_programs_is_not_dropped, 0, 9);
	return unit_run();
}

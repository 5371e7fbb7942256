/* SPDX-License-Identifier: BSD-3-Clause */
/* Growing and shrinking within addresses that were kept, and a length that is the least. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mapping/mapping.h"
#include "unit.h"

static const char *path;
static struct pm_mapping *m;

static void map(const struct fake_machine *machine, uint64_t size, const struct pm_options *o)
{
	path = unit_file("file", size);
	fake_start(machine);
	m = unit_map(path, o);
	fake_forget();
}

static void unmap(void)
{
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}

/* write(2) meets a fault as an error. */
static bool is_accessible(const char *address)
{
	int ends[2];
	unit_expect(pipe(ends) == 0);
	bool is = write(ends[1], address, 1) == 1;
	close(ends[0]);
	close(ends[1]);
	return is;
}

/* msync(2) meets a hole as an error, whatever the protection. */
static bool is_whole(void)
{
	return !msync(m->medium.map, m->reserved, MS_ASYNC);
}

START_TEST(within_a_reserve_nothing_moves)
{
	const uint64_t page = unit_page(), reserve = 20 * page + 5;
	const uint64_t lengths[] = {1, 100, page - 1, page, page + 1, 3 * page, 9 * page + 9, reserve};
	const uint64_t offset = _i % 2 ? page + 77 : 0;
	const struct fake_machine *machine = _i / 2 ? &fake_dax : &fake_plain;
	for (size_t i = 0; i < COUNT(lengths); i++) {
		for (size_t j = (i + (size_t)_i) % unit_stride(); j < COUNT(lengths); j += unit_stride()) {
			uint64_t from = lengths[i], to = lengths[j], kept = from < to ? from : to;
			map(machine, offset + from, UNIT_OPTIONS(.offset = offset, .reserve = reserve));
			const char *base = pm_base(m);
			unit_ok(pm_resize(m, to));
			ck_assert_ptr_eq(pm_base(m), base);
			ck_assert_uint_eq(pm_length(m), to);
			ck_assert_uint_eq(unit_size_of(path), offset + to);
			ck_assert_uint_eq(fake_calls(FAKE_mremap), 0);
			ck_assert(unit_has_pattern(base, offset, kept));
			ck_assert(unit_is_zero(base + kept, to - kept));
			size_t accessible = m->medium.map_length;
			ck_assert(is_accessible(m->medium.map + accessible - 1));
			ck_assert(accessible == m->reserved || !is_accessible(m->medium.map + accessible));
			ck_assert_uint_lt(accessible, (uintptr_t)base + to + page - (uintptr_t)m->medium.map);
			unit_ok(pm_memset(m, pm_base(m), 'x', to, 0));
			ck_assert_int_eq(pm_persist(m, base, to + 1), -ERANGE);
			unmap();
		}
	}
}
END_TEST

START_TEST(beyond_the_reserve_is_refused)
{
	uint64_t page = unit_page();
	map(&fake_plain, 3 * page, UNIT_OPTIONS(.reserve = 8 * page));
	void *base = pm_base(m);
	ck_assert_int_eq(pm_resize(m, 8 * page + 1), -ENOMEM);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "reserve ends at 32768"));
	ck_assert_uint_eq(pm_length(m), 3 * page);
	ck_assert_uint_eq(unit_size_of(path), 3 * page);
	unit_ok(pm_resize(m, 8 * page));
	ck_assert_ptr_eq(pm_base(m), base);
	unmap();
}
END_TEST

static void check_refused(const struct pm_options *o, int error, const char *word)
{
	struct pm_report report;
	unsigned before = unit_open_files();
	m = NULL;
	ck_assert_int_eq(pm_map(path, o, &m), error);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), word));
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "pm_map"));
	ck_assert_int_eq(pm_probe(path, o, &report, sizeof(report)), error);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), word));
	ck_assert_ptr_null(m);
	ck_assert_uint_eq(unit_open_files(), before);
	ck_assert_uint_eq(fake_mapped_bytes(), 0);
}

START_TEST(a_reserve_that_cannot_be)
{
	uint64_t page = unit_page();
	path = unit_file("file", 9 * page);
	fake_start(&fake_plain);
	check_refused(UNIT_OPTIONS(.length = 2, .reserve = 1), -EINVAL, "smaller than the length");
	check_refused(UNIT_OPTIONS(.reserve = 9 * page - 1), -EINVAL, "smaller than the length, 36864");
	check_refused(UNIT_OPTIONS(.flags = PM_AT_LEAST, .length = 1, .reserve = 8 * page), -EINVAL, "length, 36864");
	check_refused(UNIT_OPTIONS(.flags = PM_PRIVATE, .reserve = 9 * page), -EINVAL, "shared mapping");
	check_refused(UNIT_OPTIONS(.reserve = UINT64_MAX), -ENOMEM, "more than a process can address");
	check_refused(UNIT_OPTIONS(.offset = page, .reserve = (uint64_t)INT64_MAX - 2 * page), -EOVERFLOW, "overflows");
	check_refused(UNIT_OPTIONS(.reserve = 1ull << 61), -ENOMEM, "no free range of addresses");
	ck_assert_uint_eq(unit_size_of(path), 9 * page);
	path = unit_path("new");
	check_refused(UNIT_OPTIONS(.flags = PM_CREATE, .length = page, .reserve = 1ull << 61), -ENOMEM, "addresses");
	ck_assert(!unit_exists(path));
	path = NULL;
	ck_assert_int_eq(pm_map(NULL, UNIT_OPTIONS(.flags = PM_ANONYMOUS, .length = 1, .reserve = 1), &m), -EINVAL);
}
END_TEST

START_TEST(a_growth_that_fails_leaves_all_as_it_was)
{
	static const enum fake_call calls[] = {FAKE_mprotect, FAKE_fallocate_keep_size};
	uint64_t page = unit_page();
	for (size_t i = 0; i < COUNT(calls); i++) {
		map(_i ? &fake_dax : &fake_plain, 3 * page + 9, UNIT_OPTIONS(.reserve = 30 * page));
		const char *base = pm_base(m);
		fake_fail(calls[i], 0, i ? EFBIG : ENOMEM);
		ck_assert_int_eq(pm_resize(m, 20 * page), i ? -EFBIG : -ENOMEM);
		fake_fail(calls[i], 0, 0);
		ck_assert_ptr_nonnull(strstr(pm_error_detail(), "pm_resize"));
		ck_assert_ptr_eq(pm_base(m), base);
		ck_assert_uint_eq(pm_length(m), 3 * page + 9);
		ck_assert_uint_eq(unit_size_of(path), 3 * page + 9);
		ck_assert(unit_has_pattern(base, 0, 3 * page + 9));
		ck_assert(is_whole() && !is_accessible(base + 4 * page));
		unit_ok(pm_persist(m, base, 3 * page + 9));
		unit_ok(pm_resize(m, 20 * page));
		unit_ok(pm_memset(m, pm_base(m), 'x', 20 * page, 0));
		unmap();
	}
}
END_TEST

START_TEST(a_shrink_that_fails_leaves_all_as_it_was)
{
	uint64_t page = unit_page();
	for (int cut = 0; cut < 2; cut++) {
		map(&fake_plain, 9 * page, UNIT_OPTIONS(.reserve = 30 * page));
		fake_fail(cut ? FAKE_ftruncate : FAKE_mprotect, 0, ENOMEM);
		ck_assert_int_eq(pm_resize(m, page), -ENOMEM);
		fake_fail(cut ? FAKE_ftruncate : FAKE_mprotect, 0, 0);
		ck_assert_uint_eq(pm_length(m), 9 * page);
		ck_assert(unit_has_pattern(pm_base(m), 0, 9 * page));
		unit_ok(pm_memset(m, pm_base(m), 'x', 9 * page, 0));
		unmap();
	}
}
END_TEST

START_TEST(a_reader_follows_the_file)
{
	uint64_t page = unit_page();
	map(&fake_plain, 2 * page, UNIT_OPTIONS(.flags = PM_READ_ONLY, .reserve = 16 * page));
	const char *base = pm_base(m);
	ck_assert_int_eq(pm_resize(m, 5 * page), -ERANGE);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "the file at 8192"));
	ck_assert_uint_eq(pm_length(m), 2 * page);
	ck_assert_int_eq(truncate(path, (off_t)(5 * page + 10)), 0);
	unit_ok(pm_resize(m, 5 * page + 10));
	ck_assert_ptr_eq(pm_base(m), base);
	ck_assert(unit_has_pattern(base, 0, 2 * page) && unit_is_zero(base + 2 * page, 3 * page + 10));
	unit_ok(pm_resize(m, page));
	ck_assert_uint_eq(unit_size_of(path), 5 * page + 10);
	ck_assert(!is_accessible(base + page));
	unit_ok(pm_resize(m, 4 * page));
	ck_assert_uint_eq(fake_calls(FAKE_fallocate) + fake_calls(FAKE_ftruncate) + fake_calls(FAKE_fsync), 0);
	unmap();
	map(&fake_plain, 2 * page, UNIT_OPTIONS(.flags = PM_READ_ONLY));
	ck_assert_int_eq(pm_resize(m, page), -EACCES);
	unmap();
}
END_TEST

START_TEST(a_device_is_mapped_further)
{
	uint64_t align = 2 << 20;
	map(&fake_device_dax, 4 * align, UNIT_OPTIONS(.length = align, .reserve = 4 * align));
	void *base = pm_base(m);
	ck_assert_int_eq(pm_resize(m, align + 1), -EINVAL);
	unit_ok(pm_resize(m, 3 * align));
	ck_assert_ptr_eq(pm_base(m), base);
	ck_assert(is_accessible((char *)base + 3 * align - 1) && !is_accessible((char *)base + 3 * align));
	unit_ok(pm_memset(m, (char *)base + 2 * align, 1, align, 0));
	unit_ok(pm_resize(m, align));
	ck_assert_int_eq(pm_persist(m, base, 2 * align), -ERANGE);
	unmap();
	map(&fake_device_dax, 2 * align, UNIT_OPTIONS(.length = align, .reserve = 4 * align));
	ck_assert_int_eq(pm_resize(m, 3 * align), -ERANGE);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "the file at"));
	unmap();
	uint64_t page = unit_page();
	map(&fake_block_device, 8 * page, UNIT_OPTIONS(.length = page, .reserve = 8 * page));
	unit_ok(pm_resize(m, 8 * page));
	ck_assert_uint_eq(fake_calls(FAKE_fallocate) + fake_calls(FAKE_ftruncate) + fake_calls(FAKE_fsync), 0);
	unmap();
}
END_TEST

/* Another thread may not have seen the -ERANGE yet. */
START_TEST(a_growth_does_not_acknowledge_a_truncation)
{
	uint64_t page = unit_page();
	map(&fake_plain, 8 * page, UNIT_OPTIONS(.reserve = 30 * page));
	char *base = pm_base(m);
	ck_assert_int_eq(truncate(path, (off_t)page), 0);
	ck_assert_int_eq(pm_persist(m, base + 6 * page, 1), -ERANGE);
	ck_assert_int_eq(truncate(path, (off_t)(8 * page)), 0);
	ck_assert_int_eq(pm_resize(m, 20 * page), -ERANGE);
	ck_assert_int_eq(pm_persist(m, base + 6 * page, 1), -ERANGE);
	unit_ok(pm_resize(m, 8 * page));
	unit_ok(pm_persist(m, base + 6 * page, 1));
	unit_ok(pm_resize(m, 20 * page));
	unmap();
}
END_TEST

static int grow_and_cut(void *arg)
{
	volatile char *base = pm_base(m);
	unit_ok(pm_resize(m, 12 * unit_page()));
	unit_expect(truncate(path, (off_t)(4 * unit_page())) == 0);
	base[*(size_t *)arg] = 1;
	return 7;
}

START_TEST(a_guard_covers_what_is_mapped_later)
{
	struct pm_fault fault;
	size_t at = 10 * unit_page() + 3;
	map(&fake_plain, 2 * unit_page(), UNIT_OPTIONS(.reserve = 16 * unit_page()));
	fake.guards = true;
	unit_ok(pm_guard_install());
	ck_assert_int_eq(pm_guarded(m, grow_and_cut, &at, &fault, sizeof(fault)), -EIO);
	ck_assert_uint_eq(fault.offset, at);
	unit_ok(pm_guard_remove());
	unmap();
}
END_TEST

START_TEST(what_was_prepared_grows_prepared)
{
	uint64_t page = unit_page();
	map(&fake_dax, 2 * page, UNIT_OPTIONS(.flags = PM_PREPARE, .reserve = 600 * page));
	unit_ok(pm_resize(m, 500 * page));
	bool populates = false;
	for (unsigned i = 0; i < fake_calls(FAKE_madvise); i++) {
		const struct fake_record *r = fake_find(FAKE_madvise, i);
		populates |= r->address == (uintptr_t)pm_base(m) + 2 * page && r->length == 498 * page;
	}
	ck_assert(populates);
	unmap();
}
END_TEST

START_TEST(what_grows_by_holes_is_demoted_first)
{
	uint64_t page = unit_page();
	map(&fake_dax, 2 * page, UNIT_OPTIONS(.flags = PM_CREATE | PM_SPARSE, .reserve = 16 * page));
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	const struct fake_extent extents[] = {{0, 2 * page, 0}};
	fake.machine.extents = extents;
	fake.machine.extent_count = 1;
	unit_ok(pm_resize(m, 16 * page));
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	unit_ok(pm_persist(m, (char *)pm_base(m) + 15 * page, 1));
	ck_assert_uint_ge(fake_calls(FAKE_msync), 1);
	unmap();
}
END_TEST

/* ---- Beside other threads ---- */

static atomic_bool walks, is_shrunk, has_drained;

static int do_nothing(void)
{
	return 0;
}

/* The end of what is walked is touched when the mapping has a shorter length already. */
static int touch_late(const void *address, size_t length)
{
	atomic_store(&walks, true);
	while (pm_length(m) == length)
		usleep(100);
	usleep(20000);
	ck_assert(!atomic_load(&is_shrunk));
	return ((const volatile char *)address)[length - 1] & 0;
}

static const struct pm_cpu late_cpu = {.name = "late", .reaches_media = true, .line = 64, .write_back = touch_late,
                                       .fence = do_nothing, .persist = touch_late};

static void *sync_whole(void *arg)
{
	unit_ok(pm_sync(m));
	return arg;
}

START_TEST(a_shrink_waits_for_the_walks_of_the_library)
{
	pthread_t walker;
	uint64_t page = unit_page();
	map(&fake_dax, 8 * page, UNIT_OPTIONS(.reserve = 16 * page));
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	m->medium.cpu = &late_cpu;
	atomic_store(&m->terms.lines, NULL);
	unit_expect(!pthread_create(&walker, NULL, sync_whole, NULL));
	while (!atomic_load(&walks))
		usleep(100);
	unit_ok(pm_resize(m, page));
	atomic_store(&is_shrunk, true);
	ck_assert(!is_accessible((char *)pm_base(m) + 7 * page));
	pthread_join(walker, NULL);
	m->medium.cpu = pm_cpu();
	unmap();
}
END_TEST

START_TEST(a_size_from_before_a_growth_cuts_nothing)
{
	uint64_t page = unit_page();
	map(&fake_plain, 2 * page, UNIT_OPTIONS(.reserve = 16 * page));
	unsigned before = atomic_load(&m->medium.resized);
	unit_ok(pm_resize(m, 9 * page));
	/* Another thread asked for the size before, and comes to its answer now. */
	ck_assert(!pm_medium_note_end(&m->medium, 2 * page, before));
	ck_assert(!pm_medium_is_cut(&m->medium));
	unit_ok(pm_persist(m, (char *)pm_base(m) + 8 * page, 1));
	ck_assert(pm_medium_note_end(&m->medium, 2 * page, atomic_load(&m->medium.resized)));
	ck_assert_int_eq(pm_persist(m, (char *)pm_base(m) + 8 * page, 1), -ERANGE);
	unit_ok(pm_resize(m, 9 * page));
	unmap();
}
END_TEST

static struct machine failing;
static pthread_t drainer;

static void *drain_recorded(void *arg)
{
	int rc = pm_drain(m);
	atomic_store(&has_drained, true);
	ck_assert_int_eq(rc, -EIO);
	return arg;
}

/* The kernel tells one of two: the sync of the growth takes the error of what the drain would have written. */
static int fail_sync(int fd)
{
	(void)fd;
	unit_expect(!pthread_create(&drainer, NULL, drain_recorded, NULL));
	usleep(50000);
	ck_assert(!atomic_load(&has_drained));
	return -EIO;
}

START_TEST(an_error_of_the_growth_is_told_to_drains)
{
	uint64_t page = unit_page();
	map(&fake_plain, 2 * page, UNIT_OPTIONS(.reserve = 16 * page));
	unit_ok(pm_flush(m, pm_base(m), 1));
	machine_put(&failing, MACHINE(.fsync = fail_sync));
	/* The drain of the call itself has nothing to do with it. */
	ck_assert_int_eq(pm_resize(m, 9 * page), -EIO);
	pthread_join(drainer, NULL);
	machine_remove(&failing);
	ck_assert_uint_eq(pm_length(m), 2 * page);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -EIO);
	ck_assert_int_eq(pm_unmap(m), -EIO);
}
END_TEST

/* ---- PM_AT_LEAST ---- */

START_TEST(a_length_that_is_the_least)
{
	uint64_t page = unit_page();
	const unsigned flags = PM_CREATE | PM_AT_LEAST;
	path = unit_path("new");
	fake_start(&fake_plain);
	m = unit_map(path, UNIT_OPTIONS(.flags = flags, .length = 3 * page));
	ck_assert_uint_eq(pm_length(m), 3 * page);
	unit_ok(pm_resize(m, 7 * page + 1));
	unmap();
	/* A longer file is mapped whole, and a shorter one grows. */
	m = unit_map(path, UNIT_OPTIONS(.flags = flags, .length = 3 * page));
	ck_assert_uint_eq(pm_length(m), 7 * page + 1);
	unmap();
	m = unit_map(path, UNIT_OPTIONS(.flags = flags, .length = 9 * page));
	ck_assert_uint_eq(pm_length(m), 9 * page);
	unmap();
	m = unit_map(path, UNIT_OPTIONS(.flags = flags, .offset = 4 * page, .length = page));
	ck_assert_uint_eq(pm_length(m), 5 * page);
	unmap();
	m = unit_map(path, UNIT_OPTIONS(.flags = flags, .offset = 12 * page, .length = page));
	ck_assert_uint_eq(pm_length(m), page);
	ck_assert_uint_eq(unit_size_of(path), 13 * page);
	unmap();
	m = unit_map(path, UNIT_OPTIONS(.flags = PM_READ_ONLY | PM_AT_LEAST, .length = page));
	ck_assert_uint_eq(pm_length(m), 13 * page);
	unmap();
	ck_assert_int_eq(pm_map(path, UNIT_OPTIONS(.flags = PM_AT_LEAST, .length = 14 * page), &m), -ERANGE);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "the range ends at 57344, the file at 53248"));
	ck_assert_int_eq(pm_map(unit_path("none"), UNIT_OPTIONS(.flags = flags), &m), -EINVAL);
	ck_assert(!unit_exists(unit_path("none")));
}
END_TEST

START_TEST(the_probe_knows_the_least_length)
{
	struct pm_report report;
	uint64_t page = unit_page();
	path = unit_file("file", 5 * page);
	fake_start(&fake_plain);
	unit_ok(pm_probe(path, UNIT_OPTIONS(.flags = PM_AT_LEAST, .length = page), &report, sizeof(report)));
	ck_assert_uint_eq(report.length, 5 * page);
	unit_ok(pm_probe(path, UNIT_OPTIONS(.flags = PM_AT_LEAST | PM_CREATE, .length = 6 * page, .reserve = 9 * page),
	                 &report, sizeof(report)));
	ck_assert_uint_eq(report.length, 6 * page);
	ck_assert_uint_eq(unit_size_of(path), 5 * page);
	ck_assert_uint_eq(fake_mapped_bytes(), 0);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("reserve");
	tcase_add_loop_test(c, within_a_reserve_nothing_moves, 0, 4);
	tcase_add_test(c, beyond_the_reserve_is_refused);
	tcase_add_test(c, a_reserve_that_cannot_be);
	tcase_add_loop_test(c, a_growth_that_fails_leaves_all_as_it_was, 0, 2);
	tcase_add_test(c, a_shrink_that_fails_leaves_all_as_it_was);
	tcase_add_test(c, a_reader_follows_the_file);
	tcase_add_test(c, a_device_is_mapped_further);
	tcase_add_test(c, a_growth_does_not_acknowledge_a_truncation);
	tcase_add_test(c, a_guard_covers_what_is_mapped_later);
	tcase_add_test(c, what_was_prepared_grows_prepared);
	tcase_add_test(c, what_grows_by_holes_is_demoted_first);
	tcase_add_test(c, a_shrink_waits_for_the_walks_of_the_library);
	tcase_add_test(c, a_size_from_before_a_growth_cuts_nothing);
	tcase_add_test(c, an_error_of_the_growth_is_told_to_drains);
	tcase_add_test(c, a_length_that_is_the_least);
	tcase_add_test(c, the_probe_knows_the_least_length);
	return unit_run();
}

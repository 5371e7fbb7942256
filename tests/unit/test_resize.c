/* SPDX-License-Identifier: BSD-3-Clause */
/* Growing and shrinking a mapping with its file, and taking it back. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
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

static void check(uint64_t file_size, uint64_t length)
{
	ck_assert_uint_eq(unit_size_of(path), file_size);
	ck_assert_uint_eq(pm_length(m), length);
	ck_assert_uint_eq(fake_mapped_bytes(), m->medium.map_length);
	ck_assert_uint_ge((uintptr_t)m->medium.map + m->medium.map_length, (uintptr_t)pm_base(m) + length);
}

START_TEST(from_any_length_to_any_length)
{
	const uint64_t page = unit_page();
	const uint64_t lengths[] = {1, 100, page - 1, page, page + 1, 3 * page, 9 * page + 9};
	const uint64_t offset = _i % 2 ? page + 77 : 0;
	const struct fake_machine *machine = _i / 2 ? &fake_dax : &fake_plain;
	for (size_t i = 0; i < COUNT(lengths); i++) {
		for (size_t j = (i + (size_t)_i) % unit_stride(); j < COUNT(lengths); j += unit_stride()) {
			uint64_t from = lengths[i], to = lengths[j], kept = from < to ? from : to;
			map(machine, offset + from, UNIT_OPTIONS(.offset = offset));
			unit_ok(pm_resize(m, to));
			check(offset + to, to);
			const char *base = pm_base(m);
			ck_assert(unit_has_pattern(base, offset, kept));
			ck_assert(unit_is_zero(base + kept, to - kept));
			ck_assert_uint_eq(fake_calls(FAKE_fsync), from != to);
			unit_ok(pm_memset(m, pm_base(m), 'x', to, 0));
			ck_assert_int_eq(pm_persist(m, base, to + 1), -ERANGE);
			unit_ok(pm_unmap(m));
			ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
		}
	}
}
END_TEST

START_TEST(what_cannot_be_resized)
{
	map(&fake_plain, 5000, NULL);
	ck_assert_int_eq(pm_resize(m, 0), -EINVAL);
	ck_assert_int_eq(pm_resize(m, UINT64_MAX), -EOVERFLOW);
	ck_assert_int_eq(pm_resize(m, INT64_MAX), -EOVERFLOW);
	unit_ok(pm_resize(m, 5000));
	check(5000, 5000);
	unit_ok(pm_unmap(m));
	map(&fake_plain, 5000, UNIT_OPTIONS(.flags = PM_READ_ONLY));
	ck_assert_int_eq(pm_resize(m, 6000), -EACCES);
	unit_ok(pm_unmap(m));
	map(&fake_plain, 5000, UNIT_OPTIONS(.flags = PM_PRIVATE));
	ck_assert_int_eq(pm_resize(m, 6000), -EINVAL);
	unit_ok(pm_unmap(m));
	map(&fake_block_device, 8 * unit_page(), NULL);
	ck_assert_int_eq(pm_resize(m, 6000), -EINVAL);
	unit_ok(pm_unmap(m));
	map(&fake_device_dax, 8 * unit_page(), NULL);
	ck_assert_int_eq(pm_resize(m, 2 * unit_page()), -EINVAL);
	unit_ok(pm_unmap(m));
	m = unit_map(NULL, UNIT_OPTIONS(.flags = PM_ANONYMOUS, .length = 100));
	ck_assert_int_eq(pm_resize(m, 200), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "pm_resize"));
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_mapping_of_a_part_gives_up_addresses_only)
{
	uint64_t page = unit_page();
	map(&fake_plain, 10 * page, UNIT_OPTIONS(.offset = page, .length = 4 * page));
	unit_ok(pm_resize(m, 2 * page));
	check(10 * page, 2 * page);
	unit_ok(pm_resize(m, 6 * page));
	check(10 * page, 6 * page);
	ck_assert(unit_has_pattern(pm_base(m), page, 6 * page));
	unit_ok(pm_resize(m, 12 * page));
	check(13 * page, 12 * page);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(what_another_mapping_needs_is_not_cut_off)
{
	uint64_t page = unit_page();
	map(&fake_plain, 8 * page, NULL);
	struct pm_mapping *first = m, *tail = unit_map(path, UNIT_OPTIONS(.offset = 6 * page, .length = page + 10));
	ck_assert_int_eq(pm_resize(first, 2 * page), -EBUSY);
	ck_assert_int_eq(pm_resize(first, 7 * page + 9), -EBUSY);
	ck_assert_uint_eq(unit_size_of(path), 8 * page);
	ck_assert_uint_eq(pm_length(first), 8 * page);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), path));
	unit_ok(pm_resize(first, 7 * page + 10));
	/* Now it ends where the file ends, and gives way. */
	ck_assert_int_eq(pm_resize(tail, page), -EBUSY);
	unit_ok(pm_resize(first, 7 * page + 20));
	unit_ok(pm_resize(tail, page));
	ck_assert_uint_eq(unit_size_of(path), 7 * page + 20);
	unit_ok(pm_resize(first, 7 * page));
	unit_ok(pm_unmap(tail));
	unit_ok(pm_resize(first, 1));
	ck_assert_uint_eq(unit_size_of(path), 1);
	unit_ok(pm_unmap(first));
}
END_TEST

START_TEST(flushed_before_is_drained_before)
{
	uint64_t page = unit_page();
	for (int i = 0; i < 2; i++) {
		map(&fake_plain, 4 * page, NULL);
		unit_ok(pm_flush(m, (char *)pm_base(m) + 2 * page, 8));
		unit_ok(pm_resize(m, i ? page : 600 * page));
		const struct fake_record *r = fake_find(FAKE_msync, 0);
		ck_assert_ptr_nonnull(r);
		ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
		ck_assert_uint_lt(r->number, fake_find(i ? FAKE_ftruncate : FAKE_fallocate, 0)->number);
		/* Wherever it went: what is flushed now is there. */
		fake_forget();
		unit_ok(pm_persist(m, pm_base(m), 8));
		ck_assert_uint_eq(fake_find(FAKE_msync, 0)->address, (uintptr_t)pm_base(m));
		unit_ok(pm_unmap(m));
	}
}
END_TEST

START_TEST(what_was_prepared_grows_prepared)
{
	uint64_t page = unit_page();
	const struct fake_extent extents[] = {{0, 4 * page, 0}, {4 * page, 1 << 20, FIEMAP_EXTENT_UNWRITTEN}};
	for (int prepared = 0; prepared < 2; prepared++) {
		map(&fake_dax, 4 * page, UNIT_OPTIONS(.flags = prepared ? PM_PREPARE : 0));
		ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
		fake.machine.extents = extents;
		fake.machine.extent_count = 2;
		atomic_store(&fake.populated, false);
		unit_ok(pm_resize(m, 9 * page));
		ck_assert_int_eq(fake_calls(FAKE_madvise) > 0, prepared);
		ck_assert_int_eq(pm_granularity_of(m), prepared ? PM_CACHE_LINE : PM_PAGE);
		ck_assert_int_eq(unit_query(m)->reason, prepared ? PM_REASON_NONE : PM_REASON_UNWRITTEN);
		unit_ok(pm_unmap(m));
	}
}
END_TEST

static unsigned falls;

static void count_fall(struct pm_mapping *of, const struct pm_event *event, void *arg)
{
	(void)arg;
	ck_assert_ptr_eq(of, m);
	ck_assert_int_eq(event->kind, PM_EVENT_DEMOTED);
	ck_assert_int_eq(event->old_granularity, PM_CACHE_LINE);
	ck_assert_int_eq(event->new_granularity, PM_PAGE);
	ck_assert_int_eq(event->reason, PM_REASON_SHARED);
	falls++;
}

/* A hint falls back, once and with an event; a guarantee refuses, with everything as before. */
START_TEST(the_grown_range_is_judged)
{
	uint64_t page = unit_page();
	const struct fake_extent extents[] = {{0, 4 * page, 0}, {4 * page, 1 << 20, FIEMAP_EXTENT_SHARED}};
	for (enum pm_request sync = PM_HINT; sync <= PM_GUARANTEE; sync++) {
		falls = 0;
		map(&fake_dax, 4 * page, UNIT_OPTIONS(.sync = sync, .on_event = count_fall));
		fake.machine.extents = extents;
		fake.machine.extent_count = 2;
		int rc = pm_resize(m, 9 * page);
		if (sync == PM_HINT) {
			unit_ok(rc);
			check(9 * page, 9 * page);
			ck_assert_uint_eq(falls, 1);
			ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
		} else {
			ck_assert_int_eq(rc, -PM_ENOTSYNC);
			check(4 * page, 4 * page);
			ck_assert_uint_eq(falls, 0);
			ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
			ck_assert(unit_has_pattern(pm_base(m), 0, 4 * page));
		}
		unit_ok(pm_unmap(m));
	}
}
END_TEST

#define ERRORS 3

/* Whatever call fails: the length, the file and the memory are as before. The errors take turns. */
static void break_each_call(const struct fake_machine *machine, unsigned flags, uint64_t to, unsigned first)
{
	static const int errors[ERRORS] = {ENOSPC, EIO, ENOMEM};
	const uint64_t from = 4 * unit_page() + 100;
	for (unsigned n = 1;; n += unit_stride()) {
		ck_assert_uint_lt(n, 200);
		int error = errors[(first + n / unit_stride()) % ERRORS];
		map(machine, from, UNIT_OPTIONS(.flags = flags));
		fake_fail_any(n, error);
		int rc = pm_resize(m, to);
		bool has_failed = fake_any_has_failed();
		fake_fail_any(0, 0);
		if (rc) {
			ck_assert_int_eq(rc, -error);
			/* What a sync of a file already cut says comes too late to give it back. */
			bool cut = to < from && fake_calls(FAKE_fsync);
			check(cut ? to : from, cut ? to : from);
		} else {
			check(to, to);
		}
		ck_assert(unit_has_pattern(pm_base(m), 0, to < from ? to : from));
		/* A failed sync may be the only word on a failed write-back: errseq.rst. */
		bool suspect = rc && fake_calls(FAKE_fsync);
		for (unsigned i = 0; i < fake_calls(FAKE_msync) && rc; i++)
			suspect = suspect || fake_find(FAKE_msync, i)->address != (uintptr_t)pm_base(m);
		int after = pm_persist(m, pm_base(m), 1);
		if (after)
			ck_assert(suspect);
		int last = pm_unmap(m);
		ck_assert_int_eq(last, after);
		ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
		if (!has_failed)
			return;
	}
}

START_TEST(a_failure_changes_nothing)
{
	static const struct fake_machine *const machines[] = {&fake_plain, &fake_dax};
	static const unsigned ways[] = {0, PM_PREPARE, PM_CREATE | PM_SPARSE};
	for (size_t i = 0; i < COUNT(ways); i++) {
		break_each_call(machines[_i % 2], ways[i], 20 * unit_page(), (unsigned)_i / 2);
		break_each_call(machines[_i % 2], ways[i], unit_page() + 1, (unsigned)_i / 2);
	}
}
END_TEST

/* What cannot be seen for want of descriptors is no reason to fall back: without a lease that would be for good. */
START_TEST(a_want_of_descriptors_changes_nothing)
{
	static const enum pm_request requests[] = {PM_HINT, PM_GUARANTEE};
	uint64_t page = unit_page();
	map(&fake_dax, 4 * page, UNIT_OPTIONS(.sync = requests[_i]));
	fake_fail(FAKE_memfd_create, 0, EMFILE);
	ck_assert_int_eq(pm_resize(m, 9 * page), -EMFILE);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "the evidence cannot be gathered"));
	fake_fail(FAKE_memfd_create, 0, 0);
	check(4 * page, 4 * page);
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	unit_ok(pm_resize(m, 9 * page));
	check(9 * page, 9 * page);
	ck_assert_int_eq(unit_query(m)->granularity, PM_CACHE_LINE);
	unit_ok(pm_unmap(m));
}
END_TEST

/* errseq.rst: one call receives the error of a failed write-back, and later calls succeed. */
START_TEST(a_failed_sync_poisons)
{
	uint64_t page = unit_page();
	for (int i = 0; i < 3; i++) {
		map(&fake_plain, 4 * page, UNIT_OPTIONS(.flags = i == 2 ? PM_PREPARE : 0));
		struct pm_mapping *other = unit_map(path, UNIT_OPTIONS(.length = page));
		fake_fail(i == 2 ? FAKE_msync : FAKE_fsync, 1, EIO);
		ck_assert_int_eq(pm_resize(m, i ? 9 * page : 2 * page), -EIO);
		ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -EIO);
		ck_assert_int_eq(pm_drain(other), -EIO);
		unit_ok(pm_clear_error(m));
		ck_assert_int_eq(pm_unmap(other), -EIO);
		unit_ok(pm_resize(m, 5 * page));
		/* What another description may have stored into by then stays in the file. */
		check((i ? 9 : 5) * page, 5 * page);
		unit_ok(pm_unmap(m));
	}
}
END_TEST

static int others; /* descriptor of another process, as it were */

static void grow_by_another(enum fake_call c)
{
	if (c == FAKE_fsync)
		ck_assert_int_eq(ftruncate(others, (off_t)(50 * unit_page())), 0);
}

/* Another process makes the file longer meanwhile: that is not ours to take back. */
START_TEST(what_others_added_is_not_undone)
{
	uint64_t page = unit_page();
	for (int i = 0; i < 2; i++) {
		map(&fake_plain, 10 * page, UNIT_OPTIONS(.length = 4 * page));
		others = open(path, O_RDWR | O_CLOEXEC);
		counting.hook = grow_by_another;
		fake_fail(FAKE_mremap, 1, ENOMEM);
		ck_assert_int_eq(pm_resize(m, (i ? 20 : 8) * page), -ENOMEM);
		counting.hook = NULL;
		ck_assert_uint_eq(unit_size_of(path), 50 * page);
		ck_assert_uint_eq(pm_length(m), 4 * page);
		close(others);
		unit_ok(pm_unmap(m));
	}
}
END_TEST

/* While it grows the file another process breaks the lease: what it made longer it could not take back. */
START_TEST(a_want_of_space_changes_no_size)
{
	map(&fake_plain, 4 * unit_page(), UNIT_OPTIONS(.flags = 0));
	const struct fake_extent there = {0, 4 * unit_page(), 0};
	fake.machine.extents = &there;
	fake.machine.extent_count = 1;
	fake_fail(FAKE_fallocate_keep_size, 0, ENOSPC); /* of the range, and of its holes */
	ck_assert_int_eq(pm_resize(m, 20 * unit_page()), -ENOSPC);
	ck_assert_uint_eq(fake_calls(FAKE_fallocate), 0);
	ck_assert_uint_eq(unit_size_of(path), 4 * unit_page());
	fake_fail(FAKE_fallocate_keep_size, 0, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/*
 * XFS wants as much space as the range is long, though no block of it is missing: then the holes alone are asked for.
 */
START_TEST(blocks_that_are_there_are_not_wanted_again)
{
	uint64_t page = unit_page();
	const struct fake_extent there[] = {{0, 8 * page, 0}, {12 * page, 4 * page, FIEMAP_EXTENT_UNWRITTEN}};
	map(&fake_plain, 4 * page, UNIT_OPTIONS(.flags = 0));
	fake.machine.extents = there;
	fake.machine.extent_count = 2;
	fake_fail(FAKE_fallocate_keep_size, 1, ENOSPC);
	fake_forget();
	unit_ok(pm_resize(m, 20 * page));
	ck_assert_uint_eq(fake_calls(FAKE_fallocate_keep_size), 3);
	ck_assert_uint_eq(fake_find(FAKE_fallocate_keep_size, 1)->offset, 8 * page);
	ck_assert_uint_eq(fake_find(FAKE_fallocate_keep_size, 1)->length, 4 * page);
	ck_assert_uint_eq(fake_find(FAKE_fallocate_keep_size, 2)->offset, 16 * page);
	ck_assert_uint_eq(fake_find(FAKE_fallocate_keep_size, 2)->length, 4 * page);
	/* The size takes one block more, at most. */
	ck_assert_uint_eq(fake_find(FAKE_fallocate, 0)->length, 1);
	ck_assert_uint_eq(unit_size_of(path), 20 * page);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_poisoned_mapping_is_not_resized)
{
	map(&fake_plain, 5000, NULL);
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_sync(m), -EIO);
	ck_assert_int_eq(pm_resize(m, 100), -EIO);
	ck_assert_int_eq(pm_resize(m, 10000), -EIO);
	check(5000, 5000);
	unit_ok(pm_clear_error(m));
	unit_ok(pm_resize(m, 10000));
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("resize");
	tcase_add_loop_test(c, from_any_length_to_any_length, 0, 4);
	tcase_add_test(c, what_cannot_be_resized);
	tcase_add_test(c, a_mapping_of_a_part_gives_up_addresses_only);
	tcase_add_test(c, what_another_mapping_needs_is_not_cut_off);
	tcase_add_test(c, flushed_before_is_drained_before);
	tcase_add_test(c, what_was_prepared_grows_prepared);
	tcase_add_test(c, the_grown_range_is_judged);
	tcase_add_loop_test(c, a_failure_changes_nothing, 0, 2);
	tcase_add_loop_test(c, a_want_of_descriptors_changes_nothing, 0, 2);
	tcase_add_test(c, a_failed_sync_poisons);
	tcase_add_test(c, what_others_added_is_not_undone);
	tcase_add_test(c, a_want_of_space_changes_no_size);
	tcase_add_test(c, blocks_that_are_there_are_not_wanted_again);
	tcase_add_test(c, a_poisoned_mapping_is_not_resized);
	/* Every call with every error. In a guest every third call meets one. */
	c = unit_case("resize by other errors");
	tcase_set_tags(c, "host");
	tcase_add_loop_test(c, a_failure_changes_nothing, 2, 2 * ERRORS);
	return unit_run();
}

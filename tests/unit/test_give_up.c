/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages that were given up are the program's. The library writes, syncs, unmaps, guards and finds what is left and
 * nothing else, and says so of a range that has one of them.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mapping/mapping.h"
#include "observe/transition.h"
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
	fake.really_syncs = fake.recovers = true;
	m = unit_map(path, o);
	base = pm_base(m);
}

/* The program takes the pages for memory of its own, which is marked. */
static void take(unsigned first, unsigned count)
{
	unit_ok(pm_give_up(m, base + first * page, count * page));
	void *mine = mmap(base + first * page, count * page, PROT_READ | PROT_WRITE,
	                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	ck_assert_ptr_eq(mine, base + first * page);
	memset(mine, 'p', count * page);
}

static bool is_mine(unsigned first, unsigned count)
{
	for (size_t i = first * page; i < (first + count) * page; i++)
		if (base[i] != 'p')
			return false;
	return true;
}

/* No call had one of these pages in its range. */
static void check_untouched(unsigned first, unsigned count)
{
	static const enum fake_call calls[] = {FAKE_msync, FAKE_munmap, FAKE_madvise, FAKE_mprotect, FAKE_mincore};
	uintptr_t low = (uintptr_t)(base + first * page), high = low + count * page;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		const struct fake_record *r;
		for (unsigned n = 0; (r = fake_find(calls[i], n)); n++)
			ck_assert_msg(r->address >= high || r->address + r->length <= low, "call %u has [%lx, +%lx)",
			              calls[i], (unsigned long)r->address, (unsigned long)r->length);
	}
}

static const struct fake_machine *const machines[] = {&fake_plain, &fake_dax, &fake_eadr, &fake_tmpfs, &fake_weak_cpu};

START_TEST(a_range_with_one_of_them_is_refused)
{
	char some[8];
	struct pm_range ranges[] = {{base, 1}, {NULL, 1}};
	start(machines[_i], NULL);
	take(4, 2);
	char *in = base + 4 * page, *before = in - 4, *behind = in + 2 * page;
	char *const across[] = {in, before, behind - 4};
	for (size_t i = 0; i < 3; i++) {
		ranges[0].address = base;
		ranges[1] = (struct pm_range){across[i], 8};
		ck_assert_int_eq(pm_flush(m, across[i], 8), -ERANGE);
		ck_assert_ptr_nonnull(strstr(pm_error_detail(), "given up"));
		ck_assert_int_eq(pm_persist(m, across[i], 8), -ERANGE);
		ck_assert_int_eq(pm_commit(m, ranges, 2), -ERANGE);
		ck_assert_int_eq(pm_deep_persist(m, across[i], 8), -ERANGE);
		ck_assert_int_eq(pm_memcpy(m, across[i], "12345678", 8, 0), -ERANGE);
		ck_assert_int_eq(pm_memset(m, across[i], 0, 8, PM_NOFLUSH), -ERANGE);
		ck_assert_int_eq(pm_read(m, some, across[i], 8), -ERANGE);
		ck_assert_int_eq(pm_write(m, across[i], some, 8), -ERANGE);
		ck_assert_int_eq(pm_clear_bad_blocks(m, across[i], 8), -ERANGE);
	}
	ck_assert_int_eq(pm_publish64(m, (uint64_t *)in, 1), -ERANGE);
	ck_assert(is_mine(4, 2));
	/* Its neighbours serve as before. */
	unit_ok(pm_memcpy(m, before, "1234", 4, 0));
	unit_ok(pm_memcpy(m, behind, "5678", 4, 0));
	unit_ok(pm_persist(m, base, 4 * page));
	unit_ok(pm_persist(m, behind, 10 * page));
	unit_ok(pm_unmap(m));
}
END_TEST

/* A file system accepts a store to a mapping of another file, or of nothing: it must not be asked. */
START_TEST(what_treats_the_whole_leaves_them_out)
{
	start(machines[_i], NULL);
	take(0, 1);
	take(7, 2);
	take(15, 1);
	fake_forget();
	memset(base + page, 'x', 6 * page);
	memset(base + 9 * page, 'x', 6 * page);
	unit_ok(pm_sync(m));
	unit_query(m);
	unit_ok(pm_clear_error(m));
	if (pm_granularity_of(m) == PM_PAGE) {
		unit_ok(pm_flush(m, base + page, 1));
		unit_ok(pm_flush(m, base + 14 * page, 1));
		fake_fail(FAKE_msync, 1, EIO);
		ck_assert_int_eq(pm_drain(m), -EIO);
		unit_ok(pm_clear_error(m));
		ck_assert_uint_ge(fake_calls(FAKE_msync), 1);
	}
	unit_ok(pm_unmap(m));
	check_untouched(0, 1);
	check_untouched(7, 2);
	check_untouched(15, 1);
	ck_assert(is_mine(0, 1) && is_mine(7, 2) && is_mine(15, 1));
}
END_TEST

/* Stores that were flushed there were drained; what is left is written by as many calls as it has parts. */
START_TEST(what_was_flushed_is_drained_before)
{
	start(&fake_plain, NULL);
	base[5 * page] = 'x';
	unit_ok(pm_flush(m, base + 5 * page, 1));
	fake_forget();
	take(5, 1);
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	ck_assert_uint_eq(fake_find(FAKE_msync, 0)->address, (uintptr_t)base + 5 * page);
	fake_forget();
	unit_ok(pm_sync(m));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 2);
	unit_ok(pm_unmap(m));
}
END_TEST

/* The pages are given up all the same, as pm_unmap() unmaps. */
START_TEST(an_error_of_the_drain_is_returned)
{
	start(&fake_plain, NULL);
	unit_ok(pm_flush(m, base + 5 * page, 1));
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_give_up(m, base + 5 * page, page), -EIO);
	ck_assert_int_eq(pm_give_up(m, base + 7 * page, page), -EIO);
	ck_assert_int_eq(pm_clear_error(m), 0);
	ck_assert_int_eq(pm_persist(m, base + 5 * page, 1), -ERANGE);
	ck_assert_int_eq(pm_persist(m, base + 7 * page, 1), -ERANGE);
	unit_ok(pm_persist(m, base + 6 * page, 1));
	unit_ok(pm_unmap(m));
}
END_TEST

/* By any way to get there: from both ends, twice the same, one over another. */
START_TEST(any_pieces)
{
	start(_i % 2 ? &fake_dax : &fake_plain, NULL);
	bool left[PAGES];
	memset(left, true, sizeof(left));
	for (unsigned round = 0, rounds = unit_rounds(6); round < rounds; round++) {
		unsigned first = unit_random() % PAGES, count = 1 + unit_random() % (PAGES - first);
		take(first, count > 4 ? 4 : count);
		for (unsigned i = first; i < first + (count > 4 ? 4 : count); i++)
			left[i] = false;
		fake_forget();
		unit_ok(pm_sync(m));
		for (unsigned i = 0; i < PAGES; i++) {
			ck_assert_ptr_eq(pm_find(base + i * page), left[i] ? m : NULL);
			ck_assert_ptr_eq(pm_find(base + (i + 1) * page - 1), left[i] ? m : NULL);
			ck_assert_int_eq(pm_persist(m, base + i * page, page), left[i] ? 0 : -ERANGE);
			if (!left[i])
				check_untouched(i, 1);
		}
	}
	fake_forget();
	unit_ok(pm_unmap(m));
	for (unsigned i = 0; i < PAGES; i++) {
		unsigned char cached;
		ck_assert(left[i] ? mincore(base + i * page, page, &cached) : is_mine(i, 1));
	}
}
END_TEST

START_TEST(all_of_it)
{
	start(machines[_i], NULL);
	take(0, PAGES);
	fake_forget();
	unit_ok(pm_sync(m));
	unit_ok(pm_drain(m));
	unit_query(m);
	ck_assert_int_eq(pm_persist(m, base, 1), -ERANGE);
	ck_assert_ptr_null(pm_find(base));
	/* Another mapping can be there. */
	struct pm_mapping *other = unit_map(path, UNIT_OPTIONS(.address = base, .map_flags = MAP_FIXED));
	ck_assert_ptr_eq(pm_base(other), base);
	ck_assert_ptr_eq(pm_find(base), other);
	unit_ok(pm_unmap(m));
	ck_assert_ptr_eq(pm_find(base), other);
	ck_assert(unit_has_pattern(base, 0, PAGES * page));
	unit_ok(pm_unmap(other));
	ck_assert_ptr_null(pm_find(base));
}
END_TEST

START_TEST(it_cannot_be_resized_any_more)
{
	start(_i % 2 ? &fake_dax : &fake_plain, UNIT_OPTIONS(.reserve = _i / 2 ? 2 * PAGES * unit_page() : 0));
	take(3, 1);
	ck_assert_int_eq(pm_resize(m, (PAGES + 1) * page), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "given up"));
	ck_assert_int_eq(pm_resize(m, 2 * page), -EINVAL);
	if (_i / 2) { /* the reserve behind the end is the mapping's as well */
		take(PAGES, 2);
		unit_ok(pm_unmap(m));
		ck_assert(is_mine(PAGES, 2));
	} else {
		unit_ok(pm_unmap(m));
	}
	ck_assert(is_mine(3, 1));
}
END_TEST

START_TEST(what_is_no_whole_page_of_it_is_refused)
{
	start(&fake_plain, NULL);
	ck_assert_int_eq(pm_give_up(NULL, base, page), -EINVAL);
	ck_assert_int_eq(pm_give_up(m, base + 1, page), -EINVAL);
	ck_assert_int_eq(pm_give_up(m, base - page, 2 * page), -ERANGE);
	ck_assert_int_eq(pm_give_up(m, base, PAGES * page + 1), -ERANGE);
	ck_assert_int_eq(pm_give_up(m, base + PAGES * page, 1), -ERANGE);
	ck_assert_int_eq(pm_give_up(m, base, SIZE_MAX), -ERANGE);
	unit_ok(pm_give_up(m, base + 1, 0));
	unit_ok(pm_persist(m, base, PAGES * page));
	/* A length is rounded up, as by munmap(2). */
	unit_ok(pm_give_up(m, base + page, 1));
	ck_assert_int_eq(pm_persist(m, base + 2 * page - 1, 1), -ERANGE);
	unit_ok(pm_persist(m, base + 2 * page, 1));
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- Faults ---- */

static volatile sig_atomic_t passed_on;

static void leave(int number)
{
	(void)number;
	passed_on = 1;
	/* The program makes the access possible. */
	mprotect(base + 2 * page, page, PROT_READ | PROT_WRITE);
	mmap(base + 2 * page, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static int touch(void *arg)
{
	*(volatile char *)arg = 1;
	return 5;
}

/* A SIGBUS there is the program's, for its own handler. */
START_TEST(a_fault_there_is_not_guarded)
{
	struct pm_fault fault;
	start(&fake_plain, NULL);
	fake.guards = true;
	signal(SIGBUS, leave);
	unit_ok(pm_guard_install());
	unit_ok(pm_give_up(m, base + 2 * page, page));
	/* A mapping of the program's own, of an empty file. */
	const char *empty = unit_file("empty", 0);
	struct pm_options *o = UNIT_OPTIONS(.flags = PM_CREATE | PM_SPARSE, .length = page, .address = base + 2 * page,
	                                    .map_flags = MAP_FIXED);
	struct pm_mapping *other;
	unit_ok(pm_map(empty, o, &other));
	ck_assert_int_eq(truncate(empty, 0), 0);
	ck_assert_int_eq(pm_guarded(m, touch, base + 2 * page, &fault, sizeof(fault)), 5);
	ck_assert(passed_on);
	/* In what is left it is. */
	ck_assert_int_eq(truncate(path, (off_t)(4 * page)), 0);
	ck_assert_int_eq(pm_guarded(m, touch, base + 6 * page, &fault, sizeof(fault)), -EIO);
	unit_ok(pm_guard_remove());
	pm_unmap(other);
	pm_unmap(m);
}
END_TEST

/* ---- What else must know ---- */

static uintptr_t gap_low, gap_high;
static atomic_bool met_gap;

static void see_lines(const char *lines, size_t length)
{
	uintptr_t low = (uintptr_t)lines;
	if (low < gap_high && low + length > gap_low)
		atomic_store(&met_gap, true);
}

/* By instructions no page is touched that is not there, whatever treats the whole. */
START_TEST(no_line_of_them_is_written_back)
{
	static const struct fake_machine *const with_lines[] = {&fake_dax, &fake_weak_cpu};
	start(with_lines[_i], NULL);
	take(6, 3);
	gap_low = (uintptr_t)base + 6 * page;
	gap_high = gap_low + 3 * page;
	fake.set_out = see_lines;
	unit_ok(pm_sync(m));
	unit_ok(pm_clear_error(m));
	ck_assert(!atomic_load(&met_gap));
	unit_ok(pm_persist(m, base, page));
	/* After a cut only what is left before the end is written back. */
	ck_assert_int_eq(truncate(path, (off_t)(12 * page)), 0);
	ck_assert_int_eq(pm_sync(m), -ERANGE);
	ck_assert(!atomic_load(&met_gap));
	fake.set_out = NULL;
	pm_unmap(m);
}
END_TEST

/* What chooses a strategy anew leaves the short cut closed. */
START_TEST(the_short_cut_stays_closed)
{
	start(&fake_dax, NULL);
	take(3, 1);
	pm_terms_set_strategy(&m->terms, &m->medium, atomic_load(&m->terms.strategy));
	ck_assert_int_eq(pm_persist(m, base + 3 * page, 1), -ERANGE);
	unit_ok(pm_persist(m, base, 1));
	unit_ok(pm_unmap(m));
}
END_TEST

/* A demotion, and a return to lines, leave the short cut closed. */
START_TEST(a_promise_that_changes)
{
	start(&fake_dax, NULL);
	take(3, 1);
	fake.machine.reflink = PM_YES;
	fake.machine.dax = PM_NO;
	unit_query(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	ck_assert_int_eq(pm_persist(m, base + 3 * page, 1), -ERANGE);
	fake_forget();
	unit_ok(pm_sync(m));
	check_untouched(3, 1);
	ck_assert(is_mine(3, 1));
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *t = unit_case("give_up");
	tcase_add_loop_test(t, a_range_with_one_of_them_is_refused, 0, 5);
	tcase_add_loop_test(t, what_treats_the_whole_leaves_them_out, 0, 5);
	tcase_add_test(t, what_was_flushed_is_drained_before);
	tcase_add_test(t, an_error_of_the_drain_is_returned);
	tcase_add_loop_test(t, any_pieces, 0, 40);
	tcase_add_loop_test(t, all_of_it, 0, 5);
	tcase_add_loop_test(t, it_cannot_be_resized_any_more, 0, 4);
	tcase_add_test(t, what_is_no_whole_page_of_it_is_refused);
	tcase_add_test(t, a_fault_there_is_not_guarded);
	tcase_add_loop_test(t, no_line_of_them_is_written_back, 0, 2);
	tcase_add_test(t, the_short_cut_stays_closed);
	tcase_add_test(t, a_promise_that_changes);
	return unit_run();
}

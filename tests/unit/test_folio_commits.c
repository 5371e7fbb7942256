/* SPDX-License-Identifier: BSD-3-Clause */
/* Large folios that a commit meets: it writes a whole one, which is counted and then split. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine/machine.h"
#include "unit.h"

#define LARGE 64u /* pages */

/* A kernel whose page cache holds one large folio, the second of that size, and otherwise single pages. */
static struct {
	struct machine machine;
	struct pm_mapping *m;
	char *at;              /* the folio */
	bool is_split, shared; /* by another process: it is never split */
	unsigned char dirty[4 * LARGE];
	int msync_error, cachestat_error;
	unsigned looks, cold;
	int fd; /* the library's */
} folio;

static void store(size_t page)
{
	bool is_large = page / LARGE == 1 && !folio.is_split;
	memset(folio.dirty + (is_large ? LARGE : page), 1, is_large ? LARGE : 1);
}

static int folio_cachestat(int fd, uint64_t offset, uint64_t length, struct pm_cachestat *stat)
{
	folio.fd = fd;
	folio.looks++;
	*stat = (struct pm_cachestat){.cached = 0};
	for (uint64_t page = offset / unit_page(); page < (offset + length) / unit_page(); page++)
		stat->dirty += page < sizeof(folio.dirty) && folio.dirty[page];
	return folio.cachestat_error;
}

static int write_back(uint64_t first, uint64_t count)
{
	for (uint64_t page = first; page < first + count && page < sizeof(folio.dirty) && !folio.msync_error; page++) {
		bool is_large = page / LARGE == 1 && !folio.is_split;
		memset(folio.dirty + (is_large ? LARGE : page), 0, is_large ? LARGE : 1);
	}
	return folio.msync_error;
}

static int folio_msync(void *address, size_t length)
{
	return write_back(((uintptr_t)address - (uintptr_t)pm_base(folio.m)) / unit_page(), length / unit_page());
}

static int folio_sync_file_range(int fd, uint64_t offset, uint64_t length, unsigned flags)
{
	(void)fd;
	(void)flags;
	return write_back(offset / unit_page(), length / unit_page());
}

static int folio_madvise(void *address, size_t length, int advice)
{
	if (advice != MADV_COLD)
		return pm_sys_linux.madvise(address, length, advice);
	ck_assert_uint_eq(length, unit_page());
	ck_assert_uint_eq((uintptr_t)address % unit_page(), 0);
	folio.cold++;
	folio.is_split |= !folio.shared && ((uintptr_t)address - (uintptr_t)folio.at) / unit_page() < LARGE;
	return 0;
}

static void start_asking(enum pm_access access, enum pm_request request)
{
	const char *path = unit_file("file", 16 * LARGE * unit_page());
	fake_start(&fake_plain);
	memset(&folio, 0, sizeof(folio));
	machine_put(&folio.machine,
	            MACHINE(.cachestat = folio_cachestat, .msync = folio_msync, .madvise = folio_madvise,
	                    .sync_file_range = folio_sync_file_range));
	folio.m = unit_map(path, UNIT_OPTIONS(.access = access, .sync = request, .direct = request));
	folio.at = (char *)pm_base(folio.m) + LARGE * unit_page();
	folio.looks = 0;
	fake_forget();
}

static void start_folio(enum pm_access access)
{
	start_asking(access, PM_AVOID);
}

static void stop_folio(void)
{
	folio.msync_error = 0;
	unit_ok(pm_clear_error(folio.m));
	unit_ok(pm_unmap(folio.m));
	machine_remove(&folio.machine);
}

static uint64_t pages_beyond(void)
{
	struct pm_statistics s;
	unit_ok(pm_statistics(folio.m, &s, sizeof(s)));
	ck_assert_uint_eq(s.bytes_beyond, unit_query(folio.m)->evidence[PM_EV_LARGE_FOLIOS].value);
	folio.looks = 0;
	return s.bytes_beyond / unit_page();
}

/* One byte in each of so many pages of the folio, from page on. */
static int store_and_commit(size_t page, size_t count)
{
	struct pm_range ranges[LARGE];
	for (size_t i = 0; i < count; i++) {
		store(LARGE + page + i);
		ranges[i] = (struct pm_range){folio.at + (page + i) * unit_page(), 1};
	}
	return pm_commit(folio.m, ranges, count);
}

START_TEST(a_folio_is_split_by_the_first_commit)
{
	start_folio(_i ? PM_ACCESS_RANDOM : PM_ACCESS_UNSET);
	unit_ok(store_and_commit(5, 1));
	ck_assert_uint_eq(folio.looks, 3); /* the piece, and what is around before and after */
	ck_assert_uint_eq(folio.cold, 1);
	ck_assert_uint_eq(pages_beyond(), LARGE - 1);
	/* Once more in the piece: whether it was split. */
	unit_ok(store_and_commit(4, 1));
	ck_assert_uint_eq(folio.looks, 1);
	ck_assert_uint_eq(pages_beyond(), LARGE - 1);
	unit_ok(store_and_commit(3, 1));
	ck_assert_uint_eq(folio.looks, 0);
	ck_assert_uint_eq(folio.cold, 1);
	stop_folio();
}
END_TEST

static const struct {
	enum pm_request request;
	enum pm_advice advice; /* while no folio was met */
} advised[] = {{PM_AVOID, PM_ADVICE_NONE}, {PM_HINT, PM_ADVICE_MOUNT_DAX}};

/* It is counted each time, and advised against, whatever was advised before. */
START_TEST(a_folio_that_another_process_maps)
{
	char text[4096];
	start_asking(PM_ACCESS_UNSET, advised[_i].request);
	pm_explain(unit_query(folio.m), text, sizeof(text));
	ck_assert_ptr_null(strstr(text, "large folios"));
	ck_assert_int_eq(unit_query(folio.m)->advice, advised[_i].advice);
	folio.shared = true;
	for (unsigned i = 1; i < 4; i++) {
		unit_ok(store_and_commit(i, 1));
		ck_assert_uint_eq(folio.cold, i);
		ck_assert_uint_eq(pages_beyond(), i * (LARGE - 1));
	}
	pm_explain(unit_query(folio.m), text, sizeof(text));
	ck_assert_int_eq(unit_query(folio.m)->advice, PM_ADVICE_RANDOM_ACCESS);
	ck_assert_ptr_nonnull(strstr(text, "756 KiB more than they were asked for"));
	const char *said = strstr(text, "PM_ACCESS_RANDOM while no other process");
	ck_assert_ptr_nonnull(said);
	ck_assert_ptr_null(strstr(said + 1, "PM_ACCESS_RANDOM"));
	ck_assert_ptr_null(strstr(text, "DAX flag"));
	stop_folio();
}
END_TEST

/* All of its first piece is asked for. */
START_TEST(a_run_that_leaves_a_part_of_the_folio)
{
	start_folio(PM_ACCESS_UNSET);
	unit_ok(store_and_commit(0, 10));
	ck_assert_uint_eq(folio.cold, 1);
	ck_assert_uint_eq(pages_beyond(), LARGE - 10);
	stop_folio();
}
END_TEST

START_TEST(two_runs_in_one_folio)
{
	start_folio(PM_ACCESS_UNSET);
	const struct pm_range ranges[] = {{folio.at + unit_page(), 1}, {folio.at + 60 * unit_page(), 1}};
	store(LARGE);
	unit_ok(pm_commit(folio.m, ranges, 2));
	ck_assert_uint_eq(folio.cold, 2);
	ck_assert_uint_eq(pages_beyond(), LARGE - 2);
	stop_folio();
}
END_TEST

/* Threads have a page each, far apart. */
START_TEST(each_of_far_pages_is_looked_at_once)
{
	static const size_t distances[] = {8, 16, 64, 128};
	start_folio(PM_ACCESS_UNSET);
	folio.is_split = true;
	for (unsigned round = 0; round < 3; round++) {
		folio.looks = 0;
		for (size_t i = 0; i < 8; i++)
			unit_ok(pm_persist(folio.m, (char *)pm_base(folio.m) + i * distances[_i] * unit_page(), 1));
		ck_assert_uint_eq(folio.looks, round ? 0 : 8);
	}
	stop_folio();
}
END_TEST

enum kept { SEQUENTIAL, SINGLE_PAGES, ALL_ASKED_FOR, FAILED, CLEAN, BY_WRITE, BY_SYNC, KEPT };

/* At most one look each. */
START_TEST(nothing_else_is_split)
{
	start_folio(_i == SEQUENTIAL ? PM_ACCESS_SEQUENTIAL : PM_ACCESS_UNSET);
	int expected = _i == FAILED ? -EIO : 0, rc;
	folio.is_split = _i == SINGLE_PAGES || _i == CLEAN;
	for (size_t page = 0; _i == SINGLE_PAGES && page < LARGE; page++)
		store(LARGE + page);
	folio.msync_error = expected;
	store(_i == CLEAN ? 0 : LARGE);
	if (_i == BY_WRITE)
		rc = pm_write(folio.m, folio.at, "x", 1);
	else if (_i == BY_SYNC)
		rc = pm_flush(folio.m, folio.at, 1) ? -1 : pm_sync(folio.m);
	else
		rc = store_and_commit(0, _i == ALL_ASKED_FOR ? LARGE : 1);
	ck_assert_int_eq(rc, expected);
	ck_assert_uint_eq(folio.cold, 0);
	ck_assert_uint_eq(folio.looks, _i == SINGLE_PAGES ? 3 : _i == FAILED ? 2 : _i == CLEAN);
	ck_assert_uint_eq(pages_beyond(), 0);
	stop_folio();
}
END_TEST

/* The first commit in each piece splits unseen. */
START_TEST(an_older_kernel)
{
	start_folio(PM_ACCESS_UNSET);
	folio.cachestat_error = -ENOSYS;
	unit_ok(store_and_commit(5, 1));
	unit_ok(store_and_commit(5, 1));
	unit_ok(store_and_commit(12, 1));
	ck_assert_uint_eq(folio.cold, 2);
	ck_assert_uint_eq(folio.looks, 1);
	ck_assert_uint_eq(pages_beyond(), 0);
	stop_folio();
}
END_TEST

/* It may be of a DAX file, where the question would crash the kernel. */
START_TEST(a_descriptor_that_leads_elsewhere)
{
	start_folio(PM_ACCESS_UNSET);
	int other = open(unit_file("other", unit_page()), O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(dup2(other, folio.fd), folio.fd);
	ck_assert_int_eq(store_and_commit(5, 1), -EBADF);
	ck_assert_uint_eq(folio.looks + folio.cold, 0);
	ck_assert_int_eq(pm_unmap(folio.m), -EBADF);
	close(folio.fd);
	close(other);
	machine_remove(&folio.machine);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("folio commits");
	tcase_add_loop_test(c, a_folio_is_split_by_the_first_commit, 0, 2);
	tcase_add_loop_test(c, a_folio_that_another_process_maps, 0, (int)COUNT(advised));
	tcase_add_test(c, a_run_that_leaves_a_part_of_the_folio);
	tcase_add_test(c, two_runs_in_one_folio);
	tcase_add_loop_test(c, each_of_far_pages_is_looked_at_once, 0, 4);
	tcase_add_loop_test(c, nothing_else_is_split, 0, KEPT);
	tcase_add_test(c, an_older_kernel);
	tcase_add_test(c, a_descriptor_that_leads_elsewhere);
	return unit_run();
}

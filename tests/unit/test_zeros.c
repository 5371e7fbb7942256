/* SPDX-License-Identifier: BSD-3-Clause */
/* Zeros where a kernel would show what the blocks held: see lib/file/zero_fill.c. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "unit.h"

#define OLD "6.1.0-56-cloud-amd64"
#define PAGES 100

static struct fake_extent extents[PAGES];

static void start(const struct fake_machine *machine, const char *release, unsigned count)
{
	fake_start(machine);
	fake.machine.release = release;
	fake.machine.extents = extents;
	fake.machine.extent_count = count;
}

/* Four pages that are written, as flags say, and what is unwritten. */
static void lay_out(uint32_t flags)
{
	uint64_t page = unit_page();
	extents[0] = (struct fake_extent){0, 4 * page, flags};
	extents[1] = (struct fake_extent){4 * page, 1 << 20, FIEMAP_EXTENT_UNWRITTEN};
}

static const struct fake_record *first_populating(void)
{
	for (unsigned i = 0;; i++) {
		const struct fake_record *r = fake_find(FAKE_madvise, i);
		if (!r || r->flags == MADV_POPULATE_WRITE)
			return r;
	}
}

/* By mapping, and by resizing: then not the page that was mapped in part. */
START_TEST(zeros_come_before_the_faults)
{
	uint64_t page = unit_page(), end = 9 * page - 100;
	const char *path = unit_file("file", 4 * page);
	struct pm_mapping *m;
	lay_out(_i ? 0 : FIEMAP_EXTENT_SHARED);
	start(&fake_xfs_reflink, OLD, 2);
	if (_i) {
		m = unit_map(path, UNIT_OPTIONS(.flags = PM_PREPARE, .length = 3 * page + 100));
		fake_forget();
		atomic_store(&fake.populated, false);
		unit_ok(pm_resize(m, end));
	} else {
		m = unit_map(path, UNIT_OPTIONS(.flags = PM_CREATE | PM_PREPARE, .length = end));
	}
	const struct fake_record *r = fake_find(FAKE_pwrite, 0),
				 *last = fake_find(FAKE_pwrite, fake_calls(FAKE_pwrite) - 1);
	ck_assert_ptr_nonnull(r);
	ck_assert_uint_eq(r->offset, 4 * page);
	ck_assert_uint_eq(last->offset + last->length, end);
	ck_assert_uint_lt(last->number, first_populating()->number);
	ck_assert_uint_eq(unit_size_of(path), end);
	ck_assert(unit_has_pattern(pm_base(m), 0, 4 * page));
	ck_assert(unit_is_zero((char *)pm_base(m) + 4 * page, end - 4 * page));
	/* The lease was for that only. */
	ck_assert_uint_eq(fake_find(FAKE_setlease, 1)->flags, F_UNLCK);
	int other = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	ck_assert_int_ge(other, 0);
	close(other);
	unit_ok(pm_unmap(m));
}
END_TEST

/* write(2) minds RLIMIT_FSIZE in the midst of a longer file too, and its SIGXFSZ would end the program. */
START_TEST(beyond_the_limit_of_the_process)
{
	uint64_t page = unit_page();
	const char *path = unit_file("file", 9 * page);
	struct rlimit before, limit;
	struct pm_mapping *m = NULL;
	bool shared = _i % 2, reached = _i / 2;
	char sentence[512];
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	lay_out(shared ? FIEMAP_EXTENT_SHARED : 0);
	start(&fake_xfs_reflink, OLD, 2);
	limit = before;
	limit.rlim_cur = (reached ? 9 : 6) * page;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	int rc = pm_map(path, UNIT_OPTIONS(.flags = PM_PREPARE), &m);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
	if (!reached)
		ck_assert_uint_eq(fake_calls(FAKE_pwrite), 0);
	if (shared && !reached) {
		ck_assert_int_eq(rc, -EFBIG);
		snprintf(sentence, sizeof(sentence),
		         "pm_map '%s': the file must be written up to %llu, and RLIMIT_FSIZE is %llu: raise the limit "
		         "(setrlimit(2), ulimit -f)",
		         path, (unsigned long long)(9 * page), (unsigned long long)(6 * page));
		ck_assert_str_eq(pm_error_detail(), sentence);
		return;
	}
	ck_assert_int_eq(rc, 0);
	ck_assert(unit_has_pattern(pm_base(m), 0, 4 * page));
	unit_ok(pm_unmap(m));
}
END_TEST

/* Of 100 pages the 2nd, 4th, ... are holes or unwritten, in turn. */
START_TEST(what_is_written_is_kept)
{
	uint64_t page = unit_page();
	const char *path = unit_file("file", PAGES * page);
	unsigned count = 0;
	for (unsigned i = 0; i < PAGES; i++)
		if (i % 4 != 3)
			extents[count++] =
				(struct fake_extent){i * page, page, i % 4 == 1 ? FIEMAP_EXTENT_UNWRITTEN : 0};
	start(&fake_xfs_reflink, OLD, count);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_PREPARE));
	const char *base = pm_base(m);
	for (unsigned i = 0; i < PAGES; i++)
		unit_expect(i % 2 ? unit_is_zero(base + i * page, page)
		                  : unit_has_pattern(base + i * page, i * page, page));
	unit_ok(pm_unmap(m));
}
END_TEST

/* A process that has the file open may store into a hole at any time. */
START_TEST(others_have_the_file_open)
{
	uint64_t page = unit_page();
	const char *path = unit_file("file", 4 * page);
	struct pm_mapping *m = NULL;
	lay_out(_i ? FIEMAP_EXTENT_SHARED : 0);
	int other = open(path, O_RDONLY | O_CLOEXEC);
	start(&fake_xfs_reflink, OLD, 2);
	int rc = pm_map(path, UNIT_OPTIONS(.flags = PM_CREATE | PM_PREPARE, .length = 9 * page), &m);
	ck_assert_int_eq(rc, _i ? -EBUSY : 0);
	ck_assert_uint_eq(fake_calls(FAKE_pwrite), 0);
	/* Growing is not undone while others have it open. */
	ck_assert_uint_eq(unit_size_of(path), 9 * page);
	if (_i)
		ck_assert_ptr_nonnull(strstr(pm_error_detail(), "open"));
	else
		unit_ok(pm_unmap(m));
	close(other);
}
END_TEST

/* A lease does not keep out a process that uses the leased description. */
START_TEST(a_description_that_is_the_callers)
{
	uint64_t page = unit_page();
	struct pm_mapping *m = NULL;
	int fd = open(unit_file("file", 9 * page), O_RDWR | O_CLOEXEC);
	lay_out(FIEMAP_EXTENT_SHARED);
	start(&fake_xfs_reflink, OLD, 2);
	int rc = pm_map_fd(fd, UNIT_OPTIONS(.flags = PM_PREPARE | (_i ? PM_LEASE : PM_BORROW_FD)), &m);
	ck_assert_int_eq(rc, -EBUSY);
	ck_assert_uint_eq(fake_calls(FAKE_pwrite), 0);
	close(fd);
}
END_TEST

/* getlease: 1, whether it is held already; then before each step. */
START_TEST(a_call_fails)
{
	static const struct {
		enum fake_call call;
		unsigned nth;
		int error, expected;
	} failures[] = {{FAKE_getlease, 2, EINVAL, -EBUSY},
	                {FAKE_getlease, 3, EINVAL, -EBUSY},
	                {FAKE_pwrite, 1, ENOSPC, -ENOSPC},
	                {FAKE_setlease, 1, EACCES, -EBUSY},
	                {FAKE_lease_signal, 1, ENOMEM, -EBUSY}};
	uint64_t page = unit_page();
	const char *path = unit_file("file", 50 * page);
	struct pm_mapping *m = NULL;
	for (size_t i = 0; i < COUNT(failures); i++) {
		lay_out(FIEMAP_EXTENT_SHARED);
		start(&fake_xfs_reflink, OLD, 2);
		fake_fail(failures[i].call, failures[i].nth, failures[i].error);
		int rc = pm_map(path, UNIT_OPTIONS(.flags = PM_PREPARE), &m);
		ck_assert_int_eq(rc, failures[i].expected);
		ck_assert_uint_eq(unit_size_of(path), 50 * page);
		ck_assert_ptr_null(first_populating());
		fake_stop();
	}
}
END_TEST

/* A newer kernel; another file system; a file that cannot have been cloned; and one without holes. */
START_TEST(nothing_is_done_elsewhere)
{
	static const struct {
		const struct fake_machine *machine;
		const char *release;
		bool is_new, is_whole;
	} ways[] = {{&fake_xfs_reflink, "6.2.0", false, false}, {&fake_xfs_reflink, "7.0.1", false, false},
	            {&fake_dax, OLD, false, false}, {&fake_plain, OLD, false, false},
	            {&fake_xfs_reflink, OLD, true, false}, {&fake_xfs_reflink, OLD, false, true}};
	uint64_t page = unit_page();
	for (size_t i = 0; i < COUNT(ways); i++) {
		const char *path = ways[i].is_new ? unit_path("new") : unit_file("file", 4 * page);
		lay_out(FIEMAP_EXTENT_SHARED);
		if (ways[i].is_whole)
			extents[1].flags = 0;
		start(ways[i].machine, ways[i].release, 2);
		struct pm_mapping *m =
			unit_map(path, UNIT_OPTIONS(.flags = PM_CREATE | PM_PREPARE, .length = 9 * page));
		ck_assert_uint_eq(fake_calls(FAKE_pwrite), 0);
		unit_ok(pm_unmap(m));
		fake_stop();
	}
}
END_TEST

int main(void)
{
	TCase *c = unit_case("zeros");
	tcase_add_loop_test(c, zeros_come_before_the_faults, 0, 2);
	tcase_add_loop_test(c, beyond_the_limit_of_the_process, 0, 4);
	tcase_add_test(c, what_is_written_is_kept);
	tcase_add_loop_test(c, others_have_the_file_open, 0, 2);
	tcase_add_loop_test(c, a_description_that_is_the_callers, 0, 2);
	tcase_add_test(c, a_call_fails);
	tcase_add_test(c, nothing_is_done_elsewhere);
	return unit_run();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* PM_FROM_MEDIUM: a mapping that shows what the medium holds, or none. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "kernel/magic.h"
#include "unit.h"

#define SIZE 200000u

static const char *path;

/* Pages in memory only cannot be dropped. */
static bool start(const struct fake_machine *machine)
{
	struct statfs stfs;
	path = unit_file("file", SIZE);
	fake_start(machine);
	fake.really_syncs = true;
	return !statfs(path, &stfs) && stfs.f_type != TMPFS_MAGIC;
}

static unsigned cached_pages(void)
{
	unsigned char in_core[SIZE / 4096 + 1];
	unsigned count = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	ck_assert(map != MAP_FAILED && !mincore(map, SIZE, in_core));
	for (size_t i = 0; i < (SIZE + unit_page() - 1) / unit_page(); i++)
		count += in_core[i] & 1;
	munmap(map, SIZE);
	close(fd);
	return count;
}

static int attempt(unsigned flags)
{
	struct pm_mapping *m = NULL;
	int rc = pm_map(path, UNIT_OPTIONS(.flags = PM_FROM_MEDIUM | flags), &m);
	if (!rc)
		unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
	return rc;
}

START_TEST(nothing_is_cached_when_it_is_mapped)
{
	static const unsigned flags[] = {0, PM_READ_ONLY, PM_PRIVATE, PM_CREATE};
	if (!start(&fake_plain))
		return;
	for (size_t i = 0; i < COUNT(flags); i++) {
		char byte;
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ck_assert_int_eq(read(fd, &byte, 1), 1);
		close(fd);
		ck_assert_uint_gt(cached_pages(), 0);
		ck_assert_int_eq(attempt(flags[i]), 0);
		ck_assert_uint_eq(cached_pages(), 0);
	}
	/* What is dirty is written before it is dropped. */
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_FROM_MEDIUM));
	ck_assert(unit_has_pattern(pm_base(m), 0, SIZE));
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(what_another_mapping_holds_is_refused)
{
	if (!start(&fake_plain))
		return;
	struct pm_mapping *other = unit_map(path, UNIT_OPTIONS(.length = 3 * unit_page())), *m = NULL;
	((volatile char *)pm_base(other))[unit_page()] = 'x';
	ck_assert_int_eq(pm_map(path, UNIT_OPTIONS(.flags = PM_FROM_MEDIUM), &m), -EBUSY);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "another mapping keeps the page at"));
	/* Not if it holds none of the range. */
	unit_ok(pm_map(path, UNIT_OPTIONS(.flags = PM_FROM_MEDIUM, .offset = 40 * unit_page()), &m));
	unit_ok(pm_unmap(m));
	unit_ok(pm_unmap(other));
	ck_assert_int_eq(attempt(0), 0);
}
END_TEST

static char *held;
static unsigned pauses;

/* The kernel ends the mappings of a process later than the process, while another one reads of them in /proc. */
static void end_late(enum fake_call c)
{
	if (c == FAKE_poll && ++pauses == 4)
		ck_assert_int_eq(munmap(held, SIZE), 0);
}

START_TEST(a_mapping_that_ends_meanwhile_is_waited_for)
{
	if (!start(&fake_plain))
		return;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	held = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	ck_assert(held != MAP_FAILED);
	held[unit_page()] = 'x';
	counting.hook = end_late;
	ck_assert_int_eq(attempt(0), 0);
	counting.hook = NULL;
	ck_assert_uint_eq(pauses, 4);
	ck_assert_uint_eq(cached_pages(), 0);
}
END_TEST

static int writer;

static void write_meanwhile(enum fake_call c)
{
	if (c == FAKE_mmap)
		ck_assert_int_eq(pwrite(writer, "x", 1, 0), 1);
}

/* Another process writes each time that the pages were dropped. */
START_TEST(what_is_dirty_again_is_refused)
{
	start(&fake_plain);
	writer = open(path, O_RDWR | O_CLOEXEC);
	counting.hook = write_meanwhile;
	ck_assert_int_eq(attempt(0), -EBUSY);
	counting.hook = NULL;
	close(writer);
}
END_TEST

/* Then pages stay dirty, and no other mapping is to blame. */
START_TEST(an_ignored_fsync_is_named)
{
	static const struct {
		int error;
		const char *words;
	} ways[] = {{0, "ignores fsync, so"}, {ENOSYS, "not known whether fsync is ignored"}};
	bool is_dropped = start(&fake_plain);
	writer = open(path, O_RDWR | O_CLOEXEC);
	fake.machine.ignores = ways[_i].error ? 0 : PM_CALL_FSYNC;
	counting.hook = write_meanwhile;
	/* The first is made for the evidence. */
	fake_fail(FAKE_wrong_sync, 2, ways[_i].error);
	ck_assert_int_eq(attempt(0), -EOPNOTSUPP);
	counting.hook = NULL;
	ck_assert_msg(strstr(pm_error_detail(), ways[_i].words), "%s", pm_error_detail());
	/* Where nothing is dirty, nothing is to be synced. */
	fake_fail(FAKE_wrong_sync, 0, 0);
	ck_assert_int_eq(fsync(writer), 0);
	if (is_dropped)
		ck_assert_int_eq(attempt(0), 0);
	close(writer);
}
END_TEST

START_TEST(a_failed_sync_is_told_and_nothing_is_mapped)
{
	if (!start(&fake_plain))
		return;
	fake_fail(FAKE_fsync, 1, EIO);
	ck_assert_int_eq(attempt(0), -EIO);
	ck_assert_uint_eq(fake_calls(FAKE_fadvise_dontneed), 0);
	ck_assert_int_eq(attempt(0), 0);
	fake_fail(FAKE_fadvise_dontneed, 1, ENOSYS);
	ck_assert_int_eq(attempt(0), -ENOSYS);
	fake_fail(FAKE_mincore, 1, ENOMEM);
	ck_assert_int_eq(attempt(0), -ENOMEM);
}
END_TEST

START_TEST(where_there_is_nothing_to_drop)
{
	start(&fake_tmpfs);
	ck_assert_int_eq(attempt(0), -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "no medium"));
	fake_stop();
	start(&fake_dax);
	ck_assert_int_eq(attempt(0), 0);
	ck_assert_uint_eq(fake_calls(FAKE_fadvise_dontneed) + fake_calls(FAKE_mincore), 0);
	struct pm_mapping *m;
	ck_assert_int_eq(pm_map(NULL, UNIT_OPTIONS(.flags = PM_FROM_MEDIUM | PM_ANONYMOUS, .length = 1), &m), -EINVAL);
	/* A new file has nothing cached, and nothing on the medium. */
	m = unit_map(unit_path("new"), UNIT_OPTIONS(.flags = PM_FROM_MEDIUM | PM_CREATE, .length = 10));
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("from_medium");
	tcase_add_test(c, nothing_is_cached_when_it_is_mapped);
	tcase_add_test(c, what_another_mapping_holds_is_refused);
	tcase_add_test(c, a_mapping_that_ends_meanwhile_is_waited_for);
	tcase_add_test(c, what_is_dirty_again_is_refused);
	tcase_add_loop_test(c, an_ignored_fsync_is_named, 0, 2);
	tcase_add_test(c, a_failed_sync_is_told_and_nothing_is_mapped);
	tcase_add_test(c, where_there_is_nothing_to_drop);
	return unit_run();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* An ext4 without a journal, whose syncs leave the inode out: see lib/kernel/trusted_sync.c. */
#include <errno.h>
#include <linux/fiemap.h>
#include <string.h>
#include <unistd.h>

#include "kernel/magic.h"
#include "mapping/mapping.h"
#include "observe/observe.h"
#include "unit.h"

#define PAGES 40

static struct fake_extent extents[2];
static const char *path;

/* Written up to that page, allocated behind it. */
static void write_until(unsigned page)
{
	uint64_t border = page * unit_page();
	extents[0] = (struct fake_extent){0, border, 0};
	extents[1] = (struct fake_extent){border, 4 * PAGES * unit_page() - border, FIEMAP_EXTENT_UNWRITTEN};
}

static void start(const struct fake_machine *machine)
{
	path = unit_file("file", PAGES * unit_page());
	write_until(4);
	fake_start(machine);
	/* Where a sync flushes the device; old_kernels_are_asked_for_the_flush() has the others. */
	fake.machine.release = "6.12.95";
	fake.machine.lacks_journal = true;
	fake.machine.extents = extents;
	fake.machine.extent_count = 2;
}

/* Calls of a persist of one byte: whether everything was written, and before the msync. */
static bool writes_everything(struct pm_mapping *m)
{
	fake_forget();
	unit_ok(pm_persist(m, pm_base(m), 1));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	ck_assert_uint_le(fake_calls(FAKE_syncfs), 1);
	return fake_calls(FAKE_syncfs);
}

static void expect_persist(struct pm_mapping *m, size_t syncfs_before, size_t syncfs_after)
{
	fake_forget();
	unit_ok(pm_persist(m, pm_base(m), 1));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	ck_assert_uint_eq(fake_calls(FAKE_syncfs), syncfs_before + syncfs_after);
	const struct fake_record *first = fake_find(FAKE_syncfs, 0);
	ck_assert_int_eq(first && first->number > fake_find(FAKE_msync, 0)->number, !syncfs_before && syncfs_after);
}

/* Before Linux 6.6 an msync that finds the inode clean flushes no device: a syncfs after it does. */
START_TEST(old_kernels_are_asked_for_the_flush)
{
	start(&fake_plain);
	fake.machine.release = "6.1.0-56-cloud-amd64";
	struct pm_mapping *m = unit_map(path, NULL);
	expect_persist(m, 1, 1);
	write_until(PAGES);
	expect_persist(m, 1, 1);
	expect_persist(m, 0, 1);
	fake_fail(FAKE_syncfs, 1, EIO);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -EIO);
	unit_ok(pm_clear_error(m));
	unit_ok(pm_unmap(m));
	fake_forget();
	m = unit_map(unit_path("new"), UNIT_OPTIONS(.flags = PM_CREATE, .length = PAGES * unit_page()));
	/* The file, its flush, and the flush of the entry. */
	ck_assert_uint_eq(fake_calls(FAKE_syncfs), 3);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Until all of the range is written, and once more after that. */
START_TEST(everything_is_written_as_long_as_blocks_change)
{
	start(&fake_plain);
	struct pm_mapping *m = unit_map(path, NULL);
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_FSYNC_COMPLETE].state, PM_NO);
	for (int i = 0; i < 3; i++)
		ck_assert(writes_everything(m));
	write_until(PAGES - 1);
	ck_assert(writes_everything(m));
	write_until(PAGES);
	ck_assert(writes_everything(m));
	for (int i = 0; i < 3; i++)
		ck_assert(!writes_everything(m));
	/* What is behind the end of the file has no blocks to change; what is added may. */
	unit_ok(pm_resize(m, (PAGES + 2) * unit_page()));
	ck_assert(writes_everything(m));
	ck_assert(writes_everything(m));
	write_until(PAGES + 2);
	ck_assert(writes_everything(m));
	ck_assert(!writes_everything(m));
	unit_ok(pm_resize(m, PAGES * unit_page()));
	ck_assert(writes_everything(m));
	unit_ok(pm_unmap(m));
}
END_TEST

/* Whether extents change cannot be known where the file system does not report them. */
START_TEST(extents_that_are_not_known_to_be_written)
{
	static const uint32_t flags[] = {FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC, FIEMAP_EXTENT_DATA_INLINE};
	start(&fake_plain);
	struct pm_mapping *m = unit_map(path, NULL);
	for (size_t i = 0; i < COUNT(flags); i++) {
		extents[1].flags = flags[i];
		for (int k = 0; k < 2; k++)
			ck_assert(writes_everything(m));
	}
	write_until(PAGES);
	extents[0] = (struct fake_extent){unit_page(), (PAGES - 1) * unit_page(), 0}; /* a hole before it */
	for (int k = 0; k < 2; k++)
		ck_assert(writes_everything(m));
	fake.machine.fiemap_errno = EOPNOTSUPP;
	for (int k = 0; k < 2; k++)
		ck_assert(writes_everything(m));
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_failure_to_write_everything_is_one_to_write)
{
	start(&fake_plain);
	write_until(PAGES);
	struct pm_mapping *m = unit_map(path, NULL);
	fake_fail(FAKE_syncfs, 1, EIO);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -EIO);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -EIO);
	unit_ok(pm_clear_error(m));
	unit_ok(pm_unmap(m));
}
END_TEST

/* What is made and prepared, too. */
START_TEST(a_file_is_published_with_its_inode)
{
	start(&fake_plain);
	fake_forget();
	struct pm_mapping *m = unit_map(unit_path("new"), UNIT_OPTIONS(.flags = PM_CREATE | (_i ? PM_PREPARE : 0),
	                                                               .length = PAGES * unit_page()));
	ck_assert_uint_eq(fake_calls(FAKE_syncfs), 1);
	ck_assert_uint_ge(fake_calls(FAKE_fsync), 1);
	unit_ok(pm_unmap(m));
}
END_TEST

static const struct {
	const struct fake_machine *machine;
	uint32_t magic; /* 0: the machine's */
	bool lacks, hides;
	int errno_of_open;
	enum pm_state state;
	bool everything;
} others[] = {
	{&fake_plain, 0, false, false, 0, PM_YES, false},
	{&fake_plain, 0, true, false, 0, PM_NO, true},
	/* There may be none. */
	{&fake_plain, 0, false, true, 0, PM_UNKNOWN, true},
	{&fake_plain, 0, false, false, EMFILE, PM_UNKNOWN, true},
	{&fake_plain, XFS_SUPER_MAGIC, true, false, 0, PM_YES, false},
	/* The calls would reach a file system of which nothing is known. */
	{&fake_plain, OVERLAYFS_SUPER_MAGIC, true, false, 0, PM_UNKNOWN, false},
	{&fake_plain, 0x1234, true, false, 0, PM_UNKNOWN, false},
};

/* What is known when the mapping is made counts as long as it lives. */
START_TEST(who_is_believed)
{
	start(others[_i].machine);
	fake.machine.magic = others[_i].magic ? others[_i].magic : fake.machine.magic;
	fake.machine.lacks_journal = others[_i].lacks;
	fake.machine.hides_journal = others[_i].hides;
	fake.machine.hides_journals = others[_i].errno_of_open;
	fake_fail(FAKE_openat, 2, others[_i].errno_of_open); /* the first is of the file */
	struct pm_mapping *m = unit_map(path, NULL);
	fake_fail(FAKE_openat, 0, 0);
	if (!others[_i].errno_of_open)
		ck_assert_int_eq(unit_query(m)->evidence[PM_EV_FSYNC_COMPLETE].state, others[_i].state);
	ck_assert_int_eq(writes_everything(m), others[_i].everything);
	unit_ok(pm_unmap(m));
	/* What cannot be known is not kept either. */
	if (others[_i].errno_of_open) {
		m = unit_map(path, NULL);
		ck_assert(!writes_everything(m));
		unit_ok(pm_unmap(m));
	}
}
END_TEST

static struct pm_mapping *settled(void)
{
	start(&fake_plain);
	write_until(PAGES);
	struct pm_mapping *m = unit_map(path, NULL);
	ck_assert(writes_everything(m));
	ck_assert(!writes_everything(m));
	return m;
}

START_TEST(a_file_system_that_does_not_answer)
{
	start(&fake_plain);
	fake_fail(FAKE_fstatfs, 1, ENOMEM);
	struct pm_mapping *m = unit_map(path, NULL);
	/* It may be an ext4, whose msync flushes nothing. */
	expect_persist(m, 1, 1);
	unit_ok(pm_unmap(m));
}
END_TEST

/* PM_PREPARE writes every block and then calls syncfs(2), in a new file, in an old one and in what is added. */
START_TEST(what_is_prepared_is_written_already)
{
	const uint64_t length = PAGES * unit_page();
	const struct pm_options *o =
		UNIT_OPTIONS(.flags = PM_PREPARE | (_i ? PM_CREATE : 0), .length = length, .reserve = 4 * length);
	start(&fake_plain);
	fake_forget();
	struct pm_mapping *m = unit_map(_i ? unit_path("new") : path, o);
	ck_assert_uint_eq(fake_calls(FAKE_syncfs), 1);
	for (int i = 0; i < 3; i++)
		ck_assert(!writes_everything(m));
	fake_forget();
	unit_ok(pm_resize(m, 2 * length));
	ck_assert_uint_eq(fake_calls(FAKE_syncfs), 1);
	for (int i = 0; i < 3; i++)
		ck_assert(!writes_everything(m));
	/* Another process takes the blocks away. */
	write_until(0);
	atomic_store(&fake.populated, false);
	ck_assert(writes_everything(m));
	write_until(2 * PAGES);
	ck_assert(writes_everything(m));
	ck_assert(!writes_everything(m));
	unit_ok(pm_resize(m, length));
	ck_assert(writes_everything(m));
	unit_ok(pm_unmap(m));
	/* A growth that was not prepared. */
	m = unit_map(path, UNIT_OPTIONS(.length = length, .reserve = 4 * length));
	ck_assert(writes_everything(m));
	ck_assert(!writes_everything(m));
	unit_ok(pm_resize(m, 2 * length));
	ck_assert(writes_everything(m));
	unit_ok(pm_unmap(m));
}
END_TEST

/* Blocks that were taken away and come anew, be it by the program itself. */
START_TEST(what_was_written_and_is_not_any_more)
{
	struct pm_mapping *m = settled();
	char *base = pm_base(m);
	write_until(0);
	ck_assert(writes_everything(m));
	write_until(PAGES);
	ck_assert(writes_everything(m));
	ck_assert(!writes_everything(m));
	/* Far apart, so that each is written by itself: the last is fine, the first is not. */
	extents[0] = (struct fake_extent){0, unit_page(), FIEMAP_EXTENT_UNWRITTEN};
	extents[1] = (struct fake_extent){unit_page(), PAGES * unit_page(), 0};
	unit_ok(pm_flush(m, base, 1));
	unit_ok(pm_flush(m, base + pm_length(m) - 1, 1));
	fake_forget();
	unit_ok(pm_drain(m));
	ck_assert_uint_eq(fake_calls(FAKE_syncfs), 1);
	/* A file that was cut off is not whole. */
	write_until(8);
	ck_assert_int_eq(truncate(path, 8 * (off_t)unit_page()), 0);
	for (int i = 0; i < 2; i++)
		ck_assert(writes_everything(m));
	unit_ok(pm_unmap(m));
}
END_TEST

/* Of runs far apart the blocks from the first to the last count, and no other. */
START_TEST(runs_are_written_apart_among_written_blocks)
{
	static const struct {
		unsigned first, last, from, until; /* pages; written are those from there on until there */
		bool apart;
	} cases[] = {{0, 25, 0, 30, true}, {5, 39, 0, 40, true},  {0, 25, 0, 20, false}, {30, 0, 0, 25, false},
	             {25, 0, 0, 26, true}, {0, 25, 1, 40, false}, {5, 35, 5, 40, true}};
	struct pm_mapping *m = settled();
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		write_until(cases[i].until);
		extents[0].logical += cases[i].from * unit_page();
		extents[0].length -= cases[i].from * unit_page();
		unit_ok(pm_flush(m, (char *)pm_base(m) + cases[i].first * unit_page(), 1));
		unit_ok(pm_flush(m, (char *)pm_base(m) + cases[i].last * unit_page(), 1));
		fake_forget();
		unit_ok(pm_drain(m));
		ck_assert_uint_eq(fake_calls(FAKE_sync_file_range), cases[i].apart ? 2 : 0);
		ck_assert_uint_eq(fake_calls(FAKE_syncfs), !cases[i].apart);
		ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
		/* What was not written once is not known to be until everything was written after it. */
		write_until(PAGES);
		while (writes_everything(m))
			;
	}
	unit_ok(pm_unmap(m));
}
END_TEST

/* Only where the blocks do not reach to the end of the range the file is asked for its end. */
START_TEST(written_blocks_are_one_question)
{
	struct pm_mapping *m = settled();
	fake_forget();
	unit_ok(pm_persist(m, pm_base(m), 1));
	ck_assert_uint_eq(fake_calls(FAKE_ioctl), 1);
	ck_assert_uint_eq(fake_calls(FAKE_statx_now), 1);
	unit_ok(pm_unmap(m));
}
END_TEST

/* An extent for each page. */
static struct fake_extent single[PAGES];

static void expect_questions(struct pm_mapping *m, unsigned questions)
{
	ck_assert(writes_everything(m));
	ck_assert_uint_eq(fake_calls(FAKE_ioctl), questions);
	/* The end of the file is asked for by the drain alone, and nothing else is asked. */
	ck_assert_uint_eq(fake_calls(FAKE_statx_now), 1);
	ck_assert_uint_eq(fake_syscalls(), questions + 4);
}

/*
 * While a block is not written that one is asked for first, so that each write-back costs one question, however many
 * extents are written before it. What lies before it counts as well, once it is written.
 */
START_TEST(unwritten_blocks_are_one_question)
{
	start(&fake_plain);
	for (unsigned n = 0; n < PAGES; n++)
		single[n] = (struct fake_extent){n * unit_page(), unit_page(), 0};
	fake.machine.extents = single;
	fake.machine.extent_count = PAGES;
	single[PAGES - 1].flags = FIEMAP_EXTENT_UNWRITTEN;
	struct pm_mapping *m = unit_map(path, NULL);
	expect_questions(m, 2);
	for (unsigned i = 0; i < 3; i++)
		expect_questions(m, 1);
	/* Another process takes a block away before it. */
	single[3].flags = FIEMAP_EXTENT_UNWRITTEN;
	single[PAGES - 1].flags = 0;
	for (unsigned i = 0; i < 3; i++)
		ck_assert(writes_everything(m));
	expect_questions(m, 1);
	single[3].flags = 0;
	ck_assert(writes_everything(m));
	ck_assert(!writes_everything(m));
	ck_assert_uint_eq(fake_calls(FAKE_ioctl), 1);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Blocks of 1 KiB: the last page has one, and the file ends in it or behind it. */
START_TEST(a_file_that_ends_in_a_page)
{
	uint64_t start_of_last = (PAGES - 1) * unit_page();
	start(&fake_plain);
	write_until(PAGES);
	extents[0].length = start_of_last + 1024;
	ck_assert_int_eq(truncate(path, (off_t)start_of_last + (_i ? 1025 : 1000)), 0);
	struct pm_mapping *m = unit_map(path, NULL);
	ck_assert(writes_everything(m));
	ck_assert_int_eq(writes_everything(m), _i);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(nothing_holds_after_a_failure)
{
	struct pm_mapping *m = settled();
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -EIO);
	fake_forget();
	unit_ok(pm_clear_error(m));
	ck_assert_uint_eq(fake_calls(FAKE_syncfs), 1);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Preparing would not bring back what only the file system lacks. */
START_TEST(a_lease_mends_nothing_there)
{
	start(&fake_dax);
	write_until(PAGES);
	atomic_store(&fake.watcher_sleeps, true);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_LEASE | PM_PREPARE));
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	/* Preparing was announced as a write, which may have been another process's as well. */
	unit_query(m);
	fake_forget();
	for (int i = 0; i < 20; i++) {
		fake_time_passes(1000);
		ck_assert(pm_observe_if_free(&m->observed));
	}
	ck_assert_uint_eq(fake_calls(FAKE_madvise) + fake_calls(FAKE_syncfs) + fake_calls(FAKE_fsync), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* What others wrote is made durable by a mapping that only reads as well. */
START_TEST(a_read_only_mapping)
{
	start(&fake_plain);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_READ_ONLY));
	for (int i = 0; i < 4; i++) {
		fake_forget();
		unit_ok(pm_persist(m, pm_base(m), 1));
		ck_assert_uint_eq(fake_calls(FAKE_fdatasync), 1);
		ck_assert_uint_eq(fake_calls(FAKE_syncfs), i < 3);
		write_until(i ? PAGES : 4);
	}
	unit_ok(pm_unmap(m));
}
END_TEST

/* A write fault under MAP_SYNC is such a sync. */
START_TEST(lines_are_not_promised)
{
	start(&fake_dax);
	write_until(PAGES);
	fake.machine.lacks_journal = !_i;
	fake.machine.hides_journal = _i;
	struct pm_mapping *m = unit_map(path, NULL);
	const struct pm_report *r = unit_query(m);
	ck_assert_int_eq(r->granularity, PM_PAGE);
	ck_assert_int_eq(r->reason, PM_REASON_FSYNC_INCOMPLETE);
	ck_assert_int_eq(r->advice, PM_ADVICE_JOURNAL);
	ck_assert_int_eq(r->direct, PM_YES);
	unit_ok(pm_unmap(m));
	ck_assert_int_eq(pm_map(path, UNIT_OPTIONS(.sync = PM_GUARANTEE), &m), -PM_ENOTSYNC);
	m = unit_map(path, UNIT_OPTIONS(.flags = PM_TRUST_KERNEL));
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("journal");
	tcase_add_test(c, everything_is_written_as_long_as_blocks_change);
	tcase_add_test(c, old_kernels_are_asked_for_the_flush);
	tcase_add_test(c, extents_that_are_not_known_to_be_written);
	tcase_add_test(c, a_failure_to_write_everything_is_one_to_write);
	tcase_add_loop_test(c, a_file_is_published_with_its_inode, 0, 2);
	tcase_add_loop_test(c, who_is_believed, 0, (int)COUNT(others));
	tcase_add_test(c, a_file_system_that_does_not_answer);
	tcase_add_loop_test(c, what_is_prepared_is_written_already, 0, 2);
	tcase_add_test(c, what_was_written_and_is_not_any_more);
	tcase_add_test(c, runs_are_written_apart_among_written_blocks);
	tcase_add_test(c, written_blocks_are_one_question);
	tcase_add_test(c, unwritten_blocks_are_one_question);
	tcase_add_loop_test(c, a_file_that_ends_in_a_page, 0, 2);
	tcase_add_test(c, nothing_holds_after_a_failure);
	tcase_add_test(c, a_lease_mends_nothing_there);
	tcase_add_test(c, a_read_only_mapping);
	tcase_add_loop_test(c, lines_are_not_promised, 0, 2);
	return unit_run();
}

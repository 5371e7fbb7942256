/* SPDX-License-Identifier: BSD-3-Clause */
/* Of two threads with pages far apart the first starts the write of its own, and then waits for the second. */
#include <errno.h>
#include <unistd.h>

#include "syncing.h"

#define FAR 32u /* pages: more than are written as one */
#define OURS FAR
#define THEIRS (2 * FAR)

static struct caller first, second;

static struct {
	atomic_bool comes;    /* the second, while the first sleeps as a candidate */
	unsigned page;        /* of the second */
	bool mends;           /* no page fails any more when it comes */
	atomic_uint sleeps;   /* of candidates */
	unsigned starts;      /* when the last of them began */
	struct machine machine;
} meeting;

static int meeting_futex_wait(const _Atomic uint32_t *word, uint32_t value, uint64_t most, uint32_t bits)
{
	if (most == UINT64_MAX)
		return meeting.machine.below->futex_wait(word, value, most, bits);
	meeting.sleeps++;
	meeting.starts = kernel.starts;
	if (!atomic_exchange(&meeting.comes, false))
		return meeting.machine.below->futex_wait(word, value, most, bits);
	if (meeting.mends)
		kernel.fails_page = 0;
	begin_call(&second, meeting.page, true);
	return meeting.machine.below->futex_wait(word, value, UINT64_MAX, bits);
}

static void expect(unsigned page)
{
	kernel.starts = kernel.syncs = kernel.ranges = 0;
	meeting.sleeps = 0;
	meeting.page = page;
	meeting.comes = true;
}

/* The second and the third thread are the last turn, of two pages far apart. */
static void meet(uint32_t magic)
{
	static struct caller third;
	syncing_start(magic);
	meeting.sleeps = meeting.starts = 0;
	meeting.mends = false;
	machine_put(&meeting.machine, MACHINE(.futex_wait = meeting_futex_wait));
	meeting.page = FAR;
	meeting.comes = true;
	begin_held(&first, 0, true);
	begin_call(&third, 2 * FAR, true);
	wait_until_waiting(1);
	hold_page(0, false);
	ck_assert_int_eq(result_of(&first) | result_of(&third) | result_of(&second), 0);
	ck_assert_uint_eq(meeting.sleeps, 1);
	expect(THEIRS);
}

static void part(void)
{
	machine_remove(&meeting.machine);
	syncing_stop();
}

static int commit_ours(void)
{
	++*counter(OURS);
	return commit_page(OURS);
}

START_TEST(the_first_starts_its_own)
{
	meet(syncing_systems[_i]);
	unit_ok(commit_ours());
	ck_assert_int_eq(result_of(&second), 0);
	ck_assert_uint_eq(meeting.sleeps, 1);
	ck_assert_uint_eq(meeting.starts, 1);
	/* The second leads, and makes both durable by one sync. */
	ck_assert_uint_eq(kernel.syncs, 1);
	ck_assert_uint_eq(kernel.ranges, 1);
	ck_assert_uint_eq(kernel.medium[OURS], *counter(OURS));
	ck_assert_uint_eq(kernel.medium[THEIRS], *counter(THEIRS));
	part();
}
END_TEST

static struct {
	_Atomic uint64_t now;
	struct machine machine;
} clock_of_starts;

static uint64_t time_of_starts(void)
{
	return clock_of_starts.now;
}

static int take_a_second(int fd, uint64_t offset, uint64_t length, unsigned flags)
{
	if (!meeting.sleeps)
		clock_of_starts.now += 1000000000;
	return clock_of_starts.machine.below->sync_file_range(fd, offset, length, flags);
}

/* Where nothing else takes time. */
START_TEST(its_start_is_waited_for)
{
	struct pm_statistics before, after;
	meet(XFS_SUPER_MAGIC);
	unit_ok(pm_statistics(syncing_mapping, &before, sizeof(before)));
	machine_put(&clock_of_starts.machine, MACHINE(.now_ns = time_of_starts, .sync_file_range = take_a_second));
	unit_ok(commit_ours());
	ck_assert_int_eq(result_of(&second), 0);
	machine_remove(&clock_of_starts.machine);
	unit_ok(pm_statistics(syncing_mapping, &after, sizeof(after)));
	ck_assert_uint_eq(meeting.starts, 1);
	ck_assert_uint_eq(after.nanoseconds_waited - before.nanoseconds_waited, 1000000000);
	part();
}
END_TEST

START_TEST(it_starts_all_of_its_ranges)
{
	struct pm_range ranges[3] = {{NULL, 1}, {NULL, 0}, {NULL, 2}};
	meet(XFS_SUPER_MAGIC);
	ranges[0].address = counter(OURS);
	ranges[2].address = counter(5 * FAR);
	++*counter(OURS);
	++*counter(5 * FAR);
	unit_ok(pm_commit(syncing_mapping, ranges, 3));
	ck_assert_int_eq(result_of(&second), 0);
	ck_assert_uint_eq(meeting.starts, 2);
	ck_assert_uint_eq(kernel.syncs, 1);
	ck_assert_uint_eq(kernel.medium[OURS], *counter(OURS));
	ck_assert_uint_eq(kernel.medium[5 * FAR], *counter(5 * FAR));
	part();
}
END_TEST

/* The last turn was one run. */
static int commit_after_near(void)
{
	meeting.page = OURS + 1;
	unit_ok(commit_ours());
	ck_assert_int_eq(result_of(&second), 0);
	expect(THEIRS);
	return commit_ours();
}

static int persist(void)
{
	++*counter(OURS);
	return pm_persist(syncing_mapping, counter(OURS), 1);
}

static int write_by_call(void)
{
	return pm_write(syncing_mapping, counter(OURS), "1", 1);
}

static int commit_much(void)
{
	return pm_commit(syncing_mapping, &(struct pm_range){counter(OURS), (64u << 10) + 1}, 1);
}

/* No page near it was written before. */
static int commit_in_folio(void)
{
	++*counter(7 * FAR);
	return commit_page(7 * FAR);
}

static int commit_on_loop_device(void)
{
	syncing_mapping->medium.device_major = 7;
	return commit_ours();
}

/* On ext4 without a journal a start would write a block that the turn then takes for one that was written before. */
static int commit_without_journal(void)
{
	atomic_store(&syncing_mapping->medium.fsync, PM_FSYNC_NEEDS_SYNCFS);
	return commit_ours();
}

static int cachestat_all_dirty(int fd, uint64_t offset, uint64_t length, struct pm_cachestat *stat)
{
	(void)fd, (void)offset;
	*stat = (struct pm_cachestat){.cached = length / syncing_page, .dirty = length / syncing_page};
	return 0;
}

/* Only a small commit, where the last turn's pages were apart, ranges can be written and no large folio is dirty. */
START_TEST(nothing_else_is_started)
{
	static const struct {
		uint32_t magic;
		int (*call)(void);
	} cases[] = {
		{XFS_SUPER_MAGIC, commit_after_near}, {BTRFS_SUPER_MAGIC, commit_ours}, {FUSE_SUPER_MAGIC, commit_ours},
		{XFS_SUPER_MAGIC, persist},           {XFS_SUPER_MAGIC, write_by_call}, {XFS_SUPER_MAGIC, commit_much},
		{XFS_SUPER_MAGIC, commit_in_folio},   {XFS_SUPER_MAGIC, commit_on_loop_device},
		{EXT4_SUPER_MAGIC, commit_without_journal},
	};
	struct machine machine;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool is_dirty = cases[i].call == commit_in_folio;
		meet(cases[i].magic);
		if (is_dirty)
			machine_put(&machine, MACHINE(.cachestat = cachestat_all_dirty));
		ck_assert_msg(cases[i].call() == 0, "case %zu", i);
		ck_assert_int_eq(result_of(&second), 0);
		ck_assert_uint_eq(meeting.sleeps, 1);
		ck_assert_msg(meeting.starts == 0, "case %zu: %u", i, meeting.starts);
		if (is_dirty)
			machine_remove(&machine);
		part();
	}
}
END_TEST

/* Where three are expected the start would cost more than it gains. */
START_TEST(of_three_none_starts)
{
	meet(XFS_SUPER_MAGIC);
	meeting.comes = false;
	syncing_mapping->medium.writeback.expected = 3;
	unit_ok(commit_ours());
	ck_assert_uint_eq(meeting.sleeps, 1);
	ck_assert_uint_eq(meeting.starts, 0);
	part();
}
END_TEST

/* The call that starts is the only one that learns of it. */
START_TEST(a_start_that_fails_is_told_to_both)
{
	meet(EXT4_SUPER_MAGIC);
	kernel.starts_write = kernel.tells_writer = meeting.mends = true;
	kernel.fails_page = OURS;
	ck_assert_int_eq(commit_ours(), -ENOSPC);
	ck_assert_int_eq(result_of(&second), -ENOSPC);
	ck_assert_int_eq(commit_page(1), -ENOSPC);
	unit_ok(pm_clear_error(syncing_mapping));
	unit_ok(commit_page(1));
	part();
}
END_TEST

/* And one whose failure is told by the description, to the thread that leads. */
START_TEST(a_write_that_fails_later_is_told_to_both)
{
	meet(EXT4_SUPER_MAGIC);
	kernel.starts_write = true;
	kernel.fails_page = OURS;
	ck_assert_int_eq(commit_ours(), -EIO);
	ck_assert_int_eq(result_of(&second), -EIO);
	kernel.fails_page = 0;
	unit_ok(pm_clear_error(syncing_mapping));
	part();
}
END_TEST

/* The first leads on if the second comes before the start is over. */
START_TEST(the_second_may_come_meanwhile)
{
	meet(XFS_SUPER_MAGIC);
	meeting.comes = false;
	kernel.starts_write = true;
	begin_held(&first, OURS, true);
	begin_call(&second, THEIRS, true);
	wait_until_waiting(1);
	hold_page(OURS, false);
	ck_assert_int_eq(result_of(&first) | result_of(&second), 0);
	ck_assert_uint_eq(meeting.sleeps, 0);
	ck_assert_uint_eq(kernel.syncs, 1);
	ck_assert_uint_eq(kernel.medium[THEIRS], *counter(THEIRS));
	part();
}
END_TEST

static atomic_bool answers;

static int answer_late(int fd, struct statx *now)
{
	return atomic_exchange(&answers, true) ? meeting.machine.below->statx_now(fd, now) : -EIO;
}

/* Nothing is started by a descriptor of which it is not known that it leads to the file. */
START_TEST(the_file_is_checked_before)
{
	struct machine machine;
	meet(XFS_SUPER_MAGIC);
	machine_put(&machine, MACHINE(.statx_now = answer_late));
	answers = false;
	unit_ok(commit_ours());
	ck_assert_int_eq(result_of(&second), 0);
	ck_assert_uint_eq(meeting.sleeps, 1);
	ck_assert_uint_eq(meeting.starts, 0);
	ck_assert(answers);
	machine_remove(&machine);
	part();
}
END_TEST

int main(void)
{
	TCase *c = unit_case("started");
	tcase_add_loop_test(c, the_first_starts_its_own, 0, 2);
	tcase_add_test(c, its_start_is_waited_for);
	tcase_add_test(c, it_starts_all_of_its_ranges);
	tcase_add_test(c, nothing_else_is_started);
	tcase_add_test(c, of_three_none_starts);
	tcase_add_test(c, a_start_that_fails_is_told_to_both);
	tcase_add_test(c, a_write_that_fails_later_is_told_to_both);
	tcase_add_test(c, the_second_may_come_meanwhile);
	tcase_add_test(c, the_file_is_checked_before);
	return unit_run();
}

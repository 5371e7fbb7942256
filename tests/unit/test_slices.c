/* SPDX-License-Identifier: BSD-3-Clause */
/* Commits beside a long write-back: they are written between its slices of 1 MiB. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "syncing.h"

#define SLICES 4u
#define COMMITS 3u

static struct caller drains, commits[COMMITS], persists;
static unsigned slice; /* pages */

static int flush_pages(unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++)
		__atomic_fetch_add(counter(i), 1, __ATOMIC_SEQ_CST);
	return pm_flush(syncing_mapping, counter(first), count * syncing_page);
}

static void let_a_thread_wait(void)
{
	begin_held(&drains, 9000, true);
	begin_call(&persists, 9001, true);
	wait_until_waiting(1);
	hold_page(9000, false);
	ck_assert_int_eq(result_of(&drains) | result_of(&persists), 0);
	kernel.syncs = kernel.ranges = kernel.starts = 0;
	kernel.pages = 0;
}

/* A drain of four slices is held in its second. */
static void begin_drain(uint32_t magic, bool is_shared)
{
	syncing_start(magic);
	slice = (unsigned)(((size_t)1 << 20) / syncing_page);
	if (is_shared)
		let_a_thread_wait();
	unit_ok(flush_pages(0, SLICES * slice));
	begin_held(&drains, slice + 1, false);
}

static void begin_commits(void)
{
	begin_call(&persists, 8000, false);
	for (unsigned i = 0; i < COMMITS; i++)
		begin_call(&commits[i], 5000 + i * 100, true);
	wait_until_waiting(COMMITS + 1);
}

static void expect_written(unsigned end)
{
	for (unsigned i = 0; i < SLICES * slice; i++)
		ck_assert_uint_eq(kernel.medium[i], i < end ? 1u + (i == slice + 1) : 0);
}

static void wait_for_page(unsigned n)
{
	pthread_mutex_lock(&kernel.lock);
	while (!kernel.reached[n])
		pthread_cond_wait(&kernel.changed, &kernel.lock);
	pthread_mutex_unlock(&kernel.lock);
}

/* A call that never returns is a failure, and no hang. */
static void expect_return(const struct caller *c)
{
	for (unsigned i = 0; i < 600 && !atomic_load(&c->returned); i++)
		usleep(50000);
	ck_assert_msg(atomic_load(&c->returned), "the commit of page %u waits for the end", c->n);
}

static int end_all(void)
{
	hold_page(2 * slice + 1, false);
	int rc = result_of(&drains);
	ck_assert_int_eq(result_of(&persists), rc);
	return rc;
}

START_TEST(commits_come_between_slices)
{
	begin_drain(_i ? EXT4_SUPER_MAGIC : XFS_SUPER_MAGIC, true);
	begin_commits();
	hold_page(2 * slice + 1, true);
	hold_page(slice + 1, false);
	for (unsigned i = 0; i < COMMITS; i++) {
		expect_return(&commits[i]);
		ck_assert_int_eq(result_of(&commits[i]), 0);
	}
	wait_for_page(2 * slice + 1);
	for (unsigned i = 0; i < COMMITS; i++)
		ck_assert_uint_eq(kernel.medium[5000 + i * 100], 1);
	/* The commits share an msync. What drains waits for the end. */
	ck_assert_uint_eq(kernel.syncs, 1);
	ck_assert(!atomic_load(&drains.returned) && !atomic_load(&persists.returned));
	ck_assert_uint_eq(kernel.medium[8000], 0);
	expect_written(2 * slice + 1);
	ck_assert_int_eq(end_all(), 0);
	expect_written(SLICES * slice);
	ck_assert_uint_eq(kernel.medium[8000], 1);
	/* The drain has one, and that of the thread that waited. */
	ck_assert_uint_eq(kernel.syncs, 3);
	ck_assert_uint_eq(kernel.ranges, SLICES - 1 + COMMITS - 1);
	/* Each page once. */
	ck_assert_uint_eq(kernel.pages, SLICES * slice + COMMITS + 1);
	syncing_stop();
}
END_TEST

/* Of an earlier slice, of a commit, of a later slice. */
START_TEST(a_failure_is_told_to_those_that_it_may_concern)
{
	begin_drain(XFS_SUPER_MAGIC, true);
	kernel.tells_writer = _i >= 3;
	kernel.fails_page = _i % 3 == 0 ? slice + 2 : _i % 3 == 1 ? 5100 : 3 * slice;
	int rc = kernel.tells_writer ? -ENOSPC : -EIO;
	begin_commits();
	hold_page(2 * slice + 1, true);
	hold_page(slice + 1, false);
	wait_for_page(2 * slice + 1);
	for (unsigned i = 0; i < COMMITS; i++)
		ck_assert(_i % 3 == 2 || !atomic_load(&commits[i].returned));
	ck_assert_int_eq(end_all(), rc);
	for (unsigned i = 0; i < COMMITS; i++)
		ck_assert_int_eq(result_of(&commits[i]), _i % 3 == 2 ? 0 : rc);
	kernel.fails_page = 0;
	unit_ok(pm_clear_error(syncing_mapping));
	syncing_stop();
}
END_TEST

static void *commit_much(void *rc)
{
	*(int *)rc = pm_commit(syncing_mapping, &(struct pm_range){counter(6000), ((size_t)1 << 20) + 1}, 1);
	return NULL;
}

static void *commit_many(void *rc)
{
	struct pm_range ranges[65];
	for (unsigned i = 0; i < 65; i++)
		ranges[i] = (struct pm_range){counter(6000 + i), 1};
	*(int *)rc = pm_commit(syncing_mapping, ranges, 65);
	return NULL;
}

/* Others would have to wait for them. */
START_TEST(large_commits_wait_for_the_end)
{
	pthread_t large;
	int rc = 1;
	begin_drain(XFS_SUPER_MAGIC, true);
	++*counter(6000);
	ck_assert_int_eq(pthread_create(&large, NULL, _i ? commit_many : commit_much, &rc), 0);
	wait_until_waiting(1);
	hold_page(2 * slice + 1, true);
	hold_page(slice + 1, false);
	wait_for_page(2 * slice + 1);
	ck_assert_uint_eq(kernel.medium[6000], 0);
	hold_page(2 * slice + 1, false);
	ck_assert_int_eq(result_of(&drains), 0);
	pthread_join(large, NULL);
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_eq(kernel.medium[6000], 1);
	syncing_stop();
}
END_TEST

/* Where no thread has waited yet, and where ranges cannot be written: one msync. */
START_TEST(other_drains_are_one_call)
{
	begin_drain(syncing_systems[_i % 4], _i / 4);
	bool sliced = _i == 4 || _i == 5;
	hold_page(slice + 1, false);
	ck_assert_int_eq(result_of(&drains), 0);
	ck_assert_uint_eq(kernel.syncs, 1);
	ck_assert_uint_eq(kernel.ranges, sliced ? SLICES - 1 : 0);
	ck_assert_uint_eq(kernel.starts, sliced ? SLICES - 1 : 0);
	expect_written(SLICES * slice);
	/* The whole mapping. */
	unit_ok(pm_sync(syncing_mapping));
	ck_assert_uint_eq(kernel.syncs, 2);
	syncing_stop();
}
END_TEST

/* Runs that are shorter than a slice, or cut by its end. */
START_TEST(each_page_is_written_once)
{
	unsigned pages = 0, at = 0;
	syncing_start(XFS_SUPER_MAGIC);
	atomic_store(&syncing_mapping->medium.writeback.is_shared, true);
	while (at + 1300 < SYNCING_PAGES) {
		unsigned count = unit_random() % 3 ? 1 + unit_random() % 20 : 1 + unit_random() % 1200;
		unit_ok(flush_pages(at, count));
		pages += count;
		/* More than runs that are written as one are apart. */
		at += count + 17 + unit_random() % 60;
	}
	unit_ok(pm_drain(syncing_mapping));
	ck_assert_uint_eq(kernel.pages, pages);
	ck_assert_uint_eq(kernel.syncs, 1);
	for (unsigned i = 0; i < SYNCING_PAGES; i++)
		ck_assert_uint_eq(kernel.medium[i], *counter(i));
	syncing_stop();
}
END_TEST

/* ---- At random ---- */

static atomic_bool stops, failed;
static atomic_uint wrong, made;

static void look(unsigned n, uint32_t value, int rc)
{
	pthread_mutex_lock(&kernel.lock);
	if (!rc && (kernel.lost[n] || kernel.medium[n] < value))
		wrong++;
	pthread_mutex_unlock(&kernel.lock);
	made += !rc;
	if (rc)
		atomic_store(&failed, true);
}

/* In what is drained, or elsewhere. */
static void *commit_again_and_again(void *arg)
{
	unsigned n = (unsigned)(uintptr_t)arg;
	while (!atomic_load(&stops)) {
		uint32_t value = __atomic_add_fetch(counter(n), 1, __ATOMIC_SEQ_CST);
		look(n, value, commit_page(n));
	}
	return NULL;
}

START_TEST(nothing_is_missing)
{
	static const uintptr_t pages[] = {7, 300, 2000, 5000};
	pthread_t thread[4];
	syncing_start(XFS_SUPER_MAGIC);
	slice = (unsigned)(((size_t)1 << 20) / syncing_page);
	kernel.longest = 100;
	kernel.tells_writer = _i & 2;
	for (unsigned round = 0; round < 5; round++) {
		atomic_store(&stops, false);
		atomic_store(&failed, false);
		kernel.fails_one_in = _i & 1 ? 3000 : 0;
		for (unsigned i = 0; i < 4; i++)
			pthread_create(&thread[i], NULL, commit_again_and_again, (void *)pages[i]);
		for (unsigned i = 0; i < 6; i++) {
			uint32_t value = *counter(slice) + 1;
			int rc = flush_pages(0, SLICES * slice);
			look(slice, value, rc ? rc : pm_drain(syncing_mapping));
		}
		atomic_store(&stops, true);
		for (unsigned i = 0; i < 4; i++)
			pthread_join(thread[i], NULL);
		ck_assert_uint_eq(wrong, 0);
		ck_assert(_i & 1 || !atomic_load(&failed));
		kernel.fails_one_in = 0;
		unit_ok(pm_clear_error(syncing_mapping));
		memset(kernel.lost, 0, sizeof(kernel.lost));
	}
	ck_assert_uint_ne(made, 0);
	syncing_stop();
}
END_TEST

int main(void)
{
	TCase *c = unit_case("slices");
	tcase_add_loop_test(c, commits_come_between_slices, 0, 2);
	tcase_add_loop_test(c, a_failure_is_told_to_those_that_it_may_concern, 0, 6);
	tcase_add_loop_test(c, large_commits_wait_for_the_end, 0, 2);
	tcase_add_loop_test(c, other_drains_are_one_call, 0, 8);
	tcase_add_test(c, each_page_is_written_once);
	tcase_add_loop_test(c, nothing_is_missing, 0, 4);
	return unit_run();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads that drain and commit at once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "syncing.h"

#define THREADS 8u
#define APART 32u /* pages from one thread's to the next: more than are written as one */

/* ---- Threads one by one ---- */

static struct caller first, others[THREADS];

/* Behind one that writes; every other one commits, or all do, or none. */
static void begin_all(unsigned apart, unsigned commits)
{
	begin_held(&first, 0, commits & 1);
	for (unsigned i = 0; i < THREADS; i++)
		begin_call(&others[i], (i + 1) * apart, commits >> i % 2 & 1);
	wait_until_waiting(THREADS);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert(!atomic_load(&others[i].returned));
}

START_TEST(one_writes_for_all_that_wait)
{
	syncing_start(syncing_systems[_i % 4]);
	begin_all(1, (unsigned)_i / 4);
	kernel.syncs = kernel.ranges = 0;
	hold_page(0, false);
	ck_assert_int_eq(result_of(&first), 0);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(result_of(&others[i]), 0);
	for (unsigned i = 0; i <= THREADS; i++)
		ck_assert_uint_eq(kernel.medium[i], 1);
	/* Ranges and recorded pages are committed together. */
	ck_assert_uint_eq(kernel.syncs, 1);
	syncing_stop();
}
END_TEST

/* Where that is known to work distant pages are written one by one, and committed together. */
START_TEST(distant_pages_share_a_sync)
{
	syncing_start(syncing_systems[_i]);
	begin_all(APART, 3);
	kernel.syncs = kernel.ranges = 0;
	kernel.pages = 0;
	hold_page(0, false);
	ck_assert_int_eq(result_of(&first), 0);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(result_of(&others[i]), 0);
	bool by_ranges = syncing_systems[_i] == XFS_SUPER_MAGIC || syncing_systems[_i] == EXT4_SUPER_MAGIC;
	ck_assert_uint_eq(kernel.syncs, by_ranges ? 1 : THREADS);
	ck_assert_uint_eq(kernel.ranges, by_ranges ? THREADS - 1 : 0);
	/* That of the first was begun before. */
	ck_assert_uint_eq(kernel.pages, 1 + THREADS);
	syncing_stop();
}
END_TEST

/* One of their pages fails, or one that another thread has just written: each that waits is told. */
START_TEST(a_failure_is_told_to_all_that_wait)
{
	syncing_start(syncing_systems[_i % 4]);
	kernel.tells_writer = _i % 4 == 1;
	begin_all(_i & 8 ? 1 : APART, (unsigned)_i / 4 % 4);
	kernel.fails_one_in = 1;
	hold_page(0, false);
	int rc = kernel.tells_writer ? -ENOSPC : -EIO;
	ck_assert_int_eq(result_of(&first), rc);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(result_of(&others[i]), rc);
	ck_assert_int_eq(commit_page(1), rc);
	kernel.fails_one_in = 0;
	unit_ok(pm_clear_error(syncing_mapping));
	unit_ok(commit_page(1));
	syncing_stop();
}
END_TEST

/* The pages of those that wait fail, not those of the first. */
START_TEST(a_failure_of_a_group_is_told_to_the_group)
{
	syncing_start(syncing_systems[_i % 4]);
	kernel.tells_writer = _i % 4 == 1;
	begin_all(APART, (unsigned)_i / 4);
	hold_page(3 * APART, true);
	hold_page(0, false);
	ck_assert_int_eq(result_of(&first), 0);
	pthread_mutex_lock(&kernel.lock);
	while (!kernel.reached[3 * APART])
		pthread_cond_wait(&kernel.changed, &kernel.lock);
	kernel.fails_one_in = 1;
	pthread_mutex_unlock(&kernel.lock);
	/* This one comes too late for them, and in time for the error. */
	begin_call(&first, 0, false);
	wait_until_waiting(1);
	hold_page(3 * APART, false);
	int rc = kernel.tells_writer ? -ENOSPC : -EIO;
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(result_of(&others[i]), rc);
	ck_assert_int_eq(result_of(&first), rc);
	kernel.fails_one_in = 0;
	unit_ok(pm_clear_error(syncing_mapping));
	syncing_stop();
}
END_TEST

static void *clear_error(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)pm_clear_error(syncing_mapping);
}

/* A recovery leads for itself alone, whatever waits before it. */
START_TEST(a_recovery_is_led_with_no_other)
{
	pthread_t clearer;
	void *rc;
	syncing_start(XFS_SUPER_MAGIC);
	begin_held(&first, 0, true);
	begin_call(&others[0], 1, true);
	wait_until_waiting(1);
	pm_shared_file_fail(syncing_mapping->errors.shared, 0, -EIO);
	ck_assert_int_eq(pthread_create(&clearer, NULL, clear_error, NULL), 0);
	wait_until_waiting(2);
	hold_page(0, false);
	ck_assert_int_eq(result_of(&first) | result_of(&others[0]), 0);
	pthread_join(clearer, &rc);
	ck_assert_ptr_null(rc);
	/* Of the first, of the one that waited, and of everything. */
	ck_assert_uint_eq(kernel.syncs, 3);
	syncing_stop();
}
END_TEST

/* Also for a call that had passed the gate before. */
START_TEST(a_failure_is_latched)
{
	syncing_start(XFS_SUPER_MAGIC);
	++*counter(0);
	kernel.fails_one_in = 1;
	ck_assert_int_eq(commit_page(0), -EIO);
	kernel.fails_one_in = 0;
	unsigned syncs = kernel.syncs;
	struct pm_range again = {counter(0), 1};
	ck_assert_int_eq(pm_strategy_writeback.commit(&syncing_mapping->medium, &again, 1), -EIO);
	ck_assert_int_eq(pm_strategy_writeback.drain(&syncing_mapping->medium), -EIO);
	ck_assert_uint_eq(kernel.syncs, syncs);
	unit_ok(pm_clear_error(syncing_mapping));
	unit_ok(commit_page(0));
	syncing_stop();
}
END_TEST

/* Another mapping received the error, and this one's description has not reported it yet. */
START_TEST(a_failure_that_was_told_elsewhere_is_cleared)
{
	struct caller alone = {.n = 3};
	syncing_start(XFS_SUPER_MAGIC);
	kernel.failures++;
	pm_shared_file_fail(syncing_mapping->errors.shared, 0, -EIO);
	call_now(&alone);
	ck_assert_int_eq(alone.rc, -EIO);
	unit_ok(pm_clear_error(syncing_mapping));
	call_now(&alone);
	ck_assert_int_eq(alone.rc, 0);
	syncing_stop();
}
END_TEST

/* ---- All at once ---- */

static atomic_uint wrong;
static atomic_bool failed;
static unsigned rounds, step; /* pages from one thread's to the next */

/* Its own page, and now and then one that another thread makes durable as well. */
static int make_durable(unsigned n, unsigned other, unsigned round)
{
	switch (round % 4) {
	case 0:
		return pm_commit(syncing_mapping, (struct pm_range[]){{counter(n), 1}, {counter(other), 1}}, 2);
	case 1:
		return commit_page(n);
	case 2:
		return pm_persist(syncing_mapping, counter(n), 1);
	default:;
		int rc = pm_flush(syncing_mapping, counter(n), 1);
		pm_flush(syncing_mapping, counter(other), 1);
		return rc ? rc : pm_drain(syncing_mapping);
	}
}

static void *drain_again_and_again(void *arg)
{
	unsigned n = (unsigned)(uintptr_t)arg * step, other = (n + step) % (THREADS * step);
	for (unsigned i = 1; i <= rounds && !atomic_load(&failed); i++) {
		uint32_t value = __atomic_add_fetch(counter(n), 1, __ATOMIC_SEQ_CST);
		int rc = make_durable(n, other, i);
		pthread_mutex_lock(&kernel.lock);
		if (!rc && (kernel.lost[n] || kernel.medium[n] < value))
			atomic_fetch_add(&wrong, 1);
		pthread_mutex_unlock(&kernel.lock);
		if (rc)
			atomic_store(&failed, true);
	}
	return NULL;
}

static void all_at_once(void)
{
	pthread_t thread[THREADS];
	atomic_store(&wrong, 0);
	atomic_store(&failed, false);
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, drain_again_and_again, (void *)i), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(atomic_load(&wrong), 0);
}

START_TEST(nothing_acknowledged_is_missing)
{
	syncing_start(syncing_systems[_i / 4]);
	kernel.longest = _i & 1 ? 200 : 0;
	step = _i & 2 ? APART : 1;
	rounds = 200;
	all_at_once();
	ck_assert(!atomic_load(&failed));
	syncing_stop();
}
END_TEST

START_TEST(no_failure_is_missing)
{
	syncing_start(syncing_systems[_i / 2]);
	kernel.tells_writer = _i / 2 == 1;
	kernel.longest = 200;
	step = _i & 1 ? APART : 1;
	rounds = 150;
	for (int i = 0; i < 5; i++) {
		kernel.fails_one_in = 50;
		all_at_once();
		kernel.fails_one_in = 0;
		if (atomic_load(&failed))
			unit_ok(pm_clear_error(syncing_mapping));
		memset(kernel.lost, 0, sizeof(kernel.lost));
		all_at_once();
		ck_assert(!atomic_load(&failed));
	}
	syncing_stop();
}
END_TEST

int main(void)
{
	TCase *c = unit_case("concurrent");
	tcase_add_loop_test(c, one_writes_for_all_that_wait, 0, 16);
	tcase_add_loop_test(c, distant_pages_share_a_sync, 0, 4);
	tcase_add_loop_test(c, a_failure_is_told_to_all_that_wait, 0, 16);
	tcase_add_loop_test(c, a_failure_of_a_group_is_told_to_the_group, 0, 16);
	tcase_add_test(c, a_recovery_is_led_with_no_other);
	tcase_add_test(c, a_failure_is_latched);
	tcase_add_test(c, a_failure_that_was_told_elsewhere_is_cleared);
	tcase_add_loop_test(c, nothing_acknowledged_is_missing, 0, 16);
	tcase_add_loop_test(c, no_failure_is_missing, 0, 8);
	return unit_run();
}

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

struct caller {
	pthread_t thread;
	unsigned n; /* syncing_page */
	bool commits;
	int rc;
	atomic_bool returned;
};

static void *call(void *arg)
{
	struct caller *c = arg;
	__atomic_fetch_add(counter(c->n), 1, __ATOMIC_SEQ_CST);
	c->rc = c->commits ? commit_page(c->n) : pm_persist(syncing_mapping, counter(c->n), 1);
	atomic_store(&c->returned, true);
	return NULL;
}

static void hold(unsigned n, bool held)
{
	pthread_mutex_lock(&kernel.lock);
	kernel.held[n] = held;
	pthread_cond_broadcast(&kernel.changed);
	pthread_mutex_unlock(&kernel.lock);
}

static void begin(struct caller *c, unsigned n, bool commits)
{
	*c = (struct caller){.n = n, .commits = commits};
	ck_assert_int_eq(pthread_create(&c->thread, NULL, call, c), 0);
}

/* Until it writes its page, which is held. */
static void begin_held(struct caller *c, unsigned n, bool commits)
{
	hold(n, true);
	begin(c, n, commits);
	pthread_mutex_lock(&kernel.lock);
	while (!kernel.reached[n])
		pthread_cond_wait(&kernel.changed, &kernel.lock);
	pthread_mutex_unlock(&kernel.lock);
}

static void wait_until_waiting(unsigned wanted)
{
	for (unsigned found = 0; found < wanted; usleep(1000)) {
		pthread_mutex_lock(&syncing_mapping->medium.writeback.lock);
		found = 0;
		for (const struct pm_page_request *r = syncing_mapping->medium.writeback.waiting; r; r = r->next)
			found++;
		pthread_mutex_unlock(&syncing_mapping->medium.writeback.lock);
	}
}

static int result(struct caller *c)
{
	pthread_join(c->thread, NULL);
	return c->rc;
}

static struct caller first, others[THREADS];

/* Behind one that writes; every other one commits, or all do, or none. */
static void begin_all(unsigned apart, unsigned commits)
{
	begin_held(&first, 0, commits & 1);
	for (unsigned i = 0; i < THREADS; i++)
		begin(&others[i], (i + 1) * apart, commits >> i % 2 & 1);
	wait_until_waiting(THREADS);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert(!atomic_load(&others[i].returned));
}

START_TEST(one_writes_for_all_that_wait)
{
	syncing_start(syncing_systems[_i % 4]);
	begin_all(1, (unsigned)_i / 4);
	kernel.syncs = kernel.ranges = 0;
	hold(0, false);
	ck_assert_int_eq(result(&first), 0);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(result(&others[i]), 0);
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
	hold(0, false);
	ck_assert_int_eq(result(&first), 0);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(result(&others[i]), 0);
	bool by_ranges = syncing_systems[_i] == XFS_SUPER_MAGIC || syncing_systems[_i] == EXT4_SUPER_MAGIC;
	ck_assert_uint_eq(kernel.syncs, by_ranges ? 1 : THREADS);
	ck_assert_uint_eq(kernel.ranges, by_ranges ? THREADS - 1 : 0);
	/* That of the first was begun before. */
	ck_assert_uint_eq(kernel.pages, 1 + THREADS);
	syncing_stop();
}
END_TEST

/* ---- A clock that only the test moves ---- */

static struct {
	_Atomic uint64_t now; /* nanoseconds */
	uint64_t turn, yield; /* how long an msync and a yield take */
	atomic_uint yields;
	struct caller *comes; /* while a leader waits */
	struct machine machine;
} timed;

static uint64_t timed_now(void)
{
	return timed.now;
}

static int timed_msync(void *address, size_t length)
{
	timed.now += timed.turn;
	return timed.machine.below->msync(address, length);
}

static int timed_yield(void)
{
	timed.yields++;
	timed.now += timed.yield;
	if (timed.comes) {
		begin(timed.comes, 2, true);
		timed.comes = NULL;
		wait_until_waiting(2);
	}
	return 0;
}

static void start_timed(uint64_t turn)
{
	syncing_start(XFS_SUPER_MAGIC);
	timed.turn = turn;
	timed.yield = 10000;
	timed.yields = 0;
	timed.comes = NULL;
	machine_put(&timed.machine, MACHINE(.now_ns = timed_now, .yield = timed_yield, .msync = timed_msync));
}

static void stop_timed(void)
{
	machine_remove(&timed.machine);
	syncing_stop();
}

/* The second leads after the first, and expects it again. */
static void let_one_lead_after_another(void)
{
	begin_held(&first, 0, true);
	begin(&others[0], 1, true);
	wait_until_waiting(1);
	hold(0, false);
	ck_assert_int_eq(result(&first) | result(&others[0]), 0);
}

START_TEST(a_leader_waits_for_those_of_the_last_turn)
{
	start_timed(100000);
	timed.comes = &others[1];
	let_one_lead_after_another();
	ck_assert_int_eq(result(&others[1]), 0);
	ck_assert_uint_eq(timed.yields, 1);
	ck_assert_uint_eq(kernel.syncs, 2);
	ck_assert_uint_eq(kernel.medium[0] + kernel.medium[1] + kernel.medium[2], 3);
	/* Two are expected, and one has gone: half a turn. From then on the other is alone. */
	for (unsigned i = 0; i < 10; i++) {
		++*counter(1);
		unit_ok(commit_page(1));
		ck_assert_uint_eq(timed.yields, 1 + 5);
	}
	stop_timed();
}
END_TEST

/* After the first, third, seventh, 15th and 31st wait in vain. A turn of 10 ms is waited for a tenth of a ms. */
START_TEST(waits_in_vain_become_rare)
{
	start_timed(_i ? 10000000 : 100000);
	for (unsigned i = 0; i < 40; i++)
		let_one_lead_after_another();
	ck_assert_uint_eq(timed.yields, 5u * (_i ? 10 : 5));
	/* After one that was not in vain the next turn waits again. */
	timed.comes = &others[1];
	while (timed.comes)
		let_one_lead_after_another();
	ck_assert_int_eq(result(&others[1]), 0);
	timed.yields = 0;
	let_one_lead_after_another();
	ck_assert_uint_ne(timed.yields, 0);
	stop_timed();
}
END_TEST

/* All came, and too late: other programs kept the CPU. */
START_TEST(slow_yields_become_rare)
{
	start_timed(100000);
	timed.yield = 1000000;
	for (unsigned i = 0; i < 40; i++) {
		timed.comes = &others[1];
		let_one_lead_after_another();
		ck_assert_int_eq(timed.comes ? 0 : result(&others[1]), 0);
	}
	ck_assert_uint_eq(timed.yields, 5);
	stop_timed();
}
END_TEST

/* One of their pages fails, or one that another thread has just written: each that waits is told. */
START_TEST(a_failure_is_told_to_all_that_wait)
{
	syncing_start(syncing_systems[_i % 4]);
	kernel.tells_writer = _i % 4 == 1;
	begin_all(_i & 8 ? 1 : APART, (unsigned)_i / 4 % 4);
	kernel.fails_one_in = 1;
	hold(0, false);
	int rc = kernel.tells_writer ? -ENOSPC : -EIO;
	ck_assert_int_eq(result(&first), rc);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(result(&others[i]), rc);
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
	hold(3 * APART, true);
	hold(0, false);
	ck_assert_int_eq(result(&first), 0);
	pthread_mutex_lock(&kernel.lock);
	while (!kernel.reached[3 * APART])
		pthread_cond_wait(&kernel.changed, &kernel.lock);
	kernel.fails_one_in = 1;
	pthread_mutex_unlock(&kernel.lock);
	/* This one comes too late for them, and in time for the error. */
	begin(&first, 0, false);
	wait_until_waiting(1);
	hold(3 * APART, false);
	int rc = kernel.tells_writer ? -ENOSPC : -EIO;
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(result(&others[i]), rc);
	ck_assert_int_eq(result(&first), rc);
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
	begin(&others[0], 1, true);
	wait_until_waiting(1);
	pm_shared_file_fail(syncing_mapping->errors.shared, 0, -EIO);
	ck_assert_int_eq(pthread_create(&clearer, NULL, clear_error, NULL), 0);
	wait_until_waiting(2);
	hold(0, false);
	ck_assert_int_eq(result(&first) | result(&others[0]), 0);
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
	call(&alone);
	ck_assert_int_eq(alone.rc, -EIO);
	unit_ok(pm_clear_error(syncing_mapping));
	call(&alone);
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
	tcase_add_test(c, a_leader_waits_for_those_of_the_last_turn);
	tcase_add_loop_test(c, waits_in_vain_become_rare, 0, 2);
	tcase_add_test(c, slow_yields_become_rare);
	tcase_add_loop_test(c, a_failure_is_told_to_all_that_wait, 0, 16);
	tcase_add_loop_test(c, a_failure_of_a_group_is_told_to_the_group, 0, 16);
	tcase_add_test(c, a_recovery_is_led_with_no_other);
	tcase_add_test(c, a_failure_is_latched);
	tcase_add_test(c, a_failure_that_was_told_elsewhere_is_cleared);
	tcase_add_loop_test(c, nothing_acknowledged_is_missing, 0, 16);
	tcase_add_loop_test(c, no_failure_is_missing, 0, 8);
	return unit_run();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A thread that waits for those of the last write-back, and is led by the last of them. */
#include <errno.h>
#include <unistd.h>

#include "syncing.h"

static struct caller first, others[2];

/* ---- A clock that only the test moves ---- */

enum coming {
	NONE_COMES,
	COMES,      /* while the candidate sleeps */
	COMES_LAST, /* and leads when the candidate's time ends */
	CLEARS,     /* a recovery, which leads alone */
};

static struct {
	_Atomic uint64_t now; /* nanoseconds */
	uint64_t turn;        /* how long an msync takes */
	atomic_uint sleeps;   /* of candidates */
	enum coming coming;
	pthread_t clears;
	atomic_bool writes;      /* an msync is under way */
	atomic_uint at_once;     /* msyncs that began meanwhile */
	_Atomic pthread_t wrote; /* the thread of the last msync */
	struct machine machine;
} timed;

static uint64_t timed_now(void)
{
	return timed.now;
}

static int timed_msync(void *address, size_t length)
{
	timed.at_once += atomic_exchange(&timed.writes, true);
	timed.wrote = pthread_self();
	timed.now += timed.turn;
	int rc = timed.machine.below->msync(address, length);
	atomic_store(&timed.writes, false);
	return rc;
}

static void *clear_error(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)pm_clear_error(syncing_mapping);
}

/* Of a candidate if it ends by itself. */
static int timed_futex_wait(const _Atomic uint32_t *word, uint32_t value, uint64_t most, uint32_t bits)
{
	if (most == UINT64_MAX)
		return timed.machine.below->futex_wait(word, value, most, bits);
	enum coming coming = timed.coming;
	timed.sleeps++;
	timed.coming = NONE_COMES;
	if (coming == COMES)
		begin_call(&others[1], 2, true);
	if (coming == COMES_LAST)
		begin_held(&others[1], 2, true);
	if (coming == CLEARS && !pthread_create(&timed.clears, NULL, clear_error, NULL))
		pthread_join(timed.clears, NULL);
	if (coming == COMES)
		return timed.machine.below->futex_wait(word, value, UINT64_MAX, bits);
	timed.now += most;
	if (coming == COMES_LAST)
		hold_page(2, false);
	return -ETIMEDOUT;
}

static void start_timed(uint64_t turn)
{
	syncing_start(XFS_SUPER_MAGIC);
	timed.turn = turn;
	timed.sleeps = timed.at_once = 0;
	timed.coming = NONE_COMES;
	machine_put(&timed.machine, MACHINE(.now_ns = timed_now, .futex_wait = timed_futex_wait, .msync = timed_msync));
}

static void stop_timed(void)
{
	ck_assert_uint_eq(timed.at_once, 0);
	machine_remove(&timed.machine);
	syncing_stop();
}

/* The second is the candidate after the first, and expects it again. */
static void let_one_ask_after_another(int rc)
{
	begin_held(&first, 0, true);
	begin_call(&others[0], 1, true);
	wait_until_waiting(1);
	hold_page(0, false);
	ck_assert_int_eq(result_of(&first), 0);
	ck_assert_int_eq(result_of(&others[0]), rc);
}

/* The last that comes leads: no thread has to be woken before the turn begins. */
START_TEST(the_last_that_comes_leads)
{
	start_timed(100000);
	timed.coming = _i ? COMES_LAST : COMES;
	let_one_ask_after_another(0);
	ck_assert_int_eq(result_of(&others[1]), 0);
	ck_assert(pthread_equal(timed.wrote, others[1].thread));
	ck_assert_uint_eq(timed.sleeps, 1);
	ck_assert_uint_eq(kernel.syncs, 2);
	ck_assert_uint_eq(kernel.medium[0] + kernel.medium[1] + kernel.medium[2], 3);
	/* Two are expected, and one has gone. From then on the other is alone. */
	unsigned waits = fake_calls(FAKE_futex_wait), wakes = fake_calls(FAKE_futex_wake);
	uint64_t began = timed.now;
	for (unsigned i = 0; i < 10; i++) {
		++*counter(1);
		unit_ok(commit_page(1));
		ck_assert_uint_eq(timed.sleeps, 1 + 1);
	}
	ck_assert_uint_eq(fake_calls(FAKE_futex_wait), waits);
	ck_assert_uint_eq(fake_calls(FAKE_futex_wake), wakes);
	/* Twice as long as a turn: the last one took longer by what the candidate slept in its middle. */
	ck_assert_uint_eq(timed.now - began, 10 * timed.turn + (_i ? 400000 : 200000));
	stop_timed();
}
END_TEST

#define MANY 40u /* so that some share a bit */

/* However many wait, one call wakes the next candidate and one call those that it leads. */
START_TEST(a_turn_wakes_all_at_once)
{
	static struct caller many[MANY];
	unsigned count = _i ? MANY : 6;
	start_timed(100000);
	begin_held(&first, 0, true);
	for (unsigned i = 0; i < count; i++) {
		begin_call(&many[i], i + 1, true);
		wait_until_waiting(i + 1);
	}
	while (fake_calls(FAKE_futex_wait) < count)
		usleep(100);
	unsigned wakes = fake_calls(FAKE_futex_wake);
	hold_page(0, false);
	ck_assert_int_eq(result_of(&first), 0);
	for (unsigned i = 0; i < count; i++)
		ck_assert_int_eq(result_of(&many[i]), 0);
	ck_assert_uint_eq(fake_calls(FAKE_futex_wake) - wakes, 2);
	/* No thread that has a bit of its own is woken for another: it would sleep once more. */
	ck_assert(_i || fake_calls(FAKE_futex_wait) < 2 * count - 1);
	ck_assert_uint_eq(kernel.syncs, 2);
	stop_timed();
}
END_TEST

START_TEST(a_candidate_is_told_of_a_failure)
{
	start_timed(100000);
	timed.coming = _i ? COMES_LAST : COMES;
	kernel.fails_page = 2;
	let_one_ask_after_another(-EIO);
	ck_assert_int_eq(result_of(&others[1]), -EIO);
	kernel.fails_page = 0;
	unit_ok(pm_clear_error(syncing_mapping));
	unit_ok(commit_page(1));
	stop_timed();
}
END_TEST

/* A recovery does not wait for a candidate, which stays one. */
START_TEST(a_recovery_overtakes_a_candidate)
{
	void *rc;
	start_timed(100000);
	timed.coming = CLEARS;
	begin_held(&first, 0, true);
	begin_call(&others[0], 1, true);
	wait_until_waiting(1);
	pm_shared_file_fail(syncing_mapping->errors.shared, 0, -EIO);
	hold_page(0, false);
	ck_assert_int_eq(result_of(&first) | result_of(&others[0]), 0);
	ck_assert_uint_eq(timed.sleeps, 1);
	ck_assert_uint_eq(kernel.syncs, 3);
	ck_assert_int_eq(pthread_create(&timed.clears, NULL, clear_error, NULL), 0);
	pthread_join(timed.clears, &rc);
	ck_assert_ptr_null(rc);
	stop_timed();
}
END_TEST

/* After the first, third, seventh, 15th and 31st wait that ended too early. A turn of 10 ms is waited for 0.4 ms. */
START_TEST(waits_that_end_early_become_rare)
{
	start_timed(_i ? 10000000 : 100000);
	uint64_t began = timed.now;
	for (unsigned i = 0; i < 40; i++)
		let_one_ask_after_another(0);
	ck_assert_uint_eq(timed.sleeps, 5);
	ck_assert_uint_eq(timed.now - began, 80 * timed.turn + 5ull * (_i ? 400000 : 200000));
	/* The sixth, and the seventh, which is as long after it as any later one. */
	for (unsigned i = 40; i < 127; i++)
		let_one_ask_after_another(0);
	ck_assert_uint_eq(timed.sleeps, 7);
	for (unsigned i = 0; i < 64; i++)
		let_one_ask_after_another(0);
	ck_assert_uint_eq(timed.sleeps, 8);
	/* After one for which all came they are as frequent as at the start. */
	timed.coming = COMES;
	while (timed.coming)
		let_one_ask_after_another(0);
	ck_assert_int_eq(result_of(&others[1]), 0);
	timed.sleeps = 0;
	for (unsigned i = 0; i < 3; i++)
		let_one_ask_after_another(0);
	ck_assert_uint_eq(timed.sleeps, 2);
	stop_timed();
}
END_TEST

int main(void)
{
	TCase *c = unit_case("candidate");
	tcase_add_loop_test(c, the_last_that_comes_leads, 0, 2);
	tcase_add_loop_test(c, a_turn_wakes_all_at_once, 0, 2);
	tcase_add_loop_test(c, a_candidate_is_told_of_a_failure, 0, 2);
	tcase_add_test(c, a_recovery_overtakes_a_candidate);
	tcase_add_loop_test(c, waits_that_end_early_become_rare, 0, 2);
	return unit_run();
}

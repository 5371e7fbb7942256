/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads that look at one mapping in a loop do not keep another one from it. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mapping/mapping.h"
#include "unit.h"

#define WAITING 5u
#define MANY 3000u /* turns of one thread, where the other is to have had its own long since */

/* ---- The lock by itself ---- */

static struct pm_turns turns;
static atomic_uint order[WAITING], come;

/* Its own number is its place in the queue. */
static void *take_turn(void *arg)
{
	pm_turns_take(&turns);
	order[atomic_fetch_add(&come, 1)] = (unsigned)(uintptr_t)arg;
	pm_turns_give(&turns);
	return arg;
}

static void wait_for_waiting(unsigned wanted)
{
	for (unsigned found = 0; found < wanted; usleep(100)) {
		pthread_mutex_lock(&turns.lock);
		/* Only the last one has no next: the struct is that file's own, and begins with it. */
		void *const *at = (void *const *)turns.first;
		for (found = 0; at; at = *at)
			found++;
		pthread_mutex_unlock(&turns.lock);
	}
}

static void begin_waiting(pthread_t *threads, unsigned count)
{
	pm_turns_init(&turns);
	atomic_store(&come, 0);
	pm_turns_take(&turns);
	for (unsigned i = 0; i < count; i++) {
		ck_assert_int_eq(pthread_create(&threads[i], NULL, take_turn, (void *)(uintptr_t)i), 0);
		wait_for_waiting(i + 1);
	}
}

START_TEST(a_thread_is_overtaken_so_often_and_no_more)
{
	pthread_t threads[WAITING];
	unsigned overtaken = 0, count = (unsigned)_i + 1;
	begin_waiting(threads, count);
	for (; overtaken < MANY && atomic_load(&come) < count; overtaken++) {
		pm_turns_give(&turns);
		pm_turns_take(&turns);
	}
	pm_turns_give(&turns);
	for (unsigned i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_le(overtaken, count * (PM_TURNS_OVERTAKEN + 1));
	for (unsigned i = 0; i < count; i++)
		ck_assert_uint_eq(atomic_load(&order[i]), i);
	pm_turns_destroy(&turns);
}
END_TEST

/* Each thread is overtaken that often for itself, not for those before it. */
START_TEST(the_next_thread_is_overtaken_as_often)
{
	pthread_t waits;
	begin_waiting(&waits, 1);
	pthread_mutex_lock(&turns.lock);
	turns.overtaken = PM_TURNS_OVERTAKEN;
	pthread_mutex_unlock(&turns.lock);
	pm_turns_give(&turns);
	pthread_join(waits, NULL);
	ck_assert_uint_eq(turns.overtaken, 0);
	pm_turns_destroy(&turns);
}
END_TEST

START_TEST(what_does_not_wait_is_no_exception)
{
	pthread_t waits;
	unsigned taken = 0;
	begin_waiting(&waits, 1);
	ck_assert(!pm_turns_try(&turns));
	pm_turns_give(&turns);
	for (; taken < MANY && !atomic_load(&come); taken++)
		if (pm_turns_try(&turns))
			pm_turns_give(&turns);
		else
			usleep(100);
	pthread_join(waits, NULL);
	ck_assert_uint_lt(taken, MANY);
	ck_assert(pm_turns_try(&turns));
	pm_turns_give(&turns);
	pm_turns_destroy(&turns);
}
END_TEST

START_TEST(a_thread_that_waits_is_not_cancelled_there)
{
	pthread_t waits;
	begin_waiting(&waits, 1);
	pthread_cancel(waits);
	pm_turns_give(&turns);
	pthread_join(waits, NULL);
	ck_assert_uint_eq(atomic_load(&come), 1);
	ck_assert(pm_turns_try(&turns));
	pm_turns_give(&turns);
	pm_turns_destroy(&turns);
}
END_TEST

/* ---- A growth among queries ---- */

#define QUERYING 6u

static struct pm_mapping *m;
static _Thread_local bool is_resizing;
static atomic_int resizing; /* the thread's number; 0: it has not begun */
static atomic_uint queries;
static atomic_bool has_turn; /* or there were too many */

/* Whether the thread sleeps. On the fake machine that is in a lock alone. */
static bool sleeps(int thread)
{
	char path[64], text[512] = "";
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", thread);
	FILE *f = fopen(path, "r");
	unit_expect(f && fread(text, 1, sizeof(text) - 1, f));
	fclose(f);
	return strrchr(text, ')')[2] == 'S';
}

/* A query holds the lock until the growth waits for it. The growth makes its first call when it has the lock. */
static void at_call(enum fake_call call)
{
	(void)call;
	if (is_resizing)
		atomic_store(&has_turn, true);
	while (!atomic_load(&has_turn) && (!atomic_load(&resizing) || !sleeps(atomic_load(&resizing))))
		usleep(10);
}

static void *query(void *arg)
{
	struct pm_report report;
	while (!atomic_load(&has_turn)) {
		unit_ok(pm_query(m, &report, sizeof(report)));
		if (atomic_fetch_add(&queries, 1) == MANY)
			atomic_store(&has_turn, true);
	}
	return arg;
}

static void *grow(void *arg)
{
	is_resizing = true;
	atomic_store(&resizing, gettid());
	unit_ok(pm_resize(m, 20 * unit_page()));
	return arg;
}

START_TEST(a_growth_comes_after_so_many_queries)
{
	pthread_t threads[QUERYING + 1];
	fake_start(_i % 2 ? &fake_dax : &fake_plain);
	m = unit_map(unit_path("file"),
	             UNIT_OPTIONS(.flags = PM_CREATE, .length = 10 * unit_page(), .reserve = 100 * unit_page()));
	counting.hook = at_call;
	for (unsigned i = 0; i < QUERYING; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, query, NULL), 0);
	ck_assert_int_eq(pthread_create(&threads[QUERYING], NULL, grow, NULL), 0);
	for (unsigned i = 0; i <= QUERYING; i++)
		pthread_join(threads[i], NULL);
	counting.hook = NULL;
	/* It takes the lock twice; each time up to that many are before it. The last of each thread ends afterwards. */
	ck_assert_uint_le(atomic_load(&queries), 2 * (QUERYING + 1) * (PM_TURNS_OVERTAKEN + 1) + QUERYING);
	ck_assert_uint_eq(pm_length(m), 20 * unit_page());
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("turns");
	tcase_add_loop_test(c, a_thread_is_overtaken_so_often_and_no_more, 0, WAITING);
	tcase_add_test(c, the_next_thread_is_overtaken_as_often);
	tcase_add_test(c, what_does_not_wait_is_no_exception);
	tcase_add_test(c, a_thread_that_waits_is_not_cancelled_there);
	tcase_add_loop_test(c, a_growth_comes_after_so_many_queries, 0, 20);
	return unit_run();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Pages are given up beside calls of other threads, which may be at them. */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "syncing.h"
#include "unit.h"

#define PAGES 16u

static struct pm_mapping *m;
static const char *path;
static size_t page;
static char *base;
static atomic_bool walks, may_end, has_returned;

static void start(const struct fake_machine *machine)
{
	page = unit_page();
	path = unit_file("file", PAGES * page);
	fake_start(machine);
	fake.really_syncs = fake.recovers = true;
	m = unit_map(path, NULL);
	base = pm_base(m);
}

static atomic_bool is_over;

/* Of the first half. */
static void *persist_often(void *arg)
{
	unsigned seed = *(unsigned *)arg;
	while (!atomic_load(&is_over)) {
		size_t at = (seed = seed * 1103515245u + 12345u) / 65536u % (PAGES / 2);
		base[at * page + seed % 64] = 1;
		unit_expect(!pm_persist(m, base + at * page, page));
		unit_expect(!pm_sync(m));
		unit_expect(pm_find(base + at * page) == m);
	}
	return NULL;
}

/* Pages of the second half are given up, and unmapped, beside them. No access meets a page that is gone. */
START_TEST(beside_calls_of_other_threads)
{
	unsigned seeds[2] = {1, 2};
	pthread_t threads[2];
	start(_i ? &fake_dax : &fake_plain);
	atomic_store(&is_over, false);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, persist_often, &seeds[i]), 0);
	for (unsigned i = PAGES; i-- > PAGES / 2;) {
		unit_ok(pm_give_up(m, base + i * page, page));
		ck_assert_int_eq(munmap(base + i * page, page), 0);
	}
	atomic_store(&is_over, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	unit_ok(pm_unmap(m));
}
END_TEST

static void *give_up_one(void *arg)
{
	(void)arg;
	unit_expect(!pm_give_up(m, base + 5 * page, page));
	atomic_store(&has_returned, true);
	return NULL;
}

/* The walk of pm_sync() that is at them ends first. */
static void stand_still(const char *lines, size_t length)
{
	(void)lines;
	(void)length;
	atomic_store(&walks, true);
	while (!atomic_load(&may_end))
		usleep(1000);
}

static void *sync_once(void *arg)
{
	(void)arg;
	unit_expect(!pm_sync(m));
	return NULL;
}

static pthread_t giver;

static void start_giver(void)
{
	ck_assert_int_eq(pthread_create(&giver, NULL, give_up_one, NULL), 0);
	usleep(50000);
}

static void check_that_it_waits(void)
{
	ck_assert(!atomic_load(&has_returned));
	atomic_store(&may_end, true);
	pthread_mutex_lock(&kernel.lock);
	memset(kernel.held, 0, sizeof(kernel.held));
	pthread_cond_broadcast(&kernel.changed);
	pthread_mutex_unlock(&kernel.lock);
	pthread_join(giver, NULL);
	ck_assert(atomic_load(&has_returned));
}

START_TEST(a_walk_ends_before)
{
	pthread_t syncer;
	start(&fake_dax);
	fake.set_out = stand_still;
	ck_assert_int_eq(pthread_create(&syncer, NULL, sync_once, NULL), 0);
	while (!atomic_load(&walks))
		usleep(1000);
	start_giver();
	check_that_it_waits();
	pthread_join(syncer, NULL);
	fake.set_out = NULL;
	unit_ok(pm_unmap(m));
}
END_TEST

static void *commit_first(void *arg)
{
	(void)arg;
	*counter(0) = 1;
	unit_expect(!commit_page(0));
	return NULL;
}

/* And so does a write-back that begins after the drain: it may be about to sync them. */
START_TEST(a_write_back_ends_before)
{
	pthread_t syncer;
	syncing_start(syncing_systems[0]);
	m = syncing_mapping;
	base = pm_base(m);
	page = syncing_page;
	kernel.held[0] = true;
	pm_turns_take(&m->observed.turns);
	start_giver();
	ck_assert_int_eq(pthread_create(&syncer, NULL, commit_first, NULL), 0);
	for (bool reached = false; !reached; usleep(1000)) {
		pthread_mutex_lock(&kernel.lock);
		reached = kernel.reached[0];
		pthread_mutex_unlock(&kernel.lock);
	}
	pm_turns_give(&m->observed.turns);
	usleep(50000);
	check_that_it_waits();
	pthread_join(syncer, NULL);
	pm_sys->munmap(base + 5 * page, page);
	syncing_stop();
}
END_TEST

int main(void)
{
	TCase *t = unit_case("give_up_threads");
	tcase_add_loop_test(t, beside_calls_of_other_threads, 0, 2);
	tcase_add_test(t, a_walk_ends_before);
	tcase_add_test(t, a_write_back_ends_before);
	return unit_run();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Which thread leads, by itself: candidates whose time ends at any moment, requests that want to be alone, failures. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "durability/leader.h"
#include "durability/page.h"
#include "unit.h"

#define THREADS 8u
#define TURNS 3000u

struct asked {
	struct pm_page_request request; /* the first: a leader finds the rest by it */
	atomic_uint served;
};

static struct pm_writeback w;
static atomic_uint leaders, wrong, turns, requests;
static unsigned long longest; /* microseconds: the longest wait of a candidate, of a turn, between two requests */
static unsigned fails_one_in, alone_one_in; /* 0: none */

static unsigned random_of(unsigned *seed, unsigned long end)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return end ? (unsigned)(*seed % end) : 0;
}

static void pause_for(unsigned *seed)
{
	unsigned time = random_of(seed, longest);
	if (time > longest / 2)
		usleep(time);
}

/* Returns what the turn is told. */
static int serve(struct pm_page_request *led, unsigned *seed)
{
	wrong += atomic_fetch_add(&leaders, 1);
	wrong += led->wanted == PM_WANTED_ALONE && led->next;
	for (struct pm_page_request *r = led; r; r = r->next) {
		wrong += r != led && r->wanted == PM_WANTED_ALONE;
		((struct asked *)(void *)r)->served++;
		requests++;
	}
	turns++;
	pause_for(seed);
	atomic_store(&w.turn_took, random_of(seed, longest * 500));
	int rc = fails_one_in && !random_of(seed, fails_one_in) ? -EIO : 0;
	w.error = 0;
	leaders--;
	return rc;
}

static void *ask_again_and_again(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	for (unsigned i = 0; i < TURNS; i++) {
		struct asked asked = {.request.wanted = PM_WANTED_RANGES};
		if (alone_one_in && !random_of(&seed, alone_one_in))
			asked.request.wanted = PM_WANTED_ALONE;
		struct pm_page_request *led = pm_leader_ask(&w, &asked.request);
		wrong += led && led != &asked.request;
		if (led)
			pm_leader_end_turn(&w, led, serve(led, &seed));
		int rc = pm_leader_leave(&asked.request);
		/* One that only waited is told of a failure too. */
		wrong += asked.served != 1 && !(rc && !asked.served);
		if (i % 16 == 0)
			pause_for(&seed);
	}
	return NULL;
}

START_TEST(one_leads_at_a_time_and_each_is_served_once)
{
	pthread_t thread[THREADS];
	unsigned count = _i & 1 ? THREADS : 2;
	pm_page_init(&w);
	longest = _i & 2 ? 40 : 0;
	alone_one_in = _i & 4 ? 20 : 0;
	fails_one_in = _i & 8 ? 20 : 0;
	for (unsigned i = 0; i < count; i++) {
		void *seed = (void *)(uintptr_t)(unit_random() | 1);
		ck_assert_int_eq(pthread_create(&thread[i], NULL, ask_again_and_again, seed), 0);
	}
	for (unsigned i = 0; i < count; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(wrong, 0);
	ck_assert(!w.is_led && !w.waiting && !w.candidate);
	ck_assert_uint_eq(w.waiting_count, 0);
	ck_assert_uint_le(turns, requests);
	pm_page_destroy(&w);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("leader");
	tcase_add_loop_test(c, one_leads_at_a_time_and_each_is_served_once, 0, 16);
	return unit_run();
}

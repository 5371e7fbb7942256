/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The threads of the last turn are about to ask again. A leader that does not wait for them writes for half of them,
 * and the next leader for the other half. So the first thread that asks becomes the candidate, which sleeps until the
 * others have come. The thread that comes last takes the lead, and writes for the candidate too. No thread has to be
 * woken before the turn begins: where other programs want the CPUs, a woken thread may wait for milliseconds.
 *
 * Where only one other is expected, and the last turn's pages were far apart, the first starts the write of its own
 * before it sleeps: the disk works while the other thread wakes. It leads for as long as that takes. With three threads
 * and more the start costs more than it gains, since the kernel interrupts the CPUs of those that run (page.c).
 *
 * The oldest that waits at the end of a turn is the next candidate, for the same reason: a thread that asks before the
 * candidate runs may complete the turn, and lead it. A leader takes all that wait, up to a request that wants to be
 * alone. So no request is overtaken: it is served by the next turn, or by the one after a request that is alone.
 */
#include "durability/leader.h"
#include "sys/sys.h"

#define FEW 64u /* ranges: they are looked at with the lock held */
#define LONGEST_WAIT_NS 400000u
#define MOST_EARLY_TURNS 6u
#define MOST_STARTED ((size_t)64 << 10) /* bytes, by the first of two */

/* What a request that waits does next. It may be gone as soon as its order is to return. */
enum order {
	ORDER_NONE,
	ORDER_TO_GATHER, /* it is the candidate */
	ORDER_TO_LEAD,
	ORDER_TO_RETURN,
};

/* ---- With the lock held ---- */

/*
 * How long a candidate sleeps. A shorter sleep would end in the middle of the turn that another thread leads, and
 * disturb it.
 */
static uint64_t longest_wait_of(const struct pm_writeback *w)
{
	uint64_t two_turns = 2 * atomic_load_explicit(&w->turn_took, memory_order_relaxed);
	if (w->unwaited)
		return 0;
	return two_turns < LONGEST_WAIT_NS ? two_turns : LONGEST_WAIT_NS;
}

/* After a wait that ended too early some turns go without: 1, 3, 7 and so on up to 63. */
static void note_wait(struct pm_writeback *w, unsigned come)
{
	if (w->expected < 2)
		return;
	if (come >= w->expected) {
		w->early_turns = w->unwaited = 0;
	} else if (w->unwaited) {
		w->unwaited--;
	} else {
		w->early_turns = (unsigned char)(w->early_turns + (w->early_turns < MOST_EARLY_TURNS));
		w->unwaited = (unsigned char)((1u << w->early_turns) - 1);
	}
}

static void queue(struct pm_writeback *w, struct pm_page_request *self)
{
	*(w->waiting ? w->last : &w->waiting) = self;
	w->last = &self->next;
	w->waiting_count++;
	self->bit = 1u << w->next_bit++ % 32;
	atomic_store_explicit(&w->is_shared, true, memory_order_relaxed);
}

/* Takes those that wait, up to one that wants to be alone. */
static struct pm_page_request *take_waiting(struct pm_writeback *w, unsigned *count)
{
	struct pm_page_request *first = w->waiting, **end = &first;
	for (; *end && (*end)->wanted != PM_WANTED_ALONE; end = &(*end)->next)
		++*count;
	w->waiting = *end;
	*end = NULL;
	return first;
}

/* The thread leads itself and those that wait. A request that wants to be alone is led with no other. */
static struct pm_page_request *begin_turn(struct pm_writeback *w, struct pm_page_request *self)
{
	unsigned count = 0;
	w->candidate = NULL;
	w->is_led = true;
	if (self->wanted == PM_WANTED_ALONE)
		return self;
	self->next = take_waiting(w, &count);
	w->waiting_count -= count;
	note_wait(w, count + 1);
	w->expected = count + 1;
	return self;
}

/* The request is the first of those that wait. */
static struct pm_page_request *begin_own_turn(struct pm_writeback *w, struct pm_page_request *self)
{
	w->waiting = self->next;
	w->waiting_count--;
	self->next = NULL;
	return begin_turn(w, self);
}

static void make_candidate(struct pm_writeback *w, struct pm_page_request *oldest)
{
	w->is_led = true;
	w->candidate = oldest;
	oldest->longest_wait = longest_wait_of(w);
}

static bool may_lead_at_once(const struct pm_writeback *w, const struct pm_page_request *self)
{
	if (w->is_led && !w->candidate)
		return false;
	return self->wanted == PM_WANTED_ALONE || w->unwaited || w->waiting_count + 1 >= w->expected;
}

static bool is_small_commit(const struct pm_page_request *r, size_t most)
{
	size_t length = 0;
	if (r->wanted != PM_WANTED_RANGES || r->count > FEW)
		return false;
	for (size_t i = 0; i < r->count && length <= most; i++)
		length += r->ranges[i].length;
	return length <= most;
}

/* See the head of this file. Of two that store to one page the first would have it written twice. */
static bool may_start(const struct pm_writeback *w, const struct pm_page_request *self)
{
	return !w->is_led && w->expected == 2 && w->is_scattered && !self->is_exact &&
	       is_small_commit(self, MOST_STARTED);
}

/* ---- A thread that asks ---- */

static void sleep_until_ordered(struct pm_writeback *w, struct pm_page_request *self, uint64_t most)
{
	uint64_t began = most == UINT64_MAX ? 0 : pm_sys->now_ns(), passed = 0;
	for (;;) {
		/* Read before the order: the leader counts up after it has given one. */
		uint32_t seen = atomic_load(&w->wakeups);
		if (atomic_load(&self->order) || passed >= most)
			return;
		pm_sys->futex_wait(&w->wakeups, seen, most == UINT64_MAX ? most : most - passed, self->bit);
		passed = most == UINT64_MAX ? 0 : pm_sys->now_ns() - began;
	}
}

/* NULL: another thread leads. */
static struct pm_page_request *sleep_as_candidate(struct pm_writeback *w, struct pm_page_request *self)
{
	struct pm_page_request *led = NULL;
	sleep_until_ordered(w, self, self->longest_wait);
	pthread_mutex_lock(&w->lock);
	if (w->candidate == self)
		led = begin_own_turn(w, self);
	pthread_mutex_unlock(&w->lock);
	return led;
}

static struct pm_page_request *lead_as_ordered(struct pm_writeback *w, struct pm_page_request *self)
{
	pthread_mutex_lock(&w->lock);
	struct pm_page_request *led = begin_own_turn(w, self);
	pthread_mutex_unlock(&w->lock);
	return led;
}

static struct pm_page_request *wait_for_lead(struct pm_writeback *w, struct pm_page_request *self, bool gathers)
{
	uint64_t began = pm_sys->now_ns();
	struct pm_page_request *led = gathers ? sleep_as_candidate(w, self) : NULL;
	uint32_t order = ORDER_NONE;
	while (!led && order != ORDER_TO_RETURN) {
		sleep_until_ordered(w, self, UINT64_MAX);
		order = ORDER_TO_GATHER;
		if (atomic_compare_exchange_strong(&self->order, &order, ORDER_NONE))
			led = sleep_as_candidate(w, self);
		else if (order == ORDER_TO_LEAD)
			led = lead_as_ordered(w, self);
	}
	self->waited += pm_sys->now_ns() - began;
	return led;
}

struct pm_page_request *pm_leader_ask(struct pm_writeback *w, struct pm_page_request *self)
{
	struct pm_page_request *led = NULL;
	bool gathers = false;
	self->next = NULL;
	atomic_init(&self->order, ORDER_NONE);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &self->cancel_state);
	pthread_mutex_lock(&w->lock);
	if (may_lead_at_once(w, self)) {
		led = begin_turn(w, self);
	} else if (may_start(w, self)) {
		self->starts = w->is_led = true;
		led = self;
	} else {
		gathers = !w->is_led;
		queue(w, self);
		if (gathers)
			make_candidate(w, self);
	}
	pthread_mutex_unlock(&w->lock);
	return led ? led : wait_for_lead(w, self, gathers);
}

struct pm_page_request *pm_leader_gather(struct pm_writeback *w, struct pm_page_request *self)
{
	struct pm_page_request *led = NULL;
	pthread_mutex_lock(&w->lock);
	self->starts = false;
	if (w->waiting) {
		led = begin_turn(w, self);
	} else {
		queue(w, self);
		make_candidate(w, self);
	}
	pthread_mutex_unlock(&w->lock);
	return led ? led : wait_for_lead(w, self, true);
}

/* ---- The end of a turn ---- */

static bool is_led_by_others(const struct pm_page_request *r, size_t most)
{
	(void)most;
	return r->wanted != PM_WANTED_ALONE;
}

/* With the lock held. */
static struct pm_page_request *take_those(struct pm_writeback *w,
                                          bool (*wanted)(const struct pm_page_request *, size_t), size_t most)
{
	struct pm_page_request *taken = NULL, **at = &w->waiting, **end = &taken;
	while (*at) {
		struct pm_page_request *one = *at;
		if (!wanted(one, most)) {
			at = &one->next;
			continue;
		}
		*at = one->next;
		one->next = NULL;
		w->waiting_count--;
		*end = one;
		end = &one->next;
	}
	w->last = at;
	return taken;
}

struct pm_page_request *pm_leader_take_commits(struct pm_writeback *w, size_t most)
{
	pthread_mutex_lock(&w->lock);
	struct pm_page_request *commits = take_those(w, is_small_commit, most);
	pthread_mutex_unlock(&w->lock);
	return commits;
}

/* Wakes the threads that have an order. One that shares a bit with them is woken for nothing, and sleeps again. */
static void wake(struct pm_writeback *w, uint32_t bits)
{
	if (!bits)
		return;
	atomic_fetch_add(&w->wakeups, 1);
	pm_sys->futex_wake(&w->wakeups, bits);
}

/* One call wakes them all. The first thread that is woken may take the leader's CPU, and would delay further calls. */
void pm_leader_finish_each(struct pm_writeback *w, struct pm_page_request *served, int rc)
{
	uint32_t bits = 0;
	while (served) {
		struct pm_page_request *one = served;
		served = one->next;
		bits |= one->bit;
		one->rc = rc;
		atomic_store(&one->order, ORDER_TO_RETURN);
	}
	wake(w, bits);
}

/*
 * With the lock held. The order comes before another thread can take the lead: that one may serve it, and then it is
 * gone. Returns its bit; 0: none waits.
 */
static uint32_t order_next(struct pm_writeback *w)
{
	struct pm_page_request *next = w->waiting;
	w->is_led = next;
	if (!next)
		return 0;
	uint32_t bit = next->bit;
	bool alone = next->wanted == PM_WANTED_ALONE;
	if (!alone)
		make_candidate(w, next);
	atomic_store(&next->order, alone ? ORDER_TO_LEAD : ORDER_TO_GATHER);
	return bit;
}

/* The next leader is woken first, so that the device need not wait. */
void pm_leader_end_turn(struct pm_writeback *w, struct pm_page_request *led, int rc)
{
	struct pm_page_request *failed = NULL;
	pthread_mutex_lock(&w->lock);
	if (rc) {
		w->error = w->error ? w->error : rc;
		failed = take_those(w, is_led_by_others, 0);
	}
	w->expected += w->waiting_count;
	uint32_t next = order_next(w);
	pthread_mutex_unlock(&w->lock);
	wake(w, next);
	pm_leader_finish_each(w, led->next, rc);
	pm_leader_finish_each(w, failed, rc);
	led->rc = rc;
}

int pm_leader_leave(struct pm_page_request *self)
{
	pthread_setcancelstate(self->cancel_state, NULL);
	return self->rc;
}

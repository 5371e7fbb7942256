/* SPDX-License-Identifier: BSD-3-Clause */
#include <stddef.h>

#include "durability/tickets.h"

void pm_tickets_init(struct pm_tickets *t)
{
	*t = (struct pm_tickets){.error = 0};
	pthread_mutex_init(&t->lock, NULL);
}

void pm_tickets_destroy(struct pm_tickets *t)
{
	pthread_mutex_destroy(&t->lock);
}

void pm_tickets_lock(struct pm_tickets *t, struct pm_drain_ticket *self)
{
	*self = (struct pm_drain_ticket){.woken_cond = PTHREAD_COND_INITIALIZER};
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &self->cancel_state);
	pthread_mutex_lock(&t->lock);
}

void pm_tickets_unlock(struct pm_tickets *t, struct pm_drain_ticket *self)
{
	pthread_mutex_unlock(&t->lock);
	pthread_setcancelstate(self->cancel_state, NULL);
}

static void append_ticket(struct pm_drain_ticket **at, struct pm_drain_ticket *self)
{
	while (*at)
		at = &(*at)->next;
	self->next = NULL;
	*at = self;
}

static void sleep_in(struct pm_drain_ticket **list, struct pm_tickets *t, struct pm_drain_ticket *self)
{
	self->woken = false;
	append_ticket(list, self);
	while (!self->woken)
		pthread_cond_wait(&self->woken_cond, &t->lock);
}

static void wake_first(struct pm_drain_ticket **at)
{
	struct pm_drain_ticket *sleeper = *at;
	*at = sleeper->next;
	sleeper->woken = true;
	pthread_cond_signal(&sleeper->woken_cond);
}

static void wait_for_recovery(struct pm_tickets *t, struct pm_drain_ticket *self)
{
	while (t->recovering)
		sleep_in(&t->blocked, t, self);
}

void pm_tickets_number(struct pm_tickets *t, struct pm_drain_ticket *self)
{
	self->number = ++t->started;
}

void pm_tickets_call(struct pm_tickets *t, struct pm_drain_ticket *self)
{
	self->call = ++t->called;
	wait_for_recovery(t, self);
	pm_tickets_number(t, self);
}

void pm_tickets_follow(struct pm_tickets *t, struct pm_drain_ticket *self)
{
	self->last = t->started;
}

void pm_tickets_begin(struct pm_tickets *t, struct pm_drain_ticket *self)
{
	append_ticket(&t->writing, self);
}

void pm_tickets_latch(struct pm_tickets *t, int rc)
{
	if (!rc)
		return;
	t->error = t->error ? t->error : rc;
	t->failed = t->called;
	t->failure = rc;
}

/* Each sleeper is woken once, by the last drain it waits for: waking more costs more than the calls. */
void pm_tickets_end(struct pm_tickets *t, struct pm_drain_ticket *self, int rc)
{
	struct pm_drain_ticket **at = &t->writing;
	pm_tickets_latch(t, rc);
	while (*at != self)
		at = &(*at)->next;
	*at = self->next;
	for (at = &t->waiting; *at;) {
		if (!t->writing || t->writing->number > (*at)->last)
			wake_first(at);
		else
			at = &(*at)->next;
	}
}

void pm_tickets_wait(struct pm_tickets *t, struct pm_drain_ticket *self)
{
	if (!self->covered)
		pm_tickets_follow(t, self);
	if (t->writing && t->writing->number <= self->last)
		sleep_in(&t->waiting, t, self);
}

int pm_tickets_result(const struct pm_tickets *t, const struct pm_drain_ticket *self)
{
	return t->error ? t->error : t->failed >= self->call ? t->failure : 0;
}

void pm_tickets_begin_recovery(struct pm_tickets *t, struct pm_drain_ticket *self)
{
	wait_for_recovery(t, self);
	t->recovering = true;
	pm_tickets_wait(t, self);
}

void pm_tickets_end_recovery(struct pm_tickets *t)
{
	t->recovering = false;
	while (t->blocked)
		wake_first(&t->blocked);
}

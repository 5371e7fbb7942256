/* SPDX-License-Identifier: BSD-3-Clause */
#include <semaphore.h>
#include <stddef.h>

#include "observe/turns.h"

/* A thread that waits, on its stack. */
struct pm_turn {
	struct pm_turn *next;
	sem_t woken;
};

void pm_turns_init(struct pm_turns *t)
{
	*t = (struct pm_turns){.overtaken = 0};
	pthread_mutex_init(&t->lock, NULL);
}

void pm_turns_destroy(struct pm_turns *t)
{
	pthread_mutex_destroy(&t->lock);
}

/* With the lock held. */
static bool may_take(const struct pm_turns *t)
{
	return !t->is_taken && (!t->first || t->overtaken < PM_TURNS_OVERTAKEN);
}

static void take(struct pm_turns *t)
{
	t->overtaken = (unsigned char)(t->overtaken + (t->first != NULL));
	t->is_taken = true;
	atomic_fetch_add(&t->count, 1);
}

/* With the lock held, which it releases meanwhile. Only the first is woken, and so takes it as soon as it is free. */
static void wait_and_take(struct pm_turns *t)
{
	struct pm_turn self = {.next = NULL};
	int cancel_state;
	sem_init(&self.woken, 0, 0);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	*(t->first ? t->last : &t->first) = &self;
	t->last = &self.next;
	do {
		pthread_mutex_unlock(&t->lock);
		while (sem_wait(&self.woken))
			; /* a signal */
		pthread_mutex_lock(&t->lock);
	} while (t->is_taken);
	t->first = self.next;
	t->overtaken = 0;
	t->is_taken = true;
	atomic_fetch_add(&t->count, 1);
	sem_destroy(&self.woken);
	pthread_setcancelstate(cancel_state, NULL);
}

void pm_turns_take(struct pm_turns *t)
{
	pthread_mutex_lock(&t->lock);
	if (may_take(t))
		take(t);
	else
		wait_and_take(t);
	pthread_mutex_unlock(&t->lock);
}

bool pm_turns_try(struct pm_turns *t)
{
	pthread_mutex_lock(&t->lock);
	bool may = may_take(t);
	if (may)
		take(t);
	pthread_mutex_unlock(&t->lock);
	return may;
}

void pm_turns_give(struct pm_turns *t)
{
	pthread_mutex_lock(&t->lock);
	t->is_taken = false;
	if (t->first)
		sem_post(&t->first->woken);
	pthread_mutex_unlock(&t->lock);
}

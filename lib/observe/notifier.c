/* SPDX-License-Identifier: BSD-3-Clause */
#include "observe/notifier.h"
#include "sys/sys.h"

static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER; /* held while the thread starts or ends; taken before: */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t woken_cond = PTHREAD_COND_INITIALIZER, notified_cond = PTHREAD_COND_INITIALIZER;
static struct pm_notified *members, *current; /* current: its handler runs */
static bool has_work, must_end, is_running;
static pthread_t thread;

/*
 * With the lock held, which it gives up while a handler runs. The list may change meanwhile, but does not lose current.
 */
static bool notify_one(void)
{
	for (struct pm_notified *n = members; n; n = n->next) {
		current = n;
		pthread_mutex_unlock(&lock);
		bool found = pm_events_notify(n->queue);
		pthread_mutex_lock(&lock);
		current = NULL;
		pthread_cond_broadcast(&notified_cond);
		if (found)
			return true;
	}
	return false;
}

static void *notify(void *arg)
{
	pthread_mutex_lock(&lock);
	while (!must_end) {
		if (!has_work) {
			pthread_cond_wait(&woken_cond, &lock);
			continue;
		}
		has_work = false;
		while (notify_one())
			;
	}
	pthread_mutex_unlock(&lock);
	return arg;
}

int pm_notifier_join(struct pm_notified *n, struct pm_event_queue *queue)
{
	pthread_mutex_lock(&life);
	int rc = is_running ? 0 : pm_thread_start(&thread, notify, NULL);
	is_running = !rc;
	if (!rc) {
		pthread_mutex_lock(&lock);
		n->queue = queue;
		n->next = members;
		n->at = &members;
		if (n->next)
			n->next->at = &n->next;
		members = n;
		pthread_mutex_unlock(&lock);
	}
	pthread_mutex_unlock(&life);
	return rc;
}

void pm_notifier_wake(void)
{
	pthread_mutex_lock(&lock);
	has_work = true;
	pthread_cond_signal(&woken_cond);
	pthread_mutex_unlock(&lock);
}

/* A handler may unmap another mapping: the notifier thread does not wait for itself then. */
static void take_out_member(struct pm_notified *n)
{
	pthread_mutex_lock(&lock);
	while (current == n)
		pthread_cond_wait(&notified_cond, &lock);
	*n->at = n->next;
	if (n->next)
		n->next->at = n->at;
	pthread_mutex_unlock(&lock);
}

static void end_thread_if_unused(void)
{
	pthread_mutex_lock(&life);
	pthread_mutex_lock(&lock);
	must_end = is_running && !members;
	pthread_cond_signal(&woken_cond);
	pthread_mutex_unlock(&lock);
	if (must_end) {
		pthread_join(thread, NULL);
		must_end = has_work = is_running = false;
	}
	pthread_mutex_unlock(&life);
}

void pm_notifier_leave(struct pm_notified *n)
{
	if (!n->queue)
		return;
	take_out_member(n);
	end_thread_if_unused();
	while (pm_events_notify(n->queue))
		;
	n->queue = NULL;
}

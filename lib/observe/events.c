/* SPDX-License-Identifier: BSD-3-Clause */
/* Events: collected while something is looked at, queued for pm_next_event(), sent to whoever asked for them. */
#include <errno.h>
#include <stdlib.h>

#include "mapping/mapping.h"

struct pm_queue {
	struct pm_queue *next;
	struct pm_event event;
};

/* One that was not taken yet and is of the same kind and reason comes to cover both. */
static bool merge(struct pm_queue *q, const struct pm_event *event)
{
	for (; q; q = q->next) {
		struct pm_event *old = &q->event;
		if (old->kind != event->kind || old->reason != event->reason)
			continue;
		uint64_t end = old->offset + old->length, new_end = event->offset + event->length;
		if (event->offset < old->offset)
			old->offset = event->offset;
		old->length = (end > new_end ? end : new_end) - old->offset;
		old->error = event->error;
		old->new_granularity = event->new_granularity;
		old->sync = event->sync;
		old->direct = event->direct;
		return true;
	}
	return false;
}

/* false: there is no memory. */
static bool append(struct pm_queue **last, const struct pm_event *event)
{
	if (merge(*last, event))
		return true;
	struct pm_queue *q = malloc(sizeof(*q));
	if (!q)
		return false;
	q->next = NULL;
	q->event = *event;
	while (*last)
		last = &(*last)->next;
	*last = q;
	return true;
}

/* What was in force; what is from now on is the same until it is said otherwise. With the lock held. */
static struct pm_event as_it_is(const struct pm_mapping *m)
{
	return (struct pm_event){.size = sizeof(struct pm_event), .offset = m->offset, .length = m->length,
	                         .old_granularity = atomic_load(&m->granularity), .old_sync = m->decision.sync,
	                         .old_direct = m->decision.direct};
}

static void complete(struct pm_event *event, const struct pm_mapping *m)
{
	event->new_granularity = atomic_load(&m->granularity);
	event->sync = m->decision.sync;
	event->direct = m->decision.direct;
}

static void from_the_start(struct pm_event *event, enum pm_reason reason)
{
	event->kind = PM_EVENT_DEMOTED;
	event->reason = reason;
	event->old_granularity = PM_GRANULARITY_UNKNOWN;
	event->old_sync = event->old_direct = PM_UNKNOWN;
}

/* With the lock held: makes the event that was put off. */
static void make_up(struct pm_mapping *m)
{
	if (!m->fell_back)
		return;
	struct pm_event event = as_it_is(m);
	from_the_start(&event, m->fell_back);
	complete(&event, m);
	if (append(&m->events, &event))
		m->fell_back = PM_REASON_NONE;
}

void pm_news_begin(struct pm_news *news, struct pm_mapping *m)
{
	news->count = 0;
	pthread_mutex_lock(&m->lock);
	make_up(m);
	news->old = as_it_is(m);
	pthread_mutex_unlock(&m->lock);
}

struct pm_event *pm_news_add(struct pm_news *news, enum pm_event_kind kind, enum pm_reason reason)
{
	/* There is room for every kind; each is added at most once in a look. */
	struct pm_event *event = &news->event[news->count < 16 ? news->count++ : 15];
	*event = news->old;
	event->kind = kind;
	event->reason = reason;
	return event;
}

void pm_news_fell_back(struct pm_mapping *m, enum pm_reason reason)
{
	struct pm_news news;
	/* Nobody listens: there is time until an event is asked for, or another follows. */
	if (!m->on_event && m->watch.sources < 0) {
		m->fell_back = reason;
		return;
	}
	pm_news_begin(&news, m);
	from_the_start(pm_news_add(&news, PM_EVENT_DEMOTED, reason), reason);
	pm_news_tell(m, &news);
}

static bool take(struct pm_queue **first, struct pm_event *event)
{
	struct pm_queue *q = *first;
	if (!q)
		return false;
	*first = q->next;
	*event = q->event;
	free(q);
	return true;
}

static void forget(struct pm_queue *q)
{
	for (struct pm_queue *next; q; q = next) {
		next = q->next;
		free(q);
	}
}

void pm_news_tell(struct pm_mapping *m, struct pm_news *news)
{
	for (unsigned i = 0; i < news->count; i++) {
		struct pm_event *event = &news->event[i];
		pthread_mutex_lock(&m->lock);
		/* In the library's own thread there is no call of the application. */
		bool own = m->watch.running && pthread_equal(pthread_self(), m->watch.thread);
		if (!own && (m->on_event || m->watch.sources >= 0)) {
			/* Somebody listens; to walk the stack takes its time. */
			pthread_mutex_unlock(&m->lock);
			event->frames = pm_libunwind_call_site(event->frame, PM_EVENT_FRAMES, event->where, sizeof(event->where));
			pthread_mutex_lock(&m->lock);
		}
		complete(event, m);
		bool queued = append(&m->events, event), deferred = own && m->on_event && append(&m->untold, event);
		if (queued)
			pm_watch_signal(m, true);
		if (deferred)
			pthread_cond_signal(&m->to_tell);
		pthread_mutex_unlock(&m->lock);
		if (m->on_event && !deferred)
			m->on_event(m, event, m->event_arg);
	}
	news->count = 0;
}

int pm_events_take(struct pm_mapping *m, struct pm_event *event)
{
	pthread_mutex_lock(&m->lock);
	make_up(m);
	bool taken = take(&m->events, event);
	if (!m->events)
		pm_watch_signal(m, false);
	pthread_mutex_unlock(&m->lock);
	return taken ? 0 : -EAGAIN;
}

bool pm_events_any(struct pm_mapping *m)
{
	make_up(m);
	return m->events;
}

bool pm_events_wait(struct pm_mapping *m, struct pm_event *event)
{
	pthread_mutex_lock(&m->lock);
	while (!m->untold && !m->all_told)
		pthread_cond_wait(&m->to_tell, &m->lock);
	bool taken = take(&m->untold, event);
	pthread_mutex_unlock(&m->lock);
	return taken;
}

void pm_events_end(struct pm_mapping *m)
{
	pthread_mutex_lock(&m->lock);
	m->all_told = true;
	pthread_cond_signal(&m->to_tell);
	pthread_mutex_unlock(&m->lock);
}

void pm_events_forget(struct pm_mapping *m)
{
	forget(m->events);
	forget(m->untold);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Events: collected while something is looked at, queued for pm_next_event(), sent to whoever asked for them. */
#include <errno.h>
#include <stdlib.h>

#include "mapping.h"

struct pm_queue {
	struct pm_queue *next;
	struct pm_event event;
};

void pm_news_begin(struct pm_news *news, struct pm_mapping *m)
{
	news->count = 0;
	pthread_mutex_lock(&m->lock);
	news->old = (struct pm_event){
		.size = sizeof(news->old), .offset = m->offset, .length = m->length, .old_granularity = atomic_load(&m->granularity),
		.old_sync = m->decision.sync, .old_direct = m->decision.direct};
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

static void enqueue(struct pm_mapping *m, const struct pm_event *event)
{
	if (merge(m->events, event))
		return;
	struct pm_queue **last = &m->events, *q = malloc(sizeof(*q));
	if (!q)
		return;
	q->next = NULL;
	q->event = *event;
	while (*last)
		last = &(*last)->next;
	*last = q;
	pm_watch_signal(m, true);
}

void pm_news_tell(struct pm_mapping *m, struct pm_news *news)
{
	for (unsigned i = 0; i < news->count; i++) {
		struct pm_event *event = &news->event[i];
		pthread_mutex_lock(&m->lock);
		/* In the library's own thread there is no call of the application. */
		bool own = m->watch.running && pthread_equal(pthread_self(), m->watch.thread);
		bool somebody_listens = !own && (m->on_event || m->watch.sources >= 0);
		pthread_mutex_unlock(&m->lock);
		if (somebody_listens)
			event->frames = pm_libunwind_call_site(event->frame, PM_EVENT_FRAMES, event->where, sizeof(event->where));
		pthread_mutex_lock(&m->lock);
		event->new_granularity = atomic_load(&m->granularity);
		event->sync = m->decision.sync;
		event->direct = m->decision.direct;
		enqueue(m, event);
		pthread_mutex_unlock(&m->lock);
		if (m->on_event)
			m->on_event(m, event, m->event_arg);
	}
	news->count = 0;
}

int pm_events_take(struct pm_mapping *m, struct pm_event *event)
{
	pthread_mutex_lock(&m->lock);
	struct pm_queue *q = m->events;
	if (q) {
		m->events = q->next;
		*event = q->event;
		free(q);
	}
	if (!m->events)
		pm_watch_signal(m, false);
	pthread_mutex_unlock(&m->lock);
	return q ? 0 : -EAGAIN;
}

void pm_events_forget(struct pm_mapping *m)
{
	for (struct pm_queue *q = m->events, *next; q; q = next) {
		next = q->next;
		free(q);
	}
}

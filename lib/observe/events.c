/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "observe/events.h"
#include "observe/log.h"
#include "providers/providers.h"
#include "sys/sys.h"

struct pm_event_node {
	struct pm_event_node *next;
	unsigned look;         /* the number of the look that found it */
	struct pm_event event; /* as far as kept_size() says */
};

/* An event without a call site is kept without the room for one: a mapping whose hint was not met has such an event. */
static size_t kept_size(const struct pm_event *event)
{
	return event->frames ? sizeof(*event) : offsetof(struct pm_event, frame);
}

/* ---- Lists ---- */

static void merge(struct pm_event *old, const struct pm_event *event)
{
	uint64_t end = old->offset + old->length, new_end = event->offset + event->length;
	if (event->offset < old->offset)
		old->offset = event->offset;
	old->length = (end > new_end ? end : new_end) - old->offset;
	old->error = event->error;
	old->new_granularity = event->new_granularity;
	old->sync = event->sync;
	old->direct = event->direct;
}

/* Takes out the event of the same kind and reason, grown to cover both; else a new one. NULL: out of memory. */
static struct pm_event_node *take_merged(struct pm_event_node **at, const struct pm_event *event)
{
	while (*at && ((*at)->event.kind != event->kind || (*at)->event.reason != event->reason))
		at = &(*at)->next;
	struct pm_event_node *node = *at;
	if (node) {
		*at = node->next;
		merge(&node->event, event);
		return node;
	}
	size_t kept = kept_size(event);
	node = malloc(offsetof(struct pm_event_node, event) + kept);
	if (node)
		memcpy(&node->event, event, kept);
	return node;
}

/*
 * Into the place of its look: so the last event says what is in force, whichever thread published first. false: out of
 * memory.
 */
static bool add_event(struct pm_event_node **at, const struct pm_event *event, unsigned look)
{
	struct pm_event_node *node = take_merged(at, event);
	if (!node)
		return false;
	while (*at && (int)((*at)->look - look) <= 0)
		at = &(*at)->next;
	node->look = look;
	node->next = *at;
	*at = node;
	return true;
}

static bool pop(struct pm_event_node **first, struct pm_event *event)
{
	struct pm_event_node *node = *first;
	if (!node)
		return false;
	*first = node->next;
	size_t kept = kept_size(&node->event);
	memcpy(event, &node->event, kept);
	memset((char *)event + kept, 0, sizeof(*event) - kept);
	free(node);
	return true;
}

/* ---- Queue ---- */

void pm_events_init(struct pm_event_queue *queue, pm_event_fn *handler, void *arg, struct pm_mapping *mapping,
                    const char *name)
{
	*queue = (struct pm_event_queue){
		.has_listener = handler, .fd = -1, .handler = handler, .arg = arg, .mapping = mapping,
		.name = name};
	pthread_mutex_init(&queue->lock, NULL);
}

/* Makes the descriptor readable, or not. */
static void set_readable(struct pm_event_queue *queue, bool is_readable)
{
	uint64_t one = 1;
	if (queue->fd < 0 || !pm_is_kept(&queue->kept))
		return;
	if (is_readable)
		pm_sys->write(queue->fd, &one, sizeof(one));
	else
		PM_RETRY(pm_sys->read(queue->fd, &one, sizeof(one)));
}

static bool has_some(const struct pm_event_queue *queue)
{
	return queue->pending || queue->has_lost;
}

static int make_fd(struct pm_event_queue *queue)
{
	int fd = PM_RETRY(pm_sys->eventfd());
	if (fd < 0)
		return fd;
	queue->fd = pm_keep(&queue->kept, fd);
	queue->has_listener = true;
	if (has_some(queue))
		set_readable(queue, true);
	return fd;
}

int pm_events_fd(struct pm_event_queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	int fd = queue->fd < 0 ? make_fd(queue) : pm_is_kept(&queue->kept) ? queue->fd : -EBADF;
	pthread_mutex_unlock(&queue->lock);
	return fd;
}

void pm_events_close_fd(struct pm_event_queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	pm_kept_close(&queue->kept);
	queue->fd = -1;
	pthread_mutex_unlock(&queue->lock);
}

void pm_events_destroy(struct pm_event_queue *queue)
{
	struct pm_event event;
	while (pop(&queue->pending, &event) || pop(&queue->deferred, &event))
		;
	pm_events_close_fd(queue);
	pthread_mutex_destroy(&queue->lock);
}

bool pm_events_add(struct pm_event_queue *queue, struct pm_event *event, unsigned look, bool is_deferred)
{
	/* The watcher thread has no call of the application on its stack. */
	if (queue->has_listener && !is_deferred)
		event->frames =
			pm_libunwind_call_site(event->frame, PM_EVENT_FRAMES, event->where, sizeof(event->where));
	pm_log_event(queue->name, event);
	pthread_mutex_lock(&queue->lock);
	queue->has_lost |= !add_event(&queue->pending, event, look);
	set_readable(queue, true);
	bool waits = is_deferred && queue->handler && add_event(&queue->deferred, event, look);
	pthread_mutex_unlock(&queue->lock);
	if (queue->handler && !waits)
		queue->handler(queue->mapping, event, queue->arg);
	return waits;
}

int pm_events_take(struct pm_event_queue *queue, struct pm_event *event)
{
	pthread_mutex_lock(&queue->lock);
	bool taken = pop(&queue->pending, event), was_lost = !taken && queue->has_lost;
	queue->has_lost &= !was_lost;
	if (!has_some(queue))
		set_readable(queue, false);
	pthread_mutex_unlock(&queue->lock);
	return taken ? 0 : was_lost ? -ENOMEM : -EAGAIN;
}

bool pm_events_notify(struct pm_event_queue *queue)
{
	struct pm_event event;
	pthread_mutex_lock(&queue->lock);
	bool taken = pop(&queue->deferred, &event);
	pthread_mutex_unlock(&queue->lock);
	if (taken)
		queue->handler(queue->mapping, &event, queue->arg);
	return taken;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "observe/sources.h"
#include "sys/sys.h"

#define ANNOUNCED                                                                                                      \
	(IN_MODIFY | IN_ATTRIB | IN_OPEN | IN_CLOSE_WRITE | IN_CLOSE_NOWRITE | IN_DELETE_SELF | IN_MOVE_SELF |         \
	 IN_UNMOUNT)

/* ---- An instance ---- */

struct pm_inotify *pm_inotify_open(void (*on_arrival)(void), int *error)
{
	struct pm_inotify *inotify = malloc(sizeof(*inotify));
	int fd = inotify ? PM_RETRY(pm_sys->inotify()) : -ENOMEM;
	*error = fd < 0 ? -fd : 0;
	if (fd < 0) {
		free(inotify);
		return NULL;
	}
	*inotify = (struct pm_inotify){.on_arrival = on_arrival};
	inotify->fd = pm_keep(&inotify->kept, fd);
	pthread_mutex_init(&inotify->lock, NULL);
	return inotify;
}

/* Unlocks it; after its owner has given it up, the last user frees it. */
static void release_inotify(struct pm_inotify *inotify)
{
	bool is_used = inotify->count || !inotify->is_given_up;
	pthread_mutex_unlock(&inotify->lock);
	if (is_used)
		return;
	pm_kept_close(&inotify->kept);
	pthread_mutex_destroy(&inotify->lock);
	free(inotify);
}

void pm_inotify_give_up(struct pm_inotify *inotify)
{
	pthread_mutex_lock(&inotify->lock);
	inotify->is_given_up = true;
	release_inotify(inotify);
}

static struct pm_sources **bucket_of(struct pm_inotify *inotify, int watch)
{
	return &inotify->users[(unsigned)watch % PM_SOURCES_BUCKETS];
}

/* With the lock held. */
static void put_arrived(struct pm_inotify *inotify, struct pm_sources *s, uint32_t mask)
{
	inotify->arrived += mask && !atomic_fetch_or(&s->arrived, mask);
}

static void put_overflow(struct pm_inotify *inotify)
{
	for (unsigned i = 0; i < PM_SOURCES_BUCKETS; i++)
		for (struct pm_sources *s = inotify->users[i]; s; s = s->next)
			put_arrived(inotify, s, ANNOUNCED);
}

/* Of an overflow it is not known what was lost: anything may have happened to any file. */
static void distribute(struct pm_inotify *inotify, const struct inotify_event *event)
{
	if (event->mask & IN_Q_OVERFLOW)
		put_overflow(inotify);
	for (struct pm_sources *s = *bucket_of(inotify, event->wd); s; s = s->next)
		if (s->watch == event->wd)
			put_arrived(inotify, s, event->mask & ANNOUNCED);
}

/* With the lock held. false: the program closed the descriptor, which announces nothing any more. */
static bool read_announced(struct pm_inotify *inotify)
{
	_Alignas(struct inotify_event) char buffer[4096];
	ssize_t got;
	bool is_kept;
	while ((is_kept = pm_is_kept(&inotify->kept)) &&
	       (got = PM_RETRY(pm_sys->read(inotify->fd, buffer, sizeof(buffer)))) > 0) {
		for (char *at = buffer; at < buffer + got;) {
			const struct inotify_event *event = (const struct inotify_event *)at;
			distribute(inotify, event);
			at += sizeof(*event) + event->len;
		}
	}
	return is_kept;
}

void pm_inotify_drain(struct pm_inotify *inotify)
{
	pthread_mutex_lock(&inotify->lock);
	read_announced(inotify);
	pthread_mutex_unlock(&inotify->lock);
}

/* ---- A file ---- */

void pm_sources_add(struct pm_sources *s, struct pm_inotify *inotify, int fd, int error)
{
	char path[40];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	s->is_watched = PM_NO;
	s->error = error;
	if (!inotify)
		return;
	pthread_mutex_lock(&inotify->lock);
	int watch = pm_is_kept(&inotify->kept) ? PM_RETRY(pm_sys->inotify_add(inotify->fd, path, ANNOUNCED)) : -EBADF;
	if (watch >= 0) {
		s->is_watched = PM_YES;
		s->watch = watch;
		s->inotify = inotify;
		s->at = bucket_of(inotify, watch);
		s->next = *s->at;
		if (s->next)
			s->next->at = &s->next;
		*s->at = s;
		inotify->count++;
	}
	pthread_mutex_unlock(&inotify->lock);
	s->error = watch < 0 ? -watch : 0;
}

static bool has_other_user(struct pm_inotify *inotify, int watch)
{
	for (const struct pm_sources *s = *bucket_of(inotify, watch); s; s = s->next)
		if (s->watch == watch)
			return true;
	return false;
}

void pm_sources_remove(struct pm_sources *s)
{
	struct pm_inotify *inotify = s->inotify;
	if (!inotify)
		return;
	pthread_mutex_lock(&inotify->lock);
	*s->at = s->next;
	if (s->next)
		s->next->at = s->at;
	inotify->count--;
	inotify->arrived -= atomic_load(&s->arrived) != 0;
	/* The watch of an instance that ends goes with it. */
	if (!has_other_user(inotify, s->watch) && !inotify->is_given_up && pm_is_kept(&inotify->kept))
		pm_sys->inotify_remove(inotify->fd, s->watch);
	s->inotify = NULL;
	release_inotify(inotify);
}

static uint32_t take_arrived(struct pm_sources *s)
{
	struct pm_inotify *inotify = s->inotify;
	if (!inotify)
		return 0;
	pthread_mutex_lock(&inotify->lock);
	if (!read_announced(inotify)) {
		s->is_watched = PM_NO;
		s->error = EBADF;
	}
	uint32_t mask = atomic_exchange(&s->arrived, 0);
	inotify->arrived -= mask != 0;
	/* What another file got of it must be looked at by the watcher. */
	bool wakes = inotify->on_arrival && inotify->arrived;
	pthread_mutex_unlock(&inotify->lock);
	if (wakes)
		inotify->on_arrival();
	return mask;
}

/*
 * What is announced during a look, after the facts were asked for, is no less of a change: what it asks for is noted at
 * once, for this look's end or for the next look, whichever call takes it first.
 */
static uint32_t take_and_note(struct pm_sources *s)
{
	uint32_t fresh = take_arrived(s);
	s->may_be_written |= fresh & IN_MODIFY;
	s->may_be_moved |= fresh & IN_MOVE_SELF;
	return fresh;
}

uint32_t pm_sources_take(struct pm_sources *s)
{
	uint32_t all = s->pending | take_and_note(s);
	s->pending = 0;
	return all;
}

static bool find_out(struct pm_sources *s, bool *noted)
{
	s->pending |= take_and_note(s);
	bool found = *noted;
	*noted = false;
	return found;
}

bool pm_sources_was_moved(struct pm_sources *s)
{
	return find_out(s, &s->may_be_moved);
}

bool pm_sources_is_written(struct pm_sources *s)
{
	return find_out(s, &s->may_be_written);
}

void pm_own_write_begin(struct pm_sources *s)
{
	s->pending |= take_and_note(s);
}

void pm_own_write_end(struct pm_sources *s)
{
	s->pending |= take_and_note(s) & ~(uint32_t)IN_MODIFY;
}

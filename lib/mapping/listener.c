/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/epoll.h>

#include "kernel/limits.h"
#include "mapping/listener.h"
#include "sys/sys.h"

bool pm_listener_is_open(const struct pm_listener *l)
{
	return l->fd;
}

void pm_listener_close(struct pm_listener *l)
{
	pm_kept_close(&l->mounts);
	pm_kept_close(&l->epoll);
	pm_kept_close(&l->timer);
	l->fd = 0;
}

static int add(struct pm_listener *l, int fd, uint32_t events)
{
	return fd < 0 ? fd : PM_RETRY(pm_sys->epoll_add(l->fd, fd, events));
}

static int open_sources(struct pm_listener *l, struct pm_sources *s, struct pm_event_queue *queue, int fd)
{
	int error, rc = pm_keep(&l->epoll, PM_RETRY(pm_sys->epoll_create()));
	l->wanted = PM_RESOURCE_DESCRIPTOR;
	if (rc < 0)
		return rc;
	l->fd = rc;
	struct pm_inotify *inotify = pm_inotify_open(NULL, &error);
	pm_sources_add(s, inotify, fd, error);
	/* Without any announcement the descriptor would stay silent for ever. */
	l->wanted = s->inotify ? PM_RESOURCE_DESCRIPTOR : PM_RESOURCE_INOTIFY;
	rc = s->inotify ? add(l, inotify->fd, EPOLLIN) : -s->error;
	if (inotify)
		pm_inotify_give_up(inotify);
	if (!rc)
		rc = add(l, pm_keep(&l->timer, PM_RETRY(pm_sys->timerfd())), EPOLLIN);
	if (!rc)
		rc = add(l, pm_events_fd(queue), EPOLLIN);
	/* Without the table of mounts a remount is noticed later. */
	int mounts = rc ? -1
	                : pm_keep(&l->mounts,
	                          PM_RETRY(pm_sys->openat(AT_FDCWD, "/proc/self/mountinfo", O_RDONLY | O_CLOEXEC, 0)));
	return mounts < 0 ? rc : add(l, mounts, EPOLLPRI);
}

int pm_listener_open(struct pm_listener *l, struct pm_sources *s, struct pm_event_queue *queue, int fd)
{
	if (pm_listener_is_open(l))
		return pm_is_kept(&l->epoll) ? l->fd : -EBADF;
	int rc = open_sources(l, s, queue, fd);
	if (!rc)
		return l->fd;
	pm_listener_close(l);
	pm_events_close_fd(queue);
	pm_sources_remove(s);
	*s = (struct pm_sources){.is_watched = PM_UNKNOWN};
	return rc;
}

static void set_timer(struct pm_listener *l, unsigned ms)
{
	l->throttled = pm_is_kept(&l->timer) && !pm_sys->timer_set(pm_kept_fd(&l->timer), ms) && ms;
}

void pm_listener_arm(struct pm_listener *l)
{
	if (!l->throttled)
		set_timer(l, 0);
}

/* Without a timer there is no pause. */
bool pm_listener_may_scan(struct pm_listener *l)
{
	uint64_t times;
	if (!pm_is_kept(&l->timer) ||
	    PM_RETRY(pm_sys->read(pm_kept_fd(&l->timer), &times, sizeof(times))) == sizeof(times))
		l->throttled = false;
	return !l->throttled;
}

void pm_listener_pause(struct pm_listener *l)
{
	set_timer(l, PM_SCAN_PAUSE_MS);
}

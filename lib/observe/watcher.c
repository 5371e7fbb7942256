/* SPDX-License-Identifier: BSD-3-Clause */
/* The thread of a mapping with PM_WATCH or PM_LEASE: it looks at the file, and answers a broken lease. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "mapping/mapping.h"
#include "sys/sys.h"

#define PERIOD_MS 1000
#define PAUSE_MS 10 /* before a look, however much is announced */

static void look(struct pm_mapping *m)
{
	struct pm_report report;
	memset(&report, 0, sizeof(report));
	/* What cannot be gathered now is gathered the next time. */
	pm_mapping_report(m, "a look", &report, false);
}

static bool must_stop(struct pm_watch *w)
{
	pthread_mutex_lock(&w->lock);
	bool stopped = w->stopped;
	pthread_mutex_unlock(&w->lock);
	return stopped;
}

/* Takes the lease in this thread, so that it is the one to be signalled, and waits until the mapping is made. */
static int begin(struct pm_mapping *m, struct pm_kept *kept)
{
	struct pm_watch *w = &m->watch;
	/* Kept before pm_map() returns: from then on the program may close the number and use it. */
	int fd = m->flags & PM_LEASE ? pm_keep(kept, PM_RETRY(pm_sys->signalfd(SIGIO))) : -1;
	pthread_mutex_lock(&w->lock);
	if (m->flags & PM_LEASE && fd < 0)
		w->failure = fd;
	else if (m->flags & PM_LEASE)
		pm_lease_take(m);
	w->started = true;
	pthread_cond_broadcast(&w->turn);
	while (!w->established && !w->stopped)
		pthread_cond_wait(&w->turn, &w->lock);
	pthread_mutex_unlock(&w->lock);
	return fd;
}

/*
 * Takes the signal of the lease. The descriptor also tells of one sent to the process, which is the application's and
 * must stay pending.
 */
static bool take_signal(int fd)
{
	char text[4096];
	unsigned long long pending = ~0ull;
	struct signalfd_siginfo info;
	const char *at = pm_read_text("/proc/thread-self/status", text, sizeof(text)) > 0 ? strstr(text, "SigPnd:") : NULL;
	if (at)
		sscanf(at, "SigPnd: %llx", &pending);
	return pending >> (SIGIO - 1) & 1 && PM_RETRY(pm_sys->read(fd, &info, sizeof(info))) > 0;
}

/* What the program closed behind the library's back would wake the thread for ever, and be another's: it only looks then. */
static void forget_foreign(struct pollfd *p, const struct pm_kept *kept)
{
	if (!p->revents || pm_is_kept(kept))
		return;
	p->fd = -1;
	p->revents = 0;
}

static void *serve(void *arg)
{
	struct pm_mapping *m = arg;
	struct pm_watch *w = &m->watch;
	struct pm_kept kept_lease = {0};
	int lease = begin(m, &kept_lease), timeout = PERIOD_MS;
	struct pollfd fds[] = {{w->stop, POLLIN, 0}, {lease, POLLIN, 0}, {w->sources, POLLIN, 0}};
	while (!must_stop(w)) {
		look(m);
		pm_watch_search(m);
		/* A lease cannot wait, the rest can: what is announced has often not happened quite yet (fs/file_table.c __fput). */
		pm_sys->poll(fds, 3, timeout);
		forget_foreign(&fds[0], &w->kept_stop);
		forget_foreign(&fds[1], &kept_lease);
		forget_foreign(&fds[2], &w->kept_sources);
		if (!fds[0].revents && !fds[1].revents)
			pm_sys->poll(fds, 2, PAUSE_MS);
		/* The application's signal would wake this thread for ever: for a while it asks for the lease instead. */
		bool theirs = fds[1].revents && !take_signal(lease);
		fds[1].fd = theirs || !pm_is_kept(&kept_lease) ? -1 : lease;
		timeout = theirs ? PAUSE_MS : PERIOD_MS;
	}
	pm_kept_close(&kept_lease);
	return NULL;
}

/* ---- Its life ---- */

static int start_thread(struct pm_mapping *m)
{
	struct pm_watch *w = &m->watch;
	w->stop = pm_keep(&w->kept_stop, PM_RETRY(pm_sys->eventfd()));
	if (w->stop < 0)
		return w->stop;
	int rc = m->events.handler ? pm_notifier_join(&m->notified, &m->events) : 0;
	if (!rc)
		rc = pm_thread_start(&w->thread, serve, m);
	if (rc)
		return rc;
	pthread_mutex_lock(&w->lock);
	w->running = true;
	while (!w->started)
		pthread_cond_wait(&w->turn, &w->lock);
	pthread_mutex_unlock(&w->lock);
	return w->failure;
}

int pm_watch_start(struct pm_mapping *m)
{
	if (m->flags & PM_NO_THREAD)
		pm_lease_take(m);
	if (m->flags & PM_NO_THREAD || !(m->flags & (PM_WATCH | PM_LEASE)))
		return 0;
	int rc = pm_watch_open(m, true);
	if (!rc)
		pm_watch_search(m);
	return rc ? rc : start_thread(m);
}

void pm_watch_go(struct pm_mapping *m)
{
	pthread_mutex_lock(&m->watch.lock);
	m->watch.established = true;
	pthread_cond_broadcast(&m->watch.turn);
	pthread_mutex_unlock(&m->watch.lock);
}

void pm_watch_thread_end(struct pm_mapping *m)
{
	struct pm_watch *w = &m->watch;
	uint64_t one = 1;
	if (w->running) {
		pthread_mutex_lock(&w->lock);
		w->stopped = true;
		pthread_cond_broadcast(&w->turn);
		pthread_mutex_unlock(&w->lock);
		if (pm_is_kept(&w->kept_stop))
			pm_sys->write(w->stop, &one, sizeof(one));
		pthread_join(w->thread, NULL);
	}
	pm_notifier_leave(&m->notified);
	w->running = false;
	pm_kept_close(&w->kept_stop);
	w->stop = -1;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>

#include "facts/evidence.h"
#include "kernel/sysfs.h"
#include "observe/watcher.h"
#include "sys/sys.h"

#define PERIOD_MS 1000
#define PAUSE_MS 10 /* what is announced has often not happened quite yet (fs/file_table.c __fput) */

enum source { WAKE, SIGNAL, INOTIFY, MOUNTS, SOURCES };

static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER; /* of the thread; taken before: */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed_cond = PTHREAD_COND_INITIALIZER;
static struct {
	unsigned holders; /* guarded by life, as is the thread */
	pthread_t thread;

	int id; /* of the thread; 0: it has not started yet */
	bool must_end;
	struct pm_kept wake, signal, mounts;
	struct pm_inotify *inotify;
	struct pm_watched *members, *current; /* current: the thread looks at it */
	struct pm_watched *following; /* the next that it looks at if it is due; any may leave the list meanwhile */
	uint64_t tick, scan, quiet; /* when: all are due; /proc may be scanned; announcements are read again */
	bool signal_is_foreign;     /* one of the application's is pending */
} watcher;

/* ---- Descriptors ---- */

static void wake_thread(void)
{
	uint64_t one = 1;
	if (pm_is_kept(&watcher.wake))
		pm_sys->write(pm_kept_fd(&watcher.wake), &one, sizeof(one));
}

static void wake_from_outside(void)
{
	pthread_mutex_lock(&lock);
	wake_thread();
	pthread_mutex_unlock(&lock);
}

static int renew(struct pm_kept *kept, int (*make)(void))
{
	return pm_is_kept(kept) ? 0 : pm_keep(kept, PM_RETRY(make()));
}

static int make_signal(void)
{
	return pm_sys->signalfd(SIGIO);
}

static int make_mounts(void)
{
	return pm_sys->openat(AT_FDCWD, "/proc/self/mountinfo", O_RDONLY | O_CLOEXEC, 0);
}

static int make_wake(void)
{
	return pm_sys->eventfd();
}

static void give_up_inotify(void)
{
	if (watcher.inotify)
		pm_inotify_give_up(watcher.inotify);
	watcher.inotify = NULL;
}

static void close_all(void)
{
	pm_kept_close(&watcher.wake);
	pm_kept_close(&watcher.signal);
	pm_kept_close(&watcher.mounts);
	give_up_inotify();
}

/* Also again what the program closed: a new member is watched as if that had not happened. */
static int open_descriptors(void)
{
	int rc = renew(&watcher.wake, make_wake);
	if (rc >= 0)
		rc = renew(&watcher.signal, make_signal);
	/* Without it a remount is noticed by the next tick. */
	if (rc >= 0)
		renew(&watcher.mounts, make_mounts);
	return rc < 0 ? rc : 0;
}

/*
 * Takes the signal of a lease. The descriptor also shows a signal that was sent to the process, which is the
 * application's and must stay pending.
 */
static bool take_signal(void)
{
	char text[4096];
	unsigned long long pending = ~0ull;
	struct signalfd_siginfo info;
	const char *at =
		pm_read_text("/proc/thread-self/status", text, sizeof(text)) > 0 ? strstr(text, "SigPnd:") : NULL;
	if (at)
		sscanf(at, "SigPnd: %llx", &pending);
	bool is_own = pending >> (SIGIO - 1) & 1 && pm_is_kept(&watcher.signal);
	return is_own && PM_RETRY(pm_sys->read(pm_kept_fd(&watcher.signal), &info, sizeof(info))) > 0;
}

/* A descriptor that the program closed, or replaced, would wake the thread for ever: it is not polled any more. */
static struct pollfd poll_of(const struct pm_kept *kept, short events)
{
	return (struct pollfd){.fd = pm_is_kept(kept) ? pm_kept_fd(kept) : -1, .events = events};
}

/* ---- Members ---- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a && a < b ? a : b;
}

/*
 * With the lock held, which it releases meanwhile. The member stays in the list, since a thread that removes it waits.
 */
static void observe_member(struct pm_watched *w, uint64_t now)
{
	watcher.current = w;
	w->due = 0;
	pthread_mutex_unlock(&lock);
	bool is_observed = w->observe(w->arg);
	pthread_mutex_lock(&lock);
	if (!is_observed)
		w->due = now + PAUSE_MS;
	watcher.current = NULL;
	pthread_cond_broadcast(&changed_cond);
}

/* SIGIO is not queued: one signal may stand for several broken leases. */
static void answer_leases(uint64_t now)
{
	for (struct pm_watched *w = watcher.members; w; w = w->next)
		if (pm_lease_is_broken(w->lease))
			observe_member(w, now);
}

/* Between two looks, and between two processes of a scan: leases wait for one of them at most. */
static void answer_signal(uint64_t now)
{
	struct pollfd p = poll_of(&watcher.signal, POLLIN);
	if (p.fd >= 0 && pm_sys->poll(&p, 1, 0) > 0 && take_signal())
		answer_leases(now);
}

static void make_all_due(uint64_t at)
{
	for (struct pm_watched *w = watcher.members; w; w = w->next)
		w->due = sooner(w->due, at);
}

static void observe_due(uint64_t now)
{
	if (now >= watcher.tick) {
		watcher.tick = now + PERIOD_MS;
		make_all_due(now);
	}
	for (struct pm_watched *w = watcher.members; w; w = w->next)
		if (!w->due && pm_sources_have_arrived(w->sources))
			w->due = now + PAUSE_MS;
	watcher.following = watcher.members;
	for (struct pm_watched *w; (w = watcher.following);) {
		watcher.following = w->next;
		if (!w->due || w->due > now)
			continue;
		observe_member(w, now);
		answer_signal(now);
	}
}

/* ---- What wakes the thread ---- */

/* While the thread is quiet, announcements wait; leases do not. */
static void prepare(struct pollfd fds[SOURCES], uint64_t now)
{
	static const struct pm_kept none;
	bool is_quiet = now < watcher.quiet;
	fds[WAKE] = poll_of(&watcher.wake, POLLIN);
	fds[SIGNAL] = poll_of(watcher.signal_is_foreign ? &none : &watcher.signal, POLLIN);
	fds[INOTIFY] = poll_of(is_quiet || !watcher.inotify ? &none : &watcher.inotify->kept, POLLIN);
	fds[MOUNTS] = poll_of(is_quiet ? &none : &watcher.mounts, POLLPRI);
}

static int until_due(uint64_t now)
{
	uint64_t at = sooner(watcher.signal_is_foreign ? now + PAUSE_MS : 0, watcher.tick);
	if (watcher.quiet > now)
		at = sooner(watcher.quiet, at);
	for (struct pm_watched *w = watcher.members; w; w = w->next) {
		at = sooner(w->due, at);
		if (atomic_load(&w->openers->scan_due))
			at = sooner(watcher.scan, at);
	}
	return at > now ? (int)(at - now) : 0;
}

static void take_up(const struct pollfd fds[SOURCES], uint64_t now)
{
	uint64_t count;
	if (fds[WAKE].revents && pm_is_kept(&watcher.wake))
		PM_RETRY(pm_sys->read(fds[WAKE].fd, &count, sizeof(count)));
	bool was_foreign = watcher.signal_is_foreign;
	watcher.signal_is_foreign = fds[SIGNAL].revents && !take_signal();
	/* The application's signal hides the next one: for a while the leases are asked instead. */
	if (fds[SIGNAL].revents || was_foreign)
		answer_leases(now);
	if (fds[INOTIFY].revents && watcher.inotify)
		pm_inotify_drain(watcher.inotify);
	if (fds[MOUNTS].revents)
		make_all_due(now + PAUSE_MS);
	if (fds[INOTIFY].revents || fds[MOUNTS].revents)
		watcher.quiet = now + PAUSE_MS;
}

/* ---- The scan ---- */

/* When the thread must end no member is left, and the scan has no target. */
static void answer_signal_in_scan(void)
{
	pthread_mutex_lock(&lock);
	answer_signal(pm_sys->now_ms());
	pthread_mutex_unlock(&lock);
}

static void scan_if_due(uint64_t now)
{
	struct pm_scan scan = {.before_each = answer_signal_in_scan};
	if (now < watcher.scan)
		return;
	for (struct pm_watched *w = watcher.members; w; w = w->next)
		pm_scan_add(&scan, w->openers);
	if (!scan.targets)
		return;
	pthread_mutex_unlock(&lock);
	pm_scan_run(&scan);
	pthread_mutex_lock(&lock);
	now = pm_sys->now_ms();
	watcher.scan = now + PM_SCAN_PAUSE_MS;
	for (struct pm_watched *w = watcher.members; w; w = w->next)
		if (pm_openers_have_result(w->openers))
			w->due = now;
}

/* ---- The thread ---- */

static void *watch(void *arg)
{
	struct pollfd fds[SOURCES];
	pthread_mutex_lock(&lock);
	watcher.id = pm_sys->gettid();
	pthread_cond_broadcast(&changed_cond);
	while (!watcher.must_end) {
		uint64_t now = pm_sys->now_ms();
		int timeout = until_due(now);
		prepare(fds, now);
		pthread_mutex_unlock(&lock);
		bool has_more = pm_sys->poll(fds, SOURCES, timeout) > 0;
		pthread_mutex_lock(&lock);
		now = pm_sys->now_ms();
		if (has_more || watcher.signal_is_foreign)
			take_up(fds, now);
		observe_due(now);
		scan_if_due(now);
	}
	pthread_mutex_unlock(&lock);
	return arg;
}

/* With life held. */
static int start(void)
{
	watcher.must_end = watcher.signal_is_foreign = false;
	watcher.id = 0;
	watcher.scan = watcher.quiet = 0;
	watcher.tick = pm_sys->now_ms() + PERIOD_MS;
	int rc = pm_thread_start(&watcher.thread, watch, NULL);
	pthread_mutex_lock(&lock);
	while (!rc && !watcher.id)
		pthread_cond_wait(&changed_cond, &lock);
	pthread_mutex_unlock(&lock);
	return rc;
}

int pm_watcher_acquire(void)
{
	pthread_mutex_lock(&life);
	pthread_mutex_lock(&lock);
	int rc = open_descriptors();
	pthread_mutex_unlock(&lock);
	if (!rc && !watcher.holders)
		rc = start();
	if (!rc)
		watcher.holders++;
	else if (!watcher.holders)
		close_all();
	pthread_mutex_unlock(&life);
	return rc;
}

void pm_watcher_release(void)
{
	pthread_mutex_lock(&life);
	if (!--watcher.holders) {
		pthread_mutex_lock(&lock);
		watcher.must_end = true;
		wake_thread();
		pthread_mutex_unlock(&lock);
		pthread_join(watcher.thread, NULL);
		close_all();
	}
	pthread_mutex_unlock(&life);
}

int pm_watcher_thread_id(void)
{
	pthread_mutex_lock(&lock);
	int id = watcher.id;
	pthread_mutex_unlock(&lock);
	return id;
}

void pm_watcher_watch(struct pm_sources *s, int fd)
{
	pthread_mutex_lock(&lock);
	bool was_open = watcher.inotify;
	if (was_open)
		pm_sources_add(s, watcher.inotify, fd, 0);
	/* The first; or the program closed it. */
	if (!was_open || s->error == EBADF) {
		int error;
		give_up_inotify();
		watcher.inotify = pm_inotify_open(wake_from_outside, &error);
		pm_sources_add(s, watcher.inotify, fd, error);
	}
	pthread_mutex_unlock(&lock);
}

void pm_watcher_add(struct pm_watched *w)
{
	pthread_mutex_lock(&lock);
	w->due = 0;
	w->next = watcher.members;
	w->at = &watcher.members;
	if (w->next)
		w->next->at = &w->next;
	watcher.members = w;
	wake_thread();
	pthread_mutex_unlock(&lock);
}

void pm_watcher_remove(struct pm_watched *w)
{
	if (!w->arg)
		return;
	pthread_mutex_lock(&lock);
	while (watcher.current == w)
		pthread_cond_wait(&changed_cond, &lock);
	*w->at = w->next;
	if (w->next)
		w->next->at = w->at;
	if (watcher.following == w)
		watcher.following = w->next;
	pthread_mutex_unlock(&lock);
	pm_openers_end(w->openers);
	w->arg = NULL;
}

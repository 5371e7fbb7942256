/* SPDX-License-Identifier: BSD-3-Clause */
/* Leases and announcements: Linux itself answers, on the real files that the fake machine stands on. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "fake.h"
#include "fake_internal.h"

static int fake_fcntl_setsig(int fd, int signal)
{
	return fd >= FAKE_VIRTUAL_FD ? 0 : pm_sys_linux.fcntl_setsig(fd, signal);
}

static int fake_fcntl_getsig(int fd)
{
	return fd >= FAKE_VIRTUAL_FD ? SIGURG : pm_sys_linux.fcntl_getsig(fd);
}

static atomic_int timer = -1;

static int fake_timer_set(int fd, unsigned ms)
{
	if (ms)
		atomic_store(&timer, fd);
	return pm_sys_linux.timer_set(fd, ms ? 1000000000 : 0);
}

void fake_timer_goes_off(void)
{
	pm_sys_linux.timer_set(atomic_load(&timer), 0);
}

static _Thread_local uint64_t passed;

void fake_time_passes(unsigned ms)
{
	passed += ms;
}

static uint64_t fake_now_ms(void)
{
	static _Atomic uint64_t last;
	if (!atomic_load(&fake.watcher_sleeps) && !atomic_load(&fake.time_stands_still))
		atomic_store(&last, pm_sys_linux.now_ms());
	return atomic_load(&last) + passed;
}

static int fake_epoll_add(int epoll, int fd, uint32_t events)
{
	/* What the fake machine says of mounts never changes by itself. */
	return fd >= FAKE_VIRTUAL_FD ? 0 : pm_sys_linux.epoll_add(epoll, fd, events);
}

#define MOST_POLLED 8u

/* What the fake machine says of mounts never changes by itself. Asleep, the thread is reached by the first one only. */
static int fake_poll(struct pollfd *fds, unsigned count, int timeout_ms)
{
	struct pollfd real[MOST_POLLED];
	for (unsigned i = 0; i < count; i++) {
		bool is_hidden =
			fds[i].fd >= FAKE_VIRTUAL_FD || (atomic_load(&fake.watcher_sleeps) && (i || count == 1));
		real[i] = fds[i];
		real[i].fd = is_hidden ? -1 : fds[i].fd;
	}
	int rc = pm_sys_linux.poll(real, count, timeout_ms);
	for (unsigned i = 0; i < count; i++)
		fds[i].revents = real[i].revents;
	return rc;
}

struct some {
	void (*visit)(void *arg, const char *entry);
	void *arg;
	unsigned left;
};

static void visit_some(void *arg, const char *entry)
{
	struct some *some = arg;
	bool is_process = entry[0] >= '1' && entry[0] <= '9';
	if (is_process && !some->left)
		return;
	some->left -= is_process;
	some->visit(some->arg, entry);
}

static int fake_each_entry(const char *directory, void (*visit)(void *arg, const char *entry), void *arg)
{
	if (fake_is_virtual(directory)) {
		fake_virtual_entries(directory, visit, arg);
		return 0;
	}
	struct some some = {visit, arg, fake.processes};
	if (fake.processes && !strcmp(directory, "/proc"))
		return pm_sys_linux.each_entry(directory, visit_some, &some);
	return pm_sys_linux.each_entry(directory, visit, arg);
}

const struct pm_sys fake_answers_of_watch = {
	.fcntl_setsig = fake_fcntl_setsig,
	.fcntl_getsig = fake_fcntl_getsig,
	.timer_set = fake_timer_set,
	.now_ms = fake_now_ms,
	.epoll_add = fake_epoll_add,
	.poll = fake_poll,
	.each_entry = fake_each_entry,
};

/* SPDX-License-Identifier: BSD-3-Clause */
/* Leases and announcements: Linux itself answers, on the real files that the fake machine stands on. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "fake.h"
#include "fake_internal.h"

int fake_setlease(int fd, int type)
{
	ENTER(.call = FAKE_setlease, .fd = fd, .flags = (unsigned long)type);
	return pm_sys_linux.setlease(fd, type);
}

int fake_getlease(int fd)
{
	ENTER(.call = FAKE_getlease, .fd = fd);
	return pm_sys_linux.getlease(fd);
}

int fake_fcntl_getown(int fd, struct pm_owner *owner)
{
	ENTER(.call = FAKE_fcntl_getown, .fd = fd);
	return pm_sys_linux.fcntl_getown(fd, owner);
}

int fake_fcntl_setown(int fd, const struct pm_owner *owner)
{
	ENTER(.call = FAKE_fcntl_setown, .fd = fd);
	return pm_sys_linux.fcntl_setown(fd, owner);
}

int fake_fcntl_setsig(int fd, int signal)
{
	ENTER(.call = FAKE_fcntl_setsig, .fd = fd, .flags = (unsigned long)signal);
	return fd >= FAKE_VIRTUAL_FD ? 0 : pm_sys_linux.fcntl_setsig(fd, signal);
}

int fake_fcntl_getsig(int fd)
{
	ENTER(.call = FAKE_fcntl_getsig, .fd = fd);
	return fd >= FAKE_VIRTUAL_FD ? SIGURG : pm_sys_linux.fcntl_getsig(fd);
}

int fake_lease_signal(int fd, int signal)
{
	ENTER(.call = FAKE_lease_signal, .fd = fd, .flags = (unsigned long)signal);
	return pm_sys_linux.lease_signal(fd, signal);
}

int fake_lease_silence(int fd)
{
	ENTER(.call = FAKE_lease_silence, .fd = fd);
	return pm_sys_linux.lease_silence(fd);
}

int fake_signalfd(int signal)
{
	ENTER(.call = FAKE_signalfd, .fd = -1, .flags = (unsigned long)signal);
	return fake_opened(pm_sys_linux.signalfd(signal));
}

int fake_eventfd(void)
{
	ENTER(.call = FAKE_eventfd, .fd = -1);
	return fake_opened(pm_sys_linux.eventfd());
}

int fake_timerfd(void)
{
	ENTER(.call = FAKE_timerfd, .fd = -1);
	return fake_opened(pm_sys_linux.timerfd());
}

static atomic_int timer = -1;

int fake_timer_set(int fd, unsigned ms)
{
	ENTER(.call = FAKE_timer_set, .fd = fd, .length = ms);
	if (ms)
		atomic_store(&timer, fd);
	return pm_sys_linux.timer_set(fd, ms ? 1000000000 : 0);
}

void fake_timer_goes_off(void)
{
	pm_sys_linux.timer_set(atomic_load(&timer), 0);
}

int fake_inotify(void)
{
	ENTER(.call = FAKE_inotify, .fd = -1);
	return fake_opened(pm_sys_linux.inotify());
}

int fake_inotify_add(int fd, const char *path, uint32_t mask)
{
	ENTER(.call = FAKE_inotify_add, .fd = fd, .flags = mask);
	return pm_sys_linux.inotify_add(fd, path, mask);
}

int fake_inotify_remove(int fd, int watch)
{
	ENTER(.call = FAKE_inotify_remove, .fd = fd);
	return pm_sys_linux.inotify_remove(fd, watch);
}

int fake_gettid(void)
{
	ENTER(.call = FAKE_gettid, .fd = -1);
	return pm_sys_linux.gettid();
}

uint64_t fake_now_ms(void)
{
	static _Atomic uint64_t last;
	if (!atomic_load(&fake.watcher_sleeps) && !atomic_load(&fake.time_stands_still))
		atomic_store(&last, pm_sys_linux.now_ms());
	return atomic_load(&last);
}

int fake_epoll_create(void)
{
	ENTER(.call = FAKE_epoll_create, .fd = -1);
	return fake_opened(pm_sys_linux.epoll_create());
}

int fake_epoll_add(int epoll, int fd, uint32_t events)
{
	ENTER(.call = FAKE_epoll_add, .fd = fd);
	/* What the fake machine says of mounts never changes by itself. */
	return fd >= FAKE_VIRTUAL_FD ? 0 : pm_sys_linux.epoll_add(epoll, fd, events);
}

#define MOST_POLLED 8u

/* What the fake machine says of mounts never changes by itself. Asleep, the thread is reached by the first one only. */
int fake_poll(struct pollfd *fds, unsigned count, int timeout_ms)
{
	struct pollfd real[MOST_POLLED];
	ENTER(.call = FAKE_poll, .fd = -1);
	for (unsigned i = 0; i < count; i++) {
		bool is_hidden = fds[i].fd >= FAKE_VIRTUAL_FD || (atomic_load(&fake.watcher_sleeps) && (i || count == 1));
		real[i] = fds[i];
		real[i].fd = is_hidden ? -1 : fds[i].fd;
	}
	int rc = pm_sys_linux.poll(real, count, timeout_ms);
	for (unsigned i = 0; i < count; i++)
		fds[i].revents = real[i].revents;
	return rc;
}

int fake_same_inode(const char *path, const char *other)
{
	ENTER(.call = FAKE_same_inode, .fd = -1);
	return pm_sys_linux.same_inode(path, other);
}

int fake_kcmp_file(int process, int fd, int own_fd)
{
	ENTER(.call = FAKE_kcmp_file, .fd = own_fd);
	return pm_sys_linux.kcmp_file(process, fd, own_fd);
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

int fake_each_entry(const char *directory, void (*visit)(void *arg, const char *entry), void *arg)
{
	struct fake_record r = {.call = FAKE_each_entry, .fd = -1};
	snprintf(r.path, sizeof(r.path), "%s", directory);
	int rc = fake_enter(&r);
	if (rc)
		return rc;
	if (fake_is_virtual(directory)) {
		fake_virtual_entries(directory, visit, arg);
		return 0;
	}
	struct some some = {visit, arg, fake.processes};
	if (fake.processes && !strcmp(directory, "/proc"))
		return pm_sys_linux.each_entry(directory, visit_some, &some);
	return pm_sys_linux.each_entry(directory, visit, arg);
}

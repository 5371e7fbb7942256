/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls about descriptors: their numbers, the files that they lead to, and directories. */
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "sys/calls.h"

int pm_linux_opened(int fd)
{
	if (fd < 0)
		return -errno;
	if (fd > STDERR_FILENO)
		return fd;
	int higher = result(fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
	close(fd);
	/* fcntl(2): the limit leaves no such number. */
	return higher == -EINVAL ? -EMFILE : higher;
}

int pm_linux_signalfd(int signal)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, signal);
	return pm_linux_opened(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int pm_linux_gettid(void)
{
	return (int)syscall(SYS_gettid);
}

uint64_t pm_linux_now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/*
 * The kernel takes two words of its own size, whatever the C library's time_t is. With bits they are a moment, of the
 * monotonic clock (futex(2)).
 */
int pm_linux_futex_wait(const _Atomic uint32_t *word, uint32_t value, uint64_t most, uint32_t bits)
{
	uint64_t until = most == UINT64_MAX ? 0 : pm_linux_now_ns() + most;
	const long moment[] = {(long)(until / 1000000000), (long)(until % 1000000000)};
	return result(syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, until ? moment : NULL, NULL, bits));
}

int pm_linux_futex_wake(const _Atomic uint32_t *word, uint32_t bits)
{
	return result(syscall(SYS_futex, word, FUTEX_WAKE_BITSET_PRIVATE, INT32_MAX, NULL, NULL, bits));
}

uint64_t pm_linux_now_ms(void)
{
	return pm_linux_now_ns() / 1000000;
}

int pm_linux_eventfd(void)
{
	return pm_linux_opened(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

int pm_linux_timerfd(void)
{
	return pm_linux_opened(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
}

int pm_linux_timer_set(int fd, unsigned ms)
{
	/* A time of 0 would disarm the timer. */
	struct itimerspec when = {
		.it_value = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = ms ? (long)(ms % 1000) * 1000000 : 1}};
	return result(timerfd_settime(fd, 0, &when, NULL));
}

int pm_linux_inotify(void)
{
	return pm_linux_opened(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
}

int pm_linux_inotify_add(int fd, const char *path, uint32_t mask)
{
	return result(inotify_add_watch(fd, path, mask));
}

int pm_linux_inotify_remove(int fd, int watch)
{
	return result(inotify_rm_watch(fd, watch));
}

/* Two watches of one inode are one watch. Both paths are followed; no event is ever read. */
int pm_linux_same_inode(const char *path, const char *other)
{
	int fd = pm_linux_opened(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
	if (fd < 0)
		return fd;
	int first = result(inotify_add_watch(fd, path, IN_DELETE_SELF));
	int second = first < 0 ? first : result(inotify_add_watch(fd, other, IN_DELETE_SELF));
	close(fd);
	return second < 0 ? second : first == second;
}

union handle {
	struct file_handle head;
	char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

static int read_handle(const char *path, union handle *h)
{
	int mount;
	memset(h, 0, sizeof(*h));
	h->head.handle_bytes = MAX_HANDLE_SZ;
	return result(name_to_handle_at(AT_FDCWD, path, &h->head, &mount, AT_SYMLINK_FOLLOW));
}

/* Both paths are followed. */
int pm_linux_same_handle(const char *path, const char *other)
{
	union handle first, second;
	int rc = read_handle(path, &first);
	if (!rc)
		rc = read_handle(other, &second);
	return rc ? rc : !memcmp(&first, &second, sizeof(first));
}

int pm_linux_epoll_create(void)
{
	return pm_linux_opened(epoll_create1(EPOLL_CLOEXEC));
}

int pm_linux_epoll_add(int epoll, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events};
	return result(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

int pm_linux_poll(struct pollfd *fds, unsigned count, int timeout_ms)
{
	return result(poll(fds, count, timeout_ms));
}

int pm_linux_kcmp_file(int process, int fd, int own_fd)
{
	int rc = result(syscall(SYS_kcmp, getpid(), process, KCMP_FILE, own_fd, fd));
	return rc < 0 ? rc : rc == 0;
}

/* struct linux_dirent64 of getdents64(2). */
struct kernel_entry {
	uint64_t inode;
	int64_t next;
	uint16_t length;
	uint8_t type;
	char name[];
};

/* By the system call itself: opendir(3) allocates, which a caller of mmap(2) may not allow (tools/preload). */
int pm_linux_each_entry(const char *directory, void (*visit)(void *arg, const char *entry), void *arg)
{
	_Alignas(struct kernel_entry) char entries[2048];
	int fd = pm_linux_opened(open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (fd < 0)
		return fd;
	long length;
	while ((length = syscall(SYS_getdents64, fd, entries, sizeof(entries))) > 0) {
		const struct kernel_entry *entry;
		for (long at = 0; at < length; at += entry->length) {
			entry = (const struct kernel_entry *)(const void *)(entries + at);
			if (entry->name[0] != '.')
				visit(arg, entry->name);
		}
	}
	int error = length ? errno : 0;
	close(fd);
	return -error;
}

/* struct page_region and struct pm_scan_arg of linux/fs.h (Linux 6.7). */
struct kernel_page_region {
	uint64_t start, end, categories;
};
struct kernel_scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, any_of, wanted;
};

int pm_linux_pagemap_scan(const void *address, size_t length, uint64_t all, uint64_t none)
{
	struct kernel_page_region found;
	struct kernel_scan_arg scan = {.size = sizeof(scan),
	                               .start = (uintptr_t)address,
	                               .end = (uintptr_t)address + length,
	                               .vec = (uintptr_t)&found,
	                               .vec_len = 1,
	                               .max_pages = 1,
	                               .inverted = none,
	                               .mask = all | none,
	                               .wanted = all};
	int fd = pm_linux_opened(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
	if (fd < 0)
		return fd;
	int rc = result(syscall(SYS_ioctl, fd, _IOWR('f', 16, struct kernel_scan_arg), &scan));
	close(fd);
	return rc;
}

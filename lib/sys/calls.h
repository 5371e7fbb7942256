/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared by the files that make the real system calls. */
#ifndef PM_CALLS_H
#define PM_CALLS_H

#include <errno.h>

#include "sys/sys.h"

static inline int result(long rc)
{
	return rc < 0 ? -errno : (int)rc;
}

/*
 * The result of a call that makes a descriptor: the descriptor, at least 3, or -errno. If a program closed 0, 1 or 2,
 * the kernel would give that number to the next descriptor, and output of the program would go there.
 */
int pm_linux_opened(int fd);

/* Without the SIGXFSZ that the kernel sends beyond RLIMIT_FSIZE: see writing.c. */
ssize_t pm_linux_write(int fd, const void *buffer, size_t size);
ssize_t pm_linux_pwrite(int fd, const void *buffer, size_t size, uint64_t offset);
ssize_t pm_linux_pwritev2_append(int fd, const void *buffer, size_t size);
int pm_linux_ftruncate(int fd, uint64_t length);
int pm_linux_fallocate(int fd, uint64_t offset, uint64_t length);

int pm_linux_wrong_sync(unsigned call);
int pm_linux_statmount(uint64_t id, struct pm_mount *mount);
int pm_linux_signalfd(int signal);
int pm_linux_eventfd(void);
int pm_linux_timerfd(void);
int pm_linux_timer_set(int fd, unsigned ms);
int pm_linux_inotify(void);
int pm_linux_inotify_add(int fd, const char *path, uint32_t mask);
int pm_linux_inotify_remove(int fd, int watch);
int pm_linux_gettid(void);
uint64_t pm_linux_now_ms(void);
uint64_t pm_linux_now_ns(void);
int pm_linux_futex_wait(const _Atomic uint32_t *word, uint32_t value, uint64_t most, uint32_t bits);
int pm_linux_futex_wake(const _Atomic uint32_t *word, uint32_t bits);
int pm_linux_same_inode(const char *path, const char *other);
int pm_linux_same_handle(const char *path, const char *other);
int pm_linux_epoll_create(void);
int pm_linux_epoll_add(int epoll, int fd, uint32_t events);
int pm_linux_poll(struct pollfd *fds, unsigned count, int timeout_ms);
int pm_linux_kcmp_file(int process, int fd, int own_fd);
int pm_linux_each_entry(const char *directory, void (*visit)(void *arg, const char *entry), void *arg);
int pm_linux_pagemap_scan(const void *address, size_t length, uint64_t all, uint64_t none);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls that write to a file or change its size. Beyond RLIMIT_FSIZE they fail with EFBIG, and the kernel sends SIGXFSZ
 * to the thread, which ends a program that does not handle it (fs/read_write.c generic_write_check_limits, fs/attr.c
 * inode_newsize_ok). The callers ask for the limit first. But another process may move the end of the file, or the
 * limit, before the call: so the signal is blocked meanwhile, and taken back.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "sys/calls.h"

#ifndef RWF_APPEND
#define RWF_APPEND 0x10 /* linux/fs.h */
#endif

struct hush {
	sigset_t before;
	bool pending; /* the caller has blocked the signal, and one is pending */
};

static void only_limit_signal(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGXFSZ);
}

static struct hush hush(void)
{
	struct hush h = {.pending = false};
	sigset_t limit, pending;
	only_limit_signal(&limit);
	pthread_sigmask(SIG_BLOCK, &limit, &h.before);
	if (sigismember(&h.before, SIGXFSZ))
		h.pending = !sigpending(&pending) && sigismember(&pending, SIGXFSZ);
	return h;
}

static long end_hush(const struct hush *h, long rc)
{
	const struct timespec at_once = {.tv_sec = 0};
	long error = rc < 0 ? -errno : rc;
	sigset_t limit;
	only_limit_signal(&limit);
	if (error == -EFBIG && !h->pending)
		sigtimedwait(&limit, NULL, &at_once);
	pthread_sigmask(SIG_SETMASK, &h->before, NULL);
	return error;
}

ssize_t pm_linux_write(int fd, const void *buffer, size_t size)
{
	struct hush h = hush();
	return end_hush(&h, write(fd, buffer, size));
}

ssize_t pm_linux_pwrite(int fd, const void *buffer, size_t size, uint64_t offset)
{
	struct hush h = hush();
	return end_hush(&h, pwrite(fd, buffer, size, (off_t)offset));
}

ssize_t pm_linux_pwritev2_append(int fd, const void *buffer, size_t size)
{
	struct iovec part = {(void *)(uintptr_t)buffer, size};
	struct hush h = hush();
	return end_hush(&h, syscall(SYS_pwritev2, fd, &part, 1, 0, 0, RWF_APPEND));
}

int pm_linux_ftruncate(int fd, uint64_t length)
{
	struct hush h = hush();
	return (int)end_hush(&h, ftruncate(fd, (off_t)length));
}

int pm_linux_fallocate(int fd, uint64_t offset, uint64_t length)
{
	struct hush h = hush();
	return (int)end_hush(&h, fallocate(fd, 0, (off_t)offset, (off_t)length));
}

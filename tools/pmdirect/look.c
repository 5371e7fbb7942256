/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "look.h"

static int call(int fd, const char *path, int flags, struct statx *ret)
{
	return syscall(SYS_statx, fd, path, flags | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, ret) ? -errno : 0;
}

int look_at(const char *path, int flags, struct statx *ret)
{
	return call(AT_FDCWD, path, flags, ret);
}

int look_at_fd(int fd, struct statx *ret)
{
	return call(fd, "", AT_EMPTY_PATH, ret);
}

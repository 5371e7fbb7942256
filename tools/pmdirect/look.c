/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "look.h"

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000u /* Linux 5.8 */
#endif

static int call(int fd, const char *path, int flags, struct statx *ret)
{
	return syscall(SYS_statx, fd, path, flags | AT_NO_AUTOMOUNT, STATX_BASIC_STATS | STATX_MNT_ID, ret) ? -errno
	                                                                                                    : 0;
}

int look_at(const char *path, int flags, struct statx *ret)
{
	return call(AT_FDCWD, path, flags, ret);
}

int look_at_fd(int fd, struct statx *ret)
{
	return call(fd, "", AT_EMPTY_PATH, ret);
}

uint64_t look_mount(const char *path)
{
	struct statx stx;
	return !look_at(path, 0, &stx) && stx.stx_mask & STATX_MNT_ID ? stx.stx_mnt_id : 0;
}

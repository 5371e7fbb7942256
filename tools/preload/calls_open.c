/* SPDX-License-Identifier: BSD-3-Clause */
/* open(2) with O_TRUNC changes a file. */
#include "calls.h"
#include "real.h"

int opened(int fd, int flags)
{
	/* The caller has no use of the file before the call returns: to be told afterwards is enough. */
	return fd >= 0 && flags & O_TRUNC ? resized_end(resize_begin(fd), fd) : fd;
}

int open(const char *path, int flags, ...)
{
	mode_t mode;
	MODE_OF(mode, flags);
	return opened(REAL(open)(path, flags, mode), flags);
}

int openat(int directory, const char *path, int flags, ...)
{
	mode_t mode;
	MODE_OF(mode, flags);
	return opened(REAL(openat)(directory, path, flags, mode), flags);
}

int creat(const char *path, mode_t mode)
{
	return opened(REAL(creat)(path, mode), O_CREAT | O_TRUNC);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls after which a number of a descriptor means another file. */
#include <errno.h>
#include <stdio.h>

#include "calls.h"
#include "companion.h"
#include "file.h"
#include "real.h"

int opened(int fd, int flags)
{
	if (fd < 0 || !companion_serves())
		return fd;
	file_forget_number(fd);
	/* The caller has no use of the file before the call returns: to be told afterwards is enough. */
	if (flags & O_TRUNC)
		resized_end(change_begin(fd), 0);
	return fd;
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

/* Before the number is free: another thread may get it at once. */
static void closes(int fd)
{
	if (companion_serves())
		file_forget_number(fd);
}

int close(int fd)
{
	closes(fd);
	return REAL(close)(fd);
}

int dup2(int from, int to)
{
	closes(to);
	int fd = REAL(dup2)(from, to);
	closes(to);
	return fd;
}

int dup3(int from, int to, int flags)
{
	closes(to);
	int fd = REAL(dup3)(from, to, flags);
	closes(to);
	return fd;
}

/* The C library closes their descriptors by itself. */
static void closes_stream(FILE *stream)
{
	int error = errno;
	if (companion_serves())
		closes(fileno(stream));
	errno = error;
}

int fclose(FILE *stream)
{
	closes_stream(stream);
	return REAL(fclose)(stream);
}

int pclose(FILE *stream)
{
	closes_stream(stream);
	return REAL(pclose)(stream);
}

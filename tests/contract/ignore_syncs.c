/* SPDX-License-Identifier: BSD-3-Clause */
/* For LD_PRELOAD: has every sync succeed and makes none, as libeatmydata does. */
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

int msync(void *address, size_t length, int flags)
{
	(void)address;
	(void)length;
	(void)flags;
	return 0;
}

int fsync(int fd)
{
	(void)fd;
	return 0;
}

int fdatasync(int fd)
{
	(void)fd;
	return 0;
}

int syncfs(int fd)
{
	(void)fd;
	return 0;
}

int sync_file_range(int fd, int64_t offset, int64_t length, unsigned flags)
{
	(void)fd;
	(void)offset;
	(void)length;
	(void)flags;
	return 0;
}

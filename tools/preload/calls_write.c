/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls that change a file otherwise than by stores. Each may run in a signal handler, and may be left by one. */
#include <errno.h>
#include <linux/fs.h>
#include <stdarg.h>

#include "accelerate.h"
#include "calls.h"
#include "companion.h"
#include "counts.h"
#include "real.h"

struct file *change_begin(int fd)
{
	return companion_serves() && file_any() ? file_of(fd) : NULL;
}

static struct file *resizes(struct file *file)
{
	if (file && companion_accelerates())
		accelerate_resize_begin();
	return file;
}

struct file *resize_begin(int fd)
{
	return resizes(change_begin(fd));
}

struct file *resize_of_path_begin(const char *path)
{
	return resizes(companion_serves() && file_any() ? file_at(path) : NULL);
}

ssize_t change_end(struct file *file, ssize_t result)
{
	if (!file)
		return result;
	struct ledger_row *row = file_row(file);
	COUNT(row, writes, 1);
	if (result > 0)
		COUNT(row, write_bytes, (uint64_t)result);
	return result;
}

int resized_end(struct file *file, int result)
{
	if (!file)
		return result;
	if (companion_accelerates())
		accelerate_resize_end();
	COUNT(row_of(file), changes, 1);
	return result;
}

ssize_t write(int fd, const void *bytes, size_t length)
{
	struct file *file = change_begin(fd);
	return change_end(file, REAL(write)(fd, bytes, length));
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
	struct file *file = change_begin(fd);
	return change_end(file, REAL(pwrite)(fd, bytes, length, offset));
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	struct file *file = change_begin(fd);
	return change_end(file, REAL(writev)(fd, parts, count));
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
	struct file *file = change_begin(fd);
	return change_end(file, REAL(pwritev)(fd, parts, count, offset));
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
	struct file *file = change_begin(fd);
	return change_end(file, REAL(pwritev2)(fd, parts, count, offset, flags));
}

ssize_t copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t length, unsigned flags)
{
	struct file *file = change_begin(out);
	return change_end(file, REAL(copy_file_range)(in, in_offset, out, out_offset, length, flags));
}

ssize_t splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t length, unsigned flags)
{
	struct file *file = change_begin(out);
	return change_end(file, REAL(splice)(in, in_offset, out, out_offset, length, flags));
}

ssize_t sendfile(int out, int in, off_t *offset, size_t length)
{
	struct file *file = change_begin(out);
	return change_end(file, REAL(sendfile)(out, in, offset, length));
}

int ftruncate(int fd, off_t length)
{
	struct file *file = resize_begin(fd);
	return resized_end(file, REAL(ftruncate)(fd, length));
}

int truncate(const char *path, off_t length)
{
	struct file *file = resize_of_path_begin(path);
	return resized_end(file, REAL(truncate)(path, length));
}

int fallocate(int fd, int mode, off_t offset, off_t length)
{
	struct file *file = resize_begin(fd);
	return resized_end(file, REAL(fallocate)(fd, mode, offset, length));
}

int posix_fallocate(int fd, off_t offset, off_t length)
{
	struct file *file = resize_begin(fd);
	return resized_end(file, REAL(posix_fallocate)(fd, offset, length));
}

/* Of the generic ones, those that change extents or their meaning; each file system has its own, which change few. */
static bool changes_extents(unsigned long request)
{
	return request == FICLONE || request == FICLONERANGE || request == FIDEDUPERANGE ||
	       request == FS_IOC_FSSETXATTR || request == FS_IOC_SETFLAGS;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	struct file *file = changes_extents(request) ? resize_begin(fd) : NULL;
	return resized_end(file, REAL(ioctl)(fd, request, argument));
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What the GNU C library has beyond POSIX: names for 64-bit offsets, checked calls (_FORTIFY_SOURCE), and others. */
#include "calls.h"
#include "companion.h"
#include "real.h"

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	struct map_call call = {address, length, protection, flags, fd, (uint64_t)offset};
	return calls_map(&call);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset)
{
	struct map_call call = {address, length, protection, flags, fd, (uint64_t)offset};
	return calls_map(&call);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset)
{
	struct file *file = change_begin(fd);
	return change_end(file, REAL(pwrite64)(fd, bytes, length, offset));
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
	struct file *file = change_begin(fd);
	return change_end(file, REAL(pwritev64)(fd, parts, count, offset));
}

ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags)
{
	struct file *file = change_begin(fd);
	return change_end(file, REAL(pwritev64v2)(fd, parts, count, offset, flags));
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t length)
{
	struct file *file = change_begin(out);
	return change_end(file, REAL(sendfile64)(out, in, offset, length));
}

int ftruncate64(int fd, off64_t length)
{
	struct file *file = resize_begin(fd);
	return resized_end(file, REAL(ftruncate64)(fd, length));
}

int truncate64(const char *path, off64_t length)
{
	struct file *file = resize_of_path_begin(path);
	return resized_end(file, REAL(truncate64)(path, length));
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
	struct file *file = resize_begin(fd);
	return resized_end(file, REAL(fallocate64)(fd, mode, offset, length));
}

int posix_fallocate64(int fd, off64_t offset, off64_t length)
{
	struct file *file = resize_begin(fd);
	return resized_end(file, REAL(posix_fallocate64)(fd, offset, length));
}

int open64(const char *path, int flags, ...)
{
	mode_t mode;
	MODE_OF(mode, flags);
	return opened(REAL(open64)(path, flags, mode), flags);
}

int openat64(int directory, const char *path, int flags, ...)
{
	mode_t mode;
	MODE_OF(mode, flags);
	return opened(REAL(openat64)(directory, path, flags, mode), flags);
}

int creat64(const char *path, mode_t mode)
{
	return opened(REAL(creat64)(path, mode), O_CREAT | O_TRUNC);
}

int __open_2(const char *path, int flags)
{
	return opened(REAL(__open_2)(path, flags), flags);
}

int __open64_2(const char *path, int flags)
{
	return opened(REAL(__open64_2)(path, flags), flags);
}

int __openat_2(int directory, const char *path, int flags)
{
	return opened(REAL(__openat_2)(directory, path, flags), flags);
}

int __openat64_2(int directory, const char *path, int flags)
{
	return opened(REAL(__openat64_2)(directory, path, flags), flags);
}

/* The companion's own handlers come first, so the others' run while it has no lock (companion.c). */
__attribute__((no_sanitize("thread", "address"))) int __register_atfork(void (*prepare)(void), void (*parent)(void),
                                                                       void (*child)(void), void *object)
{
	companion_begins();
	return REAL(__register_atfork)(prepare, parent, child, object);
}

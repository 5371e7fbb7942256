/* SPDX-License-Identifier: BSD-3-Clause */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* the same number on every architecture (Linux 6.5) */
#endif

static int result(long rc)
{
	return rc < 0 ? -errno : (int)rc;
}

static int do_openat(int dir_fd, const char *path, int flags, unsigned mode)
{
	return result(openat(dir_fd, path, flags, mode));
}

static int do_close(int fd)
{
	return result(close(fd));
}

static int do_statx(int dir_fd, const char *path, int flags, struct statx *stx)
{
	return result(statx(dir_fd, path, flags, STATX_BASIC_STATS, stx));
}

static int do_fstatfs(int fd, struct statfs *stfs)
{
	return result(fstatfs(fd, stfs));
}

static int64_t do_seek_end(int fd)
{
	off_t end = lseek(fd, 0, SEEK_END);
	return end < 0 ? -errno : end;
}

static ssize_t do_readlinkat(int dir_fd, const char *path, char *buffer, size_t size)
{
	ssize_t rc = readlinkat(dir_fd, path, buffer, size);
	return rc < 0 ? -errno : rc;
}

static ssize_t do_read(int fd, void *buffer, size_t size)
{
	ssize_t rc = read(fd, buffer, size);
	return rc < 0 ? -errno : rc;
}

static ssize_t do_write(int fd, const void *buffer, size_t size)
{
	ssize_t rc = write(fd, buffer, size);
	return rc < 0 ? -errno : rc;
}

static ssize_t do_pread(int fd, void *buffer, size_t size, uint64_t offset)
{
	ssize_t rc = pread(fd, buffer, size, (off_t)offset);
	return rc < 0 ? -errno : rc;
}

static int do_unlinkat(int dir_fd, const char *path)
{
	return result(unlinkat(dir_fd, path, 0));
}

static int do_ftruncate(int fd, uint64_t length)
{
	return result(ftruncate(fd, (off_t)length));
}

static int do_fallocate(int fd, uint64_t offset, uint64_t length)
{
	return result(fallocate(fd, 0, (off_t)offset, (off_t)length));
}

static int do_fsync(int fd)
{
	return result(fsync(fd));
}

static int do_fdatasync(int fd)
{
	return result(fdatasync(fd));
}

static int do_syncfs(int fd)
{
	return result(syncfs(fd));
}

static int do_ioctl(int fd, unsigned long request, void *arg)
{
	return result(ioctl(fd, request, arg));
}

static int do_flags_of(int fd)
{
	return result(fcntl(fd, F_GETFL));
}

static int do_uname(struct utsname *name)
{
	return result(uname(name));
}

static int do_mmap(void **address, size_t length, int prot, int flags, int fd, uint64_t offset)
{
	void *map = mmap(*address, length, prot, flags, fd, (off_t)offset);
	if (map == MAP_FAILED)
		return -errno;
	*address = map;
	return 0;
}

static int do_munmap(void *address, size_t length)
{
	return result(munmap(address, length));
}

static int do_memfd_create(const char *name)
{
	return result(memfd_create(name, MFD_CLOEXEC));
}

static int do_file_size_limit(uint64_t *limit)
{
	struct rlimit r;
	int rc = result(getrlimit(RLIMIT_FSIZE, &r));
	*limit = rc || r.rlim_cur == RLIM_INFINITY ? UINT64_MAX : r.rlim_cur;
	return rc;
}

static int do_mremap(void **address, size_t old_length, size_t new_length, int flags)
{
	void *map = mremap(*address, old_length, new_length, flags);
	if (map == MAP_FAILED)
		return -errno;
	*address = map;
	return 0;
}

static int do_madvise(void *address, size_t length, int advice)
{
	return result(madvise(address, length, advice));
}

static int do_mincore(void *address, size_t length, unsigned char *vector)
{
	return result(mincore(address, length, vector));
}

static int do_msync(void *address, size_t length)
{
	return result(msync(address, length, MS_SYNC));
}

static int do_cachestat(int fd, uint64_t offset, uint64_t length, struct pm_cachestat *stat)
{
	struct {
		uint64_t offset, length;
	} range = {offset, length};
	return result(syscall(SYS_cachestat, fd, &range, stat, 0));
}

static unsigned do_euid(void)
{
	return geteuid();
}

static const char *do_getenv(const char *name)
{
	return secure_getenv(name);
}

static void *do_dlopen(const char *path)
{
	return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

const struct pm_sys pm_sys_linux = {
	.openat = do_openat,
	.close = do_close,
	.statx = do_statx,
	.fstatfs = do_fstatfs,
	.seek_end = do_seek_end,
	.readlinkat = do_readlinkat,
	.read = do_read,
	.write = do_write,
	.pread = do_pread,
	.unlinkat = do_unlinkat,
	.ftruncate = do_ftruncate,
	.fallocate = do_fallocate,
	.fsync = do_fsync,
	.fdatasync = do_fdatasync,
	.syncfs = do_syncfs,
	.ioctl = do_ioctl,
	.flags_of = do_flags_of,
	.uname = do_uname,
	.mmap = do_mmap,
	.munmap = do_munmap,
	.memfd_create = do_memfd_create,
	.file_size_limit = do_file_size_limit,
	.mremap = do_mremap,
	.madvise = do_madvise,
	.mincore = do_mincore,
	.msync = do_msync,
	.cachestat = do_cachestat,
	.euid = do_euid,
	.getenv = do_getenv,
	.dlopen = do_dlopen,
};

const struct pm_sys *pm_sys = &pm_sys_linux;

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/loop.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fake.h"
#include "fake_internal.h"
#include "kernel/magic.h"

struct fake fake;

static _Atomic int64_t mapped_bytes;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the violation */

void fake_violation(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	pthread_mutex_lock(&lock);
	vsnprintf(fake.violation, sizeof(fake.violation), format, args);
	pthread_mutex_unlock(&lock);
	va_end(args);
}

/* ---- Files ---- */

/* Only what the caller named, or what hangs at a descriptor of our own, may depend on the working directory. */
static void check_path(int dir_fd, const char *path)
{
	if (dir_fd == AT_FDCWD && path[0] != '/' && (!strncmp(path, "sys", 3) || strstr(path, "proc")))
		fake_violation("relative path %s", path);
}

static int fake_openat(int dir_fd, const char *path, int flags, unsigned mode)
{
	check_path(dir_fd, path);
	if (fake_is_virtual(path))
		return fake_virtual_open(path, flags);
	if (fake_is_loop(path))
		return fake_loop_open();
	if ((flags & O_TMPFILE) == O_TMPFILE && !fake.machine.has_unnamed_files)
		return -EOPNOTSUPP;
	return pm_sys_linux.openat(dir_fd, path, flags, mode);
}

static int fake_close(int fd)
{
	if (fd >= FAKE_VIRTUAL_FD ? fake_virtual_close(fd) : pm_sys_linux.close(fd))
		fake_violation("close(%d) of what is not open", fd);
	return 0;
}

static int fake_faccessat2_write(int fd)
{
	(void)fd;
	return fake_is_read_only() ? -EROFS : 0;
}

static int fake_fstatfs(int fd, struct statfs *stfs)
{
	int rc = fd < FAKE_VIRTUAL_FD ? pm_sys_linux.fstatfs(fd, stfs) : 0;
	bool proc = !rc && fd < FAKE_VIRTUAL_FD && stfs->f_type == PROC_SUPER_MAGIC;
	if (fake.machine.under.magic)
		fake_upper_numbers(stfs, false);
	fake_file_system(stfs);
	if (fd >= FAKE_VIRTUAL_FD)
		stfs->f_type = fake_virtual_type(fd);
	else if (fake_is_below(fd))
		stfs->f_type = (__typeof__(stfs->f_type))fake.machine.under.magic;
	else if (proc)
		stfs->f_type = fake_type_at("/proc/");
	return rc;
}

/* 9p has none. */
static int fake_same_handle(const char *path, const char *other)
{
	return fake.machine.invents_inodes ? -EOPNOTSUPP : pm_sys_linux.same_handle(path, other);
}

static int fake_statfs(const char *path, struct statfs *stfs)
{
	if (!fake_is_virtual(path)) {
		int rc = pm_sys_linux.statfs(path, stfs);
		if (!rc)
			fake_upper_numbers(stfs, true);
		return rc;
	}
	stfs->f_type = fake_type_at(path);
	return fake_virtual_exists(path) ? 0 : -ENOENT;
}

static ssize_t fake_readlinkat(int dir_fd, const char *path, char *buffer, size_t size)
{
	check_path(dir_fd, path);
	return fake_is_virtual(path) ? fake_virtual_link(path, buffer, size)
	                             : pm_sys_linux.readlinkat(dir_fd, path, buffer, size);
}

static ssize_t fake_read(int fd, void *buffer, size_t size)
{
	return fd >= FAKE_VIRTUAL_FD ? fake_virtual_read(fd, buffer, size) : pm_sys_linux.read(fd, buffer, size);
}

static ssize_t fake_write(int fd, const void *buffer, size_t size)
{
	return fd >= FAKE_VIRTUAL_FD ? (ssize_t)size : pm_sys_linux.write(fd, buffer, size);
}

static int fake_fallocate(int fd, uint64_t offset, uint64_t length)
{
	return fake.machine.lacks_fallocate ? -EOPNOTSUPP : pm_sys_linux.fallocate(fd, offset, length);
}

/* fsync(2) of a descriptor opened with O_PATH is EBADF; device-dax has no fsync at all. */
static int sync_with(int (*call)(int), int fd)
{
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || flags & O_PATH)
		return -EBADF;
	if (fake.machine.is_device_dax) {
		fake_violation("sync of a device-dax");
		return -EINVAL;
	}
	return fake.really_syncs ? call(fd) : 0;
}

static int fake_fsync(int fd)
{
	fake_commits();
	return sync_with(pm_sys_linux.fsync, fd);
}

static int fake_fdatasync(int fd)
{
	return sync_with(pm_sys_linux.fdatasync, fd);
}

static int fake_syncfs(int fd)
{
	return sync_with(pm_sys_linux.syncfs, fd);
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	struct statx stx;
	if (request == BLKGETSIZE64) {
		int rc = pm_sys_linux.statx(fd, "", AT_EMPTY_PATH, &stx);
		*(uint64_t *)arg = rc ? 0 : stx.stx_size;
		return rc;
	}
	if (request == LOOP_GET_STATUS64)
		return fake_loop_ioctl(arg);
	if (request == FS_IOC_FIEMAP)
		return fake_fiemap(arg);
	return fake_xfs(request, arg);
}

static int fake_uname(struct utsname *name)
{
	int rc = pm_sys_linux.uname(name);
	if (fake.machine.release)
		strcpy(name->release, fake.machine.release);
	return rc;
}

/* ---- Memory ---- */

static int64_t whole_pages(size_t length)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	return (int64_t)((length + page - 1) / page * page);
}

static int answer_flags(int *flags, size_t length)
{
	if (*flags & MAP_FIXED || (*flags & MAP_FIXED_NOREPLACE && !(*flags & MAP_ANONYMOUS)))
		fake_violation("mmap with MAP_FIXED");
	if (*flags & MAP_FIXED_NOREPLACE && fake.machine.takes_places_for_hints)
		*flags &= ~MAP_FIXED_NOREPLACE;
	if ((*flags & MAP_TYPE) != MAP_SHARED_VALIDATE && *flags & MAP_SYNC)
		fake_violation("MAP_SYNC without MAP_SHARED_VALIDATE is never validated");
	/* A file system that was shut down refuses any mapping. */
	if (*flags == MAP_PRIVATE && fake.machine.errno_of_refusal == EIO)
		return -EIO;
	if ((*flags & MAP_TYPE) != MAP_SHARED_VALIDATE)
		return 0;
	const int harmless = MAP_POPULATE | MAP_NONBLOCK | MAP_LOCKED | MAP_NORESERVE;
	bool undefined = *flags & ~(MAP_TYPE | MAP_SYNC | harmless), sync = *flags & MAP_SYNC;
	*flags = MAP_SHARED | (*flags & harmless);
	if (fake.machine.sync == FAKE_IGNORES_FLAGS || (!sync && !undefined))
		return 0;
	if (fake.machine.sync == FAKE_IGNORES_FLAGS_OF_FILES && !undefined && length != 1)
		return 0;
	if (undefined || length == 1 /* the trial on memory: no kernel is synchronous there */)
		return -EOPNOTSUPP;
	if (fake.machine.sync == FAKE_ACCEPTS)
		return 0;
	return fake.machine.errno_of_refusal ? -fake.machine.errno_of_refusal : -EOPNOTSUPP;
}

/* What the library holds a place with, until something is moved there. */
static _Atomic(char *) held;
static atomic_size_t held_length;

static int fake_mmap(void **address, size_t length, int prot, int flags, int fd, uint64_t offset)
{
	bool sync = flags & MAP_SYNC, holds = flags & MAP_FIXED_NOREPLACE;
	int rc = answer_flags(&flags, length);
	if (rc || (rc = pm_sys_linux.mmap(address, length, prot, flags, fd, offset)))
		return rc;
	atomic_fetch_add(&mapped_bytes, whole_pages(length));
	if (holds) {
		atomic_store(&held_length, length);
		atomic_store(&held, *address);
	}
	if (sync)
		fake_show_mapping(*address, whole_pages(length), fake.machine.sync == FAKE_ACCEPTS);
	return 0;
}

static int fake_munmap(void *address, size_t length)
{
	int rc = pm_sys_linux.munmap(address, length);
	char *expected = address;
	if (!rc)
		atomic_compare_exchange_strong(&held, &expected, NULL);
	fake_show_mapping(NULL, 0, false);
	atomic_fetch_sub(&mapped_bytes, rc ? 0 : whole_pages(length));
	return rc;
}

static int fake_mremap(void **address, size_t old_length, size_t new_length, int flags)
{
	if (flags & MREMAP_FIXED)
		fake_violation("mremap with MREMAP_FIXED");
	int rc = pm_sys_linux.mremap(address, old_length, new_length, flags);
	if (!rc)
		atomic_fetch_add(&mapped_bytes, whole_pages(new_length) - whole_pages(old_length));
	return rc;
}

/* What the program has mapped there is not counted. */
static int fake_mremap_over(void *from, size_t length, void *to)
{
	int rc = pm_sys_linux.mremap_over(from, length, to);
	char *expected = to;
	if (!rc && atomic_compare_exchange_strong(&held, &expected, NULL))
		atomic_fetch_sub(&mapped_bytes, whole_pages(atomic_load(&held_length)));
	if (!rc && fake.machine.sync == FAKE_ACCEPTS)
		fake_show_mapping(to, whole_pages(length), true);
	return rc;
}

static int fake_madvise(void *address, size_t length, int advice)
{
	int rc = pm_sys_linux.madvise(address, length, advice);
	if (!rc && advice == MADV_POPULATE_WRITE)
		atomic_store(&fake.populated, true);
	return rc;
}

static int fake_mincore(void *address, size_t length, unsigned char *vector)
{
	if (fake.machine.dax == PM_YES && !fake.recovers)
		fake_violation("mincore says nothing of a DAX file");
	return pm_sys_linux.mincore(address, length, vector);
}

static int fake_pagemap_scan(const void *address, size_t length, uint64_t all, uint64_t none)
{
	(void)address;
	(void)length;
	if (!fake.machine.tells_pages)
		return -ENOTTY;
	bool huge = fake.machine.has_huge_pages && !(none & PM_PAGE_HUGE);
	return huge || (fake.machine.has_small_pages && !(all & PM_PAGE_HUGE));
}

static int fake_msync(void *address, size_t length)
{
	if (fake.machine.is_device_dax) {
		fake_violation("msync of a device-dax");
		return -EINVAL;
	}
	if (fake_write_back_bad())
		return -EIO;
	if (fake.really_syncs)
		return pm_sys_linux.msync(address, length);
	/* It only checks the range. */
	return msync(address, length, MS_ASYNC) ? -errno : 0;
}

static int fake_cachestat(int fd, uint64_t offset, uint64_t length, struct pm_cachestat *stat)
{
	(void)fd;
	if (fake.machine.dax != PM_NO || fake.machine.is_device_dax)
		fake_violation("cachestat on a file that may be DAX crashes Linux 6.12");
	fake_check_cachestat(fake.machine.magic);
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), end = offset + length;
	uint64_t start = offset < fake.machine.cached_from ? fake.machine.cached_from : offset;
	*stat = (struct pm_cachestat){.cached = start < end ? (end - start) / page : 0};
	return 0;
}

static const struct pm_sys answers = {
	.openat = fake_openat,
	.close = fake_close,
	.faccessat2_write = fake_faccessat2_write,
	.fstatfs = fake_fstatfs,
	.same_handle = fake_same_handle,
	.statfs = fake_statfs,
	.readlinkat = fake_readlinkat,
	.read = fake_read,
	.write = fake_write,
	.fallocate = fake_fallocate,
	.fsync = fake_fsync,
	.fdatasync = fake_fdatasync,
	.syncfs = fake_syncfs,
	.ioctl = fake_ioctl,
	.uname = fake_uname,
	.mmap = fake_mmap,
	.munmap = fake_munmap,
	.mremap = fake_mremap,
	.mremap_over = fake_mremap_over,
	.madvise = fake_madvise,
	.mincore = fake_mincore,
	.pagemap_scan = fake_pagemap_scan,
	.msync = fake_msync,
	.cachestat = fake_cachestat,
};

/* ---- For the test ---- */

/* What none of them answers Linux does, on the real files that the machine stands on. */
static const struct pm_sys *const all_answers[] = {
	&answers, &fake_answers_of_files, &fake_answers_of_medium, &fake_answers_of_watch, &fake_answers_of_guard,
	&fake_answers_of_commit};
static struct machine machines[sizeof(all_answers) / sizeof(all_answers[0])];

void fake_start(const struct fake_machine *machine)
{
	memset(&fake, 0, sizeof(fake));
	fake.machine = *machine;
	atomic_store(&mapped_bytes, 0);
	fake_virtual_start();
	fake_cpu_start();
	pm_sys = &pm_sys_linux;
	for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++)
		machine_put(&machines[i], all_answers[i]);
	fake_count_start();
}

void fake_stop(void)
{
	fake_cpu_stop();
	pm_sys = &pm_sys_linux;
}

void fake_forget(void)
{
	fake_count_forget();
	fake.write_backs = fake.lines = fake.fences = fake.streams = fake.streamed_lines = fake.copies = 0;
	fake.streams_down = 0;
}

uint64_t fake_mapped_bytes(void)
{
	return (uint64_t)atomic_load(&mapped_bytes);
}

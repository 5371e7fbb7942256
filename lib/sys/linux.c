/* SPDX-License-Identifier: BSD-3-Clause */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/calls.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1u /* linux/fs.h */
#endif

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* the same number on every architecture (Linux 6.5) */
#endif
#ifndef SYS_faccessat2
#define SYS_faccessat2 439 /* the same number on every architecture (Linux 5.8) */
#endif

static int do_openat(int dir_fd, const char *path, int flags, unsigned mode)
{
	return pm_linux_opened(openat(dir_fd, path, flags, mode));
}

static int do_close(int fd)
{
	return result(close(fd));
}

static int do_statx(int dir_fd, const char *path, int flags, struct statx *stx)
{
	return result(
		syscall(SYS_statx, dir_fd, path, flags, STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID_UNIQUE, stx));
}

static int do_statx_now(int fd, struct statx *stx)
{
	return result(
		syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO | STATX_SIZE | STATX_NLINK, stx));
}

static int do_statfs(const char *path, struct statfs *stfs)
{
	return result(statfs(path, stfs));
}

static int do_fstatfs(int fd, struct statfs *stfs)
{
	return result(fstatfs(fd, stfs));
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

static ssize_t do_pread(int fd, void *buffer, size_t size, uint64_t offset)
{
	ssize_t rc = pread(fd, buffer, size, (off_t)offset);
	return rc < 0 ? -errno : rc;
}

static int do_linkat(const char *path, int dir_fd, const char *entry)
{
	return result(linkat(AT_FDCWD, path, dir_fd, entry, AT_SYMLINK_FOLLOW));
}

static int do_unlinkat(int dir_fd, const char *path)
{
	return result(unlinkat(dir_fd, path, 0));
}

static int do_renameat2_noreplace(int dir_fd, const char *from, const char *to)
{
	return result(syscall(SYS_renameat2, dir_fd, from, dir_fd, to, RENAME_NOREPLACE));
}

static int do_fadvise_dontneed(int fd)
{
	return -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
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
	return result(syscall(SYS_ioctl, fd, request, arg));
}

static int do_fcntl_getfl(int fd)
{
	return result(fcntl(fd, F_GETFL));
}

static int do_fcntl_get_seals(int fd)
{
	return result(fcntl(fd, F_GET_SEALS));
}

static int do_setlease(int fd, int type)
{
	return result(fcntl(fd, F_SETLEASE, type));
}

static int do_getlease(int fd)
{
	return result(fcntl(fd, F_GETLEASE));
}

static int do_fcntl_getown(int fd, struct pm_owner *owner)
{
	int rc = result(fcntl(fd, F_GETOWN_EX, &owner->owner));
	owner->signal = rc ? 0 : result(fcntl(fd, F_GETSIG));
	return rc ? rc : owner->signal < 0 ? owner->signal : 0;
}

static int do_fcntl_setown(int fd, const struct pm_owner *owner)
{
	int rc = result(fcntl(fd, F_SETOWN_EX, &owner->owner));
	return rc ? rc : result(fcntl(fd, F_SETSIG, owner->signal));
}

static int do_fcntl_setsig(int fd, int signal)
{
	return result(fcntl(fd, F_SETSIG, signal));
}

static int do_fcntl_getsig(int fd)
{
	return result(fcntl(fd, F_GETSIG));
}

static int do_lease_signal(int fd, int signal)
{
	struct pm_owner owner = {{F_OWNER_TID, (pid_t)syscall(SYS_gettid)}, signal};
	return do_fcntl_setown(fd, &owner);
}

static int do_lease_silence(int fd)
{
	return result(fcntl(fd, F_SETOWN, 0));
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
	return pm_linux_opened(memfd_create(name, MFD_CLOEXEC));
}

static int give_limit(int rc, const struct rlimit *r, uint64_t *limit)
{
	*limit = rc || r->rlim_cur == RLIM_INFINITY ? UINT64_MAX : r->rlim_cur;
	return rc;
}

static int do_getrlimit_fsize(uint64_t *limit)
{
	struct rlimit r;
	return give_limit(result(getrlimit(RLIMIT_FSIZE, &r)), &r, limit);
}

static int do_getrlimit_nofile(uint64_t *limit)
{
	struct rlimit r;
	return give_limit(result(getrlimit(RLIMIT_NOFILE, &r)), &r, limit);
}

static int do_mremap(void **address, size_t old_length, size_t new_length, int flags)
{
	void *map = mremap(*address, old_length, new_length, flags);
	if (map == MAP_FAILED)
		return -errno;
	*address = map;
	return 0;
}

static int do_mremap_over(void *from, size_t length, void *to)
{
	return mremap(from, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED ? -errno : 0;
}

static int do_mprotect(void *address, size_t length, int prot)
{
	return result(mprotect(address, length, prot));
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

static int do_sync_file_range(int fd, uint64_t offset, uint64_t length, unsigned flags)
{
	return result(sync_file_range(fd, (off64_t)offset, (off64_t)length, flags));
}

static int do_faccessat2_write(int fd)
{
	return result(syscall(SYS_faccessat2, fd, "", W_OK, AT_EMPTY_PATH | AT_EACCESS));
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

static int do_unshare(int flags)
{
	return result(unshare(flags));
}

static int do_sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
	return result(sigaction(number, action, old));
}

static int do_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	return -pthread_sigmask(how, set, old);
}

static int do_rt_tgsigqueueinfo(const siginfo_t *info)
{
	return result(syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), info->si_signo, info));
}

static int do_fallocate_keep_size(int fd, uint64_t offset, uint64_t length)
{
	return result(fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length));
}

static int do_futimens_now(int fd)
{
	return result(futimens(fd, NULL));
}

static int do_fallocate_collapse(int fd, uint64_t offset, uint64_t length)
{
	return result(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, (off_t)offset, (off_t)length));
}

static int do_rt_sigprocmask_reads(const void *address)
{
	int rc = result(syscall(SYS_rt_sigprocmask, -1, address, NULL, _NSIG / 8));
	return rc == -EINVAL ? 0 : rc;
}

const struct pm_sys pm_sys_linux = {
	.openat = do_openat,
	.close = do_close,
	.statx = do_statx,
	.statx_now = do_statx_now,
	.fstatfs = do_fstatfs,
	.statfs = do_statfs,
	.statmount = pm_linux_statmount,
	.readlinkat = do_readlinkat,
	.read = do_read,
	.write = pm_linux_write,
	.pread = do_pread,
	.pwrite = pm_linux_pwrite,
	.pwritev2_append = pm_linux_pwritev2_append,
	.linkat = do_linkat,
	.unlinkat = do_unlinkat,
	.renameat2_noreplace = do_renameat2_noreplace,
	.ftruncate = pm_linux_ftruncate,
	.fallocate = pm_linux_fallocate,
	.fadvise_dontneed = do_fadvise_dontneed,
	.fsync = do_fsync,
	.fdatasync = do_fdatasync,
	.syncfs = do_syncfs,
	.wrong_sync = pm_linux_wrong_sync,
	.ioctl = do_ioctl,
	.fcntl_getfl = do_fcntl_getfl,
	.fcntl_get_seals = do_fcntl_get_seals,
	.setlease = do_setlease,
	.getlease = do_getlease,
	.fcntl_getown = do_fcntl_getown,
	.fcntl_setown = do_fcntl_setown,
	.fcntl_setsig = do_fcntl_setsig,
	.fcntl_getsig = do_fcntl_getsig,
	.lease_signal = do_lease_signal,
	.lease_silence = do_lease_silence,
	.gettid = pm_linux_gettid,
	.now_ms = pm_linux_now_ms,
	.now_ns = pm_linux_now_ns,
	.futex_wait = pm_linux_futex_wait,
	.futex_wake = pm_linux_futex_wake,
	.signalfd = pm_linux_signalfd,
	.eventfd = pm_linux_eventfd,
	.timerfd = pm_linux_timerfd,
	.timer_set = pm_linux_timer_set,
	.inotify = pm_linux_inotify,
	.inotify_add = pm_linux_inotify_add,
	.inotify_remove = pm_linux_inotify_remove,
	.same_inode = pm_linux_same_inode,
	.same_handle = pm_linux_same_handle,
	.epoll_create = pm_linux_epoll_create,
	.epoll_add = pm_linux_epoll_add,
	.poll = pm_linux_poll,
	.kcmp_file = pm_linux_kcmp_file,
	.each_entry = pm_linux_each_entry,
	.uname = do_uname,
	.mmap = do_mmap,
	.munmap = do_munmap,
	.memfd_create = do_memfd_create,
	.getrlimit_fsize = do_getrlimit_fsize,
	.getrlimit_nofile = do_getrlimit_nofile,
	.mremap = do_mremap,
	.mremap_over = do_mremap_over,
	.mprotect = do_mprotect,
	.madvise = do_madvise,
	.mincore = do_mincore,
	.msync = do_msync,
	.pagemap_scan = pm_linux_pagemap_scan,
	.sync_file_range = do_sync_file_range,
	.faccessat2_write = do_faccessat2_write,
	.cachestat = do_cachestat,
	.euid = do_euid,
	.getenv = do_getenv,
	.dlopen = do_dlopen,
	.unshare = do_unshare,
	.sigaction = do_sigaction,
	.pthread_sigmask = do_pthread_sigmask,
	.rt_tgsigqueueinfo = do_rt_tgsigqueueinfo,
	.fallocate_keep_size = do_fallocate_keep_size,
	.futimens_now = do_futimens_now,
	.fallocate_collapse = do_fallocate_collapse,
	.rt_sigprocmask_reads = do_rt_sigprocmask_reads,
};

const struct pm_sys *pm_sys = &pm_sys_linux;

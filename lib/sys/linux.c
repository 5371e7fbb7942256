/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "sys.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* the same number on every architecture (Linux 6.5) */
#endif
#ifndef SYS_statmount
#define SYS_statmount 457 /* likewise (Linux 6.8) */
#endif
#ifndef SYS_faccessat2
#define SYS_faccessat2 439 /* likewise (Linux 5.8) */
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
	return result(statx(dir_fd, path, flags, STATX_BASIC_STATS | STATX_MNT_ID_UNIQUE, stx));
}

static int do_fstatfs(int fd, struct statfs *stfs)
{
	return result(fstatfs(fd, stfs));
}

/* linux/mount.h. Every string is an offset into what follows the structure. */
struct kernel_statmount {
	uint32_t size, mnt_opts;
	uint64_t mask;
	uint32_t sb_dev[2];
	uint64_t sb_magic;
	uint32_t sb_flags, fs_type;
	uint64_t of_the_mount[10];
	uint32_t fs_subtype, sb_source;
	uint32_t opt_arrays[4];
	uint64_t supported_mask;
	uint64_t rest[45];
};
_Static_assert(sizeof(struct kernel_statmount) == 512, "strings begin after 512 bytes");

#define MOUNT_SB_BASIC UINT64_C(0x1)
#define MOUNT_TYPE UINT64_C(0x20)
#define MOUNT_OPTIONS UINT64_C(0x80)    /* Linux 6.11 */
#define MOUNT_SUBTYPE UINT64_C(0x100)   /* Linux 6.13 */
#define MOUNT_SUPPORTED UINT64_C(0x1000) /* Linux 6.15 */
#define MOUNT_IS_READ_ONLY 0x1u /* SB_RDONLY */

static int do_statmount(int fd, struct pm_mount *mount)
{
	struct kernel_statmount *answer = (struct kernel_statmount *)mount->room;
	char *strings = mount->room + sizeof(*answer);
	struct statx stx;
	int rc = result(statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID_UNIQUE, &stx));
	if (rc || !(stx.stx_mask & STATX_MNT_ID_UNIQUE))
		return rc ? rc : -EOPNOTSUPP;
	struct {
		uint32_t size, spare;
		uint64_t id, asked;
	} request = {sizeof(request), 0, stx.stx_mnt_id,
	             MOUNT_SB_BASIC | MOUNT_TYPE | MOUNT_OPTIONS | MOUNT_SUBTYPE | MOUNT_SUPPORTED};
	rc = result(syscall(SYS_statmount, &request, mount->room, sizeof(mount->room), 0));
	if (rc)
		return rc;
	/* A string that is empty is not told, nor is one that the kernel does not know. */
	uint64_t told = answer->mask, known = told & MOUNT_SUPPORTED ? told | answer->supported_mask : told;
	if (~told & (MOUNT_SB_BASIC | MOUNT_TYPE) || ~known & MOUNT_OPTIONS)
		return -EOPNOTSUPP;
	static char none[1];
	mount->read_only = answer->sb_flags & MOUNT_IS_READ_ONLY;
	mount->type = strings + answer->fs_type;
	mount->subtype = told & MOUNT_SUBTYPE ? strings + answer->fs_subtype : none;
	mount->options = told & MOUNT_OPTIONS ? strings + answer->mnt_opts : none;
	return 0;
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

static ssize_t do_pwrite(int fd, const void *buffer, size_t size, uint64_t offset)
{
	ssize_t rc = pwrite(fd, buffer, size, (off_t)offset);
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

static int do_setlease(int fd, int type)
{
	return result(fcntl(fd, F_SETLEASE, type));
}

static int do_getlease(int fd)
{
	return result(fcntl(fd, F_GETLEASE));
}

static int do_owner(int fd, struct pm_owner *owner)
{
	int rc = result(fcntl(fd, F_GETOWN_EX, &owner->owner));
	owner->signal = rc ? 0 : result(fcntl(fd, F_GETSIG));
	return rc ? rc : owner->signal < 0 ? owner->signal : 0;
}

static int do_set_owner(int fd, const struct pm_owner *owner)
{
	int rc = result(fcntl(fd, F_SETOWN_EX, &owner->owner));
	return rc ? rc : result(fcntl(fd, F_SETSIG, owner->signal));
}

static int do_lease_signal(int fd, int signal)
{
	struct pm_owner owner = {{F_OWNER_TID, (pid_t)syscall(SYS_gettid)}, signal};
	return do_set_owner(fd, &owner);
}

static int do_lease_silence(int fd)
{
	return result(fcntl(fd, F_SETOWN, 0));
}

static int do_signalfd(int signal)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, signal);
	return result(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

static int do_eventfd(void)
{
	return result(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

static int do_timerfd(void)
{
	return result(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
}

static int do_timer_set(int fd, unsigned ms)
{
	/* A time of 0 would be never. */
	struct itimerspec when = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms ? ms % 1000 * 1000000L : 1}};
	return result(timerfd_settime(fd, 0, &when, NULL));
}

static int do_inotify(const char *path, uint32_t mask)
{
	int fd = result(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
	if (fd < 0)
		return fd;
	int rc = result(inotify_add_watch(fd, path, mask));
	if (rc >= 0)
		return fd;
	close(fd);
	return rc;
}

static int do_epoll_create(void)
{
	return result(epoll_create1(EPOLL_CLOEXEC));
}

static int do_epoll_add(int epoll, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events};
	return result(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

static int do_poll(struct pollfd *fds, unsigned count, int timeout_ms)
{
	return result(poll(fds, count, timeout_ms));
}

static int do_same_description(int process, int fd, int own_fd)
{
	int rc = result(syscall(SYS_kcmp, getpid(), process, KCMP_FILE, own_fd, fd));
	return rc < 0 ? rc : rc == 0;
}

static int do_each_entry(const char *directory, void (*visit)(void *arg, const char *entry), void *arg)
{
	DIR *stream = opendir(directory);
	if (!stream)
		return -errno;
	struct dirent *entry;
	/* readdir(3): NULL with errno unchanged is the end. */
	while (errno = 0, (entry = readdir(stream)))
		if (entry->d_name[0] != '.')
			visit(arg, entry->d_name);
	int error = errno;
	closedir(stream);
	return -error;
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

/* struct page_region and struct pm_scan_arg of linux/fs.h (Linux 6.7). */
struct kernel_page_region {
	uint64_t start, end, categories;
};
struct kernel_scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, any_of, wanted;
};

static int do_any_page(const void *address, size_t length, uint64_t all, uint64_t none)
{
	struct kernel_page_region found;
	struct kernel_scan_arg scan = {.size = sizeof(scan), .start = (uintptr_t)address, .end = (uintptr_t)address + length,
	                               .vec = (uintptr_t)&found, .vec_len = 1, .max_pages = 1, .inverted = none,
	                               .mask = all | none, .wanted = all};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int rc = result(ioctl(fd, _IOWR('f', 16, struct kernel_scan_arg), &scan));
	close(fd);
	return rc;
}

static int do_sync_file_range(int fd, uint64_t offset, uint64_t length, unsigned flags)
{
	return result(sync_file_range(fd, (off64_t)offset, (off64_t)length, flags));
}

static int do_may_write(int fd)
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

static int do_sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
	return result(sigaction(number, action, old));
}

static int do_thread_mask(int how, const sigset_t *set, sigset_t *old)
{
	return -pthread_sigmask(how, set, old);
}

static int do_signal_self(const siginfo_t *info)
{
	return result(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), info->si_signo, info));
}

static int do_allocate_inside(int fd, uint64_t offset, uint64_t length)
{
	return result(fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length));
}

const struct pm_sys pm_sys_linux = {
	.openat = do_openat,
	.close = do_close,
	.statx = do_statx,
	.fstatfs = do_fstatfs,
	.statmount = do_statmount,
	.seek_end = do_seek_end,
	.readlinkat = do_readlinkat,
	.read = do_read,
	.write = do_write,
	.pread = do_pread,
	.pwrite = do_pwrite,
	.unlinkat = do_unlinkat,
	.ftruncate = do_ftruncate,
	.fallocate = do_fallocate,
	.fsync = do_fsync,
	.fdatasync = do_fdatasync,
	.syncfs = do_syncfs,
	.ioctl = do_ioctl,
	.flags_of = do_flags_of,
	.setlease = do_setlease,
	.getlease = do_getlease,
	.owner = do_owner,
	.set_owner = do_set_owner,
	.lease_signal = do_lease_signal,
	.lease_silence = do_lease_silence,
	.signalfd = do_signalfd,
	.eventfd = do_eventfd,
	.timerfd = do_timerfd,
	.timer_set = do_timer_set,
	.inotify = do_inotify,
	.epoll_create = do_epoll_create,
	.epoll_add = do_epoll_add,
	.poll = do_poll,
	.same_description = do_same_description,
	.each_entry = do_each_entry,
	.uname = do_uname,
	.mmap = do_mmap,
	.munmap = do_munmap,
	.memfd_create = do_memfd_create,
	.file_size_limit = do_file_size_limit,
	.mremap = do_mremap,
	.madvise = do_madvise,
	.mincore = do_mincore,
	.msync = do_msync,
	.any_page = do_any_page,
	.sync_file_range = do_sync_file_range,
	.may_write = do_may_write,
	.cachestat = do_cachestat,
	.euid = do_euid,
	.getenv = do_getenv,
	.dlopen = do_dlopen,
	.sigaction = do_sigaction,
	.thread_mask = do_thread_mask,
	.signal_self = do_signal_self,
	.allocate_inside = do_allocate_inside,
};

const struct pm_sys *pm_sys = &pm_sys_linux;

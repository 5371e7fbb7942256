/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
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

static struct {
	atomic_uint until; /* it breaks: counts down to 0; ~0u: every time */
	atomic_int error;
} broken[FAKE_CALLS_COUNT], any;
static atomic_uint interruptions[FAKE_CALLS_COUNT];
static atomic_bool any_has_failed;
static atomic_int open_files;
static _Atomic int64_t mapped_bytes;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of records */

/* Undoing is not broken with them, and nothing can be done about a close(2) that fails. */
static bool is_breakable(const struct fake_record *r)
{
	enum fake_call c = r->call;
	bool gives_back = c == FAKE_setlease && r->flags == F_UNLCK;
	return !gives_back && c != FAKE_close && c != FAKE_munmap && c != FAKE_unlinkat && c != FAKE_renameat2_noreplace && c != FAKE_euid && c != FAKE_getenv &&
	       c != FAKE_dlopen;
}

void fake_violation(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	pthread_mutex_lock(&lock);
	vsnprintf(fake.violation, sizeof(fake.violation), format, args);
	pthread_mutex_unlock(&lock);
	va_end(args);
}

static bool strikes(atomic_uint *until)
{
	unsigned now = atomic_load(until);
	return now == ~0u || (now && atomic_fetch_sub(until, 1) == 1);
}

int fake_enter(const struct fake_record *r)
{
	enum fake_call c = r->call;
	struct stat st;
	if (fake.hook)
		fake.hook(c);
	atomic_fetch_add(&fake.calls[c], 1);
	if (fake.recording) {
		uint64_t inode = r->fd >= 0 && r->fd < FAKE_VIRTUAL_FD && !fstat(r->fd, &st) ? st.st_ino : 0;
		pthread_mutex_lock(&lock);
		if (fake.records < FAKE_RECORDS) {
			fake.record[fake.records] = *r;
			fake.record[fake.records++].inode = inode;
		}
		pthread_mutex_unlock(&lock);
	}
	if (atomic_load(&interruptions[c]) && atomic_fetch_sub(&interruptions[c], 1) > 0)
		return -EINTR;
	if (strikes(&broken[c].until))
		return -atomic_load(&broken[c].error);
	if (is_breakable(r) && strikes(&any.until)) {
		atomic_store(&any_has_failed, true);
		return -atomic_load(&any.error);
	}
	return 0;
}

static void copy_path(char *to, const char *path)
{
	snprintf(to, sizeof(((struct fake_record *)0)->path), "%s", path);
}

int fake_opened(int fd)
{
	if (fd >= 0)
		atomic_fetch_add(&open_files, 1);
	return fd;
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
	struct fake_record r = {.call = FAKE_openat, .fd = dir_fd, .flags = (unsigned long)flags};
	copy_path(r.path, path);
	check_path(dir_fd, path);
	int rc = fake_enter(&r);
	if (rc)
		return rc;
	if (fake_is_virtual(path))
		rc = fake_virtual_open(path, flags);
	else if ((flags & O_TMPFILE) == O_TMPFILE && !fake.machine.has_unnamed_files)
		rc = -EOPNOTSUPP;
	else
		rc = pm_sys_linux.openat(dir_fd, path, flags, mode);
	return fake_opened(rc);
}

static int fake_close(int fd)
{
	int rc = fake_enter(&(struct fake_record){.call = FAKE_close, .fd = fd});
	/* close(2): whatever it returns, the descriptor is gone. */
	if (fd >= FAKE_VIRTUAL_FD ? fake_virtual_close(fd) : pm_sys_linux.close(fd))
		fake_violation("close(%d) of what is not open", fd);
	atomic_fetch_sub(&open_files, 1);
	return rc;
}

static int fake_faccessat2_write(int fd)
{
	ENTER(.call = FAKE_faccessat2_write, .fd = fd);
	return fake_is_read_only() ? -EROFS : 0;
}

static int fake_fstatfs(int fd, struct statfs *stfs)
{
	ENTER(.call = FAKE_fstatfs, .fd = fd);
	int rc = fd < FAKE_VIRTUAL_FD ? pm_sys_linux.fstatfs(fd, stfs) : 0;
	bool proc = !rc && fd < FAKE_VIRTUAL_FD && stfs->f_type == PROC_SUPER_MAGIC;
	fake_file_system(stfs);
	if (fd >= FAKE_VIRTUAL_FD)
		stfs->f_type = fake_virtual_type(fd);
	else if (fake_is_below(fd))
		stfs->f_type = (__typeof__(stfs->f_type))fake.machine.under.magic;
	else if (proc)
		stfs->f_type = fake_type_at("/proc/");
	return rc;
}

static int fake_statfs(const char *path, struct statfs *stfs)
{
	struct fake_record r = {.call = FAKE_statfs};
	snprintf(r.path, sizeof(r.path), "%s", path);
	int rc = fake_enter(&r);
	if (rc || !fake_is_virtual(path))
		return rc ? rc : pm_sys_linux.statfs(path, stfs);
	stfs->f_type = fake_type_at(path);
	return fake_virtual_exists(path) ? 0 : -ENOENT;
}

static int64_t fake_lseek_end(int fd)
{
	ENTER(.call = FAKE_lseek_end, .fd = fd);
	return pm_sys_linux.lseek_end(fd);
}

static ssize_t fake_readlinkat(int dir_fd, const char *path, char *buffer, size_t size)
{
	struct fake_record r = {.call = FAKE_readlinkat, .fd = dir_fd};
	copy_path(r.path, path);
	check_path(dir_fd, path);
	int rc = fake_enter(&r);
	if (rc)
		return rc;
	return fake_is_virtual(path) ? fake_virtual_link(path, buffer, size)
	                             : pm_sys_linux.readlinkat(dir_fd, path, buffer, size);
}

static ssize_t fake_read(int fd, void *buffer, size_t size)
{
	ENTER(.call = FAKE_read, .fd = fd, .length = size);
	return fd >= FAKE_VIRTUAL_FD ? fake_virtual_read(fd, buffer, size) : pm_sys_linux.read(fd, buffer, size);
}

static ssize_t fake_write(int fd, const void *buffer, size_t size)
{
	ENTER(.call = FAKE_write, .fd = fd, .length = size);
	return fd >= FAKE_VIRTUAL_FD ? (ssize_t)size : pm_sys_linux.write(fd, buffer, size);
}

static int fake_ftruncate(int fd, uint64_t length)
{
	ENTER(.call = FAKE_ftruncate, .fd = fd, .length = length);
	return pm_sys_linux.ftruncate(fd, length);
}

static int fake_fallocate(int fd, uint64_t offset, uint64_t length)
{
	ENTER(.call = FAKE_fallocate, .fd = fd, .offset = offset, .length = length);
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
	ENTER(.call = FAKE_fsync, .fd = fd);
	fake_commits();
	return sync_with(pm_sys_linux.fsync, fd);
}

static int fake_fdatasync(int fd)
{
	ENTER(.call = FAKE_fdatasync, .fd = fd);
	return sync_with(pm_sys_linux.fdatasync, fd);
}

static int fake_syncfs(int fd)
{
	ENTER(.call = FAKE_syncfs, .fd = fd);
	return sync_with(pm_sys_linux.syncfs, fd);
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	ENTER(.call = FAKE_ioctl, .fd = fd, .flags = request);
	if (request == FS_IOC_FIEMAP)
		return fake_fiemap(arg);
	return fake_xfs(request, arg);
}

static int fake_fcntl_getfl(int fd)
{
	ENTER(.call = FAKE_fcntl_getfl, .fd = fd);
	return pm_sys_linux.fcntl_getfl(fd);
}

static int fake_fcntl_get_seals(int fd)
{
	ENTER(.call = FAKE_fcntl_get_seals, .fd = fd);
	return pm_sys_linux.fcntl_get_seals(fd);
}

static int fake_uname(struct utsname *name)
{
	ENTER(.call = FAKE_uname, .fd = -1);
	int rc = pm_sys_linux.uname(name);
	if (fake.machine.release)
		strcpy(name->release, fake.machine.release);
	return rc;
}

/* ---- Memory ---- */

static int fake_memfd_create(const char *name)
{
	ENTER(.call = FAKE_memfd_create, .fd = -1);
	return fake_opened(pm_sys_linux.memfd_create(name));
}

static int fake_getrlimit_fsize(uint64_t *limit)
{
	ENTER(.call = FAKE_getrlimit_fsize, .fd = -1);
	return pm_sys_linux.getrlimit_fsize(limit);
}

static int64_t whole_pages(size_t length)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	return (int64_t)((length + page - 1) / page * page);
}

static int answer_flags(int *flags, size_t length)
{
	if (*flags & (MAP_FIXED | 0x100000 /* MAP_FIXED_NOREPLACE */))
		fake_violation("mmap with MAP_FIXED");
	if ((*flags & MAP_TYPE) != MAP_SHARED_VALIDATE && *flags & MAP_SYNC)
		fake_violation("MAP_SYNC without MAP_SHARED_VALIDATE is never validated");
	/* A file system that was shut down refuses any mapping. */
	if (*flags == MAP_PRIVATE && fake.machine.errno_of_refusal == EIO)
		return -EIO;
	if ((*flags & MAP_TYPE) != MAP_SHARED_VALIDATE)
		return 0;
	bool undefined = *flags & ~(MAP_TYPE | MAP_SYNC), sync = *flags & MAP_SYNC;
	*flags = MAP_SHARED;
	if (fake.machine.sync == FAKE_SWALLOWS || (!sync && !undefined))
		return 0;
	if (fake.machine.sync == FAKE_SWALLOWS_FILES && !undefined && length != 1)
		return 0;
	if (undefined || length == 1 /* the trial on memory: no kernel is synchronous there */)
		return -EOPNOTSUPP;
	if (fake.machine.sync == FAKE_ACCEPTS)
		return 0;
	return fake.machine.errno_of_refusal ? -fake.machine.errno_of_refusal : -EOPNOTSUPP;
}

static int fake_mmap(void **address, size_t length, int prot, int flags, int fd, uint64_t offset)
{
	ENTER(.call = FAKE_mmap, .fd = fd, .address = (uintptr_t)*address, .length = length, .offset = offset,
	      .flags = (unsigned long)flags);
	bool sync = flags & MAP_SYNC;
	int rc = answer_flags(&flags, length);
	if (rc || (rc = pm_sys_linux.mmap(address, length, prot, flags, fd, offset)))
		return rc;
	atomic_fetch_add(&mapped_bytes, whole_pages(length));
	if (sync)
		fake_show_mapping(*address, whole_pages(length), fake.machine.sync == FAKE_ACCEPTS);
	return 0;
}

static int fake_munmap(void *address, size_t length)
{
	ENTER(.call = FAKE_munmap, .fd = -1, .address = (uintptr_t)address, .length = length);
	int rc = pm_sys_linux.munmap(address, length);
	fake_show_mapping(NULL, 0, false);
	atomic_fetch_sub(&mapped_bytes, rc ? 0 : whole_pages(length));
	return rc;
}

static int fake_mremap(void **address, size_t old_length, size_t new_length, int flags)
{
	ENTER(.call = FAKE_mremap, .fd = -1, .address = (uintptr_t)*address, .length = new_length,
	      .flags = (unsigned long)flags);
	if (flags & MREMAP_FIXED)
		fake_violation("mremap with MREMAP_FIXED");
	int rc = pm_sys_linux.mremap(address, old_length, new_length, flags);
	if (!rc)
		atomic_fetch_add(&mapped_bytes, whole_pages(new_length) - whole_pages(old_length));
	return rc;
}

static int fake_madvise(void *address, size_t length, int advice)
{
	ENTER(.call = FAKE_madvise, .fd = -1, .address = (uintptr_t)address, .length = length,
	      .flags = (unsigned long)advice);
	int rc = pm_sys_linux.madvise(address, length, advice);
	if (!rc && advice == MADV_POPULATE_WRITE)
		atomic_store(&fake.populated, true);
	return rc;
}

static int fake_mincore(void *address, size_t length, unsigned char *vector)
{
	ENTER(.call = FAKE_mincore, .fd = -1, .address = (uintptr_t)address, .length = length);
	if (fake.machine.dax == PM_YES && !fake.recovers)
		fake_violation("mincore says nothing of a DAX file");
	return pm_sys_linux.mincore(address, length, vector);
}

static int fake_pagemap_scan(const void *address, size_t length, uint64_t all, uint64_t none)
{
	ENTER(.call = FAKE_pagemap_scan, .fd = -1, .address = (uintptr_t)address, .length = length);
	if (!fake.machine.tells_pages)
		return -ENOTTY;
	bool huge = fake.machine.has_huge_pages && !(none & PM_PAGE_HUGE);
	return huge || (fake.machine.has_small_pages && !(all & PM_PAGE_HUGE));
}

static int fake_msync(void *address, size_t length)
{
	ENTER(.call = FAKE_msync, .fd = -1, .address = (uintptr_t)address, .length = length);
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
	ENTER(.call = FAKE_cachestat, .fd = fd, .offset = offset, .length = length);
	if (fake.machine.dax != PM_NO || fake.machine.is_device_dax)
		fake_violation("cachestat on a file that may be DAX crashes Linux 6.12");
	fake_check_cachestat(fake.machine.magic);
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), end = offset + length;
	uint64_t start = offset < fake.machine.cached_from ? fake.machine.cached_from : offset;
	*stat = (struct pm_cachestat){.cached = start < end ? (end - start) / page : 0};
	return 0;
}

static const struct pm_sys table = {
#define X(name) .name = fake_##name,
	FAKE_CALLS(X)
#undef X
};

/* ---- For the test ---- */

void fake_start(const struct fake_machine *machine)
{
	memset(&fake, 0, offsetof(struct fake, record));
	memset(broken, 0, sizeof(broken));
	memset(&any, 0, sizeof(any));
	memset(interruptions, 0, sizeof(interruptions));
	fake.machine = *machine;
	fake.recording = true;
	atomic_store(&open_files, 0);
	atomic_store(&mapped_bytes, 0);
	fake_virtual_start();
	fake_cpu_start();
	pm_sys = &table;
}

void fake_stop(void)
{
	fake_cpu_stop();
	pm_sys = &pm_sys_linux;
}

void fake_forget(void)
{
	for (unsigned c = 0; c < FAKE_CALLS_COUNT; c++)
		atomic_store(&fake.calls[c], 0);
	pthread_mutex_lock(&lock);
	fake.records = 0;
	pthread_mutex_unlock(&lock);
	fake.write_backs = fake.lines = fake.fences = fake.streams = fake.streamed_lines = fake.copies = 0;
}

unsigned fake_calls(enum fake_call c)
{
	return atomic_load(&fake.calls[c]);
}

unsigned fake_syscalls(void)
{
	unsigned sum = 0;
	for (unsigned c = 0; c < FAKE_CALLS_COUNT; c++)
		if (c != FAKE_euid && c != FAKE_getenv && c != FAKE_dlopen && c != FAKE_now_ms)
			sum += fake_calls(c);
	return sum;
}

const struct fake_record *fake_find(enum fake_call call, unsigned nth)
{
	const struct fake_record *found = NULL;
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < fake.records && !found; i++)
		if (fake.record[i].call == call && nth-- == 0)
			found = &fake.record[i];
	pthread_mutex_unlock(&lock);
	return found;
}

unsigned fake_open_files(void)
{
	return (unsigned)atomic_load(&open_files);
}

uint64_t fake_mapped_bytes(void)
{
	return (uint64_t)atomic_load(&mapped_bytes);
}

void fake_fail(enum fake_call call, unsigned nth, int error)
{
	atomic_store(&broken[call].error, error);
	atomic_store(&broken[call].until, !error ? 0 : nth ? nth : ~0u);
}

void fake_fail_any(unsigned nth, int error)
{
	atomic_store(&any_has_failed, false);
	atomic_store(&any.error, error);
	atomic_store(&any.until, nth);
}

bool fake_any_has_failed(void)
{
	return atomic_load(&any_has_failed);
}

void fake_interrupt(enum fake_call call, unsigned times)
{
	atomic_store(&interruptions[call], times);
}

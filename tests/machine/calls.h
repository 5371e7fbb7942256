/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every entry of struct pm_sys, once: its kind, its type, its name, its parameters, the arguments that pass them on,
 * and what is recorded of them. What needs an entry for each call (the counting machine, the sweep, the counts of
 * costs) is made from this list.
 *
 * OPENS returns a descriptor that must be closed; CLOSES closes it, whatever it returns (close(2)); INPUT is no system
 * call, or a part of a lock between threads, and cannot fail; a CALL is everything else.
 */
#ifndef MACHINE_CALLS_H
#define MACHINE_CALLS_H

#define FAKE_CALLS(X) \
	X(OPENS, int, openat, (int dir_fd, const char *path, int flags, unsigned mode), (dir_fd, path, flags, mode), \
	  .fd = dir_fd, .path = path, .flags = (unsigned long)flags) \
	X(CLOSES, int, close, (int fd), (fd), .fd = fd) \
	X(CALL, int, statx, (int dir_fd, const char *path, int flags, struct statx *stx), (dir_fd, path, flags, stx), \
	  .fd = dir_fd, .path = path) \
	X(CALL, int, statx_now, (int fd, struct statx *stx), (fd, stx), .fd = fd) \
	X(CALL, int, fstatfs, (int fd, struct statfs *stfs), (fd, stfs), .fd = fd) \
	X(CALL, int, statfs, (const char *path, struct statfs *stfs), (path, stfs), .fd = -1, .path = path) \
	X(CALL, int, statmount, (uint64_t id, struct pm_mount *mount), (id, mount), .fd = -1) \
	X(CALL, ssize_t, readlinkat, (int dir_fd, const char *path, char *buffer, size_t size), \
	  (dir_fd, path, buffer, size), .fd = dir_fd, .path = path) \
	X(CALL, ssize_t, read, (int fd, void *buffer, size_t size), (fd, buffer, size), .fd = fd, .length = size) \
	X(CALL, ssize_t, write, (int fd, const void *buffer, size_t size), (fd, buffer, size), \
	  .fd = fd, .length = size) \
	X(CALL, ssize_t, pread, (int fd, void *buffer, size_t size, uint64_t offset), (fd, buffer, size, offset), \
	  .fd = fd, .length = size, .offset = offset) \
	X(CALL, ssize_t, pwrite, (int fd, const void *buffer, size_t size, uint64_t offset), \
	  (fd, buffer, size, offset), .fd = fd, .length = size, .offset = offset) \
	X(CALL, ssize_t, pwritev2_append, (int fd, const void *buffer, size_t size), (fd, buffer, size), \
	  .fd = fd, .length = size) \
	X(CALL, int, linkat, (const char *path, int dir_fd, const char *entry), (path, dir_fd, entry), \
	  .fd = dir_fd, .path = entry) \
	X(CALL, int, unlinkat, (int dir_fd, const char *path), (dir_fd, path), .fd = dir_fd, .path = path) \
	X(CALL, int, renameat2_noreplace, (int dir_fd, const char *from, const char *to), (dir_fd, from, to), \
	  .fd = dir_fd, .path = to) \
	X(CALL, int, ftruncate, (int fd, uint64_t length), (fd, length), .fd = fd, .length = length) \
	X(CALL, int, fallocate, (int fd, uint64_t offset, uint64_t length), (fd, offset, length), \
	  .fd = fd, .length = length, .offset = offset) \
	X(CALL, int, fadvise_dontneed, (int fd), (fd), .fd = fd) \
	X(CALL, int, fsync, (int fd), (fd), .fd = fd) \
	X(CALL, int, fdatasync, (int fd), (fd), .fd = fd) \
	X(CALL, int, syncfs, (int fd), (fd), .fd = fd) \
	X(CALL, int, wrong_sync, (unsigned call), (call), .fd = -1, .flags = call) \
	X(CALL, int, ioctl, (int fd, unsigned long request, void *arg), (fd, request, arg), \
	  .fd = fd, .flags = request) \
	X(CALL, int, fcntl_getfl, (int fd), (fd), .fd = fd) \
	X(CALL, int, fcntl_get_seals, (int fd), (fd), .fd = fd) \
	X(CALL, int, setlease, (int fd, int type), (fd, type), .fd = fd, .flags = (unsigned long)type) \
	X(CALL, int, getlease, (int fd), (fd), .fd = fd) \
	X(CALL, int, fcntl_getown, (int fd, struct pm_owner *owner), (fd, owner), .fd = fd) \
	X(CALL, int, fcntl_setown, (int fd, const struct pm_owner *owner), (fd, owner), .fd = fd) \
	X(CALL, int, fcntl_setsig, (int fd, int signal), (fd, signal), .fd = fd, .flags = (unsigned long)signal) \
	X(CALL, int, fcntl_getsig, (int fd), (fd), .fd = fd) \
	X(CALL, int, lease_signal, (int fd, int signal), (fd, signal), .fd = fd, .flags = (unsigned long)signal) \
	X(CALL, int, lease_silence, (int fd), (fd), .fd = fd) \
	X(CALL, int, gettid, (void), (), .fd = -1) \
	X(INPUT, uint64_t, now_ms, (void), (), .fd = -1) \
	X(INPUT, uint64_t, now_ns, (void), (), .fd = -1) \
	X(INPUT, int, futex_wait, (const _Atomic uint32_t *word, uint32_t value, uint64_t most, uint32_t bits), \
	  (word, value, most, bits), .fd = -1, .address = (uintptr_t)word) \
	X(INPUT, int, futex_wake, (const _Atomic uint32_t *word, uint32_t bits), (word, bits), \
	  .fd = -1, .address = (uintptr_t)word) \
	X(OPENS, int, signalfd, (int signal), (signal), .fd = -1, .flags = (unsigned long)signal) \
	X(OPENS, int, eventfd, (void), (), .fd = -1) \
	X(OPENS, int, timerfd, (void), (), .fd = -1) \
	X(CALL, int, timer_set, (int fd, unsigned ms), (fd, ms), .fd = fd, .length = ms) \
	X(OPENS, int, inotify, (void), (), .fd = -1) \
	X(CALL, int, inotify_add, (int fd, const char *path, uint32_t mask), (fd, path, mask), \
	  .fd = fd, .path = path, .flags = mask) \
	X(CALL, int, inotify_remove, (int fd, int watch), (fd, watch), .fd = fd) \
	X(OPENS, int, epoll_create, (void), (), .fd = -1) \
	X(CALL, int, epoll_add, (int epoll, int fd, uint32_t events), (epoll, fd, events), .fd = fd) \
	X(CALL, int, poll, (struct pollfd *fds, unsigned count, int timeout_ms), (fds, count, timeout_ms), .fd = -1) \
	X(CALL, int, same_inode, (const char *path, const char *other), (path, other), .fd = -1, .path = path) \
	X(CALL, int, same_handle, (const char *path, const char *other), (path, other), .fd = -1, .path = path) \
	X(CALL, int, kcmp_file, (int process, int fd, int own_fd), (process, fd, own_fd), .fd = own_fd) \
	X(CALL, int, each_entry, (const char *directory, void (*visit)(void *arg, const char *entry), void *arg), \
	  (directory, visit, arg), .fd = -1, .path = directory) \
	X(CALL, int, uname, (struct utsname *name), (name), .fd = -1) \
	X(CALL, int, mmap, (void **address, size_t length, int prot, int flags, int fd, uint64_t offset), \
	  (address, length, prot, flags, fd, offset), .fd = fd, .address = (uintptr_t)*address, .length = length, \
	  .offset = offset, .flags = (unsigned long)flags) \
	X(CALL, int, munmap, (void *address, size_t length), (address, length), \
	  .fd = -1, .address = (uintptr_t)address, .length = length) \
	X(OPENS, int, memfd_create, (const char *name), (name), .fd = -1) \
	X(CALL, int, getrlimit_fsize, (uint64_t *limit), (limit), .fd = -1) \
	X(CALL, int, getrlimit_nofile, (uint64_t *limit), (limit), .fd = -1) \
	X(CALL, int, mremap, (void **address, size_t old_length, size_t new_length, int flags), \
	  (address, old_length, new_length, flags), .fd = -1, .address = (uintptr_t)*address, .length = new_length, \
	  .flags = (unsigned long)flags) \
	X(CALL, int, mremap_over, (void *from, size_t length, void *to), (from, length, to), \
	  .fd = -1, .address = (uintptr_t)to, .length = length) \
	X(CALL, int, mprotect, (void *address, size_t length, int prot), (address, length, prot), \
	  .fd = -1, .address = (uintptr_t)address, .length = length, .flags = (unsigned long)prot) \
	X(CALL, int, madvise, (void *address, size_t length, int advice), (address, length, advice), \
	  .fd = -1, .address = (uintptr_t)address, .length = length, .flags = (unsigned long)advice) \
	X(CALL, int, mincore, (void *address, size_t length, unsigned char *vector), (address, length, vector), \
	  .fd = -1, .address = (uintptr_t)address, .length = length) \
	X(CALL, int, msync, (void *address, size_t length), (address, length), \
	  .fd = -1, .address = (uintptr_t)address, .length = length) \
	X(CALL, int, pagemap_scan, (const void *address, size_t length, uint64_t all, uint64_t none), \
	  (address, length, all, none), .fd = -1, .address = (uintptr_t)address, .length = length) \
	X(CALL, int, sync_file_range, (int fd, uint64_t offset, uint64_t length, unsigned flags), \
	  (fd, offset, length, flags), .fd = fd, .length = length, .offset = offset, .flags = flags) \
	X(CALL, int, faccessat2_write, (int fd), (fd), .fd = fd) \
	X(CALL, int, cachestat, (int fd, uint64_t offset, uint64_t length, struct pm_cachestat *stat), \
	  (fd, offset, length, stat), .fd = fd, .length = length, .offset = offset) \
	X(INPUT, unsigned, euid, (void), (), .fd = -1) \
	X(INPUT, const char *, getenv, (const char *name), (name), .fd = -1) \
	X(INPUT, void *, dlopen, (const char *path), (path), .fd = -1) \
	X(CALL, int, unshare, (int flags), (flags), .fd = -1, .flags = (unsigned)flags) \
	X(CALL, int, sigaction, (int number, const struct sigaction *action, struct sigaction *old), \
	  (number, action, old), .fd = -1) \
	X(CALL, int, pthread_sigmask, (int how, const sigset_t *set, sigset_t *old), (how, set, old), .fd = -1) \
	X(CALL, int, rt_tgsigqueueinfo, (const siginfo_t *info), (info), .fd = -1) \
	X(CALL, int, fallocate_keep_size, (int fd, uint64_t offset, uint64_t length), (fd, offset, length), \
	  .fd = fd, .length = length, .offset = offset) \
	X(CALL, int, futimens_now, (int fd), (fd), .fd = fd) \
	X(CALL, int, fallocate_collapse, (int fd, uint64_t offset, uint64_t length), (fd, offset, length), \
	  .fd = fd, .length = length, .offset = offset) \
	X(CALL, int, rt_sigprocmask_reads, (const void *address), (address), .fd = -1, .address = (uintptr_t)address)

enum fake_call {
#define X(kind, type, name, ...) FAKE_##name,
	FAKE_CALLS(X)
#undef X
	FAKE_CALLS_COUNT
};

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every system call of the library, in one table, so that tests can count calls, make them fail, and put another
 * machine underneath. Each entry returns the result of the call, with a failure turned into -errno. A descriptor that
 * an entry returns is at least 3. Only tests replace the table, before any other thread exists.
 */
#ifndef PM_SYS_H
#define PM_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

/* What older headers lack. */
#define PM_PAGE_PRESENT ((uint64_t)1 << 3) /* PAGE_IS_PRESENT and PAGE_IS_HUGE of linux/fs.h (Linux 6.7) */
#define PM_PAGE_HUGE ((uint64_t)1 << 6)
#ifndef MAP_SYNC
#define MAP_SYNC 0x080000 /* Linux 4.15 */
#endif
#ifndef STATX_ATTR_DAX
#define STATX_ATTR_DAX 0x00200000 /* Linux 5.8 */
#endif
#ifndef SYNC_FILE_RANGE_WRITE_AND_WAIT
#define SYNC_FILE_RANGE_WRITE_AND_WAIT                                                                       \
	(SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER)
#endif
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000u /* Linux 6.8: an id that no other mount ever gets */
#endif
#ifndef MADV_COLD
#define MADV_COLD 20 /* Linux 5.4 */
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000 /* Linux 4.17; before it the address is a hint */
#endif

/* struct cachestat of linux/mman.h (Linux 6.5). */
struct pm_cachestat {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

/* The process or thread that the kernel signals about a descriptor: fcntl(2) F_GETOWN_EX, F_GETSIG. */
struct pm_owner {
	struct f_owner_ex owner;
	int signal;
};

/* What statmount(2) reports of a mount (Linux 6.11), by the names of mountinfo in proc(5). */
struct pm_mount {
	bool read_only; /* the super block: its "ro" is not among the options */
	bool is_mounted_read_only; /* the mount: it may be one of several */
	const char *type, *subtype;
	char *options; /* of the super block */
	_Alignas(uint64_t) char room[4096];
};

/* The calls that make stores durable, as bits. */
#define PM_CALL_MSYNC 0x1u
#define PM_CALL_FSYNC 0x2u
#define PM_CALL_FDATASYNC 0x4u
#define PM_CALL_SYNCFS 0x8u
#define PM_CALL_SYNC_FILE_RANGE 0x10u
#define PM_CALLS_COUNT 5u

struct pm_sys {
	int (*openat)(int dir_fd, const char *path, int flags, unsigned mode);
	int (*close)(int fd);
	int (*statx)(int dir_fd, const char *path, int flags, struct statx *stx);
	/*
	 * Type, inode, size and links of an open file, without its times: once the times were seen, the next store must
	 * change them (Linux 6.13 fs/stat.c fill_mg_cmtime), and the drain after it commits the inode.
	 */
	int (*statx_now)(int fd, struct statx *stx);
	int (*fstatfs)(int fd, struct statfs *stfs);
	int (*statfs)(const char *path, struct statfs *stfs); /* follows path */
	int (*statmount)(uint64_t id, struct pm_mount *mount); /* the id of STATX_MNT_ID_UNIQUE */
	ssize_t (*readlinkat)(int dir_fd, const char *path, char *buffer, size_t size);
	ssize_t (*read)(int fd, void *buffer, size_t size);
	ssize_t (*write)(int fd, const void *buffer, size_t size);
	ssize_t (*pread)(int fd, void *buffer, size_t size, uint64_t offset);
	ssize_t (*pwrite)(int fd, const void *buffer, size_t size, uint64_t offset);
	/* pwritev2(2) with RWF_APPEND (Linux 4.16) */
	ssize_t (*pwritev2_append)(int fd, const void *buffer, size_t size);
	int (*linkat)(const char *path, int dir_fd, const char *entry); /* follows path */
	int (*unlinkat)(int dir_fd, const char *path);
	/* Within a directory, never over another entry: renameat2(2) RENAME_NOREPLACE (Linux 3.15). */
	int (*renameat2_noreplace)(int dir_fd, const char *from, const char *to);
	int (*ftruncate)(int fd, uint64_t length);
	int (*fallocate)(int fd, uint64_t offset, uint64_t length);
	int (*fadvise_dontneed)(int fd); /* posix_fadvise(2) POSIX_FADV_DONTNEED, of the whole file */
	int (*fsync)(int fd);
	int (*fdatasync)(int fd);
	int (*syncfs)(int fd);
	int (*wrong_sync)(unsigned call); /* one of PM_CALL_..., made so that it must fail; 0: it did not fail */
	int (*ioctl)(int fd, unsigned long request, void *arg);
	int (*fcntl_getfl)(int fd); /* fcntl(F_GETFL) */
	int (*fcntl_get_seals)(int fd); /* -EINVAL: the file has no seals */
	int (*setlease)(int fd, int type);
	int (*getlease)(int fd);
	int (*fcntl_getown)(int fd, struct pm_owner *owner);
	int (*fcntl_setown)(int fd, const struct pm_owner *owner);
	int (*fcntl_setsig)(int fd, int signal); /* F_SETSIG, of the open file description; and F_GETSIG */
	int (*fcntl_getsig)(int fd);
	int (*lease_signal)(int fd, int signal); /* on a lease break: sends that signal to this thread */
	int (*lease_silence)(int fd); /* sends no signal */
	int (*gettid)(void);
	uint64_t (*now_ms)(void); /* CLOCK_MONOTONIC: no system call, but an input */
	uint64_t (*now_ns)(void); /* of the same clock */
	/*
	 * futex(2), of this process: sleeps while the word has that value, at most so many nanoseconds or UINT64_MAX.
	 * Each thread that sleeps with one of the bits is woken.
	 */
	int (*futex_wait)(const _Atomic uint32_t *word, uint32_t value, uint64_t most, uint32_t bits);
	int (*futex_wake)(const _Atomic uint32_t *word, uint32_t bits);
	int (*signalfd)(int signal);
	int (*eventfd)(void);
	int (*timerfd)(void);
	int (*timer_set)(int fd, unsigned ms); /* becomes readable after that time; 0: at once */
	int (*inotify)(void);
	int (*inotify_add)(int fd, const char *path, uint32_t mask); /* the watch: for one inode always the same */
	int (*inotify_remove)(int fd, int watch);
	int (*epoll_create)(void);
	int (*epoll_add)(int epoll, int fd, uint32_t events);
	int (*poll)(struct pollfd *fds, unsigned count, int timeout_ms);
	/* By the watches of an inotify(7): 1 if both are one file. Takes 10 ms: fs/notify/mark.c waits for SRCU. */
	int (*same_inode)(const char *path, const char *other);
	int (*same_handle)(const char *path, const char *other); /* the same, by name_to_handle_at(2) */
	int (*kcmp_file)(int process, int fd, int own_fd); /* kcmp(2): 1 if both are one description */
	int (*each_entry)(const char *directory, void (*visit)(void *arg, const char *entry), void *arg);
	int (*uname)(struct utsname *name);
	int (*mmap)(void **address, size_t length, int prot, int flags, int fd, uint64_t offset);
	int (*munmap)(void *address, size_t length);
	int (*memfd_create)(const char *name);
	int (*getrlimit_fsize)(uint64_t *limit); /* getrlimit(RLIMIT_FSIZE) */
	int (*getrlimit_nofile)(uint64_t *limit);
	int (*mremap)(void **address, size_t old_length, size_t new_length, int flags);
	/* Moves a mapping there, over what is mapped: mremap(2) MREMAP_MAYMOVE | MREMAP_FIXED. */
	int (*mremap_over)(void *from, size_t length, void *to);
	int (*mprotect)(void *address, size_t length, int prot);
	int (*madvise)(void *address, size_t length, int advice);
	int (*mincore)(void *address, size_t length, unsigned char *vector);
	int (*msync)(void *address, size_t length);
	/*
	 * Whether a page of the range has all of the first categories and none of the second: 1 or 0 (PAGEMAP_SCAN,
	 * Linux 6.7).
	 */
	int (*pagemap_scan)(const void *address, size_t length, uint64_t all, uint64_t none);
	int (*sync_file_range)(int fd, uint64_t offset, uint64_t length, unsigned flags);
	int (*faccessat2_write)(int fd); /* faccessat2(2) with W_OK and the effective ids */
	int (*cachestat)(int fd, uint64_t offset, uint64_t length, struct pm_cachestat *stat);
	unsigned (*euid)(void);
	const char *(*getenv)(const char *name); /* secure_getenv(3): no system call, but an input */
	void *(*dlopen)(const char *path);       /* no system call, either */
	int (*unshare)(int flags);               /* of the calling thread */
	int (*sigaction)(int number, const struct sigaction *action, struct sigaction *old);
	int (*pthread_sigmask)(int how, const sigset_t *set, sigset_t *old); /* of the thread */
	int (*rt_tgsigqueueinfo)(const siginfo_t *info); /* the calling thread: rt_tgsigqueueinfo(2) */
	int (*fallocate_keep_size)(int fd, uint64_t offset, uint64_t length); /* FALLOC_FL_KEEP_SIZE */
	int (*futimens_now)(int fd); /* futimens(3): both times are now */
	int (*fallocate_collapse)(int fd, uint64_t offset, uint64_t length);        /* FALLOC_FL_COLLAPSE_RANGE */
	/*
	 * Whether the 8 bytes at that address can be read: 0 or -EFAULT. rt_sigprocmask(2) copies its set before
	 * it looks at what to do with it (kernel/signal.c), and here that is nothing that exists.
	 */
	int (*rt_sigprocmask_reads)(const void *address);
};

extern const struct pm_sys pm_sys_linux;
extern const struct pm_sys *pm_sys;

/* Starts a thread that receives no signal: 0 or -errno. The libc decides which file has it. */
int pm_thread_start(pthread_t *, void *(*run)(void *), void *arg);

/* A signal may interrupt any blocking call; the caller of the library never sees that. */
#define PM_RETRY(call)                                                                                       \
	(__extension__({                                                                                     \
		__typeof__(call) rc_;                                                                        \
		do                                                                                           \
			rc_ = (call);                                                                        \
		while (rc_ == -EINTR);                                                                       \
		rc_;                                                                                         \
	}))

#endif

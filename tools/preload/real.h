/* SPDX-License-Identifier: BSD-3-Clause */
/* The functions that would be called without the companion: of the next library that has them, mostly the C library. */
#ifndef REAL_H
#define REAL_H

#include <fcntl.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

/* Those of this C library alone are in REAL_CALLS_OF_LIBC. */
#define REAL_CALLS(CALL)                                                                                               \
	CALL(mmap)                                                                                                     \
	CALL(munmap)                                                                                                   \
	CALL(mremap)                                                                                                   \
	CALL(mprotect)                                                                                                 \
	CALL(msync)                                                                                                    \
	CALL(fsync)                                                                                                    \
	CALL(fdatasync)                                                                                                \
	CALL(syncfs)                                                                                                   \
	CALL(sync_file_range)                                                                                          \
	CALL(write)                                                                                                    \
	CALL(pwrite)                                                                                                   \
	CALL(writev)                                                                                                   \
	CALL(pwritev)                                                                                                  \
	CALL(pwritev2)                                                                                                 \
	CALL(ftruncate)                                                                                                \
	CALL(truncate)                                                                                                 \
	CALL(fallocate)                                                                                                \
	CALL(posix_fallocate)                                                                                          \
	CALL(copy_file_range)                                                                                          \
	CALL(splice)                                                                                                   \
	CALL(sendfile)                                                                                                 \
	CALL(ioctl)                                                                                                    \
	CALL(open)                                                                                                     \
	CALL(openat)                                                                                                   \
	CALL(creat)                                                                                                    \
	CALL(execve)                                                                                                   \
	CALL(execvpe)                                                                                                  \
	CALL(fexecve)                                                                                                  \
	CALL(posix_spawn)                                                                                              \
	CALL(posix_spawnp)

#define REAL_CALLS_OF_LIBC(CALL)                                                                                       \
	CALL(mmap64)                                                                                                   \
	CALL(pwrite64)                                                                                                 \
	CALL(pwritev64)                                                                                                \
	CALL(pwritev64v2)                                                                                              \
	CALL(ftruncate64)                                                                                              \
	CALL(truncate64)                                                                                               \
	CALL(fallocate64)                                                                                              \
	CALL(posix_fallocate64)                                                                                        \
	CALL(sendfile64)                                                                                               \
	CALL(open64)                                                                                                   \
	CALL(openat64)                                                                                                 \
	CALL(creat64)                                                                                                  \
	CALL(__open_2)                                                                                                 \
	CALL(__open64_2)                                                                                               \
	CALL(__openat_2)                                                                                               \
	CALL(__openat64_2)                                                                                             \
	CALL(execveat)                                                                                                 \
	CALL(__register_atfork)

/* What pthread_atfork(3) calls, and no header declares. */
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *object);
/* What the headers declare for checked calls alone. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int directory, const char *path, int flags);
int __openat64_2(int directory, const char *path, int flags);
int execveat(int directory, const char *path, char *const argv[], char *const envp[], int flags);

#define REAL_POINTER(name) __typeof__(&name) name;
struct real {
	REAL_CALLS(REAL_POINTER)
	REAL_CALLS_OF_LIBC(REAL_POINTER)
};

extern struct real real_calls;
/* Looks them up. The first interposed call does it, if one comes before the constructor. */
void real_find(void);

/* mmap(2), as a program called it. */
struct map_call {
	void *address;
	size_t length;
	int protection, flags, fd;
	uint64_t offset;
};

/* Whatever off_t is. */
void *real_map(const struct map_call *call);

#define REAL(name) (real_calls.name ? real_calls.name : (real_find(), real_calls.name))

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For LD_PRELOAD: accepts MAP_SYNC and forgets it, as a sandbox or a careless shim does. A program that believes
 * the acceptance believes its stores durable while they sit in the page cache.
 */
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MAP_SYNC
#define MAP_SYNC 0x080000
#endif
#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 0x03
#endif

/* Under a name of its own: the C library declares mmap() with another type for its offset. */
void *ignore_flags(void *address, size_t length, int prot, int flags, int fd, int64_t offset) __asm__("mmap64");
void *ignore_flags_too(void *address, size_t length, int prot, int flags, int fd, int64_t offset) __asm__("mmap");

void *ignore_flags(void *address, size_t length, int prot, int flags, int fd, int64_t offset)
{
#ifdef STRIP_ONLY
	flags &= ~MAP_SYNC; /* the kernel still refuses what else it does not know */
#else
	if ((flags & MAP_TYPE) == MAP_SHARED_VALIDATE)
		flags = (flags & ~(MAP_TYPE | MAP_SYNC)) | MAP_SHARED; /* which has the kernel ignore unknown flags */
#endif
	return (void *)syscall(SYS_mmap, address, length, prot, flags, fd, offset);
}

void *ignore_flags_too(void *address, size_t length, int prot, int flags, int fd, int64_t offset)
{
	return ignore_flags(address, length, prot, flags, fd, offset);
}

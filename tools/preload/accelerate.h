/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What accelerate mode does in place of the kernel. The interposed calls (calls_*.c) ask it; it is asked only where
 * `pmdirect run --accelerate` was given, and knows neither their table nor the report.
 *
 * A file is one inode that this process has mapped; it lives until the process ends, and a child of fork(2) has a copy.
 * A mark is what accelerate mode wants to be kept with a mapping that it made. The table cuts a mapping as the program
 * does: every piece that is left has the mark, and is never longer or elsewhere than what the program still has there.
 *
 * All functions are called with no lock held and keep errno, except where one is set as the result of a call. They may
 * run in several threads at once, and in a signal handler of the program. Calls that they make themselves go straight
 * to the kernel between inside_enter() and inside_leave() (inside.h).
 */
#ifndef ACCELERATE_H
#define ACCELERATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file;

struct map_call {
	void *address; /* as the program gave them */
	size_t length;
	int protection, flags, fd;
	uint64_t offset;
};

/* Once, in the constructor: no other thread runs yet. */
void accelerate_begin(void);

/* In a child, before its first call is served: the marks are copies of the parent's. */
void accelerate_forked(void);

/*
 * In place of mmap(2) of a regular file, shared, through a descriptor that is open for reading and writing. What the
 * call replaces (MAP_FIXED) was told by accelerate_gone() before. false: nothing was made; the kernel gets the call.
 * true: *ret_address is the program's result (MAP_FAILED with errno set), *ret_mark the mark, NULL for a mapping that
 * needs none.
 */
bool accelerate_map(struct file *file, const struct map_call *call, void **ret_address, void **ret_mark);

/*
 * Before the kernel is told: these whole pages are no longer the mark's (munmap, mremap, MAP_FIXED over them, mprotect
 * without PROT_READ). They may never be accessed, flushed or unmapped by way of the mark again. is_last: no piece with
 * the mark is left. A call that then fails in the kernel leaves pages that have lost their mark, which is safe.
 */
void accelerate_gone(void *mark, void *address, size_t length, bool is_last);

/*
 * In place of msync(2) with MS_SYNC and without MS_INVALIDATE, of an aligned range whose pages all lie in pieces of one
 * mark. false: the kernel gets the call. true: *ret is the program's result, with errno set if it is -1.
 */
bool accelerate_msync(struct file *file, void *mark, void *address, size_t length, int *ret);

/*
 * The kernel was told of the file otherwise than by stores: write, pwrite, ftruncate, fallocate, copy_file_range,
 * splice, sendfile, O_TRUNC, an ioctl that changes extents, msync with MS_INVALIDATE. Called before the kernel gets the
 * call and again after it. NULL: of some file, it is not known which.
 */
void accelerate_changed(struct file *file);

/*
 * The kernel was asked to sync, by msync(2) with MS_SYNC of the range, or by fsync(2) or fdatasync(2) (address NULL).
 * begin is what accelerate_changes() returned before the call; error is 0 or the errno of the failure.
 */
uint64_t accelerate_changes(const struct file *file);
void accelerate_synced(struct file *file, const void *address, size_t length, uint64_t begin, int error);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "companion.h"
#include "file.h"
#include "question.h"

#define FILES 1023
#define NUMBERS 4096

static struct file files[FILES];
static _Atomic unsigned count;

/* What a descriptor led to: a count of changes in the upper half, then, as it was looked at, the number of files and
 * that of its file and 1. 0 in the lower half: not known. A change between a look and its note makes the note fail. */
static _Atomic uint64_t numbers[NUMBERS];

#define OTHER_OF(files) ((uint64_t)(files) << 16 | 0xffffu)

bool file_any(void)
{
	return atomic_load_explicit(&count, memory_order_acquire);
}

struct file *file_number(unsigned number)
{
	return number < atomic_load_explicit(&count, memory_order_acquire) ? &files[number] : NULL;
}

/*
 * Not the size, and not the times: a file system with fine times changes them with the first store after they were
 * looked at (fs/stat.c fill_mg_cmtime), which would make the program's next fsync(2) dearer.
 */
static bool look(int fd, const char *path, struct statx *stx)
{
	int error = errno;
	int flags = AT_STATX_DONT_SYNC | (path ? 0 : AT_EMPTY_PATH);
	long rc = syscall(SYS_statx, fd, path ? path : "", flags, STATX_TYPE | STATX_INO | STATX_BTIME, stx);
	errno = error;
	return !rc;
}

static bool is_it(const struct file *f, const struct statx *stx, int64_t born)
{
	return f->inode == stx->stx_ino && f->major == stx->stx_dev_major && f->minor == stx->stx_dev_minor &&
	       f->born == born;
}

static int64_t born_of(const struct statx *stx)
{
	return stx->stx_mask & STATX_BTIME ? stx->stx_btime.tv_sec * 1000000000 + stx->stx_btime.tv_nsec : 0;
}

static struct file *find(const struct statx *stx)
{
	unsigned n = atomic_load_explicit(&count, memory_order_acquire);
	for (unsigned i = n; i-- > 0;)
		if (is_it(&files[i], stx, born_of(stx)))
			return &files[i];
	return NULL;
}

/* A file that this process has never mapped stays one until it maps another file. */
struct file *file_of(int fd)
{
	struct statx stx;
	unsigned n = atomic_load_explicit(&count, memory_order_acquire);
	bool is_kept = fd >= 0 && fd < NUMBERS;
	uint64_t note = is_kept ? atomic_load_explicit(&numbers[fd], memory_order_acquire) : 0;
	uint32_t known = (uint32_t)note;
	if (!n)
		return NULL;
	if (known == OTHER_OF(n))
		return NULL;
	if (known && (known & 0xffff) != 0xffff)
		return &files[(known & 0xffff) - 1];
	struct file *file = look(fd, NULL, &stx) ? find(&stx) : NULL;
	uint64_t found = file ? (uint64_t)(file - files) + 1 : OTHER_OF(n);
	if (is_kept)
		atomic_compare_exchange_strong(&numbers[fd], &note, (note & ~(uint64_t)UINT32_MAX) | found);
	return file;
}

struct file *file_at(const char *path)
{
	struct statx stx;
	return look(AT_FDCWD, path, &stx) ? find(&stx) : NULL;
}

/* Two threads may meet here with one file: the second finds what the first added. */
static struct file *add(const struct statx *stx)
{
	sigset_t before;
	companion_lock(&before);
	struct file *file = find(stx);
	if (!file && count < FILES) {
		file = &files[count];
		file->major = stx->stx_dev_major;
		file->minor = stx->stx_dev_minor;
		file->inode = stx->stx_ino;
		file->born = born_of(stx);
		atomic_store_explicit(&count, count + 1, memory_order_release);
	}
	companion_unlock(&before);
	if (!file)
		companion_lost();
	return file;
}

struct file *file_add(int fd)
{
	struct statx stx;
	if (!look(fd, NULL, &stx) || !(S_ISREG(stx.stx_mode) || S_ISBLK(stx.stx_mode) || S_ISCHR(stx.stx_mode)))
		return NULL;
	struct file *file = find(&stx);
	return file ? file : add(&stx);
}

struct ledger_row *file_row(struct file *file)
{
	struct ledger_row *row = atomic_load_explicit(&file->row, memory_order_acquire), *none = NULL;
	if (row || atomic_load_explicit(&file->has_no_row, memory_order_relaxed))
		return row;
	row = question_row(file, file->parent_row);
	if (!row)
		atomic_store(&file->has_no_row, true);
	if (row && !atomic_compare_exchange_strong(&file->row, &none, row)) {
		atomic_store(&row->state, ROW_FREE);
		row = none;
	}
	return row;
}

void file_forget_number(int fd)
{
	if (fd < 0 || fd >= NUMBERS)
		return;
	uint64_t note = atomic_load_explicit(&numbers[fd], memory_order_relaxed);
	uint64_t next;
	do
		next = ((note >> 32) + 1) << 32;
	while (!atomic_compare_exchange_weak(&numbers[fd], &note, next));
}

void file_forget_numbers(unsigned first, unsigned last)
{
	for (unsigned fd = first; fd < NUMBERS && fd <= last; fd++)
		file_forget_number((int)fd);
}

void file_forked(void)
{
	for (unsigned i = 0; i < count; i++) {
		files[i].parent_row = files[i].row;
		atomic_store(&files[i].row, NULL);
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "file.h"
#include "here.h"
#include "place.h"
#include "question.h"
#include "real.h"

#ifndef STATX_ATTR_DAX
#define STATX_ATTR_DAX 0x00200000 /* Linux 5.8 */
#endif
#define FILES 1023
#define PLACES 4096 /* a power of two, and enough that few are taken */

static struct file files[FILES];
static _Atomic unsigned count;
/* Where to find them by device and inode: the number of one and 1. A process may write to one of many files. */
static _Atomic uint16_t places[PLACES];

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

static unsigned place_of(const struct statx *stx)
{
	uint64_t key = stx->stx_ino + ((uint64_t)stx->stx_dev_major << 40) + ((uint64_t)stx->stx_dev_minor << 20);
	return (unsigned)(key * 0x9e3779b97f4a7c15u >> 52) % PLACES;
}

static struct file *find(const struct statx *stx)
{
	unsigned number;
	int64_t born = born_of(stx);
	for (unsigned i = place_of(stx); (number = atomic_load_explicit(&places[i], memory_order_acquire));
	     i = (i + 1) % PLACES)
		if (is_it(&files[number - 1], stx, born))
			return &files[number - 1];
	return NULL;
}

/* Each time anew: the C library, a plain system call and io_uring exchange what a number leads to unseen. */
struct file *file_of(int fd)
{
	struct statx stx;
	return look(fd, NULL, &stx) ? find(&stx) : NULL;
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
	here_lock(&before);
	struct file *file = find(stx);
	if (!file && count < FILES) {
		file = &files[count];
		file->major = stx->stx_dev_major;
		file->minor = stx->stx_dev_minor;
		file->inode = stx->stx_ino;
		file->born = born_of(stx);
		atomic_store_explicit(&count, count + 1, memory_order_release);
		unsigned i = place_of(stx);
		while (places[i])
			i = (i + 1) % PLACES;
		atomic_store_explicit(&places[i], (uint16_t)count, memory_order_release);
	}
	here_unlock(&before);
	if (!file)
		place_lost_mapping();
	return file;
}

struct file *file_add(int fd)
{
	struct statx stx;
	if (!look(fd, NULL, &stx) || !(S_ISREG(stx.stx_mode) || S_ISBLK(stx.stx_mode) || S_ISCHR(stx.stx_mode)))
		return NULL;
	struct file *file = find(&stx);
	file = file ? file : add(&stx);
	if (file)
		atomic_store_explicit(&file->is_dax, stx.stx_attributes & stx.stx_attributes_mask & STATX_ATTR_DAX,
		                      memory_order_relaxed);
	return file;
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

/* A parent without a row leaves the row of its own parent. */
void file_forked(void)
{
	for (unsigned i = 0; i < count; i++) {
		if (files[i].row)
			files[i].parent_row = files[i].row;
		atomic_store(&files[i].row, NULL);
	}
}

static bool takes_no_error(int rc, _Atomic int *ret_owed)
{
	if (rc)
		atomic_store(ret_owed, errno);
	return !rc;
}

bool file_sync(struct file *file, int fd)
{
	return takes_no_error(REAL(fsync)(fd), &file->owed_fsync) &&
	       takes_no_error(REAL(syncfs)(fd), &file->owed_syncfs);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls that make a file durable. They wait for the device: what is added to them is small beside that. */
#include <errno.h>

#include "accelerate.h"
#include "calls.h"
#include "companion.h"
#include "counts.h"
#include "file.h"
#include "question.h"
#include "real.h"
#include "table.h"

/* The place from which the program made the call. */
#define CALLER __builtin_extract_return_addr(__builtin_return_address(0))

static void note_sync(struct ledger_row *row, uint64_t begin, int rc, void *caller)
{
	if (!row)
		return;
	COUNT(row, nanoseconds, now() - begin);
	if (rc)
		COUNT(row, errors, 1);
	question_site(row, caller);
}

/* ---- Errors that the companion took ---- */

/* The result of the program's own call, and errno with it. */
static int with_owed(int rc, _Atomic int *owed)
{
	if (rc || !atomic_load_explicit(owed, memory_order_relaxed))
		return rc;
	int error = atomic_exchange(owed, 0);
	if (error)
		errno = error;
	return error ? -1 : 0;
}

/* ---- msync(2) ---- */

static enum why_kernel sync_by_lines(const struct piece *p, uintptr_t start, size_t length, int flags)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), end = (start + length + page - 1) & ~(page - 1);
	if (!p->mark)
		return WHY_MAPPING;
	if (flags != MS_SYNC)
		return WHY_FLAGS;
	if (start & (page - 1) || end <= start)
		return WHY_RANGE;
	return accelerate_msync(p->mark, start, end);
}

static int sync_range(const struct piece *p, void *address, size_t length, int flags, struct ledger_row *row)
{
	if (companion_accelerates() && flags & MS_SYNC) {
		enum why_kernel why = sync_by_lines(p, (uintptr_t)address, length, flags);
		if (why == WHY_NOT) {
			COUNT(row, by_lines, 1);
			return 0;
		}
		COUNT(row, by_kernel[why], 1);
	}
	return REAL(msync)(address, length, flags);
}

int msync(void *address, size_t length, int flags)
{
	struct piece p;
	uintptr_t start = (uintptr_t)address;
	if (!companion_serves() || start + length < start || !table_find(start, start + (length ? length : 1), &p))
		return REAL(msync)(address, length, flags);
	struct ledger_row *row = file_row(p.file);
	uint64_t begin = now();
	int rc = sync_range(&p, address, length, flags, row);
	if (flags & MS_SYNC)
		rc = with_owed(rc, &p.file->owed_fsync);
	int error = errno;
	if (flags & MS_SYNC)
		COUNT(row, msyncs, 1);
	else
		COUNT(row, msyncs_async, 1);
	COUNT(row, msync_bytes, length);
	note_sync(row, begin, rc, CALLER);
	errno = error;
	return rc;
}

/* ---- By descriptor ---- */

static int sync_file(int fd, int (*sync)(int), bool is_data, void *caller)
{
	struct file *file = companion_serves() && file_any() ? file_of(fd) : NULL;
	if (!file)
		return sync(fd);
	uint64_t begin = now();
	int rc = with_owed(sync(fd), &file->owed_fsync), error = errno;
	struct ledger_row *row = file_row(file);
	if (is_data)
		COUNT(row, fdatasyncs, 1);
	else
		COUNT(row, fsyncs, 1);
	note_sync(row, begin, rc, caller);
	errno = error;
	return rc;
}

int fsync(int fd)
{
	return sync_file(fd, REAL(fsync), false, CALLER);
}

int fdatasync(int fd)
{
	return sync_file(fd, REAL(fdatasync), true, CALLER);
}

/* It makes nothing durable: no metadata, and no flush of the device. */
int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags)
{
	struct file *file = companion_serves() && file_any() ? file_of(fd) : NULL;
	uint64_t begin = file ? now() : 0;
	int rc = REAL(sync_file_range)(fd, offset, length, flags);
	struct ledger_row *row = row_of(file);
	COUNT(row, range_syncs, 1);
	note_sync(row, begin, rc, CALLER);
	return rc;
}

/* It is not counted, for it names no file. */
int syncfs(int fd)
{
	struct file *file = companion_serves() && companion_accelerates() && file_any() ? file_of(fd) : NULL;
	int rc = REAL(syncfs)(fd);
	return file ? with_owed(rc, &file->owed_syncfs) : rc;
}

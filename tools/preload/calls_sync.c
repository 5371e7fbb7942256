/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls that make a file durable. They wait for the device: what is added to them is small beside that. */
#include <errno.h>

#include "companion.h"
#include "counts.h"
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

int msync(void *address, size_t length, int flags)
{
	struct piece p;
	uintptr_t start = (uintptr_t)address;
	if (!companion_serves() || start + length < start || !table_find(start, start + (length ? length : 1), &p))
		return REAL(msync)(address, length, flags);
	struct ledger_row *row = file_row(p.file);
	uint64_t begin = now();
	int rc = REAL(msync)(address, length, flags), error = errno;
	if (flags & MS_SYNC)
		COUNT(row, msyncs, 1);
	else
		COUNT(row, msyncs_async, 1);
	COUNT(row, msync_bytes, length);
	note_sync(row, begin, rc, CALLER);
	errno = error;
	return rc;
}

static int sync_file(int fd, int (*sync)(int), bool is_data, void *caller)
{
	struct file *file = companion_serves() && file_any() ? file_of(fd) : NULL;
	if (!file)
		return sync(fd);
	uint64_t begin = now();
	int rc = sync(fd), error = errno;
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

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Growing and preparing. Another process may grow and store into the same file meanwhile: no call here can make the
 * file shorter, or writes where another process may have stored.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "error.h"
#include "file/claim.h"
#include "file/file.h"
#include "file/forbidden.h"
#include "file/grow.h"
#include "file/no_block.h"
#include "kernel/fiemap.h"
#include "kernel/populate.h"
#include "kernel/quirks.h"
#include "sys/sys.h"

/* Page-cache pages are written out in steps, so that preparing a large file does not fill memory. */
#define PREPARE_STEP ((uint64_t)64 << 20)
#define ZEROS ((size_t)64 << 10)

static char zeros[ZEROS];

/* The file system has no such call, or a filter of system calls refuses it. */
static bool is_missing(int rc)
{
	return rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -EPERM;
}

/*
 * A call of fallocate(2). After a signal it is made in smaller steps: tmpfs starts an interrupted call from the
 * beginning.
 */
static int allocate_by(int (*call)(int, uint64_t, uint64_t), const struct pm_file *f, uint64_t offset, uint64_t length)
{
	uint64_t step = length;
	while (length) {
		step = step < length ? step : length;
		int rc = call(f->fd, offset, step);
		if (rc == -EINTR && step > f->unit) {
			step = (step / 2 + f->unit - 1) / f->unit * f->unit;
			continue;
		}
		if (rc && rc != -EINTR)
			return rc;
		if (!rc) {
			offset += step;
			length -= step;
		}
	}
	return 0;
}

static bool is_want(int rc)
{
	return rc == -ENOSPC || rc == -EDQUOT;
}

struct holes {
	const struct pm_file *f;
	uint64_t at, end; /* of the part that is still to be inspected */
};

static int fill_hole(struct holes *h, uint64_t stop)
{
	return h->at < stop ? allocate_by(pm_sys->fallocate_keep_size, h->f, h->at, stop - h->at) : 0;
}

static int pass_extent(void *arg, const struct fiemap_extent *x)
{
	struct holes *h = arg;
	uint64_t stop = x->fe_logical + x->fe_length;
	int rc = fill_hole(h, x->fe_logical < h->end ? x->fe_logical : h->end);
	h->at = stop > h->at ? stop : h->at;
	return rc;
}

/*
 * Allocates blocks for a range without a change of the size. XFS wants as much free space, and as much of the quota, as
 * the range is long, whether it needs a block or not (fs/xfs/xfs_bmap_util.c xfs_alloc_file_space). If it refuses, only
 * the holes are allocated.
 */
static int reserve(const struct pm_file *f, uint64_t offset, uint64_t length)
{
	struct holes h = {.f = f, .at = offset, .end = offset + length};
	int rc = allocate_by(pm_sys->fallocate_keep_size, f, offset, length);
	if (!is_want(rc))
		return rc;
	int filled = pm_each_extent(f->fd, h.at, h.end, pass_extent, &h);
	if (!filled)
		filled = fill_hole(&h, h.end);
	return filled ? rc : 0;
}

/* A page found no block. */
static int fail_for_want(const struct pm_file *f, uint64_t offset, uint64_t length)
{
	struct statx stx = f->stx;
	stx.stx_size = f->size;
	int rc = pm_file_why_no_block(f->fd, &stx, offset, length);
	if (rc < 0)
		return pm_file_fail_forbidden(
			f, rc, rc == -EPERM ? "the range cannot be written" : "the range cannot be allocated",
			PM_CHANGE_CONTENT);
	return pm_fail(-EIO, f->call, f->name, "a page of the range cannot be written: %s",
	               pm_file_copies_each_store(f->fd)
	                       ? "a quota refused the copy that the file system makes of a page, or the medium failed"
	                       : "the medium failed (space and quota suffice)");
}

/*
 * Stores into every page through the kernel: MADV_POPULATE_WRITE takes the write fault of each page, which allocates,
 * converts unwritten extents, unshares shared ones, and keeps the content, even against concurrent writers. The mapping
 * is a plain one, so that a DAX file system need not commit at each fault.
 */
static int write_faults(struct pm_file *f, char *map, uint64_t offset, uint64_t length, bool direct)
{
	for (uint64_t at = 0; at < length; at += PREPARE_STEP) {
		size_t step = length - at < PREPARE_STEP ? (size_t)(length - at) : (size_t)PREPARE_STEP;
		int rc = pm_populate(map + at, step, MADV_POPULATE_WRITE, direct);
		if (rc == -EINVAL || is_missing(rc))
			return pm_fail(-EOPNOTSUPP, f->call, f->name,
			               "PM_PREPARE needs MADV_POPULATE_WRITE (Linux 5.14)");
		if (rc == -EFAULT)
			return fail_for_want(f, offset + at, step);
		if (!rc && !direct) {
			rc = PM_RETRY(pm_sys->msync(map + at, step));
			f->suspect = rc;
		}
		if (rc)
			return pm_file_fail(f, rc, "the file cannot be prepared");
	}
	return 0;
}

int pm_file_prepare(struct pm_file *f, uint64_t offset, uint64_t length, bool direct)
{
	if (!S_ISREG(f->stx.stx_mode))
		return 0;
	uint64_t end = offset + length < f->size ? offset + length : f->size;
	/* In one call first, so that the faults find large extents. */
	int rc = reserve(f, offset, end - offset);
	if (rc && !is_missing(rc))
		return pm_file_fail(f, rc, "the range cannot be allocated");
	void *map = NULL;
	rc = PM_RETRY(pm_sys->mmap(&map, (size_t)length, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, offset));
	if (rc)
		return pm_file_fail_forbidden(f, rc,
		                              rc == -EPERM ? "mmap failed" : "the range cannot be mapped for preparing",
		                              PM_CHANGE_CONTENT);
	/*
	 * The page cache then holds single pages, where readahead would make folios of up to megabytes. A store makes
	 * its whole folio dirty, and every drain would write it (fs/iomap/buffered-io.c iomap_page_mkwrite).
	 */
	if (!direct)
		pm_sys->madvise(map, (size_t)length, MADV_RANDOM);
	rc = write_faults(f, map, offset, length, direct);
	PM_RETRY(pm_sys->munmap(map, (size_t)length));
	return rc;
}

/* ---- Growing ---- */

/*
 * By a description that is used for nothing else. Opening it breaks the lease of this process as well, and waits until
 * the lease is released (fs/locks.c __break_lease). The lease of the claim is released first. That of PM_LEASE stays,
 * and the growth fails.
 */
static ssize_t append_by_description(struct pm_file *f, size_t step, int missing)
{
	char path[40];
	if (f->borrowed || (f->alone && !f->claimed))
		return missing;
	pm_file_release(f);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
	int fd = PM_RETRY(pm_sys->openat(AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC, 0));
	if (fd < 0)
		return fd;
	ssize_t put = PM_RETRY(pm_sys->write(fd, zeros, step));
	pm_sys->close(fd);
	return put;
}

/* Appends zeros at the end that the file has when the kernel writes them, wherever another process has moved it. */
static ssize_t append_at_end(struct pm_file *f, uint64_t end, size_t step)
{
	ssize_t put = PM_RETRY(pm_sys->pwritev2_append(f->fd, zeros, step));
	/* RWF_APPEND is missing (before Linux 4.16), or filtered. */
	if (!is_missing((int)put) && put != -EINVAL)
		return put;
	if (f->unnamed || pm_file_is_alone(f)) /* no other process moves the end that was seen */
		return PM_RETRY(pm_sys->pwrite(f->fd, zeros, step, end));
	return append_by_description(f, step, (int)put);
}

/*
 * For file systems without fallocate(2). Processes that grow one file at the same time each append a part of what they
 * still miss, the less the nearer the end is. So together they add only a few pages more than the longest of them
 * wants.
 */
#define SHARE 64

static int append_zeros(struct pm_file *f, uint64_t end)
{
	struct statx now;
	for (;;) {
		bool exact = f->unnamed || f->alone;
		int rc = PM_RETRY(pm_sys->statx_now(f->fd, &now));
		if (rc || now.stx_size >= end)
			return rc;
		uint64_t missing = end - now.stx_size, step = missing;
		if (!exact && missing > f->unit)
			step = missing / SHARE > f->unit ? missing / SHARE : f->unit;
		ssize_t put = append_at_end(f, now.stx_size, step < ZEROS ? (size_t)step : ZEROS);
		/* Beyond RLIMIT_FSIZE nothing is left to append, unless another process has lowered the limit. */
		if (put == -EFBIG && !PM_RETRY(pm_sys->statx_now(f->fd, &now)) && now.stx_size >= end)
			return 0;
		if (put <= 0)
			return put ? (int)put : -EIO;
	}
}

struct behind {
	uint64_t start, end, bytes;
};

static int add_extent(void *arg, const struct fiemap_extent *x)
{
	struct behind *b = arg;
	uint64_t start = x->fe_logical > b->start ? x->fe_logical : b->start;
	uint64_t stop = x->fe_logical + x->fe_length;
	stop = stop < b->end ? stop : b->end;
	b->bytes += stop > start ? stop - start : 0;
	return 0;
}

/*
 * Of the growth, what was reserved beyond the end before. Without FIEMAP (tmpfs) it is what the file has more than its
 * size: less than it holds there if it has holes, so that no growth begins that cannot end. That counts with FIEMAP as
 * well: an ext4 with bigalloc takes a cluster whole, and no extent shows what is left of it.
 */
static uint64_t held(const struct pm_file *f, uint64_t end)
{
	struct behind b = {.start = f->original_size, .end = end};
	uint64_t all = f->stx.stx_blocks * 512, beyond = all > b.start ? all - b.start : 0;
	int rc = pm_each_extent(f->fd, b.start, end, add_extent, &b);
	return !rc && b.bytes > beyond ? b.bytes : beyond;
}

/*
 * Another process may use what is appended or reserved, so it cannot be taken back: growing does not begin where it
 * cannot end. Where it can be taken back that holds on ext4, which takes all free blocks before it fails, so that other
 * processes find none meanwhile. XFS may free more when it runs out (fs/xfs/xfs_icache.c xfs_blockgc_free_space).
 */
static int is_room_for(struct pm_file *f, uint64_t end)
{
	struct statfs stfs;
	uint64_t missing = end - f->original_size;
	if (PM_RETRY(pm_sys->fstatfs(f->fd, &stfs)) || !stfs.f_blocks)
		return 0;
	f->f_type = (uint32_t)stfs.f_type;
	if ((f->unnamed || f->alone) && !pm_has_quirk(f->f_type, PM_FS_TAKES_ALL_BLOCKS))
		return 0;
	if (missing / (uint64_t)stfs.f_bsize <= stfs.f_bfree)
		return 0;
	uint64_t there = held(f, end);
	return there < missing && (missing - there) / (uint64_t)stfs.f_bsize > stfs.f_bfree ? -ENOSPC : 0;
}

static int grow_without_fallocate(struct pm_file *f, uint64_t end, bool sparse)
{
	/* ftruncate(2) can also shrink, so it serves only where no other process can have grown the file. */
	if (sparse && (f->unnamed || pm_file_is_alone(f)))
		return PM_RETRY(pm_sys->ftruncate(f->fd, end));
	return append_zeros(f, end);
}

/* The last block of what was reserved is enough: XFS would want the whole once more. */
static int set_size(struct pm_file *f, uint64_t from, uint64_t end)
{
	int rc = allocate_by(pm_sys->fallocate, f, from, end - from);
	/* Not even that block is free, and it is not needed. */
	if (is_want(rc) && from == end - 1 && pm_file_is_alone(f))
		rc = PM_RETRY(pm_sys->ftruncate(f->fd, end));
	return rc;
}

/* An undo cuts back to the size under the lease: another process may have grown the file before. */
static int note_original(struct pm_file *f)
{
	if (!f->unnamed && !f->alone)
		pm_file_claim(f);
	int rc = f->alone ? pm_file_stat(f) : 0;
	f->original_size = f->size;
	f->original_blocks = f->stx.stx_blocks;
	return rc;
}

/*
 * The blocks are reserved first, so that a lack of space changes no size: another process may break the lease
 * meanwhile, and then a size stays. fallocate(2) never shrinks.
 */
static int grow_by_fallocate(struct pm_file *f, uint64_t end, bool sparse)
{
	/* A sparse file gets its last block, which sets the size. */
	uint64_t from = sparse ? end - 1 : f->original_size;
	int rc = sparse ? 0 : is_room_for(f, end);
	if (!rc && !f->unnamed) {
		rc = reserve(f, from, end - from);
		from = end - 1;
	}
	return rc ? rc : set_size(f, from, end);
}

static int fail_to_grow(const struct pm_file *f, uint64_t end, int rc)
{
	/* Another process may have lowered RLIMIT_FSIZE meanwhile. */
	int limited = rc == -EFBIG ? pm_file_within_limit(f, end) : 0;
	if (limited)
		return limited;
	if (rc == -EFBIG)
		return pm_fail(rc, f->call, f->name,
		               "the file cannot be grown: %llu bytes are more than its file system can give a file",
		               (unsigned long long)end);
	return pm_file_fail_forbidden(f, rc, "the file cannot be grown", PM_CHANGE_GROWS);
}

int pm_file_grow(struct pm_file *f, uint64_t end, bool sparse)
{
	if (end <= f->size)
		return 0;
	int rc = pm_file_within_limit(f, end);
	if (!rc)
		rc = note_original(f);
	if (rc || end <= f->size)
		return rc;
	/* Set first: a failed attempt may have grown the file in part, and must be undone. */
	f->grown = true;
	f->size = end;
	rc = grow_by_fallocate(f, end, sparse);
	if (is_missing(rc))
		rc = grow_without_fallocate(f, end, sparse);
	return rc ? fail_to_grow(f, end, rc) : 0;
}

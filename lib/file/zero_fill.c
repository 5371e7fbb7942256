/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes zeros by write(2), before anything is faulted in. Until Linux 6.2 a write fault of a DAX file on XFS takes
 * blocks that were set aside for the copies of shared extents, and zeroes them neither in holes nor in unwritten
 * extents (fs/dax.c dax_iomap_cow_copy): the page shows a deleted file. A block that is written whole holds nothing
 * else.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

#include "error.h"
#include "file/claim.h"
#include "file/file.h"
#include "file/zero_fill.h"
#include "kernel/fiemap.h"
#include "kernel/quirks.h"
#include "sys/sys.h"

#define ZEROS ((size_t)64 << 10)

struct gaps {
	const struct pm_file *f;
	uint64_t at, end; /* of the part that is still to be inspected */
	bool fill;        /* or only find them */
	bool found, shared;
	uint64_t last; /* where the last one that was found ends */
};

static bool shows_old_blocks(struct pm_file *f)
{
	return S_ISREG(f->stx.stx_mode) && !f->created && pm_has_quirk(pm_file_f_type(f), PM_FS_SHOWS_OLD_BLOCKS);
}

/*
 * With the lease in steps, and only while it is still held: a process that wants to open the file waits much longer
 * than a step takes.
 */
static int fill(const struct pm_file *f, uint64_t at, uint64_t end, bool has_lease)
{
	static const char zeros[ZEROS];
	while (at < end) {
		size_t step = end - at < ZEROS ? (size_t)(end - at) : ZEROS;
		if (has_lease && PM_RETRY(pm_sys->getlease(f->fd)) != F_WRLCK)
			return -EBUSY;
		ssize_t put = PM_RETRY(pm_sys->pwrite(f->fd, zeros, step, at));
		if (put <= 0)
			return put ? (int)put : -EIO;
		at += (uint64_t)put;
	}
	return 0;
}

static int meet_gap(struct gaps *g, uint64_t gap_end)
{
	if (g->at >= gap_end)
		return 0;
	g->found = true;
	g->last = gap_end;
	return g->fill ? fill(g->f, g->at, gap_end, true) : 0;
}

/* Zeros go where a fault would show an old block: into unwritten extents and holes. Any other extent is skipped. */
static int meet(void *arg, const struct fiemap_extent *x)
{
	struct gaps *g = arg;
	uint64_t stop = x->fe_logical + x->fe_length < g->end ? x->fe_logical + x->fe_length : g->end;
	bool written = !(x->fe_flags & FIEMAP_EXTENT_UNWRITTEN);
	uint64_t gap_end = !written ? stop : x->fe_logical < g->end ? x->fe_logical : g->end;
	g->shared |= x->fe_flags & FIEMAP_EXTENT_SHARED;
	int rc = meet_gap(g, gap_end);
	g->at = stop > g->at ? stop : g->at;
	return rc;
}

static int walk_gaps(struct gaps *g)
{
	int rc = pm_each_extent(g->f->fd, g->at, g->end, meet, g);
	return rc ? rc : meet_gap(g, g->end);
}

static int fail(const struct pm_file *f, int rc)
{
	return pm_file_fail(f, rc, "the holes and unwritten extents of the range cannot be filled with zeros");
}

/* A file that was never shared needs no zeros. */
static int find_if_needed(const struct pm_file *f, bool *needed)
{
	struct gaps all = {.f = f, .end = f->size};
	int rc = walk_gaps(&all);
	*needed = all.shared;
	return rc ? fail(f, rc) : 0;
}

/* Another process could have stored into what was a hole a moment ago. */
static int do_without(const struct pm_file *f)
{
	bool needed;
	int rc = find_if_needed(f, &needed);
	if (rc || !needed)
		return rc;
	return pm_fail(
		-EBUSY, f->call, f->name,
		"the file shares extents: before Linux 6.2 its holes are prepared only for its owner, and only while "
		"the file is open nowhere else");
}

static int fill_gaps(struct pm_file *f, struct gaps *gaps)
{
	/* The caller may store through its own description, which a lease on that description does not keep out. */
	if (f->callers || f->borrowed)
		return do_without(f);
	/* As in lease.c, but no thread needs a signal on a break: the lease is polled, and released at once. */
	bool had = PM_RETRY(pm_sys->getlease(f->fd)) == F_WRLCK;
	if (!had && pm_file_take_lease(f))
		return do_without(f);
	int rc = walk_gaps(gaps);
	if (!had)
		PM_RETRY(pm_sys->setlease(f->fd, F_UNLCK));
	return rc ? fail(f, rc) : 0;
}

int pm_file_write_zeros(struct pm_file *f, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length < f->size ? offset + length : f->size;
	struct gaps seen = {.f = f, .at = offset, .end = end},
		    filled = {.f = f, .at = offset, .end = end, .fill = true};
	if (offset >= end || !shows_old_blocks(f))
		return 0;
	int rc = walk_gaps(&seen);
	if (rc)
		return fail(f, rc);
	if (!seen.found)
		return 0;
	/* The file is that long already, and write(2) checks the limit all the same. */
	if (pm_file_within_limit(f, seen.last)) {
		bool needed;
		rc = find_if_needed(f, &needed);
		return rc || !needed ? rc : pm_file_within_limit(f, seen.last);
	}
	return fill_gaps(f, &filled);
}

int pm_file_write_all(struct pm_file *f, uint64_t end)
{
	int rc = fill(f, 0, end, false);
	return rc ? pm_file_fail(f, rc, "the new file cannot be written") : 0;
}

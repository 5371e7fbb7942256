/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Zeros by write(2), before anything is faulted in. Until Linux 6.2 a write fault of a DAX file on XFS takes blocks
 * that were set aside for the copies of shared extents, and zeroes them in neither holes nor unwritten extents
 * (fs/dax.c dax_iomap_cow_copy): the page shows a file that was deleted. A block that is written whole has nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>

#include "error.h"
#include "file.h"
#include "sys.h"

#define EXTENTS_A_CALL 32
#define ZEROS ((size_t)64 << 10)
#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

struct gaps {
	bool fill; /* or only look for them */
	bool found, shared;
};

static bool shows_old_blocks(const struct pm_file *f)
{
	struct utsname kernel;
	struct statfs stfs;
	int major, minor;
	if (!S_ISREG(f->stx.stx_mode) || f->created || pm_sys->uname(&kernel))
		return false;
	bool zeroes = sscanf(kernel.release, "%d.%d", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 2));
	return !zeroes && !pm_sys->fstatfs(f->fd, &stfs) && stfs.f_type == XFS_SUPER_MAGIC;
}

/* Step by step, each with the lease still there: who wants to open the file waits much longer than one takes. */
static int fill(const struct pm_file *f, uint64_t at, uint64_t end)
{
	static const char zeros[ZEROS];
	while (at < end) {
		size_t step = end - at < ZEROS ? (size_t)(end - at) : ZEROS;
		if (pm_sys->getlease(f->fd) != F_WRLCK)
			return -EBUSY;
		for (size_t done = 0; done < step;) {
			ssize_t written = PM_RETRY(pm_sys->pwrite(f->fd, zeros, step - done, at + done));
			if (written <= 0)
				return written ? (int)written : -EIO;
			done += (size_t)written;
		}
		at += step;
	}
	return 0;
}

static int meet_gap(const struct pm_file *f, uint64_t at, uint64_t end, struct gaps *g)
{
	if (at >= end)
		return 0;
	g->found = true;
	return g->fill ? fill(f, at, end) : 0;
}

/* What is neither a hole nor unwritten is passed by. */
static int walk(const struct pm_file *f, uint64_t at, uint64_t end, struct gaps *g)
{
	_Alignas(struct fiemap) char room[sizeof(struct fiemap) + EXTENTS_A_CALL * sizeof(struct fiemap_extent)];
	struct fiemap *map = (struct fiemap *)room;
	int rc = 0;
	while (at < end && !rc) {
		uint64_t start = at;
		*map = (struct fiemap){.fm_start = at, .fm_length = end - at, .fm_extent_count = EXTENTS_A_CALL};
		rc = pm_sys->ioctl(f->fd, FS_IOC_FIEMAP, map);
		for (unsigned i = 0; i < map->fm_mapped_extents && at < end && !rc; i++) {
			const struct fiemap_extent *x = &map->fm_extents[i];
			uint64_t stop = x->fe_logical + x->fe_length < end ? x->fe_logical + x->fe_length : end;
			bool written = !(x->fe_flags & FIEMAP_EXTENT_UNWRITTEN);
			uint64_t gap_end = !written ? stop : x->fe_logical < end ? x->fe_logical : end;
			g->shared |= x->fe_flags & FIEMAP_EXTENT_SHARED;
			rc = meet_gap(f, at, gap_end, g);
			at = stop > at ? stop : at;
		}
		if (map->fm_mapped_extents < EXTENTS_A_CALL || at == start)
			break;
	}
	return rc ? rc : meet_gap(f, at, end, g);
}

static int fail(const struct pm_file *f, int rc)
{
	return pm_fail(rc, f->call, f->name, "zeros cannot be written where nothing was: %s", pm_strerror(rc));
}

/* Others could have stored into what a moment ago was a hole. What was never shared needs no zeros. */
static int do_without(const struct pm_file *f)
{
	struct gaps all = {0};
	int rc = walk(f, 0, f->size, &all);
	if (rc)
		return fail(f, rc);
	if (!all.shared)
		return 0;
	return pm_fail(-EBUSY, f->call, f->name,
	               "the file shares extents, and before Linux 6.2 holes of such a file are prepared only by its owner and "
	               "while nobody else has it open");
}

int pm_file_write_zeros(struct pm_file *f, uint64_t offset, uint64_t length)
{
	struct gaps seen = {0}, filled = {.fill = true};
	uint64_t end = offset + length < f->size ? offset + length : f->size;
	if (offset >= end || !shows_old_blocks(f))
		return 0;
	int rc = walk(f, offset, end, &seen);
	if (rc)
		return fail(f, rc);
	if (!seen.found)
		return 0;
	/* The caller may store through his own description, of which a lease keeps nobody out. */
	if (f->callers)
		return do_without(f);
	/* As in lease.c, but nobody needs to hear of a break: it is asked for, and given back at once. */
	bool had = pm_sys->getlease(f->fd) == F_WRLCK;
	if (!had) {
		rc = pm_sys->lease_signal(f->fd, SIGURG);
		if (!rc)
			rc = PM_RETRY(pm_sys->setlease(f->fd, F_WRLCK));
		pm_sys->lease_silence(f->fd);
		if (rc)
			return do_without(f);
	}
	rc = walk(f, offset, end, &filled);
	if (!had)
		pm_sys->setlease(f->fd, F_UNLCK);
	return rc ? fail(f, rc) : 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfs_map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE UINT64_C(4096)
#define CHUNK (UINT64_C(64) << 10)    /* what a DAX file grows by at least */
#define CHUNK_MAX (UINT64_C(1) << 20) /* and at most, beyond what is needed */
#define LAG (UINT64_C(256) << 10)     /* of a page-cache mapping behind its file */
#define OUTSIDE_MAX 64u
/* Addresses kept for growth, so that pages that SQLite holds stay where they are. */
#define RESERVE (sizeof(void *) > 4 ? UINT64_C(64) << 30 : UINT64_C(64) << 20)

static uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) / unit * unit;
}

bool pmdirect_map_has_lines(const struct pmdirect_file *f)
{
	return f->map && pm_granularity_of(f->map) >= PM_CACHE_LINE;
}

/* ---- Making it --------------------------------------------------------------------------------- */

void pmdirect_map_end(struct pmdirect_file *f)
{
	if (f->map && pmdirect_node_forks() == f->forks)
		pm_unmap(f->map);
	f->map = NULL;
	f->bytes = NULL;
	f->usable = 0;
	f->fetched = 0;
}

/*
 * A mapping that fails is not tried again: the VFS below serves the file until it is closed. What SQLite holds pages of
 * stays as it is.
 */
static void give_up(struct pmdirect_file *f, int error)
{
	f->error = error;
	f->stuck = true;
	if (!f->fetched)
		pmdirect_map_end(f);
}

static void adopt(struct pmdirect_file *f)
{
	f->bytes = pm_base(f->map);
	f->usable = pm_length(f->map);
	f->outside = 0;
}

static void keep_reason(struct pmdirect_file *f, int rc)
{
	sqlite3_snprintf(sizeof(f->reason), f->reason, "%s", rc ? pm_error_detail() : "");
}

/*
 * In the page cache the mapping is only loaded from, so that large folios cost no commit anything, and the kernel reads
 * ahead as far as the loads suggest. By single pages a scan of a database that is not cached takes ten times as long.
 */
static int make(struct pmdirect_file *f, uint64_t length, unsigned flags)
{
	struct pm_options options = {.size = sizeof(options), .flags = flags | PM_BORROW_FD, .length = length};
	if (f->read_only)
		options.flags |= PM_READ_ONLY;
	else if (f->direct)
		options.flags |= PM_PREPARE;
	if (f->direct)
		options.reserve = length > RESERVE / 4 ? 4 * length : RESERVE;
	else
		options.access = PM_ACCESS_SEQUENTIAL;
	int rc = pm_map_fd(pmdirect_node_fd(f->node), &options, &f->map);
	if (rc == -ENOMEM && options.reserve) { /* RLIMIT_AS */
		options.reserve = 0;
		rc = pm_map_fd(pmdirect_node_fd(f->node), &options, &f->map);
	}
	f->reserves = options.reserve;
	keep_reason(f, rc);
	if (!rc)
		adopt(f);
	if (!rc && !f->direct)
		madvise(f->bytes, (size_t)f->usable, MADV_NORMAL);
	return rc;
}

/* pm_map_fd() makes durable what a DAX file holds, if it grants lines; the watch began before. */
static void note_if_synced(struct pmdirect_file *f, uint64_t size_before)
{
	if (f->watched && size_before && pmdirect_map_has_lines(f))
		f->synced = true;
}

static int resize(struct pmdirect_file *f, uint64_t length)
{
	int rc = pm_resize(f->map, length);
	keep_reason(f, rc);
	if (!rc)
		adopt(f);
	return rc;
}

static bool may_grow(const struct pmdirect_file *f)
{
	return f->node && !f->stuck && (!f->fetched || (f->map && f->direct && f->reserves));
}

/* ---- Following the file ------------------------------------------------------------------------ */

static bool read_size(struct pmdirect_file *f, uint64_t *ret_size)
{
	struct stat st;
	if (fstat(pmdirect_node_fd(f->node), &st))
		return false;
	*ret_size = (uint64_t)st.st_size;
	return true;
}

/*
 * pm_resize() syncs. On the page cache that would be a flush which the VFS below does not make, so a new mapping is
 * made instead, when enough has come together.
 */
static void follow(struct pmdirect_file *f, uint64_t size)
{
	if (!may_grow(f) || !size || size == f->usable)
		return;
	int rc = 0;
	if (f->map && f->direct) {
		rc = resize(f, size);
	} else if (!f->map || size - f->usable >= (f->usable / 4 > LAG ? f->usable / 4 : LAG) ||
	           f->outside > OUTSIDE_MAX) {
		pmdirect_map_end(f);
		rc = make(f, size, 0);
		if (!rc)
			note_if_synced(f, size);
	}
	if (rc)
		give_up(f, rc);
}

void pmdirect_map_cut(struct pmdirect_file *f, uint64_t size)
{
	if (!f->map || f->usable <= size)
		return;
	f->usable = size;
	/* Not by pm_resize(), which truncates a file that another process made longer again in between. */
	if (!f->fetched)
		pmdirect_map_end(f);
}

bool pmdirect_map_reach(struct pmdirect_file *f, uint64_t offset, uint64_t length)
{
	uint64_t size;
	if (offset + length <= f->usable)
		return true;
	if (!may_grow(f) || !read_size(f, &size) || offset + length > size)
		return false;
	f->outside++;
	follow(f, size);
	return f->map && offset + length <= f->usable;
}

void pmdirect_map_refresh(struct pmdirect_file *f)
{
	if (!f->database || f->seen == f->database->locks || !f->node)
		return;
	if (!read_size(f, &f->size)) {
		give_up(f, -EIO);
		return;
	}
	f->seen = f->database->locks;
	pmdirect_map_cut(f, f->size);
}

bool pmdirect_map_is_whole(struct pmdirect_file *f)
{
	uint64_t size;
	if (!f->map || !read_size(f, &size))
		return false;
	if (size < f->usable)
		pmdirect_map_cut(f, size);
	if (size > f->usable) {
		f->outside++;
		follow(f, size);
	}
	return f->map && f->usable == size;
}

int pmdirect_map_grow(struct pmdirect_file *f, uint64_t end)
{
	uint64_t size, ahead = f->usable / 4 < CHUNK_MAX ? f->usable / 4 : CHUNK_MAX;
	if (!f->direct || !may_grow(f) || (f->map && !pmdirect_map_has_lines(f)) || !read_size(f, &size))
		return SQLITE_IOERR;
	uint64_t wanted[] = {round_up(end + ahead, f->chunk > CHUNK ? f->chunk : CHUNK), round_up(end, PAGE)};
	int rc = 0;
	for (size_t i = 0; i < 2; i++) {
		uint64_t length = size > wanted[i] ? size : wanted[i];
		rc = f->map ? resize(f, length) : make(f, length, PM_CREATE);
		if (rc != -ENOSPC && rc != -EDQUOT)
			break;
	}
	if (!rc) {
		note_if_synced(f, size);
		f->size = f->usable;
		return SQLITE_OK;
	}
	f->error = rc;
	if (rc == -ENOSPC || rc == -EDQUOT)
		return SQLITE_FULL;
	give_up(f, rc);
	return SQLITE_IOERR;
}

/* ---- Loads and stores -------------------------------------------------------------------------- */

struct copy {
	struct pmdirect_file *f;
	void *to;
	const void *from;
	size_t length;
};

static int load(void *arg)
{
	const struct copy *c = arg;
	memcpy(c->to, c->from, c->length);
	return 0;
}

/* Durable when it returns, so that it is for every process that syncs the file later. */
static int store(void *arg)
{
	const struct copy *c = arg;
	return pm_memcpy(c->f->map, c->to, c->from, c->length, 0);
}

static bool guarded(struct copy *c, pm_guarded_fn *function)
{
	struct pm_fault fault;
	int rc = pm_guarded(c->f->map, function, c, &fault, sizeof(fault));
	uint64_t size;
	if (!rc)
		return true;
	c->f->error = rc;
	if (read_size(c->f, &size))
		pmdirect_map_cut(c->f, size);
	return false;
}

bool pmdirect_map_load(struct pmdirect_file *f, void *to, uint64_t offset, size_t length)
{
	struct copy c = {f, to, f->bytes + offset, length};
	return guarded(&c, load);
}

bool pmdirect_map_store(struct pmdirect_file *f, uint64_t offset, const void *from, size_t length)
{
	struct copy c = {f, f->bytes + offset, from, length};
	return guarded(&c, store);
}

/* ---- For a person ------------------------------------------------------------------------------ */

/* Loads make the mapping of a file in the page cache; a log that only this connection writes may never have one. */
static const char *why_unmapped(const struct pmdirect_file *f)
{
	if (!f || !f->node)
		return "it has no file of its own";
	if (f->error)
		return *f->reason ? f->reason : pm_strerror(f->error);
	if (f->direct)
		return "nothing was read or written since it was opened or made shorter";
	return "nothing was read since it was opened or made shorter. It lies in the page cache: the VFS below writes "
	       "it, and its sync makes a commit durable. On a DAX file system stores to a mapping would";
}

static char *explain(struct pmdirect_file *f, const char *what, char *before)
{
	struct pm_report report;
	char text[2048] = "";
	if (!f || !f->map || pm_query(f->map, &report, sizeof(report)) || pm_explain(&report, text, sizeof(text)) < 0)
		return sqlite3_mprintf("%z%s: not mapped: %s", before, what, why_unmapped(f));
	return sqlite3_mprintf("%z%s: granularity %s, %llu bytes mapped. %s", before, what,
	                       pm_granularity_name(report.granularity), (unsigned long long)f->usable, text);
}

char *pmdirect_map_explain(struct pmdirect_file *f)
{
	char *text = explain(f, "database", NULL);
	return f->log ? explain(f->log, "log", sqlite3_mprintf("%z\n", text)) : text;
}

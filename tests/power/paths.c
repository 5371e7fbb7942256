/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data that comes into a mapped range by a store, by write(2) or past the page cache by O_DIRECT, and is made durable
 * by pm_persist(), by pm_sync() or by the program's own fsync(2); and by pm_write(), which does both.
 *
 *   paths store PLACE PATH...  PATH is a directory, or a block device
 *   paths found PLACE PATH...
 *
 * Controls are what these calls do not cover: what was not flushed, be it between what was, and what write(2) puts
 * behind the old end of the file.
 */
#include <pmdirect.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "../guest/check.h"
#include "digest.h"

#define PAGE ((size_t)4096)
#define WINDOW (16 * PAGE) /* the mapped range of a way to make things durable; on a device they follow each other */

enum way { STORE, WRITE, DIRECT, LIBRARY, WAYS };
static const char *const ways[] = {"store", "write", "direct", "library"};

enum by { PERSIST, SYNC, FSYNC, BYS };
static const char *const bys[] = {"persist", "sync", "fsync"};

/* The files behind those: what is appended, what is only drained, and what is flushed here and there. */
enum { APPENDED = BYS, ONLY_DRAINED, FILES, SCATTERED };

#define RUNS 100 /* more than are written at a time */
#define STRIDE (40 * PAGE)

struct range {
	struct pm_mapping *mapping;
	char *base;
	int fd, direct_fd;
	bool node;
	uint64_t offset;
	char path[256];
};

static bool is_node(const char *path)
{
	struct stat st;
	return !stat(path, &st) && S_ISBLK(st.st_mode);
}

static void name_range(struct range *r, const char *path, int number)
{
	*r = (struct range){.node = is_node(path), .fd = -1, .direct_fd = -1};
	r->offset = r->node ? (uint64_t)number * WINDOW : 0;
	snprintf(r->path, sizeof(r->path), r->node ? "%s" : "%s/paths%d", path, number);
}

static int open_range(struct range *r, const char *path, int number)
{
	name_range(r, path, number);
	struct pm_options o = {.size = sizeof(o), .flags = r->node ? 0 : PM_CREATE | PM_PREPARE, .length = WINDOW,
	                       .offset = r->offset};
	if (pm_map(r->path, &o, &r->mapping))
		return complain(r->path, "pm_map");
	r->base = pm_base(r->mapping);
	memset(r->base, 'o', WINDOW);
	r->fd = open(r->path, O_RDWR | O_CLOEXEC);
	r->direct_fd = open(r->path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (pm_sync(r->mapping) || r->fd < 0 || r->direct_fd < 0)
		return complain(r->path, "setting up");
	return 0;
}

/* A page of its own for each way; a store and a write(2) that do not fill it, where O_DIRECT must. */
static int put(struct range *r, enum way way)
{
	static _Alignas(4096) char page[4096];
	size_t at = (size_t)way * 2 * PAGE, length = way == DIRECT ? PAGE : 1000;
	memset(page, 'a' + (int)way, length);
	if (way == STORE) {
		memcpy(r->base + at, page, length);
		return 0;
	}
	if (way == LIBRARY && pm_write(r->mapping, r->base + at, page, length))
		return complain(r->path, ways[way]);
	if (way == LIBRARY)
		return 0;
	int fd = way == WRITE ? r->fd : r->direct_fd;
	if (pwrite(fd, page, length, (off_t)(r->offset + at)) != (ssize_t)length)
		return complain(r->path, ways[way]);
	/* In all cases the mapping shows it at once. */
	return memcmp(r->base + at, page, length) ? complain(r->path, "not seen in the mapping") : 0;
}

static int make_durable(struct range *r, enum by by, size_t at)
{
	if (by == PERSIST)
		return pm_persist(r->mapping, r->base + at, PAGE);
	return by == SYNC ? pm_sync(r->mapping) : fsync(r->fd);
}

static int promise(const char *place, const char *path, enum by by)
{
	struct range r;
	char name[128];
	if (open_range(&r, path, (int)by))
		return 1;
	for (int way = 0; way < WAYS; way++) {
		size_t at = (size_t)way * 2 * PAGE;
		if (put(&r, (enum way)way) || (way != LIBRARY && make_durable(&r, by, at)))
			return complain(r.path, bys[by]);
		snprintf(name, sizeof(name), "%s/%s/%s", place, bys[by], ways[way]);
		tell("promise", name, r.base + at, PAGE);
	}
	dprintf(STDOUT_FILENO, "note %s: %s by %s\n", place, pm_granularity_name(pm_granularity_of(r.mapping)),
	        bys[by]);
	return 0;
}

static int append(struct range *r)
{
	char page[PAGE];
	memset(page, 'z', sizeof(page));
	return pwrite(r->fd, page, sizeof(page), (off_t)WINDOW) != (ssize_t)sizeof(page);
}

/*
 * pm_sync() is about the mapping, which ends before it; fsync(2) is about the file. Where the mapping has lines,
 * pm_sync() commits the inode, and what was appended is there although it was never promised: no control.
 */
static int append_and_sync(const char *place, const char *path, bool with_fsync)
{
	struct range r;
	char name[128], page[PAGE];
	if (open_range(&r, path, with_fsync ? FILES : APPENDED) || append(&r) || pm_sync(r.mapping))
		return complain(r.path, "appending");
	if (with_fsync && fsync(r.fd))
		return complain(r.path, "fsync");
	memset(page, 'z', sizeof(page));
	if (with_fsync)
		snprintf(name, sizeof(name), "%s/appended", place);
	else
		snprintf(name, sizeof(name), "appended/%s", place);
	tell(with_fsync ? "promise" : "control", name, page, sizeof(page));
	return 0;
}

/* On a page-granular mapping a drain is about what was flushed, and write(2) flushes nothing. */
static int only_drain(const char *place, const char *path)
{
	struct range r;
	char name[128];
	if (open_range(&r, path, ONLY_DRAINED) || put(&r, WRITE) || pm_drain(r.mapping))
		return complain(r.path, "pm_drain");
	snprintf(name, sizeof(name), "drained/%s", place);
	if (pm_granularity_of(r.mapping) == PM_PAGE)
		tell("control", name, r.base + WRITE * 2 * PAGE, PAGE);
	return 0;
}

static void name_run(char name[static 128], const char *place, int run, bool flushed)
{
	if (flushed)
		snprintf(name, 128, "%s/scattered/%d", place, run);
	else
		snprintf(name, 128, "between/%s/%d", place, run);
}

/*
 * Pages far apart in a new file without blocks, and one drain: their blocks are allocated as they are written, and the
 * one call that commits is about the last of them. The pages in between are stored to as well, and not flushed.
 */
static int scatter(const char *place, const char *path)
{
	struct range r;
	char name[128];
	name_range(&r, path, SCATTERED);
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE | PM_SPARSE, .length = RUNS * STRIDE};
	if (pm_map(r.path, &o, &r.mapping))
		return complain(r.path, "pm_map");
	r.base = pm_base(r.mapping);
	for (int i = 0; i < RUNS; i++) {
		memset(r.base + (size_t)i * STRIDE, 'A' + i % 26, 2 * PAGE);
		memset(r.base + (size_t)i * STRIDE + STRIDE / 2, 'a' + i % 26, PAGE);
		if (pm_flush(r.mapping, r.base + (size_t)i * STRIDE, 2 * PAGE))
			return complain(r.path, "pm_flush");
	}
	if (pm_drain(r.mapping))
		return complain(r.path, "pm_drain");
	for (int i = 0; i < RUNS; i++) {
		name_run(name, place, i, true);
		tell("promise", name, r.base + (size_t)i * STRIDE, 2 * PAGE);
		name_run(name, place, i, false);
		tell("control", name, r.base + (size_t)i * STRIDE + STRIDE / 2, PAGE);
	}
	return 0;
}

static int store_all(const char *const *place, const char *const *path, int count)
{
	int rc = 0;
	for (int by = 0; by < BYS; by++)
		for (int i = 0; i < count && !rc; i++)
			rc = promise(place[i * 2], path[i * 2], (enum by)by);
	for (int i = 0; i < count && !rc; i++)
		rc = is_node(path[i * 2]) ? 0 : append_and_sync(place[i * 2], path[i * 2], true);
	/* The controls begin with nothing left to commit; what commits for one file may commit for all. */
	for (int i = 0; i < count && !rc; i++)
		rc = only_drain(place[i * 2], path[i * 2]);
	for (int i = 0; i < count && !rc; i++)
		rc = strstr(place[i * 2], "disk") ? append_and_sync(place[i * 2], path[i * 2], false) : 0;
	/*
	 * Nothing may follow that would commit for it; itself it commits nothing of the controls where they are cached.
	 */
	for (int i = 0; i < count && !rc; i++)
		rc = strstr(place[i * 2], "disk") ? scatter(place[i * 2], path[i * 2]) : 0;
	return rc;
}

static void find_all(const char *place, const char *path)
{
	struct range r;
	char name[128];
	for (int by = 0; by < BYS; by++) {
		for (int way = 0; way < WAYS; way++) {
			name_range(&r, path, by);
			snprintf(name, sizeof(name), "%s/%s/%s", place, bys[by], ways[way]);
			tell_found(name, r.path, r.offset + (size_t)way * 2 * PAGE, PAGE);
		}
	}
	name_range(&r, path, ONLY_DRAINED);
	snprintf(name, sizeof(name), "drained/%s", place);
	tell_found(name, r.path, r.offset + WRITE * 2 * PAGE, PAGE);
	name_range(&r, path, APPENDED);
	snprintf(name, sizeof(name), "appended/%s", place);
	if (strstr(place, "disk"))
		tell_found(name, r.path, WINDOW, PAGE);
	name_range(&r, path, FILES);
	snprintf(name, sizeof(name), "%s/appended", place);
	tell_found(name, r.path, WINDOW, PAGE);
	name_range(&r, path, SCATTERED);
	for (int i = 0; i < RUNS && strstr(place, "disk"); i++) {
		name_run(name, place, i, true);
		tell_found(name, r.path, (uint64_t)i * STRIDE, 2 * PAGE);
		name_run(name, place, i, false);
		tell_found(name, r.path, (uint64_t)i * STRIDE + STRIDE / 2, PAGE);
	}
}

int main(int argc, char **argv)
{
	bool storing = argc > 3 && !strcmp(argv[1], "store");
	int count = (argc - 2) / 2;
	if (argc < 4 || argc % 2)
		return 2;
	if (storing && !store_all((const char *const *)argv + 2, (const char *const *)argv + 3, count)) {
		dprintf(STDOUT_FILENO, "cut\n");
		pause();
	}
	for (int i = 0; i < count && !storing; i++)
		find_all(argv[2 + 2 * i], argv[3 + 2 * i]);
	return storing;
}

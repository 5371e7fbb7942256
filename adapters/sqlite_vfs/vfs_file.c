/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfs_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vfs_map.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

static struct pmdirect_file *mine(sqlite3_file *file)
{
	return (struct pmdirect_file *)(void *)file;
}

static const sqlite3_io_methods *below(struct pmdirect_file *f)
{
	return pmdirect_real(f)->pMethods;
}

/* The mappings of a parent are not the child's. */
static bool is_mapped(struct pmdirect_file *f)
{
	return f->node && f->forks == pmdirect_node_forks();
}

static bool is_dax(int fd)
{
	struct statx stx;
	return !statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &stx) &&
	       stx.stx_attributes & stx.stx_attributes_mask & STATX_ATTR_DAX;
}

static bool is_ours(const struct pmdirect_file *f)
{
	return f && (f->base.pMethods == &pmdirect_io_methods || f->base.pMethods == &pmdirect_io_methods_without_shm);
}

void pmdirect_file_init(struct pmdirect_file *f, const char *path, int flags)
{
	int moved = 0;
	f->read_only = flags & SQLITE_OPEN_READONLY;
	f->is_log = flags & SQLITE_OPEN_WAL;
	f->forks = pmdirect_node_forks();
	f->database = f;
	if (f->is_log) {
		f->database = mine(sqlite3_database_file_object(path));
		if (is_ours(f->database))
			f->database->log = f;
		else
			f->database = NULL;
	}
	if (!f->database)
		return;
	f->node = pmdirect_node_get(path, f->read_only);
	if (!f->node) {
		f->error = -errno;
		return;
	}
	/* The path may lead to another file by now. */
	if (below(f)->xFileControl(pmdirect_real(f), SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved) {
		pmdirect_node_put(f->node);
		f->node = NULL;
		return;
	}
	f->seen = f->database->locks - 1;
	f->direct = is_dax(pmdirect_node_fd(f->node));
	f->watched = f->direct && pmdirect_node_watch(f->node);
}

/* ---- Content ----------------------------------------------------------------------------------- */

static int file_close(sqlite3_file *file)
{
	struct pmdirect_file *f = mine(file);
	if (f->is_log && f->database)
		f->database->log = NULL;
	pmdirect_map_end(f);
	int rc = below(f)->xClose(pmdirect_real(f));
	if (f->node)
		pmdirect_node_put(f->node);
	f->node = NULL;
	return rc;
}

static int file_read(sqlite3_file *file, void *to, int length, sqlite3_int64 offset)
{
	struct pmdirect_file *f = mine(file);
	if (is_mapped(f) && pmdirect_map_reach(f, (uint64_t)offset, (uint64_t)length) &&
	    pmdirect_map_load(f, to, (uint64_t)offset, (size_t)length))
		return SQLITE_OK;
	return below(f)->xRead(pmdirect_real(f), to, length, offset);
}

/*
 * By lines only. Where stores need the kernel, write(2) is cheaper: a store takes a page fault after each write-back,
 * and makes its whole folio dirty, of which the sync then writes all. On a DAX file other processes that map it by
 * lines learn from write(2) that a sync of theirs needs the kernel as well.
 */
static bool store(struct pmdirect_file *f, const void *from, uint64_t offset, uint64_t length)
{
	return pmdirect_map_has_lines(f) && pmdirect_map_reach(f, offset, length) &&
	       pmdirect_map_store(f, offset, from, (size_t)length);
}

static int file_write(sqlite3_file *file, const void *from, int length, sqlite3_int64 offset)
{
	struct pmdirect_file *f = mine(file);
	uint64_t end = (uint64_t)offset + (uint64_t)length;
	int rc = SQLITE_IOERR;
	if (is_mapped(f) && f->direct && !f->read_only) {
		pmdirect_map_refresh(f);
		if (end > f->usable)
			rc = pmdirect_map_grow(f, end);
		if (rc == SQLITE_FULL)
			return rc;
		if (end <= f->size && store(f, from, (uint64_t)offset, (uint64_t)length))
			return SQLITE_OK;
	}
	rc = below(f)->xWrite(pmdirect_real(f), from, length, offset);
	if (rc == SQLITE_OK && end > f->size)
		f->size = end;
	return rc;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	struct pmdirect_file *f = mine(file);
	sqlite3_int64 kept = size;
	if (is_mapped(f) && !f->is_log && size && pmdirect_map_has_lines(f)) {
		/* As with SQLITE_FCNTL_CHUNK_SIZE: what the file grew by in advance may stay. */
		sqlite3_int64 chunk = f->chunk ? (sqlite3_int64)f->chunk : 65536;
		kept = (size + chunk - 1) / chunk * chunk;
		if (kept >= (sqlite3_int64)f->usable)
			return SQLITE_OK;
	}
	int rc = below(f)->xTruncate(pmdirect_real(f), kept);
	if (rc != SQLITE_OK || !is_mapped(f))
		return rc;
	f->seen = f->database->locks - 1;
	pmdirect_map_refresh(f);
	return SQLITE_OK;
}

static int sync_below(struct pmdirect_file *f, int flags)
{
	uint64_t changes = 0;
	bool counted = f->watched && f->node && pmdirect_node_changes(f->node, &changes);
	int rc = below(f)->xSync(pmdirect_real(f), flags);
	if (rc == SQLITE_OK) {
		f->synced = true;
		if (counted)
			pmdirect_node_synced(f->node, changes);
	}
	return rc;
}

/* Whether everything that any process put into the file is in the persistence domain, or was stored there by lines. */
static bool nothing_but_lines(struct pmdirect_file *f)
{
	uint64_t changes;
	return f->watched && pmdirect_node_changes(f->node, &changes) && pmdirect_node_is_synced(f->node, changes);
}

/*
 * What was written by this connection is not enough: under synchronous=NORMAL a checkpoint relies on this call to make
 * durable what other processes appended to the log, and a commit on all frames before its own.
 */
static int sync_all(struct pmdirect_file *f, int flags)
{
	int rc;
	if (!is_mapped(f) || !f->map || !f->synced)
		return sync_below(f, flags);
	if (pmdirect_map_has_lines(f)) {
		if (!nothing_but_lines(f))
			return sync_below(f, flags);
		rc = pm_drain(f->map);
	} else if (f->direct || !pmdirect_map_is_whole(f)) {
		return sync_below(f, flags);
	} else {
		rc = pm_sync(f->map);
	}
	if (rc == -ERANGE) /* truncated meanwhile: the next access follows the file */
		return sync_below(f, flags);
	if (rc) {
		f->error = rc;
		sqlite3_log(SQLITE_IOERR_FSYNC, "%s", pm_error_detail());
	}
	return rc ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int file_sync(sqlite3_file *file, int flags)
{
	struct pmdirect_file *f = mine(file);
	if (!is_mapped(f))
		return sync_below(f, flags);
	if (pmdirect_node_has_failed(f->node)) {
		sqlite3_log(SQLITE_IOERR_FSYNC, "a sync of the file failed before: close all connections to it");
		return SQLITE_IOERR_FSYNC;
	}
	int rc = sync_all(f, flags);
	if (rc != SQLITE_OK)
		pmdirect_node_fail(f->node);
	return rc;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
	struct pmdirect_file *f = mine(file);
	return below(f)->xFileSize(pmdirect_real(f), ret_size);
}

/* ---- Locks: the VFS below has them, so that both exclude each other --------------------------- */

static int file_lock(sqlite3_file *file, int level)
{
	struct pmdirect_file *f = mine(file);
	int rc = below(f)->xLock(pmdirect_real(f), level);
	f->locks += rc == SQLITE_OK;
	return rc;
}

static int file_unlock(sqlite3_file *file, int level)
{
	struct pmdirect_file *f = mine(file);
	return below(f)->xUnlock(pmdirect_real(f), level);
}

static int file_check_reserved(sqlite3_file *file, int *ret)
{
	struct pmdirect_file *f = mine(file);
	return below(f)->xCheckReservedLock(pmdirect_real(f), ret);
}

/* Whether the pages of the region can be had. Before Linux 5.14 this cannot be asked without a signal. */
static bool can_populate(void volatile *region, int size, int advice)
{
	uintptr_t unit = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)region / unit * unit;
	return !madvise((void *)first, (uintptr_t)region + (uintptr_t)size - first, advice) || errno != EFAULT;
}

/*
 * The VFS below writes one byte in 4 KiB, which reserves one block. Where blocks are smaller, a store into another one
 * finds no room on a full disk. A load needs no room there, but an index that reaches so far.
 */
static int check_region(void volatile *region, int size)
{
	if (can_populate(region, size, MADV_POPULATE_WRITE))
		return SQLITE_OK;
	if (can_populate(region, size, MADV_POPULATE_READ))
		return SQLITE_FULL;
	sqlite3_log(SQLITE_IOERR_SHMMAP, "another program truncated the index of the WAL: close all connections to it");
	return SQLITE_IOERR_SHMMAP;
}

static int file_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **ret)
{
	struct pmdirect_file *f = mine(file);
	int rc = below(f)->xShmMap(pmdirect_real(f), region, size, extend, ret);
	if (rc != SQLITE_OK || !*ret)
		return rc;
	rc = check_region(*ret, size);
	if (rc != SQLITE_OK)
		*ret = NULL;
	return rc;
}

static int file_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
	struct pmdirect_file *f = mine(file);
	int rc = below(f)->xShmLock(pmdirect_real(f), offset, count, flags);
	f->locks += rc == SQLITE_OK && flags & SQLITE_SHM_LOCK;
	return rc;
}

static void file_shm_barrier(sqlite3_file *file)
{
	struct pmdirect_file *f = mine(file);
	below(f)->xShmBarrier(pmdirect_real(f));
}

static int file_shm_unmap(sqlite3_file *file, int delete_it)
{
	struct pmdirect_file *f = mine(file);
	return below(f)->xShmUnmap(pmdirect_real(f), delete_it);
}

/* ---- Controls ---------------------------------------------------------------------------------- */

static int pragma(struct pmdirect_file *f, char **argv, int *ret)
{
	if (sqlite3_stricmp(argv[1], "pmdirect"))
		return 0;
	if (is_mapped(f))
		pmdirect_map_reach(f, 0, 1);
	argv[0] = pmdirect_map_explain(f);
	*ret = SQLITE_OK;
	return 1;
}

static void set_fetch_limit(struct pmdirect_file *f, sqlite3_int64 *limit)
{
	sqlite3_int64 old = f->fetch_limit;
	if (*limit >= 0)
		f->fetch_limit = *limit;
	*limit = old;
}

static int hint_size(struct pmdirect_file *f, void *arg)
{
	uint64_t size = (uint64_t) * (sqlite3_int64 *)arg;
	if (is_mapped(f) && f->direct && !f->read_only) {
		pmdirect_map_refresh(f);
		if (size <= f->usable)
			return SQLITE_OK;
		int rc = pmdirect_map_grow(f, size);
		if (rc == SQLITE_OK || rc == SQLITE_FULL)
			return rc;
	}
	return below(f)->xFileControl(pmdirect_real(f), SQLITE_FCNTL_SIZE_HINT, arg);
}

static int file_control(sqlite3_file *file, int op, void *arg)
{
	struct pmdirect_file *f = mine(file);
	int rc;
	switch (op) {
	case SQLITE_FCNTL_PRAGMA:
		if (pragma(f, arg, &rc))
			return rc;
		break;
	case SQLITE_FCNTL_VFSNAME:
		rc = below(f)->xFileControl(pmdirect_real(f), op, arg);
		*(char **)arg = sqlite3_mprintf("pmdirect/%z", rc == SQLITE_OK ? *(char **)arg : NULL);
		return SQLITE_OK;
	case SQLITE_FCNTL_MMAP_SIZE: /* never for the VFS below: that would map the file a second time */
		set_fetch_limit(f, arg);
		return SQLITE_OK;
	case SQLITE_FCNTL_CHUNK_SIZE:
		f->chunk = *(int *)arg > 0 ? (uint64_t) * (int *)arg : 0;
		break;
	case SQLITE_FCNTL_SIZE_HINT:
		return hint_size(f, arg);
	case SQLITE_FCNTL_LAST_ERRNO:
		if (f->error) {
			*(int *)arg = -f->error;
			return SQLITE_OK;
		}
		break;
	default:
		break;
	}
	return below(f)->xFileControl(pmdirect_real(f), op, arg);
}

static int file_sector_size(sqlite3_file *file)
{
	struct pmdirect_file *f = mine(file);
	return below(f)->xSectorSize(pmdirect_real(f));
}

static int file_characteristics(sqlite3_file *file)
{
	struct pmdirect_file *f = mine(file);
	return below(f)->xDeviceCharacteristics(pmdirect_real(f));
}

/* ---- Pages without a copy ---------------------------------------------------------------------- */

/* Only what the file had a moment ago: a page that was truncated since is a SIGBUS, as with the VFS below. */
static int file_fetch(sqlite3_file *file, sqlite3_int64 offset, int length, void **ret)
{
	struct pmdirect_file *f = mine(file);
	uint64_t end = (uint64_t)offset + (uint64_t)length;
	*ret = NULL;
	if (!is_mapped(f) || f->fetch_limit < (sqlite3_int64)end)
		return SQLITE_OK;
	pmdirect_map_refresh(f);
	if (f->node && pmdirect_map_reach(f, (uint64_t)offset, (uint64_t)length)) {
		*ret = f->bytes + offset;
		f->fetched++;
	}
	return SQLITE_OK;
}

static int file_unfetch(sqlite3_file *file, sqlite3_int64 offset, void *page)
{
	struct pmdirect_file *f = mine(file);
	(void)offset;
	if (page)
		f->fetched -= f->fetched > 0;
	else
		f->locks++; /* others may have changed the file: look again */
	return SQLITE_OK;
}

#define METHODS                                                                                                        \
	.xClose = file_close, .xRead = file_read, .xWrite = file_write, .xTruncate = file_truncate,                    \
	.xSync = file_sync, .xFileSize = file_size, .xLock = file_lock, .xUnlock = file_unlock,                        \
	.xCheckReservedLock = file_check_reserved, .xFileControl = file_control, .xSectorSize = file_sector_size,      \
	.xDeviceCharacteristics = file_characteristics

const sqlite3_io_methods pmdirect_io_methods = {
	.iVersion = 3,
	METHODS,
	.xShmMap = file_shm_map,
	.xShmLock = file_shm_lock,
	.xShmBarrier = file_shm_barrier,
	.xShmUnmap = file_shm_unmap,
	.xFetch = file_fetch,
	.xUnfetch = file_unfetch,
};
const sqlite3_io_methods pmdirect_io_methods_without_shm = {.iVersion = 1, METHODS};

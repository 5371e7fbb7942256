/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VFS of SQLite that keeps databases and write-ahead logs on mappings of libpmdirect. Everything else, and whatever a
 * mapping cannot do better, is left to the VFS that is the default when the extension is loaded.
 */
#include <errno.h>
#include <fcntl.h>
#include <pmdirect.h>
#include <string.h>
#include <unistd.h>

#include "vfs_file.h"

SQLITE_EXTENSION_INIT3

static sqlite3_vfs *below;

#define JOURNALS (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL)

/*
 * SQLite's own VFS answers SQLITE_CANTOPEN if a new journal finds no room for its inode, as after a wrong name. Whether
 * that is the cause only another attempt tells.
 */
static int cause_of(int rc, const char *name, int flags)
{
	if ((rc & 0xff) != SQLITE_CANTOPEN || !name || !(flags & SQLITE_OPEN_CREATE) || !(flags & JOURNALS))
		return rc;
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return errno == ENOSPC || errno == EDQUOT ? SQLITE_FULL : rc;
	unlink(name);
	close(fd);
	return rc;
}

static int vfs_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *ret_flags)
{
	struct pmdirect_file *f = (struct pmdirect_file *)(void *)file;
	int opened = flags;
	(void)vfs;
	if (!name || flags & (SQLITE_OPEN_DELETEONCLOSE | SQLITE_OPEN_MEMORY) ||
	    !(flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)))
		return cause_of(below->xOpen(below, name, file, flags, ret_flags), name, flags);
	memset(f, 0, sizeof(*f) + (size_t)below->szOsFile);
	sqlite3_file *real = pmdirect_real(f);
	int rc = below->xOpen(below, name, real, flags, &opened);
	if (rc != SQLITE_OK) {
		if (real->pMethods)
			real->pMethods->xClose(real);
		return cause_of(rc, name, flags);
	}
	bool shm = real->pMethods->iVersion >= 2 && real->pMethods->xShmMap;
	f->base.pMethods = shm ? &pmdirect_io_methods : &pmdirect_io_methods_without_shm;
	pmdirect_file_init(f, name, opened);
	if (ret_flags)
		*ret_flags = opened;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_directory)
{
	(void)vfs;
	return below->xDelete(below, name, sync_directory);
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
	(void)vfs;
	return below->xAccess(below, name, flags, ret);
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *name, int length, char *ret)
{
	(void)vfs;
	return below->xFullPathname(below, name, length, ret);
}

static void *vfs_dl_open(sqlite3_vfs *vfs, const char *name)
{
	(void)vfs;
	return below->xDlOpen(below, name);
}

static void vfs_dl_error(sqlite3_vfs *vfs, int length, char *ret)
{
	(void)vfs;
	below->xDlError(below, length, ret);
}

static void (*vfs_dl_sym(sqlite3_vfs *vfs, void *handle, const char *name))(void)
{
	(void)vfs;
	return below->xDlSym(below, handle, name);
}

static void vfs_dl_close(sqlite3_vfs *vfs, void *handle)
{
	(void)vfs;
	below->xDlClose(below, handle);
}

static int vfs_randomness(sqlite3_vfs *vfs, int length, char *ret)
{
	(void)vfs;
	return below->xRandomness(below, length, ret);
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
	(void)vfs;
	return below->xSleep(below, microseconds);
}

static int vfs_time(sqlite3_vfs *vfs, double *ret)
{
	(void)vfs;
	return below->xCurrentTime(below, ret);
}

static int vfs_last_error(sqlite3_vfs *vfs, int length, char *ret)
{
	(void)vfs;
	return below->xGetLastError ? below->xGetLastError(below, length, ret) : 0;
}

static int vfs_time_int64(sqlite3_vfs *vfs, sqlite3_int64 *ret)
{
	(void)vfs;
	return below->xCurrentTimeInt64(below, ret);
}

static sqlite3_vfs pmdirect_vfs = {
	.zName = "pmdirect",
	.xOpen = vfs_open,
	.xDelete = vfs_delete,
	.xAccess = vfs_access,
	.xFullPathname = vfs_full_path,
	.xDlOpen = vfs_dl_open,
	.xDlError = vfs_dl_error,
	.xDlSym = vfs_dl_sym,
	.xDlClose = vfs_dl_close,
	.xRandomness = vfs_randomness,
	.xSleep = vfs_sleep,
	.xCurrentTime = vfs_time,
	.xGetLastError = vfs_last_error,
	.xCurrentTimeInt64 = vfs_time_int64,
};

/* Another connection of the process may have loaded the extension already, as the default: it stays that then. */
static int enter(sqlite3 *db, char **ret_message, const sqlite3_api_routines *api, int make_default)
{
	(void)db;
	SQLITE_EXTENSION_INIT2(api);
	sqlite3_vfs *known = sqlite3_vfs_find("pmdirect");
	if (known && !make_default)
		return SQLITE_OK_LOAD_PERMANENTLY;
	if (!known) {
		int rc = pm_guard_install();
		below = sqlite3_vfs_find(NULL);
		if (rc || !below || below->iVersion < 2) {
			*ret_message = sqlite3_mprintf("%s", rc ? pm_error_detail() : "there is no VFS to build on");
			return SQLITE_ERROR;
		}
		pmdirect_vfs.iVersion = 2;
		pmdirect_vfs.szOsFile = (int)sizeof(struct pmdirect_file) + below->szOsFile;
		pmdirect_vfs.mxPathname = below->mxPathname;
	}
	int rc = sqlite3_vfs_register(known ? known : &pmdirect_vfs, make_default);
	return rc == SQLITE_OK ? SQLITE_OK_LOAD_PERMANENTLY : rc;
}

/* The names are SQLite's (sqlite3_load_extension()). */
PM_API int sqlite3_pmdirectvfs_init(sqlite3 *db, char **ret_message, const sqlite3_api_routines *api);
PM_API int sqlite3_pmdirectvfs_default_init(sqlite3 *db, char **ret_message, const sqlite3_api_routines *api);

int sqlite3_pmdirectvfs_init(sqlite3 *db, char **ret_message, const sqlite3_api_routines *api)
{
	return enter(db, ret_message, api, 0);
}

int sqlite3_pmdirectvfs_default_init(sqlite3 *db, char **ret_message, const sqlite3_api_routines *api)
{
	return enter(db, ret_message, api, 1);
}

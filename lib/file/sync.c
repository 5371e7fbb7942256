/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "file/file.h"
#include "file/sync.h"
#include "kernel/identity.h"
#include "kernel/trusted_sync.h"
#include "sys/sys.h"

/* Where this was not foreseen it is not known whether syncfs(2) is ignored. */
static int sync_file_system(const struct pm_file *f, bool is_syncfs_known)
{
	if (!is_syncfs_known) {
		struct pm_ignored found = pm_syncs_ignored(PM_CALL_SYNCFS);
		if (found.state != PM_NO)
			return found.error ? -found.error : -EOPNOTSUPP;
	}
	return PM_RETRY(pm_sys->syncfs(f->fd));
}

/*
 * Whether the directory is that of the file. A server may have given the file's numbers to another file, and then the
 * entry that was found is not the one that must become durable.
 */
static bool holds_entry(struct pm_file *f)
{
	return f->created || pm_is_on_block_device(pm_file_f_type(f), &f->stx) ||
	       pm_is_entry(f->fd, f->directory_fd, f->entry) == 1;
}

int pm_file_sync(struct pm_file *f)
{
	int rc = pm_sync_file(f->fd, f->fsync_complete, f->read_only);
	f->suspect = rc;
	if (rc)
		return pm_file_fail(f, rc, "the file cannot be synced");
	if (f->directory_fd < 0 && !f->sync_all)
		return 0;
	/* EBADF: a directory that could not be opened for reading. EINVAL: a file system without this call. */
	rc = f->sync_all || !holds_entry(f) ? -EBADF : pm_sync_directory(f->directory_fd, f->fsync_complete);
	if (rc == -EBADF || rc == -EINVAL)
		rc = sync_file_system(f, f->sync_all);
	return rc ? pm_file_fail(f, rc, "the directory cannot be synced") : 0;
}

/*
 * Another process may have renamed a directory further up, or made a link on the way. On XFS fsync(2) of what lies
 * below commits nothing of it: it forces the log up to the last change of that inode (fs/xfs/xfs_file.c
 * xfs_fsync_flush_log).
 */
int pm_file_sync_path(struct pm_file *f, bool is_syncfs_known)
{
	int rc = pm_sync_file(f->fd, f->fsync_complete, f->read_only);
	/* A file system that is never written has no such call (erofs, squashfs). */
	if (rc == -EINVAL && f->read_only)
		rc = 0;
	f->suspect = rc;
	if (rc)
		return pm_file_fail(f, rc, "the file cannot be synced");
	rc = sync_file_system(f, is_syncfs_known);
	return rc ? pm_file_fail(f, rc, "the path of the file cannot be synced (syncfs)") : 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * On a file system that was made read-only under its open files (the emergency remount of sysrq-u) ext4 returns 0
 * from msync and fsync without writing anything: fs/ext4/fsync.c ext4_sync_file. The pages stay dirty, and the power
 * takes them.
 *
 * Asked after the sync: what it skipped for that reason is noticed, as long as nobody has made the file system
 * writable again in between. One that became read-only after a good sync is taken for bad, which loses nothing.
 */
#include <errno.h>
#include <sys/statvfs.h>

#include "synced.h"
#include "sys.h"

int pm_synced(int fd, int rc)
{
	struct statfs now;
	if (rc)
		return rc;
	/* Looks through an overlay, whose own flags say nothing of the file system below (fs/overlayfs/inode.c). */
	rc = PM_RETRY(pm_sys->may_write(fd));
	if (!rc || rc == -EROFS)
		return rc;
	/* Not allowed any more, or Linux before 5.8. */
	rc = PM_RETRY(pm_sys->fstatfs(fd, &now));
	return rc ? rc : now.f_flags & ST_RDONLY ? -EROFS : 0;
}

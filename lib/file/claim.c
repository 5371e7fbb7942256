/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel grants a write lease (fcntl(2) F_SETLEASE) only while the file has no other open file description, and an
 * open by another process waits until the lease is released (fs/locks.c check_conflicting_open, __break_lease). The
 * lease is taken before the file changes, not when the call fails: between the two another process could open the file,
 * store, make the store durable, and close the file again. While F_GETLEASE still answers F_WRLCK, no other process has
 * had the file open since.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include "facts/mount.h"
#include "file/claim.h"
#include "file/file.h"
#include "kernel/quirks.h"
#include "sys/sys.h"

/* As in observe/lease.c the kernel first names the process. */
int pm_file_take_lease(const struct pm_file *f)
{
	int rc = PM_RETRY(pm_sys->lease_signal(f->fd, SIGURG));
	if (!rc)
		rc = PM_RETRY(pm_sys->setlease(f->fd, F_WRLCK));
	PM_RETRY(pm_sys->lease_silence(f->fd));
	return rc;
}

void pm_file_claim(struct pm_file *f)
{
	/*
	 * With PM_LEASE the watcher thread holds it already. On a borrowed description a lease would be the caller's.
	 */
	if (f->alone || f->borrowed || !(f->created || S_ISREG(f->stx.stx_mode)))
		return;
	f->alone = PM_RETRY(pm_sys->getlease(f->fd)) == F_WRLCK;
	if (f->alone)
		return;
	f->alone = f->claimed = !pm_file_take_lease(f);
}

void pm_file_release(struct pm_file *f)
{
	if (f->claimed)
		PM_RETRY(pm_sys->setlease(f->fd, F_UNLCK));
	f->claimed = f->alone = false;
}

/*
 * A server's file system is on no block device, and may pass on the f_type of what it serves (fs/9p/vfs_super.c
 * v9fs_statfs).
 */
static bool is_mounted_as(const struct pm_file *f, const char *type)
{
	struct pm_mount_facts mount;
	bool same =
		!pm_mount_read(f->fd, &f->stx, false, &mount) && type[0] && !strncmp(mount.type, type, strlen(type));
	pm_mount_free(&mount);
	return same;
}

static bool leases_are_proof(struct pm_file *f)
{
	const struct pm_file_system *fs = pm_file_system(pm_file_f_type(f));
	return fs && pm_has_quirk(fs->magic, PM_FS_LEASES_PROVE) &&
	       (f->stx.stx_dev_major || is_mounted_as(f, fs->type));
}

bool pm_file_is_alone(struct pm_file *f)
{
	return f->alone && PM_RETRY(pm_sys->getlease(f->fd)) == F_WRLCK && leases_are_proof(f);
}

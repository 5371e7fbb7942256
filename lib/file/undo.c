/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a failing call takes back is only what no other process can have by then.
 *
 * A write lease (fcntl(2) F_SETLEASE) is granted only while the file has no other open file description, and an open by
 * another process waits until the lease is released (fs/locks.c check_conflicting_open, __break_lease). It is taken before
 * the file changes, not when the call fails: between the two another process could open the file, store, be told that the
 * store is durable, and close the file again. As long as F_GETLEASE still answers F_WRLCK no other process has had the file
 * open since. Where the lease was refused, broken or forced, the change stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>

#include "error.h"
#include "file/file.h"
#include "sys/sys.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

void pm_file_claim(struct pm_file *f)
{
	/* With PM_LEASE the watcher thread holds it already. */
	if (f->alone || !(f->created || S_ISREG(f->stx.stx_mode)))
		return;
	f->alone = PM_RETRY(pm_sys->getlease(f->fd)) == F_WRLCK;
	if (f->alone)
		return;
	/* No thread needs to hear of a break: it is asked for. As in lease.c the kernel first names the process. */
	int rc = PM_RETRY(pm_sys->lease_signal(f->fd, SIGURG));
	if (!rc)
		rc = PM_RETRY(pm_sys->setlease(f->fd, F_WRLCK));
	PM_RETRY(pm_sys->lease_silence(f->fd));
	f->alone = f->claimed = !rc;
}

void pm_file_release(struct pm_file *f)
{
	if (f->claimed)
		PM_RETRY(pm_sys->setlease(f->fd, F_UNLCK));
	f->claimed = f->alone = false;
}

/*
 * File systems whose leases are refused where any other description of the file exists: those of this machine alone.
 * FUSE and network file systems grant leases that say nothing of other machines, or of what their server does.
 */
static bool leases_are_proof(const struct pm_file *f)
{
	static const uint32_t local[] = {
		EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, TMPFS_MAGIC, HUGETLBFS_MAGIC, F2FS_SUPER_MAGIC,
		MSDOS_SUPER_MAGIC, 0x2011bab0 /* exFAT */, 0x7366746e /* ntfs3 */, OVERLAYFS_SUPER_MAGIC,
		0xca451a4e /* bcachefs */, 0x2fc12fc1 /* ZFS */,
	};
	struct statfs stfs;
	if (PM_RETRY(pm_sys->fstatfs(f->fd, &stfs)))
		return false;
	for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
		if ((uint32_t)stfs.f_type == local[i])
			return true;
	return false;
}

bool pm_file_is_alone(const struct pm_file *f)
{
	return f->alone && PM_RETRY(pm_sys->getlease(f->fd)) == F_WRLCK && leases_are_proof(f);
}

bool pm_file_is_entry(const struct pm_file *f)
{
	struct statx now;
	return !PM_RETRY(pm_sys->statx(f->directory_fd, f->entry, AT_SYMLINK_NOFOLLOW, &now)) && now.stx_ino == f->stx.stx_ino &&
	       now.stx_dev_major == f->stx.stx_dev_major && now.stx_dev_minor == f->stx.stx_dev_minor;
}

/*
 * Blocks that were reserved beyond the end are released by setting the size that the file has. That cuts nothing while no
 * other process can change it.
 */
static void undo_growth(struct pm_file *f)
{
	struct statx now;
	bool untouched = pm_file_is_alone(f);
	if (!untouched) {
		pm_file_release(f);
		pm_file_claim(f);
	}
	if (!untouched && !pm_file_is_alone(f)) {
		pm_fail_also("what was reserved for the file may stay: another process may have it open");
		return;
	}
	if (!PM_RETRY(pm_sys->statx(f->fd, "", AT_EMPTY_PATH, &now)))
		PM_RETRY(pm_sys->ftruncate(f->fd, untouched ? f->original_size : now.stx_size));
}

void pm_file_undo(struct pm_file *f)
{
	if (f->created && !f->unnamed) {
		if (!pm_file_is_alone(f))
			pm_fail_also("the file was created and stays: another process may have it open");
		/* Another process may have renamed it, and have put another file in its place. */
		else if (PM_RETRY(pm_sys->statx(f->fd, "", AT_EMPTY_PATH, &f->stx)) || pm_file_is_entry(f))
			PM_RETRY(pm_sys->unlinkat(f->directory_fd, f->entry));
	} else if (!f->created && f->grown) {
		undo_growth(f);
	}
	f->grown = false;
	pm_file_release(f);
}

bool pm_file_was_overtaken(const struct pm_file *f, int rc)
{
	struct statx now;
	return (rc == -ENOSPC || rc == -EDQUOT) && f->unnamed && f->entry &&
	       !PM_RETRY(pm_sys->statx(f->directory_fd, f->entry, AT_SYMLINK_NOFOLLOW, &now));
}

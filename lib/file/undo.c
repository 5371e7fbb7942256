/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A failing call takes back only what no other process can have by then.
 *
 * The kernel grants a write lease (fcntl(2) F_SETLEASE) only while the file has no other open file description, and an
 * open by another process waits until the lease is released (fs/locks.c check_conflicting_open, __break_lease). The
 * lease is taken before the file changes, not when the call fails: between the two another process could open the file,
 * store, make the store durable, and close the file again. While F_GETLEASE still answers F_WRLCK, no other process has
 * had the file open since. If the lease was refused, broken or forced, the change stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "facts/mount.h"
#include "file/file.h"
#include "kernel/identity.h"
#include "kernel/quirks.h"
#include "sys/sys.h"

void pm_file_claim(struct pm_file *f)
{
	/* With PM_LEASE the watcher thread holds it already. */
	if (f->alone || !(f->created || S_ISREG(f->stx.stx_mode)))
		return;
	f->alone = PM_RETRY(pm_sys->getlease(f->fd)) == F_WRLCK;
	if (f->alone)
		return;
	/*
	 * No thread needs a signal on a break: the lease is polled. As in lease.c the kernel first names the process.
	 */
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
 * A server's file system is on no block device, and may pass on the f_type of what it serves (fs/9p/vfs_super.c
 * v9fs_statfs).
 */
static bool is_mounted_as(const struct pm_file *f, const char *type)
{
	struct pm_mount_facts mount;
	bool same = !pm_mount_read(f->fd, &f->stx, false, &mount) && type[0] && !strncmp(mount.type, type, strlen(type));
	pm_mount_free(&mount);
	return same;
}

static bool leases_are_proof(const struct pm_file *f)
{
	struct statfs stfs;
	if (PM_RETRY(pm_sys->fstatfs(f->fd, &stfs)))
		return false;
	const struct pm_file_system *fs = pm_file_system((uint32_t)stfs.f_type);
	return fs && pm_has_quirk(fs->magic, PM_FS_LEASES_PROVE) && (f->stx.stx_dev_major || is_mounted_as(f, fs->type));
}

bool pm_file_is_alone(const struct pm_file *f)
{
	return f->alone && PM_RETRY(pm_sys->getlease(f->fd)) == F_WRLCK && leases_are_proof(f);
}

static bool is_called(const struct pm_file *f, const char *entry)
{
	struct statx now;
	return !PM_RETRY(pm_sys->statx(f->directory_fd, entry, AT_SYMLINK_NOFOLLOW, &now)) && pm_has_same_numbers(&now, &f->stx);
}

bool pm_file_is_entry(const struct pm_file *f)
{
	return is_called(f, f->entry);
}

/*
 * Linux removes a name, not a file: another process can rename(2) its own file over the name between a check and the
 * unlinkat(2). So the name is first moved aside, to one that no other program knows, without replacing anything. What
 * stands there is removed if it is the file, and moved back if not.
 */
static int move_aside(struct pm_file *f)
{
	int rc = -EEXIST;
	for (unsigned n = 0; rc == -EEXIST && n < PM_BESIDE_MAX; n++) {
		pm_file_name_beside(f, n);
		rc = PM_RETRY(pm_sys->renameat2_noreplace(f->directory_fd, f->entry, f->beside));
	}
	if (rc)
		f->beside[0] = 0;
	return rc;
}

static void remove_entry(struct pm_file *f)
{
	char text[NAME_MAX + 100];
	/* If it does not answer, the earlier answer stands. */
	struct statx now;
	if (!PM_RETRY(pm_sys->statx(f->fd, "", AT_EMPTY_PATH, &now)))
		f->stx = now;
	int rc = pm_file_is_entry(f) ? move_aside(f) : -ENOENT;
	if (rc == -ENOENT) /* another process has moved it, or put another file in its place */
		return;
	if (rc) {
		snprintf(text, sizeof(text), "the file was created and stays, as it cannot be renamed: %s", pm_strerror(rc));
		pm_fail_also(text);
		return;
	}
	if (is_called(f, f->beside)) {
		pm_file_drop_beside(f);
		return;
	}
	rc = PM_RETRY(pm_sys->renameat2_noreplace(f->directory_fd, f->beside, f->entry));
	if (rc) {
		snprintf(text, sizeof(text), "another process replaced the file meanwhile, and its file is called %.200s now: %s",
		         f->beside, pm_strerror(rc));
		pm_fail_also(text);
	}
	f->beside[0] = 0;
}

/*
 * Blocks that were reserved beyond the end are released by setting the size that the file has. That cuts nothing while
 * no other process can change the size.
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
		else
			remove_entry(f);
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

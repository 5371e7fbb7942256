/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a file system stands on, followed down as far as it can be known: an overlay to its upper layer, a loop device
 * to its backing file, dm, md and bcache to the devices below, everything else to the disk. Two questions: whether it
 * loses its content at power-off (PM_EV_VOLATILE), and whether a sync ends in a flush of the disk's volatile cache
 * (PM_EV_DEVICE_FLUSH). Of several answers the worst counts. What cannot be followed is unknown, and the text says
 * where the way ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "facts/below.h"
#include "facts/descent.h"
#include "facts/device.h"
#include "facts/disk.h"
#include "facts/evidence.h"
#include "facts/filesystem.h"
#include "facts/members.h"
#include "facts/mount.h"
#include "facts/subject.h"
#include "kernel/quirks.h"
#include "sys/sys.h"

#define SOURCE "the mount and /sys/dev/block"
#define say(text, ...) snprintf(text, sizeof(text), __VA_ARGS__)

/*
 * Whether that path leads to the upper layer: 1 or 0, or -errno where that is not known. An overlay passes on what
 * statfs(2) says of its upper layer, except the type and, from Linux 6.6 on, perhaps the id (fs/overlayfs/super.c
 * ovl_statfs). -EAGAIN: the size is equal, the id and what is free are not, as in a file system that is being written
 * to.
 */
static int leads_to_upper_layer(int overlay, const char *path)
{
	struct statfs shown, found;
	int rc = PM_RETRY(pm_sys->fstatfs(overlay, &shown));
	if (rc || (rc = PM_RETRY(pm_sys->statfs(path, &found))))
		return rc == -ENOENT || rc == -EACCES ? 1 : rc; /* nowhere, which is found when it is followed */
	if (shown.f_bsize != found.f_bsize || shown.f_frsize != found.f_frsize || shown.f_blocks != found.f_blocks)
		return 0;
	bool is_same = !memcmp(&shown.f_fsid, &found.f_fsid, sizeof(found.f_fsid));
	bool is_equal = shown.f_bfree == found.f_bfree && shown.f_ffree == found.f_ffree;
	return is_same || is_equal ? 1 : -EAGAIN;
}

static void follow_upper(int overlay, const char *path, unsigned depth, struct pm_descent *b)
{
	struct pm_descent part = pm_descent_part(b);
	int leads = leads_to_upper_layer(overlay, path);
	if (!leads)
		pm_descent_end(&part, 0, "overlay: its upper layer is not visible from here");
	else
		b->follow(path, depth + 1, &part);
	if (leads < 0)
		pm_descent_doubt(&part, leads == -EAGAIN ? 0 : -leads, "overlay: its upper layer may be another");
	pm_descent_merge(b, &part);
}

static void walk_overlay(const struct pm_mount_facts *mount, unsigned depth, struct pm_descent *b)
{
	char path[PATH_MAX];
	int rc = pm_mount_path(mount, "upperdir=", path, sizeof(path));
	if (rc)
		pm_descent_end(b, 0,
		               rc == -ENOENT ? "overlay without an upper layer: nothing is stored"
		                             : "overlay: path too long");
	else if (path[0] != '/') /* relative to the directory of the process that mounted it */
		pm_descent_end(b, 0, "overlay: the path of its upper layer is relative");
	else
		follow_upper(mount->fd, path, depth, b);
	/* Documentation/filesystems/overlayfs.rst, "Volatile mount" */
	const char *mode = pm_mount_option(mount, "fsync=");
	if (pm_mount_option(mount, "volatile") || (mode && !strncmp(mode, "volatile", 8)))
		pm_descent_forgets(b, "overlay mounted volatile");
}

/*
 * The option that makes the file system leave flushes out, if there is one; the names come from the show_options of
 * several file systems.
 */
static const char *silencer(const struct pm_mount_facts *mount)
{
	static const char *const options[] = {"nobarrier", "barrier=0", "barrier=none", "nostrictsync",
	                                      "journal_flush_disabled"};
	const char *mode = pm_mount_option(mount, "fsync_mode=");
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (pm_mount_option(mount, options[i]))
			return options[i];
	return mode && !strncmp(mode, "nobarrier", 9) ? "fsync_mode=nobarrier" : NULL;
}

static void apply_options(const struct pm_mount_facts *mount, struct pm_descent *b)
{
	const char *checkpoint = pm_mount_option(mount, "checkpoint="), *option = silencer(mount);
	/* Documentation/filesystems/f2fs.rst: a power failure takes everything written since the mount. */
	if (checkpoint && !strncmp(checkpoint, "disable", 7))
		pm_descent_forgets(b, "f2fs mounted checkpoint=disable");
	if (!option)
		return;
	b->flushes = b->has_no_cache ? PM_YES : PM_NO;
	say(b->how, b->has_no_cache ? "mounted %s; the disk has no volatile cache" : "mounted %s", option);
}

/* The device of the subject itself is asked for once, whatever needs it. */
static void walk_device(const struct statx *stx, unsigned depth, struct pm_descent *b)
{
	char device[64], link[PM_DEVICE_LINK];
	snprintf(device, sizeof(device), "/sys/dev/block/%u:%u", stx->stx_dev_major, stx->stx_dev_minor);
	if (b->subject)
		pm_descend_link(device, link, pm_device_link(b->subject, link), depth, b);
	else
		pm_descend_device(device, depth, b);
}

static void walk_mounted(const struct statx *stx, const struct pm_file_system *fs, const struct pm_mount_facts *mount,
                         unsigned depth, struct pm_descent *b)
{
	if (fs && pm_has_quirk(fs->magic, PM_FS_VOLATILE)) {
		pm_descent_forgets(b, fs->name);
		return;
	}
	if (fs && fs->server)
		pm_descent_end(b, 0, "the promise is the %s server's", fs->server);
	else if (fs && !strcmp(fs->name, "overlay"))
		walk_overlay(mount, depth, b);
	else if (fs && !strcmp(fs->name, "btrfs"))
		pm_descend_btrfs(mount, depth, b);
	else if (stx->stx_dev_major)
		walk_device(stx, depth, b);
	else
		pm_descent_end(b, 0, "%.31s: no device is known", mount->type ? mount->type : "its file system");
	if (!fs || !fs->server)
		pm_descend_members(fs, mount, stx, depth, b);
	if (!fs && b->flushes == PM_YES) {
		b->flushes = PM_UNKNOWN;
		say(b->how, "not known for this file system");
	}
	apply_options(mount, b);
}

/*
 * A server passes on its own f_type (fs/9p/vfs_super.c v9fs_statfs). The table of mounts has the type of the mount
 * itself.
 */
static bool is_type_of(const struct pm_file_system *fs, const struct pm_mount_facts *mount)
{
	return !fs->type[0] || pm_has_quirk(fs->magic, PM_FS_VOLATILE) ||
	       !strncmp(mount->type, fs->type, strlen(fs->type));
}

/* Of a file system without a block device the answer of fstatfs(2) does not count before its mount was seen. */
static bool by_statmount(const struct pm_file_system *fs, const struct statx *stx, bool is_verified)
{
	return fs && pm_has_quirk(fs->magic, PM_FS_STATMOUNT) && (stx->stx_dev_major || is_verified);
}

/* The path may belong to another mount namespace, or lead where this process may not enter. */
static void walk_path(const char *path, unsigned depth, struct pm_descent *b)
{
	struct statx stx;
	struct statfs stfs;
	struct pm_mount_facts mount = {0};
	char device[64];
	int fd = depth < PM_DESCENT_DEPTH ? PM_RETRY(pm_sys->openat(AT_FDCWD, path, O_PATH | O_CLOEXEC, 0)) : -ELOOP;
	int rc = fd < 0 ? fd : pm_sys->statx(fd, "", AT_EMPTY_PATH, &stx);
	if (!rc && S_ISBLK(stx.stx_mode)) {
		snprintf(device, sizeof(device), "/sys/dev/block/%u:%u", stx.stx_rdev_major, stx.stx_rdev_minor);
		pm_descend_device(device, depth, b);
	} else if (rc || (rc = PM_RETRY(pm_sys->fstatfs(fd, &stfs)))) {
		const char *end = strlen(path) > 28 ? path + strlen(path) - 28 : path;
		pm_descent_end(b, rc == -ENOENT || rc == -EACCES ? 0 : -rc, "%s%s: cannot be reached",
		               end > path ? "..." : "", end);
	} else {
		const struct pm_file_system *fs = pm_file_system((uint32_t)stfs.f_type);
		rc = pm_mount_read(fd, &stx, by_statmount(fs, &stx, false), &mount);
		if (!rc && (!fs || !is_type_of(fs, &mount)))
			fs = pm_server_of_type(mount.type);
		walk_mounted(&stx, fs, &mount, depth, b);
		pm_mount_free(&mount);
	}
	if (fd >= 0)
		pm_sys->close(fd);
}

/* ---- The rows ---- */

static void set_rows(pm_evidence_table e, const struct pm_descent *b, const char *source)
{
	/* A backing that is volatile for another reason stays volatile. */
	if (e[PM_EV_VOLATILE].state != PM_YES)
		pm_evidence_set(&e[PM_EV_VOLATILE], b->is_volatile, b->is_volatile ? 0 : b->error, source, b->what);
	pm_evidence_set(&e[PM_EV_DEVICE_FLUSH], b->flushes, b->flushes ? 0 : b->error, source, b->how);
}

static void of_device(pm_evidence_table e, const struct pm_subject *s)
{
	struct pm_descent b = {.follow = walk_path};
	char device[64];
	snprintf(device, sizeof(device), "/sys/dev/block/%u:%u", s->stx.stx_rdev_major, s->stx.stx_rdev_minor);
	pm_descend_device(device, 0, &b);
	set_rows(e, &b, "/sys/dev/block");
}

/* What pm_evidence_file_system() has left to the mount. */
static void set_writable(pm_evidence_table e, const struct pm_subject *s, const struct pm_mount_facts *mount, int rc)
{
	struct pm_evidence *row = &e[PM_EV_WRITABLE];
	if (row->state != PM_UNKNOWN || row->error)
		return;
	if (rc || mount->table)
		pm_evidence_writable(e, s);
	else
		pm_evidence_set(row, mount->read_only || mount->asked.is_mounted_read_only ? PM_NO : PM_YES, 0,
		                mount->source, NULL);
}

/* What the mount and the devices below it say. known: what an earlier file of the mount showed, and is added to. */
static void descend(pm_evidence_table e, struct pm_subject *s, const struct pm_file_system *fs,
                    struct pm_known_mount *known)
{
	/* Of a mapping the entry of the device is asked for in any case. */
	struct pm_descent b = {.follow = walk_path,
	                       .subject = s->map ? s : NULL,
	                       .no_outer_journal = s->found.no_outer_journal};
	struct pm_mount_facts mount;
	int rc = pm_mount_read(s->fd, &s->stx, by_statmount(fs, &s->stx, known->is_verified), &mount);
	if (!rc && fs && !is_type_of(fs, &mount)) {
		fs = NULL;
		pm_evidence_set(&e[PM_EV_FILE_SYSTEM], PM_UNKNOWN, 0, mount.source, mount.type);
	}
	set_writable(e, s, &mount, rc);
	walk_mounted(&s->stx, fs || rc ? fs : pm_server_of_type(mount.type), &mount, 0, &b);
	if (rc && b.flushes == PM_YES) { /* whatever the options are */
		b.flushes = PM_UNKNOWN;
		b.error = -rc;
		say(b.how, "its mount is not visible");
	}
	set_rows(e, &b, SOURCE);
	pm_mount_row(e, &mount, rc);
	pm_mount_free(&mount);
	known->is_verified = !rc && fs;
	known->is_settled = !rc && fs && b.is_settled && b.is_volatile == PM_NO && b.flushes != PM_NO;
	known->flushes = b.flushes;
	if (fs)
		pm_know_mount(s, known);
}

void pm_evidence_below(pm_evidence_table e, struct pm_subject *s, bool anew)
{
	if (s->backing == PM_BACKING_FILE && S_ISBLK(s->stx.stx_mode))
		of_device(e, s);
	if (!S_ISREG(s->stx.stx_mode))
		return;
	struct pm_known_mount known = pm_known_mount(s);
	if (known.is_settled && !anew) {
		struct pm_descent b = {.is_volatile = PM_NO, .flushes = known.flushes};
		set_rows(e, &b, "an earlier file of the mount");
		return;
	}
	bool is_known = e[PM_EV_FILE_SYSTEM].state == PM_YES;
	const struct pm_file_system *fs = is_known ? pm_file_system((uint32_t)e[PM_EV_FILE_SYSTEM].value) : NULL;
	/* At pm_map() the rest could not change any decision. */
	if (!anew && fs && pm_has_quirk(fs->magic, PM_FS_VOLATILE))
		return;
	descend(e, s, fs, &known);
}

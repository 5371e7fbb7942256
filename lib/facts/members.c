/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The further devices of a file system: a file has one number of a device, and its file system may lie on more. What
 * one of them forgets at power-off, or is never told to flush, the file system forgets.
 *
 * ext4   An external journal is no mount option that is shown (fs/ext4/super.c _ext4_show_options). /proc/fs/jbd2 has a
 *        directory for each journal: of an internal one it is named DEVICE-INODE, of an external one for the journal's
 *        own device (fs/jbd2/journal.c jbd2_journal_init_inode, jbd2_journal_init_dev). The kernel's thread of a
 *        journal has the same name.
 * f2fs   /proc/fs/f2fs/DEVICE/disk_map, from Linux 6.9 on (fs/f2fs/sysfs.c disk_map_seq_show).
 * btrfs  /sys/fs/btrfs/UUID/devices.
 * others Mount options: the log and the realtime device of an XFS, the journal of a reiserfs.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facts/descent.h"
#include "facts/disk.h"
#include "facts/members.h"
#include "facts/mount.h"
#include "kernel/quirks.h"
#include "kernel/sysfs.h"
#include "kernel/trusted_sync.h"
#include "sys/sys.h"

/* What was found of a part, in the words of the whole. */
static void add_part(struct pm_descent *b, const char *what, struct pm_descent *part)
{
	char text[sizeof(part->what)];
	snprintf(text, sizeof(text), "%.18s: %.35s", what, part->what);
	memcpy(part->what, text, sizeof(text));
	snprintf(text, sizeof(text), "%.18s: %.35s", what, part->how);
	memcpy(part->how, text, sizeof(text));
	pm_descent_merge(b, part);
}

/* A device by the name that its file system was given, which may be of another mount namespace. */
static void walk_node(const char *path, unsigned depth, struct pm_descent *b)
{
	struct statx stx;
	char device[64];
	int rc = path[0] == '/' ? PM_RETRY(pm_sys->statx(AT_FDCWD, path, 0, &stx)) : -ENOENT;
	if (rc || !S_ISBLK(stx.stx_mode)) {
		const char *end = strlen(path) > 20 ? path + strlen(path) - 20 : path;
		pm_descent_end(b, rc == -ENOENT || rc == -EACCES ? 0 : -rc, "%s%s: cannot be reached",
		               end > path ? "..." : "", end);
		return;
	}
	snprintf(device, sizeof(device), "/sys/dev/block/%u:%u", stx.stx_rdev_major, stx.stx_rdev_minor);
	pm_descend_device(device, depth + 1, b);
}

/* ---- ext4 ---- */

struct journals {
	const char *device; /* of the file system */
	char thread[40];    /* name of the journal's thread; "": not known */
	bool is_internal;
	unsigned found;     /* external journals that may be the one */
	char name[80];
};

/* Before Linux 5.17 the name of a thread ends after 15 bytes (fs/proc/array.c proc_task_name). */
static bool may_be_of(const char *thread, const char *name)
{
	static const char prefix[] = "jbd2/";
	size_t start = sizeof(prefix) - 1, length = strlen(thread);
	if (!thread[0])
		return true;
	return !strncmp(thread, prefix, start) &&
	       (length == 15 ? !strncmp(thread + start, name, length - start) : !strcmp(thread + start, name));
}

static void visit_journal(void *arg, const char *name)
{
	struct journals *j = arg;
	struct statx stx;
	char path[128];
	size_t length = strlen(j->device);
	const char *inode = !strncmp(name, j->device, length) && name[length] == '-' ? name + length + 1 : "";
	if (inode[0] && strspn(inode, "0123456789") == strlen(inode)) {
		j->is_internal = true;
		return;
	}
	/* An internal journal of another file system has the name of no device. */
	snprintf(path, sizeof(path), "/sys/class/block/%.64s", name);
	if (!may_be_of(j->thread, name) || pm_sysfs_stat(path, &stx))
		return;
	j->found++;
	snprintf(j->name, sizeof(j->name), "%.79s", path);
}

static void find_thread(struct journals *j)
{
	char path[128], number[24];
	snprintf(path, sizeof(path), "/sys/fs/ext4/%.64s/journal_task", j->device);
	int rc = pm_read_text(path, number, sizeof(number));
	unsigned long thread = rc > 0 ? strtoul(number, NULL, 10) : 0;
	snprintf(path, sizeof(path), "/proc/%lu/comm", thread);
	/* 0: of another PID namespace. */
	if (!thread || pm_read_text(path, j->thread, sizeof(j->thread)) < 0)
		j->thread[0] = 0;
}

static void walk_journal(const struct statx *stx, unsigned depth, struct pm_descent *b)
{
	struct statx entry;
	struct pm_descent part = pm_descent_part(b);
	struct journals j = {.device = b->device};
	int rc = pm_ext4_find_journal(b->device);
	int has_journal = rc ? pm_ext4_fsync_is_complete(stx, NULL) : PM_YES;
	if (!rc || has_journal == PM_NO)
		return;
	if (has_journal == PM_YES && rc == -ENOENT && !pm_sysfs_stat(PM_JOURNALS, &entry)) {
		find_thread(&j);
		pm_sys->each_entry(PM_JOURNALS, visit_journal, &j);
	}
	if (j.is_internal)
		return;
	if (j.found == 1)
		pm_descend_device(j.name, depth + 1, &part);
	else
		pm_descent_end(&part, rc == -ENOENT ? 0 : -rc, "may lie on another device");
	add_part(b, "its journal", &part);
}

/* ---- f2fs ---- */

/* "Disk: 1 (zoned=0): 0x0000010000 - 0x000001ffff on /dev/vdc"; of a single device there is no such line. */
static void walk_f2fs(unsigned depth, struct pm_descent *b)
{
	struct pm_descent part = pm_descent_part(b);
	char path[128], map[4096], *rest = NULL;
	snprintf(path, sizeof(path), "/proc/fs/f2fs/%.64s/disk_map", b->device);
	int rc = pm_read_text(path, map, sizeof(map));
	if (rc < 0 || rc + 2 >= (int)sizeof(map)) {
		pm_descent_end(b, rc < 0 && rc != -ENOENT ? -rc : 0,
		               "f2fs: whether it has further devices is not known");
		return;
	}
	for (char *line = strtok_r(map, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		const char *node = strncmp(line, "Disk:", 5) ? NULL : strstr(line, " on ");
		if (node)
			walk_node(node + 4, depth, &part);
	}
	if (part.is_met)
		add_part(b, "its devices", &part);
}

/* ---- btrfs ---- */

struct btrfs {
	const char *device; /* name of one of its devices */
	bool is_found;
	unsigned depth;
	struct pm_descent *b;
};

static void visit_btrfs_device(void *arg, const char *name)
{
	struct btrfs *f = arg;
	char path[128];
	snprintf(path, sizeof(path), "/sys/class/block/%.64s", name);
	pm_descend_device(path, f->depth + 1, f->b);
}

static void visit_btrfs(void *arg, const char *name)
{
	struct btrfs *f = arg;
	struct statx stx;
	char path[192];
	snprintf(path, sizeof(path), "/sys/fs/btrfs/%.64s/devices/%.64s", name, f->device);
	if (f->is_found || pm_sys->statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &stx))
		return;
	f->is_found = true;
	snprintf(path, sizeof(path), "/sys/fs/btrfs/%.64s/devices", name);
	pm_sys->each_entry(path, visit_btrfs_device, f);
}

/* The table of mounts names one of its devices, that of the device mapper by another name than sysfs. */
void pm_descend_btrfs(const struct pm_mount_facts *mount, unsigned depth, struct pm_descent *b)
{
	const char *path = mount->device ? mount->device : "", *slash = strrchr(path, '/');
	char link[256];
	struct statx stx;
	struct btrfs f = {.device = slash ? slash + 1 : "", .depth = depth, .b = b};
	if (f.device[0])
		pm_sys->each_entry("/sys/fs/btrfs", visit_btrfs, &f);
	if (slash && !f.is_found && !PM_RETRY(pm_sys->statx(AT_FDCWD, path, 0, &stx)) && S_ISBLK(stx.stx_mode)) {
		char device[64];
		snprintf(device, sizeof(device), "/sys/dev/block/%u:%u", stx.stx_rdev_major, stx.stx_rdev_minor);
		ssize_t got = PM_RETRY(pm_sys->readlinkat(AT_FDCWD, device, link, sizeof(link) - 1));
		link[got > 0 ? got : 0] = 0;
		slash = strrchr(link, '/');
		f.device = slash ? slash + 1 : "";
		if (f.device[0])
			pm_sys->each_entry("/sys/fs/btrfs", visit_btrfs, &f);
	}
	if (!b->is_met)
		pm_descent_end(b, 0, "btrfs: its devices are not found in sysfs");
	b->is_settled = false; /* btrfs-device(8) add, remove, replace */
}

/* ---- All others ---- */

void pm_descend_members(const struct pm_file_system *fs, const struct pm_mount_facts *mount, const struct statx *stx,
                      unsigned depth, struct pm_descent *b)
{
	static const struct {
		const char *option, *what;
	} options[] = {{"logdev=", "its log"}, {"rtdev=", "its realtime data"}, {"jdev=", "its journal"}};
	char path[PATH_MAX];
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		struct pm_descent part = pm_descent_part(b);
		int rc = pm_mount_path(mount, options[i].option, path, sizeof(path));
		if (rc == -ENOENT)
			continue;
		if (rc)
			pm_descent_end(&part, -rc, "the path of its device is too long");
		else
			walk_node(path, depth, &part);
		add_part(b, options[i].what, &part);
	}
	/* Where the first device is not found, no other makes it worse. */
	if (!fs || !b->device[0])
		return;
	if (pm_has_quirk(fs->magic, PM_FS_JOURNAL_DEVICE) && !b->no_outer_journal)
		walk_journal(stx, depth, b);
	else if (pm_has_quirk(fs->magic, PM_FS_DEVICE_LIST))
		walk_f2fs(depth, b);
}

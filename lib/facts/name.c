/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether a path leads to the file: a restarted program finds its data by a path only, however durable the blocks are.
 *
 * The kernel reports the path of an open file (proc(5), /proc/PID/fd). The path follows renames of the file and of
 * every directory above it, and ends in " (deleted)" once the name is removed (fs/d_path.c path_with_deleted). The
 * kernel reports neither the other names of the file, nor a name that an unnamed file gets later: only the number of
 * links shows those.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facts/evidence.h"
#include "facts/mount.h"
#include "facts/name.h"
#include "facts/subject.h"
#include "facts/text.h"
#include "kernel/identity.h"
#include "kernel/quirks.h"
#include "sys/sys.h"

#define SOURCE_PATH "/proc/self/fd/N"
#define DELETED " (deleted)"
#define TEXT_ROOM sizeof(((struct pm_evidence *)0)->text)

static bool ends_with(const char *path, const char *end)
{
	size_t length = strlen(path), tail = strlen(end);
	return length >= tail && !strcmp(path + length - tail, end);
}

static int path_of(int fd, char path[PATH_MAX])
{
	char link[40];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t got = pm_sys->readlinkat(AT_FDCWD, link, path, PATH_MAX - 1);
	path[got > 0 ? got : 0] = 0;
	return got < 0 ? (int)got : path[0] == '/' ? 0 : -EREMOTE;
}

static int stat_entry(const char *path, struct statx *found)
{
	int rc = pm_sys->statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, found);
	return rc == -ENOTDIR ? -ENOENT : rc;
}

/* 1: to the file; 0: to another; -ENOENT: to none; another -errno: not known. */
static int leads_to(const char *path, int fd, const struct statx *file)
{
	struct statx found;
	int rc = stat_entry(path, &found);
	if (rc || !pm_has_same_numbers(&found, file))
		return rc;
	/* A server may give one number to two files. */
	return S_ISREG(found.stx_mode) ? pm_is_same_file(fd, file, path) : 0;
}

/* Before Linux 5.8 a mount has no number: then only a mount of another file system is recognised. */
static bool is_of_another_mount(const struct statx *a, const struct statx *b)
{
	const uint32_t ids = STATX_MNT_ID | STATX_MNT_ID_UNIQUE;
	if ((a->stx_mask & ids) && (a->stx_mask & ids) == (b->stx_mask & ids))
		return a->stx_mnt_id != b->stx_mnt_id;
	return a->stx_dev_major != b->stx_dev_major || a->stx_dev_minor != b->stx_dev_minor;
}

/*
 * The kernel tells the path of the file as if nothing were mounted over it, or over a directory above it. After
 * chroot(2) it tells the path of a file outside as before as well (fs/d_path.c prepend_path), and the same text leads
 * elsewhere: then the table of mounts does not have the file's mount (fs/proc_namespace.c show_mountinfo). NULL:
 * nothing hides it.
 */
static const char *hidden_by(const struct pm_subject *s, const char *path)
{
	struct statx found;
	int rc = stat_entry(path, &found);
	bool is_other = !rc && is_of_another_mount(&found, &s->stx) && leads_to(path, s->fd, &s->stx) == 0;
	if ((!is_other && rc != -ENOENT) || pm_mount_is_listed(s->fd) != 1)
		return NULL;
	return is_other ? "another file is mounted over it: " : "a mount hides its path: ";
}

/* O_TMPFILE names a file by the number of its inode (fs/dcache.c d_mark_tmpfile), memfd_create(2) by a prefix. */
static bool is_memfd(const char *path)
{
	return !strncmp(path, "/memfd:", 7);
}

static bool never_had_a_name(const char *path, const struct statx *file)
{
	char end[48];
	snprintf(end, sizeof(end), "/#%llu" DELETED, (unsigned long long)file->stx_ino);
	return ends_with(path, end) || is_memfd(path);
}

/* ---- What is remembered ---- */

/* The file's name may itself end as that of a removed one. */
static void cut_deleted(char *path, int fd, const struct statx *file)
{
	if (ends_with(path, DELETED) && leads_to(path, fd, file) != 1 && !never_had_a_name(path, file))
		path[strlen(path) - strlen(DELETED)] = 0;
}

void pm_name_remember(struct pm_name *name, int fd, const struct statx *file)
{
	char path[PATH_MAX];
	int rc = name->path_differs ? -ENODATA : path_of(name->fd ? name->fd : fd, path);
	free(name->path);
	char *copy = rc ? NULL : strdup(path);
	if (copy)
		cut_deleted(copy, fd, file);
	name->path = copy;
	name->now_is_removed = copy && strcmp(copy, path) != 0;
	name->error = rc ? -rc : copy ? 0 : ENOMEM;
	name->has_birth = file->stx_mask & STATX_BTIME;
	name->birth = file->stx_btime;
}

void pm_name_note(struct pm_name *name, const struct pm_evidence *named)
{
	name->was_linked |= named->state == PM_YES && named->value;
}

/* Whether the descriptor leads to the file: 1, 0, or -errno. A server may give the file's numbers to another file. */
static int is_file(int fd, const struct pm_named_file *file)
{
	struct statx now;
	int rc = PM_RETRY(pm_sys->statx(fd, "", AT_EMPTY_PATH, &now));
	if (rc || !pm_has_same_numbers(&now, file->stx))
		return rc;
	return pm_is_on_block_device(file->f_type, file->stx) ? 1 : pm_is_same_inode(file->fd, fd);
}

void pm_name_follow(struct pm_name *name, int directory_fd, const char *entry, const struct pm_named_file *file)
{
	/* O_PATH does not open the file: a lease is not broken (fs/open.c do_dentry_open). */
	int fd = PM_RETRY(pm_sys->openat(directory_fd, entry, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0));
	if (fd >= 0 && is_file(fd, file) != 1) {
		pm_sys->close(fd);
		fd = -1;
	}
	name->fd = fd < 0 ? 0 : fd;
	name->path_differs = fd < 0;
}

void pm_name_forget(struct pm_name *name, const struct pm_named_file *file)
{
	/* If the program closed the number, it may lead to another file by now. */
	int rc = name->fd ? is_file(name->fd, file) : 0;
	if (rc && rc != -EBADF)
		pm_sys->close(name->fd);
	free(name->path);
	name->fd = 0;
	name->path = NULL;
}

/* ---- What is found ---- */

static void set_name_row(pm_evidence_table e, enum pm_state state, int error, const char *text, uint64_t links)
{
	pm_evidence_set(&e[PM_EV_NAMED], state, error, SOURCE_PATH, text);
	e[PM_EV_NAMED].value = links;
}

/* With the end of the path, which says more than its beginning. */
static void set_path(pm_evidence_table e, enum pm_state state, int error, const char *before, const char *path,
                     uint64_t links)
{
	char text[TEXT_ROOM];
	size_t room = sizeof(text) - 1 - strlen(before), length = strlen(path);
	bool fits = length <= room;
	size_t used = pm_text_copy(text, sizeof(text), before);
	used += pm_text_copy(text + used, sizeof(text) - used, fits ? "" : "...");
	pm_text_copy(text + used, sizeof(text) - used, fits ? path : path + length - (room - 3));
	set_name_row(e, state, error, text, links);
}

/*
 * If the file was linked later, the kernel goes on to call it unnamed, and only the number of links shows the name. If
 * the link was removed since, only an earlier look shows that there was one.
 */
static void set_unnamed(pm_evidence_table e, int rc, unsigned links, const struct pm_name *name, const char *path)
{
	if (rc)
		set_name_row(e, PM_UNKNOWN, -rc, "", 0);
	else if (links)
		set_name_row(e, PM_YES, 0, "named by linkat(2)", links);
	else if (name->was_linked)
		set_name_row(e, PM_NO, PM_NAME_REMOVED, "unlinked", 0);
	else
		set_name_row(e, PM_NO, PM_NAME_NEVER,
		             is_memfd(path) ? "never had a name: a memfd" : "never had a name", 0);
}

static void set_removed(pm_evidence_table e, const struct pm_subject *s, const char *path)
{
	const char *then = s->name->path;
	struct statx now = s->stx;
	char text[TEXT_ROOM] = "";
	/* If the name was removed between the two questions, the number of links was one higher. */
	int rc = PM_RETRY(pm_sys->statx(s->fd, "", AT_EMPTY_PATH, &now));
	unsigned links = now.stx_nlink;
	if (never_had_a_name(path, &now)) {
		set_unnamed(e, rc, links, s->name, path);
		return;
	}
	/* Without a remembered path another one may lead to the file. */
	int old = then ? leads_to(then, s->fd, &now) : links ? -ENODATA : -ENOENT;
	if (old == 1) {
		set_path(e, PM_YES, 0, "", then, links);
		return;
	}
	if (old < 0 && old != -ENOENT) {
		set_path(e, PM_UNKNOWN, -old, "not known: ", then ? then : path, links);
		return;
	}
	/* Where the file does not answer, the number is that of an earlier look. */
	links = rc ? 0 : links;
	if (links)
		snprintf(text, sizeof(text), "; %u other link%s", links, links == 1 ? " remains" : "s remain");
	char whole[TEXT_ROOM];
	snprintf(whole, sizeof(whole), "%s%.40s", old == 0 ? "replaced" : "unlinked", text);
	set_name_row(e, PM_NO, old == 0 ? PM_NAME_REPLACED : PM_NAME_REMOVED, whole, links);
}

/*
 * The path leads to the file and differs from the first one. In another root directory (chroot(2)) the kernel shows the
 * rest of the same path, and which of the two happened is not known. An NFS client renames a file that it cannot remove
 * yet.
 */
static void set_moved(pm_evidence_table e, const struct pm_subject *s, const char *path)
{
	const char *then = s->name->path, *entry = strrchr(path, '/');
	if (leads_to(then, s->fd, &s->stx) == 1)
		set_path(e, PM_YES, 0, "", then, s->stx.stx_nlink);
	else if (pm_has_quirk(s->found.file_system, PM_FS_RENAMES_REMOVED) && !strncmp(entry, "/.nfs", 5))
		set_path(e, PM_NO, PM_NAME_REMOVED, "unlinked, and kept as ", entry + 1, 0);
	else if (ends_with(then, path))
		set_path(e, PM_UNKNOWN, 0, "moved, or another root: ", path, s->stx.stx_nlink);
	else
		set_path(e, PM_NO, PM_NAME_MOVED, "moved to ", path, s->stx.stx_nlink);
}

static void compare_path(pm_evidence_table e, const struct pm_subject *s, const char *path, bool was_just_followed)
{
	const char *then = s->name->path;
	unsigned links = s->stx.stx_nlink;
	bool is_same = then && !strcmp(path, then), removed = ends_with(path, DELETED);
	if (is_same && links && !removed) {
		const char *why = was_just_followed ? NULL : hidden_by(s, path);
		set_path(e, why ? PM_NO : PM_YES, why ? PM_NAME_MOUNTED_OVER : 0, why ? why : "", path, links);
		return;
	}
	int rc = leads_to(path, s->fd, &s->stx);
	if (rc == 1 && (is_same || !then))
		set_path(e, PM_YES, 0, "", path, links);
	else if (rc == 1)
		set_moved(e, s, path);
	else if (removed)
		set_removed(e, s, path);
	else if (!links && pm_has_quirk(s->found.file_system, PM_FS_COUNTS_LINKS))
		set_name_row(e, PM_NO, PM_NAME_REMOVED, "unlinked", 0);
	else /* unmounted (MNT_DETACH), or on a mount that this process does not see */
		set_path(e, PM_UNKNOWN, rc < 0 ? -rc : 0, "not found at ", path, links);
}

/*
 * An overlay copies a file of a lower layer up when it is first opened for writing. Then the path and every descriptor
 * lead to the copy, and a mapping that was made before stays with the original (fs/overlayfs/file.c ovl_mmap). Only the
 * inode's time of birth differs: its number is kept.
 */
static bool is_copied_up(const struct pm_subject *s)
{
	const struct pm_name *name = s->name;
	bool opened_for_writing = s->writable && s->backing == PM_BACKING_FILE;
	bool is_remembered = name->path || name->error; /* pm_probe() has no earlier look */
	return is_remembered && !opened_for_writing && pm_has_quirk(s->found.file_system, PM_FS_IS_OVERLAY) &&
	       pm_name_is_reborn(name, &s->stx);
}

bool pm_name_is_reborn(const struct pm_name *name, const struct statx *now)
{
	bool has_birth = now->stx_mask & STATX_BTIME;
	return name->has_birth != has_birth || (has_birth && (name->birth.tv_sec != now->stx_btime.tv_sec ||
	                                                     name->birth.tv_nsec != now->stx_btime.tv_nsec));
}

static void set_unknown(pm_evidence_table e, const struct pm_subject *s, int error)
{
	bool is_gone = !s->file_error && !s->stx.stx_nlink && pm_has_quirk(s->found.file_system, PM_FS_COUNTS_LINKS);
	set_name_row(e, is_gone ? PM_NO : PM_UNKNOWN, is_gone ? PM_NAME_REMOVED : error, is_gone ? "unlinked" : NULL,
	    s->stx.stx_nlink);
}

void pm_evidence_named_at_first(pm_evidence_table e, const struct pm_subject *s, bool by_path)
{
	char path[PATH_MAX];
	if (!S_ISREG(s->stx.stx_mode))
		return;
	if (!s->name->path) {
		set_unknown(e, s, s->name->error);
		return;
	}
	size_t used = pm_text_copy(path, sizeof(path), s->name->path);
	pm_text_copy(path + used, sizeof(path) - used, s->name->now_is_removed ? DELETED : "");
	compare_path(e, s, path, by_path);
}

/*
 * Whether the remembered path leads to the file, on its own mount. Then the row is yes, whatever path the kernel tells
 * by now: that one is not asked for, which takes three times as long. Not where a server may give one number to two
 * files.
 */
static bool leads_as_before(const struct pm_subject *s)
{
	struct statx found;
	if (!s->name->path || s->file_error || !pm_is_on_block_device(s->found.file_system, &s->stx) ||
	    stat_entry(s->name->path, &found))
		return false;
	return S_ISREG(found.stx_mode) && pm_has_same_numbers(&found, &s->stx) && !is_of_another_mount(&found, &s->stx);
}

void pm_evidence_named(pm_evidence_table e, const struct pm_subject *s)
{
	char path[PATH_MAX];
	if (!S_ISREG(s->stx.stx_mode) || !s->name)
		return;
	if (is_copied_up(s)) {
		set_name_row(e, PM_NO, PM_NAME_COPIED_UP, "copied up: the path leads to the copy", s->stx.stx_nlink);
		return;
	}
	if (leads_as_before(s)) {
		set_path(e, PM_YES, 0, "", s->name->path, s->stx.stx_nlink);
		return;
	}
	struct pm_named_file file = {s->fd, &s->stx, s->found.file_system};
	int fd = s->name->fd && is_file(s->name->fd, &file) == 1 ? s->name->fd : s->fd;
	int rc = path_of(fd, path);
	if (rc)
		set_unknown(e, s, -rc);
	else
		compare_path(e, s, path, false);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening and creating. A new file gets its name last: it is created without one (O_TMPFILE), grown, prepared and
 * mapped, and then linked. A call that fails before leaves nothing, and no other process meets an unfinished file.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "facts/name.h"
#include "file/beside.h"
#include "file/claim.h"
#include "file/close.h"
#include "file/file.h"
#include "file/forbidden.h"
#include "file/open.h"
#include "file/sync.h"
#include "file/undo.h"
#include "kernel/identity.h"
#include "sys/sys.h"

#define SYMLINKS_MAX 40 /* as in path_resolution(7) */

static int stat_opened(struct pm_file *f)
{
	/*
	 * A file that was created by its name is visible to every process: what another process has written by now
	 * belongs to that process.
	 */
	if (f->created && !f->unnamed)
		pm_file_claim(f);
	int rc = pm_file_stat(f);
	f->original_size = f->size;
	if (!rc && f->size)
		f->created = false;
	if (!rc)
		return 0;
	pm_file_undo(f);
	pm_file_close(f);
	return rc;
}

static int access_mode(const struct pm_options *o)
{
	return o->flags & (PM_READ_ONLY | PM_PRIVATE) ? O_RDONLY : O_RDWR;
}

/* O_NONBLOCK keeps a FIFO from blocking. On a leased file it returns EWOULDBLOCK; then the open may wait. */
static int open_existing(int directory, const char *path, int flags)
{
	flags |= O_CLOEXEC | O_NOCTTY;
	int fd = PM_RETRY(pm_sys->openat(directory, path, flags | O_NONBLOCK, 0));
	if (fd == -EWOULDBLOCK)
		fd = PM_RETRY(pm_sys->openat(directory, path, flags, 0));
	/* open(2) ENXIO: a socket, or a node without a device. */
	return fd == -ENXIO ? -ENODEV : fd;
}

/* Splits path after its last slash. Returns the entry; path becomes its directory. */
static char *split(char *path, char **directory)
{
	static char here[] = ".", root[] = "/";
	char *slash = strrchr(path, '/');
	*directory = !slash ? here : slash == path ? root : path;
	if (!slash)
		return path;
	*slash = 0;
	return slash + 1;
}

/* A directory that may be entered but not read still serves for opening; it cannot be synced. */
static int open_directory(int at, const char *path)
{
	int fd = PM_RETRY(pm_sys->openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0));
	return fd == -EACCES ? PM_RETRY(pm_sys->openat(at, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0)) : fd;
}

/*
 * The kernel's rule for links in a directory that every user may write to (proc_sys_fs(5) protected_symlinks).
 * Following links by hand would bypass it.
 */
static int check_symlink(struct pm_file *f)
{
	struct statx link, directory;
	f->doing = PM_DOING_CHECK_LINK;
	int rc = PM_RETRY(pm_sys->statx(f->directory_fd, f->entry, AT_SYMLINK_NOFOLLOW, &link));
	if (!rc)
		rc = PM_RETRY(pm_sys->statx(f->directory_fd, "", AT_EMPTY_PATH, &directory));
	if (rc)
		return rc;
	bool shared = (directory.stx_mode & (S_ISVTX | S_IWOTH)) == (S_ISVTX | S_IWOTH);
	f->doing = PM_DOING_FOLLOW_LINK;
	return !shared || link.stx_uid == pm_sys->euid() || link.stx_uid == directory.stx_uid ? 0 : -EACCES;
}

/* A kernel or file system without O_TMPFILE takes the call for opening a directory for writing: open(2). */
static bool lacks_unnamed_files(int rc)
{
	return rc == -EOPNOTSUPP || rc == -EISDIR || rc == -EINVAL || rc == -ENOSYS || rc == -EPERM || rc == -ENOENT;
}

/*
 * Where the file system has no unnamed files (FUSE, NFS), the file gets a name beside the entry that no program asks
 * for. The name is removed when the file has its own. A process that is killed before leaves it behind; the next
 * process takes another number.
 */
static int create_beside(struct pm_file *f, int flags, unsigned mode)
{
	int fd = -EEXIST;
	for (unsigned n = 0; fd == -EEXIST && n < PM_BESIDE_MAX; n++) {
		pm_file_name_beside(f, n);
		fd = PM_RETRY(pm_sys->openat(f->directory_fd, f->beside, flags | O_CREAT | O_EXCL, mode));
	}
	if (fd < 0)
		f->beside[0] = 0;
	return fd;
}

/* In directory_fd, where there is no such entry. */
static int create_entry(struct pm_file *f, const struct pm_options *o)
{
	unsigned mode = o->mode ? o->mode : 0666;
	int flags = O_RDWR | O_CLOEXEC | O_NOCTTY;
	int fd = -EOPNOTSUPP;
	if (!f->by_name)
		fd = PM_RETRY(pm_sys->openat(f->directory_fd, ".", flags | O_TMPFILE, mode));
	bool lacks = lacks_unnamed_files(fd);
	if (lacks && !f->by_name)
		fd = create_beside(f, flags, mode);
	f->unnamed = fd >= 0;
	if (lacks && fd < 0)
		fd = PM_RETRY(pm_sys->openat(f->directory_fd, f->entry, flags | O_CREAT | O_EXCL, mode));
	f->created = fd >= 0;
	return fd;
}

/* Opens the directory that holds the entry current; relative to at, which it closes. */
static int enter_directory(struct pm_file *f, char *current, int at)
{
	char *directory;
	const char *entry = split(current, &directory);
	if (strlen(entry) > NAME_MAX)
		return -ENAMETOOLONG;
	if (!entry[0] || !strcmp(entry, ".") || !strcmp(entry, ".."))
		return -EISDIR;
	if (!f->entry && !(f->entry = malloc(2 * (NAME_MAX + 1))))
		return -ENOMEM;
	f->beside = f->entry + NAME_MAX + 1;
	f->beside[0] = 0;
	strcpy(f->entry, entry);
	f->directory_fd = open_directory(at, directory);
	if (at >= 0)
		pm_sys->close(at);
	if (f->directory_fd < 0)
		f->doing = PM_DOING_DIRECTORY;
	return f->directory_fd < 0 ? f->directory_fd : 0;
}

/*
 * Follows symbolic links by hand, so that directory_fd becomes the directory that really holds the entry: the directory
 * whose sync makes the entry durable, whatever is renamed meanwhile. Returns ABSENT if there is no such entry, 0 if
 * there is one that is no link, -EEXIST for a link that must not be followed.
 */
#define ABSENT 1

static int follow_links(struct pm_file *f, const char *path, bool follow)
{
	char current[PATH_MAX];
	f->doing = PM_DOING_CREATE;
	if (strlen(path) >= sizeof(current))
		return -ENAMETOOLONG;
	strcpy(current, path);
	for (int hop = 0; hop < SYMLINKS_MAX; hop++) {
		int rc = enter_directory(f, current, hop ? f->directory_fd : AT_FDCWD);
		if (rc)
			return rc;
		ssize_t got = PM_RETRY(pm_sys->readlinkat(f->directory_fd, f->entry, current, sizeof(current) - 1));
		if (got == -EINVAL) /* not a link */
			return 0;
		if (got == -ENOENT)
			return ABSENT;
		if (got < 0) {
			f->doing = PM_DOING_READ_LINK;
			return (int)got;
		}
		if (!follow)
			return -EEXIST;
		rc = check_symlink(f);
		if (rc)
			return rc;
		f->doing = PM_DOING_CREATE;
		current[got] = 0;
	}
	return -ELOOP;
}

/* -EAGAIN: another process created the file meanwhile. */
static int create(struct pm_file *f, const char *path, const struct pm_options *o)
{
	bool exclusive = o->flags & PM_EXCLUSIVE;
	int rc = follow_links(f, path, !exclusive);
	rc = rc == ABSENT ? create_entry(f, o) : rc ? rc : -EEXIST;
	return rc == -EEXIST && !exclusive ? -EAGAIN : rc;
}

static int open_or_create(struct pm_file *f, const char *path, const struct pm_options *o)
{
	int fd = -EAGAIN;
	/* Tries again if another process creates and removes the file meanwhile. */
	for (int attempt = 0; fd == -EAGAIN && attempt < SYMLINKS_MAX; attempt++) {
		pm_file_close_directory(f);
		f->doing = PM_DOING_OPEN;
		fd = o->flags & PM_EXCLUSIVE ? -ENOENT : open_existing(AT_FDCWD, path, O_RDWR);
		if (fd == -ENOENT)
			fd = create(f, path, o);
	}
	return fd;
}

/* Whether linkat(2) cannot do it here, rather than failed: no /proc, no hard links, or a rule against them. */
static bool cannot_link(int rc)
{
	return rc == -ENOENT || rc == -EPERM || rc == -EACCES || rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -EXDEV ||
	       rc == -EINVAL || rc == -ELOOP;
}

int pm_file_link(struct pm_file *f, const struct pm_options *o)
{
	char path[40];
	if (!f->unnamed)
		return 0;
	/* The lease lasts until the name is durable: no other process can rely on a file that may yet be removed. */
	pm_file_claim(f);
	/* AT_EMPTY_PATH would need a capability before Linux 6.10. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
	int rc = PM_RETRY(pm_sys->linkat(path, f->directory_fd, f->entry));
	f->unnamed = rc;
	f->by_name = f->by_name || cannot_link(rc);
	f->again = cannot_link(rc) || (rc == -EEXIST && !(o->flags & PM_EXCLUSIVE));
	if (rc)
		return pm_file_fail(f, rc, "the new file cannot be given its name");
	pm_file_drop_beside(f);
	pm_name_follow(&f->place, f->directory_fd, f->entry, &(struct pm_named_file){f->fd, &f->stx, f->f_type});
	return 0;
}

/*
 * Syncs the directory of a file that existed already; if the directory is not known for certain, the whole file system.
 */
static void locate(struct pm_file *f, const char *path)
{
	if (follow_links(f, path, true) == 0 && pm_file_is_called(f, f->entry))
		return;
	pm_file_close_directory(f);
	f->sync_all = true;
}

/*
 * An open(2) that waited for the lease of a process whose creation then failed returns the file that this process
 * removed. Some servers count no links: there the path still leads to the file.
 */
static bool was_removed(const struct pm_file *f, const char *path)
{
	struct statx now;
	if (f->stx.stx_nlink || f->unnamed || !S_ISREG(f->stx.stx_mode))
		return false;
	int rc = PM_RETRY(pm_sys->statx(AT_FDCWD, path, 0, &now));
	/* If the path does not answer, nothing shows that it still leads to the file. */
	return rc || !pm_has_same_numbers(&now, &f->stx) || pm_is_same_file(f->fd, &f->stx, path) == 0;
}

int pm_file_open(struct pm_file *f, const char *path, const struct pm_options *o)
{
	f->name = path;
	f->directory_fd = -1;
	if (o->flags & PM_CREATE)
		f->fd = open_or_create(f, path, o);
	else
		f->fd = open_existing(AT_FDCWD, path, access_mode(o));
	if (f->fd < 0) {
		int rc = pm_file_fail_to_open(f, f->fd, path);
		pm_file_close_directory(f);
		return rc;
	}
	int rc = stat_opened(f);
	if (!rc && was_removed(f, path)) {
		pm_file_close(f);
		f->again = true;
		return pm_file_fail(f, -ENOENT, "the file cannot be opened");
	}
	if (!rc && o->flags & PM_CREATE && !f->created && S_ISREG(f->stx.stx_mode))
		locate(f, path);
	return rc;
}

/* In the directory in which pm_map() would create it; -EEXIST: another process created it meanwhile. */
static int create_unnamed(struct pm_file *f, const char *path, const struct pm_options *o)
{
	int rc = follow_links(f, path, !(o->flags & PM_EXCLUSIVE));
	if (rc != ABSENT)
		return rc ? rc : -EEXIST;
	int fd = PM_RETRY(pm_sys->openat(f->directory_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
	f->created = f->unnamed = fd >= 0;
	/* What says EPERM may be a filter of system calls, under which the file is created by its name. */
	if (fd == -EPERM && pm_file_is_immutable(f->directory_fd))
		return fd;
	return lacks_unnamed_files(fd) ? -EOPNOTSUPP : fd;
}

/* mmap(2) counts as an access; only the owner may ask the kernel not to note it. */
static int open_unnoticed(const char *path, int mode)
{
	int fd = open_existing(AT_FDCWD, path, mode | O_NOATIME);
	return fd == -EPERM ? open_existing(AT_FDCWD, path, mode) : fd;
}

int pm_file_open_unseen(struct pm_file *f, const char *path, const struct pm_options *o)
{
	f->name = path;
	f->directory_fd = -1;
	f->fd = o->flags & PM_EXCLUSIVE ? -ENOENT : open_unnoticed(path, access_mode(o));
	if (f->fd == -ENOENT && o->flags & PM_CREATE)
		f->fd = create_unnamed(f, path, o);
	if (f->fd == -EEXIST && !(o->flags & PM_EXCLUSIVE)) {
		f->doing = PM_DOING_OPEN;
		f->fd = open_unnoticed(path, access_mode(o));
	}
	int rc = f->fd < 0 ? pm_file_fail_to_open(f, f->fd, path) : pm_file_stat(f);
	if (rc)
		pm_file_close(f);
	return rc;
}

/*
 * The caller's own description. Taking a lease on it would end a lease of the caller, and changes which process it
 * signals.
 */
static int take_over(struct pm_file *f, int fd)
{
	int rc = PM_RETRY(pm_sys->fcntl_getown(fd, &f->owner));
	if (rc)
		return pm_file_fail(f, rc, "the owner of its signals cannot be read (fcntl(2) F_GETOWN_EX)");
	int held = PM_RETRY(pm_sys->getlease(fd));
	if (held >= 0 && held != F_UNLCK)
		return pm_fail(-EBUSY, f->call, f->name, "the descriptor has a lease already");
	f->fd = fd;
	f->callers = true;
	return stat_opened(f);
}

static bool is_for_writing(const struct pm_options *o)
{
	return access_mode(o) == O_RDWR;
}

/* Whether the file is of a kind that cannot be mapped, whatever the mode of its descriptor is. */
static int check_mappable(const struct pm_file *f, int fd)
{
	struct pm_file file = *f;
	file.fd = fd;
	int rc = pm_file_stat(&file);
	return rc == -ENODEV || rc == -EISDIR ? rc : 0;
}

/* The flags are those of the descriptor. Of a file that cannot be mapped the kind is the reason, not the mode. */
static int check_mode(const struct pm_file *f, int fd, int flags, const struct pm_options *o, bool is_used)
{
	const char *more = is_for_writing(o) ? " and writing" : "";
	/* Of what pm_map_fd() serves only pm_probe_fd() asks for more. */
	bool is_opened_again = !is_for_writing(o) && !(o->flags & (PM_BORROW_FD | PM_LEASE));
	const char *why = is_opened_again ? " (pm_map_fd() opens it again, and the probe opens nothing)" : "";
	bool is_path = flags & O_PATH && (is_for_writing(o) || is_used);
	bool is_denied = (is_for_writing(o) && (flags & O_ACCMODE) != O_RDWR) ||
	                 (is_used && (flags & O_ACCMODE) == O_WRONLY);
	int rc = is_path || is_denied ? check_mappable(f, fd) : 0;
	if (rc)
		return rc;
	if (is_path)
		return pm_fail(-EBADF, f->call, f->name,
		               "the descriptor was opened with O_PATH, by which the content cannot be reached: "
		               "open the file for reading%s%s", more, why);
	return is_denied ? pm_fail(-EACCES, f->call, f->name,
	                           "the descriptor is not open for reading%s: open the file for reading%s%s", more,
	                           more, why)
	                 : 0;
}

/* Whether the descriptor allows the mapping that the options ask for. is_used: the file is not opened again by it. */
static int check_descriptor(struct pm_file *f, int fd, const struct pm_options *o, bool is_used)
{
	f->by_descriptor = true;
	f->directory_fd = -1;
	int flags = PM_RETRY(pm_sys->fcntl_getfl(fd));
	if (flags < 0)
		return pm_file_fail(f, flags,
		                    flags == -EBADF ? "not an open descriptor"
		                                    : "the flags of the descriptor cannot be read (fcntl(2) F_GETFL)");
	int rc = check_mode(f, fd, flags, o, is_used);
	if (rc)
		return rc;
	/* pwrite(2) would append to the file, or refuse what is not aligned. */
	if (o->flags & PM_BORROW_FD && is_for_writing(o) && flags & (O_APPEND | O_DIRECT))
		return pm_fail(-EINVAL, f->call, f->name,
		               "PM_BORROW_FD needs a descriptor without O_APPEND and O_DIRECT");
	return 0;
}

static int borrow(struct pm_file *f, int fd)
{
	f->fd = fd;
	f->borrowed = true;
	return stat_opened(f);
}

/* Opening the file anew would be an open(2) and a close(2), and end the record locks of the process. */
int pm_file_borrow_unseen(struct pm_file *f, int fd, const struct pm_options *o)
{
	int rc = check_descriptor(f, fd, o, true);
	if (!rc)
		rc = borrow(f, fd);
	bool is_opened_later = !(o->flags & (PM_BORROW_FD | PM_LEASE));
	if (rc || !is_opened_later || !is_for_writing(o) || !S_ISREG(f->stx.stx_mode))
		return rc;
	rc = PM_RETRY(pm_sys->faccessat2_write(fd));
	/* Before Linux 5.8 it cannot be asked. */
	if (rc != -EACCES && rc != -EROFS && rc != -EPERM)
		return 0;
	pm_file_close(f);
	return pm_file_fail(f, rc, "the file cannot be opened again through /proc/self/fd");
}

int pm_file_reopen(struct pm_file *f, int fd, const struct pm_options *o)
{
	char path[40];
	int rc = check_descriptor(f, fd, o, o->flags & PM_BORROW_FD);
	if (rc)
		return rc;
	if (o->flags & PM_BORROW_FD)
		return borrow(f, fd);
	if (o->flags & PM_LEASE)
		return take_over(f, fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	f->fd = open_existing(AT_FDCWD, path, access_mode(o));
	if (f->fd == -ENODEV && (rc = check_mappable(f, fd)))
		return rc;
	if (f->fd < 0)
		return pm_file_fail(f, f->fd, "the file cannot be opened again through /proc/self/fd");
	return stat_opened(f);
}


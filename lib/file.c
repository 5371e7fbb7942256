/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "file.h"
#include "synced.h"
#include "sys.h"

#define SYMLINKS_MAX 40 /* as path_resolution(7) */
/* Page-cache pages are written out in steps, so that preparing a large file does not fill memory. */
#define PREPARE_STEP ((uint64_t)64 << 20)

static int fail(const struct pm_file *f, int rc, const char *what)
{
	return pm_fail(rc, f->call, f->name, "%s: %s", what, pm_strerror(rc));
}

/* ---- Opening ---- */

/* On hugetlbfs the block is the page, and munmap(2) takes no less. */
static void look_for_huge_pages(struct pm_file *f)
{
	struct statfs stfs;
	if (f->stx.stx_blksize > f->unit && !PM_RETRY(pm_sys->fstatfs(f->fd, &stfs)) && stfs.f_type == HUGETLBFS_MAGIC)
		f->unit = f->stx.stx_blksize;
}

int pm_file_look(struct pm_file *f)
{
	int rc = PM_RETRY(pm_sys->statx(f->fd, "", AT_EMPTY_PATH, &f->stx));
	if (rc)
		return fail(f, rc, "statx failed");
	f->size = f->stx.stx_size;
	f->unit = (size_t)sysconf(_SC_PAGESIZE);
	f->backing = PM_BACKING_FILE;
	if (S_ISDIR(f->stx.stx_mode))
		return pm_fail(-EISDIR, f->call, f->name, "a directory cannot be mapped");
	if (S_ISREG(f->stx.stx_mode)) {
		look_for_huge_pages(f);
		return 0;
	}
	if (S_ISBLK(f->stx.stx_mode)) {
		int64_t end = PM_RETRY(pm_sys->seek_end(f->fd));
		f->size = end < 0 ? 0 : (uint64_t)end;
		return end < 0 ? fail(f, (int)end, "the size of the block device is not to be had") : 0;
	}
	size_t align = S_ISCHR(f->stx.stx_mode) ? pm_device_dax_align(&f->stx, &f->size) : 0;
	if (!align)
		return pm_fail(-ENODEV, f->call, f->name, "neither a regular file nor a block device nor a device-dax node");
	f->unit = align;
	f->backing = PM_BACKING_DEVICE_DAX;
	return 0;
}

static int look_first(struct pm_file *f)
{
	int rc = pm_file_look(f);
	f->original_size = f->size;
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

/* O_NONBLOCK keeps a FIFO from blocking; on a file under lease it means EWOULDBLOCK, and then it may wait. */
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
 * The kernel's rule for links in a directory that everybody may write to (proc_sys_fs(5) protected_symlinks), since
 * following by hand would get around it.
 */
static bool may_follow(const struct pm_file *f)
{
	struct statx link, directory;
	if (PM_RETRY(pm_sys->statx(f->directory_fd, f->entry, AT_SYMLINK_NOFOLLOW, &link)) ||
	    PM_RETRY(pm_sys->statx(f->directory_fd, "", AT_EMPTY_PATH, &directory)))
		return false;
	bool shared = (directory.stx_mode & (S_ISVTX | S_IWOTH)) == (S_ISVTX | S_IWOTH);
	return !shared || link.stx_uid == pm_sys->euid() || link.stx_uid == directory.stx_uid;
}

static int create_entry(struct pm_file *f, const struct pm_options *o)
{
	unsigned mode = o->mode ? o->mode : 0666;
	int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY;
	int fd = PM_RETRY(pm_sys->openat(f->directory_fd, f->entry, flags, mode));
	f->created = fd >= 0;
	return fd;
}

/* Opens the directory that current names the entry of; relative to at, which it closes. */
static int enter(struct pm_file *f, char *current, int at)
{
	char *directory;
	const char *entry = split(current, &directory);
	if (strlen(entry) > NAME_MAX)
		return -ENAMETOOLONG;
	if (!entry[0] || !strcmp(entry, ".") || !strcmp(entry, ".."))
		return -EISDIR;
	if (!f->entry && !(f->entry = malloc(NAME_MAX + 1)))
		return -ENOMEM;
	strcpy(f->entry, entry);
	f->directory_fd = open_directory(at, directory);
	if (at >= 0)
		pm_sys->close(at);
	return f->directory_fd < 0 ? f->directory_fd : 0;
}

/*
 * Follows symbolic links by hand, so that directory_fd ends up as the directory that really holds the entry: the one
 * whose sync makes it durable, whatever is renamed meanwhile. Returns the descriptor of a created file, -EAGAIN if
 * there is one by now; without create 0.
 */
static int walk(struct pm_file *f, const char *path, const struct pm_options *o, bool create)
{
	char current[PATH_MAX];
	if (strlen(path) >= sizeof(current))
		return -ENAMETOOLONG;
	strcpy(current, path);
	for (int hop = 0; hop < SYMLINKS_MAX; hop++) {
		int rc = enter(f, current, hop ? f->directory_fd : AT_FDCWD);
		if (rc)
			return rc;
		rc = create ? create_entry(f, o) : -EEXIST;
		if (rc != -EEXIST || (create && o->flags & PM_EXCLUSIVE))
			return rc;
		ssize_t got = PM_RETRY(pm_sys->readlinkat(f->directory_fd, f->entry, current, sizeof(current) - 1));
		if (got == -EINVAL || got == -ENOENT) /* not a link, or gone */
			return create ? -EAGAIN : 0;
		if (got < 0)
			return (int)got;
		if (!may_follow(f))
			return -EACCES;
		current[got] = 0;
	}
	return -ELOOP;
}

static int open_or_create(struct pm_file *f, const char *path, const struct pm_options *o)
{
	int fd = -EAGAIN;
	/* Again if somebody creates and removes the file meanwhile. */
	for (int attempt = 0; fd == -EAGAIN && attempt < SYMLINKS_MAX; attempt++) {
		pm_file_close_directory(f);
		fd = o->flags & PM_EXCLUSIVE ? -ENOENT : open_existing(AT_FDCWD, path, O_RDWR);
		if (fd == -ENOENT)
			fd = walk(f, path, o, true);
	}
	return fd;
}

static bool is_entry(struct pm_file *f)
{
	struct statx now;
	return !PM_RETRY(pm_sys->statx(f->directory_fd, f->entry, AT_SYMLINK_NOFOLLOW, &now)) && now.stx_ino == f->stx.stx_ino &&
	       now.stx_dev_major == f->stx.stx_dev_major && now.stx_dev_minor == f->stx.stx_dev_minor;
}

/* The directory of a file that was there already; where it cannot be told for sure, all of the file system. */
static void locate(struct pm_file *f, const char *path, const struct pm_options *o)
{
	if (walk(f, path, o, false) == 0 && is_entry(f))
		return;
	pm_file_close_directory(f);
	f->sync_all = true;
}

void pm_file_locate(struct pm_file *f)
{
	static const struct pm_options none;
	char link[40], path[PATH_MAX];
	if (f->directory_fd >= 0 || f->sync_all || !f->stx.stx_nlink)
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", f->fd);
	ssize_t got = pm_sys->readlinkat(AT_FDCWD, link, path, sizeof(path) - 1);
	path[got > 0 ? got : 0] = 0;
	locate(f, path, &none);
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
		int rc = f->fd;
		pm_file_close_directory(f);
		return fail(f, rc, "the file cannot be opened");
	}
	int rc = look_first(f);
	if (!rc && o->flags & PM_CREATE && !f->created && S_ISREG(f->stx.stx_mode))
		locate(f, path, o);
	return rc;
}

static int open_unnamed(const char *path)
{
	char copy[PATH_MAX], *directory;
	if (strlen(path) >= sizeof(copy))
		return -ENAMETOOLONG;
	strcpy(copy, path);
	split(copy, &directory);
	int fd = PM_RETRY(pm_sys->openat(AT_FDCWD, directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
	/* A kernel or file system without O_TMPFILE sees a directory opened for writing: open(2). */
	return fd == -EISDIR || fd == -EINVAL ? -EOPNOTSUPP : fd;
}

int pm_file_open_unseen(struct pm_file *f, const char *path, const struct pm_options *o)
{
	f->name = path;
	f->directory_fd = -1;
	/* mmap(2) counts as an access; only the owner may ask for it not to be noted. */
	f->fd = open_existing(AT_FDCWD, path, access_mode(o) | O_NOATIME);
	if (f->fd == -EPERM)
		f->fd = open_existing(AT_FDCWD, path, access_mode(o));
	if (f->fd >= 0 && o->flags & PM_EXCLUSIVE) {
		pm_file_close(f);
		return fail(f, -EEXIST, "the file cannot be created");
	}
	if (f->fd == -ENOENT && o->flags & PM_CREATE) {
		f->fd = open_unnamed(path);
		f->created = f->fd >= 0;
	}
	if (f->fd < 0)
		return fail(f, f->fd, "the file cannot be opened");
	int rc = pm_file_look(f);
	if (rc)
		pm_file_close(f);
	return rc;
}

/* The caller's own description. Taking a lease would end one of his, and changes whom it signals. */
static int take_over(struct pm_file *f, int fd)
{
	int rc = PM_RETRY(pm_sys->owner(fd, &f->owner));
	if (rc)
		return fail(f, rc, "not a descriptor that can have a lease");
	int held = PM_RETRY(pm_sys->getlease(fd));
	if (held >= 0 && held != F_UNLCK)
		return pm_fail(-EBUSY, f->call, f->name, "the descriptor has a lease already");
	f->fd = fd;
	f->callers = true;
	return look_first(f);
}

int pm_file_reopen(struct pm_file *f, int fd, const struct pm_options *o)
{
	char path[40];
	f->directory_fd = -1;
	int flags = PM_RETRY(pm_sys->flags_of(fd));
	if (flags < 0)
		return fail(f, flags, "not an open descriptor");
	if (access_mode(o) == O_RDWR && (flags & O_ACCMODE) != O_RDWR)
		return pm_fail(-EACCES, f->call, f->name, "the descriptor is not open for reading and writing");
	if (o->flags & PM_LEASE)
		return take_over(f, fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	f->fd = open_existing(AT_FDCWD, path, access_mode(o));
	if (f->fd < 0)
		return fail(f, f->fd, "the file cannot be opened again through /proc/self/fd");
	return look_first(f);
}

void pm_file_close_directory(struct pm_file *f)
{
	if (f->directory_fd >= 0)
		pm_sys->close(f->directory_fd);
	f->directory_fd = -1;
	free(f->entry);
	f->entry = NULL;
	f->sync_all = false;
}

void pm_file_close(struct pm_file *f)
{
	pm_file_close_directory(f);
	pm_name_forget(&f->place);
	bool ours = f->fd >= 0 && (!f->kept || pm_kept_file_release(&f->identity));
	if (ours && f->callers)
		PM_RETRY(pm_sys->set_owner(f->fd, &f->owner));
	else if (ours)
		pm_sys->close(f->fd);
	f->fd = -1;
}

void pm_file_undo(struct pm_file *f)
{
	struct statx now;
	if (!f->created) {
		/* Longer than we made it: somebody else has grown it since, and it is theirs. */
		bool ours = f->size > f->original_size && !PM_RETRY(pm_sys->statx(f->fd, "", AT_EMPTY_PATH, &now)) &&
		            now.stx_size <= f->size;
		if (ours)
			PM_RETRY(pm_sys->ftruncate(f->fd, f->original_size));
		return;
	}
	/* Only our own file: somebody may have put another in its place. Where nothing can be told of it, it is ours. */
	if (PM_RETRY(pm_sys->statx(f->fd, "", AT_EMPTY_PATH, &f->stx)) || is_entry(f))
		PM_RETRY(pm_sys->unlinkat(f->directory_fd, f->entry));
}

/* ---- Growing and preparing ---- */

/* The file system, or a filter of system calls, has no such thing. */
static bool is_missing(int rc)
{
	return rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -EPERM;
}

/* In smaller steps after a signal: tmpfs starts an interrupted call all over. */
static int allocate_range(const struct pm_file *f, uint64_t offset, uint64_t length)
{
	uint64_t step = length;
	while (length) {
		step = step < length ? step : length;
		int rc = pm_sys->fallocate(f->fd, offset, step);
		if (rc == -EINTR && step > f->unit) {
			step = (step / 2 + f->unit - 1) / f->unit * f->unit;
			continue;
		}
		if (rc && rc != -EINTR)
			return rc;
		if (!rc) {
			offset += step;
			length -= step;
		}
	}
	return 0;
}

/*
 * Stores into every page by way of the kernel: MADV_POPULATE_WRITE takes the write fault of each page, which
 * allocates, converts unwritten extents, unshares shared ones and keeps what is there, even against
 * concurrent writers. The mapping is a plain one, so that a DAX file system need not commit at each fault.
 */
static int write_faults(struct pm_file *f, char *map, uint64_t length, bool direct)
{
	for (uint64_t at = 0; at < length; at += PREPARE_STEP) {
		size_t step = length - at < PREPARE_STEP ? (size_t)(length - at) : (size_t)PREPARE_STEP;
		int rc = PM_RETRY(pm_sys->madvise(map + at, step, MADV_POPULATE_WRITE));
		if (rc == -EINVAL || is_missing(rc))
			return pm_fail(-EOPNOTSUPP, f->call, f->name, "PM_PREPARE needs MADV_POPULATE_WRITE (Linux 5.14)");
		if (rc == -EFAULT)
			return pm_fail(-EIO, f->call, f->name, "a page cannot be written: full file system or failing medium");
		if (!rc && !direct) {
			rc = PM_RETRY(pm_sys->msync(map + at, step));
			f->suspect = rc;
		}
		if (rc)
			return fail(f, rc, "the file cannot be prepared");
	}
	return 0;
}

int pm_file_prepare(struct pm_file *f, uint64_t offset, uint64_t length, bool direct)
{
	if (!S_ISREG(f->stx.stx_mode))
		return 0;
	uint64_t end = offset + length < f->size ? offset + length : f->size;
	/* In one call first: the faults then find large extents. */
	int rc = allocate_range(f, offset, end - offset);
	if (rc && !is_missing(rc))
		return fail(f, rc, "the range cannot be allocated");
	void *map = NULL;
	rc = PM_RETRY(pm_sys->mmap(&map, (size_t)length, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, offset));
	if (rc)
		return fail(f, rc, "the range cannot be mapped for preparing");
	/*
	 * The page cache then holds single pages, where readahead would make folios of up to megabytes: a store makes all
	 * of its folio dirty, and every drain would write it (fs/iomap/buffered-io.c iomap_page_mkwrite).
	 */
	if (!direct)
		pm_sys->madvise(map, (size_t)length, MADV_RANDOM);
	rc = write_faults(f, map, length, direct);
	PM_RETRY(pm_sys->munmap(map, (size_t)length));
	return rc;
}

/* ftruncate(2) shrinks as well, so only if nobody has grown the file meanwhile. */
static int grow_by_size(const struct pm_file *f, uint64_t end)
{
	struct statx now;
	int rc = PM_RETRY(pm_sys->statx(f->fd, "", AT_EMPTY_PATH, &now));
	return rc || now.stx_size >= end ? rc : PM_RETRY(pm_sys->ftruncate(f->fd, end));
}

int pm_file_grow(struct pm_file *f, uint64_t end, bool sparse)
{
	uint64_t old_size = f->size, limit = UINT64_MAX;
	if (end <= old_size)
		return 0;
	/* Beyond it the kernel would send SIGXFSZ. */
	PM_RETRY(pm_sys->file_size_limit(&limit));
	if (end > limit)
		return fail(f, -EFBIG, "the file would exceed RLIMIT_FSIZE");
	/* Set first: a failed attempt may have grown the file in part, and must be undone. */
	f->size = end;
	/* fallocate(2) never shrinks. A sparse file gets its last block, which sets the size. */
	uint64_t from = sparse ? end - 1 : old_size;
	int rc = allocate_range(f, from, end - from);
	if (!is_missing(rc))
		return rc ? fail(f, rc, "the file cannot be grown") : 0;
	rc = grow_by_size(f, end);
	if (rc)
		return fail(f, rc, "the file cannot be grown");
	uint64_t start = old_size - old_size % f->unit;
	return sparse ? 0 : pm_file_prepare(f, start, (end - start + f->unit - 1) / f->unit * f->unit, false);
}

/* Where the directory alone cannot be synced: not foreseen, so that it was not asked before whether that is done. */
static int sync_file_system(const struct pm_file *f)
{
	if (!f->sync_all) {
		struct pm_ignored found = pm_syncs_ignored(PM_CALL_SYNCFS);
		if (found.state != PM_NO)
			return found.error ? -found.error : -EOPNOTSUPP;
	}
	return PM_RETRY(pm_sys->syncfs(f->fd));
}

int pm_file_publish(struct pm_file *f)
{
	int rc = pm_sync_file(f->fd, f->syncs_inodes, f->read_only);
	f->suspect = rc;
	if (rc)
		return fail(f, rc, "fsync failed");
	if (f->directory_fd < 0 && !f->sync_all)
		return 0;
	/* EBADF: a directory we could not open for reading. EINVAL: a file system without it. */
	rc = f->sync_all ? -EBADF : PM_RETRY(pm_sys->fsync(f->directory_fd));
	if (rc == -EBADF || rc == -EINVAL)
		rc = sync_file_system(f);
	return rc ? fail(f, rc, "the directory cannot be synced") : 0;
}

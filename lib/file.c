/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "file.h"
#include "sys.h"

#define SYMLINKS_MAX 40 /* as path_resolution(7) */
/* Page-cache pages are written out in steps, so that preparing a large file does not fill memory. */
#define PREPARE_STEP ((uint64_t)64 << 20)

static int fail(const struct pm_file *f, int rc, const char *what)
{
	return pm_fail(rc, f->call, f->name, "%s: %s", what, pm_strerror(rc));
}

/* ---- Opening ---- */

int pm_file_look(struct pm_file *f)
{
	int rc = pm_sys->statx(f->fd, "", AT_EMPTY_PATH, &f->stx);
	if (rc)
		return fail(f, rc, "statx failed");
	f->size = f->stx.stx_size;
	f->unit = (size_t)sysconf(_SC_PAGESIZE);
	f->backing = PM_BACKING_FILE;
	if (S_ISDIR(f->stx.stx_mode))
		return pm_fail(-EISDIR, f->call, f->name, "a directory cannot be mapped");
	if (S_ISREG(f->stx.stx_mode))
		return 0;
	if (S_ISBLK(f->stx.stx_mode)) {
		int64_t end = pm_sys->seek_end(f->fd);
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

/* Opens or creates the entry; -ELOOP for a symbolic link, -EAGAIN if somebody came between. */
static int open_entry(struct pm_file *f, const struct pm_options *o)
{
	if (!(o->flags & PM_EXCLUSIVE)) {
		int fd = open_existing(f->directory_fd, f->entry, O_RDWR | O_NOFOLLOW);
		if (fd != -ENOENT)
			return fd;
	}
	unsigned mode = o->mode ? o->mode : 0666;
	int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY;
	int fd = PM_RETRY(pm_sys->openat(f->directory_fd, f->entry, flags, mode));
	f->created = fd >= 0;
	return fd == -EEXIST && !(o->flags & PM_EXCLUSIVE) ? -EAGAIN : fd;
}

/*
 * Follows symbolic links by hand, so that directory_fd ends up as the directory that really holds the entry: the
 * one whose sync makes it durable, whatever is renamed meanwhile.
 */
static int open_or_create(struct pm_file *f, const char *path, const struct pm_options *o)
{
	char current[PATH_MAX], *directory;
	int at = AT_FDCWD, fd = -ENAMETOOLONG;
	if (strlen(path) >= sizeof(current))
		return fd;
	strcpy(current, path);
	for (int hop = 0; hop < SYMLINKS_MAX; hop++) {
		const char *entry = split(current, &directory);
		if (strlen(entry) >= sizeof(f->entry))
			return -ENAMETOOLONG;
		if (!entry[0] || !strcmp(entry, ".") || !strcmp(entry, ".."))
			return -EISDIR;
		strcpy(f->entry, entry);
		f->directory_fd = open_directory(at, directory);
		if (at >= 0)
			pm_sys->close(at);
		if (f->directory_fd < 0)
			return f->directory_fd;
		do
			fd = open_entry(f, o);
		while (fd == -EAGAIN);
		if (fd != -ELOOP)
			return fd;
		ssize_t got = pm_sys->readlinkat(f->directory_fd, f->entry, current, sizeof(current) - 1);
		if (got < 0)
			return (int)got;
		current[got] = 0;
		at = f->directory_fd;
	}
	return -ELOOP;
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
	return look_first(f);
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

int pm_file_reopen(struct pm_file *f, int fd, const struct pm_options *o)
{
	char path[40];
	f->directory_fd = -1;
	int flags = pm_sys->flags_of(fd);
	if (flags < 0)
		return fail(f, flags, "not an open descriptor");
	if (access_mode(o) == O_RDWR && (flags & O_ACCMODE) != O_RDWR)
		return pm_fail(-EACCES, f->call, f->name, "the descriptor is not open for reading and writing");
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
}

void pm_file_close(struct pm_file *f)
{
	pm_file_close_directory(f);
	if (f->fd >= 0)
		pm_sys->close(f->fd);
	f->fd = -1;
}

void pm_file_undo(struct pm_file *f)
{
	struct statx now;
	if (!f->created) {
		/* Longer than we made it: somebody else has grown it since, and it is theirs. */
		bool ours = f->size > f->original_size && !pm_sys->statx(f->fd, "", AT_EMPTY_PATH, &now) &&
		            now.stx_size <= f->size;
		if (ours)
			PM_RETRY(pm_sys->ftruncate(f->fd, f->original_size));
		return;
	}
	/* Only our own file: somebody may have put another in its place. */
	bool known = !pm_sys->statx(f->fd, "", AT_EMPTY_PATH, &f->stx) &&
	             !pm_sys->statx(f->directory_fd, f->entry, AT_SYMLINK_NOFOLLOW, &now);
	if (known && now.stx_ino == f->stx.stx_ino && now.stx_dev_major == f->stx.stx_dev_major &&
	    now.stx_dev_minor == f->stx.stx_dev_minor)
		pm_sys->unlinkat(f->directory_fd, f->entry);
}

/* ---- Growing and preparing ---- */

/* Where the file system cannot allocate, writing zeroes does; nobody knows the new part yet. */
static int write_zeroes(struct pm_file *f, uint64_t from, uint64_t end)
{
	static const char zeroes[65536];
	while (from < end) {
		size_t size = end - from < sizeof(zeroes) ? (size_t)(end - from) : sizeof(zeroes);
		ssize_t put = PM_RETRY(pm_sys->pwrite(f->fd, zeroes, size, from));
		if (put <= 0)
			return put ? (int)put : -EIO;
		from += (uint64_t)put;
	}
	return 0;
}

int pm_file_grow(struct pm_file *f, uint64_t end, bool sparse)
{
	if (end <= f->size)
		return 0;
	uint64_t old_size = f->size;
	/* Set first: a failed attempt may have grown the file in part, and must be undone. */
	f->size = end;
	int rc = sparse ? PM_RETRY(pm_sys->ftruncate(f->fd, end))
	                : PM_RETRY(pm_sys->fallocate(f->fd, old_size, end - old_size));
	if (rc == -EOPNOTSUPP && !sparse)
		rc = write_zeroes(f, old_size, end);
	return rc ? fail(f, rc, "the file cannot be grown") : 0;
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
		if (rc == -EINVAL)
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
	int rc = PM_RETRY(pm_sys->fallocate(f->fd, offset, end - offset));
	if (rc && rc != -EOPNOTSUPP)
		return fail(f, rc, "the range cannot be allocated");
	void *map = NULL;
	rc = pm_sys->mmap(&map, (size_t)length, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, offset);
	if (rc)
		return fail(f, rc, "the range cannot be mapped for preparing");
	rc = write_faults(f, map, length, direct);
	pm_sys->munmap(map, (size_t)length);
	return rc;
}

int pm_file_publish(struct pm_file *f)
{
	int rc = PM_RETRY(pm_sys->fsync(f->fd));
	f->suspect = rc;
	if (rc)
		return fail(f, rc, "fsync failed");
	if (f->directory_fd < 0)
		return 0;
	/* EBADF: a directory we could not open for reading. EINVAL: a file system without it. */
	rc = PM_RETRY(pm_sys->fsync(f->directory_fd));
	if (rc == -EBADF || rc == -EINVAL)
		rc = PM_RETRY(pm_sys->syncfs(f->fd));
	return rc ? fail(f, rc, "the directory cannot be synced") : 0;
}

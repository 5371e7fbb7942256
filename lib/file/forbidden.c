/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What about a file forbids a change, whatever right the caller has: the error is the same as that of a missing right
 * or of a filter of system calls (EPERM, EACCES), and only the file says what helps.
 */
#include <errno.h>
#include <fcntl.h>

#include "error.h"
#include "file/file.h"
#include "file/forbidden.h"
#include "sys/sys.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* Linux 5.1 */
#endif

static bool may_forbid(int rc)
{
	return rc == -EPERM || rc == -EACCES;
}

static const char *by_attribute(int dir_fd, const char *path, int flags)
{
	struct statx now;
	if (PM_RETRY(pm_sys->statx(dir_fd, path, flags, &now)))
		return NULL;
	bool is_directory = S_ISDIR(now.stx_mode);
	switch (pm_file_fixed(&now)) {
	case 0:
		return NULL;
	case STATX_ATTR_APPEND:
		return is_directory ? NULL
		                    : "the file is append-only: take the attribute off (chattr -a), or map it with "
		                      "PM_READ_ONLY";
	default:
		return is_directory ? "the directory is immutable: take the attribute off (chattr -i)"
		                    : "the file is immutable: take the attribute off (chattr -i), or map it with "
		                      "PM_READ_ONLY";
	}
}

bool pm_file_is_immutable(int fd)
{
	struct statx now;
	return !PM_RETRY(pm_sys->statx(fd, "", AT_EMPTY_PATH, &now)) && pm_file_fixed(&now) & STATX_ATTR_IMMUTABLE;
}

/* memfd_create(2): no process can take a seal off. */
static const char *by_seal(int fd, enum pm_change change)
{
	int seals = PM_RETRY(pm_sys->fcntl_get_seals(fd));
	if (seals <= 0)
		return NULL;
	if (change == PM_CHANGE_GROWS && seals & F_SEAL_GROW)
		return "the file is sealed against growing (fcntl(2) F_SEAL_GROW): map no more than it has";
	if (change == PM_CHANGE_SHRINKS && seals & F_SEAL_SHRINK)
		return "the file is sealed against shrinking (fcntl(2) F_SEAL_SHRINK)";
	if (change == PM_CHANGE_CONTENT && seals & F_SEAL_WRITE)
		return "the file is sealed against writing (fcntl(2) F_SEAL_WRITE): map it with PM_READ_ONLY or "
		       "PM_PRIVATE";
	if (change == PM_CHANGE_CONTENT && seals & F_SEAL_FUTURE_WRITE)
		return "the file is sealed against further writing (fcntl(2) F_SEAL_FUTURE_WRITE): map it with "
		       "PM_READ_ONLY or PM_PRIVATE";
	return NULL;
}

/*
 * A number that the program lent may lead to the same file by another description. By one that is not open for writing
 * ftruncate(2) fails with EINVAL, mmap(2) with EACCES, and the other calls with EBADF.
 */
static const char *by_description(int fd, int rc)
{
	int flags = rc == -EBADF || rc == -EINVAL || rc == -EACCES ? PM_RETRY(pm_sys->fcntl_getfl(fd)) : -EINVAL;
	return flags >= 0 && (flags & O_ACCMODE) == O_RDONLY
	               ? "the program has opened the file again by the number of the descriptor, for reading only: map "
	                 "again by a descriptor that is open for writing"
	               : NULL;
}

const char *pm_file_what_forbids(int fd, int rc, enum pm_change change)
{
	const char *what = may_forbid(rc) ? by_attribute(fd, "", AT_EMPTY_PATH) : NULL;
	if (!what && may_forbid(rc))
		what = by_seal(fd, change);
	return what ? what : by_description(fd, rc);
}

/* what: what forbids it, if anything is known to. */
static int fail_because(const struct pm_file *f, int rc, const char *doing, const char *what)
{
	return what ? pm_fail(rc, f->call, f->name, "%s: %s: %s", doing, pm_strerror(rc), what)
	            : pm_file_fail(f, rc, doing);
}

int pm_file_fail_forbidden(const struct pm_file *f, int rc, const char *doing, enum pm_change change)
{
	return fail_because(f, rc, doing, pm_file_what_forbids(f->fd, rc, change));
}

#define PROTECTED_LINK                                                                                                 \
	"another user put the symbolic link where every user may write, so it is not followed "                        \
	"(proc_sys_fs(5) protected_symlinks)"

/* open(2) ENXIO. */
#define NO_DEVICE "a socket is no file that can be mapped, and a node whose device is absent leads to none"

int pm_file_fail_to_open(const struct pm_file *f, int rc, const char *path)
{
	static const char *const sentences[] = {
		[PM_DOING_OPEN] = "the file cannot be opened",
		[PM_DOING_CREATE] = "the file cannot be created",
		[PM_DOING_DIRECTORY] = "the directory for the file cannot be opened",
		[PM_DOING_READ_LINK] = "whether the path ends in a symbolic link cannot be read (readlinkat)",
		[PM_DOING_CHECK_LINK] = "the symbolic link in the path cannot be checked (statx)",
		[PM_DOING_FOLLOW_LINK] = PROTECTED_LINK,
	};
	const char *what = may_forbid(rc) ? by_attribute(AT_FDCWD, path, 0) : rc == -ENODEV ? NO_DEVICE : NULL;
	if (!what && may_forbid(rc) && f->directory_fd >= 0)
		what = by_attribute(f->directory_fd, "", AT_EMPTY_PATH);
	return fail_because(f, rc, sentences[f->doing], what);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors that the library keeps for longer than one call. The table of descriptors belongs to the program: it may
 * close any number, and the kernel gives the number to the file that is opened next. So the library checks that a
 * number still leads to its file before each use that could harm another file, or whose answer counts.
 */
#ifndef PM_KEPT_H
#define PM_KEPT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* All zero: none. */
struct pm_kept {
	struct pm_kept *next;
	_Atomic int place; /* the descriptor's number + 1; 0: none, or none any more */
	bool marked;
	bool borrowed; /* the caller lent it, perhaps to several mappings */
};

static inline int pm_kept_fd(const struct pm_kept *k)
{
	return k->place - 1;
}

/* The file of a mapping. */
struct pm_kept_file {
	struct pm_kept kept;
	struct pm_kept **link; /* borrowed: what points to it */
	uint64_t inode;
	uint32_t major, minor;
	atomic_bool lost; /* the number was closed or leads to another file; it stays so */
};

/*
 * Keeps the descriptor of an eventfd, an inotify instance or the like. These have no identity of their own, so each
 * gets a mark. Returns fd, also a negative one.
 */
int pm_keep(struct pm_kept *, int fd);
bool pm_is_kept(const struct pm_kept *);
/* Closes the descriptor, unless the number belongs to another file by now. */
void pm_kept_close(struct pm_kept *);

/* Keeps the descriptor of a file, or borrows the caller's, by its identity in the result of statx(2). */
void pm_kept_file_keep(struct pm_kept_file *, int fd, const struct statx *, bool borrowed);
/*
 * Fills *now and returns 0 if the descriptor still leads to the file, -EBADF if it does not or did not before,
 * otherwise -errno.
 */
int pm_kept_file_stat(struct pm_kept_file *, struct statx *now);
/* The same check on what another call found: its statx(2) and its result. */
int pm_kept_file_check(struct pm_kept_file *, const struct statx *now, int rc);
/* Releases the descriptor, and returns whether it must be closed. */
bool pm_kept_file_release(struct pm_kept_file *);

#endif

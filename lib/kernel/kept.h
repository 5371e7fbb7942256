/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors that the library keeps for longer than a call. The table of descriptors is the program's: it may close
 * any number, and the kernel gives the number to what is opened next. So each use of a kept descriptor that could harm
 * another file, or would be believed, shows first that the number still leads where it did.
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
	_Atomic int fd; /* 0: none, or none any more */
	bool marked;
};

/* The file of a mapping. */
struct pm_kept_file {
	struct pm_kept kept;
	uint64_t inode;
	uint32_t major, minor;
	atomic_bool lost; /* it was found to be another file's, or closed: from then on for ever */
};

/*
 * Keeps the descriptor of an eventfd, an inotify instance or the like: they have no identity of their own, so each gets a
 * mark. Passes fd on, also a negative one.
 */
int pm_keep(struct pm_kept *, int fd);
bool pm_is_kept(const struct pm_kept *);
/* Closes it, unless the number is another's by now. */
void pm_kept_close(struct pm_kept *);

/* Keeps the descriptor of a file, by what statx(2) told of it. */
void pm_kept_file_keep(struct pm_kept_file *, int fd, const struct statx *);
bool pm_kept_file_is_of(const struct pm_kept_file *, const struct statx *);
/* Fills *now and returns 0 if the descriptor still leads to the file; -EBADF if not, now or before; else -errno. */
int pm_kept_file_look(struct pm_kept_file *, struct statx *now);
/* As the former, of what another call told of the descriptor, and its result. */
int pm_kept_file_check(struct pm_kept_file *, const struct statx *now, int rc);
/* Gives the descriptor up: whether it is to be closed. */
bool pm_kept_file_release(struct pm_kept_file *);

#endif

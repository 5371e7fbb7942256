/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which file system a file is on, and whether two names lead to one file, where a server may have made up both answers.
 * Both are believed only where the kernel at hand gives them.
 */
#ifndef PM_IDENTITY_H
#define PM_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* A type of file system whose files always lie on a block device, and whose inode numbers are its own. */
bool pm_needs_block_device(uint32_t f_type);
/* Likewise, and the file does lie on one. 9p shows the type of its server's file system; its own device has no major. */
bool pm_is_on_block_device(uint32_t f_type, const struct statx *);

/* Whether the file's numbers are the kernel's own, so that no other file has them. */
bool pm_has_own_numbers(int fd, const struct statx *);

bool pm_has_same_numbers(const struct statx *, const struct statx *);
/* Of two open files with the same numbers: 1 or 0, or -errno. */
int pm_is_same_inode(int fd, int other);

/*
 * Whether path leads to the open file, whose numbers are in stx: 1 or 0. -errno: the numbers are the same, and the kernel
 * does not tell more.
 */
int pm_is_same_file(int fd, const struct statx *stx, const char *path);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which file system a file is on, and whether two names lead to one file. A server may have made up both answers, so
 * they count only where the local kernel gives them.
 */
#ifndef PM_IDENTITY_H
#define PM_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* A type of file system whose files always lie on a block device, and whose inode numbers are its own. */
bool pm_needs_block_device(uint32_t f_type);
/*
 * Such a type, and the file does lie on a block device. 9p shows the type of its server's file system; its own device
 * has no major number.
 */
bool pm_is_on_block_device(uint32_t f_type, const struct statx *);

/* Whether the file's numbers are the kernel's own, so that no other file has them. */
bool pm_has_own_numbers(int fd, const struct statx *);

bool pm_has_same_numbers(const struct statx *, const struct statx *);
/* Whether two open files with the same numbers are one: 1, 0 or -errno. */
int pm_is_same_inode(int fd, int other);
/* Whether an entry of a directory is the open file with the same numbers: 1, 0 or -errno. */
int pm_is_entry(int fd, int directory_fd, const char *entry);

/*
 * Whether path leads to the open file whose numbers are in stx: 1 or 0. -errno: the numbers are the same, and the
 * kernel reports no more.
 */
int pm_is_same_file(int fd, const struct statx *stx, const char *path);

#endif

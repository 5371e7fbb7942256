/* SPDX-License-Identifier: BSD-3-Clause */
/* statx(2), which not every libc has. */
#ifndef LOOK_H
#define LOOK_H

#include <stdint.h>
#include <sys/stat.h>

/* The basic fields and the attributes. 0, or a negative errno. Opens nothing, and starts no automount. */
int look_at(const char *path, int flags, struct statx *ret);
int look_at_fd(int fd, struct statx *ret);
/* An id of the mount on which it lies; 0: the kernel does not tell. */
uint64_t look_mount(const char *path);

#endif

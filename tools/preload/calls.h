/* SPDX-License-Identifier: BSD-3-Clause */
/* What variants of a call (for off_t of 32 and of 64 bits) share. */
#ifndef CALLS_H
#define CALLS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "real.h"

struct file;

void *calls_map(const struct map_call *call);

/* Around a call that changes a file otherwise than by stores: NULL if no file of the table is concerned. */
struct file *change_begin(int fd);
/* Around one that may make it shorter or longer. */
struct file *resize_begin(int fd);
struct file *resize_of_path_begin(const char *path);
/* Counts bytes, if they are not negative, or else a change of the file; returns result. errno is that of the call. */
ssize_t change_end(struct file *file, ssize_t result);
int resized_end(struct file *file, int result);

/* A descriptor that was opened with these flags, or -1; returns it. */
int opened(int fd, int flags);

/* The permission bits, which are there only if the flags ask for them. */
#define MODE_OF(ret, flags)                                                                                            \
	do {                                                                                                           \
		va_list arguments;                                                                                     \
		va_start(arguments, flags);                                                                            \
		ret = (flags) & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;                               \
		va_end(arguments);                                                                                     \
	} while (0)

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* What the programs under cut.py share: content as a number, and the lines that tell the host of it. */
#ifndef POWER_DIGEST_H
#define POWER_DIGEST_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* FNV-1a */
static inline uint64_t digest_of(const void *bytes, size_t length)
{
	const unsigned char *at = bytes;
	uint64_t sum = 14695981039346656037u;
	for (size_t i = 0; i < length; i++)
		sum = (sum ^ at[i]) * 1099511628211u;
	return sum;
}

/* One write, so that lines of several processes do not mix. verb: promise, control or found. */
static inline void tell(const char *verb, const char *name, const void *bytes, size_t length)
{
	dprintf(STDOUT_FILENO, "%s %s %016" PRIx64 "\n", verb, name, digest_of(bytes, length));
}

/* What the file has at the offset, as "found"; where it is too short or missing, that it was looked for, and why. */
static inline void tell_found(const char *name, const char *path, size_t offset, size_t length)
{
	char *bytes = malloc(length);
	errno = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = bytes && fd >= 0 ? pread(fd, bytes, length, (off_t)offset) : -1;
	if (got == (ssize_t)length)
		tell("found", name, bytes, length);
	else
		dprintf(STDOUT_FILENO, "looked %s\nnote %s: %s: %zd bytes, %s\n", name, name,
			fd < 0 ? "not opened" : "read", got, strerror(errno));
	if (fd >= 0)
		close(fd);
	free(bytes);
}

#endif

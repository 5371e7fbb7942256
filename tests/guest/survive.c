/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether what was acknowledged survives a power failure, on any backing:
 *
 *   survive store NAME DIRECTORY   makes files, stores, persists, says "NAME stored FILE GRANULARITY", and waits
 *                                  for the end without closing anything
 *   survive verify NAME DIRECTORY  says "NAME intact FILE" or what it lacks
 */
#include <fcntl.h>
#include <pmdirect.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZE ((size_t)1 << 20)
#define BY_HAND ((size_t)4096 * 7 + 64) /* where a word is stored without the library's copy */

static const struct {
	const char *name;
	unsigned flags;
} files[] = {{"prepared", 0}, {"sparse", PM_SPARSE}};

#define FILES (sizeof(files) / sizeof(files[0]))

/* No byte of it is 0, and no two backings have the same. */
static void fill(unsigned char *bytes, const char *name)
{
	uint32_t x = 1;
	for (; *name; name++)
		x = x * 31 + (unsigned char)*name;
	for (size_t i = 0; i < SIZE; i++) {
		x = x * 1664525 + 1013904223;
		bytes[i] = (unsigned char)(x >> 24 | 1);
	}
}

static int complain(const char *name)
{
	dprintf(STDOUT_FILENO, "%s: %s\n", name, pm_error_detail());
	return 1;
}

static int store(const char *name, const char *path, unsigned i, const unsigned char *bytes)
{
	struct pm_options options = {.size = sizeof(options), .flags = PM_CREATE | files[i].flags, .length = SIZE};
	struct pm_mapping *m;
	if (pm_map(path, &options, &m))
		return complain(name);
	unsigned char *base = pm_base(m);
	/* All but one cache line by the library, which in turn is stored by hand. */
	if (pm_memcpy(m, base, bytes, BY_HAND, PM_NODRAIN) ||
	    pm_memcpy(m, base + BY_HAND + 64, bytes + BY_HAND + 64, SIZE - BY_HAND - 64, 0))
		return complain(name);
	memcpy(base + BY_HAND, bytes + BY_HAND, 64);
	if (pm_persist(m, base + BY_HAND, 64))
		return complain(name);
	dprintf(STDOUT_FILENO, "%s stored %s %s\n", name, files[i].name, pm_granularity_name(pm_granularity_of(m)));
	return 0;
}

static int verify(const char *name, const char *path, unsigned i, const unsigned char *bytes)
{
	unsigned char *back = calloc(1, SIZE);
	int fd = open(path, O_RDONLY);
	ssize_t got = fd < 0 || !back ? -1 : read(fd, back, SIZE);
	size_t at = 0;
	while (got > 0 && at < (size_t)got && back[at] == bytes[at])
		at++;
	if (at == SIZE)
		dprintf(STDOUT_FILENO, "%s intact %s\n", name, files[i].name);
	else
		dprintf(STDOUT_FILENO, "%s LOST %s: %zd bytes read, wrong from %zu\n", name, files[i].name, got, at);
	if (fd >= 0)
		close(fd);
	free(back);
	return at != SIZE;
}

int main(int argc, char **argv)
{
	static unsigned char bytes[SIZE];
	char path[256];
	int failed = 0;
	bool storing = argc == 4 && !strcmp(argv[1], "store");
	if (!storing && (argc != 4 || strcmp(argv[1], "verify")))
		return fprintf(stderr, "usage: %s store|verify NAME DIRECTORY\n", argv[0]), 2;
	fill(bytes, argv[2]);
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "%s/%s", argv[3], files[i].name);
		failed |= (storing ? store : verify)(argv[2], path, i, bytes);
	}
	while (storing && !failed)
		pause();
	return failed;
}

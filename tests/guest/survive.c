/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether what was acknowledged survives a power failure, on any backing:
 *
 *   survive store NAME PLACE   makes files, stores, persists, says "NAME stored FILE GRANULARITY", and waits
 *                              for the end without closing anything
 *   survive verify NAME PLACE  says "NAME intact FILE" or what it lacks
 *
 * PLACE is a directory, or a device node; that is "prepared" as it is.
 */
#include <fcntl.h>
#include <pmdirect.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

#define SIZE ((size_t)256 << 10)
#define DAX_PAGE ((size_t)2 << 20)
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

static bool is_node(const char *path)
{
	return !strncmp(path, "/dev/", 5);
}

static int store(const char *name, const char *path, unsigned i, const unsigned char *bytes)
{
	struct pm_options options = {.size = sizeof(options), .flags = files[i].flags, .length = SIZE};
	struct pm_mapping *m;
	if (is_node(path))
		options.length = DAX_PAGE;
	else if (access(path, F_OK))
		options.flags |= PM_CREATE;
	if (pm_map(path, &options, &m))
		return complain(name, "pm_map");
	unsigned char *base = pm_base(m);
	/* All but one cache line by the library, which in turn is stored by hand. */
	if (pm_memcpy(m, base, bytes, BY_HAND, PM_NODRAIN) ||
	    pm_memcpy(m, base + BY_HAND + 64, bytes + BY_HAND + 64, SIZE - BY_HAND - 64, 0))
		return complain(name, "pm_memcpy");
	memcpy(base + BY_HAND, bytes + BY_HAND, 64);
	if (pm_persist(m, base + BY_HAND, 64))
		return complain(name, "pm_persist");
	dprintf(STDOUT_FILENO, "%s stored %s %s\n", name, files[i].name, pm_granularity_name(pm_granularity_of(m)));
	return 0;
}

/* A device-dax has no read(2), and is mapped in pages of its own. */
static ssize_t read_back(const char *path, unsigned char *back)
{
	struct stat st;
	ssize_t got = -1;
	int fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) || !S_ISCHR(st.st_mode))
		return fd < 0 ? -1 : read(fd, back, SIZE);
	void *at = mmap(NULL, DAX_PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (at != MAP_FAILED) {
		memcpy(back, at, SIZE);
		got = (ssize_t)SIZE;
	}
	return got;
}

static int verify(const char *name, const char *path, unsigned i, const unsigned char *bytes)
{
	static unsigned char back[SIZE];
	ssize_t got = read_back(path, back);
	size_t at = 0;
	while (got > 0 && at < (size_t)got && back[at] == bytes[at])
		at++;
	if (at == SIZE)
		dprintf(STDOUT_FILENO, "%s intact %s\n", name, files[i].name);
	else
		dprintf(STDOUT_FILENO, "%s LOST %s, %zd bytes read, wrong from %zu\n", name, files[i].name, got, at);
	return at != SIZE;
}

int main(int argc, char **argv)
{
	static unsigned char bytes[SIZE];
	char path[256];
	int failed = 0;
	bool storing = argc == 4 && !strcmp(argv[1], "store");
	if (!storing && (argc != 4 || strcmp(argv[1], "verify")))
		return fprintf(stderr, "usage: %s store|verify NAME PLACE\n", argv[0]), 2;
	fill(bytes, argv[2]);
	for (unsigned i = 0; i < (is_node(argv[3]) ? 1 : FILES); i++) {
		snprintf(path, sizeof(path), is_node(argv[3]) ? "%s" : "%s/%s", argv[3], files[i].name);
		failed |= (storing ? store : verify)(argv[2], path, i, bytes);
	}
	while (storing && !failed)
		pause();
	return failed;
}

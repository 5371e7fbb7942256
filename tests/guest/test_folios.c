/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a small commit writes: bytes that reach the disk, by its counters in sysfs. Where the page cache holds a file in
 * large folios, a store makes its whole folio dirty. Runs in the guest: test_folios DIRECTORY..., each on a disk that
 * nothing else writes to. The control is msync(2) on a plain mapping of the same file.
 */
#include <pmdirect.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "check.h"

#define SIZE ((size_t)32 << 20)
#define PIECE ((size_t)1 << 20)
#define COMMITS 32
#define MOST ((uint64_t)16 << 10) /* bytes a commit */

static char path[256];

static uint64_t bytes_written(void)
{
	char name[64];
	struct stat st;
	unsigned long long sectors = 0;
	if (stat(path, &st))
		return 0;
	snprintf(name, sizeof(name), "/sys/dev/block/%u:%u/stat", major(st.st_dev), minor(st.st_dev));
	FILE *f = fopen(name, "re");
	if (!f || fscanf(f, "%*s %*s %*s %*s %*s %*s %llu", &sectors) != 1)
		CHECK(false, "%s cannot be read", name);
	if (f)
		fclose(f);
	return (uint64_t)sectors * 512;
}

/* How the file got into the page cache. */
enum cached { WRITTEN_LARGE, READ_BY_ANOTHER, COLD };

static void make_file(enum cached cached)
{
	char *piece = malloc(PIECE);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	memset(piece, 1, PIECE);
	for (size_t at = 0; at < SIZE; at += PIECE)
		CHECK(pwrite(fd, piece, PIECE, (off_t)at) == (ssize_t)PIECE);
	CHECK(fsync(fd) == 0);
	if (cached != WRITTEN_LARGE)
		CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	for (size_t at = 0; cached == READ_BY_ANOTHER && at < SIZE; at += PIECE)
		CHECK(pread(fd, piece, PIECE, (off_t)at) == (ssize_t)PIECE);
	close(fd);
	sync();
	free(piece);
}

/* What was done with the mapping, or its descriptor, before the commits. */
enum before { NOTHING, LOADED, READ };

static void scan(const char *base)
{
	for (size_t at = 0; at < SIZE; at += 4096)
		(void)*(const volatile char *)(base + at);
}

static void read_all(struct pm_mapping *m, int fd, char *base)
{
	char *piece = malloc(PIECE);
	for (size_t at = 0; at < SIZE; at += PIECE)
		CHECK((m ? pm_read(m, piece, base + at, PIECE) : pread(fd, piece, PIECE, (off_t)at) - (ssize_t)PIECE) ==
		      0);
	free(piece);
}

static void use(enum before before, struct pm_mapping *m, int fd, char *base)
{
	if (before == LOADED)
		scan(base);
	else if (before == READ)
		read_all(m, fd, base);
}

/* Bytes a commit of one byte, with m == NULL by msync(2). */
static uint64_t cost(struct pm_mapping *m, char *base)
{
	uint64_t before = bytes_written();
	for (size_t i = 0; i < COMMITS; i++) {
		char *at = base + i * 11 % COMMITS * (SIZE / COMMITS) + i % 7 * 4096;
		++*(volatile char *)at;
		CHECK((m ? pm_persist(m, at, 1) : msync((void *)((uintptr_t)at & ~(uintptr_t)4095), 4096, MS_SYNC)) ==
		      0);
	}
	return (bytes_written() - before) / COMMITS;
}

static uint64_t cost_by_msync(enum before before)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char *base = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(base != MAP_FAILED);
	use(before, NULL, fd, base);
	uint64_t bytes = cost(NULL, base);
	munmap(base, SIZE);
	close(fd);
	return bytes;
}

static uint64_t cost_by_library(enum pm_access access, enum before before, bool *possible)
{
	struct pm_options o = {.size = sizeof(o), .access = access};
	struct pm_report r;
	struct pm_mapping *m;
	if (pm_map(path, &o, &m) || pm_query(m, &r, sizeof(r))) {
		CHECK(false, "%s", pm_error_detail());
		exit(1);
	}
	*possible = r.evidence[PM_EV_LARGE_FOLIOS].state == PM_YES;
	use(before, m, -1, pm_base(m));
	uint64_t bytes = cost(m, pm_base(m));
	CHECK(pm_unmap(m) == 0);
	return bytes;
}

static const struct {
	const char *what;
	enum cached cached;
	enum before before;
	enum pm_access access;
} ways[] = {
	{"written by 1 MiB, random access", WRITTEN_LARGE, NOTHING, PM_ACCESS_RANDOM},
	{"read by another process, random access", READ_BY_ANOTHER, NOTHING, PM_ACCESS_RANDOM},
	{"cold and scanned, random access", COLD, LOADED, PM_ACCESS_RANDOM},
	{"cold and scanned, no access given", COLD, LOADED, PM_ACCESS_UNSET},
	{"cold and read, no access given", COLD, READ, PM_ACCESS_UNSET},
	{"cold, no access given", COLD, NOTHING, PM_ACCESS_UNSET},
};

static void check(const char *directory)
{
	bool possible;
	snprintf(path, sizeof(path), "%s/folios", directory);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		make_file(ways[i].cached);
		uint64_t ours = cost_by_library(ways[i].access, ways[i].before, &possible);
		make_file(ways[i].cached);
		uint64_t raw = cost_by_msync(ways[i].before);
		printf("%s: %s: %llu bytes a commit, msync %llu\n", directory, ways[i].what, (unsigned long long)ours,
		       (unsigned long long)raw);
		CHECK(ours <= MOST, "%s: %llu bytes a commit", ways[i].what, (unsigned long long)ours);
		/* The row is right, and the control can fail. Before Linux 6.6 write(2) makes no large folios. */
		CHECK(raw <= MOST || possible, "%s: msync wrote %llu", ways[i].what, (unsigned long long)raw);
		if (ways[i].before != NOTHING)
			CHECK(raw > MOST || !possible, "%s: msync wrote %llu", ways[i].what, (unsigned long long)raw);
	}
	unlink(path);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		check(argv[i]);
	printf("%d failures\n", failures);
	return failures != 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a small commit writes: bytes that reach the disk, by its counters in sysfs. Where the page cache holds a file in
 * large folios, a store makes its whole folio dirty. Runs in the guest: test_folios DIRECTORY... first DIRECTORY...,
 * each on a disk that nothing else writes to; those behind the word are for the first commit alone. The control is
 * msync(2) on a plain mapping of the same file.
 */
#include <fcntl.h>
#include <pmdirect.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define SIZE ((size_t)8 << 20)
#define LARGE_SIZE ((size_t)66 << 20) /* more than pm_map() splits unasked */
#define PIECE ((size_t)1 << 20)
#define COMMITS 32
#define MOST ((uint64_t)16 << 10) /* bytes a commit */
#define JOURNAL ((uint64_t)64 << 10)

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
enum cached { WRITTEN, WRITTEN_AND_DIRTY, READ_BY_ANOTHER, COLD };

static size_t size;

static void read_file(void)
{
	char *piece = malloc(PIECE);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	for (size_t at = 0; at < size; at += PIECE)
		CHECK(pread(fd, piece, PIECE, (off_t)at) == (ssize_t)PIECE);
	close(fd);
	free(piece);
}

static void make_file(enum cached cached)
{
	char *piece = malloc(PIECE);
	unlink(path); /* to close what was truncated begins to write (fs/ext4/file.c ext4_release_file) */
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	memset(piece, 1, PIECE);
	for (size_t at = 0; at < size; at += PIECE)
		CHECK(pwrite(fd, piece, PIECE, (off_t)at) == (ssize_t)PIECE);
	CHECK(fsync(fd) == 0);
	if (cached != WRITTEN)
		CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	/* The file has its blocks already. */
	for (size_t at = 0; cached == WRITTEN_AND_DIRTY && at < size; at += PIECE)
		CHECK(pwrite(fd, piece, PIECE, (off_t)at) == (ssize_t)PIECE);
	close(fd);
	if (cached == READ_BY_ANOTHER)
		read_file();
	free(piece);
}

/* What was done with the mapping, its descriptor or the file before the commits. */
enum before { NOTHING, LOADED, READ, WROTE, ANOTHER_READS, ANOTHER_MAPS };

static void scan(const char *base)
{
	for (size_t at = 0; at < size; at += 4096)
		(void)*(const volatile char *)(base + at);
}

static void copy_all(enum before before, struct pm_mapping *m, int fd, char *base)
{
	char *piece = calloc(1, PIECE);
	for (size_t at = 0; at < size; at += PIECE) {
		if (before == READ)
			CHECK(m ? !pm_read(m, piece, base + at, PIECE)
			        : pread(fd, piece, PIECE, (off_t)at) == (ssize_t)PIECE);
		else
			CHECK(m ? !pm_write(m, base + at, piece, PIECE)
			        : pwrite(fd, piece, PIECE, (off_t)at) == (ssize_t)PIECE && !fdatasync(fd));
	}
	free(piece);
}

static pid_t another;

/* Until it is killed. */
static void map_in_another_process(void)
{
	int ready[2];
	char byte = 0;
	CHECK(pipe(ready) == 0);
	another = fork();
	if (!another) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		scan(mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0));
		while (write(ready[1], "", 1) == 1)
			pause();
	}
	CHECK(read(ready[0], &byte, 1) == 1);
	close(ready[0]);
	close(ready[1]);
}

static void use(enum before before, struct pm_mapping *m, int fd, char *base)
{
	if (before == LOADED)
		scan(base);
	else if (before == READ || before == WROTE)
		copy_all(before, m, fd, base);
	else if (before == ANOTHER_READS)
		read_file();
}

static void end_use(void)
{
	if (another > 0) {
		kill(another, SIGKILL);
		waitpid(another, NULL, 0);
	}
	another = 0;
}

/* Bytes of COMMITS commits of one byte, each far from the others; with m == NULL by msync(2). */
static uint64_t commit(struct pm_mapping *m, char *base, size_t page)
{
	uint64_t before = bytes_written();
	for (size_t i = 0; i < COMMITS; i++) {
		char *at = base + i * 11 % COMMITS * (size / COMMITS) + (page + i % 7) * 4096;
		++*(volatile char *)at;
		CHECK((m ? pm_persist(m, at, 1) : msync((void *)((uintptr_t)at & ~(uintptr_t)4095), 4096, MS_SYNC)) ==
		      0);
	}
	return bytes_written() - before;
}

static uint64_t commit_by_msync(enum cached cached, enum before before)
{
	make_file(cached);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(base != MAP_FAILED);
	use(before, NULL, fd, base);
	uint64_t bytes = commit(NULL, base, 0);
	munmap(base, size);
	close(fd);
	return bytes / COMMITS;
}

/* EACH commit writes little; each LATER one does, in a folio that was met; what they write is COUNTED. */
enum promise { EACH, LATER, COUNTED };

static const struct way {
	const char *what;
	enum cached cached;
	enum before before;
	enum pm_access access;
	enum promise promise;
	size_t size; /* 0: SIZE */
} ways[] = {
	{"written by 1 MiB, random access", WRITTEN, NOTHING, PM_ACCESS_RANDOM, EACH, LARGE_SIZE},
	{"written by 1 MiB, no access given", WRITTEN, NOTHING, PM_ACCESS_UNSET, EACH, 0},
	{"written by 1 MiB, a large file", WRITTEN, NOTHING, PM_ACCESS_UNSET, LATER, LARGE_SIZE},
	{"written by 1 MiB, not yet synced", WRITTEN_AND_DIRTY, NOTHING, PM_ACCESS_UNSET, LATER, 0},
	{"read by another process, random access", READ_BY_ANOTHER, NOTHING, PM_ACCESS_RANDOM, EACH, 0},
	{"read by another process, no access given", READ_BY_ANOTHER, NOTHING, PM_ACCESS_UNSET, EACH, 0},
	{"read by another process later", COLD, ANOTHER_READS, PM_ACCESS_UNSET, LATER, 0},
	{"mapped by another process", WRITTEN, ANOTHER_MAPS, PM_ACCESS_UNSET, COUNTED, 0},
	{"cold and scanned, random access", COLD, LOADED, PM_ACCESS_RANDOM, EACH, 0},
	{"cold and scanned, no access given", COLD, LOADED, PM_ACCESS_UNSET, EACH, 0},
	{"cold and read, no access given", COLD, READ, PM_ACCESS_UNSET, EACH, 0},
	{"cold and written by pm_write", COLD, WROTE, PM_ACCESS_UNSET, EACH, 0},
	{"cold, no access given", COLD, NOTHING, PM_ACCESS_UNSET, EACH, 0},
};

static struct pm_statistics statistics_of(struct pm_mapping *m)
{
	struct pm_statistics s;
	CHECK(pm_statistics(m, &s, sizeof(s)) == 0);
	return s;
}

/* What the device wrote is what the library counts, but for the file system's log. */
static void check_count(const struct way *way, struct pm_mapping *m, struct pm_statistics before, uint64_t device)
{
	struct pm_statistics s = statistics_of(m);
	uint64_t counted = s.bytes_written - before.bytes_written + s.bytes_beyond - before.bytes_beyond;
	uint64_t log = COMMITS * MOST;
	CHECK(counted <= device + log && device <= counted + log, "%s: %llu bytes, %llu counted", way->what,
	      (unsigned long long)device, (unsigned long long)counted);
}

static struct pm_mapping *map(const struct way *way)
{
	struct pm_options o = {.size = sizeof(o), .access = way->access};
	struct pm_mapping *m;
	make_file(way->cached);
	if (way->before == ANOTHER_MAPS)
		map_in_another_process();
	if (pm_map(path, &o, &m)) {
		printf("%s\n", pm_error_detail());
		exit(1);
	}
	return m;
}

static struct pm_evidence evidence_of(struct pm_mapping *m)
{
	struct pm_report r = {.size = 0};
	CHECK(pm_query(m, &r, sizeof(r)) == 0);
	return r.evidence[PM_EV_LARGE_FOLIOS];
}

static void check_way(const char *directory, const struct way *way, bool is_counted)
{
	size = way->size ? way->size : SIZE;
	struct pm_mapping *m = map(way);
	bool possible = evidence_of(m).state == PM_YES;
	use(way->before, m, -1, pm_base(m));
	struct pm_statistics before = statistics_of(m);
	uint64_t first = commit(m, pm_base(m), 0);
	if (is_counted)
		check_count(way, m, before, first);
	uint64_t later = commit(m, pm_base(m), 8) / COMMITS;
	CHECK(evidence_of(m).value == statistics_of(m).bytes_beyond);
	end_use();
	CHECK(pm_unmap(m) == 0);
	uint64_t raw = way->before == ANOTHER_MAPS ? first / COMMITS : commit_by_msync(way->cached, way->before);
	first /= COMMITS;
	printf("%s: %s: %llu bytes a commit, later %llu, msync %llu\n", directory, way->what, (unsigned long long)first,
	       (unsigned long long)later, (unsigned long long)raw);
	CHECK(first <= MOST || way->promise != EACH, "%s: %llu bytes a commit", way->what, (unsigned long long)first);
	CHECK(later <= MOST || way->promise == COUNTED, "%s: later %llu bytes a commit", way->what,
	      (unsigned long long)later);
	/* The row is right, and the control can fail. Before Linux 6.6 write(2) makes no large folios. */
	CHECK(raw <= MOST || possible, "%s: msync wrote %llu", way->what, (unsigned long long)raw);
	if (way->before == LOADED || way->before == READ || way->before == ANOTHER_READS)
		CHECK(raw > MOST || !possible, "%s: msync wrote %llu", way->what, (unsigned long long)raw);
}

/* A split changes no memory, and writes no page: neither what is flushed for later, nor what is only stored. */
static void check_neighbours(void)
{
	enum { FOREIGN = 64, AT = 70, FLUSHED = 80, STORED = 90 };
	const struct way way = {.cached = COLD, .before = ANOTHER_READS};
	size = SIZE;
	struct pm_mapping *m = map(&way);
	char *base = pm_base(m);
	use(way.before, m, -1, base);
	CHECK(mmap(base + FOREIGN * 4096, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
	           0) != MAP_FAILED);
	memset(base + FOREIGN * 4096, 7, 4096);
	base[AT * 4096]++;
	CHECK(pm_persist(m, base + AT * 4096, 1) == 0);
	base[FLUSHED * 4096]++;
	base[STORED * 4096]++;
	CHECK(pm_flush(m, base + FLUSHED * 4096, 1) == 0);
	uint64_t before = bytes_written();
	base[(AT + 1) * 4096]++;
	CHECK(pm_commit(m, &(struct pm_range){base + (AT + 1) * 4096, 1}, 1) == 0);
	CHECK(bytes_written() - before <= MOST);
	for (size_t i = 0; i < 4096; i++)
		CHECK(base[FOREIGN * 4096 + i] == 7);
	pm_unmap(m);
}

/* ---- The first commit of a mapping that was just made or resized ---- */

static const struct start {
	const char *what;
	bool exists; /* as one hole */
	unsigned flags;
	size_t length;  /* at first */
	enum promise promise;
} starts[] = {
	{"created and prepared", false, PM_CREATE | PM_PREPARE, SIZE, EACH},
	{"a hole, prepared", true, PM_PREPARE, SIZE, EACH},
	{"created, prepared and resized", false, PM_CREATE | PM_PREPARE, SIZE / 4, EACH},
	/* The first block that is written splits an extent: the commit has that metadata. */
	{"created", false, PM_CREATE, SIZE, COUNTED},
};

static struct pm_mapping *begin(const struct start *start)
{
	struct pm_options o = {.size = sizeof(o), .flags = start->flags, .length = start->length};
	struct pm_mapping *m = NULL;
	unlink(path);
	int fd = start->exists ? open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
	CHECK(!start->exists || !ftruncate(fd, (off_t)SIZE));
	if (fd >= 0)
		close(fd);
	sync();
	CHECK(!pm_map(path, &o, &m) && (start->length == SIZE || !pm_resize(m, SIZE)));
	return m;
}

struct written {
	uint64_t by_commit, with_rest; /* the kernel writes the rest later */
};

static struct written commit_and_sync(struct pm_mapping *m, size_t at)
{
	char *base = pm_base(m);
	struct written written;
	uint64_t before = bytes_written();
	base[at]++;
	CHECK(!pm_persist(m, base + at, 1));
	written.by_commit = bytes_written() - before;
	sync();
	written.with_rest = bytes_written() - before;
	printf("%llu bytes, with all that was dirty %llu\n", (unsigned long long)written.by_commit,
	       (unsigned long long)written.with_rest);
	return written;
}

/* The control makes every page dirty by write faults first. */
static void check_start(const char *directory, const struct start *start)
{
	struct pm_mapping *m = begin(start);
	if (!m)
		return;
	printf("%s: %s: the first commit: ", directory, start->what);
	struct written first = commit_and_sync(m, SIZE / 2 + 5);
	CHECK(first.by_commit <= MOST || start->promise != EACH);
	CHECK(first.with_rest <= JOURNAL);
	CHECK(!madvise(pm_base(m), SIZE, MADV_POPULATE_WRITE));
	printf("%s: %s: populated for writing: ", directory, start->what);
	CHECK(commit_and_sync(m, SIZE / 2 + 5).with_rest >= SIZE);
	CHECK(!pm_unmap(m));
}

/* Linux 6.5 */
static bool kernel_counts(void)
{
	struct utsname name;
	unsigned major = 0, minor = 0;
	CHECK(!uname(&name) && sscanf(name.release, "%u.%u", &major, &minor) == 2);
	return major > 6 || (major == 6 && minor >= 5);
}

static void check(const char *directory, bool is_whole)
{
	snprintf(path, sizeof(path), "%s/folios", directory);
	for (size_t i = 0; is_whole && i < sizeof(ways) / sizeof(ways[0]); i++)
		check_way(directory, &ways[i], kernel_counts());
	if (is_whole)
		check_neighbours();
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
		check_start(directory, &starts[i]);
	unlink(path);
}

int main(int argc, char **argv)
{
	bool is_whole = true;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "first"))
			is_whole = false;
		else
			check(argv[i], is_whole);
	}
	printf("%d failures\n", failures);
	return failures != 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What does coalescing on drain save on the page cache? 16 flushes in one page and a drain, 32 and 64 scattered pages,
 * two pages with others' stores in between, and a log drained every 8 records; against libpmem2 (a synchronous msync a
 * flush) and against what a program can do that remembers its pages itself: one msync from the first to the last, one
 * fdatasync, or a sync_file_range of each run of pages and the msync of the last, which on ext4 and XFS is known to be
 * durable (lib/durability/writeback_calls.c). Once with the cache as a first walk through the file leaves it, where
 * readahead makes folios of up to megabytes and a store makes all of its folio dirty; and once with folios of a page
 * (MADV_RANDOM). Usage: page_flush [DIRECTORY]
 */
#include <fcntl.h>
#include <libpmem2.h>
#include <pmdirect.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define PAGE ((size_t)4096)
#define MOST 64 /* flushes */
#define COMPETITORS 5

/* Each competitor stores to one of its own: what one leaves dirty the others need not write. */
struct file {
	int fd;
	char *base;
	struct pm_mapping *mapping; /* ours alone */
	struct pmem2_map *theirs;   /* libpmem2's alone */
	size_t end;                 /* of the log */
};

static size_t size; /* of a file */
static pmem2_flush_fn their_flush;
static pmem2_drain_fn their_drain;

static void must(int good, const char *why)
{
	if (!good) {
		fprintf(stderr, "page_flush: %s\n", why);
		exit(1);
	}
}

/* ---- What is stored: flush after flush, and then a drain ---- */

static size_t flushes, length; /* how many, and the bytes of each */
static char *(*store)(struct file *f, size_t k);
static size_t stride, between; /* bytes from one flush to the next; pages stored to in between and not flushed */

static char *store_scattered(struct file *f, size_t k)
{
	char *at = f->base + k * stride;
	++*at;
	for (size_t i = 0; i < between && k + 1 < flushes; i++)
		at[(i + 1) * stride / (between + 1)]++;
	return at;
}

/* One behind the other; the log begins anew at its end. */
static char *store_record(struct file *f, size_t k)
{
	f->end = f->end + length > size ? 0 : f->end;
	char *record = f->base + f->end;
	memset(record, (int)k, length);
	f->end += length;
	return record;
}

/* ---- Competitors ---- */

static void run_ours(void *file, size_t operations)
{
	struct file *f = file;
	while (operations--) {
		for (size_t k = 0; k < flushes; k++)
			must(!pm_flush(f->mapping, store(f, k), length), pm_error_detail());
		must(!pm_drain(f->mapping), pm_error_detail());
	}
}

static void run_theirs(void *file, size_t operations)
{
	while (operations--) {
		for (size_t k = 0; k < flushes; k++)
			their_flush(store(file, k), length);
		their_drain();
	}
}

/* Of whole pages, in bytes from the beginning of the file. */
struct run {
	size_t first, end;
};

/* Stores, and remembers where; what begins in the run before, or right behind it, makes that longer. */
static size_t store_runs(struct file *f, struct run *ret_runs)
{
	size_t count = 0;
	for (size_t k = 0; k < flushes; k++) {
		size_t at = (size_t)(store(f, k) - f->base);
		struct run next = {at & ~(PAGE - 1), (at + length + PAGE - 1) & ~(PAGE - 1)};
		if (count && next.first >= ret_runs[count - 1].first && next.first <= ret_runs[count - 1].end)
			ret_runs[count - 1].end = next.end;
		else
			ret_runs[count++] = next;
	}
	return count;
}

static void run_msync(void *file, size_t operations)
{
	struct file *f = file;
	struct run run[MOST];
	while (operations--) {
		size_t count = store_runs(f, run);
		struct run all = run[0];
		for (size_t i = 1; i < count; i++) {
			all.first = run[i].first < all.first ? run[i].first : all.first;
			all.end = run[i].end > all.end ? run[i].end : all.end;
		}
		must(!msync(f->base + all.first, all.end - all.first, MS_SYNC), "msync");
	}
}

static void run_fdatasync(void *file, size_t operations)
{
	struct file *f = file;
	while (operations--) {
		for (size_t k = 0; k < flushes; k++)
			store(f, k);
		must(!fdatasync(f->fd), "fdatasync");
	}
}

static void write_run(struct file *f, struct run run, unsigned flags)
{
	must(!sync_file_range(f->fd, (off_t)run.first, (off_t)(run.end - run.first), flags), "sync_file_range");
}

/* Starts all before it waits for the first. */
static void run_ranges(void *file, size_t operations)
{
	struct file *f = file;
	struct run run[MOST];
	while (operations--) {
		size_t last = store_runs(f, run) - 1;
		for (size_t i = 0; i < last; i++)
			write_run(f, run[i], SYNC_FILE_RANGE_WRITE);
		for (size_t i = 0; i < last; i++)
			write_run(f, run[i], SYNC_FILE_RANGE_WRITE_AND_WAIT);
		must(!msync(f->base + run[last].first, run[last].end - run[last].first, MS_SYNC), "msync");
	}
}

/* ---- The table ---- */

static void compare_one(const char *words, const char *folios, const struct competitor *all, size_t operations,
			int rounds)
{
	char what[192];
	snprintf(what, sizeof(what), "%s, %s", words, folios);
	bench_compare(what, all, COMPETITORS, operations, rounds);
}

static void compare(const char *folios, const struct competitor *all)
{
	char words[128];
	store = store_scattered;
	length = 64;
	flushes = 16;
	stride = 256;
	compare_one("16 flushes in one page and a drain", folios, all, 4, 9);
	flushes = 32;
	stride = size / flushes;
	compare_one("32 flushes in scattered pages and a drain", folios, all, 1, 9);
	flushes = 64;
	stride = size / flushes;
	compare_one("64 flushes in scattered pages and a drain", folios, all, 1, 9);
	flushes = 2;
	stride = size / flushes;
	between = stride / (4 * PAGE);
	snprintf(words, sizeof(words),
		 "2 flushes, %zu MiB apart, and a drain; %zu stores in between that no call flushes", stride >> 20,
		 between);
	compare_one(words, folios, all, 1, 9);
	between = 0;
	store = store_record;
	length = 100;
	flushes = 8;
	compare_one("8 records of 100 bytes appended to a log and a drain", folios, all, 4, 9);
}

/* ---- Files ---- */

static void make_file(const char *directory, struct file *f)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/page_flush.XXXXXX", directory);
	f->fd = mkstemp(path);
	must(f->fd >= 0 && !unlink(path) && !posix_fallocate(f->fd, 0, (off_t)size), "the file cannot be made");
}

static void map_ours(struct file *f)
{
	struct pm_options options = {.size = sizeof(options), .length = size};
	must(!pm_map_fd(f->fd, &options, &f->mapping), pm_error_detail());
	f->base = pm_base(f->mapping);
}

static void map_theirs(struct file *f)
{
	struct pmem2_config *config;
	struct pmem2_source *source;
	must(!pmem2_config_new(&config) && !pmem2_source_from_fd(&source, f->fd) &&
		     !pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE) &&
		     !pmem2_map_new(&f->theirs, config, source),
	     "libpmem2");
	pmem2_source_delete(&source);
	pmem2_config_delete(&config);
	f->base = pmem2_map_get_address(f->theirs);
	their_flush = pmem2_get_flush_fn(f->theirs);
	their_drain = pmem2_get_drain_fn(f->theirs);
}

static void map_raw(struct file *f)
{
	f->base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	must(f->base != MAP_FAILED, "mmap");
}

static void unmap(struct file *f)
{
	if (f->mapping)
		must(!pm_unmap(f->mapping), pm_error_detail());
	else if (f->theirs)
		must(!pmem2_map_delete(&f->theirs), "libpmem2");
	else
		must(!munmap(f->base, size), "munmap");
	close(f->fd);
}

static void run(const char *directory, bool small_folios)
{
	static void (*const map[COMPETITORS])(struct file *) = {map_ours, map_theirs, map_raw, map_raw, map_raw};
	struct file f[COMPETITORS] = {0};
	for (int i = 0; i < COMPETITORS; i++) {
		make_file(directory, &f[i]);
		map[i](&f[i]);
		must(!small_folios || !madvise(f[i].base, size, MADV_RANDOM), "madvise");
		memset(f[i].base, 1, size);
		must(!msync(f[i].base, size, MS_SYNC), "msync");
	}
	const struct competitor all[COMPETITORS] = {
		{"pm_flush ..., pm_drain", run_ours, &f[0]},       {"libpmem2 flush ..., drain", run_theirs, &f[1]},
		{"one msync over all", run_msync, &f[2]},          {"one fdatasync", run_fdatasync, &f[3]},
		{"sync_file_range ..., msync", run_ranges, &f[4]},
	};
	compare(small_folios ? "cached in single pages" : "cached as readahead does", all);
	for (int i = 0; i < COMPETITORS; i++)
		unmap(&f[i]);
}

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "What does coalescing on drain save on the page cache?");
	const char *directory = argc > 1 ? argv[1] : ".";
	size = (size_t)(bench_quick() ? 16 : 64) << 20;
	bench_machine(directory);
	run(directory, false);
	run(directory, true);
	return 0;
}

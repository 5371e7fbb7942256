/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the mapping, read(2) and write(2), O_DIRECT and other mappings of one file see of each other: the statements
 * of pm_durability(7), "Mixing". Runs in the guest: test_mixing DIRECTORY...
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <pmdirect.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

#define PAGE ((size_t)4096)
#define SIZE (64 * PAGE)
#define SECTOR ((size_t)512)
#define ROUNDS 320u

static char path[256];
static _Alignas(4096) char buffer[4096];

static bool is_direct(void)
{
	return strstr(place_checked, "dax");
}

static struct pm_mapping *map(unsigned flags, enum pm_request sync)
{
	struct pm_options o = {.size = sizeof(o), .flags = flags, .sync = sync};
	struct pm_mapping *m;
	if (!pm_map(path, &o, &m))
		return m;
	printf("%s\n", pm_error_detail());
	exit(1);
}

static const char *on_file(int fd, size_t at)
{
	memset(buffer, 0, PAGE);
	CHECK(pread(fd, buffer, PAGE, (off_t)at) == (ssize_t)PAGE);
	return buffer;
}

/* Whether the file shows the page full of this byte, by that descriptor. */
static bool reads(int fd, size_t at, char c)
{
	return on_file(fd, at)[0] == c && !memcmp(buffer, buffer + 1, PAGE - 1);
}

static bool writes(int fd, size_t at, char c)
{
	memset(buffer, c, PAGE);
	return pwrite(fd, buffer, PAGE, (off_t)at) == (ssize_t)PAGE;
}

static bool shows(const struct pm_mapping *m, size_t at, char c)
{
	const char *page = (const char *)pm_base(m) + at;
	return page[0] == c && !memcmp(page, page + 1, PAGE - 1);
}

/* One after the other, nothing persisted: each sees what the others did last. */
static void in_turns(struct pm_mapping *m, int fd)
{
	char *page = (char *)pm_base(m) + PAGE;
	memset(page, 'a', PAGE);
	CHECK(reads(fd, PAGE, 'a'));
	CHECK(writes(fd, PAGE, 'b') && shows(m, PAGE, 'b'));
	memset(page, 'c', PAGE);
	CHECK(reads(fd, PAGE, 'c'));
	CHECK(pm_persist(m, page, PAGE) == 0);
	CHECK(writes(fd, PAGE, 'd') && shows(m, PAGE, 'd'));
	CHECK(reads(fd, PAGE, 'd'));
}

static void check_read_and_write(void)
{
	struct pm_mapping *m = map(0, PM_HINT);
	int plain = open(path, O_RDWR), direct = open(path, O_RDWR | O_DIRECT);
	in_turns(m, plain);
	in_turns(m, direct);
	close(plain);
	close(direct);
	CHECK(pm_unmap(m) == 0);
}

/* The library opens the file anew: what the descriptor was opened with does not matter to the mapping. */
static void check_descriptor(void)
{
	struct pm_options o = {.size = sizeof(o)};
	struct pm_mapping *m;
	static const int flags[] = {O_DIRECT, O_DIRECT | O_DSYNC, O_APPEND, O_NONBLOCK | O_NOATIME};
	enum pm_granularity expected = is_direct() ? PM_CACHE_LINE : PM_PAGE;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		int fd = open(path, O_RDWR | flags[i]);
		o.direct = PM_HINT;
		CHECK(pm_map_fd(fd, &o, &m) == 0);
		CHECK(pm_granularity_of(m) == expected);
		if (!(flags[i] & O_APPEND))
			in_turns(m, fd);
		CHECK(pm_unmap(m) == 0);
		/* O_DIRECT does not make a mapping direct; a guarantee is about the mapping. */
		o.direct = PM_GUARANTEE;
		int rc = pm_map_fd(fd, &o, &m);
		CHECK(rc == (is_direct() ? 0 : -PM_ENOTDIRECT));
		if (!rc)
			CHECK(pm_unmap(m) == 0);
		close(fd);
	}
}

/* Mappings of different granularity show the same bytes, and each keeps its own promise. */
static void check_two_mappings(void)
{
	struct pm_mapping *fine = map(0, PM_HINT), *coarse = map(0, PM_AVOID), *copy = map(PM_PRIVATE, PM_HINT);
	struct pm_report r;
	char *a = pm_base(fine), *b = pm_base(coarse), *c = pm_base(copy);
	CHECK(pm_granularity_of(fine) == (is_direct() ? PM_CACHE_LINE : PM_PAGE));
	CHECK(pm_granularity_of(coarse) == PM_PAGE);
	CHECK(pm_granularity_of(copy) == PM_NONE);
	for (int i = 0; i < 20; i++) {
		memset(a + 2 * PAGE, 'A' + i, PAGE);
		CHECK(shows(coarse, 2 * PAGE, (char)('A' + i)) && shows(copy, 2 * PAGE, (char)('A' + i)));
		CHECK(pm_persist(coarse, b + 2 * PAGE, PAGE) == 0);
		memset(b + 2 * PAGE, 'a' + i, PAGE);
		CHECK(shows(fine, 2 * PAGE, (char)('a' + i)));
		CHECK(pm_persist(fine, a + 2 * PAGE, PAGE) == 0);
	}
	/* A private page is its own from its first store on. */
	c[2 * PAGE] = '!';
	memset(a + 2 * PAGE, 'z', PAGE);
	CHECK(c[2 * PAGE] == '!' && c[2 * PAGE + 1] == 'a' + 19 && shows(coarse, 2 * PAGE, 'z'));
	CHECK(pm_query(fine, &r, sizeof(r)) == 0 && r.granularity == (is_direct() ? PM_CACHE_LINE : PM_PAGE));
	CHECK(pm_unmap(copy) == 0);
	CHECK(pm_unmap(coarse) == 0);
	CHECK(pm_unmap(fine) == 0);
}

/* Physical offset of the file's beginning. */
static uint64_t place_of(int fd)
{
	_Alignas(struct fiemap) char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)] = {0};
	struct fiemap *map = (struct fiemap *)room;
	map->fm_length = PAGE;
	map->fm_extent_count = 1;
	CHECK(ioctl(fd, FS_IOC_FIEMAP, map) == 0 && map->fm_mapped_extents == 1);
	return map->fm_extents[0].fe_physical - map->fm_extents[0].fe_logical;
}

/* The device has a page cache of its own, which no user of the file reads. Ends the use of the file. */
static void check_block_device(void)
{
	struct pm_mapping *m = map(0, PM_HINT);
	struct stat st;
	int file = open(path, O_RDONLY);
	memset(pm_base(m), 'm', PAGE);
	CHECK(pm_sync(m) == 0 && fstat(file, &st) == 0);
	CHECK(mknod("/tmp/node", S_IFBLK | 0600, st.st_dev) == 0);
	int device = open("/tmp/node", O_RDWR);
	uint64_t at = place_of(file);
	CHECK(device >= 0 && writes(device, at, 'd'));
	CHECK(shows(m, 0, 'm') && reads(file, 0, 'm') && reads(device, at, 'd'));
	unlink("/tmp/node");
	close(device);
	close(file);
	CHECK(pm_unmap(m) == 0);
}

/* ---- At the same time ---- */

static atomic_bool stop;
static atomic_uint lost_stores;

/* Stores into the first sector of a page, as the only thread. */
static void *store_on(void *arg)
{
	volatile uint64_t *at = arg;
	for (uint64_t i = 1; !atomic_load(&stop); i++) {
		at[0] = i;
		for (int spin = 0; spin < 50; spin++)
			if (at[0] != i)
				atomic_fetch_add(&lost_stores, 1);
	}
	return NULL;
}

/*
 * O_DIRECT into the second sector of that page. Without a page cache neither disturbs the other. With one the kernel
 * drops the cached page behind the write, and cannot if it was made dirty meanwhile: mapping and file differ. It
 * notes that as an error of the file (mm/filemap.c dio_warn_stale_pagecache), and so the next persist fails.
 */
static void check_collision(void)
{
	struct pm_mapping *m = map(0, PM_HINT);
	char *page = (char *)pm_base(m) + 3 * PAGE;
	int fd = open(path, O_RDWR | O_DIRECT);
	unsigned stale = 0, gone = 0, failed = 0, refused = 0;
	pthread_t thread;
	atomic_store(&stop, false);
	atomic_store(&lost_stores, 0);
	CHECK(pthread_create(&thread, NULL, store_on, page) == 0);
	for (unsigned i = 1; i <= ROUNDS; i++) {
		memset(buffer, (int)i, SECTOR);
		failed += pwrite(fd, buffer, SECTOR, (off_t)(3 * PAGE + SECTOR)) != (ssize_t)SECTOR;
		stale += page[SECTOR] != (char)i;
		if (i % 16 == 0) {
			refused += pm_persist(m, page, PAGE) != 0;
			gone += on_file(fd, 3 * PAGE)[SECTOR] != (char)i;
		}
	}
	refused += pm_persist(m, page, PAGE) != 0;
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	printf("%s: O_DIRECT beside stores: of %u writes %u not seen in the mapping, %u not in the file; "
	       "%u persists failed\n",
	       place_checked, ROUNDS, stale, gone, refused);
	CHECK(failed + atomic_load(&lost_stores) == 0);
	CHECK(stale + gone == 0 || refused);
	CHECK(!is_direct() || stale + gone + refused == 0);
	/* Once it is over; the first attempt may still meet an error that no call has returned yet. */
	CHECK(pm_clear_error(m) == 0 || pm_clear_error(m) == 0);
	CHECK(pm_persist(m, page, PAGE) == 0 && !memcmp(page, on_file(fd, 3 * PAGE), PAGE));
	close(fd);
	CHECK(pm_unmap(m) == 0);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		place_checked = argv[i];
		snprintf(path, sizeof(path), "%s/mixing", place_checked);
		struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE | PM_PREPARE, .length = SIZE};
		struct pm_mapping *m;
		CHECK(pm_map(path, &o, &m) == 0);
		CHECK(pm_unmap(m) == 0);
		check_read_and_write();
		check_descriptor();
		check_two_mappings();
		check_collision();
		check_block_device();
	}
	printf("%d failures\n", failures);
	return failures != 0;
}

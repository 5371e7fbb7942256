/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the library says of a range with bad blocks, that it maps it all the same, and reads and writes what is good.
 * The emulated memory can clear nothing, so that a clearing must be an error. Runs in the guest:
 * test_health FILE DISK, with FILE written and DISK's list of bad blocks writable (drivers/nvdimm/pmem.c heeds it).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <pmdirect.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "check.h"

#define AT 65536u /* where in the file the block goes bad */
#define BLOCK 4096u

static uint64_t place_on_disk(int fd, uint64_t offset)
{
	_Alignas(struct fiemap) char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)] = {0};
	struct fiemap *map = (struct fiemap *)room;
	*map = (struct fiemap){.fm_start = offset, .fm_length = BLOCK, .fm_extent_count = 1};
	CHECK(ioctl(fd, FS_IOC_FIEMAP, map) == 0 && map->fm_mapped_extents == 1, "%s", strerror(errno));
	return map->fm_extents[0].fe_physical + (offset - map->fm_extents[0].fe_logical);
}

static void make_bad(const char *disk, uint64_t place)
{
	char path[128];
	snprintf(path, sizeof(path), "/sys/block/%s/badblocks", disk);
	FILE *list = fopen(path, "w");
	CHECK(list && fprintf(list, "%" PRIu64 " %u\n", place / 512, BLOCK / 512) > 0 && fclose(list) == 0, "%s: %s",
	      path, strerror(errno));
}

/* Only the bad block cannot be read, and the process lives. */
static void check_reads(const char *path)
{
	static char bytes[3 * BLOCK];
	struct pm_mapping *m;
	int rc = pm_map(path, NULL, &m);
	CHECK(rc == 0, "%s", pm_error_detail());
	if (rc)
		return;
	char *base = pm_base(m);
	CHECK(pm_read(m, bytes, base + AT - BLOCK, sizeof(bytes)) == -EIO, "a bad block was read");
	printf("%s\n", pm_error_detail());
	CHECK(pm_read(m, bytes, base + AT, 1) == -EIO, "a bad block was read");
	memset(base + AT - BLOCK, 'x', BLOCK);
	CHECK(pm_read(m, bytes, base + AT - BLOCK, BLOCK) == 0 && bytes[0] == 'x', "%s", pm_error_detail());
	CHECK(pm_read(m, bytes, base + AT + BLOCK, BLOCK) == 0, "%s", pm_error_detail());
	CHECK(pm_unmap(m) == 0, "%s", pm_error_detail());
}

static int load(void *at)
{
	return *(volatile char *)at ? 8 : 9;
}

static int store(void *at)
{
	return *(volatile char *)at = 7;
}

/* Newer kernels say by the signal that memory failed (fs/dax.c dax_fault_return); others leave it to be found out. */
static void check_guard(const char *path)
{
	static int (*const accesses[])(void *) = {load, store};
	struct pm_mapping *m;
	struct pm_fault f;
	int rc = pm_guard_install() || pm_map(path, NULL, &m);
	CHECK(rc == 0, "%s", pm_error_detail());
	if (rc)
		return;
	char *base = pm_base(m);
	for (unsigned i = 0; i < 2; i++) {
		rc = pm_guarded(m, accesses[i], base + AT + 5, &f, sizeof(f));
		CHECK(f.code == BUS_ADRERR ? rc == -EIO && strstr(pm_error_detail(), "the medium failed")
		                           : rc == -EHWPOISON,
		      "%d (si_code %d): %s", rc, f.code, pm_error_detail());
		CHECK(pm_guarded(m, accesses[i], base + AT - 1, &f, sizeof(f)) >= 7, "%s", pm_error_detail());
	}
	CHECK(pm_unmap(m) == 0 && pm_guard_remove() == 0, "%s", pm_error_detail());
}

static bool file_has(const char *path, uint64_t offset, const char *bytes, size_t length)
{
	static char back[4 * BLOCK];
	int fd = open(path, O_RDONLY);
	bool same = pread(fd, back, length, (off_t)offset) == (ssize_t)length && !memcmp(back, bytes, length);
	close(fd);
	return same;
}

/* What is good is written, seen and durable; a bad block is an error; a clearing that did not happen is none. */
static void check_writes(const char *path)
{
	static char bytes[2 * BLOCK], before[BLOCK];
	struct pm_event event;
	struct pm_mapping *m;
	int rc = pm_map(path, NULL, &m);
	CHECK(rc == 0 && pm_event_fd(m) >= 0, "%s", pm_error_detail());
	if (rc)
		return;
	char *base = pm_base(m), *good = base + AT + 2 * BLOCK + 100;
	memset(bytes, 'w', sizeof(bytes));
	while (pm_next_event(m, &event, sizeof(event)) == 0)
		;
	good[0] = '#'; /* mapped by now */
	CHECK(pm_write(m, good, bytes, sizeof(bytes)) == 0, "%s", pm_error_detail());
	CHECK(!memcmp(good, bytes, sizeof(bytes)), "a load does not see it");
	CHECK(file_has(path, AT + 2 * BLOCK + 100, bytes, sizeof(bytes)), "read(2) does not see it");
	CHECK(pm_next_event(m, &event, sizeof(event)) == -EAGAIN, "event %d", event.kind);
	memcpy(before, base + AT - BLOCK, BLOCK);
	static const struct {
		uint64_t from, length;
	} bad[] = {{0, BLOCK}, {100, 10}, {BLOCK - 1, 2}, {512, 512}};
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rc = pm_write(m, base + AT + bad[i].from, bytes, bad[i].length);
		CHECK(rc == -EIO, "%d of a write at %u: %s", rc, (unsigned)bad[i].from, pm_error_detail());
	}
	printf("%s\n", pm_error_detail());
	rc = pm_clear_bad_blocks(m, base, pm_length(m));
	CHECK(rc == -EIO, "%d of a clearing", rc);
	CHECK(strstr(pm_error_detail(), "65536"), "%s", pm_error_detail());
	printf("%s\n", pm_error_detail());
	CHECK(pm_clear_bad_blocks(m, base, AT) == 0, "%s", pm_error_detail());
	CHECK(!memcmp(before, base + AT - BLOCK, BLOCK) && !memcmp(good, bytes, sizeof(bytes)), "beside it");
	CHECK(pm_next_event(m, &event, sizeof(event)) == -EAGAIN, "event %d", event.kind);
	CHECK(pm_drain(m) == 0 && pm_unmap(m) == 0, "%s", pm_error_detail());
}

/* Maps, asks, unmaps: what is bad elsewhere must not count. */
static void check_rows(const char *path, uint64_t offset, uint64_t length, enum pm_state bad)
{
	struct pm_options o = {.size = sizeof(o), .offset = offset, .length = length};
	struct pm_mapping *m;
	struct pm_report r;
	char text[1024];
	int rc = pm_map(path, &o, &m);
	CHECK(rc == 0, "%s", pm_error_detail());
	if (rc)
		return;
	CHECK(pm_query(m, &r, sizeof(r)) == 0, "%s", pm_error_detail());
	pm_explain(&r, text, sizeof(text));
	for (unsigned i = PM_EV_BAD_BLOCKS; i <= PM_EV_PAGE_SIZE; i++)
		printf("%-20s %-8s %d %" PRIu64 " %s\n", pm_evidence_name((enum pm_evidence_row)i),
		       pm_state_name(r.evidence[i].state), r.evidence[i].error, r.evidence[i].value,
		       r.evidence[i].text);
	const struct pm_evidence *e = &r.evidence[PM_EV_BAD_BLOCKS];
	CHECK(e->state == bad, "%s, expected %s: error %d", pm_state_name(e->state), pm_state_name(bad), e->error);
	CHECK(bad != PM_YES || e->value == AT, "first at %" PRIu64, e->value);
	CHECK(bad != PM_YES || !strcmp(e->text, "8 sectors of 512 bytes"), "%s", e->text);
	CHECK(!strstr(text, "bad blocks") == (bad != PM_YES), "%s", text);
	CHECK(r.granularity == PM_CACHE_LINE, "%s", pm_granularity_name(r.granularity));
	CHECK(r.evidence[PM_EV_NUMA_NODE].state != PM_NO, "a node is known or unknown");
	CHECK(pm_unmap(m) == 0, "%s", pm_error_detail());
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return fprintf(stderr, "usage: %s FILE DISK\n", argv[0]), 2;
	int fd = open(argv[1], O_RDWR);
	char block[BLOCK];
	CHECK(fd >= 0, "%s: %s", argv[1], strerror(errno));
	check_rows(argv[1], 0, 0, PM_NO);
	make_bad(argv[2], place_on_disk(fd, AT));
	check_rows(argv[1], 0, 0, PM_YES);
	check_rows(argv[1], 0, AT, PM_NO);
	check_rows(argv[1], AT + BLOCK, 0, PM_NO);
	check_reads(argv[1]);
	check_guard(argv[1]);
	check_writes(argv[1]);
	/* It is really bad, for the kernel. */
	CHECK(pread(fd, block, BLOCK, AT) == -1 && errno == EIO, "%s", strerror(errno));
	close(fd);
	printf("%d failures\n", failures);
	return failures != 0;
}

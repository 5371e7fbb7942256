/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which calls reach the volatile cache of the device: counts the flushes that the block layer hands to its driver,
 * in the kernel's trace; and which pages of a DAX file the kernel writes back when a large mapping is synced. Runs in
 * the guest as root: test_flushes PATH..., each a directory or a block device.
 */
#include <errno.h>
#include <fcntl.h>
#include <pmdirect.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "check.h"

#define PAGE ((size_t)4096)
#define SIZE (64 * PAGE)
#define TRACING "/sys/kernel/tracing/"


/* ---- The trace ---- */

static bool put(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_TRUNC);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return good;
}

static bool start_tracing(void)
{
	if (mount("tracefs", TRACING, "tracefs", 0, NULL) && errno != EBUSY)
		return false;
	return put(TRACING "events/block/block_bio_queue/enable", "1") &&
	       put(TRACING "events/block/block_rq_issue/enable", "1") &&
	       put(TRACING "events/fs_dax/dax_writeback_one/enable", "1");
}

static dev_t device_of(const char *path)
{
	struct stat st;
	if (stat(path, &st))
		return 0;
	return S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
}

/* How many lines of the trace have this event with these flags, of this device. Forgets them. */
static unsigned events_of(dev_t device, const char *event, const char *flags)
{
	char line[512], wanted[64];
	unsigned count = 0;
	FILE *trace = fopen(TRACING "trace", "re");
	snprintf(wanted, sizeof(wanted), "%s: %u,%u %s", event, major(device), minor(device), flags);
	while (trace && fgets(line, sizeof(line), trace))
		count += strstr(line, wanted) != NULL;
	if (trace)
		fclose(trace);
	CHECK(trace && put(TRACING "trace", " "), "the trace cannot be read: %s", strerror(errno));
	return count;
}

/* "... block_bio_queue: 254,0 FWS ...": the first F of the flags means a flush before. */
static unsigned flushes_of(dev_t device)
{
	return events_of(device, "block_bio_queue", "F");
}

/* "... block_rq_issue: 254,0 FF ...": what the driver is given; also what stands in for FUA after a write. */
static unsigned flush_requests_of(dev_t device)
{
	return events_of(device, "block_rq_issue", "FF ");
}

/* ---- The calls ---- */

enum call { FLUSH, DRAIN, PERSIST, DEEP_PERSIST, SYNC, NOTHING_TO_DRAIN, CALLS };

static const struct {
	const char *name;
	bool page, line; /* whether it must flush the device, by granularity; elsewhere it must not */
} calls[CALLS] = {
	[FLUSH] = {"pm_flush", false, false},
	[DRAIN] = {"pm_drain", true, false},
	[PERSIST] = {"pm_persist", true, false},
	[DEEP_PERSIST] = {"pm_deep_persist", true, true},
	[SYNC] = {"pm_sync", true, true},
	[NOTHING_TO_DRAIN] = {"pm_drain of nothing", false, false},
};

static int do_call(enum call call, struct pm_mapping *m, char *at)
{
	switch (call) {
	case FLUSH:
		return pm_flush(m, at, 1);
	case PERSIST:
		return pm_persist(m, at, 1);
	case DEEP_PERSIST:
		return pm_deep_persist(m, at, 1);
	case SYNC:
		return pm_sync(m);
	default:
		return pm_drain(m);
	}
}

/*
 * Flushes during the call. Where there must be none, the kernel's own commit may fall into the moment: only a call
 * that flushes does so each time.
 */
static unsigned count_flushes(enum call call, bool expected, struct pm_mapping *m, char *at, dev_t device)
{
	unsigned count = 1;
	for (int attempt = 0; attempt < 3 && (expected ? !attempt : count); attempt++) {
		*at = (char)('f' + attempt);
		flushes_of(device);
		int rc = do_call(call, m, at);
		count = flushes_of(device);
		CHECK(rc == 0, "%s: %s", calls[call].name, pm_error_detail());
	}
	return count;
}

static void check_place(void)
{
	char path[256];
	struct stat st;
	bool node = !stat(place_checked, &st) && S_ISBLK(st.st_mode);
	struct pm_options o = {.size = sizeof(o), .flags = node ? 0 : PM_CREATE | PM_PREPARE, .length = SIZE};
	struct pm_mapping *m;
	snprintf(path, sizeof(path), node ? "%s" : "%s/flushes", place_checked);
	int rc = pm_map(path, &o, &m);
	CHECK(rc == 0, "%s", pm_error_detail());
	if (rc)
		return;
	char *base = pm_base(m);
	bool page = pm_granularity_of(m) == PM_PAGE;
	dev_t device = device_of(path);
	/* What set-up left to write must not be counted. */
	sync();
	printf("%s: %s", place_checked, pm_granularity_name(pm_granularity_of(m)));
	for (int i = 0; i < CALLS; i++) {
		bool expected = page ? calls[i].page : calls[i].line;
		unsigned count = count_flushes((enum call)i, expected, m, base + i, device);
		CHECK((count > 0) == expected, "%s: %u flushes", calls[i].name, count);
		printf(", %s %u", calls[i].name, count);
	}
	printf("\n");
	CHECK(pm_unmap(m) == 0, "%s", pm_error_detail());
}

/* ---- Scattered pages ---- */

#define SCATTERED 8
#define APART (32 * PAGE) /* further than what a drain writes as one range */

static unsigned drain_scattered(struct pm_mapping *m, dev_t device, char content)
{
	char *base = pm_base(m);
	for (size_t i = 0; i < SCATTERED; i++) {
		base[i * APART] = content;
		CHECK(pm_flush(m, base + i * APART, 1) == 0, "%s", pm_error_detail());
	}
	flush_requests_of(device);
	CHECK(pm_drain(m) == 0, "%s", pm_error_detail());
	return flush_requests_of(device);
}

/* Overwrites alone: the time of modification waits for the file system's own commit. That may fall into the moment. */
static void check_scattered(void)
{
	char path[256];
	struct stat st;
	bool node = !stat(place_checked, &st) && S_ISBLK(st.st_mode);
	struct pm_options o = {
		.size = sizeof(o), .flags = node ? 0 : PM_CREATE | PM_PREPARE, .length = SCATTERED * APART};
	struct pm_mapping *m;
	snprintf(path, sizeof(path), node ? "%s" : "%s/scattered", place_checked);
	int rc = pm_map(path, &o, &m);
	CHECK(rc == 0, "%s", pm_error_detail());
	if (rc)
		return;
	if (pm_granularity_of(m) == PM_PAGE) {
		unsigned count = 0;
		dev_t device = device_of(path);
		sync();
		for (int attempt = 0; attempt < 3 && count != 1; attempt++) {
			count = drain_scattered(m, device, (char)('s' + attempt));
			CHECK(count > 0, "the drain did not flush the device");
			printf("%s: pm_drain of %d scattered pages: %u flushes\n", place_checked, SCATTERED, count);
		}
		CHECK(count == 1, "%u flushes", count);
	}
	CHECK(pm_unmap(m) == 0, "%s", pm_error_detail());
}

/* ---- Large mappings of lines: what is left to the kernel ---- */

#define LARGE_PAGES ((size_t)5120) /* 20 MiB */

/* "... dax_writeback_one: dev 259:0 ino 0xc pgoff 0x7d0 pglen 0x1": how many pages, marked. Forgets them. */
static unsigned written_pages(bool written[static LARGE_PAGES])
{
	char line[512];
	unsigned count = 0;
	FILE *trace = fopen(TRACING "trace", "re");
	memset(written, 0, LARGE_PAGES);
	while (trace && fgets(line, sizeof(line), trace)) {
		const char *event = strstr(line, "dax_writeback_one: "), *at = event ? strstr(event, "pgoff ") : NULL;
		unsigned long first, length;
		if (!at || sscanf(at, "pgoff %lx pglen %lx", &first, &length) != 2)
			continue;
		count += (unsigned)length;
		for (unsigned long i = first; i < first + length && i < LARGE_PAGES; i++)
			written[i] = true;
	}
	if (trace)
		fclose(trace);
	CHECK(trace && put(TRACING "trace", " "), "the trace cannot be read: %s", strerror(errno));
	return count;
}

/*
 * The kernel finds each page that was stored to, be it of a mapping with MAP_SYNC, and writes the lines of few others.
 */
static void check_large(void)
{
	static const size_t stored[] = {1, 2047, 5000};
	static bool written[LARGE_PAGES];
	char path[256];
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE | PM_PREPARE, .length = LARGE_PAGES * PAGE};
	struct pm_mapping *m;
	struct stat st;
	snprintf(path, sizeof(path), "%s/large", place_checked);
	if (!stat(place_checked, &st) && S_ISBLK(st.st_mode))
		return;
	int rc = pm_map(path, &o, &m);
	CHECK(rc == 0, "%s", pm_error_detail());
	if (rc)
		return;
	if (pm_granularity_of(m) == PM_CACHE_LINE) {
		char *base = pm_base(m);
		CHECK(pm_sync(m) == 0, "%s", pm_error_detail());
		for (int round = 0; round < 3; round++) {
			written_pages(written);
			for (size_t i = 0; i < 3 && round < 2; i++)
				base[stored[i] * PAGE + 77]++;
			CHECK(pm_sync(m) == 0, "%s", pm_error_detail());
			unsigned count = written_pages(written);
			printf("%s: pm_sync of 20 MiB, %d pages stored to: %u written\n", place_checked,
			       round < 2 ? 3 : 0, count);
			for (size_t i = 0; i < 3 && round < 2; i++)
				CHECK(written[stored[i]], "page %zu was left out", stored[i]);
			/* A page of 2 MiB is written whole. */
			CHECK(count <= (round < 2 ? 3 * 512 : 0), "%u pages written", count);
		}
	}
	CHECK(pm_unmap(m) == 0, "%s", pm_error_detail());
	CHECK(unlink(path) == 0, "%s", strerror(errno));
}

/* ---- dax/write_cache, which root can switch at any time ---- */

static bool switch_write_cache(dev_t device, bool on)
{
	char path[80];
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/dax/write_cache", major(device), minor(device));
	return put(path, on ? "1" : "0");
}

/* Three ways to make stores durable, and what the report says meanwhile. What was stored is read back by read(2). */
static void use_switched(struct pm_mapping *m, const char *path, bool on)
{
	static const size_t stored[] = {1, 2047};
	char *base = pm_base(m), content = on ? 'y' : 'n', back = 0;
	struct pm_report r;
	CHECK(pm_query(m, &r, sizeof(r)) == 0, "%s", pm_error_detail());
	CHECK(r.evidence[PM_EV_WRITE_CACHE].state == (on ? PM_YES : PM_NO), "switched %s, told %s", on ? "on" : "off",
	      pm_state_name(r.evidence[PM_EV_WRITE_CACHE].state));
	int fd = open(path, O_RDONLY);
	for (size_t i = 0; i < 2; i++) {
		size_t at = stored[i] * PAGE + 500;
		base[at] = content;
		CHECK(pm_persist(m, base + at, 1) == 0, "%s", pm_error_detail());
		base[at + 1] = content;
		CHECK(pm_flush(m, base + at + 1, 1) == 0 && pm_drain(m) == 0, "%s", pm_error_detail());
		CHECK(pread(fd, &back, 1, (off_t)at + 1) == 1 && back == content, "read(2) has %d", back);
	}
	close(fd);
	CHECK(pm_sync(m) == 0, "%s", pm_error_detail());
}

/*
 * A large mapping of lines leaves a sync to the kernel only while the kernel writes CPU caches back: then the trace has
 * the page that was stored to, else the library walks over the lines and the kernel hears of the last page only.
 */
static void sync_switched(struct pm_mapping *m, bool on)
{
	static bool written[LARGE_PAGES];
	written_pages(written);
	((char *)pm_base(m))[PAGE + 77]++;
	CHECK(pm_sync(m) == 0, "%s", pm_error_detail());
	unsigned count = written_pages(written);
	printf("%s: write_cache %d: pm_sync leaves %u pages to the kernel\n", place_checked, on, count);
	CHECK(written[1] == on, "the page that was stored to was %sleft to the kernel", on ? "not " : "");
}

static void check_switched(enum pm_request sync, enum pm_granularity expected)
{
	char path[256];
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE | PM_PREPARE, .length = LARGE_PAGES * PAGE,
	                       .sync = sync};
	struct pm_mapping *m;
	snprintf(path, sizeof(path), "%s/switched", place_checked);
	int rc = pm_map(path, &o, &m);
	CHECK(rc == 0 && pm_granularity_of(m) == expected, "%s", pm_error_detail());
	if (rc)
		return;
	dev_t device = device_of(path);
	for (int round = 0; round < 4; round++) {
		bool on = round % 2;
		CHECK(switch_write_cache(device, on), "dax/write_cache cannot be switched: %s", strerror(errno));
		use_switched(m, path, on);
		if (expected == PM_CACHE_LINE)
			sync_switched(m, on);
	}
	CHECK(pm_unmap(m) == 0 && unlink(path) == 0, "%s", pm_error_detail());
}

static void check_write_cache(void)
{
	if (!strstr(place_checked, "-dax"))
		return;
	check_switched(PM_HINT, PM_CACHE_LINE);
	check_switched(PM_AVOID, PM_PAGE);
}

int main(int argc, char **argv)
{
	if (!start_tracing()) {
		printf("this kernel does not trace the block layer\n");
		return 77;
	}
	for (int i = 1; i < argc; i++) {
		place_checked = argv[i];
		check_place();
		check_scattered();
		check_large();
		check_write_cache();
	}
	printf("%d failures\n", failures);
	return failures != 0;
}

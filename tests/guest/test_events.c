/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Provokes what can happen to a file under a live mapping, for real, and expects one event for each cause, with the
 * right reason, and nothing else. Runs in the guest: test_events BACKING DIRECTORY [final|guarantee CAUSE]. A final
 * cause leaves the file system unusable.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <pmdirect.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define SIZE ((uint64_t)1 << 20)
#define EVENTS_MAX 16
#define QUIET_LOOKS 5
#define EXT4_SHUTDOWN _IOR('X', 125, uint32_t)

static char path[256], other[256];
static bool has_reflink, is_direct;

/* ---- What others do; the descriptor is one of our own path, opened with the cause's flags ---- */

static int do_nothing(int fd)
{
	(void)fd;
	return 0;
}

static int do_write(int fd)
{
	return pwrite(fd, "x", 1, 4096) == 1 ? 0 : -1;
}

static int do_truncate(int fd)
{
	(void)fd;
	return truncate(path, 65536);
}

static int do_punch(int fd)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 65536, 65536);
}

static int do_fallocate_collapse(int fd)
{
	return fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 65536, 65536);
}

static int do_clone(int fd)
{
	int to = open(other, O_RDWR | O_CREAT | O_TRUNC, 0600);
	int rc = ioctl(to, FICLONE, fd);
	close(to);
	return rc;
}

/* The other file is a clone of the same content, which dedupe then makes one with ours. */
static int do_dedupe(int fd)
{
	static char block[65536];
	_Alignas(struct file_dedupe_range) char room[256]; /* with one file_dedupe_range_info */
	struct file_dedupe_range *range = (struct file_dedupe_range *)room;
	int to = open(other, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (pread(fd, block, sizeof(block), 0) != sizeof(block) || write(to, block, sizeof(block)) != sizeof(block) ||
	    fsync(to))
		return -1;
	memset(room, 0, sizeof(room));
	*range = (struct file_dedupe_range){.src_length = sizeof(block), .dest_count = 1};
	range->info[0].dest_fd = to;
	int rc = ioctl(fd, FIDEDUPERANGE, range);
	close(to);
	return rc || range->info[0].status || range->info[0].bytes_deduped != sizeof(block) ? -1 : 0;
}

static int do_toggle_flag(int fd)
{
	struct fsxattr attributes;
	if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes))
		return -1;
	attributes.fsx_xflags ^= FS_XFLAG_DAX;
	return ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
}

static int do_unlink(int fd)
{
	(void)fd;
	return unlink(path);
}

/* Removed and made anew, as an editor does. */
static int do_replace(int fd)
{
	int to = open(other, O_RDWR | O_CREAT | O_TRUNC, 0600);
	(void)fd;
	close(to);
	return rename(other, path);
}

static int do_move(int fd)
{
	(void)fd;
	return rename(path, other);
}

static int do_unlink_one_name(int fd)
{
	(void)fd;
	return link(path, other) || unlink(path) ? -1 : 0;
}

/* ---- The rest cannot be undone ---- */

static int write_text(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY);
	int rc = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
	if (fd >= 0)
		close(fd);
	return rc;
}

/* proc(5) sysrq-trigger: u remounts everything read-only, by and by. */
static int do_read_only(int fd)
{
	struct statvfs fs = {.f_flag = 0};
	int rc = write_text("/proc/sysrq-trigger", "u");
	while (!rc && !fstatvfs(fd, &fs) && !(fs.f_flag & ST_RDONLY))
		usleep(10000);
	return rc;
}

/* The same number on ext4 and XFS (XFS_IOC_GOINGDOWN); 2: nothing is written before. */
static int do_shutdown(int fd)
{
	uint32_t how = 2;
	return ioctl(fd, EXT4_SHUTDOWN, &how);
}

/* A file of the disk under our path, in sysfs. */
static const char *disk_file(const char *name)
{
	static char file[128];
	struct stat st;
	if (stat(path, &st))
		return "";
	snprintf(file, sizeof(file), "/sys/dev/block/%u:%u/%s", major(st.st_dev), minor(st.st_dev), name);
	return file;
}

/* Root may add to the kernel's list of bad blocks, in sectors; the driver then fails them. */
static int do_wear(int fd)
{
	_Alignas(struct fiemap) char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
	struct fiemap *map = (struct fiemap *)room;
	char text[64];
	memset(room, 0, sizeof(room));
	*map = (struct fiemap){.fm_start = 65536, .fm_length = 4096, .fm_extent_count = 1};
	if (ioctl(fd, FS_IOC_FIEMAP, map) || !map->fm_mapped_extents)
		return -1;
	uint64_t physical = map->fm_extents[0].fe_physical + 65536 - map->fm_extents[0].fe_logical;
	snprintf(text, sizeof(text), "%" PRIu64 " 8", physical / 512);
	return write_text(disk_file("badblocks"), text);
}

static int do_unbind(int fd)
{
	(void)fd;
	char device[PATH_MAX];
	if (!realpath(disk_file("device"), device))
		return -1;
	return write_text(disk_file("device/driver/unbind"), strrchr(device, '/') + 1);
}

/* ---- The table ---- */

enum where { ANYWHERE, REFLINK, DIRECT };

struct told {
	enum pm_event_kind kind;
	enum pm_reason reason;
	uint64_t offset, length; /* 0: to the end of the range */
};

static const struct cause {
	const char *name;
	int (*act)(int fd);
	int flags; /* of the intruder's open(2) */
	enum where where;
	bool final;
	struct told told[4];
	struct told falls_back; /* on a mapping that had lines */
} causes[] = {
	{"reader", do_nothing, O_RDONLY, ANYWHERE, false, {{0}}, {0}},
	{"writer", do_nothing, O_RDWR, ANYWHERE, false, {{PM_EVENT_OPENED, PM_REASON_OPENED_WRITING, 0, 0}}, {0}},
	{"O_DIRECT", do_nothing, O_RDWR | O_DIRECT, ANYWHERE, false, {{PM_EVENT_OPENED, PM_REASON_OPENED_DIRECT, 0, 0}},
	 {0}},
	{"write", do_write, O_WRONLY, ANYWHERE, false,
	 {{PM_EVENT_OPENED, PM_REASON_OPENED_WRITING, 0, 0}, {PM_EVENT_MODIFIED, PM_REASON_MODIFIED, 0, 0}}, {0}},
	{"truncate", do_truncate, O_RDONLY, ANYWHERE, false, {{PM_EVENT_TRUNCATED, PM_REASON_TRUNCATED, 65536, 0}},
	 {PM_EVENT_DEMOTED, PM_REASON_TRUNCATED, 0, 0}},
	{"punch", do_punch, O_RDWR, ANYWHERE, false,
	 {{PM_EVENT_OPENED, PM_REASON_OPENED_WRITING, 0, 0}, {PM_EVENT_HOLE, PM_REASON_HOLE, 65536, 65536}},
	 {PM_EVENT_DEMOTED, PM_REASON_HOLE, 0, 0}},
	{"collapse", do_fallocate_collapse, O_RDWR, ANYWHERE, false,
	 {{PM_EVENT_OPENED, PM_REASON_OPENED_WRITING, 0, 0},
	  {PM_EVENT_TRUNCATED, PM_REASON_TRUNCATED, SIZE - 65536, 0}},
	 {PM_EVENT_DEMOTED, PM_REASON_TRUNCATED, 0, 0}},
	{"clone", do_clone, O_RDONLY, REFLINK, false, {{PM_EVENT_SHARED, PM_REASON_SHARED, 0, 0}}, {0}},
	{"dedupe", do_dedupe, O_RDONLY, REFLINK, false, {{PM_EVENT_SHARED, PM_REASON_SHARED, 0, 65536}}, {0}},
	{"unlink", do_unlink, O_RDONLY, ANYWHERE, false, {{PM_EVENT_NAME_LOST, PM_REASON_UNLINKED, 0, 0}}, {0}},
	{"replace", do_replace, O_RDONLY, ANYWHERE, false, {{PM_EVENT_NAME_LOST, PM_REASON_UNLINKED, 0, 0}}, {0}},
	{"move", do_move, O_RDONLY, ANYWHERE, false, {{PM_EVENT_NAME_LOST, PM_REASON_MOVED, 0, 0}}, {0}},
	{"one name", do_unlink_one_name, O_RDONLY, ANYWHERE, false, {{PM_EVENT_NAME_LOST, PM_REASON_UNLINKED, 0, 0}},
	 {0}},
	{"DAX flag", do_toggle_flag, O_RDONLY, DIRECT, false, {{PM_EVENT_DAX_FLAG, PM_REASON_DAX_FLAG, 0, 0}}, {0}},
	{"read-only", do_read_only, O_RDONLY, ANYWHERE, true, {{PM_EVENT_READ_ONLY, PM_REASON_READ_ONLY, 0, 0}}, {0}},
	{"shutdown", do_shutdown, O_RDONLY, ANYWHERE, true, {{PM_EVENT_FS_OFFLINE, PM_REASON_SHUT_DOWN, 0, 0}}, {0}},
	{"bad-block", do_wear, O_RDONLY, DIRECT, true, {{PM_EVENT_BAD_BLOCKS, PM_REASON_BAD_BLOCKS, 65536, 0}}, {0}},
	{"unbind", do_unbind, O_RDONLY, ANYWHERE, true, {{PM_EVENT_FS_OFFLINE, PM_REASON_DEVICE_GONE, 0, 0}}, {0}},
};

/* ---- Provoking, and listening ---- */

struct intruder {
	pid_t pid;
	int told;
};

/* Opens, acts, says so, and keeps the file open until it is told to go. */
static struct intruder intrude(const struct cause *c)
{
	int says[2], told[2];
	char byte = 'f';
	if (pipe(says) || pipe(told))
		abort();
	struct intruder x = {.pid = fork(), .told = told[1]};
	if (!x.pid) {
		close(told[1]);
		int fd = open(path, c->flags);
		byte = fd >= 0 && !c->act(fd) ? 'o' : 'f';
		if (byte == 'f')
			printf("%s: %s\n", c->name, strerror(errno));
		fflush(stdout);
		_exit(write(says[1], &byte, 1) != 1 || read(told[0], &byte, 1) < 0);
	}
	close(says[1]);
	close(told[0]);
	CHECK(read(says[0], &byte, 1) == 1 && byte == 'o', "%s: could not be provoked", c->name);
	close(says[0]);
	return x;
}

static void dismiss(struct intruder *x)
{
	close(x->told);
	waitpid(x->pid, NULL, 0);
}

/* Every event, until some looks in a row bring none. A thread looks once a second. */
static unsigned listen_to(struct pm_mapping *m, struct pm_event *events, unsigned flags)
{
	struct pollfd p = {pm_event_fd(m), POLLIN, 0};
	unsigned count = 0;
	for (unsigned quiet = 0; quiet < QUIET_LOOKS && count < EVENTS_MAX;) {
		poll(&p, 1, flags & PM_WATCH ? 500 : 20);
		bool is_quiet = pm_next_event(m, &events[count], sizeof(events[0]));
		quiet += is_quiet;
		count += !is_quiet;
	}
	return count;
}

static bool strike_out(struct pm_event *events, unsigned count, const struct told *t)
{
	for (unsigned i = 0; i < count; i++) {
		struct pm_event *e = &events[i];
		if (e->kind != t->kind || e->reason != t->reason)
			continue;
		if (e->offset != t->offset || e->length != (t->length ? t->length : SIZE - t->offset))
			return false;
		e->kind = 0;
		return true;
	}
	return false;
}

static void compare(const struct cause *c, struct pm_event *events, unsigned count, bool had_lines)
{
	int before = failures;
	for (unsigned i = 0; i < 4 && c->told[i].kind; i++)
		CHECK(strike_out(events, count, &c->told[i]), "%s: %s", c->name, pm_reason_name(c->told[i].reason));
	if (had_lines && c->falls_back.kind)
		CHECK(strike_out(events, count, &c->falls_back), "%s: did not fall back", c->name);
	/* Where the file system is gone, so is what the promise stands on. A truncation is made before its notice. */
	for (unsigned i = 0; i < count; i++) {
		bool follows = (c->final && had_lines && events[i].kind == PM_EVENT_DEMOTED) ||
		               (c->act == do_truncate && events[i].kind == PM_EVENT_MODIFIED);
		CHECK(!events[i].kind || follows, "%s: event %d, %s, at %" PRIu64 "+%" PRIu64 " was not expected",
		      c->name, (int)events[i].kind, pm_reason_name(events[i].reason), events[i].offset,
		      events[i].length);
	}
	printf("%-12s %s, %u events\n", c->name, failures > before ? "WRONG" : "told", count);
}

static struct pm_mapping *map_new(unsigned flags, enum pm_request sync)
{
	struct pm_event events[EVENTS_MAX];
	struct pm_options o = {
		.size = sizeof(o), .flags = PM_CREATE | PM_PREPARE | flags, .length = SIZE, .sync = sync};
	struct pm_mapping *m;
	unlink(path);
	unlink(other);
	if (pm_map(path, &o, &m)) {
		printf("%s\n", pm_error_detail());
		exit(1);
	}
	pm_memset(m, pm_base(m), 1, SIZE, 0);
	CHECK(pm_event_fd(m) >= 0);
	listen_to(m, events, 0);
	return m;
}

/* The table of mounts does not announce an emergency either: what it said may not be kept. */
static void check_mount(struct pm_mapping *m, bool read_only)
{
	struct pm_report r;
	const struct pm_evidence *e = &r.evidence[PM_EV_MOUNT];
	if (pm_query(m, &r, sizeof(r)) || e->state != PM_YES || !strstr(e->text, " ro") == read_only)
		complain(e->source, e->text);
}

/* A private mapping gets an event as well when the file under it is gone. */
static struct pm_mapping *map_copy(void)
{
	struct pm_options o = {.size = sizeof(o), .flags = PM_PRIVATE};
	struct pm_report r;
	struct pm_mapping *m = NULL;
	CHECK(pm_map(path, &o, &m) == 0 && pm_query(m, &r, sizeof(r)) == 0, "private: %s", pm_error_detail());
	return m;
}

static void check_copy(struct pm_mapping *m, const struct told *t)
{
	struct pm_event event = {.kind = 0};
	while (event.kind != t->kind && !pm_next_event(m, &event, sizeof(event)))
		;
	CHECK(event.kind == t->kind && event.reason == t->reason, "private: %s was not told",
	      pm_reason_name(t->reason));
}

static void provoke(const struct cause *c, unsigned flags)
{
	struct pm_event events[EVENTS_MAX];
	struct pm_mapping *m = map_new(flags, PM_HINT);
	bool had_lines = pm_granularity_of(m) >= PM_CACHE_LINE;
	struct pm_mapping *copy = c->told[0].kind == PM_EVENT_FS_OFFLINE ? map_copy() : NULL;
	check_mount(m, false);
	struct intruder x = intrude(c);
	compare(c, events, listen_to(m, events, flags), had_lines);
	if (c->act == do_read_only)
		check_mount(m, true);
	if (copy)
		check_copy(copy, &c->told[0]);
	dismiss(&x);
	if (c->final)
		exit(failures != 0);
	CHECK(!listen_to(m, events, flags), "%s: going is no news, and was told again", c->name);
	int drained = pm_drain(m), unmapped = pm_unmap(m); /* after a truncation both say what is lost */
	CHECK(unmapped == drained && (!drained || drained == -ERANGE), "%s: %d, %d", c->name, drained, unmapped);
}

/* Stores and persists, and no event comes. */
static void stay_quiet(unsigned flags)
{
	struct pm_event events[EVENTS_MAX];
	struct pm_mapping *m = map_new(flags, PM_HINT);
	unsigned count = pm_granularity_of(m) >= PM_CACHE_LINE ? 1000000 : 2000;
	for (unsigned i = 0; i < count; i++) {
		uint64_t *at = (uint64_t *)((char *)pm_base(m) + i * (uint64_t)64 % SIZE);
		*at = i;
		CHECK(pm_persist(m, at, sizeof(*at)) == 0);
	}
	CHECK(!listen_to(m, events, flags), "quiet: %s", pm_reason_name(events[0].reason));
	printf("%-12s %u stores and persists\n", "quiet", count);
	pm_unmap(m);
}

static void wait_for(struct pm_mapping *m, enum pm_event_kind kind, enum pm_granularity now)
{
	struct pm_event event = {.kind = 0};
	struct pollfd p = {pm_event_fd(m), POLLIN, 0};
	while (event.kind != kind) {
		bool came = !pm_next_event(m, &event, sizeof(event)) || poll(&p, 1, 30000) == 1;
		CHECK(came, "lease: event %d did not come", (int)kind);
		if (!came)
			return;
	}
	CHECK(event.new_granularity == now, "%s", pm_granularity_name(event.new_granularity));
}

/*
 * A guarantee on a file system that can share extents; another process that reads is enough to break it, for a while.
 */
static void lease(void)
{
	static const struct cause reader = {.name = "lease", .act = do_nothing, .flags = O_RDONLY};
	struct pm_mapping *m = map_new(PM_LEASE, PM_GUARANTEE);
	struct pm_report r;
	for (int i = 0; i < 3; i++) {
		CHECK(pm_query(m, &r, sizeof(r)) == 0, "lease: %s", pm_error_detail());
		CHECK(r.grade == PM_GRADE_PROVEN && r.verdict == PM_VERDICT_MET, "lease: not proven");
		struct intruder x = intrude(&reader);
		wait_for(m, PM_EVENT_LEASE_BROKEN, has_reflink ? PM_PAGE : r.granularity);
		dismiss(&x);
		if (has_reflink)
			wait_for(m, PM_EVENT_PROMOTED, PM_CACHE_LINE);
		while (!pm_query(m, &r, sizeof(r)) && r.evidence[PM_EV_LEASE_HELD].state != PM_YES)
			usleep(10000);
	}
	printf("%-12s broken and regained\n", "lease");
	pm_unmap(m);
}

/* A guarantee that is lost: the verdict, every durability call, and no sentence that still promises it. */
static void lose_guarantee(const struct cause *c)
{
	char text[2048];
	struct pm_report r;
	struct pm_mapping *m = map_new(PM_FAIL_ON_DEMOTION | (has_reflink ? PM_LEASE : 0), PM_GUARANTEE);
	CHECK(pm_query(m, &r, sizeof(r)) == 0 && r.grade == PM_GRADE_PROVEN && r.verdict == PM_VERDICT_MET,
	      "guarantee: not met");
	CHECK(pm_persist(m, pm_base(m), 8) == 0);
	/* A shutdown needs a descriptor, and a lease bears only ours: that of the directory. */
	char directory[256];
	snprintf(directory, sizeof(directory), "%.*s", (int)(strrchr(path, '/') - path), path);
	int fd = open(directory, O_RDONLY | O_DIRECTORY);
	CHECK(fd >= 0 && c->act(fd) == 0, "guarantee: %s could not be provoked", c->name);
	CHECK(pm_query(m, &r, sizeof(r)) == 0 && pm_explain(&r, text, sizeof(text)) > 0, "guarantee: %s",
	      pm_error_detail());
	CHECK(r.verdict == PM_VERDICT_REFUSED && r.grade < PM_GRADE_TRUSTED, "guarantee, %s: verdict %d", c->name,
	      (int)r.verdict);
	CHECK(r.reason == c->told[0].reason, "guarantee, %s: %s", c->name, pm_reason_name(r.reason));
	CHECK(r.granularity == (c->final ? PM_PAGE : PM_CACHE_LINE), "guarantee: %s",
	      pm_granularity_name(r.granularity));
	CHECK(pm_persist(m, pm_base(m), 8) == -PM_ENOTSYNC && pm_drain(m) == -PM_ENOTSYNC, "guarantee: not lost");
	CHECK(!strstr(text, "proven by") && !strstr(text, "every fact holds"), "guarantee: %s", text);
	printf("%-12s lost with the guarantee: %s\n", c->name, text);
	pm_clear_error(m);
	/* After a shutdown the kernel answers. */
	((char *)pm_base(m))[0] = 2;
	CHECK(!pm_persist(m, pm_base(m), 8) == !c->final, "guarantee, %s: a persist after it", c->name);
	close(fd);
	pm_unmap(m);
}

int main(int argc, char **argv)
{
	if (argc != 3 && argc != 5)
		return fprintf(stderr, "usage: %s BACKING DIRECTORY [final|guarantee CAUSE]\n", argv[0]), 2;
	has_reflink = strstr(argv[1], "reflink");
	is_direct = strstr(argv[1], "dax");
	snprintf(path, sizeof(path), "%s/file", argv[2]);
	snprintf(other, sizeof(other), "%s/other", argv[2]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
		const struct cause *c = &causes[i];
		bool possible = (c->where != REFLINK || has_reflink) && (c->where != DIRECT || is_direct);
		if (argc == 5 ? strcmp(c->name, argv[4]) != 0 : !possible || c->final)
			continue;
		if (argc == 5 && !strcmp(argv[3], "guarantee")) {
			lose_guarantee(c);
			return failures != 0;
		}
		provoke(c, 0);
		/* By a thread as well: what is announced, and what comes round. */
		if (c->act == do_truncate || c->act == do_clone || c->act == do_unlink || c->act == do_toggle_flag)
			provoke(c, PM_WATCH);
	}
	stay_quiet(0);
	if (is_direct)
		lease();
	printf("%d failures\n", failures);
	return failures != 0;
}

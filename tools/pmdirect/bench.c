/* SPDX-License-Identifier: BSD-3-Clause */
/* pmdirect bench: what a commit costs at a place, beside what the device can do. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "look.h"
#include "place.h"
#include "text.h"

enum { METHOD, SIZE, COMMITS, RATE, MEDIAN, P99, WRITTEN, AMPLIFICATION, FLUSHES, COLUMNS };

static const struct column columns[] = {
	[METHOD] = {"method", COLUMN_TEXT, true, "how; \"direct write\" is the limit of the device"},
	[SIZE] = {"size", COLUMN_COUNT, true, "bytes that a commit changes"},
	[COMMITS] = {"commits", COLUMN_COUNT, false, "how many were made"},
	[RATE] = {"per_second", COLUMN_COUNT, true, "commits a second, one after the other"},
	[MEDIAN] = {"median_ns", COLUMN_COUNT, true, "nanoseconds that half of the commits took at most"},
	[P99] = {"p99_ns", COLUMN_COUNT, true, "nanoseconds that 99 of 100 took at most"},
	[WRITTEN] = {"written", COLUMN_BYTES, false, "bytes that the device was given meanwhile, by any program"},
	[AMPLIFICATION] = {"amplification", COLUMN_RATIO, true, "of these, bytes for each byte that was changed"},
	[FLUSHES] = {"flushes", COLUMN_RATIO, true, "flushes of the device a commit"},
};

static const char help[] =
	"usage: pmdirect bench [OPTIONS] PATH\n"
	"\n"
	"What a commit costs in a directory, or in that of a file: in about five seconds, on a temporary file\n"
	"without a name. Exit status: 0 it was measured, 2 it could not be.\n"
	"\n"
	"  --seconds=N        longer, or shorter, in all; 5\n" COMMON_HELP;

#define FILE_SIZE ((size_t)16 << 20)
#define BLOCK ((size_t)4096)
#define SAMPLES_MAX ((size_t)1 << 20)
#define METHODS 4
#define SECONDS_MAX 3600

struct bench {
	struct output *out;
	char *directory;
	int fd;
	struct pm_mapping *mapping;
	void *block; /* aligned, for O_DIRECT */
	int direct_fd;
	bool is_counted; /* stores by DAX pass the counts of the device */
	uint64_t seed;
	uint64_t *samples;
};

/* Of the device since it came: sectors written, flushes. */
struct device_counts {
	bool is_known, has_flushes;
	uint64_t bytes, flushes;
};

static uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* xorshift64 */
static uint64_t next_random(struct bench *b)
{
	b->seed ^= b->seed << 13;
	b->seed ^= b->seed >> 7;
	b->seed ^= b->seed << 17;
	return b->seed;
}

/* The two numbers of a file "stat": how many were read; the second one is there from Linux 5.5 on. */
static int read_counts(const char *directory, uint64_t *sectors, uint64_t *flushes)
{
	char *path = text_format("%s/stat", directory);
	FILE *f = fopen(path, "re");
	int found = f ? fscanf(f, "%*u %*u %*u %*u %*u %*u %" SCNu64 " %*u %*u %*u %*u %*u %*u %*u %*u %" SCNu64,
	                       sectors, flushes)
	              : 0;
	if (f)
		fclose(f);
	free(path);
	return found;
}

static bool has_entry(const char *directory, const char *name)
{
	char *path = text_format("%s/%s", directory, name);
	bool has = !access(path, F_OK);
	free(path);
	return has;
}

/* Counting can be switched off, and all counts stand still then. */
static bool counts_at_all(const char *disk)
{
	char *path = text_format("%s/queue/iostats", disk);
	FILE *f = fopen(path, "re");
	int digit = f ? fgetc(f) : EOF;
	if (f)
		fclose(f);
	free(path);
	return digit != '0';
}

/*
 * The flushes of a partition are counted for its disk, and only where requests pass a queue of the kernel, which dm and
 * md have none of (block/blk-flush.c blk_account_io_flush).
 */
static struct device_counts counts_of(int fd)
{
	struct device_counts c = {.is_known = false};
	struct stat st;
	uint64_t sectors = 0, ignored;
	if (fstat(fd, &st))
		return c;
	char *part = text_format("/sys/dev/block/%u:%u", major(st.st_dev), minor(st.st_dev));
	char *disk = text_format("%s%s", part, has_entry(part, "partition") ? "/.." : "");
	if (counts_at_all(disk)) {
		c.is_known = read_counts(part, &sectors, &ignored) >= 1;
		c.has_flushes = has_entry(disk, "mq") && read_counts(disk, &ignored, &c.flushes) == 2;
		c.bytes = sectors * 512;
	}
	free(disk);
	free(part);
	return c;
}

static int commit_small(struct bench *b, uint64_t number)
{
	uint64_t *at = (uint64_t *)((char *)pm_base(b->mapping) + next_random(b) % (FILE_SIZE / 64) * 64);
	for (size_t i = 0; i < 64 / sizeof(*at); i++)
		at[i] = number;
	return pm_persist(b->mapping, at, 64);
}

static int commit_block(struct bench *b, uint64_t number)
{
	char *at = (char *)pm_base(b->mapping) + next_random(b) % (FILE_SIZE / BLOCK) * BLOCK;
	memset(at, (int)number, BLOCK);
	return pm_persist(b->mapping, at, BLOCK);
}

static off_t random_block(struct bench *b)
{
	return (off_t)(next_random(b) % (FILE_SIZE / BLOCK) * BLOCK);
}

static int write_and_sync(struct bench *b, uint64_t number)
{
	memset(b->block, (int)number, BLOCK);
	if (pwrite(b->fd, b->block, BLOCK, random_block(b)) != (ssize_t)BLOCK || fdatasync(b->fd))
		return -errno;
	return 0;
}

static int write_direct(struct bench *b, uint64_t number)
{
	memset(b->block, (int)number, BLOCK);
	return pwrite(b->direct_fd, b->block, BLOCK, random_block(b)) == (ssize_t)BLOCK ? 0 : -errno;
}

static int ascending(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
	return left < right ? -1 : left > right;
}

static void put(struct bench *b, const char *method, uint64_t size, size_t count, uint64_t took,
                const struct device_counts *before)
{
	struct device_counts after = counts_of(b->fd);
	after.is_known &= b->is_counted;
	after.has_flushes &= b->is_counted;
	uint64_t bytes = after.bytes - before->bytes, flushes = after.flushes - before->flushes;
	size_t samples = count < SAMPLES_MAX ? count : SAMPLES_MAX;
	qsort(b->samples, samples, sizeof(*b->samples), ascending);
	const struct cell cells[COLUMNS] = {
		[METHOD] = TEXT_CELL(method),
		[SIZE] = NUMBER_CELL(size),
		[COMMITS] = NUMBER_CELL(count),
		[RATE] = NUMBER_CELL((uint64_t)((double)count * 1e9 / (double)took)),
		[MEDIAN] = NUMBER_CELL(b->samples[samples / 2]),
		[P99] = NUMBER_CELL(b->samples[samples - 1 - samples / 100]),
		[WRITTEN] = after.is_known ? NUMBER_CELL(bytes) : UNKNOWN_CELL,
		[AMPLIFICATION] = after.is_known ? NUMBER_CELL(bytes * 100 / (count * size)) : UNKNOWN_CELL,
		[FLUSHES] = after.has_flushes ? NUMBER_CELL(flushes * 100 / count) : UNKNOWN_CELL,
	};
	output_row(b->out, cells);
}

static int measure(struct bench *b, const char *method, uint64_t size, int (*commit)(struct bench *, uint64_t),
                   uint64_t nanoseconds)
{
	struct device_counts before = counts_of(b->fd);
	uint64_t began = now_ns(), at = began;
	size_t count = 0;
	while (at - began < nanoseconds) {
		int rc = commit(b, count);
		uint64_t after = now_ns();
		if (rc) {
			output_note(b->out, "%s: %s", method, rc == -EINVAL ? "not possible here" : pm_strerror(rc));
			return rc;
		}
		b->samples[count++ % SAMPLES_MAX] = after - at;
		at = after;
	}
	put(b, method, size, count, at - began, &before);
	return 0;
}

/* That of the file itself, not of a link to it. NULL, with a note: there is none on its file system that is known. */
static char *directory_of_file(struct output *out, const char *path)
{
	char *whole = realpath(path, NULL);
	if (!whole)
		return output_note(out, "%s: %s", path, strerror(errno)), NULL;
	char *copy = text_copy(whole), *directory = text_copy(dirname(copy));
	if (look_mount(whole) != look_mount(directory)) {
		output_note(out, "%s: the file is a mount of its own: name a directory on its file system", path);
		free(directory);
		directory = NULL;
	}
	free(copy);
	free(whole);
	return directory;
}

/* The directory itself, or that of the file, which must be there. NULL, with a note. */
static char *directory_of(struct output *out, const char *path)
{
	struct place place;
	int error;
	place_look(path, &place);
	if (place.kind == PLACE_DIRECTORY)
		return text_copy(path);
	if (place.kind == PLACE_FILE)
		return directory_of_file(out, path);
	char *obstacle = place_obstacle(path, &place, &error);
	output_note(out, "%s%s", obstacle ? obstacle : path,
	            obstacle ? "" : ": it is a device, and bench makes a file: name a directory");
	free(obstacle);
	return NULL;
}

static int make_file(struct bench *b)
{
	b->fd = open(b->directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (b->fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return b->fd < 0 ? -errno : 0;
	char *name = text_format("%s/.pmdirect-bench-XXXXXX", b->directory);
	b->fd = mkostemp(name, O_CLOEXEC);
	int rc = b->fd < 0 ? -errno : 0;
	if (!rc)
		unlink(name);
	free(name);
	return rc;
}

static int prepare(struct bench *b)
{
	struct pm_options o = {
		.size = sizeof(o), .flags = PM_CREATE | PM_PREPARE, .length = FILE_SIZE, .access = PM_ACCESS_RANDOM};
	struct statvfs fs;
	char path[32];
	int rc = make_file(b);
	if (rc)
		return output_note(b->out, "%s: no file can be made there: %s", b->directory, strerror(-rc)), rc;
	if (!fstatvfs(b->fd, &fs) && fs.f_bavail * fs.f_frsize < 2 * FILE_SIZE)
		return output_note(b->out, "%s: less than 32 MiB are free", b->directory), -ENOSPC;
	rc = pm_map_fd(b->fd, &o, &b->mapping);
	if (rc)
		return output_note(b->out, "%s", pm_error_detail()), rc;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", b->fd);
	b->direct_fd = open(path, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
	b->block = aligned_alloc(BLOCK, BLOCK);
	b->samples = malloc(SAMPLES_MAX * sizeof(*b->samples));
	return b->block && b->samples ? 0 : -ENOMEM;
}

static void say_granularity(struct bench *b)
{
	struct pm_report r;
	if (pm_query(b->mapping, &r, sizeof(r)))
		return;
	b->is_counted = r.direct == PM_NO;
	bool is_counted = b->is_counted && counts_of(b->fd).is_known;
	output_note(b->out, "%s: granularity %s, sync %s, direct %s; %s", b->directory,
	            pm_granularity_name(r.granularity), pm_state_name(r.sync), pm_state_name(r.direct),
	            is_counted ? "the device's counts have the writes of all programs"
	                       : "no device counts what is written here");
}

static enum status bench(const char *path, const struct form *form, unsigned seconds)
{
	struct output out;
	struct bench b = {.out = &out, .fd = -1, .direct_fd = -1, .seed = 88172645463325252u};
	uint64_t each = (uint64_t)seconds * 1000000000 / METHODS;
	if (output_begin(&out, "bench", columns, COLUMNS, form))
		return usage("bench");
	b.directory = directory_of(&out, path);
	if (!b.directory)
		return output_end(&out, STATUS_UNKNOWN);
	int rc = prepare(&b);
	if (!rc) {
		say_granularity(&b);
		rc = measure(&b, "pm_persist", 64, commit_small, each);
	}
	if (!rc)
		rc = measure(&b, "pm_persist", BLOCK, commit_block, each);
	if (!rc)
		rc = measure(&b, "write and fdatasync", BLOCK, write_and_sync, each);
	if (!rc && b.direct_fd >= 0)
		measure(&b, "direct write", BLOCK, write_direct, each);
	else if (!rc)
		output_note(&out, "direct write: not possible here");
	pm_unmap(b.mapping);
	if (b.direct_fd >= 0)
		close(b.direct_fd);
	if (b.fd >= 0)
		close(b.fd);
	free(b.block);
	free(b.samples);
	free(b.directory);
	return output_end(&out, rc ? STATUS_UNKNOWN : STATUS_MET);
}

enum status command_bench(int argc, char **argv)
{
	static const struct option options[] = {COMMON_OPTIONS, {"seconds", required_argument, NULL, 's'}, {0}};
	struct form form = {.json = false};
	long seconds = 5;
	for (int option; (option = option_next(argc, argv, COMMON_LETTERS, options)) != -1;) {
		if (form_take(&form, option))
			continue;
		if (option == 'h') {
			printf("%s", help);
			output_list_columns(columns, COLUMNS);
			return STATUS_MET;
		}
		if (option != 's')
			return usage("bench");
		seconds = option_number(optarg, 1, SECONDS_MAX);
	}
	if (optind + 1 != argc || seconds < 0) {
		say("bench takes one path, and --seconds from 1 to 3600");
		return usage("bench");
	}
	return bench(argv[optind], &form, (unsigned)seconds);
}

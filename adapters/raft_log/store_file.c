/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_file.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUSY_TRIES 500u /* of 10 ms */

/* ---- Errors ------------------------------------------------------------------------------------ */

int pmr_fail(char *message, int code, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(message, RAFT_ERRMSG_BUF_SIZE, format, arguments);
	va_end(arguments);
	return code;
}

static int code_of(int error)
{
	switch (-error) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return RAFT_NOSPACE;
	case ENOMEM:
		return RAFT_NOMEM;
	case EACCES:
	case EPERM:
	case EROFS:
		return RAFT_UNAUTHORIZED;
	case ENOENT:
		return RAFT_NOTFOUND;
	case ENAMETOOLONG:
		return RAFT_NAMETOOLONG;
	case EMFILE:
	case ENFILE:
		return RAFT_TOOMANY;
	default:
		return RAFT_IOERR;
	}
}

int pmr_fail_pm(char *message, int error, const char *what)
{
	return pmr_fail(message, code_of(error), "%s: %s", what, pm_error_detail());
}

int pmr_fail_errno(char *message, int error, const char *what, const char *path)
{
	return pmr_fail(message, code_of(error), "%s: %s: %s", what, path, pm_strerror(error));
}

/* ---- Names ------------------------------------------------------------------------------------- */

void pmr_path(const struct pmr_home *home, const char *name, char path[PATH_MAX])
{
	/* pmr_home's path leaves room for the longest name. */
	size_t length = strlen(home->path);
	memcpy(path, home->path, length);
	snprintf(path + length, PATH_MAX - length, "/%s", name);
}

int pmr_sync_directory(const struct pmr_home *home, char *message)
{
	return fsync(home->fd) ? pmr_fail_errno(message, -errno, "cannot sync the directory", home->path) : 0;
}

/* ---- Checksum ---------------------------------------------------------------------------------- */

static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void make_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t row = i;
		for (int bit = 0; bit < 8; bit++)
			row = row >> 1 ^ (row & 1 ? 0x82f63b78u : 0);
		table[0][i] = row;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (int n = 1; n < 8; n++)
			table[n][i] = table[n - 1][i] >> 8 ^ table[0][table[n - 1][i] & 0xff];
}

/* Eight bytes a step: what one byte a step computes, by a table for each of the eight. */
uint32_t pmr_checksum(uint32_t checksum, const void *data, size_t length)
{
	pthread_once(&table_once, make_table);
	const uint8_t *bytes = data;
	checksum = ~checksum;
	for (; length >= 8; length -= 8, bytes += 8) {
		uint32_t low = checksum ^ ((uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
		                           (uint32_t)bytes[3] << 24);
		checksum = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^ table[5][low >> 16 & 0xff] ^
		           table[4][low >> 24] ^ table[3][bytes[4]] ^ table[2][bytes[5]] ^ table[1][bytes[6]] ^
		           table[0][bytes[7]];
	}
	for (; length; length--)
		checksum = checksum >> 8 ^ table[0][(checksum ^ *bytes++) & 0xff];
	return ~checksum;
}

/* ---- Mappings ---------------------------------------------------------------------------------- */

int pmr_file_make(const char *path, uint64_t length, unsigned flags, struct pm_mapping **ret_map, char *message)
{
	struct pm_options options = {.size = sizeof(options), .length = length, .mode = 0644,
	                             .flags = PM_CREATE | PM_EXCLUSIVE | flags};
	/* A call that fails leaves nothing behind, and what was there before is another's. */
	int rc = pm_map(path, &options, ret_map);
	return rc ? pmr_fail_pm(message, rc, "cannot make a file of the store") : 0;
}

/* It cannot be mapped. */
bool pmr_file_is_empty(const char *path)
{
	struct stat st;
	return !stat(path, &st) && !st.st_size;
}

static void pause_shortly(void)
{
	struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
	nanosleep(&pause, NULL);
}

/*
 * A server before may have met a failed write-back and ended: the page cache then shows what the medium does not hold.
 * So the file is read from the medium. An error that the kernel had not reported yet is reported once, and says only
 * that such a thing happened; a file in memory has no medium. A page that the kernel is using at the moment, for
 * reading ahead or for reclaim, stays cached (mm/fadvise.c): it can be dropped a little later.
 */
int pmr_file_map(const char *path, unsigned flags, struct pm_mapping **ret_map, char *message)
{
	struct pm_options options = {.size = sizeof(options), .flags = flags | PM_FROM_MEDIUM};
	int rc = pm_map(path, &options, ret_map);
	if (rc == -EIO)
		rc = pm_map(path, &options, ret_map);
	for (unsigned i = 0; rc == -EBUSY && i < BUSY_TRIES; i++) {
		pause_shortly();
		rc = pm_map(path, &options, ret_map);
	}
	if (rc == -EOPNOTSUPP) {
		options.flags = flags;
		rc = pm_map(path, &options, ret_map);
	}
	return rc ? pmr_fail_pm(message, rc, "cannot open a file of the store") : 0;
}

struct copy {
	struct pm_mapping *map;
	void *destination;
	const void *source;
	size_t length;
	const void *next;
	size_t next_length;
};

static int copy(void *arg)
{
	struct copy *c = arg;
	memcpy(c->destination, c->source, c->length);
	return 0;
}

static int copy_two(void *arg)
{
	const struct copy *c = arg;
	copy(arg);
	if (c->next_length)
		memcpy((char *)c->destination + c->length, c->next, c->next_length);
	return 0;
}

/* Only what is not zero: the pages of a prepared file stay clean. */
static int clear(void *arg)
{
	struct copy *c = arg;
	char *bytes = c->destination, *end = bytes + c->length;
	while (bytes < end) {
		size_t length = PMR_PAGE - (uintptr_t)bytes % PMR_PAGE;
		if (length > (size_t)(end - bytes))
			length = (size_t)(end - bytes);
		if (bytes[0] || memcmp(bytes, bytes + 1, length - 1))
			memset(bytes, 0, length);
		bytes += length;
	}
	return 0;
}

static int publish(void *arg)
{
	struct copy *c = arg;
	uint64_t value;
	memcpy(&value, c->source, sizeof(value));
	return pm_publish64(c->map, c->destination, value);
}

static char *at(struct pm_mapping *map, uint64_t offset)
{
	return (char *)pm_base(map) + offset;
}

static int guarded(struct copy *c, pm_guarded_fn *function, const char *what, char *message)
{
	struct pm_fault fault;
	int rc = pm_guarded(c->map, function, c, &fault, sizeof(fault));
	return rc ? pmr_fail_pm(message, rc, what) : 0;
}

int pmr_read(struct pm_mapping *map, uint64_t offset, void *destination, size_t length, char *message)
{
	struct copy c = {map, destination, at(map, offset), length, NULL, 0};
	return guarded(&c, copy, "cannot read the store", message);
}

int pmr_read_all(struct pm_mapping *map, char *destination, char *message)
{
	int rc = pm_read(map, destination, pm_base(map), pm_length(map));
	if (rc == -EOPNOTSUPP)
		return pmr_read(map, 0, destination, pm_length(map), message);
	return rc ? pmr_fail_pm(message, rc, "cannot read the store") : 0;
}

int pmr_store(struct pm_mapping *map, uint64_t offset, const void *source, size_t length, char *message)
{
	struct copy c = {map, at(map, offset), source, length, NULL, 0};
	return guarded(&c, copy, "cannot write to the store", message);
}

int pmr_store_two(struct pm_mapping *map, uint64_t offset, const void *source, size_t length, const void *next,
                  size_t next_length, char *message)
{
	struct copy c = {map, at(map, offset), source, length, next, next_length};
	return guarded(&c, copy_two, "cannot write to the store", message);
}

int pmr_clear(struct pm_mapping *map, uint64_t from, uint64_t to, char *message)
{
	struct copy c = {map, at(map, from), NULL, (size_t)(to - from), NULL, 0};
	return guarded(&c, clear, "cannot clear the end of the log", message);
}

int pmr_commit(struct pm_mapping *map, uint64_t offset, size_t length, char *message)
{
	struct pm_range range = {at(map, offset), length};
	int rc = pm_commit(map, &range, 1);
	return rc ? pmr_fail_pm(message, rc, "cannot make the store durable") : 0;
}

int pmr_publish(struct pm_mapping *map, uint64_t value, char *message)
{
	struct copy c = {map, at(map, PMR_WORD_AT), &value, sizeof(value), NULL, 0};
	return guarded(&c, publish, "cannot make the store durable", message);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "append_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0x010a474f4c4d5001u /* read with the other byte order it is something else */
#define VERSION 1u
#define RECORDS_AT 64u /* one cache line, so that the header shares none with records */
#define ALIGNMENT 8u

struct header {
	uint64_t magic;
	uint32_t version;
	uint32_t records_at;
	uint32_t alignment;
	uint32_t step;
	uint64_t identity;
	uint32_t reserved;
	uint32_t checksum; /* of all before it */
};

struct record_header {
	uint64_t sequence;
	uint32_t length;
	uint32_t checksum; /* of identity, sequence, length and payload */
};

/* ---- Checksum ---------------------------------------------------------------------------------- */

/* CRC-32C (Castagnoli), reflected. */
static uint32_t crc32c(uint32_t crc, const void *data, size_t length)
{
	static uint32_t table[256];
	if (!table[1]) {
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t row = i;
			for (int bit = 0; bit < 8; bit++)
				row = row >> 1 ^ (row & 1 ? 0x82f63b78u : 0);
			table[i] = row;
		}
	}
	const uint8_t *bytes = data;
	crc = ~crc;
	for (size_t i = 0; i < length; i++)
		crc = crc >> 8 ^ table[(crc ^ bytes[i]) & 0xff];
	return ~crc;
}

static uint32_t header_checksum(const struct header *h)
{
	return crc32c(0, h, offsetof(struct header, checksum));
}

static uint32_t record_checksum(const struct append_log *log, const struct record_header *h, const void *payload)
{
	uint32_t crc = crc32c(0, &log->identity, sizeof(log->identity));
	crc = crc32c(crc, h, offsetof(struct record_header, checksum));
	return crc32c(crc, payload, h->length);
}

/* ---- Looking at the file ----------------------------------------------------------------------- */

static uint8_t *at(const struct append_log *log, uint64_t offset)
{
	return (uint8_t *)pm_base(log->mapping) + offset;
}

static uint64_t record_size(uint32_t length)
{
	return (sizeof(struct record_header) + length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Whether a valid record with this sequence number is there. */
static bool record_at(const struct append_log *log, uint64_t offset, uint64_t sequence, struct append_log_record *ret)
{
	struct record_header h;
	uint64_t size = pm_length(log->mapping);
	if (offset > size || size - offset < sizeof(h))
		return false;
	memcpy(&h, at(log, offset), sizeof(h));
	if (h.sequence != sequence || h.length > APPEND_LOG_MAX || h.length > size - offset - sizeof(h))
		return false;
	const void *payload = at(log, offset + sizeof(h));
	if (record_checksum(log, &h, payload) != h.checksum)
		return false;
	*ret = (struct append_log_record){.sequence = sequence, .length = h.length, .payload = payload};
	return true;
}

/* The bytes from the given one to the last that is not zero, and where the first such byte is. */
static uint64_t rubbish(const struct append_log *log, uint64_t from, uint64_t *ret_first)
{
	uint64_t size = pm_length(log->mapping);
	const uint8_t *bytes = at(log, 0);
	while (from < size && !bytes[from])
		from++;
	while (size > from && !bytes[size - 1])
		size--;
	*ret_first = from;
	return size > from ? size - from : 0;
}

/*
 * The size of the file, 0 if there is none; -EBADMSG if it is something else than a log, so that it is left
 * alone: a log begins with our magic, or with zeroes where its creation was cut off. Whatever is wrong with
 * opening or reading it, pm_map() meets too, and it has better words.
 */
static int inspect(const char *path, uint64_t *ret_size)
{
	struct stat st;
	uint64_t magic = 0;
	*ret_size = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return 0;
	bool known = !fstat(fd, &st) && pread(fd, &magic, sizeof(magic), 0) >= 0;
	close(fd);
	if (!known)
		return 0;
	*ret_size = (uint64_t)st.st_size;
	return magic && magic != MAGIC ? -EBADMSG : 0;
}

/* ---- Opening ----------------------------------------------------------------------------------- */

/* -ENODATA: there is no valid header, nor anything else: a creation was cut off. */
static int take_header(struct append_log *log)
{
	struct header h = {0};
	uint64_t size = pm_length(log->mapping), first;
	memcpy(&h, at(log, 0), size < sizeof(h) ? (size_t)size : sizeof(h));
	if (h.magic != MAGIC || h.checksum != header_checksum(&h))
		return rubbish(log, RECORDS_AT, &first) ? -EBADMSG : -ENODATA;
	log->identity = h.identity;
	log->step = h.step;
	bool known = h.version == VERSION && h.records_at == RECORDS_AT && h.alignment == ALIGNMENT && h.step;
	return known ? 0 : -EBADMSG;
}

/* pm_map() made the file, its size and its name durable; when the header is, the log is created. */
static int make_header(struct append_log *log, uint32_t step)
{
	struct header h = {.magic = MAGIC, .version = VERSION, .records_at = RECORDS_AT, .alignment = ALIGNMENT,
	                   .step = step};
	if (getrandom(&h.identity, sizeof(h.identity), 0) != sizeof(h.identity))
		return -EIO;
	h.checksum = header_checksum(&h);
	log->identity = h.identity;
	log->step = step;
	log->made = true;
	memcpy(at(log, 0), &h, sizeof(h));
	return pm_persist(log->mapping, at(log, 0), sizeof(h));
}

/*
 * Finds the end. Two things are left to do before a reader may rely on it.
 *
 * What follows the end is cleared. It may hold a record whose predecessor was lost: of the pages or lines of
 * an unfinished batch a power failure keeps any. A new record that happened to be as long as the lost one
 * would make it a successor again, a record that no call appended after that one.
 *
 * What was found is synced. If the last writer died while the machine lived on, its last record may be only
 * in the page cache or the CPU's: a reader that acts on it now would act on a record that a power failure takes.
 * pm_sync() needs no flush before, so it also completes the clearing; both may reach the medium in any order,
 * because a clearing that was cut off leaves no more than there was, and the next recovery finishes it.
 */
static int recover(struct append_log *log, bool read_only)
{
	struct append_log_record record;
	uint64_t first;
	int rc = 0;
	log->end = RECORDS_AT;
	while (record_at(log, log->end, log->last + 1, &record)) {
		log->end += record_size(record.length);
		log->last++;
	}
	log->discarded = rubbish(log, log->end, &first);
	if (log->discarded && !read_only)
		rc = pm_memset(log->mapping, at(log, first), 0, (size_t)log->discarded, PM_NODRAIN);
	return rc ? rc : pm_sync(log->mapping);
}

/*
 * The writer before may have met a failed write-back and ended: the page cache then shows records that the medium does
 * not hold. So the log is read from the medium. An error that the kernel had not reported yet is reported once, and
 * says only that such a thing happened; a log in memory has no medium.
 */
static int map_for_recovery(const char *path, struct pm_options *map, struct append_log *log)
{
	map->flags |= PM_FROM_MEDIUM;
	int rc = pm_map(path, map, &log->mapping);
	if (rc == -EIO)
		rc = pm_map(path, map, &log->mapping);
	if (rc != -EOPNOTSUPP)
		return rc;
	map->flags &= ~PM_FROM_MEDIUM;
	return pm_map(path, map, &log->mapping);
}

int append_log_open(const char *path, const struct append_log_options *options, struct append_log *ret_log)
{
	/* Blocks that are written before they are used spare each append the file system's journal. */
	static const struct append_log_options standard = {.map_flags = PM_PREPARE};
	struct append_log log = {0};
	uint64_t size;
	if (!options)
		options = &standard;
	int rc = inspect(path, &size);
	if (rc)
		return rc;
	uint64_t step = options->step ? options->step : APPEND_LOG_STEP;
	struct pm_options map = {.size = sizeof(map), .flags = PM_CREATE | options->map_flags,
	                         .length = size < step ? step : 0};
	if (options->read_only) {
		map.flags = PM_READ_ONLY;
		map.length = 0;
		if (!size && !access(path, F_OK))
			return -ENODATA;
	}
	/* A reader follows a writer that may be alive. */
	rc = options->read_only ? pm_map(path, &map, &log.mapping) : map_for_recovery(path, &map, &log);
	if (rc)
		return rc;
	rc = take_header(&log);
	if (rc == -ENODATA && !options->read_only)
		rc = make_header(&log, (uint32_t)step);
	if (!rc)
		rc = recover(&log, options->read_only);
	if (rc) {
		pm_unmap(log.mapping);
		return rc;
	}
	*ret_log = log;
	return 0;
}

int append_log_close(struct append_log *log)
{
	int rc = pm_unmap(log->mapping);
	log->mapping = NULL;
	return rc;
}

/* ---- Appending --------------------------------------------------------------------------------- */

static int make_room(struct append_log *log, uint64_t size)
{
	uint64_t needed = log->end + size;
	if (needed <= pm_length(log->mapping))
		return 0;
	return pm_resize(log->mapping, (needed + log->step - 1) / log->step * log->step);
}

/*
 * After a failure the bytes of the record may or may not be there, and a retry could make what follows it
 * a successor: no more appends then. Opening the log again recovers it.
 */
static int fail(struct append_log *log, int rc)
{
	log->error = rc;
	return rc;
}

static int begin_record(struct append_log *log, const void *payload, uint32_t length, struct record_header *h)
{
	if (log->error)
		return log->error;
	if (length > APPEND_LOG_MAX)
		return -EMSGSIZE;
	*h = (struct record_header){.sequence = log->last + 1, .length = length};
	h->checksum = record_checksum(log, h, payload);
	return make_room(log, record_size(length));
}

static void end_record(struct append_log *log, uint32_t length)
{
	log->end += record_size(length);
	log->last++;
}

/*
 * One persist is enough. The medium may take header and payload in any order and in pieces: until all of
 * them are there the checksum does not hold and the log ends before this record. There is no count or
 * pointer to update afterwards, which would need a second persist, ordered after the first.
 */
int append_log_append(struct append_log *log, const void *payload, uint32_t length)
{
	struct record_header h;
	int rc = begin_record(log, payload, length, &h);
	if (rc)
		return rc;
	memcpy(at(log, log->end), &h, sizeof(h));
	memcpy(at(log, log->end + sizeof(h)), payload, length);
	rc = pm_persist(log->mapping, at(log, log->end), sizeof(h) + length);
	if (rc)
		return fail(log, rc);
	end_record(log, length);
	return 0;
}

int append_log_stage(struct append_log *log, const void *payload, uint32_t length)
{
	struct record_header h;
	int rc = begin_record(log, payload, length, &h);
	if (rc)
		return rc;
	rc = pm_memcpy(log->mapping, at(log, log->end), &h, sizeof(h), PM_NODRAIN);
	if (!rc)
		rc = pm_memcpy(log->mapping, at(log, log->end + sizeof(h)), payload, length, PM_NODRAIN);
	if (rc)
		return fail(log, rc);
	end_record(log, length);
	return 0;
}

int append_log_commit(struct append_log *log)
{
	int rc = log->error ? log->error : pm_drain(log->mapping);
	return rc ? fail(log, rc) : 0;
}

/* ---- Reading ----------------------------------------------------------------------------------- */

bool append_log_next(const struct append_log *log, uint64_t *position, struct append_log_record *ret_record)
{
	if (!*position)
		*position = RECORDS_AT;
	if (*position >= log->end)
		return false;
	/* Checked when it was found: only its place is needed now. */
	struct record_header h;
	memcpy(&h, at(log, *position), sizeof(h));
	ret_record->sequence = h.sequence;
	ret_record->length = h.length;
	ret_record->payload = at(log, *position + sizeof(h));
	*position += record_size(h.length);
	return true;
}

const char *append_log_error(int error)
{
	switch (error) {
	case -EBADMSG:
		return "the file is not an append log, or one of another version";
	case -ENODATA:
		return "the creation of the log was never finished";
	case -EMSGSIZE:
		return "the record is too long";
	default:
		return *pm_error_detail() ? pm_error_detail() : pm_strerror(error);
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * append_log.h - a log of records that survives a power failure at any moment
 *
 * One writer at a time. Functions return 0 or a negative error; append_log_error() has the words.
 *
 * The file is a header, then records without a gap, then zeroes:
 *
 *   header   magic, version, geometry, identity, checksum    64 bytes
 *   record   sequence, length, checksum, payload             16 bytes and the payload, up to a multiple of 8
 *
 * A record is valid if its checksum holds and its sequence number is the successor of the one before. The
 * first place where that is not so is the end of the log: no other word in the file says where it ends.
 *
 * The checksum covers the identity, a random number of this log, so that blocks which another log left
 * behind on the medium never pass for records of this one.
 */
#ifndef APPEND_LOG_H
#define APPEND_LOG_H

#include <pmdirect.h>
#include <stdbool.h>

#define APPEND_LOG_MAX (1u << 20)    /* bytes of payload a record may have */
#define APPEND_LOG_STEP (256u << 10) /* bytes by which the file grows, unless asked otherwise */

struct append_log {
	struct pm_mapping *mapping;
	uint64_t identity;
	uint64_t step;
	uint64_t end;       /* where the next record goes: everything from here on is zero */
	uint64_t last;      /* sequence number of the last record; the first one has 1 */
	uint64_t discarded; /* bytes after the last record which opening found to be no record */
	bool made;          /* opening created the log, or finished a creation that was cut off */
	int error;          /* a failed append: nothing is known about what follows the last record */
};

/* Zero is: open for appending, nothing prepared. NULL is: prepared, in steps of APPEND_LOG_STEP. */
struct append_log_options {
	bool read_only;     /* only look: nothing is created, repaired or discarded */
	unsigned map_flags; /* 0, PM_PREPARE or PM_SPARSE */
	uint32_t step;      /* for a log that is made; 0 means APPEND_LOG_STEP */
};

struct append_log_record {
	uint64_t sequence;
	uint32_t length;
	const void *payload; /* in the mapping: valid until the next append */
};

/* Opens a log, makes it if it is not there, and recovers it. What it shows afterwards is durable. */
int append_log_open(const char *path, const struct append_log_options *options, struct append_log *ret_log);
int append_log_close(struct append_log *log);

/* Appends a record that is durable on return. */
int append_log_append(struct append_log *log, const void *payload, uint32_t length);

/* Appends a record that the next append_log_commit() or append_log_append() makes durable. */
int append_log_stage(struct append_log *log, const void *payload, uint32_t length);
int append_log_commit(struct append_log *log);

/* Reads the record at *position, which starts as 0, and advances it. False at the end of the log. */
bool append_log_next(const struct append_log *log, uint64_t *position, struct append_log_record *ret_record);

const char *append_log_error(int error);

#endif

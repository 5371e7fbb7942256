/* SPDX-License-Identifier: BSD-3-Clause */
/* The floor of the store: files of the directory on mappings, checksums, and words for errors. */
#ifndef PMR_STORE_FILE_H
#define PMR_STORE_FILE_H

#include <limits.h>
#include <pmdirect.h>
#include <raft.h>
#include <stdbool.h>
#include <stdint.h>

#define PMR_PAGE 4096u
#define PMR_WORD_AT 512u /* of the word that pm_publish64() writes: in a sector of its own */
#define PMR_VERSION 1u

/* What the parts of one server have in common. Never changes after it was opened. */
struct pmr_home {
	char path[PATH_MAX];
	int fd;            /* of the directory: it holds the lock */
	uint64_t server;   /* raft_id */
	uint64_t identity; /* a random number of this directory, in each checksum */
};

/* Leaves a sentence in message, which has RAFT_ERRMSG_BUF_SIZE bytes, and returns code. */
int pmr_fail(char *message, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same for an error of the library, with its own sentence, or for errno as -errno. */
int pmr_fail_pm(char *message, int error, const char *what);
int pmr_fail_errno(char *message, int error, const char *what, const char *path);

void pmr_path(const struct pmr_home *home, const char *name, char path[PATH_MAX]);
/* Makes removals and names in the directory durable. */
int pmr_sync_directory(const struct pmr_home *home, char *message);

/* CRC-32C. */
uint32_t pmr_checksum(uint32_t checksum, const void *data, size_t length);

/* Makes a file of zeros whose blocks are written, durable with its name. */
bool pmr_file_is_empty(const char *path);
int pmr_file_make(const char *path, uint64_t length, unsigned flags, struct pm_mapping **ret_map, char *message);
/* Maps a file that is there, as the medium holds it. */
int pmr_file_map(const char *path, unsigned flags, struct pm_mapping **ret_map, char *message);

/* Loads and stores that never raise a signal. A store is not durable before pmr_commit(). */
int pmr_read(struct pm_mapping *map, uint64_t offset, void *destination, size_t length, char *message);
int pmr_read_all(struct pm_mapping *map, char *destination, char *message); /* the whole file */
int pmr_store(struct pm_mapping *map, uint64_t offset, const void *source, size_t length, char *message);
int pmr_store_two(struct pm_mapping *map, uint64_t offset, const void *source, size_t length, const void *next,
                  size_t next_length, char *message);
/* Stores zeros where there are none. */
int pmr_clear(struct pm_mapping *map, uint64_t from, uint64_t to, char *message);
int pmr_commit(struct pm_mapping *map, uint64_t offset, size_t length, char *message);
int pmr_publish(struct pm_mapping *map, uint64_t value, char *message);

#endif

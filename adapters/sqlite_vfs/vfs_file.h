/* SPDX-License-Identifier: BSD-3-Clause */
/* An open database or write-ahead log. */
#ifndef PMDIRECT_VFS_FILE_H
#define PMDIRECT_VFS_FILE_H

#include <pmdirect.h>
#include <stdbool.h>
#include <stdint.h>

#include "vfs_node.h"
#include "vfs_sqlite.h"

/*
 * The file of the VFS below, which follows this struct in memory, does all that a mapping cannot do better: locks,
 * shared memory, appending, truncating, syncs of the whole file with its directory entry.
 */
struct pmdirect_file {
	sqlite3_file base;              /* first: SQLite casts */
	struct pmdirect_file *database; /* of a log: that of its database, else the file itself; NULL if not known */
	struct pmdirect_file *log;      /* of a database: that of this connection */
	struct pmdirect_node *node;     /* NULL: no mapping is possible, the VFS below does everything */
	struct pm_mapping *map;         /* NULL: none yet */
	unsigned char *bytes;           /* its base */
	uint64_t usable;                /* bytes from the beginning that are mapped and in the file, as last seen */
	uint64_t size;                  /* of the file, as seen under the lock number "seen" */
	uint64_t locks, seen;           /* locks that were taken (of a database); the one that size was read under */
	uint64_t chunk;                 /* SQLITE_FCNTL_CHUNK_SIZE */
	int64_t fetch_limit;            /* SQLITE_FCNTL_MMAP_SIZE */
	unsigned fetched;               /* pages that SQLite holds: the mapping must not move */
	unsigned outside;               /* accesses that the mapping was too short for, since it was made */
	unsigned forks;
	int error; /* negative errno of the last failure of the library; 0: ask the VFS below */
	char reason[400]; /* the library's sentence, if it could not map the file or follow its growth */
	bool read_only, is_log;
	bool direct;   /* the file is DAX, so that the mapping may be of lines */
	bool watched;  /* writes of others are counted */
	bool synced;   /* directory entry, and what was in the file when it was opened */
	bool reserves; /* the mapping grows without moving */
	bool stuck;    /* the mapping failed, and does not follow the file any more */
};

static inline sqlite3_file *pmdirect_real(struct pmdirect_file *f)
{
	return (sqlite3_file *)(void *)(f + 1);
}

/* Takes over a file that the VFS below has opened. Never fails: without a mapping that VFS serves. */
void pmdirect_file_init(struct pmdirect_file *f, const char *path, int flags);

extern const sqlite3_io_methods pmdirect_io_methods, pmdirect_io_methods_without_shm;

#endif

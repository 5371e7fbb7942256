/* SPDX-License-Identifier: BSD-3-Clause */
/* One file of the log: a header, the word that says what is durable, and records without a gap. README.md: Format. */
#ifndef PMR_STORE_SEGMENT_H
#define PMR_STORE_SEGMENT_H

#include "store_file.h"

#define PMR_SEGMENT_MIN ((uint64_t)64 << 10)
#define PMR_RECORDS_AT ((uint64_t)PMR_PAGE)
#define PMR_NAME_MAX 64

/* In the low bits of the word, since records begin at multiples of 8. */
#define PMR_CUT 1u    /* the log ends at the position: what follows, and later segments, are void */
#define PMR_SEALED 2u /* the log goes on in the next segment */

struct pmr_segment {
	struct pm_mapping *map; /* NULL: not needed now */
	uint64_t number;        /* of the file; they grow, with gaps */
	uint64_t first;         /* index of the first entry */
	uint64_t size;          /* of the file */
	uint64_t end;           /* where the next record goes */
	uint64_t durable;       /* all before it is */
	uint64_t word;          /* as last published */
	uint64_t *places;       /* of the records, in the file */
	size_t count, room;     /* of places */
	uint32_t chain;         /* checksum of the last record, else of the header */
	uint32_t header;        /* checksum of the header */
	bool resets;            /* earlier segments are void */
	bool begun;             /* has a header: false if spare, or its making was cut off */
};

/* Entries in one allocation of raft_malloc(), as raft_io.load() hands them over. */
struct pmr_entries {
	struct raft_entry *entry;
	size_t count, room;
};

void pmr_segment_name(uint64_t number, char name[PMR_NAME_MAX]);
uint64_t pmr_record_size(size_t length);

/* A file of zeros. Then its header, durable. */
int pmr_segment_make(const struct pmr_home *home, uint64_t number, uint64_t size, struct pmr_segment *ret,
                     char *message);
int pmr_segment_begin(const struct pmr_home *home, struct pmr_segment *s, uint64_t first, bool resets, char *message);

/* Maps a file that is there and reads its header. */
int pmr_segment_open(const struct pmr_home *home, uint64_t number, struct pmr_segment *ret, char *message);
/* Reads all records; ret may be NULL. What follows the last one is RAFT_CORRUPT if it was durable once, else torn. */
int pmr_segment_scan(const struct pmr_home *home, struct pmr_segment *s, struct pmr_entries *ret, char *message);
/* Clears what follows the last record and makes the rest durable, with a word that says so. */
int pmr_segment_settle(struct pmr_segment *s, char *message);
void pmr_segment_close(struct pmr_segment *s);

bool pmr_segment_has_room(const struct pmr_segment *s, size_t payload);
/* Stores an entry, which pmr_segment_commit() makes durable. If a store fails, the segment is as before. */
int pmr_segment_store(const struct pmr_home *home, struct pmr_segment *s, const struct raft_entry *entry,
                      char *message);
int pmr_segment_commit(struct pmr_segment *s, char *message);
int pmr_segment_publish(struct pmr_segment *s, unsigned flags, char *message);
/* Ends the log before index, which is in the segment or follows its last. Durable when the word is published. */
int pmr_segment_cut(struct pmr_segment *s, uint64_t index, char *message);

#endif

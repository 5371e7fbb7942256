/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC UINT64_C(0x01474f4c52434d50) /* "PMCRLOG" and a byte that other byte orders have elsewhere */
#define FLAG_RESETS 1u
#define FLAGS (uint64_t)(PMR_CUT | PMR_SEALED)

struct header {
	uint64_t magic;
	uint64_t identity;
	uint64_t server;
	uint64_t number;
	uint64_t first;
	uint64_t size;
	uint32_t version;
	uint32_t flags;
	uint32_t reserved;
	uint32_t checksum; /* of all before it */
};

struct record {
	uint64_t index;
	uint64_t term;
	uint64_t durable; /* all before this place was durable when the record was stored */
	uint32_t length;
	uint16_t type;
	uint16_t reserved;
	uint32_t previous; /* checksum of the record before, or of the header */
	uint32_t checksum; /* of identity and number, all before it, and the payload */
};

void pmr_segment_name(uint64_t number, char name[PMR_NAME_MAX])
{
	snprintf(name, PMR_NAME_MAX, "segment-%010" PRIu64, number);
}

uint64_t pmr_record_size(size_t length)
{
	return (sizeof(struct record) + (uint64_t)length + 7) / 8 * 8;
}

static uint32_t record_checksum(const struct pmr_home *home, uint64_t number, const struct record *r,
                                const void *payload)
{
	uint64_t seed[2] = {home->identity, number};
	uint32_t checksum = pmr_checksum(0, seed, sizeof(seed));
	checksum = pmr_checksum(checksum, r, offsetof(struct record, checksum));
	return pmr_checksum(checksum, payload, r->length);
}

static bool add_place(struct pmr_segment *s, uint64_t place)
{
	if (s->count == s->room) {
		size_t room = s->room ? s->room * 2 : 256;
		uint64_t *places = realloc(s->places, room * sizeof(*places));
		if (!places)
			return false;
		s->places = places;
		s->room = room;
	}
	s->places[s->count++] = place;
	return true;
}

/* ---- Making ------------------------------------------------------------------------------------ */

int pmr_segment_make(const struct pmr_home *home, uint64_t number, uint64_t size, struct pmr_segment *ret,
                     char *message)
{
	char name[PMR_NAME_MAX], path[PATH_MAX];
	struct pmr_segment s = {.number = number, .size = size};
	pmr_segment_name(number, name);
	pmr_path(home, name, path);
	int rc = pmr_file_make(path, size, PM_PREPARE, &s.map, message);
	if (!rc)
		*ret = s;
	return rc;
}

static void begin(struct pmr_segment *s, const struct header *h)
{
	s->first = h->first;
	s->resets = h->flags & FLAG_RESETS;
	s->header = s->chain = h->checksum;
	s->end = s->durable = PMR_RECORDS_AT;
	s->begun = true;
}

int pmr_segment_begin(const struct pmr_home *home, struct pmr_segment *s, uint64_t first, bool resets, char *message)
{
	struct header h = {.magic = MAGIC, .identity = home->identity, .server = home->server, .number = s->number,
	                   .first = first, .size = s->size, .version = PMR_VERSION, .flags = resets ? FLAG_RESETS : 0};
	h.checksum = pmr_checksum(0, &h, offsetof(struct header, checksum));
	int rc = pmr_store(s->map, 0, &h, sizeof(h), message);
	if (!rc)
		rc = pmr_commit(s->map, 0, sizeof(h), message);
	if (!rc)
		begin(s, &h);
	return rc;
}

/* ---- Opening ----------------------------------------------------------------------------------- */

static bool is_zero(const void *data, size_t length)
{
	const unsigned char *bytes = data;
	return !length || (!bytes[0] && !memcmp(bytes, bytes + 1, length - 1));
}

/* A header that is all zero, or not valid, is that of a spare or of one whose making was cut off. */
static int take_header(const struct pmr_home *home, struct pmr_segment *s, const char *name, char *message)
{
	struct header h;
	int rc = pmr_read(s->map, 0, &h, sizeof(h), message);
	if (rc)
		return rc;
	if (h.magic != MAGIC || h.checksum != pmr_checksum(0, &h, offsetof(struct header, checksum)))
		return 0;
	if (h.version != PMR_VERSION)
		return pmr_fail(message, RAFT_MALFORMED, "%s has version %u of the format, not %u", name, h.version,
		                PMR_VERSION);
	if (h.server != home->server)
		return pmr_fail(message, RAFT_BADID, "%s is of server %" PRIu64 ", not of %" PRIu64, name, h.server,
		                home->server);
	if (h.identity != home->identity || h.number != s->number)
		return pmr_fail(message, RAFT_CORRUPT, "%s is of another directory or was renamed", name);
	if (h.size != s->size)
		return pmr_fail(message, RAFT_CORRUPT, "%s has %" PRIu64 " bytes, not %" PRIu64 ": it was truncated",
		                name,
		                s->size, h.size);
	begin(s, &h);
	return pmr_read(s->map, PMR_WORD_AT, &s->word, sizeof(s->word), message);
}

int pmr_segment_open(const struct pmr_home *home, uint64_t number, struct pmr_segment *ret, char *message)
{
	char name[PMR_NAME_MAX], path[PATH_MAX];
	struct pmr_segment s = {.number = number};
	pmr_segment_name(number, name);
	pmr_path(home, name, path);
	int rc = pmr_file_map(path, 0, &s.map, message);
	if (rc)
		return rc;
	s.size = pm_length(s.map);
	if (s.size >= sizeof(struct header))
		rc = take_header(home, &s, name, message);
	if (rc)
		pmr_segment_close(&s);
	else
		*ret = s;
	return rc;
}

void pmr_segment_close(struct pmr_segment *s)
{
	if (s->map)
		pm_unmap(s->map);
	free(s->places);
	s->map = NULL;
	s->places = NULL;
	s->count = s->room = 0;
}

/* ---- Reading ----------------------------------------------------------------------------------- */

/* Whether the record at a place is whole; of which index it is, is not looked at. */
static bool is_record(const struct pmr_home *home, const struct pmr_segment *s, const char *bytes, uint64_t place,
                      struct record *ret)
{
	if (s->size - place < sizeof(*ret))
		return false;
	memcpy(ret, bytes + place, sizeof(*ret));
	if (ret->index < s->first || ret->length > s->size - place - sizeof(*ret))
		return false;
	return ret->checksum == record_checksum(home, s->number, ret, bytes + place + sizeof(*ret));
}

static int add_entry(struct pmr_entries *all, const struct record *r, char *batch, uint64_t place, char *message)
{
	if (all->count == all->room) {
		size_t room = all->room ? all->room * 2 : 256;
		struct raft_entry *entry = raft_realloc(all->entry, room * sizeof(*entry));
		if (!entry)
			return pmr_fail(message, RAFT_NOMEM, "out of memory for the entries of the log");
		all->entry = entry;
		all->room = room;
	}
	all->entry[all->count++] = (struct raft_entry){
		.term = r->term, .type = r->type, .batch = batch,
		.buf = {.base = batch + place + sizeof(*r), .len = r->length},
	};
	return 0;
}

/*
 * What follows the last record is torn if no call acknowledged it. It was acknowledged if it lies before the word, or
 * if a later record says that it was durable when that record was stored.
 */
static int judge_tail(const struct pmr_home *home, const struct pmr_segment *s, const char *bytes, char *message)
{
	char name[PMR_NAME_MAX];
	struct record later;
	uint64_t place = s->word & ~FLAGS;
	bool lost = place > s->end;
	for (place = s->end; !(s->word & PMR_CUT) && !lost && place + sizeof(later) <= s->size; place += 8) {
		if (is_zero(bytes + place, 8) && place + PMR_PAGE <= s->size && is_zero(bytes + place, PMR_PAGE))
			place += PMR_PAGE - 8;
		else
			lost = is_record(home, s, bytes, place, &later) && later.durable > s->end;
	}
	if (!lost)
		return 0;
	pmr_segment_name(s->number, name);
	return pmr_fail(message, RAFT_CORRUPT, "%s is damaged at byte %" PRIu64 ", in what was durable: entry %" PRIu64
	                " is lost", name, s->end, s->first + s->count);
}

static int scan(const struct pmr_home *home, struct pmr_segment *s, char *bytes, struct pmr_entries *ret, char *message)
{
	struct record r;
	int rc = 0;
	uint64_t limit = s->word & (PMR_CUT | PMR_SEALED) ? s->word & ~FLAGS : s->size;
	while (!rc && s->end < limit && is_record(home, s, bytes, s->end, &r) && r.previous == s->chain &&
	       r.index == s->first + s->count) {
		if (ret)
			rc = add_entry(ret, &r, bytes, s->end, message);
		if (!rc && !add_place(s, s->end))
			rc = pmr_fail(message, RAFT_NOMEM, "out of memory for the places of the log");
		s->end += pmr_record_size(r.length);
		s->chain = r.checksum;
	}
	return rc ? rc : judge_tail(home, s, bytes, message);
}

int pmr_segment_scan(const struct pmr_home *home, struct pmr_segment *s, struct pmr_entries *ret, char *message)
{
	char *bytes = raft_malloc(s->size);
	size_t before = ret ? ret->count : 0;
	if (!bytes)
		return pmr_fail(message, RAFT_NOMEM, "out of memory for a segment of %" PRIu64 " bytes", s->size);
	int rc = pmr_read_all(s->map, bytes, message);
	if (!rc)
		rc = scan(home, s, bytes, ret, message);
	/* The entries lie in it. Without any, raft never learns of the batch. */
	if (!ret || ret->count == before)
		raft_free(bytes);
	return rc;
}

/* ---- Settling ---------------------------------------------------------------------------------- */

/* pm_sync() needs no flush before. What it covers may be in the page cache alone, if the server before was killed. */
int pmr_segment_settle(struct pmr_segment *s, char *message)
{
	int rc = pmr_clear(s->map, s->end, s->size, message);
	if (rc)
		return rc;
	rc = pm_sync(s->map);
	if (rc)
		return pmr_fail_pm(message, rc, "cannot make the log durable");
	s->durable = s->end;
	return s->word == s->end ? 0 : pmr_segment_publish(s, 0, message);
}

/* ---- Appending --------------------------------------------------------------------------------- */

bool pmr_segment_has_room(const struct pmr_segment *s, size_t payload)
{
	return pmr_record_size(payload) <= s->size - s->end;
}

int pmr_segment_store(const struct pmr_home *home, struct pmr_segment *s, const struct raft_entry *entry, char *message)
{
	struct record r = {.index = s->first + s->count, .term = entry->term, .durable = s->durable,
	                   .length = (uint32_t)entry->buf.len, .type = entry->type, .previous = s->chain};
	r.checksum = record_checksum(home, s->number, &r, entry->buf.base);
	int rc = pmr_store_two(s->map, s->end, &r, sizeof(r), entry->buf.base, entry->buf.len, message);
	if (!rc && !add_place(s, s->end))
		rc = pmr_fail(message, RAFT_NOMEM, "out of memory for the places of the log");
	if (rc)
		return rc;
	s->end += pmr_record_size(entry->buf.len);
	s->chain = r.checksum;
	return 0;
}

/* By lines the word costs two fences, so each commit says how far it came; by pages it waits for a quiet moment. */
int pmr_segment_commit(struct pmr_segment *s, char *message)
{
	if (s->durable == s->end)
		return 0;
	int rc = pmr_commit(s->map, s->durable, (size_t)(s->end - s->durable), message);
	if (rc)
		return rc;
	s->durable = s->end;
	return pm_granularity_of(s->map) >= PM_CACHE_LINE ? pmr_segment_publish(s, 0, message) : 0;
}

int pmr_segment_publish(struct pmr_segment *s, unsigned flags, char *message)
{
	uint64_t word = s->end | flags;
	int rc = pmr_publish(s->map, word, message);
	if (!rc)
		s->word = word;
	return rc;
}

static int chain_at_end(struct pmr_segment *s, char *message)
{
	struct record r;
	s->chain = s->header;
	if (!s->count)
		return 0;
	int rc = pmr_read(s->map, s->places[s->count - 1], &r, sizeof(r), message);
	s->chain = r.checksum;
	return rc;
}

int pmr_segment_cut(struct pmr_segment *s, uint64_t index, char *message)
{
	size_t count = (size_t)(index - s->first);
	if (count < s->count) {
		s->end = s->places[count];
		s->count = count;
	}
	s->durable = s->end;
	int rc = chain_at_end(s, message);
	return rc ? rc : pmr_segment_publish(s, PMR_CUT, message);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What is there when a server starts: whole, unfinished, void, or damaged. README.md has the rules. */
#include "store_recover.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct numbers {
	uint64_t *number;
	size_t count, room;
};

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* A name with anything behind the number is that of a file of the operator. */
static bool is_segment(const char *entry, uint64_t *ret)
{
	char name[PMR_NAME_MAX];
	if (sscanf(entry, "segment-%" SCNu64, ret) != 1)
		return false;
	pmr_segment_name(*ret, name);
	return !strcmp(entry, name);
}

static int list(const struct pmr_home *home, struct numbers *ret, char *message)
{
	struct dirent *entry;
	int rc = 0;
	DIR *directory = opendir(home->path);
	if (!directory)
		return pmr_fail_errno(message, -errno, "cannot list the directory", home->path);
	while (!rc && (entry = readdir(directory))) {
		uint64_t number;
		if (!is_segment(entry->d_name, &number))
			continue;
		if (ret->count == ret->room) {
			ret->room = ret->room ? ret->room * 2 : 16;
			uint64_t *more = realloc(ret->number, ret->room * sizeof(*more));
			if (!more)
				rc = pmr_fail(message, RAFT_NOMEM, "out of memory for the list of segments");
			else
				ret->number = more;
		}
		if (!rc)
			ret->number[ret->count++] = number;
	}
	closedir(directory);
	if (ret->count)
		qsort(ret->number, ret->count, sizeof(*ret->number), compare);
	return rc;
}

static void remove_file(const struct pmr_home *home, uint64_t number)
{
	char name[PMR_NAME_MAX], path[PATH_MAX];
	pmr_segment_name(number, name);
	pmr_path(home, name, path);
	unlink(path);
}

static bool has_no_byte(const struct pmr_home *home, uint64_t number)
{
	char name[PMR_NAME_MAX], path[PATH_MAX];
	pmr_segment_name(number, name);
	pmr_path(home, name, path);
	return pmr_file_is_empty(path);
}

/* Whether a segment without a valid header never had one: records follow a header only when that is durable. */
static int is_empty(const struct pmr_segment *s, bool *ret, char *message)
{
	char bytes[PMR_PAGE];
	*ret = true;
	for (uint64_t place = PMR_RECORDS_AT; *ret && place + PMR_PAGE <= s->size; place += PMR_PAGE) {
		int rc = pmr_read(s->map, place, bytes, sizeof(bytes), message);
		if (rc)
			return rc;
		*ret = !bytes[0] && !memcmp(bytes, bytes + 1, sizeof(bytes) - 1);
	}
	return 0;
}

/* ---- Opening ----------------------------------------------------------------------------------- */

static int open_one(struct pmr_log *log, uint64_t number, char *message)
{
	struct pmr_segment s;
	bool empty = false;
	if (has_no_byte(log->home, number)) {
		pmr_log_remove(log, number);
		return 0;
	}
	int rc = pmr_segment_open(log->home, number, &s, message);
	if (rc)
		return rc;
	if (!s.begun)
		rc = is_empty(&s, &empty, message);
	if (!rc && !s.begun && !empty)
		rc = pmr_fail(message, RAFT_CORRUPT, "segment %" PRIu64 ": the header is damaged", number);
	/* What is in the page cache alone, since the server before was killed, is made durable before it counts. */
	if (!rc && s.begun && pm_sync(s.map))
		rc = pmr_fail(message, RAFT_IOERR, "cannot make the log durable: %s", pm_error_detail());
	if (!rc && s.begun)
		rc = pmr_log_add(log, &s, message);
	if (rc || !s.begun)
		pmr_segment_close(&s);
	if (!rc && !s.begun)
		pmr_log_remove(log, number);
	return rc;
}

static int open_all(struct pmr_log *log, char *message)
{
	struct numbers all = {0};
	int rc = list(log->home, &all, message);
	for (size_t i = 0; !rc && i < all.count; i++) {
		rc = open_one(log, all.number[i], message);
		log->next_number = all.number[i] + 1;
	}
	free(all.number);
	if (!rc && !log->count)
		rc = pmr_fail(message, RAFT_CORRUPT, "%s has no segment of the log: the log is missing",
		              log->home->path);
	return rc;
}

/* ---- Entries ----------------------------------------------------------------------------------- */

void pmr_entries_free(struct pmr_entries *entries)
{
	void *batch = NULL;
	for (size_t i = 0; i < entries->count; i++) {
		if (entries->entry[i].batch != batch)
			raft_free(entries->entry[i].batch);
		batch = entries->entry[i].batch;
	}
	raft_free(entries->entry);
	*entries = (struct pmr_entries){0};
}

/* Drops the segments before the n-th, which an install of a snapshot or a gap below one made void. */
static void restart_at(struct pmr_log *log, size_t n, struct pmr_entries *entries)
{
	pmr_entries_free(entries);
	pmr_log_drop_first(log, n);
}

static size_t last_reset(const struct pmr_log *log)
{
	size_t n = log->count - 1;
	while (n && !log->segments[n].resets)
		n--;
	return n;
}

static int missing(const struct pmr_log *log, uint64_t from, uint64_t to, char *message)
{
	return pmr_fail(message, RAFT_CORRUPT,
	                "%s: entries %" PRIu64 " to %" PRIu64 " are missing: a segment of the log is "
	                "gone", log->home->path, from, to);
}

/* ---- From segment to segment ------------------------------------------------------------------- */

/* Joins segment i to the one before; -1: it is the unfinished successor of an open segment, or void. */
static int join(struct pmr_log *log, size_t *i, uint64_t snapshot, struct pmr_entries *entries, char *message)
{
	const struct pmr_segment *s = &log->segments[*i], *before = s - 1;
	uint64_t next = before->first + before->count;
	if (before->word & PMR_CUT)
		return -1;
	if (s->first != next) {
		if (s->first > snapshot + 1 || s->first < next)
			return missing(log, next, s->first - 1, message);
		restart_at(log, *i, entries);
		*i = 0;
	} else if (!(before->word & PMR_SEALED)) {
		bool empty;
		int rc = is_empty(s, &empty, message);
		if (rc)
			return rc;
		return empty ? -1 : pmr_fail(message, RAFT_CORRUPT,
		                             "segment %" PRIu64 " is not sealed, and has a successor",
		                             before->number);
	}
	return 0;
}

static int scan_all(struct pmr_log *log, uint64_t snapshot, struct pmr_entries *entries, char *message)
{
	for (size_t i = 0; i < log->count; i++) {
		int rc = i ? join(log, &i, snapshot, entries, message) : 0;
		if (rc < 0) {
			while (log->count > i)
				pmr_log_drop_last(log);
			return 0;
		}
		struct pmr_segment *s = &log->segments[i];
		if (!rc)
			rc = pmr_segment_scan(log->home, s, entries, message);
		if (rc)
			return rc;
		if (i + 1 == log->count && s->word & PMR_SEALED)
			return pmr_fail(message, RAFT_CORRUPT,
			                "%s: the segment after number %" PRIu64 " is missing: entries "
			                "from %" PRIu64 " on are lost", log->home->path, s->number,
			s->first + s->count);
		if (i + 1 < log->count) {
			pm_unmap(s->map);
			s->map = NULL;
		}
	}
	return 0;
}

/* Whether the log and the snapshot are of one history: else a snapshot was installed, and the log is void. */
static bool agrees(const struct pmr_log *log, struct pmr_snapshot_id snapshot, const struct pmr_entries *entries)
{
	uint64_t first = log->segments[0].first;
	if (!snapshot.index || snapshot.index == first - 1)
		return true;
	if (snapshot.index >= pmr_log_next(log))
		return false;
	return entries->entry[snapshot.index - first].term == snapshot.term;
}

/* All is looked at before the first segment is removed; those are gone before the log is settled. */
static int judge(struct pmr_log *log, struct pmr_snapshot_id snapshot, struct pmr_entries *ret, char *message)
{
	pmr_log_begin_judging(log);
	int rc = open_all(log, message);
	if (!rc)
		pmr_log_drop_first(log, last_reset(log));
	if (!rc)
		rc = scan_all(log, snapshot.index, ret, message);
	if (!rc && log->segments[0].first > snapshot.index + 1)
		rc = missing(log, snapshot.index + 1, log->segments[0].first - 1, message);
	return pmr_log_end_judging(log, rc, message);
}

int pmr_log_load(struct pmr_log *log, struct pmr_snapshot_id snapshot, struct pmr_entries *ret, uint64_t *ret_first,
                 char *message)
{
	*ret = (struct pmr_entries){0};
	pmr_log_forget(log);
	int rc = judge(log, snapshot, ret, message);
	if (!rc)
		rc = pmr_log_settle(log, message);
	if (!rc && !agrees(log, snapshot, ret)) {
		pmr_entries_free(ret);
		rc = pmr_log_reset(log, snapshot.index + 1, message);
	}
	if (rc)
		pmr_entries_free(ret);
	else
		*ret_first = log->segments[0].first;
	return rc;
}

/* ---- Making ------------------------------------------------------------------------------------ */

static int refuse_entries(const struct pmr_home *home, uint64_t number, char *message)
{
	struct pmr_segment s = {.number = number};
	char name[PMR_NAME_MAX], path[PATH_MAX];
	bool empty = false;
	if (has_no_byte(home, number))
		return 0;
	pmr_segment_name(number, name);
	pmr_path(home, name, path);
	int rc = pmr_file_map(path, PM_READ_ONLY, &s.map, message);
	if (rc)
		return rc;
	s.size = pm_length(s.map);
	rc = is_empty(&s, &empty, message);
	pmr_segment_close(&s);
	if (!rc && !empty)
		rc = pmr_fail(message, RAFT_CORRUPT,
		              "%s has no metadata, but a log with entries: the metadata is missing", home->path);
	return rc;
}

/* All are looked at before the first is removed: an error removes none. */
int pmr_log_prepare(struct pmr_log *log, char *message)
{
	struct numbers all = {0};
	int rc = list(log->home, &all, message);
	for (size_t i = 0; !rc && i < all.count; i++)
		rc = refuse_entries(log->home, all.number[i], message);
	for (size_t i = 0; !rc && i < all.count; i++)
		remove_file(log->home, all.number[i]);
	free(all.number);
	return rc;
}

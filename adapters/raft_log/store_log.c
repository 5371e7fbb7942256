/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct pmr_segment *active(const struct pmr_log *log)
{
	return &log->segments[log->count - 1];
}

uint64_t pmr_log_next(const struct pmr_log *log)
{
	return active(log)->first + active(log)->count;
}

void pmr_log_init(struct pmr_log *log, const struct pmr_home *home, uint64_t segment_size)
{
	*log = (struct pmr_log){.home = home, .segment_size = segment_size, .next_number = 1};
	pthread_mutex_init(&log->mutex, NULL);
	pthread_cond_init(&log->made, NULL);
}

static void remove_file(const struct pmr_log *log, uint64_t number)
{
	char name[PMR_NAME_MAX], path[PATH_MAX];
	pmr_segment_name(number, name);
	pmr_path(log->home, name, path);
	unlink(path);
}

void pmr_log_begin_judging(struct pmr_log *log)
{
	log->is_judging = true;
	log->has_forgotten = false;
	log->unneeded_count = 0;
}

void pmr_log_remove(struct pmr_log *log, uint64_t number)
{
	if (!log->is_judging) {
		remove_file(log, number);
		return;
	}
	if (log->unneeded_count == log->unneeded_room) {
		size_t room = log->unneeded_room ? log->unneeded_room * 2 : 16;
		uint64_t *more = realloc(log->unneeded, room * sizeof(*more));
		if (!more) {
			log->has_forgotten = true;
			return;
		}
		log->unneeded = more;
		log->unneeded_room = room;
	}
	log->unneeded[log->unneeded_count++] = number;
}

/* A void segment that stayed would count again, once the log is settled. */
int pmr_log_end_judging(struct pmr_log *log, int rc, char *message)
{
	log->is_judging = false;
	if (!rc && log->has_forgotten)
		rc = pmr_fail(message, RAFT_NOMEM, "out of memory for the list of segments");
	for (size_t i = 0; !rc && i < log->unneeded_count; i++)
		remove_file(log, log->unneeded[i]);
	log->unneeded_count = 0;
	return rc;
}

static void drop_spare(struct pmr_log *log)
{
	if (log->spare_state == PMR_SPARE_READY) {
		pmr_segment_close(&log->spare);
		remove_file(log, log->spare.number);
	}
	log->spare_state = PMR_SPARE_NONE;
}

void pmr_log_forget(struct pmr_log *log)
{
	for (size_t i = 0; i < log->count; i++)
		pmr_segment_close(&log->segments[i]);
	log->count = 0;
	drop_spare(log);
}

void pmr_log_close(struct pmr_log *log)
{
	pmr_log_forget(log);
	free(log->segments);
	free(log->unneeded);
	pthread_cond_destroy(&log->made);
	pthread_mutex_destroy(&log->mutex);
}

/* ---- The next segment -------------------------------------------------------------------------- */

bool pmr_log_wants_spare(struct pmr_log *log)
{
	const struct pmr_segment *s = active(log);
	pthread_mutex_lock(&log->mutex);
	bool wants = log->spare_state == PMR_SPARE_NONE && s->end > s->size / 2;
	pthread_mutex_unlock(&log->mutex);
	return wants;
}

void pmr_log_make_spare(struct pmr_log *log)
{
	char message[RAFT_ERRMSG_BUF_SIZE]; /* the append that needs the segment tries again, and says why it fails */
	struct pmr_segment made;
	pthread_mutex_lock(&log->mutex);
	if (log->spare_state != PMR_SPARE_NONE) {
		pthread_mutex_unlock(&log->mutex);
		return;
	}
	log->spare_state = PMR_SPARE_MAKING;
	uint64_t number = log->next_number++;
	pthread_mutex_unlock(&log->mutex);
	int rc = pmr_segment_make(log->home, number, log->segment_size, &made, message);
	pthread_mutex_lock(&log->mutex);
	log->spare_state = rc ? PMR_SPARE_NONE : PMR_SPARE_READY;
	if (!rc)
		log->spare = made;
	pthread_cond_broadcast(&log->made);
	pthread_mutex_unlock(&log->mutex);
}

/* The spare, or a new one if there is none or it is too small. */
static int next_segment(struct pmr_log *log, uint64_t size, struct pmr_segment *ret, char *message)
{
	bool spare = false;
	if (size < log->segment_size)
		size = log->segment_size;
	pthread_mutex_lock(&log->mutex);
	while (log->spare_state == PMR_SPARE_MAKING)
		pthread_cond_wait(&log->made, &log->mutex);
	if (log->spare_state == PMR_SPARE_READY && log->spare.size >= size) {
		*ret = log->spare;
		log->spare_state = PMR_SPARE_NONE;
		spare = true;
	} else {
		drop_spare(log); /* its number is below the one that is needed */
	}
	uint64_t number = spare ? 0 : log->next_number++;
	pthread_mutex_unlock(&log->mutex);
	return spare ? 0 : pmr_segment_make(log->home, number, size, ret, message);
}

int pmr_log_add(struct pmr_log *log, const struct pmr_segment *s, char *message)
{
	if (log->count == log->room) {
		size_t room = log->room ? log->room * 2 : 16;
		struct pmr_segment *segments = realloc(log->segments, room * sizeof(*segments));
		if (!segments)
			return pmr_fail(message, RAFT_NOMEM, "out of memory for a segment of the log");
		log->segments = segments;
		log->room = room;
	}
	log->segments[log->count++] = *s;
	return 0;
}

/* Takes the next segment into use. Without resets the one before is sealed then. */
static int extend(struct pmr_log *log, uint64_t first, uint64_t size, bool resets, char *message)
{
	struct pmr_segment s = {0};
	int rc = next_segment(log, size, &s, message);
	if (rc)
		return rc;
	rc = pmr_segment_begin(log->home, &s, first, resets, message);
	if (!rc && !resets && log->count)
		rc = pmr_segment_publish(active(log), PMR_SEALED, message);
	if (!rc)
		rc = pmr_log_add(log, &s, message);
	if (rc) {
		pmr_segment_close(&s);
		return rc;
	}
	if (!resets && log->count > 1) {
		struct pmr_segment *before = active(log) - 1;
		pm_unmap(before->map);
		before->map = NULL;
	}
	return 0;
}

/* ---- Appending --------------------------------------------------------------------------------- */

int pmr_log_commit(struct pmr_log *log, char *message)
{
	return pmr_segment_commit(active(log), message);
}

int pmr_log_store(struct pmr_log *log, const struct raft_entry *entries, unsigned n, char *message)
{
	int rc = 0;
	for (unsigned i = 0; !rc && i < n; i++) {
		size_t length = entries[i].buf.len;
		if (length > UINT32_MAX / 2)
			return pmr_fail(message, RAFT_TOOBIG, "an entry of %zu bytes", length);
		if (!pmr_segment_has_room(active(log), length)) {
			rc = pmr_log_commit(log, message);
			uint64_t need = PMR_RECORDS_AT + pmr_record_size(length);
			if (!rc)
				rc = extend(log, pmr_log_next(log), (need + PMR_PAGE - 1) / PMR_PAGE * PMR_PAGE,
				            false, message);
		}
		if (!rc)
			rc = pmr_segment_store(log->home, active(log), &entries[i], message);
	}
	return rc;
}

bool pmr_log_is_at_rest(const struct pmr_log *log)
{
	return active(log)->word == active(log)->end;
}

int pmr_log_rest(struct pmr_log *log, char *message)
{
	return pmr_log_is_at_rest(log) ? 0 : pmr_segment_publish(active(log), 0, message);
}

/* ---- Dropping ---------------------------------------------------------------------------------- */

void pmr_log_drop_last(struct pmr_log *log)
{
	struct pmr_segment *s = active(log);
	pmr_segment_close(s);
	pmr_log_remove(log, s->number);
	log->count--;
}

static int map_again(struct pmr_log *log, struct pmr_segment *s, char *message)
{
	char name[PMR_NAME_MAX], path[PATH_MAX];
	if (s->map)
		return 0;
	pmr_segment_name(s->number, name);
	pmr_path(log->home, name, path);
	return pmr_file_map(path, 0, &s->map, message);
}

/*
 * The cut is published in the segment that becomes the last, and that decides: a crash before it leaves the log as it
 * was, and one after it leaves the rest to the next load. Later segments and records are gone when the word is again
 * one without a cut, so that no number or place is used twice.
 */
static int finish_cut(struct pmr_log *log, struct pmr_segment *s, char *message)
{
	while (active(log) != s)
		pmr_log_drop_last(log);
	int rc = pmr_sync_directory(log->home, message);
	return rc ? rc : pmr_segment_settle(s, message);
}

int pmr_log_truncate(struct pmr_log *log, uint64_t index, char *message)
{
	if (index >= pmr_log_next(log))
		return 0;
	struct pmr_segment *s = active(log);
	while (s > log->segments && s->first > index)
		s--;
	if (s->first > index)
		return pmr_fail(message, RAFT_INVALID, "the log cannot be truncated before its first entry");
	int rc = map_again(log, s, message);
	if (!rc)
		rc = pmr_segment_cut(s, index, message);
	return rc ? rc : finish_cut(log, s, message);
}

void pmr_log_drop_first(struct pmr_log *log, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		pmr_segment_close(&log->segments[i]);
		pmr_log_remove(log, log->segments[i].number);
	}
	log->count -= n;
	memmove(log->segments, log->segments + n, log->count * sizeof(*log->segments));
}

int pmr_log_reset(struct pmr_log *log, uint64_t index, char *message)
{
	int rc = extend(log, index, 0, true, message);
	if (!rc)
		pmr_log_drop_first(log, log->count - 1);
	return rc;
}

int pmr_log_trim(struct pmr_log *log, uint64_t index, char *message)
{
	size_t n = 0;
	while (n + 1 < log->count && log->segments[n + 1].first <= index)
		n++;
	if (!n)
		return 0;
	pmr_log_drop_first(log, n);
	return pmr_sync_directory(log->home, message);
}

int pmr_log_settle(struct pmr_log *log, char *message)
{
	struct pmr_segment *s = active(log);
	int rc = map_again(log, s, message);
	return rc ? rc : finish_cut(log, s, message);
}

int pmr_log_make(struct pmr_log *log, char *message)
{
	int rc = extend(log, 1, 0, false, message);
	pmr_log_forget(log);
	return rc;
}

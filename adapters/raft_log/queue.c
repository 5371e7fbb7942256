/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests to the log. By lines a commit takes about as long as a switch of threads, so it is made in the loop's
 * thread, and only its callback comes later. By pages it waits for the device, and one commit serves all requests of a
 * round of the loop: in a thread of libuv's pool, or, if commits were short of late, in the loop's thread.
 */
#include "server.h"

#include <string.h>

#define REST_AFTER 1000u /* milliseconds */
#define SHORT 250000u    /* nanoseconds: about what four switches of threads cost on a loaded machine */

static void start(struct pmr_server *s);

static void clear_list(struct pmr_list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static void push(struct pmr_list *list, struct pmr_request *r)
{
	r->next = NULL;
	*list->last = r;
	list->last = &r->next;
}

static struct pmr_request *pop(struct pmr_list *list)
{
	struct pmr_request *r = list->first;
	if (r && !(list->first = r->next))
		list->last = &list->first;
	return r;
}

static void move(struct pmr_list *from, struct pmr_list *to)
{
	clear_list(to);
	if (from->first)
		*to = *from;
	clear_list(from);
}

/* 0, or why no request is taken any more. */
static int refuse(struct pmr_server *s)
{
	if (s->closing)
		return pmr_fail(s->io->errmsg, RAFT_CANCELED, "the server is closed");
	return s->failed ? pmr_fail(s->io->errmsg, s->failed, "%s", s->failure) : 0;
}

static struct pmr_request *new_request(struct pmr_server *s, enum pmr_kind kind)
{
	struct pmr_request *r = raft_calloc(1, sizeof(*r));
	if (!r) {
		pmr_fail(s->io->errmsg, RAFT_NOMEM, "out of memory for a request");
		return NULL;
	}
	r->kind = kind;
	r->term = s->metadata.term;
	return r;
}

/* ---- Serving, in the worker or the loop's thread ----------------------------------------------- */

static int serve(struct pmr_server *s, struct pmr_request *r)
{
	int rc;
	switch (r->kind) {
	case PMR_APPEND:
		return pmr_log_store(&s->log, r->append.entries, r->append.n, s->message);
	case PMR_TRUNCATE:
		return pmr_log_truncate(&s->log, r->index, s->message);
	case PMR_PUT: /* the log is void when the snapshot is durable */
		rc = pmr_snapshot_put(&s->home, r->put.snapshot, s->message);
		return rc ? rc : pmr_log_reset(&s->log, r->put.snapshot->index + 1, s->message);
	case PMR_TRIM:
		if (r->put.snapshot->index <= r->put.trailing)
			return 0;
		return pmr_log_trim(&s->log, r->put.snapshot->index - r->put.trailing, s->message);
	default:
		return pmr_log_rest(&s->log, s->message);
	}
}

/* A failure ends all that follow: they build on what was not stored. */
static void serve_all(struct pmr_server *s, struct pmr_request *first)
{
	char ignored[RAFT_ERRMSG_BUF_SIZE];
	int rc = 0;
	struct pmr_request *open = first; /* first of the appends that are stored and not committed */
	for (struct pmr_request *r = first; r; r = r->next) {
		bool more = r->next && r->next->kind == PMR_APPEND;
		if (!rc)
			rc = serve(s, r);
		r->status = rc;
		if (r->kind == PMR_APPEND && more && !rc)
			continue;
		int committed = pmr_log_commit(&s->log, rc ? ignored : s->message);
		if (committed) {
			rc = rc ? rc : committed;
			for (; open != r->next; open = open->next)
				open->status = rc;
		}
		open = r->next;
	}
}

/* ---- Delivering, in the loop's thread ---------------------------------------------------------- */

static void deliver_one(struct pmr_server *s, struct pmr_request *r)
{
	const struct pmr_request *outer = s->delivered;
	s->delivered = r;
	if (r->status)
		pmr_fail(s->io->errmsg, r->status, "%s", s->failure);
	if (r->kind == PMR_APPEND) {
		r->append.req->cb(r->append.req, r->status);
	} else if (r->kind == PMR_PUT || r->kind == PMR_TRIM) {
		if (!r->status || r->kind == PMR_TRIM)
			s->snapshot = (struct pmr_snapshot_id){r->put.snapshot->index, r->put.snapshot->term};
		r->put.req->cb(r->put.req, r->status);
	}
	s->delivered = outer;
	raft_free(r);
}

/* Failures come last first: at each, raft drops the entries from there on, which must still be its last ones. */
static void deliver(struct pmr_server *s, struct pmr_list *list)
{
	struct pmr_request *failed = NULL, *r;
	while ((r = pop(list))) {
		if (r->status) {
			r->next = failed;
			failed = r;
		} else {
			deliver_one(s, r);
		}
	}
	while ((r = failed)) {
		failed = r->next;
		deliver_one(s, r);
	}
}

static void take_failure(struct pmr_server *s, struct pmr_list *list)
{
	for (const struct pmr_request *r = list->first; r && !s->failed; r = r->next)
		if (r->status) {
			s->failed = r->status;
			memcpy(s->failure, s->message, sizeof(s->failure));
		}
	/* What waits was asked for before the failure was known. */
	for (struct pmr_request *r; s->failed && (r = pop(&s->waiting));) {
		r->status = s->failed;
		push(list, r);
	}
}

/* ---- The spare segment ------------------------------------------------------------------------- */

static void make_spare(uv_work_t *work)
{
	struct pmr_server *s = work->data;
	pmr_log_make_spare(&s->log);
}

static void spare_made(uv_work_t *work, int status)
{
	struct pmr_server *s = work->data;
	(void)status;
	s->making_spare = false;
	pmr_closed_maybe(s);
}

static void want_spare(struct pmr_server *s)
{
	if (s->closing || s->failed || s->making_spare || !pmr_log_wants_spare(&s->log))
		return;
	s->spare_work.data = s;
	s->making_spare = !uv_queue_work(s->loop, &s->spare_work, make_spare, spare_made);
}

/* ---- Starting ---------------------------------------------------------------------------------- */

/* Whether all that waits are appends for which the active segment has room. */
static bool is_plain(const struct pmr_server *s)
{
	const struct pmr_segment *active = &s->log.segments[s->log.count - 1];
	uint64_t room = active->size - active->end, size = 0;
	for (const struct pmr_request *r = s->waiting.first; r; r = r->next) {
		if (r->kind != PMR_APPEND)
			return false;
		for (unsigned i = 0; i < r->append.n; i++)
			size += pmr_record_size(r->append.entries[i].buf.len);
	}
	return size <= room;
}

static void serve_timed(struct pmr_server *s, struct pmr_list *list)
{
	uint64_t began = uv_hrtime();
	serve_all(s, list->first);
	uint64_t took = uv_hrtime() - began + 1;
	s->duration = s->duration ? (3 * s->duration + took) / 4 : took;
}

static void run(uv_work_t *work)
{
	struct pmr_server *s = work->data;
	serve_timed(s, &s->running);
}

/* Callbacks first: what they append goes into the next commit. */
static void ran(uv_work_t *work, int status)
{
	struct pmr_server *s = work->data;
	struct pmr_list list;
	(void)status;
	s->working = false;
	take_failure(s, &s->running);
	want_spare(s);
	move(&s->running, &list);
	deliver(s, &list);
	start(s);
	pmr_closed_maybe(s);
}

static void serve_here(struct pmr_server *s, struct pmr_list *list)
{
	serve_timed(s, list);
	take_failure(s, list);
	want_spare(s);
}

static void start_worker(struct pmr_server *s)
{
	move(&s->waiting, &s->running);
	s->work.data = s;
	s->working = true;
	if (!uv_queue_work(s->loop, &s->work, run, ran))
		return;
	s->working = false;
	serve_here(s, &s->running);
	deliver(s, &s->running);
}

/* In the loop's thread, from no call of raft: callbacks may be made. */
static void idle(uv_idle_t *handle)
{
	struct pmr_server *s = handle->data;
	struct pmr_list list;
	uv_idle_stop(handle);
	move(&s->done, &list);
	deliver(s, &list);
	if (s->working || !s->waiting.first)
		return;
	if (!is_plain(s) || !s->duration || s->duration >= SHORT) {
		start_worker(s);
		return;
	}
	move(&s->waiting, &list);
	serve_here(s, &list);
	deliver(s, &list);
}

/*
 * By pages all requests of one round of the loop share a commit. By lines a commit costs little and does not wait for
 * others; its callback comes when the loop comes round.
 */
static void start(struct pmr_server *s)
{
	if (s->working || !s->waiting.first)
		return;
	const struct pmr_segment *active = &s->log.segments[s->log.count - 1];
	if (pm_granularity_of(active->map) >= PM_CACHE_LINE && is_plain(s)) {
		struct pmr_list list;
		move(&s->waiting, &list);
		serve_here(s, &list);
		for (struct pmr_request *r; (r = pop(&list));)
			push(&s->done, r);
	}
	uv_idle_start(&s->idle, idle);
}

static int enqueue(struct pmr_server *s, struct pmr_request *r)
{
	push(&s->waiting, r);
	start(s);
	return 0;
}

/* ---- Calls ------------------------------------------------------------------------------------- */

int pmr_append(struct raft_io *io, struct raft_io_append *req, const struct raft_entry entries[], unsigned n,
               raft_io_append_cb cb)
{
	struct pmr_server *s = pmr_server_of(io);
	int rc = refuse(s);
	if (rc)
		return rc;
	struct pmr_request *r = new_request(s, PMR_APPEND);
	if (!r)
		return RAFT_NOMEM;
	req->cb = cb;
	r->append.req = req;
	r->append.entries = entries;
	r->append.n = n;
	s->last_append = uv_now(s->loop);
	return enqueue(s, r);
}

int pmr_truncate(struct raft_io *io, raft_index index)
{
	struct pmr_server *s = pmr_server_of(io);
	int rc = refuse(s);
	if (rc)
		return rc;
	struct pmr_request *r = new_request(s, PMR_TRUNCATE);
	if (!r)
		return RAFT_NOMEM;
	r->index = index;
	return enqueue(s, r);
}

void pmr_queue_tick(struct pmr_server *s)
{
	if (s->working || s->waiting.first || s->failed || s->closing || pmr_log_is_at_rest(&s->log) ||
	    uv_now(s->loop) - s->last_append < REST_AFTER)
		return;
	struct pmr_request *r = new_request(s, PMR_REST);
	if (r)
		enqueue(s, r);
}

static void put(uv_work_t *work)
{
	struct pmr_server *s = work->data;
	s->put->status = pmr_snapshot_put(&s->home, s->put->put.snapshot, s->put_message);
}

/* A snapshot that could not be written costs nothing: the log still has its entries. */
static void was_put(uv_work_t *work, int status)
{
	struct pmr_server *s = work->data;
	struct pmr_request *r = s->put;
	(void)status;
	s->putting = false;
	if (!r->status && !s->failed && !s->closing) {
		enqueue(s, r);
		return;
	}
	if (r->status)
		pmr_fail(s->io->errmsg, r->status, "%s", s->put_message);
	r->put.req->cb(r->put.req, r->status ? r->status : RAFT_CANCELED);
	raft_free(r);
	pmr_closed_maybe(s);
}

int pmr_snapshot_put_request(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
                             const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
	struct pmr_server *s = pmr_server_of(io);
	int rc = refuse(s);
	if (rc)
		return rc;
	if (s->putting)
		return pmr_fail(io->errmsg, RAFT_BUSY, "a snapshot is being written");
	struct pmr_request *r = new_request(s, trailing ? PMR_TRIM : PMR_PUT);
	if (!r)
		return RAFT_NOMEM;
	req->cb = cb;
	r->put.req = req;
	r->put.snapshot = snapshot;
	r->put.trailing = trailing;
	if (!trailing)
		return enqueue(s, r);
	s->put = r;
	s->put_work.data = s;
	if (uv_queue_work(s->loop, &s->put_work, put, was_put)) {
		raft_free(r);
		return pmr_fail(io->errmsg, RAFT_NOMEM, "no thread for a snapshot");
	}
	s->putting = true;
	return 0;
}

struct get {
	uv_work_t work;
	struct pmr_server *server;
	struct raft_io_snapshot_get *req;
	struct pmr_snapshot_id id;
	struct raft_snapshot *snapshot;
	int status;
	char message[RAFT_ERRMSG_BUF_SIZE];
};

static void get(uv_work_t *work)
{
	struct get *g = work->data;
	g->status = pmr_snapshot_get(&g->server->home, g->id, &g->snapshot, g->message);
}

static int start_get(struct get *g);

static void got(uv_work_t *work, int status)
{
	struct get *g = work->data;
	struct pmr_server *s = g->server;
	(void)status;
	s->gets--;
	/* A newer snapshot took the place of the one that was looked for. */
	if (g->status && g->id.index != s->snapshot.index && !s->closing && !start_get(g))
		return;
	if (g->status)
		pmr_fail(s->io->errmsg, g->status, "%s", g->message);
	g->req->cb(g->req, g->snapshot, g->status);
	raft_free(g);
	pmr_closed_maybe(s);
}

static int start_get(struct get *g)
{
	g->id = g->server->snapshot;
	g->snapshot = NULL;
	g->work.data = g;
	if (uv_queue_work(g->server->loop, &g->work, get, got))
		return pmr_fail(g->server->io->errmsg, RAFT_NOMEM, "no thread for a snapshot");
	g->server->gets++;
	return 0;
}

int pmr_snapshot_get_request(struct raft_io *io, struct raft_io_snapshot_get *req, raft_io_snapshot_get_cb cb)
{
	struct pmr_server *s = pmr_server_of(io);
	struct get *g = raft_calloc(1, sizeof(*g));
	if (!g)
		return pmr_fail(io->errmsg, RAFT_NOMEM, "out of memory for a request");
	g->server = s;
	g->req = req;
	req->cb = cb;
	int rc = start_get(g);
	if (rc)
		raft_free(g);
	return rc;
}

/* ---- Ends -------------------------------------------------------------------------------------- */

void pmr_queue_init(struct pmr_server *s)
{
	clear_list(&s->waiting);
	clear_list(&s->running);
	clear_list(&s->done);
}

void pmr_queue_cancel(struct pmr_server *s)
{
	struct pmr_list list;
	move(&s->done, &list);
	deliver(s, &list);
	for (struct pmr_request *r = s->waiting.first; r; r = r->next)
		r->status = RAFT_CANCELED;
	pmr_fail(s->failure, 0, "the server is closed");
	move(&s->waiting, &list);
	deliver(s, &list);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* One raft_io: the store, libraft's own transport, and the requests in between. */
#ifndef PMR_SERVER_H
#define PMR_SERVER_H

#include "pmdirect_raft.h"
#include "store_log.h"
#include "store_metadata.h"
#include "store_recover.h"

enum pmr_kind { PMR_APPEND, PMR_TRUNCATE, PMR_PUT, PMR_TRIM, PMR_REST };

/* The log serves one request after the other, in the order of the calls. */
struct pmr_request {
	struct pmr_request *next;
	enum pmr_kind kind;
	int status;
	uint64_t term; /* of the server, when it was made */
	union {
		struct {
			struct raft_io_append *req;
			const struct raft_entry *entries;
			unsigned n;
		} append;
		uint64_t index; /* of truncate */
		struct {
			struct raft_io_snapshot_put *req;
			const struct raft_snapshot *snapshot;
			unsigned trailing;
		} put;
	};
};

struct pmr_list {
	struct pmr_request *first, **last;
};

struct pmr_server {
	struct raft_io *io;
	struct raft_io network; /* libraft's own raft_io: only its transport, timer and random numbers serve */
	struct raft_uv_transport *transport;
	struct uv_loop_s *loop;
	unsigned connect_retry_delay; /* milliseconds; 0: libraft's own */
	raft_io_tick_cb tick;
	raft_io_recv_cb recv;
	raft_io_close_cb on_close;

	struct pmr_home home;
	struct pmr_metadata metadata;
	struct pmr_log log; /* of the worker while "working", else of the loop's thread */
	struct pmr_snapshot_id snapshot;
	size_t segment_size;
	bool loaded, closing;
	enum pm_granularity granularity; /* of the active segment, when the loop's thread had the log last */
	int failed; /* RAFT_ code: a write failed, and what the log holds is not known until the next start */
	char failure[RAFT_ERRMSG_BUF_SIZE];

	struct pmr_list waiting, running, done;
	uv_work_t work, put_work, spare_work;
	uv_idle_t idle;      /* delivers what is done */
	const struct pmr_request *delivered; /* whose callback runs */
	uint64_t matched; /* index up to which the message that is being received checks the log */
	bool working, putting, making_spare, network_open, idle_open;
	struct pmr_request *put; /* whose snapshot is being written */
	char message[RAFT_ERRMSG_BUF_SIZE], put_message[RAFT_ERRMSG_BUF_SIZE];
	unsigned gets;
	uint64_t last_append; /* milliseconds, of the loop */
	uint64_t duration;    /* nanoseconds that appends took of late; 0: not known */
};

static inline struct pmr_server *pmr_server_of(struct raft_io *io)
{
	return io->impl;
}

/* The calls of raft_io that go through the queue. */
void pmr_queue_init(struct pmr_server *s);
int pmr_append(struct raft_io *io, struct raft_io_append *req, const struct raft_entry entries[], unsigned n,
               raft_io_append_cb cb);
int pmr_truncate(struct raft_io *io, raft_index index);
int pmr_snapshot_put_request(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
                             const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb);
int pmr_snapshot_get_request(struct raft_io *io, struct raft_io_snapshot_get *req, raft_io_snapshot_get_cb cb);
/* From time to time: publishes how far a log that rests is durable. */
void pmr_queue_tick(struct pmr_server *s);
/* Cancels what waits; the rest ends by itself, and calls pmr_closed_maybe(). */
void pmr_queue_cancel(struct pmr_server *s);

void pmr_close_store(struct pmr_server *s);
/* Ends a server that is being closed, once nothing of it runs. */
void pmr_closed_maybe(struct pmr_server *s);

void pmr_receive(struct pmr_server *s, struct raft_message *message);
/* Whether an answer to a leader is to be sent; it may claim too much, and is corrected. */
bool pmr_correct_answer(const struct pmr_server *s, struct raft_message *answer);

#endif

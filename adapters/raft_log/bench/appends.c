/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Appends a second of the two raft_io implementations, without raft: appends SECONDS DIRECTORY BYTES DEPTH pm|uv
 *
 * DEPTH appends of one entry each are under way at any time. One line: appends, seconds, microseconds an append.
 */
#include <pmdirect_raft.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct bench;

struct slot {
	struct raft_io_append req;
	struct raft_entry entry;
	struct bench *bench;
};

struct bench {
	struct raft_io io;
	uint64_t end, done;
	unsigned under_way;
	bool closed;
};

static void append(struct slot *s);

static void appended(struct raft_io_append *req, int status)
{
	struct slot *s = req->data;
	s->bench->under_way--;
	if (status) {
		fprintf(stderr, "append: %s: %s\n", raft_strerror(status), s->bench->io.errmsg);
		exit(1);
	}
	s->bench->done++;
	append(s);
}

static void append(struct slot *s)
{
	if (uv_hrtime() >= s->bench->end)
		return;
	s->req.data = s;
	s->bench->under_way++;
	if (s->bench->io.append(&s->bench->io, &s->req, &s->entry, 1, appended))
		abort();
}

static void closed(struct raft_io *io)
{
	struct bench *b = io->data;
	b->closed = true;
}

static void tick(struct raft_io *io)
{
	(void)io;
}

static void receive(struct raft_io *io, struct raft_message *message)
{
	(void)io;
	(void)message;
}

static void load(struct raft_io *io)
{
	raft_term term;
	raft_id vote;
	struct raft_snapshot *snapshot;
	raft_index first;
	struct raft_entry *entries;
	size_t count;
	if (io->load(io, &term, &vote, &snapshot, &first, &entries, &count) || io->start(io, 100, tick, receive)) {
		fprintf(stderr, "load: %s\n", io->errmsg);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	struct uv_loop_s loop;
	struct raft_uv_transport transport;
	struct bench b = {0};
	if (argc != 6)
		return 2;
	size_t length = strtoul(argv[3], NULL, 0);
	unsigned depth = (unsigned)strtoul(argv[4], NULL, 0);
	bool uv = !strcmp(argv[5], "uv");
	uv_loop_init(&loop);
	raft_uv_tcp_init(&transport, &loop);
	int rc = uv ? raft_uv_init(&b.io, &loop, argv[2], &transport)
	            : pmdirect_raft_init(&b.io, &loop, argv[2], &transport);
	if (rc)
		return 1;
	if (b.io.init(&b.io, 1, "127.0.0.1:9999")) {
		fprintf(stderr, "init: %s\n", b.io.errmsg);
		return 1;
	}
	load(&b.io);
	b.io.data = &b;
	struct slot *slots = calloc(depth, sizeof(*slots));
	uint64_t begin = uv_hrtime();
	b.end = begin + (uint64_t)(atof(argv[1]) * 1e9);
	for (unsigned i = 0; i < depth; i++) {
		slots[i].bench = &b;
		slots[i].entry = (struct raft_entry){.term = 1, .type = RAFT_COMMAND,
		                                     .buf = {.base = calloc(1, length), .len = length}};
		append(&slots[i]);
	}
	while (b.under_way)
		uv_run(&loop, UV_RUN_ONCE);
	double seconds = (double)(uv_hrtime() - begin) / 1e9;
	b.io.close(&b.io, closed);
	uv_run(&loop, UV_RUN_DEFAULT);
	printf("%llu %.3f %.1f\n", (unsigned long long)b.done, seconds, seconds * 1e6 / (double)b.done);
	return b.closed ? 0 : 1;
}

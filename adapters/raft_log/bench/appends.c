/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Appends a second of the two raft_io implementations, without raft.
 *
 *   appends SECONDS|=APPENDS DIRECTORY BYTES DEPTH pm|uv [DEVICE]
 *
 * DEPTH appends of one entry each are under way at any time. One line: appends, seconds, microseconds an append. With a
 * DEVICE, such as loop0, three numbers more, from the first append to the last callback: the device's flushes, writes
 * and written bytes.
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
	uint64_t end, done, left;
	unsigned under_way;
	bool closed;
};

/* Counters of the device so far (the kernel's Documentation/block/stat.rst). */
struct device {
	unsigned long long flushes, writes, bytes;
};

static struct device read_device(const char *name)
{
	char path[128];
	unsigned long long n[17] = {0};
	int found = 0;
	snprintf(path, sizeof(path), "/sys/block/%s/stat", name);
	FILE *stream = fopen(path, "r");
	while (stream && found < 17 && fscanf(stream, "%llu", &n[found]) == 1)
		found++;
	if (found < 17) {
		fprintf(stderr, "%s: no count of flushes\n", path);
		exit(1);
	}
	fclose(stream);
	return (struct device){n[15], n[4], n[6] * 512};
}

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
	if (uv_hrtime() >= s->bench->end || !s->bench->left)
		return;
	s->bench->left--;
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
	if (argc < 6)
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
	if (b.io.init(&b.io, 1, "127.0.0.1:0")) {
		fprintf(stderr, "init: %s\n", b.io.errmsg);
		return 1;
	}
	load(&b.io);
	b.io.data = &b;
	struct slot *slots = calloc(depth, sizeof(*slots));
	struct device before = {0}, after = {0};
	if (argc > 6)
		before = read_device(argv[6]);
	uint64_t begin = uv_hrtime();
	b.left = *argv[1] == '=' ? strtoull(argv[1] + 1, NULL, 0) : UINT64_MAX;
	b.end = *argv[1] == '=' ? UINT64_MAX : begin + (uint64_t)(atof(argv[1]) * 1e9);
	for (unsigned i = 0; i < depth; i++) {
		slots[i].bench = &b;
		slots[i].entry = (struct raft_entry){.term = 1, .type = RAFT_COMMAND,
		                                     .buf = {.base = calloc(1, length), .len = length}};
		append(&slots[i]);
	}
	while (b.under_way)
		uv_run(&loop, UV_RUN_ONCE);
	double seconds = (double)(uv_hrtime() - begin) / 1e9;
	if (argc > 6)
		after = read_device(argv[6]);
	b.io.close(&b.io, closed);
	uv_run(&loop, UV_RUN_DEFAULT);
	printf("%llu %.3f %.1f", (unsigned long long)b.done, seconds, seconds * 1e6 / (double)b.done);
	if (argc > 6)
		printf(" %llu %llu %llu", after.flushes - before.flushes, after.writes - before.writes,
		       after.bytes - before.bytes);
	printf("\n");
	return b.closed ? 0 : 1;
}

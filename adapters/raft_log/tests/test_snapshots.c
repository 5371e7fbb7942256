/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_test.h"

#include <fcntl.h>

static void on_put(struct raft_io_snapshot_put *req, int status)
{
	complete(req->data, status);
}

static void on_get(struct raft_io_snapshot_get *req, struct raft_snapshot *snapshot, int status)
{
	struct call *c = req->data;
	c->got = snapshot;
	complete(c, status);
}

static int put(struct io *io, raft_index index, raft_term term, unsigned trailing)
{
	char one[] = "what the machine ", two[] = "knows";
	struct raft_buffer bufs[] = {{one, sizeof(one) - 1}, {two, sizeof(two)}};
	struct raft_snapshot snapshot = {.index = index, .term = term, .configuration_index = 1, .bufs = bufs,
	                                 .n_bufs = 2};
	struct call c = {.put.data = &c};
	raft_configuration_init(&snapshot.configuration);
	CHECK(!raft_configuration_add(&snapshot.configuration, 1, "127.0.0.1:1", RAFT_VOTER));
	CHECK(!raft_configuration_add(&snapshot.configuration, 7, "127.0.0.1:7", RAFT_SPARE));
	int rc = io->io.snapshot_put(&io->io, trailing, &c.put, &snapshot, on_put);
	CHECK(rc || !c.done);
	if (!rc)
		finish(io, &c);
	raft_configuration_close(&snapshot.configuration);
	return rc ? rc : c.status;
}

static void check_snapshot(const struct raft_snapshot *s, raft_index index, raft_term term)
{
	CHECK(s && s->index == index && s->term == term && s->configuration_index == 1 && s->n_bufs == 1);
	CHECK(s->bufs[0].len == 23 && !strcmp(s->bufs[0].base, "what the machine knows"));
	CHECK(s->configuration.n == 2 && s->configuration.servers[1].id == 7);
	CHECK(!strcmp(s->configuration.servers[1].address, "127.0.0.1:7"));
	CHECK(s->configuration.servers[1].role == RAFT_SPARE);
}

void snapshots(void)
{
	struct io io;
	char path[1024];
	open_io(&io);
	fill_log(&io, 200, 1000);
	CHECK(!put(&io, 100, 2, 1000));
	CHECK(!put(&io, 180, 2, 10));
	struct call c = {.get.data = &c};
	CHECK(!io.io.snapshot_get(&io.io, &c.get, on_get));
	finish(&io, &c);
	CHECK(!c.status, "%s", io.io.errmsg);
	check_snapshot(c.got, 180, 2);
	io.snapshot = c.got;
	CHECK(!append(&io, 201, 1, 2, 1000));
	close_io(&io);
	CHECK(file("snapshot", 0, path) && !file("snapshot", 1, path));
	open_io(&io);
	check_snapshot(io.snapshot, 180, 2);
	CHECK(io.first > 100 && io.first <= 171 && io.first + io.count == 202, "%zu from %llu", io.count, io.first);
	check_entry(&io.entries[0], io.first, 2, 1000);
	close_io(&io);
	/* One that was not published is none; a damaged one is an error. */
	set_word(path, 0);
	refuse(1, RAFT_CORRUPT, "are missing");
	clean();
	open_io(&io);
	fill_log(&io, 20, 1000);
	CHECK(!put(&io, 10, 2, 5));
	close_io(&io);
	/* Without the metadata the start is refused, and leaves none behind. */
	path_of("metadata", path);
	CHECK(!unlink(path));
	while (file("segment", 0, path))
		CHECK(!unlink(path));
	refuse(1, RAFT_CORRUPT, "but a snapshot");
	CHECK(!file("metadata", 0, path) && file("snapshot", 0, path));
}

void damaged_snapshot(void)
{
	struct io io;
	char path[1024];
	open_io(&io);
	fill_log(&io, 20, 1000);
	CHECK(!put(&io, 10, 2, 5));
	close_io(&io);
	CHECK(file("snapshot", 0, path));
	flip(path, 4096 + 3);
	refuse(1, RAFT_CORRUPT, "content is damaged");
	flip(path, 4096 + 3);
	flip(path, 30);
	refuse(1, RAFT_CORRUPT, "header is damaged");
	flip(path, 30);
	CHECK(!truncate(path, 4100));
	refuse(1, RAFT_CORRUPT, "truncated");
	/* The whole log is there still, so the server can do without one that was never published. */
	set_word(path, 0);
	check_log(1, 20, 2, 1000);
	CHECK(!file("snapshot", 0, path));
}

/* A snapshot from the leader takes the place of the log. */
void installed(void)
{
	struct io io;
	char path[1024];
	open_io(&io);
	fill_log(&io, 100, 1000);
	static char before[SEGMENT];
	char first[1024];
	CHECK(file("segment", 0, first));
	with_file(first, 0, before, sizeof(before), false);
	CHECK(!put(&io, 30, 4, 0));
	CHECK(!append(&io, 31, 2, 4, 10));
	close_io(&io);
	CHECK(!file("segment", 1, path) && access(first, F_OK));
	/* As if a crash had left a segment of the log that is void. */
	int fd = open(first, O_WRONLY | O_CREAT | O_EXCL, 0644);
	CHECK(fd >= 0 && write(fd, before, sizeof(before)) == (ssize_t)sizeof(before) && !close(fd));
	open_io(&io);
	check_snapshot(io.snapshot, 30, 4);
	CHECK(io.first == 31 && io.count == 2, "%zu from %llu", io.count, io.first);
	close_io(&io);
	CHECK(!file("segment", 1, path) && access(first, F_OK));
	/* A crash between snapshot and log: the log ends before it, or has another term there. */
	for (raft_index index = 32; index < 100; index += 50) {
		open_io(&io);
		CHECK(!put(&io, index, 9, 1000));
		close_io(&io);
		open_io(&io);
		check_snapshot(io.snapshot, index, 9);
		CHECK(io.first == index + 1 && !io.count, "%zu from %llu", io.count, io.first);
		close_io(&io);
	}
}

static void make_copy(const char *path, const char *suffix, char copy[1100])
{
	char command[2300];
	snprintf(copy, 1100, "%s%s", path, suffix);
	snprintf(command, sizeof(command), "cp '%s' '%s'", path, copy);
	CHECK(!system(command));
}

/* A copy that an operator made beside the log is none of its files: it neither counts nor goes. */
void other_names(void)
{
	static const char *const names[] = {"segment-5", "segment-0000000099~", "snapshot-9000-2",
	                                    "snapshot-00000000000000009000-00000000000000000002.bak"};
	struct io io;
	char path[1024], segment[1100], snapshot[1100];
	open_io(&io);
	fill_log(&io, 200, 1000);
	CHECK(!put(&io, 150, 2, 10));
	close_io(&io);
	CHECK(file("segment", 0, path));
	make_copy(path, ".bak", segment);
	CHECK(file("snapshot", 0, path));
	make_copy(path, "~", snapshot);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		path_of(names[i], path);
		int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
		CHECK(fd >= 0 && !close(fd));
	}
	open_io(&io);
	check_snapshot(io.snapshot, 150, 2);
	CHECK(io.count && io.first + io.count == 201, "%zu entries from %llu", io.count, io.first);
	CHECK(!append(&io, 201, 1, 2, 1000));
	CHECK(!put(&io, 200, 2, 1));
	close_io(&io);
	CHECK(!access(segment, F_OK) && !access(snapshot, F_OK));
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		path_of(names[i], path);
		CHECK(!access(path, F_OK), "%s", path);
	}
}

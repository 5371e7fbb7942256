/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>

char directory[512];

void fail(const char *file_name, int line, const char *condition, const char *format, ...)
{
	va_list arguments;
	fprintf(stderr, "%s:%d: %s:", file_name, line, condition);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

/* ---- A raft_io --------------------------------------------------------------------------------- */

static unsigned calls_done;

int try_open(struct io *io, raft_id id)
{
	memset(io, 0, sizeof(*io));
	CHECK(!uv_loop_init(&io->loop));
	CHECK(!raft_uv_tcp_init(&io->transport, &io->loop));
	CHECK(!pmdirect_raft_init(&io->io, &io->loop, directory, &io->transport));
	pmdirect_raft_set_segment_size(&io->io, SEGMENT);
	int rc = io->io.init(&io->io, id, "127.0.0.1:1");
	io->closed = rc;
	return rc;
}

int try_load(struct io *io)
{
	return io->io.load(&io->io, &io->term, &io->vote, &io->snapshot, &io->first, &io->entries, &io->count);
}

static void on_closed(struct raft_io *raft_io)
{
	struct io *io = raft_io->data;
	io->closed = true;
}

static void free_loaded(struct io *io)
{
	void *batch = NULL;
	for (size_t i = 0; i < io->count; i++) {
		if (io->entries[i].batch != batch)
			raft_free(io->entries[i].batch);
		batch = io->entries[i].batch;
	}
	raft_free(io->entries);
	if (io->snapshot) {
		raft_free(io->snapshot->bufs[0].base);
		raft_free(io->snapshot->bufs);
		raft_configuration_close(&io->snapshot->configuration);
		raft_free(io->snapshot);
	}
	io->entries = NULL;
	io->snapshot = NULL;
	io->count = 0;
}

void close_io(struct io *io)
{
	if (!io->closed) {
		io->io.data = io;
		io->io.close(&io->io, on_closed);
	}
	uv_run(&io->loop, UV_RUN_DEFAULT);
	CHECK(io->closed);
	free_loaded(io);
	pmdirect_raft_close(&io->io);
	raft_uv_tcp_close(&io->transport);
	CHECK(!uv_loop_close(&io->loop));
}

void open_io(struct io *io)
{
	CHECK(!try_open(io, 1), "%s", io->io.errmsg);
	CHECK(!try_load(io), "%s", io->io.errmsg);
}

void refuse(raft_id id, int code, const char *words)
{
	struct io io;
	int rc = try_open(&io, id);
	if (!rc)
		rc = try_load(&io);
	CHECK(rc == code, "%s: %s", raft_strerror(rc), io.io.errmsg);
	CHECK(strstr(io.io.errmsg, words), "%s", io.io.errmsg);
	close_io(&io);
}

void finish(struct io *io, struct call *c)
{
	while (!c->done)
		uv_run(&io->loop, UV_RUN_ONCE);
}

void complete(struct call *c, int status)
{
	c->status = status;
	c->order = ++calls_done;
	c->done = true;
}

void on_append(struct raft_io_append *req, int status)
{
	complete(req->data, status);
}

void fill(struct raft_entry *e, raft_index index, raft_term term, size_t length)
{
	e->term = term;
	e->type = RAFT_COMMAND;
	e->batch = NULL;
	e->buf.len = length;
	e->buf.base = malloc(length + 1);
	for (size_t i = 0; i < length; i++)
		((unsigned char *)e->buf.base)[i] = (unsigned char)(index * 31 + term * 7 + i);
}

void check_entry(const struct raft_entry *e, raft_index index, raft_term term, size_t length)
{
	struct raft_entry wanted;
	fill(&wanted, index, term, length);
	CHECK(e->term == term && e->type == RAFT_COMMAND && e->buf.len == length, "entry %llu", index);
	CHECK(!memcmp(e->buf.base, wanted.buf.base, length), "entry %llu", index);
	free(wanted.buf.base);
}

int append(struct io *io, raft_index index, unsigned n, raft_term term, size_t length)
{
	struct raft_entry entries[16] = {0};
	struct call c = {.append.data = &c};
	for (unsigned i = 0; i < n; i++)
		fill(&entries[i], index + i, term, length);
	int rc = io->io.append(&io->io, &c.append, entries, n, on_append);
	CHECK(rc || !c.done, "the callback came from within the call");
	if (!rc)
		finish(io, &c);
	for (unsigned i = 0; i < n; i++)
		free(entries[i].buf.base);
	return rc ? rc : c.status;
}

void fill_log(struct io *io, unsigned n, size_t length)
{
	for (unsigned i = 1; i <= n; i++)
		CHECK(!append(io, i, 1, 2, length), "%s", io->io.errmsg);
}

void check_log(raft_index first, size_t count, raft_term term, size_t length)
{
	struct io io;
	open_io(&io);
	CHECK(io.first == first && io.count == count, "%zu entries from %llu", io.count, io.first);
	for (size_t i = 0; i < count; i++)
		check_entry(&io.entries[i], first + i, term, length);
	close_io(&io);
}

/* ---- The files --------------------------------------------------------------------------------- */

void path_of(const char *name, char path[1024])
{
	snprintf(path, 1024, "%s/%s", directory, name);
}

bool file(const char *prefix, int n, char path[1024])
{
	struct dirent **list = NULL;
	bool found = false;
	int count = scandir(directory, &list, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		if (!found && !strncmp(list[i]->d_name, prefix, strlen(prefix)) && !n--) {
			path_of(list[i]->d_name, path);
			found = true;
		}
		free(list[i]);
	}
	free(list);
	return found;
}

void clean(void)
{
	char path[1024];
	while (file("metadata", 0, path) || file("segment", 0, path) || file("snapshot", 0, path))
		CHECK(!unlink(path));
}

void with_file(const char *path, off_t place, void *bytes, size_t length, bool write_it)
{
	int fd = open(path, O_RDWR);
	CHECK(fd >= 0, "%s", path);
	ssize_t done = write_it ? pwrite(fd, bytes, length, place) : pread(fd, bytes, length, place);
	CHECK(done == (ssize_t)length);
	close(fd);
}

void flip(const char *path, off_t place)
{
	unsigned char byte;
	with_file(path, place, &byte, 1, false);
	byte = (unsigned char)~byte;
	with_file(path, place, &byte, 1, true);
}

void set_word(const char *path, uint64_t word)
{
	with_file(path, WORD_AT, &word, sizeof(word), true);
}

uint64_t get_word(const char *path)
{
	uint64_t word;
	with_file(path, WORD_AT, &word, sizeof(word), false);
	return word;
}

uint64_t place(unsigned n, size_t length)
{
	return RECORDS_AT + n * (RECORD + (length + 7) / 8 * 8);
}

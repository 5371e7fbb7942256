/* SPDX-License-Identifier: BSD-3-Clause */
/* A raft_io of the adapter in a loop of its own, and the files below it. */
#ifndef STORE_TEST_H
#define STORE_TEST_H

#include <pmdirect_raft.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT (64u << 10)
#define RECORD 40u /* bytes before the payload */
#define RECORDS_AT 4096u
#define WORD_AT 512u

extern char directory[512];

#define CHECK(condition, ...)                                                                                       \
	do {                                                                                                        \
		if (!(condition))                                                                                   \
			fail(__FILE__, __LINE__, #condition, " " __VA_ARGS__);                                      \
	} while (0)

void fail(const char *file, int line, const char *condition, const char *format, ...)
	__attribute__((format(printf, 4, 5), noreturn));

struct io {
	struct uv_loop_s loop;
	struct raft_uv_transport transport;
	struct raft_io io;
	struct raft_snapshot *snapshot;
	raft_term term;
	raft_id vote;
	raft_index first;
	struct raft_entry *entries;
	size_t count;
	bool closed;
};

/* A request, and the order in which callbacks came. */
struct call {
	struct raft_io_append append;
	struct raft_io_snapshot_put put;
	struct raft_io_snapshot_get get;
	struct raft_snapshot *got;
	int status;
	unsigned order;
	bool done;
};

int try_open(struct io *io, raft_id id);
int try_load(struct io *io);
void open_io(struct io *io);
void close_io(struct io *io);
/* The server cannot start, and the sentence names what is wrong. */
void refuse(raft_id id, int code, const char *words);

void finish(struct io *io, struct call *c);
void complete(struct call *c, int status);
void on_append(struct raft_io_append *req, int status);

/* The payload tells index and term. */
void fill(struct raft_entry *e, raft_index index, raft_term term, size_t length);
void check_entry(const struct raft_entry *e, raft_index index, raft_term term, size_t length);
int append(struct io *io, raft_index index, unsigned n, raft_term term, size_t length);
void fill_log(struct io *io, unsigned n, size_t length);
void check_log(raft_index first, size_t count, raft_term term, size_t length);

void path_of(const char *name, char path[1024]);
/* The n-th file whose name begins so, in their order; false if there is none. */
bool file(const char *prefix, int n, char path[1024]);
void clean(void);
void with_file(const char *path, off_t place, void *bytes, size_t length, bool write_it);
void flip(const char *path, off_t place);
void set_word(const char *path, uint64_t word);
uint64_t get_word(const char *path);
/* Where the n-th record of a segment is. */
uint64_t place(unsigned n, size_t length);

extern void snapshots(void), damaged_snapshot(void), installed(void), other_names(void);
extern void late_answers(void), claimed_answers(void);

#endif

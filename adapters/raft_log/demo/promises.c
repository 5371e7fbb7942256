/* SPDX-License-Identifier: BSD-3-Clause */
#include "promises.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct told {
	raft_term term;
	uint64_t hash;
};

/* An append that is under way. What is dropped meanwhile is not promised. */
struct append {
	struct append *next;
	struct raft_io_append req, *their_req;
	raft_io_append_cb their_cb;
	raft_index first;
	unsigned n;
	struct told entries[];
};

struct put {
	struct raft_io_snapshot_put req, *their_req;
	raft_io_snapshot_put_cb their_cb;
	raft_index index;
};

static struct raft_io inner; /* the calls of the raft_io */
static struct append *under_way;
static raft_index next_index;
static raft_term current_term;

static void *allocate(size_t size)
{
	void *memory = calloc(1, size);
	if (!memory)
		abort();
	return memory;
}

/* FNV-1a */
static uint64_t hash_of(const struct raft_buffer bufs[], unsigned n)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (unsigned i = 0; i < n; i++)
		for (size_t k = 0; k < bufs[i].len; k++)
			hash = (hash ^ ((const unsigned char *)bufs[i].base)[k]) * UINT64_C(0x100000001b3);
	return hash;
}

static void say_entry(const char *verb, raft_index index, struct told entry)
{
	printf("%s %llu %llu %" PRIx64 "\n", verb, index, entry.term, entry.hash);
}

static struct told told_of(const struct raft_entry *entry)
{
	return (struct told){entry->term, hash_of(&entry->buf, 1)};
}

/* ---- Loading, term and vote -------------------------------------------------------------------- */

static int load(struct raft_io *io, raft_term *term, raft_id *vote, struct raft_snapshot **snapshot, raft_index *first,
                struct raft_entry *entries[], size_t *n)
{
	int rc = inner.load(io, term, vote, snapshot, first, entries, n);
	if (rc)
		return rc;
	const struct raft_snapshot *s = *snapshot;
	printf("loaded %llu %llu %llu %llu %" PRIx64 "\n", *term, *vote, s ? s->index : 0, s ? s->term : 0,
	       s ? hash_of(s->bufs, s->n_bufs) : 0);
	for (size_t i = 0; i < *n; i++)
		say_entry("held", *first + i, told_of(&(*entries)[i]));
	printf("whole\n");
	fflush(stdout);
	current_term = *term;
	next_index = *first + *n;
	return 0;
}

static void say_vote(const char *verb, raft_term term, raft_id vote)
{
	printf("%s %llu %llu\n", verb, term, vote);
	fflush(stdout);
}

static int set_term(struct raft_io *io, raft_term term)
{
	say_vote("sets", term, 0);
	int rc = inner.set_term(io, term);
	if (!rc) {
		say_vote("set", term, 0);
		current_term = term;
	}
	return rc;
}

static int set_vote(struct raft_io *io, raft_id vote)
{
	say_vote("sets", current_term, vote);
	int rc = inner.set_vote(io, vote);
	if (!rc)
		say_vote("set", current_term, vote);
	return rc;
}

/* ---- The log ----------------------------------------------------------------------------------- */

static void on_append(struct raft_io_append *req, int status)
{
	struct append *a = req->data, **link = &under_way;
	while (*link != a)
		link = &(*link)->next;
	*link = a->next;
	for (unsigned i = 0; !status && i < a->n; i++)
		say_entry("stored", a->first + i, a->entries[i]);
	a->their_cb(a->their_req, status);
	free(a);
}

static int append(struct raft_io *io, struct raft_io_append *req, const struct raft_entry entries[], unsigned n,
                  raft_io_append_cb cb)
{
	struct append *a = allocate(sizeof(*a) + n * sizeof(*a->entries));
	a->req.data = a;
	a->their_req = req;
	a->their_cb = cb;
	a->first = next_index;
	a->n = n;
	for (unsigned i = 0; i < n; i++)
		a->entries[i] = told_of(&entries[i]);
	int rc = inner.append(io, &a->req, entries, n, on_append);
	if (rc) {
		free(a);
		return rc;
	}
	a->next = under_way;
	under_way = a;
	next_index += n;
	return 0;
}

static void drop(raft_index index)
{
	for (struct append *a = under_way; a; a = a->next)
		if (a->first + a->n > index)
			a->n = a->first < index ? (unsigned)(index - a->first) : 0;
}

static int truncate_log(struct raft_io *io, raft_index index)
{
	printf("drops %llu\n", index);
	fflush(stdout);
	drop(index);
	int rc = inner.truncate(io, index);
	if (!rc && index < next_index)
		next_index = index;
	return rc;
}

/* ---- Snapshots --------------------------------------------------------------------------------- */

static void on_put(struct raft_io_snapshot_put *req, int status)
{
	struct put *p = req->data;
	if (!status)
		printf("put %llu\n", p->index);
	p->their_cb(p->their_req, status);
	free(p);
}

static int put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
               const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
	struct put *p = allocate(sizeof(*p));
	*p = (struct put){.req.data = p, .their_req = req, .their_cb = cb, .index = snapshot->index};
	printf("puts %llu %llu %" PRIx64 " %u\n", snapshot->index, snapshot->term,
	       hash_of(snapshot->bufs, snapshot->n_bufs), trailing);
	fflush(stdout);
	if (!trailing)
		drop(0);
	int rc = inner.snapshot_put(io, trailing, &p->req, snapshot, on_put);
	if (rc)
		free(p);
	else if (!trailing)
		next_index = snapshot->index + 1;
	return rc;
}

void say_promises(struct raft_io *io)
{
	inner = *io;
	io->load = load;
	io->set_term = set_term;
	io->set_vote = set_vote;
	io->append = append;
	io->truncate = truncate_log;
	io->snapshot_put = put;
}

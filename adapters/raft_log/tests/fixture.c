/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libraft's own fixture on our store. The fixture makes the raft_io of its servers itself, and its clock, network and
 * faults live behind their impl, so it takes no foreign one. But its table of calls is open: here each call that stores
 * something goes to our raft_io first and to the fixture's then, and a server that starts is given what we loaded. So
 * elections, replication, lost servers and snapshots run in the fixture's time, and in the end each directory, opened
 * anew, must hold the term, the vote and the log of its server.
 *
 *   raft_fixture DIRECTORY
 */
#include <raft/fixture.h>

#include "store_test.h"

#define SERVERS 3u
#define ENTRIES 300u

struct server {
	struct raft_io theirs; /* the calls of the fixture */
	struct io ours;
	char directory[600];
	uint64_t applied;
};

static struct server servers[SERVERS];
static struct raft_fixture fixture;

static struct server *server_of(struct raft_io *io)
{
	for (unsigned i = 0; i < SERVERS; i++)
		if (&fixture.servers[i].io == io)
			return &servers[i];
	abort();
}

static void enter(const struct server *s)
{
	strcpy(directory, s->directory);
}

/* ---- The calls --------------------------------------------------------------------------------- */

static int load(struct raft_io *io, raft_term *term, raft_id *vote, struct raft_snapshot **snapshot, raft_index *first,
                struct raft_entry *entries[], size_t *n)
{
	struct server *s = server_of(io);
	return s->ours.io.load(&s->ours.io, term, vote, snapshot, first, entries, n);
}

static int bootstrap(struct raft_io *io, const struct raft_configuration *configuration)
{
	struct server *s = server_of(io);
	int rc = s->ours.io.bootstrap(&s->ours.io, configuration);
	return rc ? rc : s->theirs.bootstrap(io, configuration);
}

static int set_term(struct raft_io *io, raft_term term)
{
	struct server *s = server_of(io);
	int rc = s->ours.io.set_term(&s->ours.io, term);
	return rc ? rc : s->theirs.set_term(io, term);
}

static int set_vote(struct raft_io *io, raft_id vote)
{
	struct server *s = server_of(io);
	int rc = s->ours.io.set_vote(&s->ours.io, vote);
	return rc ? rc : s->theirs.set_vote(io, vote);
}

static int append_both(struct raft_io *io, struct raft_io_append *req, const struct raft_entry entries[], unsigned n,
                       raft_io_append_cb cb)
{
	struct server *s = server_of(io);
	struct call c = {.append.data = &c};
	int rc = s->ours.io.append(&s->ours.io, &c.append, entries, n, on_append);
	CHECK(!rc, "%s", s->ours.io.errmsg);
	finish(&s->ours, &c);
	CHECK(!c.status, "%s", s->ours.io.errmsg);
	return s->theirs.append(io, req, entries, n, cb);
}

static int truncate_both(struct raft_io *io, raft_index index)
{
	struct server *s = server_of(io);
	int rc = s->ours.io.truncate(&s->ours.io, index);
	return rc ? rc : s->theirs.truncate(io, index);
}

static void take_over(struct raft_io *io, struct server *s)
{
	s->theirs = *io;
	io->load = load;
	io->bootstrap = bootstrap;
	io->set_term = set_term;
	io->set_vote = set_vote;
	io->append = append_both;
	io->truncate = truncate_both;
}

/* ---- The machine ------------------------------------------------------------------------------- */

static int apply(struct raft_fsm *fsm, const struct raft_buffer *buffer, void **result)
{
	struct server *s = fsm->data;
	(void)buffer;
	*result = NULL;
	s->applied++;
	return 0;
}

static int no_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n)
{
	(void)fsm;
	*bufs = NULL;
	*n = 0;
	return RAFT_NOMEM;
}

static int no_restore(struct raft_fsm *fsm, struct raft_buffer *buffer)
{
	(void)fsm;
	(void)buffer;
	return RAFT_MALFORMED;
}

/* ---- The test ---------------------------------------------------------------------------------- */

static void applied(struct raft_apply *req, int status, void *result)
{
	(void)result;
	CHECK(!status || status == RAFT_LEADERSHIPLOST, "%s", raft_strerror(status));
	free(req);
}

static void propose(unsigned n)
{
	struct raft *leader = raft_fixture_get(&fixture, raft_fixture_leader_index(&fixture));
	for (unsigned i = 0; i < n; i++) {
		struct raft_apply *req = calloc(1, sizeof(*req));
		struct raft_buffer buffer = {.base = raft_calloc(1, 400), .len = 400};
		CHECK(!raft_apply(leader, req, &buffer, 1, applied), "%s", raft_errmsg(leader));
	}
}

/* The log of a server, in memory and on its medium. */
static void compare(unsigned i)
{
	const struct raft *raft = raft_fixture_get(&fixture, i);
	struct io io;
	raft_index last = raft_last_index(raft_fixture_get(&fixture, i));
	enter(&servers[i]);
	close_io(&servers[i].ours);
	CHECK(!try_open(&io, i + 1) && !try_load(&io), "%s", io.io.errmsg);
	CHECK(io.term == raft->current_term, "server %u: term %llu", i, io.term);
	CHECK(io.vote == raft->voted_for, "server %u: vote %llu", i, io.vote);
	CHECK(io.first == 1 && io.count == last, "server %u: %zu entries, not %llu", i, io.count, last);
	for (raft_index index = 1; index <= last; index++) {
		const struct raft_entry *wanted = &raft->log.entries[(raft->log.front + index - 1) % raft->log.size];
		const struct raft_entry *got = &io.entries[index - 1];
		CHECK(got->term == wanted->term && got->type == wanted->type && got->buf.len == wanted->buf.len,
		      "server %u: entry %llu", i, index);
		CHECK(!memcmp(got->buf.base, wanted->buf.base, got->buf.len), "server %u: entry %llu", i, index);
	}
	close_io(&io);
}

static void wait_applied(unsigned i)
{
	raft_index last = raft_last_index(raft_fixture_get(&fixture, i));
	CHECK(raft_fixture_step_until_applied(&fixture, i, last, 20000));
}

static void elect_and_lose(void)
{
	for (unsigned round = 0; round < 6; round++) {
		CHECK(raft_fixture_step_until_has_leader(&fixture, 20000));
		unsigned leader = raft_fixture_leader_index(&fixture);
		propose(ENTRIES / 6);
		if (round % 2) /* some of it is only on the leader, and will be truncated */
			raft_fixture_step_n(&fixture, 3 + round);
		else
			wait_applied(leader);
		raft_fixture_kill(&fixture, leader);
		CHECK(raft_fixture_step_until_has_no_leader(&fixture, 20000));
		CHECK(raft_fixture_step_until_has_leader(&fixture, 20000));
		propose(3);
		raft_fixture_step_until_elapsed(&fixture, 500);
		raft_fixture_revive(&fixture, leader);
		raft_fixture_step_until_elapsed(&fixture, 2000);
	}
}

int main(int argc, char **argv)
{
	struct raft_configuration configuration;
	static struct raft_fsm fsms[SERVERS];
	CHECK(argc == 2);
	mkdir(argv[1], 0755);
	CHECK(!raft_fixture_initialize(&fixture));
	for (unsigned i = 0; i < SERVERS; i++) {
		struct server *s = &servers[i];
		snprintf(s->directory, sizeof(s->directory), "%.400s/%u", argv[1], i + 1);
		mkdir(s->directory, 0755);
		enter(s);
		clean();
		fsms[i] = (struct raft_fsm){.version = 1, .data = s, .apply = apply, .snapshot = no_snapshot,
		                            .restore = no_restore};
		CHECK(!raft_fixture_grow(&fixture, &fsms[i]));
		CHECK(!try_open(&s->ours, i + 1), "%s", s->ours.io.errmsg);
		take_over(&fixture.servers[i].io, s);
	}
	CHECK(!raft_fixture_configuration(&fixture, SERVERS, &configuration));
	CHECK(!raft_fixture_bootstrap(&fixture, &configuration));
	raft_configuration_close(&configuration);
	CHECK(!raft_fixture_start(&fixture));
	elect_and_lose();
	for (unsigned i = 0; i < SERVERS; i++)
		compare(i);
	printf("%llu entries, term %llu\n", raft_last_index(raft_fixture_get(&fixture, 0)),
	       raft_fixture_get(&fixture, 0)->current_term);
	for (unsigned i = 0; i < SERVERS; i++)
		fixture.servers[i].io.close = servers[i].theirs.close;
	raft_fixture_close(&fixture);
	return 0;
}

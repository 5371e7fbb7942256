/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One server of a cluster of three on 127.0.0.1, which the demo, the tests and the power cuts run.
 *
 *   server ID DIRECTORY PORT [load=N] [segment=BYTES] [snapshot=ENTRIES] [payload=BYTES] [storage=uv] [promises=1]
 *
 * Its state machine is the list of values that were proposed. load=N: as leader it proposes random values, N at a time.
 * Lines on standard output: "state ROLE TERM COMMIT LEADER LAST GRANULARITY" when that changes and once a second (LAST:
 * index of its last entry), "ack VALUE" for each of its values that is committed and applied, "list COUNT", "value
 * VALUE" and "end" on SIGUSR1; with promises=1 those of promises.h too. SIGTERM ends it.
 */
#include <errno.h>
#include <pmdirect_raft.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "promises.h"

#define SERVERS 3u
#define RING 8 /* bytes of a value */

struct options {
	unsigned load, payload;
	size_t segment;
	unsigned snapshot;
	bool uv, promises;
};

struct server {
	struct uv_loop_s loop;
	struct raft_uv_transport transport;
	struct raft_io io;
	struct raft_fsm fsm;
	struct raft raft;
	uv_timer_t timer;
	uv_prepare_t prepare;
	uv_signal_t terminate, dump;
	struct options options;
	uint64_t *values;
	size_t count, room;
	unsigned proposed, ticks;
	char state[128];
	bool closing;
};

struct proposal {
	struct raft_apply apply;
	struct server *server;
	uint64_t value;
};

static void die(const char *what, int code, const char *words)
{
	/* libraft has no words for some of its own codes. */
	fprintf(stderr, "%s: %s\n", what, words[0] ? words : raft_strerror(code));
	exit(code == RAFT_NOSPACE ? 4 : 3);
}

/* ---- The state machine ------------------------------------------------------------------------- */

static void add(struct server *s, uint64_t value)
{
	if (s->count == s->room) {
		s->room = s->room ? s->room * 2 : 1024;
		s->values = realloc(s->values, s->room * sizeof(*s->values));
		if (!s->values)
			abort();
	}
	s->values[s->count++] = value;
}

static int apply(struct raft_fsm *fsm, const struct raft_buffer *buffer, void **result)
{
	uint64_t value;
	if (buffer->len < sizeof(value))
		return RAFT_MALFORMED;
	memcpy(&value, buffer->base, sizeof(value));
	add(fsm->data, value);
	*result = NULL;
	return 0;
}

static int snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n)
{
	const struct server *s = fsm->data;
	*n = 1;
	*bufs = raft_malloc(sizeof(**bufs));
	if (!*bufs)
		return RAFT_NOMEM;
	(*bufs)->len = s->count * sizeof(*s->values);
	(*bufs)->base = raft_malloc((*bufs)->len ? (*bufs)->len : 1);
	if (!(*bufs)->base)
		return RAFT_NOMEM;
	memcpy((*bufs)->base, s->values, (*bufs)->len);
	return 0;
}

static int restore(struct raft_fsm *fsm, struct raft_buffer *buffer)
{
	struct server *s = fsm->data;
	s->count = 0;
	for (size_t i = 0; i < buffer->len / RING; i++) {
		uint64_t value;
		memcpy(&value, (const char *)buffer->base + i * RING, sizeof(value));
		add(s, value);
	}
	raft_free(buffer->base);
	return 0;
}

/* ---- Proposing --------------------------------------------------------------------------------- */

static void propose(struct server *s);

static void applied(struct raft_apply *req, int status, void *result)
{
	struct proposal *p = req->data;
	struct server *s = p->server;
	(void)result;
	s->proposed--;
	if (!status)
		printf("ack %016llx\n", (unsigned long long)p->value);
	else if (status == RAFT_NOSPACE || status == RAFT_IOERR)
		die("append", status, s->io.errmsg);
	free(p);
	if (!status)
		propose(s);
}

static void propose(struct server *s)
{
	while (s->proposed < s->options.load && !s->closing && raft_state(&s->raft) == RAFT_LEADER) {
		struct proposal *p = calloc(1, sizeof(*p));
		struct raft_buffer buffer = {.len = s->options.payload};
		buffer.base = raft_calloc(1, buffer.len);
		if (!p || !buffer.base || getrandom(&p->value, sizeof(p->value), 0) != sizeof(p->value))
			abort();
		p->server = s;
		p->apply.data = p;
		memcpy(buffer.base, &p->value, sizeof(p->value));
		s->proposed++;
		int rc = raft_apply(&s->raft, &p->apply, &buffer, 1, applied);
		if (!rc)
			continue;
		s->proposed--;
		raft_free(buffer.base);
		free(p);
		if (rc == RAFT_NOSPACE || rc == RAFT_IOERR)
			die("append", rc, s->io.errmsg);
		return;
	}
}

/* ---- Showing ----------------------------------------------------------------------------------- */

static const char *role(const struct server *s)
{
	switch (s->raft.state) {
	case RAFT_LEADER:
		return "leader";
	case RAFT_FOLLOWER:
		return "follower";
	case RAFT_CANDIDATE:
		return "candidate";
	default:
		return "unavailable";
	}
}

static void show(struct server *s)
{
	char state[sizeof(s->state)];
	const char *address;
	raft_id leader;
	raft_leader(&s->raft, &leader, &address);
	snprintf(state, sizeof(state), "%s %llu", role(s), s->raft.current_term);
	if (strcmp(state, s->state) || s->ticks % 50 == 0)
		printf("state %s %llu %llu %llu %s\n", state, s->raft.commit_index, leader, raft_last_index(&s->raft),
		       s->options.uv ? "uv" : pmdirect_raft_granularity(&s->io));
	strcpy(s->state, state);
}

/* Before the loop waits: what happened is said before a kill comes. */
static void on_prepare(uv_prepare_t *prepare)
{
	(void)prepare;
	fflush(stdout);
}

static void on_timer(uv_timer_t *timer)
{
	struct server *s = timer->data;
	s->ticks++;
	propose(s);
	show(s);
}

static void on_dump(uv_signal_t *signal, int number)
{
	const struct server *s = signal->data;
	(void)number;
	printf("list %zu\n", s->count);
	for (size_t i = 0; i < s->count; i++)
		printf("value %016llx\n", (unsigned long long)s->values[i]);
	printf("end\n");
	fflush(stdout);
}

/* ---- Life -------------------------------------------------------------------------------------- */

static void on_closed(struct raft *raft)
{
	struct server *s = raft->data;
	uv_close((uv_handle_t *)&s->timer, NULL);
	uv_close((uv_handle_t *)&s->prepare, NULL);
	uv_close((uv_handle_t *)&s->terminate, NULL);
	uv_close((uv_handle_t *)&s->dump, NULL);
}

static void on_terminate(uv_signal_t *signal, int number)
{
	struct server *s = signal->data;
	(void)number;
	if (s->closing)
		return;
	s->closing = true;
	raft_close(&s->raft, on_closed);
}

static void add_servers(struct raft_configuration *c, unsigned port)
{
	raft_configuration_init(c);
	for (unsigned i = 1; i <= SERVERS; i++) {
		char address[64];
		snprintf(address, sizeof(address), "127.0.0.1:%u", port + i);
		int rc = raft_configuration_add(c, i, address, RAFT_VOTER);
		if (rc)
			die("configuration", rc, "");
	}
}

static void start(struct server *s, unsigned id, const char *directory, unsigned port)
{
	struct raft_configuration configuration;
	char address[64];
	snprintf(address, sizeof(address), "127.0.0.1:%u", port + id);
	int rc = raft_uv_tcp_init(&s->transport, &s->loop);
	if (!rc)
		rc = s->options.uv ? raft_uv_init(&s->io, &s->loop, directory, &s->transport)
		                   : pmdirect_raft_init(&s->io, &s->loop, directory, &s->transport);
	if (rc)
		die("init", rc, s->io.errmsg);
	if (s->options.uv) {
		raft_uv_set_segment_size(&s->io, s->options.segment);
		raft_uv_set_connect_retry_delay(&s->io, 50);
	} else {
		pmdirect_raft_set_segment_size(&s->io, s->options.segment);
		pmdirect_raft_set_connect_retry_delay(&s->io, 50);
	}
	rc = raft_init(&s->raft, &s->io, &s->fsm, id, address);
	if (rc)
		die("init", rc, s->io.errmsg);
	if (s->options.promises)
		say_promises(&s->io);
	s->raft.data = s;
	raft_set_election_timeout(&s->raft, 400);
	raft_set_heartbeat_timeout(&s->raft, 80);
	raft_set_pre_vote(&s->raft, true);
	raft_set_snapshot_threshold(&s->raft, s->options.snapshot);
	raft_set_snapshot_trailing(&s->raft, s->options.snapshot / 4 + 1);
	add_servers(&configuration, port);
	rc = raft_bootstrap(&s->raft, &configuration);
	raft_configuration_close(&configuration);
	if (rc && rc != RAFT_CANTBOOTSTRAP)
		die("bootstrap", rc, s->io.errmsg);
	rc = raft_start(&s->raft);
	if (rc)
		die("start", rc, s->io.errmsg);
}

static void usage(const char *word)
{
	fprintf(stderr, "%s%susage: server ID DIRECTORY PORT [load=N] [segment=BYTES] [snapshot=ENTRIES] "
	        "[payload=BYTES] [storage=uv] [promises=1]\n",
	        word, *word ? ": no such word, or no such value of it; " : "");
	exit(2);
}

static unsigned long number(const char *text, unsigned long min, unsigned long max, const char *word)
{
	char *end;
	errno = 0;
	unsigned long value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || value < min || value > max)
		usage(word);
	return value;
}

static void parse(struct options *o, const char *word)
{
	const char *text = strchr(word, '=') ? strchr(word, '=') + 1 : "";
	if (!strncmp(word, "load=", 5))
		o->load = (unsigned)number(text, 0, 1 << 20, word);
	else if (!strncmp(word, "segment=", 8))
		o->segment = number(text, 1, 1ul << 30, word);
	else if (!strncmp(word, "snapshot=", 9))
		o->snapshot = (unsigned)number(text, 1, 1 << 30, word);
	else if (!strncmp(word, "payload=", 8))
		o->payload = (unsigned)number(text, RING, 1 << 30, word);
	else if (!strcmp(word, "storage=uv"))
		o->uv = true;
	else if (!strcmp(word, "promises=1"))
		o->promises = true;
	else
		usage(word);
}

int main(int argc, char **argv)
{
	static struct server s = {.options = {.segment = 8 << 20, .snapshot = 4096, .payload = RING}};
	if (argc < 4)
		usage("");
	unsigned id = (unsigned)number(argv[1], 1, SERVERS, argv[1]);
	unsigned port = (unsigned)number(argv[3], 1, 65535 - SERVERS, argv[3]);
	for (int i = 4; i < argc; i++)
		parse(&s.options, argv[i]);
	signal(SIGPIPE, SIG_IGN);
	uv_loop_init(&s.loop);
	s.fsm = (struct raft_fsm){.version = 1, .data = &s, .apply = apply, .snapshot = snapshot, .restore = restore};
	start(&s, id, argv[2], port);
	uv_timer_init(&s.loop, &s.timer);
	uv_prepare_init(&s.loop, &s.prepare);
	uv_prepare_start(&s.prepare, on_prepare);
	uv_signal_init(&s.loop, &s.terminate);
	uv_signal_init(&s.loop, &s.dump);
	s.timer.data = s.terminate.data = s.dump.data = &s;
	uv_timer_start(&s.timer, on_timer, 0, 20);
	uv_signal_start(&s.terminate, on_terminate, SIGTERM);
	uv_signal_start(&s.dump, on_dump, SIGUSR1);
	uv_run(&s.loop, UV_RUN_DEFAULT);
	if (s.options.uv)
		raft_uv_close(&s.io);
	else
		pmdirect_raft_close(&s.io);
	raft_uv_tcp_close(&s.transport);
	uv_loop_close(&s.loop);
	free(s.values);
	printf("closed\n");
	return 0;
}

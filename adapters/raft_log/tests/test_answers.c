/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libraft on our raft_io: what a follower answers to a leader, which the test plays, and what it takes for committed.
 * messages.c says where libraft 0.15 goes too far.
 */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "store_test.h"

#define LEADER 2
#define TERM 5

static struct server {
	struct io io;
	struct raft raft;
	struct raft_fsm fsm;
	raft_io_tick_cb tick;
	raft_io_recv_cb receive;
	int (*send)(struct raft_io *io, struct raft_io_send *req, const struct raft_message *message,
	            raft_io_send_cb cb);
	unsigned answers, refused, applied, restored;
	int (*start)(struct raft_io *io, unsigned milliseconds, raft_io_tick_cb tick, raft_io_recv_cb receive);
	bool listens;
	int leader; /* listens for the answers */
	char own_address[32], address[32];
} server;

/* ---- A server whose time and messages come from the test --------------------------------------- */

static int start(struct raft_io *io, unsigned milliseconds, raft_io_tick_cb tick, raft_io_recv_cb receive)
{
	server.tick = tick;
	server.receive = receive;
	return server.listens ? server.start(io, milliseconds, tick, receive) : 0;
}

static int send_counted(struct raft_io *io, struct raft_io_send *req, const struct raft_message *message,
                        raft_io_send_cb cb)
{
	int rc = server.send(io, req, message, cb);
	if (message->type == RAFT_IO_APPEND_ENTRIES_RESULT && rc)
		server.refused++;
	else if (message->type == RAFT_IO_APPEND_ENTRIES_RESULT)
		server.answers++;
	return rc;
}

static int apply(struct raft_fsm *fsm, const struct raft_buffer *buffer, void **result)
{
	(void)fsm;
	(void)buffer;
	*result = NULL;
	server.applied++;
	return 0;
}

static int restore(struct raft_fsm *fsm, struct raft_buffer *buffer)
{
	(void)fsm;
	raft_free(buffer->base);
	server.restored++;
	return 0;
}

static void configure(struct raft_configuration *c)
{
	raft_configuration_init(c);
	CHECK(!raft_configuration_add(c, 1, server.own_address, RAFT_VOTER));
	CHECK(!raft_configuration_add(c, LEADER, server.address, RAFT_VOTER));
	CHECK(!raft_configuration_add(c, 3, "127.0.0.1:3", RAFT_VOTER));
}

static int listen_anywhere(char address[32])
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(any);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)&any, length) && !listen(fd, 1));
	CHECK(!getsockname(fd, (struct sockaddr *)&any, &length));
	snprintf(address, 32, "127.0.0.1:%u", ntohs(any.sin_port));
	return fd;
}

/* Its log has one entry, the configuration, of term 1. */
static void open_server(bool listens)
{
	struct raft_configuration configuration;
	struct io *io = &server.io;
	memset(&server, 0, sizeof(server));
	clean();
	server.listens = listens;
	server.leader = listen_anywhere(server.address);
	close(listen_anywhere(server.own_address));
	CHECK(!uv_loop_init(&io->loop));
	CHECK(!raft_uv_tcp_init(&io->transport, &io->loop));
	CHECK(!pmdirect_raft_init(&io->io, &io->loop, directory, &io->transport));
	server.send = io->io.send;
	server.start = io->io.start;
	io->io.start = start;
	io->io.send = send_counted;
	server.fsm = (struct raft_fsm){.version = 1, .apply = apply, .restore = restore};
	CHECK(!raft_init(&server.raft, &io->io, &server.fsm, 1, server.own_address), "%s", io->io.errmsg);
	raft_set_election_timeout(&server.raft, listens ? 1000000 : 2); /* a tick alone looks at it */
	raft_set_heartbeat_timeout(&server.raft, listens ? 100000 : 1);
	raft_set_pre_vote(&server.raft, true);
	configure(&configuration);
	CHECK(!raft_bootstrap(&server.raft, &configuration), "%s", io->io.errmsg);
	raft_configuration_close(&configuration);
	CHECK(!raft_start(&server.raft), "%s", io->io.errmsg);
}

static void on_closed(struct raft *raft)
{
	(void)raft;
	server.io.closed = true;
}

static void close_server(void)
{
	raft_close(&server.raft, on_closed);
	uv_run(&server.io.loop, UV_RUN_DEFAULT);
	CHECK(server.io.closed);
	pmdirect_raft_close(&server.io.io);
	raft_uv_tcp_close(&server.io.transport);
	CHECK(!uv_loop_close(&server.io.loop));
	close(server.leader);
}

/* ---- What happens to it ------------------------------------------------------------------------ */

static void receive(unsigned short type, struct raft_message *message)
{
	message->type = type;
	message->server_id = LEADER;
	message->server_address = server.address;
	server.receive(&server.io.io, message);
}

static void receive_snapshot(void)
{
	struct raft_message message = {0};
	struct raft_install_snapshot *args = &message.install_snapshot;
	*args = (struct raft_install_snapshot){.term = TERM, .last_index = 30, .last_term = 4, .conf_index = 1};
	configure(&args->conf);
	args->data.len = 8;
	args->data.base = raft_calloc(1, args->data.len);
	receive(RAFT_IO_INSTALL_SNAPSHOT, &message);
	CHECK(server.raft.snapshot.put.data);
}

static void receive_entries(raft_term term, unsigned n, raft_index committed)
{
	struct raft_message message = {0};
	struct raft_append_entries *args = &message.append_entries;
	*args = (struct raft_append_entries){.term = term, .prev_log_index = 1, .prev_log_term = 1, .n_entries = n,
	                                     .leader_commit = committed};
	if (n) {
		char *batch = raft_calloc(n, 8);
		args->entries = raft_calloc(n, sizeof(*args->entries));
		for (unsigned i = 0; i < n; i++)
			args->entries[i] = (struct raft_entry){.term = term, .type = RAFT_COMMAND, .batch = batch,
			                                       .buf = {.base = batch + i * 8, .len = 8}};
	}
	receive(RAFT_IO_APPEND_ENTRIES, &message);
}

/* The leader was not heard of for too long. The loop does not come round here, so nothing is delivered. */
static void stand_for_election(void)
{
	usleep(20 * 1000);
	uv_update_time(&server.io.loop);
	server.tick(&server.io.io);
	CHECK(raft_state(&server.raft) == RAFT_CANDIDATE);
}

/* The candidate is a follower again, of no leader. */
static void lose_election(void)
{
	struct raft_message message = {.request_vote = {.term = TERM + 10, .candidate_id = LEADER}};
	stand_for_election();
	receive(RAFT_IO_REQUEST_VOTE, &message);
	CHECK(raft_state(&server.raft) == RAFT_FOLLOWER);
}

static void follow_next_term(void)
{
	receive_entries(TERM + 1, 0, 0);
	CHECK(raft_state(&server.raft) == RAFT_FOLLOWER);
}

static void nothing(void)
{
}

static void store_entries(raft_index last)
{
	while (server.raft.last_stored < last)
		uv_run(&server.io.loop, UV_RUN_ONCE);
}

static void store_snapshot(void)
{
	while (server.raft.snapshot.put.data)
		uv_run(&server.io.loop, UV_RUN_ONCE);
	CHECK(server.restored == 1);
}

/* ---- Answers that come late -------------------------------------------------------------------- */

/* 'change' happens while an entry or a snapshot is being stored. */
static void check_late(bool snapshot, void (*change)(void), unsigned answers, unsigned refused)
{
	open_server(false);
	if (snapshot)
		receive_snapshot();
	else
		receive_entries(TERM, 1, 0);
	change();
	server.answers = server.refused = 0;
	if (snapshot)
		store_snapshot();
	else
		store_entries(2);
	CHECK(server.answers == answers && server.refused == refused, "%u and %u", server.answers, server.refused);
	close_server();
}

void late_answers(void)
{
	check_late(true, nothing, 1, 0);
	check_late(true, stand_for_election, 0, 1);
	check_late(true, lose_election, 0, 1);
	check_late(true, follow_next_term, 0, 1);
	check_late(false, nothing, 1, 0);
	check_late(false, stand_for_election, 0, 0); /* libraft does not try */
	check_late(false, lose_election, 0, 1);
	check_late(false, follow_next_term, 0, 1);
}

/* ---- Answers that claim too much --------------------------------------------------------------- */

static void read_words(int fd, uint64_t *words, size_t n)
{
	for (size_t have = 0; have < n * sizeof(*words);) {
		uv_run(&server.io.loop, UV_RUN_NOWAIT);
		ssize_t got = recv(fd, (char *)words + have, n * sizeof(*words) - have, MSG_DONTWAIT);
		CHECK(got);
		have += got > 0 ? (size_t)got : 0;
	}
}

/* A server that connects begins with three words: the protocol, its own number, and the length of its address. */
static int accept_server(void)
{
	uint64_t words[3];
	uv_run(&server.io.loop, UV_RUN_NOWAIT);
	int fd = accept(server.leader, NULL, NULL);
	CHECK(fd >= 0);
	read_words(fd, words, 3);
	for (uint64_t length = words[2]; length; length -= 8)
		read_words(fd, words, 1);
	return fd;
}

static int connect_to_server(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct {
		uint64_t protocol, id, length;
		char address[32];
	} hello = {1, LEADER, sizeof(hello.address), ""};
	strcpy(hello.address, server.address);
	address.sin_port = htons((uint16_t)atoi(strchr(server.own_address, ':') + 1));
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(fd >= 0 && !connect(fd, (struct sockaddr *)&address, sizeof(address)));
	CHECK(send(fd, &hello, sizeof(hello), 0) == sizeof(hello));
	return fd;
}

/* A guest of the lab has none that is up. */
static bool has_loopback(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char text[32];
	int listening = listen_anywhere(text), fd = socket(AF_INET, SOCK_STREAM, 0);
	address.sin_port = htons((uint16_t)atoi(strchr(text, ':') + 1));
	bool has = fd >= 0 && !connect(fd, (struct sockaddr *)&address, sizeof(address));
	close(fd);
	close(listening);
	return has;
}

/* The follower holds entries of an earlier leader, of which the message of the next one says nothing. */
void claimed_answers(void)
{
	uint64_t words[5]; /* type, length; term, rejected, last index */
	if (!has_loopback()) {
		printf("claimed_answers: skipped, the loopback interface is down\n");
		return;
	}
	open_server(true);
	receive_entries(TERM, 3, 1);
	store_entries(4);
	int answers = accept_server(), messages = connect_to_server();
	read_words(answers, words, 5);
	CHECK(words[0] == RAFT_IO_APPEND_ENTRIES_RESULT && words[2] == TERM && !words[3] && words[4] == 4);
	/* The next leader agrees on entry 1, has others after it, and two of them are committed. */
	const uint64_t heartbeat[] = {RAFT_IO_APPEND_ENTRIES, 40, TERM + 1, 1, 1, 3, 0};
	CHECK(send(messages, heartbeat, sizeof(heartbeat), 0) == sizeof(heartbeat));
	read_words(answers, words, 5);
	CHECK(words[2] == TERM + 1 && !words[3], "term %llu", (unsigned long long)words[2]);
	CHECK(words[4] == 1, "it claims to hold %llu entries of the leader", (unsigned long long)words[4]);
	CHECK(!server.applied && server.raft.commit_index == 1, "%u of an earlier leader applied", server.applied);
	close_server();
	close(answers);
	close(messages);
}

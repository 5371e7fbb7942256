/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The struct raft_io. libraft has no transport without storage, so its own raft_io is made too, on an empty directory
 * that is removed at once, and serves the calls that store nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server.h"

#define NAMES_MAX 64 /* bytes of the longest name in the directory */

/* ---- The directory ----------------------------------------------------------------------------- */

static int open_directory(struct pmr_server *s, raft_id id, char *message)
{
	struct pmr_home *home = &s->home;
	home->server = id;
	home->fd = open(home->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (home->fd < 0 && errno == ENOTDIR)
		return pmr_fail(message, RAFT_INVALID, "%s is not a directory", home->path);
	if (home->fd < 0)
		return pmr_fail_errno(message, -errno, "cannot open the directory", home->path);
	if (!flock(home->fd, LOCK_EX | LOCK_NB))
		return 0;
	if (errno == EWOULDBLOCK)
		return pmr_fail(message, RAFT_BUSY, "%s is in use by another process", home->path);
	return pmr_fail_errno(message, -errno, "cannot lock the directory", home->path);
}

/* The metadata come last: a directory whose making was cut off has none. */
static int make_directory(struct pmr_server *s, char *message)
{
	struct pmr_snapshot_id snapshot;
	char ignored[RAFT_ERRMSG_BUF_SIZE];
	int rc = pmr_snapshot_find(&s->home, &snapshot, message);
	if (rc)
		return rc;
	if (snapshot.index)
		return pmr_fail(message, RAFT_CORRUPT, "%s has no metadata, but a snapshot: the metadata is missing",
		                s->home.path);
	if (getrandom(&s->home.identity, sizeof(s->home.identity), 0) != sizeof(s->home.identity))
		return pmr_fail(message, RAFT_IOERR, "getrandom() failed");
	rc = pmr_log_prepare(&s->log, message);
	if (!rc)
		rc = pmr_log_make(&s->log, message);
	if (!rc)
		rc = pmr_metadata_set(&s->home, &s->metadata, 0, 0, message);
	/* The segment without an entry, which this start made. */
	if (rc)
		pmr_log_prepare(&s->log, ignored);
	return rc;
}

static int open_store(struct pmr_server *s, raft_id id, char *message)
{
	bool made;
	int rc = pm_guard_install();
	if (rc)
		return pmr_fail_pm(message, rc, "cannot guard the store");
	pmr_log_init(&s->log, &s->home, s->segment_size);
	rc = open_directory(s, id, message);
	if (!rc)
		rc = pmr_metadata_open(&s->home, &s->metadata, &made, message);
	if (!rc && made) {
		rc = make_directory(s, message);
		if (rc)
			pmr_metadata_discard(&s->home, &s->metadata);
	}
	if (rc)
		pmr_close_store(s);
	return rc;
}

/* ---- The network ------------------------------------------------------------------------------- */

/* libraft has no sentence for each of its errors. */
static int fail_network(struct pmr_server *s, char *message, int rc, const char *what)
{
	const char *why = *s->network.errmsg ? s->network.errmsg : raft_strerror(rc);
	return pmr_fail(message, rc, "%s: %s", what, why);
}

/* libraft's raft_io tries what the file system of its directory can do; memory spares the disk that. */
static int open_network_in(struct pmr_server *s, const char *parent, raft_id id, const char *address, char *message)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%.*s/pmdirect-raft-XXXXXX", PATH_MAX - NAMES_MAX, parent);
	if (!mkdtemp(path))
		return pmr_fail_errno(message, -errno, "cannot make a directory for the transport", path);
	int rc = raft_uv_init(&s->network, s->loop, path, s->transport);
	if (!rc) {
		s->network.data = s;
		if (s->connect_retry_delay)
			raft_uv_set_connect_retry_delay(&s->network, s->connect_retry_delay);
		rc = s->network.init(&s->network, id, address);
		s->network_open = !rc;
		if (rc) {
			fail_network(s, message, rc, "cannot make the transport");
			raft_uv_close(&s->network);
		}
	}
	rmdir(path);
	return rc;
}

static int open_network(struct pmr_server *s, raft_id id, const char *address, char *message)
{
	int rc = access("/dev/shm", W_OK) ? 1 : open_network_in(s, "/dev/shm", id, address, message);
	return rc ? open_network_in(s, s->home.path, id, address, message) : 0;
}

static void on_tick(struct raft_io *network)
{
	struct pmr_server *s = network->data;
	pmr_queue_tick(s);
	s->tick(s->io);
}

static void on_receive(struct raft_io *network, struct raft_message *message)
{
	struct pmr_server *s = network->data;
	pmr_receive(s, message);
}

static int start(struct raft_io *io, unsigned milliseconds, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
	struct pmr_server *s = pmr_server_of(io);
	s->tick = tick;
	s->recv = recv;
	int rc = s->network.start(&s->network, milliseconds, on_tick, on_receive);
	if (!rc)
		return 0;
	return fail_network(s, io->errmsg, rc, "cannot listen at the server's address (does another process use it?)");
}

static int send_message(struct raft_io *io, struct raft_io_send *req, const struct raft_message *message,
                        raft_io_send_cb cb)
{
	struct pmr_server *s = pmr_server_of(io);
	struct raft_message answer;
	if (message->type == RAFT_IO_APPEND_ENTRIES_RESULT) {
		answer = *message;
		message = &answer;
		if (!pmr_correct_answer(s, &answer))
			return pmr_fail(io->errmsg, RAFT_NOCONNECTION, "the leader that waits for the answer is gone");
	}
	int rc = s->network.send(&s->network, req, message, cb);
	return rc ? fail_network(s, io->errmsg, rc, "cannot send") : 0;
}

static raft_time now(struct raft_io *io)
{
	struct pmr_server *s = pmr_server_of(io);
	return s->network.time(&s->network);
}

static int random_between(struct raft_io *io, int min, int max)
{
	struct pmr_server *s = pmr_server_of(io);
	return s->network.random(&s->network, min, max);
}

static int async_work(struct raft_io *io, struct raft_io_async_work *req, raft_io_async_work_cb cb)
{
	struct pmr_server *s = pmr_server_of(io);
	return s->network.async_work(&s->network, req, cb);
}

/* ---- Term, vote, loading ----------------------------------------------------------------------- */

static int set_term(struct raft_io *io, raft_term term)
{
	struct pmr_server *s = pmr_server_of(io);
	return pmr_metadata_set(&s->home, &s->metadata, term, 0, io->errmsg);
}

static int set_vote(struct raft_io *io, raft_id server)
{
	struct pmr_server *s = pmr_server_of(io);
	return pmr_metadata_set(&s->home, &s->metadata, s->metadata.term, server, io->errmsg);
}

/* The snapshot is read before the log is judged, and files are removed after that: a load that fails removes none. */
static int load_store(struct pmr_server *s, struct raft_snapshot **ret, struct pmr_entries *entries, uint64_t *first,
                      char *message)
{
	char ignored[RAFT_ERRMSG_BUF_SIZE];
	s->loaded = false;
	*ret = NULL;
	int rc = pmr_snapshot_find(&s->home, &s->snapshot, message);
	if (!rc && s->snapshot.index)
		rc = pmr_snapshot_get(&s->home, s->snapshot, ret, message);
	if (!rc)
		rc = pmr_log_load(&s->log, s->snapshot, entries, first, message);
	s->loaded = !rc;
	if (!rc)
		pmr_snapshot_tidy(&s->home, s->snapshot, ignored);
	else if (*ret)
		pmr_snapshot_free(*ret);
	return rc;
}

/* Of a server that is not started. */
static int load_log(struct pmr_server *s, struct pmr_entries *entries, char *message)
{
	struct raft_snapshot *snapshot;
	uint64_t first;
	int rc = load_store(s, &snapshot, entries, &first, message);
	if (!rc && snapshot)
		pmr_snapshot_free(snapshot);
	return rc;
}

static int load(struct raft_io *io, raft_term *term, raft_id *voted_for, struct raft_snapshot **snapshot,
                raft_index *start_index, struct raft_entry *entries[], size_t *n_entries)
{
	struct pmr_server *s = pmr_server_of(io);
	struct pmr_entries all;
	uint64_t first;
	int rc = load_store(s, snapshot, &all, &first, io->errmsg);
	if (rc) {
		*snapshot = NULL;
		return rc;
	}
	s->granularity = pm_granularity_of(s->log.segments[s->log.count - 1].map);
	*term = s->metadata.term;
	*voted_for = s->metadata.vote;
	*start_index = first;
	*entries = all.entry;
	*n_entries = all.count;
	return 0;
}

static int append_configuration(struct pmr_server *s, const struct raft_configuration *conf, char *message)
{
	struct raft_entry entry = {.term = s->metadata.term ? s->metadata.term : 1, .type = RAFT_CHANGE};
	int rc = raft_configuration_encode(conf, &entry.buf);
	if (rc)
		return pmr_fail(message, rc, "cannot encode the configuration");
	rc = pmr_log_store(&s->log, &entry, 1, message);
	if (!rc)
		rc = pmr_log_commit(&s->log, message);
	raft_free(entry.buf.base);
	return rc;
}

/* A crash between term and entry leaves a directory that can be bootstrapped again. */
static int bootstrap(struct raft_io *io, const struct raft_configuration *conf)
{
	struct pmr_server *s = pmr_server_of(io);
	struct pmr_entries entries;
	int rc = load_log(s, &entries, io->errmsg);
	if (rc)
		return rc;
	bool used = entries.count || s->snapshot.index || s->metadata.term > 1 || s->metadata.vote;
	pmr_entries_free(&entries);
	if (used)
		return pmr_fail(io->errmsg, RAFT_CANTBOOTSTRAP, "%s is in use already: it has term %" PRIu64,
		                s->home.path,
		                s->metadata.term);
	rc = pmr_metadata_set(&s->home, &s->metadata, 1, 0, io->errmsg);
	return rc ? rc : append_configuration(s, conf, io->errmsg);
}

static int recover(struct raft_io *io, const struct raft_configuration *conf)
{
	struct pmr_server *s = pmr_server_of(io);
	struct pmr_entries entries;
	int rc = load_log(s, &entries, io->errmsg);
	if (rc)
		return rc;
	pmr_entries_free(&entries);
	return append_configuration(s, conf, io->errmsg);
}

/* ---- Life -------------------------------------------------------------------------------------- */

static int init(struct raft_io *io, raft_id id, const char *address)
{
	struct pmr_server *s = pmr_server_of(io);
	int rc = open_store(s, id, io->errmsg);
	if (rc)
		return rc;
	rc = open_network(s, id, address, io->errmsg);
	if (rc) {
		pmr_close_store(s);
		return rc;
	}
	uv_idle_init(s->loop, &s->idle);
	s->idle.data = s;
	s->idle_open = true;
	return 0;
}

static void network_closed(struct raft_io *network)
{
	struct pmr_server *s = network->data;
	s->network_open = false;
	pmr_closed_maybe(s);
}

static void idle_closed(uv_handle_t *handle)
{
	struct pmr_server *s = handle->data;
	s->idle_open = false;
	pmr_closed_maybe(s);
}

static void close_io(struct raft_io *io, raft_io_close_cb cb)
{
	struct pmr_server *s = pmr_server_of(io);
	s->on_close = cb;
	s->closing = true;
	pmr_queue_cancel(s);
	s->network.close(&s->network, network_closed);
	uv_close((uv_handle_t *)&s->idle, idle_closed);
}

static void set_calls(struct raft_io *io)
{
	io->version = 2;
	io->init = init;
	io->close = close_io;
	io->load = load;
	io->start = start;
	io->bootstrap = bootstrap;
	io->recover = recover;
	io->set_term = set_term;
	io->set_vote = set_vote;
	io->send = send_message;
	io->append = pmr_append;
	io->truncate = pmr_truncate;
	io->snapshot_put = pmr_snapshot_put_request;
	io->snapshot_get = pmr_snapshot_get_request;
	io->time = now;
	io->random = random_between;
	io->async_work = async_work;
}

int pmdirect_raft_init(struct raft_io *io, struct uv_loop_s *loop, const char *dir, struct raft_uv_transport *transport)
{
	void *data = io->data;
	memset(io, 0, sizeof(*io));
	io->data = data;
	if (strlen(dir) > PATH_MAX - NAMES_MAX)
		return pmr_fail(io->errmsg, RAFT_NAMETOOLONG, "the path of the directory is too long");
	struct pmr_server *s = raft_calloc(1, sizeof(*s));
	if (!s)
		return pmr_fail(io->errmsg, RAFT_NOMEM, "out of memory for a server");
	s->io = io;
	s->loop = loop;
	s->transport = transport;
	s->segment_size = (size_t)8 << 20;
	s->home.fd = -1;
	s->matched = UINT64_MAX;
	strcpy(s->home.path, dir);
	pmr_queue_init(s);
	io->impl = s;
	set_calls(io);
	return 0;
}

void pmdirect_raft_close(struct raft_io *io)
{
	raft_free(io->impl);
	io->impl = NULL;
}

void pmdirect_raft_set_segment_size(struct raft_io *io, size_t size)
{
	size = size < PMR_SEGMENT_MIN ? PMR_SEGMENT_MIN : size;
	pmr_server_of(io)->segment_size = (size + PMR_PAGE - 1) / PMR_PAGE * PMR_PAGE;
}

void pmdirect_raft_set_connect_retry_delay(struct raft_io *io, unsigned milliseconds)
{
	pmr_server_of(io)->connect_retry_delay = milliseconds;
}

const char *pmdirect_raft_granularity(struct raft_io *io)
{
	struct pmr_server *s = pmr_server_of(io);
	if (!s->loaded)
		return "";
	/* The worker moves the segments, and unmaps some. */
	if (!s->working)
		s->granularity = pm_granularity_of(s->log.segments[s->log.count - 1].map);
	return pm_granularity_name(s->granularity);
}

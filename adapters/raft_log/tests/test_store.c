/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store through its raft_io, in a loop of its own: what is stored is loaded again, and each kind of damage is
 * refused with a sentence, or repaired if nothing that was acknowledged is lost. Nothing is stubbed.
 *
 *   test_store DIRECTORY [CASE]
 */
#include "store_test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>

/* ---- Cases ------------------------------------------------------------------------------------- */

static void metadata(void)
{
	struct io io;
	open_io(&io);
	CHECK(io.term == 0 && io.vote == 0 && io.first == 1 && io.count == 0 && !io.snapshot);
	for (raft_term term = 1; term < 8; term++) {
		CHECK(!io.io.set_term(&io.io, term));
		CHECK(!io.io.set_vote(&io.io, term % 3 + 1));
	}
	CHECK(!io.io.set_term(&io.io, 9));
	close_io(&io);
	open_io(&io);
	CHECK(io.term == 9 && io.vote == 0);
	CHECK(!io.io.set_vote(&io.io, 3));
	close_io(&io);
	open_io(&io);
	CHECK(io.term == 9 && io.vote == 3);
	close_io(&io);
}

/* The newest slot, torn, is the one before; both are an error and change nothing. */
static void slots(void)
{
	struct io io;
	char path[1024];
	open_io(&io);
	for (raft_term term = 1; term < 5; term++)
		CHECK(!io.io.set_term(&io.io, term));
	close_io(&io);
	path_of("metadata", path);
	flip(path, 32); /* sequence 5 is in slot 0 */
	open_io(&io);
	CHECK(io.term == 3, "%llu", io.term);
	CHECK(!io.io.set_term(&io.io, 6));
	close_io(&io);
	open_io(&io);
	CHECK(io.term == 6);
	close_io(&io);
	flip(path, 32);
	flip(path, 4096 + 32);
	refuse(1, RAFT_CORRUPT, "both slots");
	flip(path, 32);
	open_io(&io);
	CHECK(io.term == 6);
	close_io(&io);
	CHECK(!truncate(path, 4096));
	refuse(1, RAFT_CORRUPT, "truncated");
	CHECK(!truncate(path, 0));
	refuse(1, RAFT_CORRUPT, "0 bytes");
	CHECK(!unlink(path));
	open_io(&io); /* no entry is there, so it is a directory whose making was cut off */
	CHECK(!append(&io, 1, 1, 1, 10));
	close_io(&io);
	CHECK(!unlink(path));
	refuse(1, RAFT_CORRUPT, "metadata is missing");
	CHECK(access(path, F_OK)); /* the refused start left none */
}

static void make_empty(const char *name)
{
	char path[1024];
	path_of(name, path);
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
	CHECK(fd >= 0);
	close(fd);
}

/* A segment of 0 bytes holds nothing: it is removed, before the log, after it, and where there is no log yet. */
static void no_byte(void)
{
	struct io io;
	char path[1024], last[1024];
	make_empty("segment-0000000003");
	open_io(&io);
	fill_log(&io, 20, 1000);
	close_io(&io);
	make_empty("segment-0000000000");
	make_empty("segment-0000000099");
	check_log(1, 20, 2, 1000);
	for (int n = 0; file("segment", n, path); n++)
		CHECK(!strstr(path, "-0000000099") && !strstr(path, "-0000000000"), "%s", path);
	/* One that held entries is missed all the same. */
	CHECK(file("segment", 0, last));
	CHECK(!truncate(last, 0));
	CHECK(try_open(&io, 1) || try_load(&io) == RAFT_CORRUPT, "%s", io.io.errmsg);
	close_io(&io);
	/* An error removes nothing, not even what holds nothing. */
	clean();
	open_io(&io);
	fill_log(&io, 20, 1000);
	close_io(&io);
	make_empty("segment-0000000000");
	path_of("metadata", path);
	CHECK(!unlink(path));
	refuse(1, RAFT_CORRUPT, "metadata is missing");
	path_of("segment-0000000000", path);
	CHECK(!access(path, F_OK));
}

static void log_grows(void)
{
	struct io io;
	char path[1024];
	open_io(&io);
	raft_index next = 1;
	for (size_t length = 0; length < 3000; length += 97, next += 3)
		CHECK(!append(&io, next, 3, 2, length), "%s", io.io.errmsg);
	CHECK(!append(&io, next, 1, 2, 300000), "%s", io.io.errmsg); /* larger than a segment */
	CHECK(!append(&io, next + 1, 1, 2, 1));
	close_io(&io);
	CHECK(file("segment", 3, path));
	open_io(&io);
	CHECK(io.count == next + 1);
	for (size_t i = 0; i < next - 1; i++)
		check_entry(&io.entries[i], 1 + i, 2, i / 3 * 97);
	check_entry(&io.entries[next - 1], next, 2, 300000);
	close_io(&io);
}

/* Many at once: one commit, callbacks in order. */
static void in_order(void)
{
	enum { N = 200 };
	static struct call calls[N];
	static struct raft_entry entries[N];
	struct io io;
	open_io(&io);
	for (unsigned i = 0; i < N; i++) {
		calls[i] = (struct call){.append.data = &calls[i]};
		fill(&entries[i], i + 1, 3, 500);
		CHECK(!io.io.append(&io.io, &calls[i].append, &entries[i], 1, on_append));
	}
	for (unsigned i = 0; i < N; i++) {
		finish(&io, &calls[i]);
		CHECK(!calls[i].status && (!i || calls[i].order > calls[i - 1].order));
		free(entries[i].buf.base);
	}
	close_io(&io);
	check_log(1, N, 3, 500);
}

static void truncated(void)
{
	struct io io;
	open_io(&io);
	fill_log(&io, 300, 1000); /* five segments */
	CHECK(!io.io.truncate(&io.io, 291));
	CHECK(!append(&io, 291, 5, 3, 1000));
	CHECK(!io.io.truncate(&io.io, 290));
	CHECK(!io.io.truncate(&io.io, 100));
	CHECK(!append(&io, 100, 1, 2, 1000)); /* what waits at a close is cancelled */
	close_io(&io);
	check_log(1, 100, 2, 1000);
	open_io(&io);
	for (unsigned i = 101; i < 160; i++)
		CHECK(!append(&io, i, 1, 2, 1000));
	close_io(&io);
	check_log(1, 159, 2, 1000);
	open_io(&io);
	CHECK(!io.io.truncate(&io.io, 1));
	CHECK(!append(&io, 1, 1, 4, 10));
	close_io(&io);
	check_log(1, 1, 4, 10);
}

/* A crash right after the cut was published, before anything was removed: the rest is void all the same. */
static void cut(void)
{
	struct io io;
	char path[1024];
	open_io(&io);
	fill_log(&io, 200, 1000);
	close_io(&io);
	CHECK(file("segment", 1, path) && file("segment", 2, path) && file("segment", 0, path));
	set_word(path, place(20, 1000) | 1);
	check_log(1, 20, 2, 1000);
	CHECK(!file("segment", 1, path));
	CHECK(file("segment", 0, path) && get_word(path) == place(20, 1000));
	check_log(1, 20, 2, 1000);
	/* But not if what the cut kept is damaged. */
	set_word(path, place(20, 1000) | 1);
	flip(path, (off_t)place(3, 1000) + 50);
	refuse(1, RAFT_CORRUPT, "entry 4 is lost");
}

static void torn(void)
{
	struct io io;
	char path[1024];
	for (unsigned part = 0; part < 5; part++) {
		static const unsigned places[] = {0, 8, 30, RECORD, RECORD + 99};
		clean();
		open_io(&io);
		fill_log(&io, 3, 100);
		close_io(&io);
		CHECK(file("segment", 0, path));
		CHECK(get_word(path) == place(3, 100));
		/* As if the last commit had not come back: the word is of the one before. */
		set_word(path, place(2, 100));
		flip(path, (off_t)place(2, 100) + places[part]);
		check_log(1, 2, 2, 100);
		open_io(&io);
		CHECK(!append(&io, 3, 1, 2, 100));
		close_io(&io);
		check_log(1, 3, 2, 100);
	}
}

/* Of a group that was torn, a later record may be whole: it must never come back behind a new one of the
 * same length. */
static void stale(void)
{
	enum { N = 3 };
	struct call calls[N];
	struct raft_entry entries[N];
	struct io io;
	char path[1024];
	open_io(&io);
	for (unsigned i = 0; i < N; i++) {
		calls[i] = (struct call){.append.data = &calls[i]};
		fill(&entries[i], i + 1, 2, 100);
	}
	/* One call, so that all three say that nothing before them was durable. */
	CHECK(!io.io.append(&io.io, &calls[0].append, entries, N, on_append));
	finish(&io, &calls[0]);
	close_io(&io);
	CHECK(file("segment", 0, path));
	set_word(path, 0);
	flip(path, (off_t)place(1, 100) + 60);
	check_log(1, 1, 2, 100);
	open_io(&io);
	CHECK(!append(&io, 2, 1, 2, 100));
	close_io(&io);
	check_log(1, 2, 2, 100);
	for (unsigned i = 0; i < N; i++)
		free(entries[i].buf.base);
}

/* Damage to what was acknowledged is no torn tail: by the word, or by a later record that says so. */
static void damaged(void)
{
	struct io io;
	char path[1024];
	open_io(&io);
	fill_log(&io, 10, 100);
	close_io(&io);
	CHECK(file("segment", 0, path));
	flip(path, (off_t)place(9, 100) + 60);
	refuse(1, RAFT_CORRUPT, "entry 10 is lost");
	flip(path, (off_t)place(9, 100) + 60);
	set_word(path, 0);
	flip(path, (off_t)place(4, 100) + 60);
	refuse(1, RAFT_CORRUPT, "entry 5 is lost");
	flip(path, (off_t)place(4, 100) + 60);
	check_log(1, 10, 2, 100);
	flip(path, 24);
	refuse(1, RAFT_CORRUPT, "header is damaged");
	flip(path, 24);
	CHECK(!truncate(path, RECORDS_AT + 8192));
	refuse(1, RAFT_CORRUPT, "truncated");
}

static void missing(void)
{
	struct io io;
	char path[1024], aside[1100];
	open_io(&io);
	fill_log(&io, 200, 1000);
	close_io(&io);
	for (int n = 0; n < 4; n++) {
		static const char *const words[] = {"entries 1 to ", "is gone", "is gone", "is missing"};
		CHECK(file("segment", n, path));
		snprintf(aside, sizeof(aside), "%s/aside", directory);
		CHECK(!rename(path, aside));
		refuse(1, RAFT_CORRUPT, words[n]);
		CHECK(!rename(aside, path));
	}
	check_log(1, 200, 2, 1000);
	while (file("segment", 0, path))
		CHECK(!unlink(path));
	refuse(1, RAFT_CORRUPT, "the log is missing");
}

static bool is_there(const char *name)
{
	char path[1024];
	path_of(name, path);
	return !access(path, F_OK);
}

/* A start that is refused removes nothing, be it of no use: an empty segment, a spare. */
static void kept(void)
{
	struct io io;
	char path[1024];
	open_io(&io);
	fill_log(&io, 200, 1000);
	close_io(&io);
	make_empty("segment-0000000000");
	make_empty("segment-0000000099");
	path_of("segment-0000000098", path);
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
	CHECK(fd >= 0 && !ftruncate(fd, SEGMENT) && !close(fd));
	path_of("segment-0000000001", path);
	flip(path, 4096 + 64); /* in the first entry, which was acknowledged */
	refuse(1, RAFT_CORRUPT, "damaged");
	CHECK(is_there("segment-0000000000") && is_there("segment-0000000098") && is_there("segment-0000000099"));
	flip(path, 4096 + 64);
	check_log(1, 200, 2, 1000);
	CHECK(!is_there("segment-0000000000") && !is_there("segment-0000000098") && !is_there("segment-0000000099"));
}

static void foreign(void)
{
	struct io io, other;
	char path[1024], first[1024], copy[4096];
	open_io(&io);
	fill_log(&io, 3, 100);
	CHECK(try_open(&other, 1) == RAFT_BUSY);
	CHECK(strstr(other.io.errmsg, "in use"), "%s", other.io.errmsg);
	close_io(&other);
	close_io(&io);
	refuse(2, RAFT_BADID, "is the directory of server 1, not of 2");
	check_log(1, 3, 2, 100);
	/* The segment of another directory of the same server. */
	CHECK(file("segment", 0, first));
	with_file(first, 0, copy, sizeof(copy), false);
	clean();
	open_io(&io);
	fill_log(&io, 3, 100);
	close_io(&io);
	CHECK(file("segment", 0, path));
	with_file(path, 0, copy, sizeof(copy), true);
	refuse(1, RAFT_CORRUPT, "of another directory");
	strcat(directory, "/metadata");
	refuse(1, RAFT_INVALID, "not a directory");
	strcat(directory, "-none");
	CHECK(try_open(&io, 1));
	close_io(&io);
	*strrchr(directory, '/') = '\0';
}

/* libraft has no sentence for it. Without the right to bind the port itself the start fails as well. */
static void address_in_use(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(1), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct io io;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0);
	if (!bind(fd, (struct sockaddr *)&at, sizeof(at)))
		CHECK(!listen(fd, 1));
	open_io(&io);
	CHECK(io.io.start(&io.io, 100, NULL, NULL));
	CHECK(strstr(io.io.errmsg, "another process"), "%s", io.io.errmsg);
	close_io(&io);
	close(fd);
}

static void bootstrapped(void)
{
	struct raft_configuration configuration;
	struct io io;
	raft_configuration_init(&configuration);
	CHECK(!raft_configuration_add(&configuration, 1, "127.0.0.1:1", RAFT_VOTER));
	CHECK(!try_open(&io, 1));
	CHECK(!io.io.bootstrap(&io.io, &configuration), "%s", io.io.errmsg);
	CHECK(io.io.bootstrap(&io.io, &configuration) == RAFT_CANTBOOTSTRAP);
	CHECK(!io.io.recover(&io.io, &configuration));
	CHECK(!try_load(&io));
	CHECK(io.term == 1 && io.count == 2 && io.entries[0].type == RAFT_CHANGE && io.entries[1].type == RAFT_CHANGE);
	close_io(&io);
	raft_configuration_close(&configuration);
}

/* ---- Limits ------------------------------------------------------------------------------------ */

/* What was asked for after the failure, and before it was known, fails too: it would follow a hole. */
static void full(void)
{
	enum { N = 400 };
	static struct call calls[N];
	static struct raft_entry entries[N];
	struct io io;
	unsigned stored = 0;
	open_io(&io);
	for (unsigned i = 0; i < N; i++) {
		calls[i] = (struct call){.append.data = &calls[i]};
		fill(&entries[i], i + 1, 2, 4000);
		CHECK(!io.io.append(&io.io, &calls[i].append, &entries[i], 1, on_append));
		if (i % 50 == 49)
			finish(&io, &calls[i]);
		if (calls[i].status)
			break;
	}
	while (stored < N && calls[stored].done && !calls[stored].status)
		stored++;
	CHECK(stored > 10 && stored < N, "the disk is not full after %u", stored);
	CHECK(calls[stored].status == RAFT_NOSPACE, "%s", io.io.errmsg);
	CHECK(strstr(io.io.errmsg, "segment-"), "%s", io.io.errmsg);
	for (unsigned i = stored; i < N && calls[i].append.cb; i++)
		CHECK(calls[i].done && calls[i].status == RAFT_NOSPACE);
	CHECK(append(&io, stored + 1, 1, 2, 1) == RAFT_NOSPACE);
	CHECK(!io.io.set_term(&io.io, 5) && !io.io.set_vote(&io.io, 2)); /* a full disk stops no election */
	close_io(&io);
	open_io(&io);
	CHECK(io.count >= stored && io.term == 5 && io.vote == 2, "%zu of %u", io.count, stored);
	for (unsigned i = 0; i < stored; i++)
		check_entry(&io.entries[i], i + 1, 2, 4000);
	close_io(&io);
}

/* A start that finds no room leaves nothing behind. */
static void no_room(void)
{
	struct io io;
	char path[1024];
	CHECK(try_open(&io, 1) == RAFT_NOSPACE, "%s", io.io.errmsg);
	close_io(&io);
	CHECK(!file("metadata", 0, path) && !file("segment", 0, path), "%s is left", path);
}

static void read_only(void)
{
	refuse(1, RAFT_UNAUTHORIZED, "metadata");
}

/* ---- Main -------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(void);
	bool alone; /* only when asked for: it needs a directory of its own kind */
} cases[] = {
	{"metadata", metadata, false}, {"slots", slots, false}, {"log_grows", log_grows, false},
	{"in_order", in_order, false}, {"truncated", truncated, false}, {"cut", cut, false}, {"torn", torn, false},
	{"stale", stale, false}, {"damaged", damaged, false}, {"missing", missing, false},
	{"no_byte", no_byte, false}, {"kept", kept, false}, {"foreign", foreign, false},
	{"address_in_use", address_in_use, false}, {"snapshots", snapshots, false},
	{"damaged_snapshot", damaged_snapshot, false}, {"installed", installed, false},
	{"late_answers", late_answers, false}, {"claimed_answers", claimed_answers, false},
	{"other_names", other_names, false}, {"bootstrapped", bootstrapped, false}, {"full", full, true},
	{"no_room", no_room, true},
	{"read_only", read_only, true},
};

int main(int argc, char **argv)
{
	CHECK(argc > 1 && strlen(argv[1]) < sizeof(directory) - 32);
	strcpy(directory, argv[1]);
	mkdir(directory, 0755);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		if (argc > 2 ? strcmp(argv[2], cases[i].name) : cases[i].alone)
			continue;
		printf("%s\n", cases[i].name);
		fflush(stdout);
		if (!cases[i].alone)
			clean();
		cases[i].run();
	}
	if (argc < 3)
		clean();
	return 0;
}

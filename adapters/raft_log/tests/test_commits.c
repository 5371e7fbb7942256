/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the log promises where a commit fails or the power is cut. The calls that make something durable are wrapped at
 * link time: one can fail, and each that succeeds is noted in an image of what the medium holds. A cut puts that image
 * in place of the file. So it takes away all that no call made durable, which a kernel may do at worst.
 *
 *   test_raft_commits DIRECTORY
 */
#include "store_test.h"

#include <errno.h>
#include <pmdirect.h>
#include <pthread.h>

#define PAGE 4096u
#define NEVER UINT32_MAX
#define LONG (2 * PAGE - RECORD) /* payload: each record begins and ends with a page */

int __wrap_pm_commit(struct pm_mapping *, const struct pm_range *, size_t);
int __wrap_pm_sync(struct pm_mapping *);
int __wrap_pm_publish64(struct pm_mapping *, uint64_t *, uint64_t);
int __real_pm_commit(struct pm_mapping *, const struct pm_range *, size_t);
int __real_pm_sync(struct pm_mapping *);
int __real_pm_publish64(struct pm_mapping *, uint64_t *, uint64_t);

/* ---- The medium below the log's segment -------------------------------------------------------- */

/* The worker thread changes it too; the test looks while no request is under way. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char medium[SEGMENT];
static unsigned commits_left = NEVER, syncs_left = NEVER; /* that succeed */

static bool is_log(const struct pm_mapping *m)
{
	return pm_length(m) == SEGMENT;
}

static bool fails(const struct pm_mapping *m, unsigned *left)
{
	pthread_mutex_lock(&lock);
	bool now = is_log(m) && !*left;
	if (is_log(m) && *left && *left != NEVER)
		--*left;
	pthread_mutex_unlock(&lock);
	return now;
}

static void note(struct pm_mapping *m, const void *address, size_t length)
{
	size_t from = (size_t)((const char *)address - (const char *)pm_base(m)), to = from + length;
	if (!is_log(m))
		return;
	from -= from % PAGE;
	to = (to + PAGE - 1) / PAGE * PAGE;
	pthread_mutex_lock(&lock);
	memcpy(medium + from, (const char *)pm_base(m) + from, to - from);
	pthread_mutex_unlock(&lock);
}

/* Once it failed it fails: the library keeps the error of a file. */
int __wrap_pm_commit(struct pm_mapping *m, const struct pm_range *ranges, size_t count)
{
	int rc = fails(m, &commits_left) ? -EIO : __real_pm_commit(m, ranges, count);
	for (size_t i = 0; !rc && i < count; i++)
		note(m, ranges[i].address, ranges[i].length);
	return rc;
}

int __wrap_pm_sync(struct pm_mapping *m)
{
	int rc = fails(m, &syncs_left) ? -EIO : __real_pm_sync(m);
	if (!rc)
		note(m, pm_base(m), pm_length(m));
	return rc;
}

int __wrap_pm_publish64(struct pm_mapping *m, uint64_t *destination, uint64_t value)
{
	int rc = __real_pm_publish64(m, destination, value);
	if (!rc)
		note(m, destination, sizeof(value));
	return rc;
}

static void path_of_log(char path[1024])
{
	char second[1024];
	CHECK(file("segment", 0, path) && !file("segment", 1, second));
}

/* What the file holds now is on the medium. */
static void settle_medium(void)
{
	char path[1024];
	path_of_log(path);
	with_file(path, 0, medium, sizeof(medium), false);
}

static void take_medium(char image[SEGMENT])
{
	pthread_mutex_lock(&lock);
	memcpy(image, medium, SEGMENT);
	pthread_mutex_unlock(&lock);
}

static void cut_power(char image[SEGMENT])
{
	char path[1024];
	path_of_log(path);
	with_file(path, 0, image, SEGMENT, true);
}

static void check_nothing_behind(const char image[SEGMENT], uint64_t end)
{
	for (uint64_t at = end; at < SEGMENT; at++)
		CHECK(!image[at], "byte %llu of the medium is behind the end of the log", (unsigned long long)at);
}

/* ---- Requests of one round --------------------------------------------------------------------- */

#define MOST 24

static struct call calls[MOST];
static struct raft_entry entries[MOST];
static unsigned asked;

static void ask(struct io *io, raft_index index, raft_term term, size_t length)
{
	struct call *c = &calls[asked];
	*c = (struct call){.append.data = c};
	fill(&entries[asked], index, term, length);
	CHECK(!io->io.append(&io->io, &c->append, &entries[asked++], 1, on_append), "%s", io->io.errmsg);
}

static void finish_all(struct io *io)
{
	for (unsigned i = 0; i < asked; i++) {
		finish(io, &calls[i]);
		free(entries[i].buf.base);
	}
}

/* Those from good on failed, the last of them first. */
static void check_round(struct io *io, unsigned good)
{
	finish_all(io);
	for (unsigned i = 0; i < asked; i++)
		CHECK(calls[i].status == (i < good ? 0 : RAFT_IOERR), "append %u of the round: %d", i + 1,
		      calls[i].status);
	for (unsigned i = good + 1; i < asked; i++)
		CHECK(calls[i].order < calls[i - 1].order, "append %u of the round", i + 1);
	CHECK(append(io, 1000, 1, 2, 1) == RAFT_IOERR);
	asked = 0;
}

static void end_round(struct io *io)
{
	close_io(io);
	commits_left = syncs_left = NEVER;
}

static void begin_round(struct io *io)
{
	clean();
	open_io(io);
	CHECK(!append(io, 1, 1, 2, 100), "%s", io->io.errmsg);
}

/* ---- Cases: a commit fails --------------------------------------------------------------------- */

/* None of three appends that share the commit is acknowledged. */
static void shared_commit(void)
{
	struct io io;
	begin_round(&io);
	commits_left = 0;
	for (unsigned i = 0; i < 3; i++)
		ask(&io, 2 + i, 2, 100);
	check_round(&io, 0);
	end_round(&io);
	open_io(&io);
	CHECK(io.count >= 1);
	check_entry(&io.entries[0], 1, 2, 100);
	close_io(&io);
}

/* A request in between ends a commit: what it covered is durable. The appends behind share another, which fails. */
static void second_commit(void)
{
	struct io io;
	begin_round(&io);
	commits_left = 1;
	for (unsigned i = 0; i < 3; i++)
		ask(&io, 2 + i, 2, 100);
	CHECK(!io.io.truncate(&io.io, 5)); /* nothing is there */
	for (unsigned i = 0; i < 3; i++)
		ask(&io, 5 + i, 2, 100);
	check_round(&io, 3);
	end_round(&io);
	open_io(&io);
	CHECK(io.count >= 4, "%zu", io.count);
	close_io(&io);
}

/* The commit is due because a segment is full: the appends before the one that met it fail as well. */
static void full_segment(void)
{
	struct io io;
	begin_round(&io);
	commits_left = 0;
	for (unsigned i = 0; i < 12; i++)
		ask(&io, 2 + i, 2, LONG);
	check_round(&io, 0);
	end_round(&io);
}

/* ---- Cases: the power is cut ------------------------------------------------------------------- */

/* Entry 1 is durable. Entries 2 and 3 are in the file, and entry 2 is torn. */
static void tear(void)
{
	struct io io;
	char path[1024];
	clean();
	open_io(&io);
	CHECK(!append(&io, 1, 1, 2, LONG));
	CHECK(!append(&io, 2, 2, 2, LONG));
	close_io(&io);
	path_of_log(path);
	set_word(path, place(1, LONG));
	flip(path, (off_t)place(1, LONG) + 60);
	settle_medium();
}

/*
 * A start clears the torn tail, and the leader sends the torn entry again, which makes the same record. The entry
 * behind it was never loaded: after a cut it must not follow that record.
 */
static void cleared_tail(void)
{
	static char image[SEGMENT];
	struct io io;
	tear();
	open_io(&io);
	CHECK(io.count == 1, "%zu", io.count);
	CHECK(!append(&io, 2, 1, 2, LONG));
	take_medium(image);
	close_io(&io);
	cut_power(image);
	check_log(1, 2, 2, LONG);
	check_nothing_behind(image, place(2, LONG));
}

/* The cut comes right after the start. */
static void cleared_start(void)
{
	static char image[SEGMENT];
	struct io io;
	tear();
	open_io(&io);
	take_medium(image);
	close_io(&io);
	cut_power(image);
	check_log(1, 1, 2, LONG);
	check_nothing_behind(image, place(1, LONG));
}

/* Entries that were dropped stay so, once the word no longer says that the log was cut there. */
static void truncated_tail(void)
{
	static char image[SEGMENT];
	struct io io;
	char path[1024];
	clean();
	open_io(&io);
	CHECK(!append(&io, 1, 3, 2, LONG));
	path_of_log(path);
	settle_medium();
	CHECK(!io.io.truncate(&io.io, 2));
	while (get_word(path) != place(1, LONG)) /* the cut is over; the idle log publishes no word so soon */
		uv_run(&io.loop, UV_RUN_NOWAIT);
	take_medium(image);
	close_io(&io);
	cut_power(image);
	check_log(1, 1, 2, LONG);
	check_nothing_behind(image, place(1, LONG));
}

/* A tail whose clearing cannot be made durable stops the start: the sync of what was found is the first. */
static void unsettled(void)
{
	tear();
	syncs_left = 1;
	refuse(1, RAFT_IOERR, "cannot make the log durable");
	syncs_left = 0;
	refuse(1, RAFT_IOERR, "cannot make the log durable");
	syncs_left = NEVER;
	check_log(1, 1, 2, LONG);
}

int main(int argc, char **argv)
{
	static void (*const cases[])(void) = {shared_commit, second_commit, full_segment, cleared_tail,
	                                      cleared_start, truncated_tail, unsettled};
	CHECK(argc > 1 && strlen(argv[1]) < sizeof(directory) - 32);
	strcpy(directory, argv[1]);
	mkdir(directory, 0755);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		printf("case %zu\n", i + 1);
		fflush(stdout);
		cases[i]();
	}
	clean();
	return 0;
}

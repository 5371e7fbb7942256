/* SPDX-License-Identifier: BSD-3-Clause */
#include "machine/count.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A new entry of the table that is not in the list would be neither counted nor broken. */
_Static_assert(sizeof(struct pm_sys) / sizeof(void (*)(void)) == FAKE_CALLS_COUNT,
               "every entry of struct pm_sys is in FAKE_CALLS()");

#define PATH_MOST 96
#define BLOCK 1024u /* records that are made room for at once */
#define BLOCKS 1024u

struct fake_counting counting;
const struct pm_sys *counting_below;

static struct {
	atomic_uint until; /* it breaks: counts down to 0; ~0u: every time */
	atomic_int error;
} broken[FAKE_CALLS_COUNT], any;
static atomic_uint interruptions[FAKE_CALLS_COUNT];
static atomic_bool any_has_failed;
static atomic_int open_files;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of records */
static struct recorded {
	struct fake_record record;
	char path[PATH_MOST];
} *blocks[BLOCKS];
static unsigned records;

/* ---- One call ---- */

static bool is_breakable(const struct fake_record *r)
{
	enum fake_call c = r->call;
	bool gives_back = c == FAKE_setlease && r->flags == F_UNLCK;
	return !gives_back && c != FAKE_close && c != FAKE_munmap && c != FAKE_unlinkat &&
	       c != FAKE_renameat2_noreplace;
}

static bool strikes(atomic_uint *until)
{
	unsigned now = atomic_load(until);
	return now == ~0u || (now && atomic_fetch_sub(until, 1) == 1);
}

/* With the lock held. They stay where they are, and are used again by the next test. */
static struct recorded *next_record(void)
{
	struct recorded **block = records < BLOCK * BLOCKS ? &blocks[records / BLOCK] : NULL;
	if (block && !*block)
		*block = malloc(BLOCK * sizeof(**block));
	if (!block || !*block)
		abort();
	return &(*block)[records++ % BLOCK];
}

/* The bare call: the thread sanitizer takes a number that is used again for the same memory, and misses raw opens. */
static uint64_t inode_of(int fd)
{
	struct statx stx;
	bool is_known = fd >= 0 && !syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_INO, &stx);
	return is_known ? stx.stx_ino : 0;
}

static void record(const struct fake_record *r)
{
	uint64_t inode = inode_of(r->fd);
	pthread_mutex_lock(&lock);
	unsigned number = records;
	struct recorded *to = next_record();
	to->record = *r;
	to->record.number = number;
	to->record.inode = inode;
	to->record.path = to->path;
	size_t length = r->path ? strnlen(r->path, PATH_MOST - 1) : 0;
	memcpy(to->path, r->path ? r->path : "", length);
	to->path[length] = 0;
	pthread_mutex_unlock(&lock);
}

/* 0, or the -errno that the call is to fail with. */
static int enter(const struct fake_record *r)
{
	enum fake_call c = r->call;
	void (*hook)(enum fake_call) = counting.hook;
	if (hook)
		hook(c);
	atomic_fetch_add(&counting.calls[c], 1);
	if (counting.recording)
		record(r);
	if (atomic_load(&interruptions[c]) && atomic_fetch_sub(&interruptions[c], 1) > 0)
		return -EINTR;
	if (strikes(&broken[c].until))
		return -atomic_load(&broken[c].error);
	if (is_breakable(r) && strikes(&any.until)) {
		atomic_store(&any_has_failed, true);
		return -atomic_load(&any.error);
	}
	return 0;
}

int fake_opened(int fd)
{
	if (fd >= 0)
		atomic_fetch_add(&open_files, 1);
	return fd;
}

static int closed(int rc, int below)
{
	atomic_fetch_sub(&open_files, 1);
	return rc ? rc : below;
}

/* ---- The table ---- */

#define ENTER(name, ...) enter(&(const struct fake_record){.call = FAKE_##name, __VA_ARGS__})
#define CALL(name, arguments, ...)                                                                                   \
	int rc = ENTER(name, __VA_ARGS__);                                                                           \
	return rc ? rc : counting_below->name arguments
#define OPENS(name, arguments, ...)                                                                                  \
	int rc = ENTER(name, __VA_ARGS__);                                                                           \
	return rc ? rc : fake_opened(counting_below->name arguments)
#define CLOSES(name, arguments, ...)                                                                                 \
	int rc = ENTER(name, __VA_ARGS__);                                                                           \
	return closed(rc, counting_below->name arguments)
#define INPUT(name, arguments, ...)                                                                                  \
	atomic_fetch_add(&counting.calls[FAKE_##name], 1);                                                           \
	return counting_below->name arguments

#define X(kind, type, name, parameters, arguments, ...)                                                              \
	static type count_##name parameters                                                                          \
	{                                                                                                            \
		kind(name, arguments, __VA_ARGS__);                                                                  \
	}
FAKE_CALLS(X)
#undef X

static const struct pm_sys table = {
#define X(kind, type, name, ...) .name = count_##name,
	FAKE_CALLS(X)
#undef X
};

/* ---- For the test ---- */

void fake_count_start(void)
{
	memset(&counting, 0, sizeof(counting));
	memset(broken, 0, sizeof(broken));
	memset(&any, 0, sizeof(any));
	memset(interruptions, 0, sizeof(interruptions));
	atomic_store(&any_has_failed, false);
	atomic_store(&open_files, 0);
	records = 0;
	counting.recording = true;
	counting_below = pm_sys;
	pm_sys = &table;
}

void fake_count_forget(void)
{
	for (unsigned c = 0; c < FAKE_CALLS_COUNT; c++)
		atomic_store(&counting.calls[c], 0);
	pthread_mutex_lock(&lock);
	records = 0;
	pthread_mutex_unlock(&lock);
}

unsigned fake_calls(enum fake_call c)
{
	return atomic_load(&counting.calls[c]);
}

bool fake_is_syscall(unsigned call)
{
	enum { CALL, OPENS, CLOSES, INPUT };
	static const unsigned char kinds[] = {
#define X(kind, ...) kind,
		FAKE_CALLS(X)
#undef X
	};
	return call >= FAKE_CALLS_COUNT || kinds[call] != INPUT;
}

const char *fake_name(enum fake_call call)
{
	static const char *const names[] = {
#define X(kind, type, name, ...) #name,
		FAKE_CALLS(X)
#undef X
	};
	return names[call];
}

unsigned fake_syscalls(void)
{
	unsigned sum = 0;
	for (unsigned c = 0; c < FAKE_CALLS_COUNT; c++)
		sum += fake_is_syscall(c) ? fake_calls(c) : 0;
	return sum;
}

const struct fake_record *fake_find(enum fake_call call, unsigned nth)
{
	const struct fake_record *found = NULL;
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < records && !found; i++) {
		const struct fake_record *r = &blocks[i / BLOCK][i % BLOCK].record;
		if (r->call == call && nth-- == 0)
			found = r;
	}
	pthread_mutex_unlock(&lock);
	return found;
}

unsigned fake_open_files(void)
{
	return (unsigned)atomic_load(&open_files);
}

void fake_fail(enum fake_call call, unsigned nth, int error)
{
	atomic_store(&broken[call].error, error);
	atomic_store(&broken[call].until, !error ? 0 : nth ? nth : ~0u);
}

void fake_fail_any(unsigned nth, int error)
{
	atomic_store(&any_has_failed, false);
	atomic_store(&any.error, error);
	atomic_store(&any.until, nth);
}

bool fake_any_has_failed(void)
{
	return atomic_load(&any_has_failed);
}

void fake_interrupt(enum fake_call call, unsigned times)
{
	atomic_store(&interruptions[call], times);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A CPU that counts, and the medium behind it: write-backs are pending until a fence. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "fake_internal.h"

#define LINE ((uintptr_t)64)

static struct {
	pthread_mutex_t lock;
	char *base;
	size_t size;
	char *medium, *pending; /* as large as the range */
	struct range {
		size_t from, to;
	} *list;
	size_t count, room;
} watched = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const struct pm_cpu *real;
static struct pm_cpu cpu;

/* With the lock held. */
static void note(size_t from, size_t to)
{
	/* Streams over their own source go from the end. */
	if (watched.count && watched.list[watched.count - 1].from == to) {
		watched.list[watched.count - 1].from = from;
		return;
	}
	if (watched.count == watched.room) {
		watched.room = watched.room ? 2 * watched.room : 64;
		watched.list = realloc(watched.list, watched.room * sizeof(watched.list[0]));
		if (!watched.list)
			abort();
	}
	watched.list[watched.count++] = (struct range){from, to};
}

/* Whole lines are on their way to the medium, with the content they have now. */
static void set_out(uintptr_t from, uintptr_t to)
{
	pthread_mutex_lock(&watched.lock);
	uintptr_t base = (uintptr_t)watched.base;
	if (watched.base && to > base && from < base + watched.size) {
		size_t first = from > base ? from - base : 0;
		size_t end = to < base + watched.size ? to - base : watched.size;
		memcpy(watched.pending + first, watched.base + first, end - first);
		note(first, end);
	}
	pthread_mutex_unlock(&watched.lock);
	if (fake.set_out)
		fake.set_out((const char *)from, to - from);
}

static int write_back(const void *address, size_t length)
{
	uintptr_t from = (uintptr_t)address & ~(LINE - 1);
	uintptr_t to = ((uintptr_t)address + length + LINE - 1) & ~(LINE - 1);
	atomic_fetch_add(&fake.write_backs, 1);
	atomic_fetch_add(&fake.lines, (unsigned)((to - from) / LINE));
	if (!length)
		fake_violation("write-back of nothing");
	set_out(from, to);
	return 0;
}

static int fence(void)
{
	atomic_fetch_add(&fake.fences, 1);
	pthread_mutex_lock(&watched.lock);
	for (size_t i = 0; i < watched.count; i++)
		memcpy(watched.medium + watched.list[i].from, watched.pending + watched.list[i].from,
		       watched.list[i].to - watched.list[i].from);
	watched.count = 0;
	pthread_mutex_unlock(&watched.lock);
	if (fake.fenced)
		fake.fenced();
	return 0;
}

static int persist(const void *address, size_t length)
{
	if (length || address)
		write_back(address, length);
	return fence();
}

static void streamed(const void *destination, size_t length)
{
	atomic_fetch_add(&fake.streams, 1);
	atomic_fetch_add(&fake.streamed_lines, (unsigned)(length / LINE));
	if ((uintptr_t)destination % LINE || length % LINE || !length)
		fake_violation("streams %zu bytes to %p: no whole lines", length, destination);
	set_out((uintptr_t)destination, (uintptr_t)destination + length);
}

/* The real instructions where there are any. */
static void stream_copy(void *destination, const void *source, size_t length)
{
	uintptr_t to = (uintptr_t)destination, from = (uintptr_t)source;
	if (to != from && to - from < length && length > LINE)
		fake_violation("streams %zu bytes upwards over themselves", length);
	if (real->stream_copy)
		real->stream_copy(destination, source, length);
	else
		memmove(destination, source, length);
	streamed(destination, length);
}

static void stream_down(void *destination, const void *source, size_t length)
{
	uintptr_t to = (uintptr_t)destination, from = (uintptr_t)source;
	if (to != from && from - to < length && length > LINE)
		fake_violation("streams %zu bytes downwards over themselves", length);
	atomic_fetch_add(&fake.streams_down, 1);
	if (real->stream_down)
		real->stream_down(destination, source, length);
	else
		memmove(destination, source, length);
	streamed(destination, length);
}

static void check_edge(const void *destination, size_t length)
{
	bool one = length <= cpu.edge_most && !(length & (length - 1)) && !((uintptr_t)destination % length);
	atomic_fetch_add(&fake.streams, 1);
	atomic_fetch_add(&fake.streamed_lines, 1);
	if (length < 8 || length >= LINE || length % 8 || (uintptr_t)destination % 8 || !(one || cpu.edge_in_parts))
		fake_violation("streams an edge of %zu bytes to %p", length, destination);
}

static void stream_edge(void *destination, const void *source, size_t length)
{
	check_edge(destination, length);
	if (real->stream_edge)
		real->stream_edge(destination, source, length);
	else
		memmove(destination, source, length);
	set_out((uintptr_t)destination, (uintptr_t)destination + length);
}

static void stream_set_edge(void *destination, int value, size_t length)
{
	check_edge(destination, length);
	if (real->stream_set_edge)
		real->stream_set_edge(destination, value, length);
	else
		memset(destination, value, length);
	set_out((uintptr_t)destination, (uintptr_t)destination + length);
}

static void stream_set(void *destination, int value, size_t length)
{
	if (real->stream_set)
		real->stream_set(destination, value, length);
	else
		memset(destination, value, length);
	streamed(destination, length);
}

static void copy(void *destination, const void *source, size_t length)
{
	atomic_fetch_add(&fake.copies, 1);
	real->copy(destination, source, length);
}

static void set(void *destination, int value, size_t length)
{
	atomic_fetch_add(&fake.copies, 1);
	real->set(destination, value, length);
}

void fake_cpu_start(void)
{
	fake_cpu_stop();
	real = fake.machine.cpu_copies_as ? fake.machine.cpu_copies_as : pm_cpu();
	cpu = (struct pm_cpu){.name = "fake", .reaches_media = !fake.machine.cpu_stops_short, .line = LINE,
	                      .write_back = write_back, .fence = fence, .persist = persist};
	if (!fake.machine.cpu_only_stores && real->copy) {
		cpu.copy = copy;
		cpu.set = set;
	}
	if (!fake.machine.cpu_only_stores) {
		cpu.stream_copy = stream_copy;
		cpu.stream_down = stream_down;
		cpu.stream_edge = stream_edge;
		cpu.stream_set_edge = stream_set_edge;
		cpu.edge_most = real->edge_most ? real->edge_most : 32;
		cpu.edge_in_parts = real->edge_in_parts;
		cpu.head_first = real->head_first;
		cpu.alias = real->stream_copy ? real->alias : 255;
		cpu.stream_set = stream_set;
	}
	pm_cpu_replacement = &cpu;
}

void fake_cpu_stop(void)
{
	pm_cpu_replacement = NULL;
	fake_watch(NULL, 0);
}

void fake_watch(void *base, size_t size)
{
	pthread_mutex_lock(&watched.lock);
	free(watched.medium);
	free(watched.pending);
	watched.medium = base ? malloc(size) : NULL;
	watched.pending = base ? malloc(size) : NULL;
	if (base && (!watched.medium || !watched.pending))
		abort();
	watched.base = base;
	watched.size = size;
	watched.count = 0;
	if (base)
		memcpy(watched.medium, base, size);
	pthread_mutex_unlock(&watched.lock);
}

bool fake_medium_has(size_t offset, size_t length)
{
	return !memcmp(watched.medium + offset, watched.base + offset, length);
}

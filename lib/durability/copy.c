/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A large range is streamed: its whole lines go past the cache, and only the edges, the parts of lines at both ends,
 * are stored and written back. A small range is stored and written back. No aligned 8-byte word is ever torn, which
 * memcpy(3) does not promise: it may store overlapping words.
 */
#include <stdint.h>
#include <string.h>

#include "durability/copy.h"

/* On the stack, for bytes that would be overwritten before they are read. */
#define PART 512u
#define LINE_MOST 256u /* pm_cpu.line */

typedef uint64_t __attribute__((may_alias)) word;

static void words(char *to, const char *from, int value, size_t n)
{
	char pattern[sizeof(word)];
	size_t step = from ? 1 : 0;
	memset(pattern, value, sizeof(pattern));
	from = from ? from : pattern;
	for (; n && (uintptr_t)to % sizeof(word); n--, to++, from += step)
		*to = *from;
	for (; n >= sizeof(word); n -= sizeof(word), to += sizeof(word), from += step * sizeof(word)) {
		word w;
		memcpy(&w, from, sizeof(w));
		__atomic_store_n((word *)(void *)to, w, __ATOMIC_RELAXED);
	}
	for (; n; n--, to++, from += step)
		*to = *from;
}

/* ---- Bytes from somewhere, or, where from is NULL, one value ---- */

static inline void store(const struct pm_cpu *cpu, char *to, const char *from, int value, size_t n)
{
	if (!cpu->copy)
		words(to, from, value, n);
	else if (from)
		cpu->copy(to, from, n);
	else
		cpu->set(to, value, n);
}

static inline bool streams(const struct pm_cpu *cpu, size_t length, unsigned flags)
{
	if (length < PM_STREAM_FROM && (!(flags & PM_NONTEMPORAL) || length < 2 * cpu->line))
		return false;
	return !(flags & (PM_NOFLUSH | PM_TEMPORAL)) && cpu->stream_copy;
}

/* The whole lines of a range, and what lies before and behind them. */
struct parts {
	size_t head, lines, tail;
};

static inline struct parts part(const struct pm_cpu *cpu, const char *to, size_t length)
{
	size_t head = -(uintptr_t)to & (cpu->line - 1), lines = (length - head) & ~(cpu->line - 1);
	return (struct parts){head, lines, length - head - lines};
}

/* An edge that is whole words may be streamed as well: that costs less than a store and a write-back. */
static inline bool is_streamed_edge(const struct pm_cpu *cpu, size_t n)
{
	bool one_store = n <= cpu->edge_most && !(n & (n - 1));
	return n >= sizeof(word) && !(n % sizeof(word)) && (one_store || cpu->edge_in_parts) && cpu->stream_edge;
}

/*
 * A line that is streamed must not be fetched: it would have to leave the cache again. A head that comes first is
 * stored at once, and gains nothing.
 */
__attribute__((always_inline)) static inline void expect_edges(const struct pm_cpu *cpu, const char *to, struct parts p)
{
	if (p.head && !cpu->head_first && !is_streamed_edge(cpu, p.head))
		__builtin_prefetch(to, 1);
	if (p.tail && !is_streamed_edge(cpu, p.tail))
		__builtin_prefetch(to + p.head + p.lines, 1);
}

/* Whether it was stored, and must be written back. */
static inline bool put_edge(const struct pm_cpu *cpu, char *to, const char *from, int value, size_t n)
{
	if (!is_streamed_edge(cpu, n)) {
		store(cpu, to, from, value, n);
		return true;
	}
	if (from)
		cpu->stream_edge(to, from, n);
	else
		cpu->stream_set_edge(to, value, n);
	return false;
}

/* Where pm_cpu.head_first: before the lines. */
__attribute__((always_inline)) static inline void put_head(struct pm_medium *m, const struct pm_strategy *strategy,
                                                           char *to, const char *from, int value, struct parts *p)
{
	if (p->head && put_edge(m->cpu, to, from, value, p->head))
		strategy->flush(m, to, p->head);
	p->head = 0;
}

/*
 * The edges are stored and written back while the lines are on their way: a store that waits for its line, and a
 * write-back, delay the streamed stores that follow. Always inline: a parameter that is passed in memory, and loaded as
 * a whole after it was stored in parts, would wait for all stores before it, those on their way included.
 */
__attribute__((always_inline)) static inline struct pm_unflushed
put_edges(struct pm_medium *m, const struct pm_strategy *strategy, char *to, struct parts p, const char *first,
          const char *last, int value)
{
	char *end = to + p.head + p.lines;
	struct pm_unflushed head = {NULL, 0};
	if (p.head && put_edge(m->cpu, to, first, value, p.head))
		head = (struct pm_unflushed){to, p.head};
	if (!p.tail || is_streamed_edge(m->cpu, p.tail)) {
		if (p.tail)
			put_edge(m->cpu, end, last, value, p.tail);
		return head;
	}
	if (head.length)
		strategy->flush(m, to, p.head);
	put_edge(m->cpu, end, last, value, p.tail);
	return (struct pm_unflushed){end, p.tail};
}

/* ---- Over its own source ---- */

/* From the end, in parts that are read whole before they are stored. */
static void store_down(const struct pm_cpu *cpu, char *to, const char *from, size_t n)
{
	char kept[PART];
	while (n) {
		/* A part begins with a word. */
		size_t rest = n > PART ? n - PART + (-(uintptr_t)(to + n - PART) & (sizeof(word) - 1)) : 0;
		memcpy(kept, from + rest, n - rest);
		store(cpu, to + rest, kept, 0, n - rest);
		n = rest;
	}
}

__attribute__((noinline)) static struct pm_unflushed move(struct pm_medium *m, const struct pm_strategy *strategy,
                                                          char *to, const char *from, size_t length, unsigned flags)
{
	char first[LINE_MOST], last[LINE_MOST];
	if (!streams(m->cpu, length, flags)) {
		if (to > from)
			store_down(m->cpu, to, from, length);
		else
			store(m->cpu, to, from, 0, length);
		return (struct pm_unflushed){to, length};
	}
	struct parts p = part(m->cpu, to, length);
	memcpy(first, from, p.head);
	memcpy(last, from + p.head + p.lines, p.tail);
	if (to > from)
		m->cpu->stream_down(to + p.head, from + p.head, p.lines);
	else
		m->cpu->stream_copy(to + p.head, from + p.head, p.lines);
	return put_edges(m, strategy, to, p, first, last, 0);
}

/* ---- ---- */

static inline bool is_aliased(const struct pm_cpu *cpu, const char *to, const char *from)
{
	return (((uintptr_t)to - (uintptr_t)from) & 4095) - 1 < cpu->alias;
}

static inline void stream(const struct pm_cpu *cpu, char *to, const char *from, size_t length)
{
	(is_aliased(cpu, to, from) ? cpu->stream_down : cpu->stream_copy)(to, from, length);
}

static inline bool is_whole(const struct pm_cpu *cpu, const char *to, size_t length)
{
	return !(((uintptr_t)to | length) & (cpu->line - 1));
}

__attribute__((noinline)) static struct pm_unflushed copy_lines(struct pm_medium *m, const struct pm_strategy *strategy,
                                                                char *to, const char *from, size_t length)
{
	struct parts p = part(m->cpu, to, length);
	char *lines = to + p.head;
	const char *source = from + p.head;
	expect_edges(m->cpu, to, p);
	if (m->cpu->head_first)
		put_head(m, strategy, to, from, 0, &p);
	stream(m->cpu, lines, source, p.lines);
	return put_edges(m, strategy, lines - p.head, p, source - p.head, source + p.lines, 0);
}

__attribute__((noinline)) static struct pm_unflushed fill_lines(struct pm_medium *m, const struct pm_strategy *strategy,
                                                                char *to, int value, size_t length)
{
	struct parts p = part(m->cpu, to, length);
	char *lines = to + p.head;
	expect_edges(m->cpu, to, p);
	if (m->cpu->head_first)
		put_head(m, strategy, to, NULL, value, &p);
	m->cpu->stream_set(lines, value, p.lines);
	return put_edges(m, strategy, lines - p.head, p, NULL, NULL, value);
}

struct pm_unflushed pm_copy(struct pm_medium *m, const struct pm_strategy *strategy, void *destination,
                            const void *source, size_t length, unsigned flags)
{
	uintptr_t ahead = (uintptr_t)destination - (uintptr_t)source;
	if (ahead < length || -ahead < length)
		return move(m, strategy, destination, source, length, flags);
	if (!streams(m->cpu, length, flags)) {
		store(m->cpu, destination, source, 0, length);
		return (struct pm_unflushed){destination, length};
	}
	if (!is_whole(m->cpu, destination, length))
		return copy_lines(m, strategy, destination, source, length);
	stream(m->cpu, destination, source, length);
	return (struct pm_unflushed){NULL, 0};
}

struct pm_unflushed pm_fill(struct pm_medium *m, const struct pm_strategy *strategy, void *destination, int value,
                            size_t length, unsigned flags)
{
	if (!streams(m->cpu, length, flags)) {
		store(m->cpu, destination, NULL, value, length);
		return (struct pm_unflushed){destination, length};
	}
	if (!is_whole(m->cpu, destination, length))
		return fill_lines(m, strategy, destination, value, length);
	m->cpu->stream_set(destination, value, length);
	return (struct pm_unflushed){NULL, 0};
}

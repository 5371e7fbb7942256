/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A large range is streamed: its whole lines go past the cache, and only the ragged edges are stored and written
 * back. The rest is stored word by word, in aligned 8-byte words, which memcpy(3) does not promise: it may store
 * overlapping words, and tear one at a power failure.
 */
#include <stdint.h>
#include <string.h>

#include "copy.h"

/* Below it, storing and writing back is faster than streaming. */
#define STREAM_FROM 1024u
/* Below it, a call of the provider costs more than it saves. */
#define PROVIDER_FROM 65536u

typedef uint64_t __attribute__((may_alias)) word;

static void store_word(char *at, const char *source)
{
	word w;
	memcpy(&w, source, sizeof(w));
	__atomic_store_n((word *)(void *)at, w, __ATOMIC_RELAXED);
}

static void copy_up(char *to, const char *from, size_t n)
{
	for (; n && (uintptr_t)to % sizeof(word); n--)
		*to++ = *from++;
	for (; n >= sizeof(word); n -= sizeof(word), to += sizeof(word), from += sizeof(word))
		store_word(to, from);
	for (; n; n--)
		*to++ = *from++;
}

static void copy_down(char *to, const char *from, size_t n)
{
	for (to += n, from += n; n && (uintptr_t)to % sizeof(word); n--)
		*--to = *--from;
	for (; n >= sizeof(word); n -= sizeof(word))
		store_word(to -= sizeof(word), from -= sizeof(word));
	for (; n; n--)
		*--to = *--from;
}

static void fill_up(char *to, int value, size_t n)
{
	word pattern = (unsigned char)value * (word)0x0101010101010101;
	for (; n && (uintptr_t)to % sizeof(word); n--)
		*to++ = (char)value;
	for (; n >= sizeof(word); n -= sizeof(word), to += sizeof(word))
		store_word(to, (const char *)&pattern);
	for (; n; n--)
		*to++ = (char)value;
}

/* What is to be stored: bytes from somewhere, or one byte over and over. */
struct content {
	const char *from; /* NULL: value */
	int value;
};

static void store(char *to, const struct content *c, size_t at, size_t n)
{
	if (c->from)
		copy_up(to + at, c->from + at, n);
	else
		fill_up(to + at, c->value, n);
}

static void stream(const struct pm_medium *m, char *to, const struct content *c, size_t at, size_t n)
{
	bool provider = m->libpmem && n >= PROVIDER_FROM;
	if (c->from)
		(provider ? m->libpmem->stream_copy : m->cpu->stream_copy)(to + at, c->from + at, n);
	else
		(provider ? m->libpmem->stream_set : m->cpu->stream_set)(to + at, c->value, n);
}

static bool streams(const struct pm_cpu *cpu, size_t length, unsigned flags)
{
	if (flags & (PM_NOFLUSH | PM_TEMPORAL) || !cpu->stream_copy || length < 2 * cpu->line)
		return false;
	return flags & PM_NONTEMPORAL || length >= STREAM_FROM;
}

static void put(struct pm_medium *m, const struct pm_strategy *strategy, char *to, const struct content *c,
                size_t length, unsigned flags)
{
	if (!streams(m->cpu, length, flags)) {
		store(to, c, 0, length);
		if (!(flags & PM_NOFLUSH))
			strategy->flush(m, to, length);
		return;
	}
	size_t line = m->cpu->line, head = -(uintptr_t)to & (line - 1), lines = (length - head) & ~(line - 1);
	size_t tail = length - head - lines;
	if (head) {
		store(to, c, 0, head);
		strategy->flush(m, to, head);
	}
	stream(m, to, c, head, lines);
	if (tail) {
		store(to, c, head + lines, tail);
		strategy->flush(m, to + head + lines, tail);
	}
}

void pm_copy(struct pm_medium *m, const struct pm_strategy *strategy, void *destination, const void *source,
             size_t length, unsigned flags)
{
	uintptr_t ahead = (uintptr_t)destination - (uintptr_t)source;
	if (ahead < length) {
		/* The destination begins inside the source: from the end, and never streamed. */
		copy_down(destination, source, length);
		if (!(flags & PM_NOFLUSH))
			strategy->flush(m, destination, length);
		return;
	}
	if (-ahead < length)
		flags = (flags & ~PM_NONTEMPORAL) | PM_TEMPORAL;
	put(m, strategy, destination, &(struct content){.from = source}, length, flags);
}

void pm_fill(struct pm_medium *m, const struct pm_strategy *strategy, void *destination, int value, size_t length,
             unsigned flags)
{
	put(m, strategy, destination, &(struct content){.value = value}, length, flags);
}

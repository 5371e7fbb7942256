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

static bool streams(const struct pm_cpu *cpu, size_t length, unsigned flags)
{
	if (flags & (PM_NOFLUSH | PM_TEMPORAL) || !cpu->stream_copy || length < 2 * cpu->line)
		return false;
	return flags & PM_NONTEMPORAL || length >= STREAM_FROM;
}

/* Bytes before the first whole line. */
static size_t ragged_head(const struct pm_cpu *cpu, const void *at)
{
	return -(uintptr_t)at & (cpu->line - 1);
}

void pm_copy(struct pm_medium *m, const struct pm_strategy *strategy, void *destination, const void *source,
             size_t length, unsigned flags)
{
	char *to = destination;
	const char *from = source;
	bool overlap = (uintptr_t)to - (uintptr_t)from < length || (uintptr_t)from - (uintptr_t)to < length;
	if (overlap || !streams(m->cpu, length, flags)) {
		if ((uintptr_t)to - (uintptr_t)from < length)
			copy_down(to, from, length);
		else
			copy_up(to, from, length);
		if (!(flags & PM_NOFLUSH))
			strategy->flush(m, to, length);
		return;
	}
	size_t head = ragged_head(m->cpu, to);
	size_t lines = (length - head) & ~(m->cpu->line - 1);
	if (head) {
		copy_up(to, from, head);
		strategy->flush(m, to, head);
	}
	if (m->libpmem && lines >= PROVIDER_FROM)
		m->libpmem->stream_copy(to + head, from + head, lines);
	else
		m->cpu->stream_copy(to + head, from + head, lines);
	size_t done = head + lines;
	if (done < length) {
		copy_up(to + done, from + done, length - done);
		strategy->flush(m, to + done, length - done);
	}
}

void pm_fill(struct pm_medium *m, const struct pm_strategy *strategy, void *destination, int value, size_t length,
             unsigned flags)
{
	char *to = destination;
	if (!streams(m->cpu, length, flags)) {
		fill_up(to, value, length);
		if (!(flags & PM_NOFLUSH))
			strategy->flush(m, to, length);
		return;
	}
	size_t head = ragged_head(m->cpu, to);
	size_t lines = (length - head) & ~(m->cpu->line - 1);
	if (head) {
		fill_up(to, value, head);
		strategy->flush(m, to, head);
	}
	if (m->libpmem && lines >= PROVIDER_FROM)
		m->libpmem->stream_set(to + head, value, lines);
	else
		m->cpu->stream_set(to + head, value, lines);
	size_t done = head + lines;
	if (done < length) {
		fill_up(to + done, value, length - done);
		strategy->flush(m, to + done, length - done);
	}
}

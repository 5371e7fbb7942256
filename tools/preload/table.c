/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An array in the order of addresses. A change holds the process's lock and makes `version` odd; a reader takes no
 * lock, and reads again if the version was odd or is another one afterwards. So msync(2) waits for no lock but for a
 * change of another thread, which runs no call. All is in static memory: nothing here allocates.
 */
#include <limits.h>
#include <sched.h>
#include <stdatomic.h>

#include "here.h"
#include "place.h"
#include "table.h"

#define PIECES 4096
#define READS 100 /* before a reader takes the lock: another thread may be kept from running in a change */

struct slot {
	_Atomic uintptr_t start, end;
	_Atomic uint64_t offset;
	_Atomic(struct file *) file;
	_Atomic(void *) mark;
};

static struct slot slots[PIECES];
static _Atomic size_t count;
static _Atomic unsigned version;

/* Acquire: the version is read again after them. */
#define GET(slot, member) atomic_load_explicit(&(slot)->member, memory_order_acquire)
#define PUT(slot, member, value) atomic_store_explicit(&(slot)->member, value, memory_order_relaxed)

static struct piece get(const struct slot *s)
{
	return (struct piece){GET(s, start), GET(s, end), GET(s, offset), GET(s, file), GET(s, mark)};
}

static void put(struct slot *s, const struct piece *p)
{
	PUT(s, start, p->start);
	PUT(s, end, p->end);
	PUT(s, offset, p->offset);
	PUT(s, file, p->file);
	PUT(s, mark, p->mark);
}

/* The number of the first piece that ends behind the address. A reader may meet any values here. */
static size_t search(uintptr_t address)
{
	size_t low = 0, high = atomic_load_explicit(&count, memory_order_acquire);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (GET(&slots[middle], end) > address)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static bool look(uintptr_t start, uintptr_t end, struct piece *ret)
{
	size_t at = search(start);
	if (at >= atomic_load_explicit(&count, memory_order_acquire))
		return false;
	*ret = get(&slots[at]);
	return ret->start < end;
}

bool table_find(uintptr_t start, uintptr_t end, struct piece *ret)
{
	sigset_t before;
	if (!atomic_load_explicit(&count, memory_order_acquire))
		return false;
	for (int i = 0; i < READS; i++) {
		unsigned seen = atomic_load_explicit(&version, memory_order_acquire);
		bool found = look(start, end, ret);
		if (!(seen & 1) && atomic_load_explicit(&version, memory_order_relaxed) == seen)
			return found;
		if (seen & 1)
			sched_yield();
	}
	here_lock(&before);
	bool found = look(start, end, ret);
	here_unlock(&before);
	return found;
}

bool table_is_all(uintptr_t start, uintptr_t end, const void *mark)
{
	struct piece p;
	while (start < end && table_find(start, end, &p) && p.start <= start && p.mark == mark)
		start = p.end;
	return start >= end;
}

static void change_begin(sigset_t *before)
{
	here_lock(before);
	/* Acquire: no change is seen before the version is. */
	atomic_exchange_explicit(&version, version + 1, memory_order_acquire);
}

static void change_end(const sigset_t *before)
{
	atomic_store_explicit(&version, version + 1, memory_order_release);
	here_unlock(before);
}

/* All that follow move by so many places, which may be negative. */
static void shift(size_t from, long by)
{
	size_t n = count;
	struct piece p;
	if (by > 0)
		for (size_t i = n; i-- > from;)
			p = get(&slots[i]), put(&slots[i + (size_t)by], &p);
	else
		for (size_t i = from; i < n; i++)
			p = get(&slots[i]), put(&slots[i - (size_t)-by], &p);
	atomic_store_explicit(&count, n + (size_t)by, memory_order_relaxed);
}

static bool insert(size_t at, const struct piece *piece)
{
	if (count == PIECES)
		return false;
	shift(at, 1);
	put(&slots[at], piece);
	return true;
}

bool table_add(const struct piece *piece)
{
	sigset_t before;
	change_begin(&before);
	bool is_added = insert(search(piece->start), piece);
	change_end(&before);
	if (!is_added)
		place_lost_mapping();
	return is_added;
}

static struct piece cut(const struct piece *p, uintptr_t start, uintptr_t end)
{
	struct piece c = *p;
	if (c.start < start) {
		c.offset += start - c.start;
		c.start = start;
	}
	if (c.end > end)
		c.end = end;
	return c;
}

/* Takes the range out of the piece at a place, which may leave two of it. Without room for the second, that is lost. */
static void cut_out(size_t at, const struct piece *whole, const struct piece *gone, struct piece *lost)
{
	struct piece below = cut(whole, whole->start, gone->start), above = cut(whole, gone->end, whole->end);
	if (below.start < below.end) {
		put(&slots[at], &below);
		if (above.start < above.end && !insert(at + 1, &above)) {
			*lost = above;
			place_lost_mapping();
		}
	} else if (above.start < above.end) {
		put(&slots[at], &above);
	} else {
		shift(at + 1, -1);
	}
}

size_t table_take(uintptr_t start, uintptr_t end, struct piece *ret, size_t room, struct piece *lost)
{
	sigset_t before;
	size_t taken = 0;
	*lost = (struct piece){.mark = NULL};
	change_begin(&before);
	for (size_t at; taken < room && (at = search(start)) < count; taken++) {
		struct piece whole = get(&slots[at]);
		if (whole.start >= end)
			break;
		ret[taken] = cut(&whole, start, end);
		cut_out(at, &whole, &ret[taken], lost);
	}
	change_end(&before);
	return taken;
}

void table_drop(void)
{
	atomic_store(&count, 0);
	atomic_store(&version, 0);
}

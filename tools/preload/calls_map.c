/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mmap, munmap, mremap, mprotect. What a call takes away leaves the table before the kernel is told: another thread may
 * get the addresses the moment they are free. What it makes enters the table afterwards.
 */
#include <errno.h>
#include <stdarg.h>

#include "accelerate.h"
#include "calls.h"
#include "companion.h"
#include "counts.h"
#include "question.h"
#include "real.h"
#include "table.h"

#define AT_ONCE 16 /* pieces that a call takes out in one step */

static uintptr_t rounded(uintptr_t address, size_t length)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	return (address + length + page - 1) & ~(page - 1);
}

static bool is_aligned(uintptr_t address)
{
	return !(address & ((size_t)sysconf(_SC_PAGESIZE) - 1));
}

/* Before any call that could change what is there. */
static void covered(const void *address, size_t length)
{
	if (companion_accelerates())
		accelerate_covered((uintptr_t)address, rounded((uintptr_t)address, length));
}

static void unmark(struct piece *p)
{
	if (p->mark)
		accelerate_gone(p->mark, p->end - p->start);
	p->mark = NULL;
}

/* The first AT_ONCE pieces of what is taken out, without their marks, for a call that then fails. No lock where there
 * is nothing. */
static size_t take(uintptr_t start, uintptr_t end, struct piece *ret)
{
	struct piece more[AT_ONCE], *pieces = ret, any, lost;
	size_t total = 0, taken;
	if (!table_find(start, end, &any))
		return 0;
	do {
		taken = table_take(start, end, pieces, AT_ONCE, &lost);
		for (size_t i = 0; i < taken; i++)
			unmark(&pieces[i]);
		unmark(&lost);
		total = total ? total : taken;
		pieces = more;
	} while (taken == AT_ONCE);
	return total;
}

static void back(const struct piece *pieces, size_t count)
{
	for (size_t i = 0; i < count; i++)
		table_add(&pieces[i]);
}

static void note_map(struct ledger_row *row, int protection, bool is_sync, uint64_t length)
{
	if (!row)
		return;
	COUNT(row, maps, 1);
	if (protection & PROT_WRITE)
		atomic_store(&row->is_writable, 1);
	if (is_sync)
		atomic_store(&row->is_sync, 1);
	uint64_t longest = atomic_load(&row->longest);
	while (longest < length && !atomic_compare_exchange_weak(&row->longest, &longest, length))
		;
}

static void drop(const void *address, size_t length)
{
	struct piece dropped[AT_ONCE];
	take((uintptr_t)address, rounded((uintptr_t)address, length), dropped);
}

static void note_shared(struct file *file, const struct map_call *call, void *address)
{
	uintptr_t start = (uintptr_t)address;
	struct piece piece = {start, rounded(start, call->length), call->offset, file, NULL};
	struct ledger_row *row = file_row(file);
	if (companion_accelerates() && atomic_load(&file->is_dax))
		piece.mark = accelerate_map(file, call, piece.end - start);
	if (piece.mark && row)
		COUNT(row, marks, 1);
	if (!table_add(&piece))
		unmark(&piece);
	bool is_sync = (call->flags & MAP_TYPE) == MAP_SHARED_VALIDATE && call->flags & MAP_SYNC;
	note_map(row, call->protection, is_sync, call->length);
	if (row)
		question_map(row, call->fd, address, call->length, call->offset);
}

void *calls_map(const struct map_call *call)
{
	int type = call->flags & MAP_TYPE;
	bool is_shared = (type == MAP_SHARED || type == MAP_SHARED_VALIDATE) && !(call->flags & MAP_ANONYMOUS);
	if (is_shared ? !companion_begins() : !companion_serves())
		return real_map(call);
	if (call->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
		covered(call->address, call->length);
	/* The kernel may unmap what is there even if the call fails. MAP_FIXED_NOREPLACE never does. */
	if (call->flags & MAP_FIXED && is_aligned((uintptr_t)call->address) && call->length)
		drop(call->address, call->length);
	struct file *file = is_shared ? file_add(call->fd) : NULL;
	void *address = real_map(call);
	if (address == MAP_FAILED)
		return address;
	int error = errno;
	/* A system call of the program's own may have unmapped what the table has there. */
	drop(address, call->length);
	if (file)
		note_shared(file, call, address);
	errno = error;
	return address;
}

int munmap(void *address, size_t length)
{
	struct piece pieces[AT_ONCE];
	uintptr_t start = (uintptr_t)address, end = rounded(start, length);
	/* The kernel refuses the rest, and unmaps nothing. */
	bool may_unmap = is_aligned(start) && end > start;
	if (!may_unmap || !companion_serves())
		return REAL(munmap)(address, length);
	covered(address, length);
	size_t count = take(start, end, pieces);
	int rc = REAL(munmap)(address, length);
	if (rc)
		back(pieces, count);
	return rc;
}

/* The pieces of the old range, at the new address and of the new length. */
static void moved(const struct piece *pieces, size_t count, uintptr_t old, uintptr_t new, size_t length)
{
	uintptr_t end = rounded(new, length);
	for (size_t i = 0; i < count; i++) {
		struct piece p = pieces[i];
		p.start = p.start - old + new;
		p.end = p.end - old + new;
		if (i + 1 == count && p.end < end)
			p.end = end;
		if (p.start >= end)
			continue;
		if (p.end > end)
			p.end = end;
		table_add(&p);
		struct ledger_row *row = row_of(p.file);
		note_map(row, 0, false, p.end - p.start);
		COUNT(row, changes, 1);
	}
}

static void *remap(void *address, size_t old, size_t new, int flags, void *target)
{
	struct piece pieces[AT_ONCE], source;
	uintptr_t start = (uintptr_t)address;
	size_t count;
	if (flags & MREMAP_FIXED && is_aligned((uintptr_t)target))
		drop(target, new);
	/* Of length 0: the pages are mapped a second time. */
	if (!old && table_find(start, start + 1, &source)) {
		pieces[0] = source;
		pieces[0].offset += start - source.start;
		pieces[0].start = start;
		pieces[0].end = start + 1;
		pieces[0].mark = NULL;
		count = 1;
	} else {
		count = take(start, rounded(start, old), pieces);
	}
	void *result = REAL(mremap)(address, old, new, flags, target);
	int error = errno;
	if (result != MAP_FAILED)
		drop(result, new);
	bool is_kept = old && (result == MAP_FAILED || flags & MREMAP_DONTUNMAP);
	if (is_kept)
		back(pieces, count);
	if (result != MAP_FAILED)
		moved(pieces, count, start, (uintptr_t)result, new);
	errno = error;
	return result;
}

void *mremap(void *address, size_t old, size_t new, int flags, ...)
{
	struct piece any;
	va_list arguments;
	va_start(arguments, flags);
	void *target = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) ? va_arg(arguments, void *) : NULL;
	va_end(arguments);
	uintptr_t start = (uintptr_t)address, at = (uintptr_t)target;
	if (!companion_serves())
		return REAL(mremap)(address, old, new, flags, target);
	/* As far as the mapping may grow, too, without the companion. */
	covered(address, old > new ? old : new);
	if (flags & MREMAP_FIXED)
		covered(target, new);
	bool concerns = is_aligned(start) &&
	                (table_find(start, rounded(start, old ? old : 1), &any) ||
	                 (flags & MREMAP_FIXED && table_find(at, rounded(at, new), &any)));
	return concerns ? remap(address, old, new, flags, target) : REAL(mremap)(address, old, new, flags, target);
}

int mprotect(void *address, size_t length, int protection)
{
	struct piece piece;
	uintptr_t start = (uintptr_t)address, end = rounded(start, length);
	if (!companion_serves())
		return REAL(mprotect)(address, length, protection);
	covered(address, length);
	int rc = REAL(mprotect)(address, length, protection);
	for (uintptr_t at = start; !rc && protection & PROT_WRITE && table_find(at, end, &piece); at = piece.end) {
		struct ledger_row *row = row_of(piece.file);
		if (row)
			atomic_store(&row->is_writable, 1);
	}
	return rc;
}

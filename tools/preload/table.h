/* SPDX-License-Identifier: BSD-3-Clause */
/* What this process has mapped, of the files that it has mapped shared. */
#ifndef TABLE_H
#define TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file;

/* What is left of a mapping, in whole pages. */
struct piece {
	uintptr_t start, end;
	uint64_t offset;
	struct file *file;
	void *mark; /* of accelerate mode */
};

/* The piece with the lowest address that has a byte of the range. Takes no lock and keeps errno. */
bool table_find(uintptr_t start, uintptr_t end, struct piece *ret);
/* Whether the whole range lies in pieces of this mark. */
bool table_is_all(uintptr_t start, uintptr_t end, const void *mark);

/* The range is free in the table. false: no room. */
bool table_add(const struct piece *piece);
/*
 * Takes a range out: up to room of its pieces, cut to it. Call again while it returns room. Of a piece that goes on
 * behind the range, *lost is the part there if the table has no room for it, and else empty.
 */
size_t table_take(uintptr_t start, uintptr_t end, struct piece *ret, size_t room, struct piece *lost);

/* In a child of fork(2) whose copy of the table may be half of a change. */
void table_drop(void);

#endif

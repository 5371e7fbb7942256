/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows of the ledger, and what `pmdirect run` is asked about them. */
#ifndef QUESTION_H
#define QUESTION_H

#include "ledger.h"

struct file;

/* In the constructor. */
void question_begin(struct ledger *ledger);
/* A row of this process for a file; NULL: there is no room. parent: that of the process before fork(2). */
struct ledger_row *question_row(const struct file *file, const struct ledger_row *parent);
/* Asks about a mapping by a descriptor that is open during the call, and waits for the answer, some seconds at most. */
void question_map(struct ledger_row *row, int fd, void *address, uint64_t length, uint64_t offset);
/* Counts a call from there, and asks about it if it is new. */
void question_site(struct ledger_row *row, void *address);

#endif

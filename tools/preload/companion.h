/* SPDX-License-Identifier: BSD-3-Clause */
/* The companion in this process: whether it serves, its place in the ledger, and its questions to `pmdirect run`. */
#ifndef COMPANION_H
#define COMPANION_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "ledger.h"

struct file;

/* Whether this call is to be counted: the companion has begun here, and the thread is not inside it. Notices that this
 * is a new process, however it was made. Keeps errno. */
bool companion_serves(void);
/* As companion_serves(), and begins if a call comes before the constructor: a library's own constructor maps a file. */
bool companion_begins(void);
bool companion_accelerates(void);

/* A lock of this process, which a child of fork(2) finds open. Signals are blocked while it is held, so that no handler
 * waits for its own thread or leaves it by siglongjmp(3). */
void companion_lock(sigset_t *before);
void companion_unlock(const sigset_t *before);
/* A child was made, otherwise than by fork(3), while another thread held the lock. */
bool companion_was_torn(void);

/* A row of this process for a file; NULL: there is no room. */
struct ledger_row *companion_row(const struct file *file, const struct ledger_row *parent);
/* Something for which this process has no room. */
void companion_lost(void);

/* Asks run about a descriptor that is open during the call, and waits for the answer, for at most some seconds. */
void companion_ask(struct ledger_row *row, int fd, void *address, uint64_t length, uint64_t offset);
/* Counts a call from there, and asks about it if it is new. */
void companion_site(struct ledger_row *row, void *address);

/* The process calls execve(2): the number of a place in the ledger, or -1. failed: takes it back. */
int companion_expect(int32_t pid, const char *program);
void companion_unexpect(int place);
/* A child that posix_spawn(3) made. */
void companion_spawned(int32_t pid, const char *program);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The companion in this process: whether it serves, its children, its lock. */
#ifndef COMPANION_H
#define COMPANION_H

#include <signal.h>
#include <stdbool.h>

/* Whether this call is to be counted: the companion has begun here, and the thread is not inside it. Notices that this
 * is a new process, however it was made. Keeps errno. */
bool companion_serves(void);
/* As companion_serves(), and begins if a call comes before the constructor: a library's own constructor maps a file. */
bool companion_begins(void);
/* Of a companion that serves. */
bool companion_accelerates(void);

/* A lock of this process, which a child of fork(2) finds open. Signals are blocked while it is held, so that no handler
 * waits for its own thread or leaves it by siglongjmp(3). */
void companion_lock(sigset_t *before);
void companion_unlock(const sigset_t *before);

/* Something for which this process has no room. */
void companion_lost(void);

#endif

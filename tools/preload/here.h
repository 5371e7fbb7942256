/* SPDX-License-Identifier: BSD-3-Clause */
/* This process, and its lock: what a child finds empty. */
#ifndef HERE_H
#define HERE_H

#include <signal.h>
#include <stdbool.h>

/* Once a process image, before all others. */
void here_begin(void);
/* Whether this process is the one that began, or a child that was made known. */
bool here_is_known(void);
/* In a child: true for the one thread that is to make it known, and says so by here_known(). The others wait. */
bool here_claim(void);
void here_known(void);

/* A child of fork(2) finds it open. Signals are blocked while it is held, so that no handler waits for its own thread
 * or leaves it by siglongjmp(3). */
void here_lock(sigset_t *before);
void here_unlock(const sigset_t *before);
/* In a child: whether another thread of the parent held it, and left what it guards half changed. */
bool here_was_changing(void);

/* Around fork(2): the thread that forks has the lock. */
void here_fork_begin(void);
void here_fork_end(void);
/* In the child, before it is made known, and after. */
void here_forked_begin(void);
void here_forked_end(void);
/* Whether this thread is between two of these. */
bool here_is_forking(void);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The companion in this process: whether it serves, and its children. */
#ifndef COMPANION_H
#define COMPANION_H

#include <stdbool.h>

/* Whether this call is to be counted: the companion has begun here, and the thread is not inside it. Notices that this
 * is a new process, however it was made. Keeps errno. */
bool companion_serves(void);
/* As companion_serves(), and begins if a call comes before the constructor: a library's own constructor maps a file. */
bool companion_begins(void);
/* Of a companion that serves. */
bool companion_accelerates(void);

#endif

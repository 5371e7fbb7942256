/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether this thread is in the companion itself: the interposed calls that it makes then go straight to the kernel. */
#ifndef INSIDE_H
#define INSIDE_H

#include <stdbool.h>

/* They nest. A vfork(2) child shares the thread's count, and does not return into the companion. */
void inside_enter(void);
void inside_leave(void);
bool inside_is(void);

#endif

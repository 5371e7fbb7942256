/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory for the library where it is a part of the companion: the program's malloc(3) may be what made the call. */
#ifndef MEMORY_H
#define MEMORY_H

/* Around fork(2). */
void memory_lock(void);
void memory_unlock(void);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory for the library where it is a part of the companion: the program's malloc(3) may be what made the call. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdbool.h>

/* In a child: whether no thread of the parent was allocating. */
bool memory_is_whole(void);

#endif

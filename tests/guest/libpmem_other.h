/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LIBPMEM_OTHER_H
#define LIBPMEM_OTHER_H

#include <stddef.h>

void flush_elsewhere(char *to, const char *from, size_t length);

#endif

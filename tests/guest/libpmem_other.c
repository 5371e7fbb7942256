/* SPDX-License-Identifier: BSD-3-Clause */
/* A second file of the program: what it flushes the first one drains. */
#include <pmdirect_libpmem.h>

#include "libpmem_other.h"

void flush_elsewhere(char *to, const char *from, size_t length)
{
	memcpy(to, from, length);
	pmem_flush(to, length);
}

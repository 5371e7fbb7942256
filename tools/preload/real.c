/* SPDX-License-Identifier: BSD-3-Clause */
#include <dlfcn.h>
#include <stdint.h>

#include "real.h"

struct real real_calls;

/* ISO C has no conversion between the two kinds of pointer, POSIX has. Absent ones stay NULL: no program can call them
 * where there is no library with them. */
#define REAL_FIND(name) real_calls.name = (__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name);

void real_find(void)
{
	REAL_CALLS(REAL_FIND)
	REAL_CALLS_OF_LIBC(REAL_FIND)
}

void *real_map(const struct map_call *c)
{
	return REAL(mmap64)(c->address, c->length, c->protection, c->flags, c->fd, (off64_t)c->offset);
}

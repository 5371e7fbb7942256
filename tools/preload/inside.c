/* SPDX-License-Identifier: BSD-3-Clause */
#include "inside.h"

/* Loaded with the program, so the thread's block has room for it: no access allocates. */
static __thread volatile unsigned depth __attribute__((tls_model("initial-exec")));

void inside_enter(void)
{
	depth++;
}

void inside_leave(void)
{
	depth--;
}

bool inside_is(void)
{
	return depth;
}

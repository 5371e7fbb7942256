/* SPDX-License-Identifier: BSD-3-Clause */
/* Static text, for a number that the libc knows. */
#include <string.h>

#include "sys/errno_text.h"

const char *pm_errno_text(int code)
{
	return code > 0 && code < 134 ? strerror(code) : NULL; /* EHWPOISON is the last */
}

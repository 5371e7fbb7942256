/* SPDX-License-Identifier: BSD-3-Clause */
/* glibc 2.32 has the texts without the translation, which depends on the locale of the process. */
#include <string.h>

#include "sys/errno_text.h"

const char *pm_errno_text(int code)
{
	return strerrordesc_np(code);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "pmdirect.h"
#include "sys/errno_text.h"
#include "sys/trace.h"

static __thread char detail[512];

int pm_fail(int code, const char *call, const char *subject, const char *format, ...)
{
	/* Built in another buffer: an argument may be the previous detail. */
	char text[sizeof(detail)];
	int used = subject ? snprintf(text, sizeof(text), "%s '%.255s': ", call, subject)
	                   : snprintf(text, sizeof(text), "%s: ", call);
	va_list args;
	va_start(args, format);
	if (used > 0 && (size_t)used < sizeof(text))
		vsnprintf(text + used, sizeof(text) - (size_t)used, format, args);
	va_end(args);
	memcpy(detail, text, sizeof(detail));
	pm_trace_error(code, detail);
	return code;
}

void pm_fail_also(const char *more)
{
	size_t used = strlen(detail);
	snprintf(detail + used, sizeof(detail) - used, "; %s", more);
}

const char *pm_error_detail(void)
{
	return detail;
}

const char *pm_strerror(int error)
{
	int code = error < 0 && error != INT32_MIN ? -error : error;
	switch (code) {
	case PM_ENOTSYNC:
		return "the sync guarantee cannot be met";
	case PM_ENOTDIRECT:
		return "the direct guarantee cannot be met";
	case PM_EVOLATILE:
		return "a guarantee was asked for where nothing is known to make stores durable";
	default: {
		const char *text = pm_errno_text(code);
		return text ? text : "unknown error";
	}
	}
}

const char *pm_what_helps(int error)
{
	switch (error) {
	case -ENOSPC:
		return "; free space on its file system or in the quota of its project";
	case -EDQUOT:
		return "; raise the quota of the file's user, group or project, or remove files that count for it";
	default:
		return "";
	}
}

struct pm_descriptor_name pm_name_descriptor(int fd)
{
	struct pm_descriptor_name name;
	snprintf(name.text, sizeof(name.text), "fd %d", fd);
	return name;
}

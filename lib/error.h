/* SPDX-License-Identifier: BSD-3-Clause */
/* The thread's last error as a sentence. Depends on nothing else of the library. */
#ifndef PM_ERROR_H
#define PM_ERROR_H

/*
 * Records "call 'subject': sentence" for pm_error_detail() and returns code, so that a failing path is
 * one line: return pm_fail(-EINVAL, "pm_map", path, "...", ...). subject may be NULL.
 */
int pm_fail(int code, const char *call, const char *subject, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* Adds to the sentence what the failing call could not take back. */
void pm_fail_also(const char *more);

/* A descriptor in place of a path. */
struct pm_descriptor_name {
	char text[24];
};
struct pm_descriptor_name pm_name_descriptor(int fd);

/* What the caller can do about the error, as the end of a sentence; "" where the library knows nothing. */
const char *pm_what_helps(int error);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* How the programs that run in the guest say what is wrong, and count it. */
#ifndef GUEST_CHECK_H
#define GUEST_CHECK_H

#include <fcntl.h>
#include <pmdirect.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static int failures;

/* Said with each failure, by programs that look at several. */
static const char *place_checked = "";

__attribute__((format(printf, 3, 4)))
static inline void count_failure(int line, const char *condition, const char *format, ...)
{
	va_list args;
	failures++;
	printf("%s%s%d: %s:", place_checked, *place_checked ? ": " : "", line, condition);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	/* Without words of its own, those of the library. */
	printf(format[1] ? "\n" : "(%s)\n", pm_error_detail());
}

/* The condition, and what printf() is to say of it if it does not hold. The blank is there for checks without words. */
#define CHECK(condition, ...)                                                                                \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			count_failure(__LINE__, #condition, " " __VA_ARGS__);                                \
	} while (0)

/* For programs whose lines the host reads: a call failed. One write, so that lines of several do not mix; returns 1. */
static inline int complain(const char *who, const char *what)
{
	dprintf(STDOUT_FILENO, "%s: %s: %s, %m\n", who, what, pm_error_detail());
	return 1;
}

/* Asks the script to act, and waits until it has. */
static inline void ask(const char *what)
{
	char path[64];
	snprintf(path, sizeof(path), "/tmp/%s", what);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	while (access(path, F_OK) == 0)
		usleep(20000);
}

#endif

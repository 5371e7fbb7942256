/* SPDX-License-Identifier: BSD-3-Clause */
/* Which mappings a command is about: of which processes, of which file. */
#ifndef SCOPE_H
#define SCOPE_H

#include <stdbool.h>

#include "area.h"

#define SCOPE_PIDS 64

struct scope {
	pid_t pids[SCOPE_PIDS];
	size_t pid_count; /* 0: all */
	bool is_all;      /* as asked for */
	const char *file; /* NULL: any */
	bool only_writable;
};

#define SCOPE_OPTIONS                                                                                                  \
	{"pid", required_argument, NULL, 'p'}, {"all", no_argument, NULL, 'a'},                                        \
		{"file", required_argument, NULL, 'f'},                                                                \
	{                                                                                                              \
		"writable", no_argument, NULL, 'w'                                                                     \
	}
#define SCOPE_LETTERS "p:af:w"

/* 1: taken; 0: no option of a scope; -1: wrong, with a line on stderr. */
int scope_take(struct scope *scope, int option);

struct scope_rows {
	struct areas areas;
	unsigned unseen; /* processes that the caller may not look at */
};

/*
 * 0, or -1 with a line on stderr: a process or the file is not there, or may not be seen. Such a process is no longer
 * in the list of the scope: the rest can be read again, unless pid_count is 0, which stands for all.
 */
int scope_read(struct scope *scope, struct scope_rows *ret);

#endif

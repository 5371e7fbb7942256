/* SPDX-License-Identifier: BSD-3-Clause */
/* What a database engine does for the load program load.c. Each engine is a program, load_NAME. */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>

#define LOAD_VALUE 100 /* bytes of a value */

struct engine {
	const char *name;
	/* Makes or opens the database at a path. plain: the engine's other mode, if it has one. 0, or -1 with a line on
	 * stderr, as of the others. */
	int (*open)(const char *path, bool plain);
	/* Stores the value durably: when it returns, a power cut takes nothing of it. */
	int (*commit)(int key, const char *value);
	/* 1: the value is in *ret; 0: there is none. */
	int (*get)(int key, char *ret);
	/* Calls that must fail, with the engine's own words for each on stdout. */
	void (*mistakes)(void);
	int (*close)(void);
};

extern const struct engine engine;

#endif

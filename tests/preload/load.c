/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A load for a database engine that knows nothing of the companion.
 *
 *   load_NAME run PATH FIRST LAST [plain]   commits these keys, one at a time; when a commit was acknowledged, its
 *                                           number is a line on stdout, by one write(2)
 *   load_NAME verify PATH LAST [plain]      each key up to LAST is there with its value; exit status 1: one is not
 *   load_NAME mistakes PATH [plain]         what the engine says to wrong calls
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

/* Of a key, and of no other: a value that came from elsewhere in the file is seen. */
static void make_value(int key, char *value)
{
	unsigned x = (unsigned)key * 2654435761u + 1;
	for (int i = 0; i < LOAD_VALUE; i++) {
		x = x * 1664525 + 1013904223;
		value[i] = (char)(x >> 24);
	}
}

static int fail(const char *what)
{
	fprintf(stderr, "load_%s: %s failed\n", engine.name, what);
	return 2;
}

static int acknowledge(int key)
{
	char line[16];
	int length = snprintf(line, sizeof(line), "%d\n", key);
	return write(STDOUT_FILENO, line, (size_t)length) == length ? 0 : -1;
}

static int run(const char *path, int first, int last, bool plain)
{
	char value[LOAD_VALUE];
	if (engine.open(path, plain))
		return fail("open");
	for (int key = first; key <= last; key++) {
		make_value(key, value);
		if (engine.commit(key, value))
			return fail("commit");
		if (acknowledge(key))
			return fail("write");
	}
	return engine.close() ? fail("close") : 0;
}

static int verify(const char *path, int last, bool plain)
{
	char value[LOAD_VALUE], found[LOAD_VALUE];
	int lost = 0, key = 1, is_there = 1;
	if (engine.open(path, plain))
		return fail("open");
	for (; is_there || key <= last; key++) {
		make_value(key, value);
		is_there = engine.get(key, found);
		if (is_there < 0)
			return fail("get");
		if (is_there ? memcmp(value, found, LOAD_VALUE) != 0 : key <= last) {
			printf("key %d %s\n", key, is_there ? "has another value" : "is lost");
			lost++;
		}
	}
	printf("%s: %d keys, %d acknowledged, %d lost\n", engine.name, key - 2, last, lost);
	fflush(stdout);
	return engine.close() ? fail("close") : lost ? 1 : 0;
}

static int mistakes(const char *path, bool plain)
{
	if (engine.open(path, plain))
		return fail("open");
	engine.mistakes();
	fflush(stdout);
	return engine.close() ? fail("close") : 0;
}

int main(int argc, char **argv)
{
	const char *word = argc > 2 ? argv[1] : "";
	bool plain = argc > 1 && !strcmp(argv[argc - 1], "plain");
	int arguments = argc - plain;
	if (!strcmp(word, "run") && arguments == 5)
		return run(argv[2], atoi(argv[3]), atoi(argv[4]), plain);
	if (!strcmp(word, "verify") && arguments == 4)
		return verify(argv[2], atoi(argv[3]), plain);
	if (!strcmp(word, "mistakes") && arguments == 3)
		return mistakes(argv[2], plain);
	fprintf(stderr, "usage: load_%s run PATH FIRST LAST | verify PATH LAST | mistakes PATH, and plain\n",
	        engine.name);
	return 2;
}

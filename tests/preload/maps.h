/* SPDX-License-Identifier: BSD-3-Clause */
/* What the operations of maps share. */
#ifndef MAPS_H
#define MAPS_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES 16

extern struct state {
	char *path;
	int fd;
	char *base;
	char **rest; /* arguments of this program that does only what follows */
} state;

struct operation {
	const char *name;
	void (*run)(void);
};
/* Of processes; ends with a name of NULL. */
extern const struct operation process_operations[];

void do_sync_page(void);

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "maps: line %d: %s: %s\n", __LINE__, #condition, strerror(errno));             \
			_exit(99);                                                                                     \
		}                                                                                                      \
	} while (0)

#endif

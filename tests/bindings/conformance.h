/* SPDX-License-Identifier: BSD-3-Clause */
/* How the programs in C and C++ read a line. tests/bindings/conformance.py compares the results. */
#ifndef CONFORMANCE_H
#define CONFORMANCE_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = 8 };

struct line {
	char text[256];
	const char *word[WORDS];
	int count;
};

/* Reads the command of the next line that has one; 0 at the end of the script. */
static inline int next_line(FILE *script, struct line *line)
{
	char raw[256], *save = NULL, *arrow;
	while (fgets(raw, sizeof(raw), script)) {
		arrow = strstr(raw, " => ");
		if (raw[0] == '#' || !arrow)
			continue;
		*arrow = '\0';
		memcpy(line->text, raw, sizeof(raw));
		printf("%s => ", raw);
		line->count = 0;
		for (char *word = strtok_r(line->text, " ", &save); word && line->count < WORDS;
		     word = strtok_r(NULL, " ", &save))
			line->word[line->count++] = word;
		return 1;
	}
	return 0;
}

static inline int is(const struct line *line, const char *command)
{
	return strcmp(line->word[0], command) == 0;
}

static inline long long number(const struct line *line, int at)
{
	return at < line->count ? strtoll(line->word[at], NULL, 10) : 0;
}

#endif

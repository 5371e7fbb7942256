/* SPDX-License-Identifier: BSD-3-Clause */
/* Texts: copied without a format, which each look does often, and written to a buffer of the caller. */
#ifndef PM_TEXT_H
#define PM_TEXT_H

#include <stddef.h>

/* Copies as much as fits. Returns the length of what was copied. */
size_t pm_text_copy(char *text, size_t size, const char *from);

/* A text that goes on counting behind the end of its buffer. */
struct pm_text {
	char *at;
	size_t room, length;
};

void pm_text_say(struct pm_text *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Cuts the space at the end, and returns the length of the whole text. */
int pm_text_end(struct pm_text *);
/* A path may have a newline, or what a terminal obeys: a question mark stands for each such byte. */
void pm_text_one_line(char *text, size_t size);

#endif

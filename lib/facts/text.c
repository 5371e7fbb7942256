/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "facts/text.h"

size_t pm_text_copy(char *text, size_t size, const char *from)
{
	size_t length = strnlen(from, size - 1);
	memcpy(text, from, length);
	text[length] = 0;
	return length;
}

void pm_text_say(struct pm_text *t, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	size_t used = t->length < t->room ? t->length : t->room;
	int more = vsnprintf(t->at ? t->at + used : NULL, t->room - used, format, args);
	va_end(args);
	if (more > 0)
		t->length += (size_t)more;
}

int pm_text_end(struct pm_text *t)
{
	t->length--;
	if (t->length < t->room)
		t->at[t->length] = 0;
	return (int)t->length;
}

void pm_text_one_line(char *text, size_t size)
{
	for (size_t i = 0; i < size && text[i]; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
}

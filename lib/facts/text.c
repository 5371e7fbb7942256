/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdbool.h>
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

static bool is_control(const char *at, const char *end)
{
	unsigned char c = (unsigned char)*at, next = at + 1 < end ? (unsigned char)at[1] : 0;
	return c < ' ' || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0);
}

void pm_text_one_line(char *text, size_t size)
{
	for (char *at = text, *end = text + size; at < end && *at; at++) {
		if (!is_control(at, end))
			continue;
		/* In UTF-8 the controls from U+0080 on have two bytes. */
		if ((unsigned char)*at == 0xc2)
			*at++ = '?';
		*at = '?';
	}
}

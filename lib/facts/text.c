/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdio.h>

#include "facts/text.h"

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

/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "facts/descent.h"

/* Volatile before unknown before not; not flushed before unknown before flushed. */
static unsigned badness(enum pm_state state, enum pm_state worst)
{
	return state == worst ? 2 : state == PM_UNKNOWN ? 1 : 0;
}

struct pm_descent pm_descent_part(const struct pm_descent *whole)
{
	return (struct pm_descent){.follow = whole->follow};
}

void pm_descent_merge(struct pm_descent *b, const struct pm_descent *other)
{
	if (!b->is_met || badness(other->is_volatile, PM_YES) > badness(b->is_volatile, PM_YES)) {
		b->is_volatile = other->is_volatile;
		memcpy(b->what, other->what, sizeof(b->what));
	}
	if (!b->is_met || badness(other->flushes, PM_NO) > badness(b->flushes, PM_NO)) {
		b->flushes = other->flushes;
		memcpy(b->how, other->how, sizeof(b->how));
	}
	b->has_no_cache = other->has_no_cache && (b->has_no_cache || !b->is_met);
	b->is_settled = other->is_settled && (b->is_settled || !b->is_met);
	b->error = b->error ? b->error : other->error;
	b->is_met = true;
}

void pm_descent_end(struct pm_descent *b, int error, const char *format, ...)
{
	struct pm_descent end = {.error = error};
	va_list args;
	va_start(args, format);
	vsnprintf(end.what, sizeof(end.what), format, args);
	va_end(args);
	memcpy(end.how, end.what, sizeof(end.how));
	pm_descent_merge(b, &end);
}

void pm_descent_forgets(struct pm_descent *b, const char *what)
{
	struct pm_descent end = {.is_volatile = PM_YES};
	snprintf(end.what, sizeof(end.what), "%s", what);
	pm_descent_merge(b, &end);
}

void pm_descent_doubt(struct pm_descent *b, int error, const char *format, ...)
{
	char text[sizeof(b->what)];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (b->is_volatile == PM_NO) {
		b->is_volatile = PM_UNKNOWN;
		memcpy(b->what, text, sizeof(text));
	}
	if (b->flushes == PM_YES) {
		b->flushes = PM_UNKNOWN;
		memcpy(b->how, text, sizeof(text));
	}
	b->has_no_cache = b->is_settled = false;
	b->error = b->error ? b->error : error;
}

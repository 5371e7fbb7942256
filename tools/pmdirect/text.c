/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

/* The code point, and in *bytes how long it is: 0 if it is not UTF-8 (RFC 3629: shortest form, no surrogates). */
static uint32_t decode(const char *text, size_t *bytes)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *s = (const unsigned char *)text;
	size_t length = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	uint32_t value = length == 1 ? s[0] : s[0] & (0x7fu >> length);
	*bytes = 0;
	if (s[0] >= 0xf8 || (s[0] >= 0x80 && s[0] < 0xc0))
		return 0;
	for (size_t i = 1; i < length; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (s[i] & 0x3f);
	}
	if (value < least[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return 0;
	*bytes = length;
	return value;
}

size_t text_character(const char *text)
{
	size_t bytes;
	decode(text, &bytes);
	return bytes;
}

bool text_is_utf8(const char *text)
{
	while (*text) {
		size_t bytes = text_character(text);
		if (!bytes)
			return false;
		text += bytes;
	}
	return true;
}

/* Controls, and marks that change the direction of writing. */
static bool is_shown(uint32_t c)
{
	bool is_control = c < 0x20 || (c >= 0x7f && c < 0xa0);
	bool turns = c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
	return !is_control && !turns && c != '\\';
}

char *text_printable(const char *text)
{
	char *copy = malloc(4 * strlen(text) + 1), *at = copy;
	if (!copy)
		abort();
	while (*text) {
		size_t bytes;
		uint32_t c = decode(text, &bytes);
		if (bytes && is_shown(c)) {
			memcpy(at, text, bytes);
			at += bytes;
			text += bytes;
			continue;
		}
		/* Each byte of what is not shown is an escape of its own. */
		for (size_t i = 0; i < (bytes ? bytes : 1); i++, text++)
			at += *text == '\n'   ? sprintf(at, "\\n")
			      : *text == '\t' ? sprintf(at, "\\t")
			      : *text == '\\' ? sprintf(at, "\\\\")
			                      : sprintf(at, "\\x%02x", (unsigned char)*text);
	}
	*at = 0;
	return copy;
}

size_t text_columns(const char *text)
{
	size_t columns = 0;
	for (; *text; text++)
		columns += ((unsigned char)*text & 0xc0) != 0x80;
	return columns;
}

void text_json(FILE *stream, const char *text)
{
	fputc('"', stream);
	while (*text) {
		size_t bytes;
		uint32_t c = decode(text, &bytes);
		if (!bytes)
			fputs("\\ufffd", stream);
		else if (c == '"' || c == '\\')
			fprintf(stream, "\\%c", (char)c);
		else if (c < 0x20 || c == 0x7f)
			fprintf(stream, "\\u%04x", c);
		else
			fwrite(text, 1, bytes, stream);
		text += bytes ? bytes : 1;
	}
	fputc('"', stream);
}

char *text_format_list(const char *format, va_list arguments)
{
	char *text;
	if (vasprintf(&text, format, arguments) < 0)
		abort();
	return text;
}

char *text_format(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	char *text = text_format_list(format, arguments);
	va_end(arguments);
	return text;
}

char *text_copy(const char *text)
{
	char *copy = strdup(text);
	if (!copy)
		abort();
	return copy;
}

const char *text_path(const char *path)
{
	return *path ? path : "\"\"";
}

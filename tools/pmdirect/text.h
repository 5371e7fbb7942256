/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes that others chose (names of files and programs), as a terminal and as JSON may show them. */
#ifndef TEXT_H
#define TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Bytes of the character at text, 1 to 4; 0: not UTF-8. */
size_t text_character(const char *text);
bool text_is_utf8(const char *text);

/* A copy in which what is no printable character, and a backslash, is an escape: no name can move the cursor. */
char *text_printable(const char *text);
/* Columns of printable text on a terminal, one a character. */
size_t text_columns(const char *text);

/* A JSON string, with quotes. A byte that is not UTF-8 becomes U+FFFD. */
void text_json(FILE *stream, const char *text);

/* As printf(3) into new memory; ends the program if there is none. */
__attribute__((format(printf, 1, 2))) char *text_format(const char *format, ...);
__attribute__((format(printf, 1, 0))) char *text_format_list(const char *format, va_list arguments);
char *text_copy(const char *text);
/* A name at the start of a sentence: an empty one is seen. */
const char *text_path(const char *path);

#endif

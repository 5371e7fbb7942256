/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows of data on stdout, as a table or as JSON; what there is to say about them on stderr, and in the JSON. */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the three ways to end are told: the exit status. */
enum status { STATUS_MET = 0, STATUS_NOT_MET = 1, STATUS_UNKNOWN = 2 };

enum column_kind {
	COLUMN_TEXT,    /* words */
	COLUMN_COUNT,   /* a number */
	COLUMN_BYTES,   /* a number; the table rounds it to KiB and so on */
	COLUMN_RATIO,   /* a number of hundredths, written as 1.25 */
	COLUMN_ADDRESS, /* a number; a string of hexadecimal digits in JSON, whose numbers end at 2^53 */
	COLUMN_PATH     /* bytes; if they are not UTF-8, JSON has them once more, as hexadecimal digits, in NAME_hex */
};

struct column {
	const char *name; /* the key in JSON; the heading is in capitals */
	enum column_kind kind;
	bool is_standard; /* shown in a table without -o */
	const char *help;
};

/* Text of a COLUMN_TEXT or COLUMN_PATH, else a number. */
struct cell {
	bool is_known;
	const char *text;
	uint64_t number;
};

#define TEXT_CELL(value) ((struct cell){.is_known = (value) != NULL, .text = (value)})
#define NUMBER_CELL(value) ((struct cell){.is_known = true, .number = (value)})
#define UNKNOWN_CELL ((struct cell){.is_known = false})
/* A number that there is not: null in JSON, as what is not known. A text that there is not is empty. */
#define NO_CELL ((struct cell){.is_known = false, .text = ""})

/* What the command line asks for. */
struct form {
	bool json, no_headings;
	const char *columns; /* of -o; NULL: the standard ones, in JSON all */
};

#define COLUMNS_MAX 40 /* no table of columns is longer */

struct output {
	const struct form *form;
	const char *kind; /* "probe", "ps" ... */
	const struct column *columns;
	size_t column_count, order[COLUMNS_MAX], order_count;
	bool is_stream; /* each row is written at once: a line, or a document of its own */
	char **cells;   /* rows of order_count texts, for the table */
	size_t rows, room;
	char **notes;
	size_t note_count;
};

/* 0, or -1 with a line on stderr: form->columns names none. */
int output_begin(struct output *o, const char *kind, const struct column *columns, size_t count,
                 const struct form *form);
/* One cell a column, in their order. */
void output_row(struct output *o, const struct cell *cells);
/* Something that limits what the rows say. Copied. */
__attribute__((format(printf, 2, 3))) void output_note(struct output *o, const char *format, ...);
/* The same, in the JSON alone: sentences that a table is followed by. */
void output_remark(struct output *o, const char *text);
/* Writes what is left, and frees. The status. */
enum status output_end(struct output *o, enum status status);
/* At the end of the program: the status, or STATUS_UNKNOWN with a line on stderr if stdout could not be written. */
enum status output_close(enum status status);

bool output_wants(const struct output *o, const char *column);
void output_list_columns(const struct column *columns, size_t count);
/* A sentence on stderr, with the name of the command. What does not print is an escape there. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <pmdirect.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "text.h"

/* Of the JSON. A field is added without a new number; the number changes when one is gone, or means something else. */
#define SCHEMA_VERSION 1

static void *grown(void *memory, size_t size)
{
	memory = realloc(memory, size);
	if (!memory)
		abort();
	return memory;
}

void say(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	char *text = text_format_list(format, arguments);
	va_end(arguments);
	char *shown = text_printable(text);
	fprintf(stderr, "pmdirect: %s\n", shown);
	free(shown);
	free(text);
}

/* A second one of a name would be a second key of that name in JSON. */
static void add_once(struct output *o, size_t column)
{
	for (size_t i = 0; i < o->order_count; i++)
		if (o->order[i] == column)
			return;
	o->order[o->order_count++] = column;
}

static int add_column(struct output *o, const char *name, size_t length)
{
	for (size_t i = 0; i < o->column_count; i++) {
		if (strlen(o->columns[i].name) != length || strncasecmp(o->columns[i].name, name, length))
			continue;
		add_once(o, i);
		return 0;
	}
	say("there is no column \"%.*s\"; --help lists them", (int)length, name);
	return -1;
}

static void add_columns(struct output *o, bool all)
{
	for (size_t i = 0; i < o->column_count; i++)
		if (all || o->columns[i].is_standard)
			add_once(o, i);
}

/* A list; "all" stands for all columns, and a "+" before the list for the standard ones. */
static int choose(struct output *o, const char *list)
{
	if (*list == '+') {
		add_columns(o, false);
		list++;
	}
	if (!strcmp(list, "all"))
		return add_columns(o, true), 0;
	for (const char *at = list;; at++) {
		size_t length = strcspn(at, ",");
		if (add_column(o, at, length))
			return -1;
		at += length;
		if (!*at)
			return 0;
	}
}

static void begin_document(const struct output *o)
{
	printf("{\"schema\": \"pmdirect-%s\", \"version\": %d, \"library\": ", o->kind, SCHEMA_VERSION);
	text_json(stdout, pm_version());
	printf(o->is_stream ? ", \"row\": " : ",\n \"rows\": [");
}

int output_begin(struct output *o, const char *kind, const struct column *columns, size_t count,
                 const struct form *form)
{
	*o = (struct output){.form = form, .kind = kind, .columns = columns, .column_count = count};
	if (!form->columns)
		add_columns(o, form->json);
	else if (choose(o, form->columns))
		return -1;
	return 0;
}

bool output_wants(const struct output *o, const char *column)
{
	for (size_t i = 0; i < o->order_count; i++)
		if (!strcmp(o->columns[o->order[i]].name, column))
			return true;
	return false;
}

static void print_hex(const char *name, const char *bytes)
{
	printf(", \"%s_hex\": \"", name);
	for (; *bytes; bytes++)
		printf("%02x", (unsigned char)*bytes);
	putchar('"');
}

static void print_json_cell(const struct column *column, const struct cell *cell)
{
	printf("\"%s\": ", column->name);
	if (!cell->is_known)
		printf("null");
	else if (column->kind == COLUMN_ADDRESS)
		printf("\"0x%" PRIx64 "\"", cell->number);
	else if (column->kind == COLUMN_RATIO)
		printf("%" PRIu64 ".%02" PRIu64, cell->number / 100, cell->number % 100);
	else if (column->kind == COLUMN_COUNT || column->kind == COLUMN_BYTES)
		printf("%" PRIu64, cell->number);
	else
		text_json(stdout, cell->text);
	if (cell->is_known && column->kind == COLUMN_PATH && !text_is_utf8(cell->text))
		print_hex(column->name, cell->text);
}

static void print_json_row(const struct output *o, const struct cell *cells)
{
	printf(o->is_stream ? "{" : o->rows ? ",\n  {" : "\n  {");
	for (size_t i = 0; i < o->order_count; i++) {
		printf(i ? ", " : "");
		print_json_cell(&o->columns[o->order[i]], &cells[o->order[i]]);
	}
	printf("}");
}

/* Of at most three digits and a point, as 1.5M; exact below 1,000 and for round numbers. */
static char *human(uint64_t bytes)
{
	static const char units[] = "BKMGTPE";
	uint64_t whole = bytes, rest = 0;
	size_t unit = 0;
	for (; whole >= 1000 && unit < sizeof(units) - 2; unit++) {
		rest = whole % 1024;
		whole /= 1024;
	}
	if (!unit)
		return text_format("%" PRIu64, whole);
	return whole < 10 && rest ? text_format("%" PRIu64 ".%" PRIu64 "%c", whole, rest * 10 / 1024, units[unit])
	                          : text_format("%" PRIu64 "%c", whole, units[unit]);
}

static char *text_of(const struct column *column, const struct cell *cell)
{
	if (!cell->is_known)
		return text_copy(cell->text ? "-" : "?");
	if (column->kind == COLUMN_ADDRESS)
		return text_format("%" PRIx64, cell->number);
	if (column->kind == COLUMN_RATIO)
		return text_format("%" PRIu64 ".%02" PRIu64, cell->number / 100, cell->number % 100);
	if (column->kind == COLUMN_COUNT)
		return text_format("%" PRIu64, cell->number);
	if (column->kind == COLUMN_BYTES)
		return human(cell->number);
	return *cell->text ? text_printable(cell->text) : text_copy("-");
}

static bool is_number(const struct column *column)
{
	return column->kind != COLUMN_TEXT && column->kind != COLUMN_PATH;
}

static void stream_row(struct output *o, const struct cell *cells)
{
	if (o->form->json) {
		begin_document(o);
		print_json_row(o, cells);
		printf("}\n");
	}
	for (size_t i = 0; i < o->order_count && !o->form->json; i++) {
		char *text = text_of(&o->columns[o->order[i]], &cells[o->order[i]]);
		printf("%s%s", i ? "  " : "", text);
		free(text);
	}
	if (!o->form->json)
		putchar('\n');
	fflush(stdout);
	o->rows++;
}

void output_row(struct output *o, const struct cell *cells)
{
	if (o->is_stream) {
		stream_row(o, cells);
		return;
	}
	if (o->form->json) {
		if (!o->rows)
			begin_document(o);
		print_json_row(o, cells);
		o->rows++;
		return;
	}
	if (o->rows == o->room) {
		o->room = o->room ? 2 * o->room : 64;
		o->cells = grown(o->cells, o->room * o->order_count * sizeof(*o->cells));
	}
	for (size_t i = 0; i < o->order_count; i++)
		o->cells[o->rows * o->order_count + i] = text_of(&o->columns[o->order[i]], &cells[o->order[i]]);
	o->rows++;
}

void output_remark(struct output *o, const char *text)
{
	o->notes = grown(o->notes, (o->note_count + 1) * sizeof(*o->notes));
	o->notes[o->note_count++] = text_copy(text);
}

void output_note(struct output *o, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	char *text = text_format_list(format, arguments);
	va_end(arguments);
	say("%s", text);
	output_remark(o, text);
	free(text);
}

static void print_headings(const struct output *o, const size_t *widths)
{
	for (size_t i = 0; i < o->order_count; i++) {
		const struct column *column = &o->columns[o->order[i]];
		char heading[32];
		size_t length = 0;
		for (; column->name[length] && length < sizeof(heading) - 1; length++)
			heading[length] = (char)toupper((unsigned char)column->name[length]);
		heading[length] = 0;
		if (is_number(column))
			printf("%s%*s", i ? "  " : "", (int)widths[i], heading);
		else if (i + 1 < o->order_count)
			printf("%s%-*s", i ? "  " : "", (int)widths[i], heading);
		else
			printf("%s%s", i ? "  " : "", heading);
	}
	putchar('\n');
}

static void print_table_row(const struct output *o, char **row, const size_t *widths)
{
	for (size_t i = 0; i < o->order_count; i++) {
		/* printf(3) counts bytes. */
		int padding = (int)(widths[i] - text_columns(row[i]));
		bool is_last = i + 1 == o->order_count;
		if (is_number(&o->columns[o->order[i]]))
			printf("%s%*s%s", i ? "  " : "", padding, "", row[i]);
		else
			printf("%s%s%*s", i ? "  " : "", row[i], is_last ? 0 : padding, "");
	}
	putchar('\n');
}

static void print_table(const struct output *o)
{
	size_t widths[COLUMNS_MAX] = {0};
	for (size_t i = 0; i < o->order_count; i++) {
		widths[i] = o->form->no_headings ? 0 : strlen(o->columns[o->order[i]].name);
		for (size_t row = 0; row < o->rows; row++) {
			size_t columns = text_columns(o->cells[row * o->order_count + i]);
			widths[i] = columns > widths[i] ? columns : widths[i];
		}
	}
	if (!o->form->no_headings && o->rows)
		print_headings(o, widths);
	for (size_t row = 0; row < o->rows; row++)
		print_table_row(o, o->cells + row * o->order_count, widths);
}

static void end_document(struct output *o)
{
	if (!o->rows)
		begin_document(o);
	printf("%s],\n \"notes\": [", o->rows ? "\n " : "");
	for (size_t i = 0; i < o->note_count; i++) {
		printf(i ? ",\n  " : "\n  ");
		text_json(stdout, o->notes[i]);
	}
	printf("%s]}\n", o->note_count ? "\n " : "");
}

enum status output_end(struct output *o, enum status status)
{
	if (!o->is_stream && o->form->json)
		end_document(o);
	else if (!o->is_stream)
		print_table(o);
	for (size_t i = 0; o->cells && i < o->rows * o->order_count; i++)
		free(o->cells[i]);
	for (size_t i = 0; i < o->note_count; i++)
		free(o->notes[i]);
	free(o->cells);
	free(o->notes);
	return status;
}

enum status output_close(enum status status)
{
	/* The reason is known only if this call meets it. */
	int error = fflush(stdout) ? errno : 0;
	if (!error && !ferror(stdout))
		return status;
	say("stdout cannot be written%s%s", error ? ": " : "", error ? strerror(error) : "");
	return STATUS_UNKNOWN;
}

void output_list_columns(const struct column *columns, size_t count)
{
	printf("\nColumns of --columns (*: without it):\n");
	for (size_t i = 0; i < count; i++)
		printf("  %-13s %c %s\n", columns[i].name, columns[i].is_standard ? '*' : ' ', columns[i].help);
}

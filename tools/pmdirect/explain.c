/* SPDX-License-Identifier: BSD-3-Clause */
/* pmdirect explain: each fact about a path with its source, and what follows in sentences. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "place.h"
#include "text.h"

enum { FACT, STATE, VALUE, NUMBER, ERROR, SOURCE, COLUMNS };

static const struct column columns[] = {
	[FACT] = {"fact", COLUMN_TEXT, true, "what the row is about: pm_evidence(7)"},
	[STATE] = {"state", COLUMN_TEXT, true, "yes, no, unknown"},
	[VALUE] = {"value", COLUMN_TEXT, true, "what was seen, as text"},
	[NUMBER] = {"number", COLUMN_COUNT, false, "what was seen, as a number: pm_evidence(7)"},
	[ERROR] = {"error", COLUMN_TEXT, true, "the error that was met, in words"},
	[SOURCE] = {"source", COLUMN_TEXT, true, "the system call or file that gave the answer"},
};

static const char help[] =
	"usage: pmdirect explain [OPTIONS] PATH\n"
	"\n"
	"What a mapping of the path would get, and why: the evidence, row by row with its source, then sentences with\n"
	"advice. Exit status: 0 it was explained, 1 it cannot be mapped, 2 not known.\n"
	"\n"
	"  --all              rows that were not asked for, too\n"
	"  --read-only        ask for a mapping for reading\n" COMMON_HELP;

static void put_row(struct output *out, enum pm_evidence_row row, const struct pm_evidence *e)
{
	const struct cell cells[COLUMNS] = {
		[FACT] = TEXT_CELL(pm_evidence_name(row)),
		[STATE] = TEXT_CELL(pm_state_name(e->state)),
		[VALUE] = TEXT_CELL(e->text),
		[NUMBER] = NUMBER_CELL(e->value),
		[ERROR] = TEXT_CELL(e->error ? pm_strerror(e->error) : ""),
		[SOURCE] = TEXT_CELL(e->source),
	};
	output_row(out, cells);
}

static void put_rows(struct output *out, const struct pm_report *r, bool all)
{
	for (int row = 0; row < PM_EVIDENCE_ROWS; row++)
		if (all || out->form->json || strcmp(r->evidence[row].source, "not asked"))
			put_row(out, (enum pm_evidence_row)row, &r->evidence[row]);
}

/* At most 100 columns a line, broken at spaces. */
static void print_wrapped(const char *text)
{
	size_t column = 0;
	while (*text) {
		size_t length = strcspn(text, " ");
		if (column && column + length > 100) {
			putchar('\n');
			column = 0;
		}
		printf("%s%.*s", column ? " " : "", (int)length, text);
		column += length + 1;
		text += length + strspn(text + length, " ");
	}
	putchar('\n');
}

static void add_quirks(char *text, size_t size, const struct pm_report *r)
{
	const struct pm_quirk *quirk;
	for (size_t i = 0; (quirk = pm_quirk(r, i)); i++) {
		size_t length = strlen(text);
		snprintf(text + length, size - length, " Under Linux %s %s; advice: %s.",
		         r->evidence[PM_EV_KERNEL].text, quirk->effect, quirk->advice);
	}
}

static enum status explain(const char *path, const struct form *form, const struct pm_options *options, bool all)
{
	char text[8192] = "";
	struct place place;
	struct answer a;
	struct output out;
	if (output_begin(&out, "explain", columns, COLUMNS, form))
		return usage("explain");
	place_look(path, &place);
	place_ask(path, &place, options, &a);
	enum status status = a.error && is_unmappable(a.error) ? STATUS_NOT_MET : STATUS_UNKNOWN;
	if (a.sentence)
		output_note(&out, "%s", a.sentence);
	if (!a.error && !a.is_held_back) {
		put_rows(&out, &a.report, all);
		status = a.report.granularity ? STATUS_MET : STATUS_UNKNOWN;
		if (pm_explain(&a.report, text, sizeof(text)) < 0)
			text[0] = 0;
		add_quirks(text, sizeof(text), &a.report);
	}
	/* In JSON the sentences are a note. */
	if (form->json && text[0])
		output_remark(&out, text);
	answer_free(&a);
	status = output_end(&out, status);
	if (!form->json && text[0]) {
		char *sentences = text_printable(text);
		putchar('\n');
		print_wrapped(sentences);
		free(sentences);
	}
	return status;
}

enum status command_explain(int argc, char **argv)
{
	static const struct option options[] = {
		COMMON_OPTIONS, {"all", no_argument, NULL, 'a'}, {"read-only", no_argument, NULL, 'r'}, {0}};
	struct form form = {.json = false};
	struct pm_options asked = {.flags = 0};
	bool all = false;
	for (int option; (option = option_next(argc, argv, COMMON_LETTERS, options)) != -1;) {
		if (form_take(&form, option))
			continue;
		if (option == 'h') {
			printf("%s", help);
			output_list_columns(columns, COLUMNS);
			return STATUS_MET;
		}
		if (option == 'a')
			all = true;
		else if (option == 'r')
			asked.flags |= PM_READ_ONLY;
		else
			return usage("explain");
	}
	if (optind + 1 != argc) {
		say("explain takes one path");
		return usage("explain");
	}
	return explain(argv[optind], &form, &asked, all);
}

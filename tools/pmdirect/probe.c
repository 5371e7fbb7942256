/* SPDX-License-Identifier: BSD-3-Clause */
/* pmdirect probe: what a mapping of each path would get. */
#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "place.h"
#include "text.h"

enum {
	KIND,
	ACCESS,
	SIZE,
	GRANULARITY,
	SYNC,
	DIRECT,
	DURABLE,
	GRADE,
	REASON,
	ADVICE,
	QUIRKS,
	MET,
	ERROR,
	SENTENCE,
	PATH,
	COLUMNS
};

static struct column columns[] = {
	[KIND] = {"kind", COLUMN_TEXT, false, "file, directory (a new file there), block device, device-dax, other"},
	[ACCESS] = {"access", COLUMN_TEXT, false, "read-write, read-only (where it cannot be written), new"},
	[SIZE] = {"size", COLUMN_BYTES, false, "of the mapping"},
	[GRANULARITY] = {"granularity", COLUMN_TEXT, true, "what a store needs: byte, cache line, page, none, unknown"},
	[SYNC] = {"sync", COLUMN_TEXT, true, "whether user space may commit alone: yes, no, unknown"},
	[DIRECT] = {"direct", COLUMN_TEXT, true, "whether no page cache lies in between: yes, no, unknown"},
	[DURABLE] = {"durable", COLUMN_TEXT, true, "whether a durability call there survives a power failure"},
	[GRADE] = {"grade", COLUMN_TEXT, true, "how well lines are founded: none, accepted, promised, proven"},
	[REASON] = {"reason", COLUMN_TEXT, true, "the first fact in the way: pm_evidence(7)"},
	[ADVICE] = {"advice", COLUMN_TEXT, false, "what to do about it: pm_evidence(7)"},
	[QUIRKS] = {"quirks", COLUMN_TEXT, false, "what the kernel is known to do wrong there: pm_quirk(3)"},
	[MET] = {"met", COLUMN_TEXT, false, "whether what --require asks for is met: yes, no, unknown"},
	[ERROR] = {"error", COLUMN_TEXT, false, "why it cannot be mapped or asked, in words"},
	[SENTENCE] = {"sentence", COLUMN_TEXT, false, "the error in a sentence"},
	[PATH] = {"path", COLUMN_PATH, true, "the path, as given"},
};

static const char help[] =
	"usage: pmdirect probe [OPTIONS] PATH...\n"
	"\n"
	"What a mapping of each path would get: of a file, a block device or a device-dax, or of a new file in a\n"
	"directory. Nothing is created, changed or read. Exit status: 0 met, 1 not met or not to be mapped, 2 cannot "
	"tell.\n"
	"\n"
	"  --require=LIST     sync, direct, durable, by commas: the exit status says whether each path has them\n"
	"  --read-only        ask for a mapping for reading\n"
	"  --prepare          as if the file was prepared first (PM_PREPARE)\n"
	"  --lease            as if the mapping held a lease (PM_LEASE)\n" COMMON_HELP;

struct request {
	struct form form;
	unsigned required;
	struct pm_options options;
};

static const char *access_of(const struct place *place, const struct answer *a)
{
	if (a->error || a->is_held_back || place->kind == PLACE_MISSING)
		return NULL;
	return a->is_new ? "new" : a->is_read_only ? "read-only" : "read-write";
}

/* A directory is not told about where a file must be created for that. */
static bool is_told(const struct answer *a)
{
	return !a->error && !a->is_held_back && (a->report.granularity || a->report.reason);
}

/* Of a guarantee: met, refused, or not known. */
static enum pm_state guarantee_of(const char *path, const struct place *place, const struct request *request, bool sync)
{
	struct answer a;
	struct pm_options o = request->options;
	*(sync ? &o.sync : &o.direct) = PM_GUARANTEE;
	place_ask(path, place, &o, &a);
	enum pm_state state = PM_UNKNOWN;
	if (a.is_held_back)
		state = sync ? PM_UNKNOWN : a.report.direct;
	else if (a.error)
		state = is_unmappable(a.error) ? PM_NO : PM_UNKNOWN;
	else if (a.report.verdict != PM_VERDICT_UNKNOWN)
		state = a.report.verdict == PM_VERDICT_REFUSED ? PM_NO : PM_YES;
	answer_free(&a);
	return state;
}

static enum pm_state state_met(const char *path, const struct place *place, const struct request *request,
                               const struct answer *a)
{
	enum pm_state met = PM_YES;
	if (a->error)
		return is_unmappable(a->error) ? PM_NO : PM_UNKNOWN;
	if (request->required & REQUIRE_SYNC)
		met = state_worst(met, guarantee_of(path, place, request, true));
	if (request->required & REQUIRE_DIRECT)
		met = state_worst(met, a->is_held_back ? a->report.direct : guarantee_of(path, place, request, false));
	if (request->required & REQUIRE_DURABLE)
		met = state_worst(met, a->is_held_back ? PM_UNKNOWN : state_durable(&a->report));
	if (!request->required && (a->is_held_back || a->report.granularity == PM_GRANULARITY_UNKNOWN))
		met = PM_UNKNOWN;
	return met;
}

/* The names, by commas. */
static char *quirks_of(const struct pm_report *r)
{
	const struct pm_quirk *quirk;
	char *names = text_copy("");
	for (size_t i = 0; (quirk = pm_quirk(r, i)); i++) {
		char *longer = text_format("%s%s%s", names, i ? "," : "", quirk->name);
		free(names);
		names = longer;
	}
	return names;
}

static void fill(struct cell *cells, const char *path, const struct place *place, const struct answer *a)
{
	const struct pm_report *r = &a->report;
	bool told = is_told(a);
	cells[PATH] = TEXT_CELL(path);
	cells[KIND] = TEXT_CELL(place_kind_name(place->kind));
	cells[ACCESS] = TEXT_CELL(access_of(place, a));
	cells[SIZE] = told ? NUMBER_CELL(r->length) : UNKNOWN_CELL;
	cells[GRANULARITY] = TEXT_CELL(pm_granularity_name(told ? r->granularity : PM_GRANULARITY_UNKNOWN));
	cells[SYNC] = TEXT_CELL(pm_state_name(told ? r->sync : PM_UNKNOWN));
	cells[DIRECT] = TEXT_CELL(pm_state_name(a->error ? PM_UNKNOWN : r->direct));
	cells[DURABLE] = TEXT_CELL(pm_state_name(told ? state_durable(r) : PM_UNKNOWN));
	cells[GRADE] = TEXT_CELL(told ? pm_grade_name(r->grade) : NULL);
	cells[ADVICE] = TEXT_CELL(told ? pm_advice_name(r->advice) : NULL);
	cells[REASON] = TEXT_CELL(told                      ? pm_reason_name(r->reason)
	                          : a->is_held_back         ? "leased"
	                          : is_unmappable(a->error) ? "cannot-be-mapped"
	                                                    : "cannot-tell");
	cells[ERROR] = TEXT_CELL(a->error ? pm_strerror(a->error) : "");
	cells[SENTENCE] = TEXT_CELL(a->sentence ? a->sentence : "");
}

static enum status probe(struct output *out, const char *path, const struct request *request)
{
	struct cell cells[COLUMNS];
	struct place place;
	struct answer answer;
	place_look(path, &place);
	place_ask(path, &place, &request->options, &answer);
	enum pm_state met = state_met(path, &place, request, &answer);
	fill(cells, path, &place, &answer);
	cells[MET] = TEXT_CELL(request->required ? pm_state_name(met) : "");
	char *quirks = quirks_of(&answer.report);
	cells[QUIRKS] = TEXT_CELL(is_told(&answer) ? quirks : NULL);
	output_row(out, cells);
	free(quirks);
	if (answer.sentence)
		output_note(out, "%s", answer.sentence);
	answer_free(&answer);
	return status_of(met);
}

static int parse(int argc, char **argv, struct request *request)
{
	static const struct option options[] = {COMMON_OPTIONS,
	                                        {"require", required_argument, NULL, 'R'},
	                                        {"read-only", no_argument, NULL, 'r'},
	                                        {"prepare", no_argument, NULL, 'p'},
	                                        {"lease", no_argument, NULL, 'l'},
	                                        {0}};
	for (int option; (option = option_next(argc, argv, COMMON_LETTERS, options)) != -1;) {
		if (form_take(&request->form, option))
			continue;
		switch (option) {
		case 'R':
			if (requirement_parse(optarg, &request->required))
				return -1;
			break;
		case 'r':
			request->options.flags |= PM_READ_ONLY;
			break;
		case 'p':
			request->options.flags |= PM_PREPARE;
			break;
		case 'l':
			request->options.flags |= PM_LEASE;
			break;
		case 'h':
			return 1;
		default:
			return -1;
		}
	}
	return optind < argc ? 0 : (say("no path was given"), -1);
}

enum status command_probe(int argc, char **argv)
{
	struct request request = {.required = REQUIRE_NOTHING};
	struct output out;
	enum status status = STATUS_MET;
	int rc = parse(argc, argv, &request);
	if (rc < 0)
		return usage("probe");
	if (rc) {
		printf("%s", help);
		output_list_columns(columns, COLUMNS);
		return STATUS_MET;
	}
	columns[MET].is_standard = request.required;
	if (output_begin(&out, "probe", columns, COLUMNS, &request.form))
		return usage("probe");
	for (int i = optind; i < argc; i++)
		status = status_worst(status, probe(&out, argv[i], &request));
	return output_end(&out, status);
}

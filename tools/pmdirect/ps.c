/* SPDX-License-Identifier: BSD-3-Clause */
/* pmdirect ps: the shared file mappings of running processes, and what they are worth. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "facts.h"
#include "folios.h"
#include "locks.h"
#include "scope.h"

enum {
	PID,
	COMMAND,
	START,
	SIZE,
	OFFSET,
	ACCESS,
	GRANULARITY,
	COULD,
	SYNC,
	DIRECT,
	DURABLE,
	REASON,
	COULD_REASON,
	GRADE,
	RESIDENT,
	CACHED,
	DIRTY,
	WRITEBACK,
	FOLIOS,
	LOCKS,
	FLOCKS,
	LEASES,
	INODE,
	NOTE,
	PATH,
	COLUMNS
};

static const struct column columns[] = {
	[PID] = {"pid", COLUMN_COUNT, true, "the process"},
	[COMMAND] = {"command", COLUMN_PATH, true, "its name, as in /proc/PID/comm"},
	[START] = {"start", COLUMN_ADDRESS, false, "the address of the mapping"},
	[SIZE] = {"size", COLUMN_BYTES, true, "of the mapping"},
	[OFFSET] = {"offset", COLUMN_BYTES, false, "of the mapping in the file"},
	[ACCESS] = {"access", COLUMN_TEXT, true, "rw: stores are possible now; r: not"},
	[GRANULARITY] = {"granularity", COLUMN_TEXT, true,
                         "what a store needs in this mapping: byte, cache line, page, none"},
	[COULD] = {"could", COLUMN_TEXT, true, "the granularity that pm_map() would have there now"},
	[SYNC] = {"sync", COLUMN_TEXT, true, "whether user space may commit alone: yes, no, unknown"},
	[DIRECT] = {"direct", COLUMN_TEXT, true, "whether no page cache lies in between: yes, no, unknown"},
	[DURABLE] = {"durable", COLUMN_TEXT, false, "whether a durability call survives a power failure"},
	[REASON] = {"reason", COLUMN_TEXT, true, "the first fact in the way; no-map-sync: mapped without MAP_SYNC"},
	[COULD_REASON] = {"could_reason", COLUMN_TEXT, false, "the first fact in the way of pm_map()"},
	[GRADE] = {"grade", COLUMN_TEXT, false, "how well the lines of pm_map() would be founded"},
	[RESIDENT] = {"resident", COLUMN_BYTES, false, "in the page table; 0 of DAX before Linux 6.15"},
	[CACHED] = {"cached", COLUMN_BYTES, false, "page cache in front of the range: cachestat(2)"},
	[DIRTY] = {"dirty", COLUMN_BYTES, true, "of those, not yet written"},
	[WRITEBACK] = {"writeback", COLUMN_BYTES, false, "of those, being written"},
	[FOLIOS] = {"folios", COLUMN_TEXT, false, "whether the page cache has large folios there: yes, no, unknown"},
	[LOCKS] = {"locks", COLUMN_COUNT, false, "record locks on the file (fcntl(2)), of any process"},
	[FLOCKS] = {"flocks", COLUMN_COUNT, false, "flock(2) locks on the file"},
	[LEASES] = {"leases", COLUMN_COUNT, false, "leases on the file"},
	[INODE] = {"inode", COLUMN_COUNT, false, "of the file"},
	[NOTE] = {"note", COLUMN_TEXT, false, "why something is unknown"},
	[PATH] = {"path", COLUMN_PATH, true, "of the file, as the process sees it"},
};

static const char help[] =
	"usage: pmdirect ps [-p PID,... | --all] [--file PATH] [OPTIONS]\n"
	"\n"
	"The shared file mappings of running processes, one a line, without disturbing them. Exit status: 0, or "
	"whether\n"
	"what --require asks for is met: 0 by each, 1 not by one, 2 not known, or nothing was found.\n"
	"\n"
	"  -p, --pid=LIST     of these processes\n"
	"  -a, --all          of all (the default)\n"
	"  -f, --file=PATH    of this file\n"
	"  -w, --writable     only those that stores can be made to\n"
	"  --require=LIST     sync, direct, durable, by commas\n" COMMON_HELP;

struct request {
	struct form form;
	struct scope scope;
	unsigned required;
	bool is_counted; /* a column of the page cache is wanted */
	bool asks_folios;
};

/* Huge pages in its page table are large folios; of smaller ones only the pages tell. */
static enum pm_state state_folios(const struct area *a, const struct facts *f)
{
	if (a->huge && f->direct == PM_NO)
		return PM_YES;
	if (f->direct == PM_YES || (f->is_probed && !f->is_tmpfs && f->large_folios == PM_NO))
		return PM_NO;
	return f->direct == PM_NO ? folios_of(a) : PM_UNKNOWN;
}

static void fill_file(struct cell *cells, const struct area *a, const struct facts *f, const struct cached *cached)
{
	struct locks_of_file locks = locks_of(a->major, a->minor, a->inode);
	cells[COULD] = TEXT_CELL(pm_granularity_name(f->granularity));
	cells[COULD_REASON] = TEXT_CELL(f->is_probed ? pm_reason_name(f->reason) : NULL);
	cells[GRADE] = TEXT_CELL(f->is_probed ? pm_grade_name(f->grade) : NULL);
	cells[CACHED] = cached->is_known ? NUMBER_CELL(cached->cached) : UNKNOWN_CELL;
	cells[DIRTY] = cached->is_known ? NUMBER_CELL(cached->dirty) : UNKNOWN_CELL;
	cells[WRITEBACK] = cached->is_known ? NUMBER_CELL(cached->write_back) : UNKNOWN_CELL;
	/* There is no page cache. */
	if (f->direct == PM_YES)
		cells[CACHED] = cells[DIRTY] = cells[WRITEBACK] = NUMBER_CELL(0);
	/* On overlay those of maps may be numbers of the layer, on which no lock is listed. */
	bool is_known = locks.is_known && (!f->is_overlay || locks.record_locks + locks.flocks + locks.leases);
	cells[LOCKS] = is_known ? NUMBER_CELL(locks.record_locks) : UNKNOWN_CELL;
	cells[FLOCKS] = is_known ? NUMBER_CELL(locks.flocks) : UNKNOWN_CELL;
	cells[LEASES] = is_known ? NUMBER_CELL(locks.leases) : UNKNOWN_CELL;
	cells[NOTE] = TEXT_CELL(f->obstacle ? f->obstacle : "");
}

static void fill(struct cell *cells, const struct area *a, const char *command, const struct mapping_state *m)
{
	cells[PID] = NUMBER_CELL((uint64_t)a->pid);
	cells[COMMAND] = TEXT_CELL(command);
	cells[START] = NUMBER_CELL(a->start);
	cells[SIZE] = NUMBER_CELL(a->end - a->start);
	cells[OFFSET] = NUMBER_CELL(a->offset);
	cells[ACCESS] = TEXT_CELL(a->is_writable ? "rw" : "r");
	cells[GRANULARITY] = TEXT_CELL(pm_granularity_name(m->granularity));
	cells[SYNC] = TEXT_CELL(pm_state_name(m->sync));
	cells[DIRECT] = TEXT_CELL(pm_state_name(m->direct));
	cells[DURABLE] = TEXT_CELL(pm_state_name(m->durable));
	cells[REASON] = TEXT_CELL(m->reason);
	cells[RESIDENT] = NUMBER_CELL(a->resident);
	cells[INODE] = NUMBER_CELL(a->inode);
	cells[PATH] = TEXT_CELL(a->path);
}

static enum pm_state state_met(unsigned required, const struct mapping_state *m)
{
	enum pm_state met = PM_YES;
	if (required & REQUIRE_SYNC)
		met = state_worst(met, m->sync);
	if (required & REQUIRE_DIRECT)
		met = state_worst(met, m->direct);
	if (required & REQUIRE_DURABLE)
		met = state_worst(met, m->durable);
	return met;
}

static enum status show(struct output *out, const struct scope_rows *found, const struct request *request)
{
	enum pm_state met = PM_YES;
	char command[64] = "";
	pid_t pid = 0;
	locks_read();
	for (size_t i = 0; i < found->areas.count; i++) {
		const struct area *a = &found->areas.list[i];
		struct cached cached = {.is_known = false};
		struct cell cells[COLUMNS];
		const struct facts *f = facts_of(a, request->is_counted ? &cached : NULL);
		if (f->is_no_file)
			continue;
		if (a->pid != pid)
			command_of(pid = a->pid, command, sizeof(command));
		struct mapping_state m = mapping_state_of(a, f);
		fill(cells, a, command, &m);
		fill_file(cells, a, f, &cached);
		cells[FOLIOS] = TEXT_CELL(request->asks_folios ? pm_state_name(state_folios(a, f)) : NULL);
		output_row(out, cells);
		met = state_worst(met, state_met(request->required, &m));
	}
	return request->required ? status_of(met) : STATUS_MET;
}

static enum status list(struct request *request)
{
	struct output out;
	struct scope_rows found;
	if (output_begin(&out, "ps", columns, COLUMNS, &request->form))
		return usage("ps");
	request->is_counted =
		output_wants(&out, "cached") || output_wants(&out, "dirty") || output_wants(&out, "writeback");
	request->asks_folios = output_wants(&out, "folios");
	int rc = scope_read(&request->scope, &found);
	enum status status = show(&out, &found, request);
	if (rc)
		status = status_worst(status == STATUS_MET ? STATUS_UNKNOWN : status, STATUS_UNKNOWN);
	if (found.unseen)
		output_note(&out, "this user may not look at %u of the processes, which may have mappings too",
		            found.unseen);
	if (request->required && (found.unseen || !out.rows))
		status = status_worst(status, STATUS_UNKNOWN);
	areas_free(&found.areas);
	return output_end(&out, status);
}

enum status command_ps(int argc, char **argv)
{
	static const struct option options[] = {
		COMMON_OPTIONS, SCOPE_OPTIONS, {"require", required_argument, NULL, 'R'}, {0}};
	struct request request = {.required = REQUIRE_NOTHING};
	for (int option; (option = option_next(argc, argv, COMMON_LETTERS SCOPE_LETTERS, options)) != -1;) {
		int taken = scope_take(&request.scope, option);
		if (taken < 0)
			return usage("ps");
		if (taken || form_take(&request.form, option))
			continue;
		if (option == 'h') {
			printf("%s", help);
			output_list_columns(columns, COLUMNS);
			return STATUS_MET;
		}
		if (option != 'R' || requirement_parse(optarg, &request.required))
			return usage("ps");
	}
	if (optind < argc) {
		say("ps takes no argument \"%s\"; --file=PATH asks for one file", argv[optind]);
		return usage("ps");
	}
	return list(&request);
}

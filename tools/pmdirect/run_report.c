/* SPDX-License-Identifier: BSD-3-Clause */
/* The report of pmdirect run: a row a process and file. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "run.h"
#include "text.h"

enum {
	PID,
	PROGRAM,
	SIZE,
	ACCESS,
	MAPS,
	GRANULARITY,
	COULD,
	SYNC,
	DIRECT,
	DURABLE,
	REASON,
	COULD_REASON,
	MSYNCS,
	MSYNCS_ASYNC,
	ASKED,
	ACCELERATED,
	BY_LINES,
	BY_KERNEL,
	FSYNCS,
	FDATASYNCS,
	RANGE_SYNCS,
	WRITES,
	WRITE_BYTES,
	CHANGES,
	ERRORS,
	WAITED,
	WRITTEN,
	DEVICE_BYTES,
	AMPLIFICATION,
	SITES,
	INODE,
	NOTE,
	PATH,
	COLUMNS
};

static const struct column columns[] = {
	[PID] = {"pid", COLUMN_COUNT, true, "the process"},
	[PROGRAM] = {"program", COLUMN_PATH, false, "its executable"},
	[SIZE] = {"size", COLUMN_BYTES, true, "of the longest mapping of the file"},
	[ACCESS] = {"access", COLUMN_TEXT, true, "rw: stores were possible in one of them; r: in none"},
	[MAPS] = {"maps", COLUMN_COUNT, false, "mappings of the file that were made, or moved"},
	[GRANULARITY] = {"granularity", COLUMN_TEXT, true, "what a store needs there: byte, cache line, page, none"},
	[COULD] = {"could", COLUMN_TEXT, false, "the granularity that pm_map() would have had"},
	[SYNC] = {"sync", COLUMN_TEXT, true, "whether user space may commit alone: yes, no, unknown"},
	[DIRECT] = {"direct", COLUMN_TEXT, true, "whether no page cache lies in between: yes, no, unknown"},
	[DURABLE] = {"durable", COLUMN_TEXT, false, "whether a durability call survives a power failure"},
	[REASON] = {"reason", COLUMN_TEXT, true, "the first fact in the way; no-map-sync: mapped without MAP_SYNC"},
	[COULD_REASON] = {"could_reason", COLUMN_TEXT, false, "the first fact in the way of pm_map()"},
	[MSYNCS] = {"msyncs", COLUMN_COUNT, true, "calls of msync(2) with MS_SYNC"},
	[MSYNCS_ASYNC] = {"async_msyncs", COLUMN_COUNT, false, "calls of msync(2) without it, which wait for nothing"},
	[ASKED] = {"asked", COLUMN_BYTES, true, "bytes of the ranges of all msync(2)"},
	[ACCELERATED] = {"accelerated", COLUMN_COUNT, false, "mappings of which --accelerate serves msyncs by lines"},
	[BY_LINES] = {"by_lines", COLUMN_COUNT, false, "msyncs that it served by lines"},
	[BY_KERNEL] = {"by_kernel", COLUMN_TEXT, false, "msyncs that it left to the kernel, and why"},
	[FSYNCS] = {"fsyncs", COLUMN_COUNT, true, "calls of fsync(2)"},
	[FDATASYNCS] = {"fdatasyncs", COLUMN_COUNT, true, "calls of fdatasync(2)"},
	[RANGE_SYNCS] = {"range_syncs", COLUMN_COUNT, false, "calls of sync_file_range(2), which make nothing durable"},
	[WRITES] = {"writes", COLUMN_COUNT, false, "calls of write(2) and the like"},
	[WRITE_BYTES] = {"write_bytes", COLUMN_BYTES, false, "bytes of these"},
	[CHANGES] = {"changes", COLUMN_COUNT, false, "calls of ftruncate(2), fallocate(2), mremap(2) and the like"},
	[ERRORS] = {"errors", COLUMN_COUNT, false, "msync(2), fsync(2) and the like that failed"},
	[WAITED] = {"waited_us", COLUMN_COUNT, true, "microseconds in these calls, of all threads"},
	[WRITTEN] = {"written", COLUMN_BYTES, false,
                     "bytes that the kernel charged to the process, of all files: write_bytes of /proc/PID/io"},
	[DEVICE_BYTES] = {"device_bytes", COLUMN_BYTES, false,
                          "bytes that the file's device wrote meanwhile, for all processes"},
	[AMPLIFICATION] = {"amplification", COLUMN_RATIO, false, "device_bytes / (asked + write_bytes)"},
	[SITES] = {"call_sites", COLUMN_TEXT, false,
                   "which functions called msync(2), fsync(2) and the like, how often"},
	[INODE] = {"inode", COLUMN_COUNT, false, "of the file"},
	[NOTE] = {"note", COLUMN_TEXT, false, "why something is unknown"},
	[PATH] = {"path", COLUMN_PATH, true, "of the file, as the process saw it"},
};

int report_check(const struct run_form *form)
{
	struct output out;
	if (output_begin(&out, "run", columns, COLUMNS, &form->form))
		return -1;
	return 0;
}

void report_list_columns(void)
{
	output_list_columns(columns, COLUMNS);
}

#define NUMBER_OF(row, member) NUMBER_CELL(atomic_load(&(row)->member))

/* The answer to the row, or to that of the process that it was forked from. */
static const struct row_answer *answer_to(const struct answers *answers, const struct ledger_row *row)
{
	const struct row_answer *a = answers->rows[row - answers->ledger->row];
	for (uint32_t up = row->parent_row; (!a || !a->is_asked) && up && up <= LEDGER_ROWS;) {
		a = answers->rows[up - 1];
		up = answers->ledger->row[up - 1].parent_row;
	}
	return a && a->is_asked ? a : NULL;
}

static void fill_state(struct cell *cells, const struct ledger_row *row, const struct row_answer *a)
{
	struct facts unknown = {.obstacle = "pmdirect run did not get to look at the file"};
	struct area area = {.has_flags = true,
	                    .is_sync = atomic_load(&row->is_sync),
	                    .is_writable = atomic_load(&row->is_writable)};
	const struct facts *f = a ? &a->facts : &unknown;
	struct mapping_state m = mapping_state_of(&area, f);
	cells[GRANULARITY] = TEXT_CELL(pm_granularity_name(m.granularity));
	cells[SYNC] = TEXT_CELL(pm_state_name(m.sync));
	cells[DIRECT] = TEXT_CELL(pm_state_name(m.direct));
	cells[DURABLE] = TEXT_CELL(pm_state_name(m.durable));
	cells[REASON] = TEXT_CELL(m.reason);
	cells[COULD] = TEXT_CELL(pm_granularity_name(f->granularity));
	cells[COULD_REASON] = TEXT_CELL(f->is_probed ? pm_reason_name(f->reason) : NULL);
	cells[NOTE] = TEXT_CELL(f->obstacle ? f->obstacle : "");
	cells[PATH] = TEXT_CELL(a ? a->path : NULL);
}

static void fill_counts(struct cell *cells, const struct ledger_row *row)
{
	cells[SIZE] = NUMBER_OF(row, longest);
	cells[ACCESS] = TEXT_CELL(atomic_load(&row->is_writable) ? "rw" : "r");
	cells[MAPS] = NUMBER_OF(row, maps);
	cells[MSYNCS] = NUMBER_OF(row, msyncs);
	cells[MSYNCS_ASYNC] = NUMBER_OF(row, msyncs_async);
	cells[ASKED] = NUMBER_OF(row, msync_bytes);
	cells[ACCELERATED] = NUMBER_OF(row, marks);
	cells[BY_LINES] = NUMBER_OF(row, by_lines);
	cells[FSYNCS] = NUMBER_OF(row, fsyncs);
	cells[FDATASYNCS] = NUMBER_OF(row, fdatasyncs);
	cells[RANGE_SYNCS] = NUMBER_OF(row, range_syncs);
	cells[WRITES] = NUMBER_OF(row, writes);
	cells[WRITE_BYTES] = NUMBER_OF(row, write_bytes);
	cells[CHANGES] = NUMBER_OF(row, changes);
	cells[ERRORS] = NUMBER_OF(row, errors);
	cells[WAITED] = NUMBER_CELL(atomic_load(&row->nanoseconds) / 1000);
	cells[INODE] = NUMBER_CELL(row->inode);
}

static uint64_t written_by(const struct ledger_process *p, const struct run_form *form)
{
	uint64_t ended = atomic_load(&p->ended);
	if (!ended && p->pid == form->child && form->has_ended)
		ended = form->child_written;
	/* A zombie still has its counts. */
	bool is_there = atomic_load(&p->state) == PROCESS_COVERED && process_image(p) != IMAGE_OTHER;
	return !ended && is_there ? process_written(p->pid) : ended;
}

static void fill_written(struct cell *cells, const struct ledger_row *row, const struct row_answer *a,
                         const struct ledger_process *p, const struct run_form *form)
{
	uint64_t begun = atomic_load(&p->begun), ended = written_by(p, form), device;
	uint64_t asked = atomic_load(&row->msync_bytes) + atomic_load(&row->write_bytes);
	cells[WRITTEN] = begun && ended >= begun ? NUMBER_CELL(ended - begun) : UNKNOWN_CELL;
	cells[DEVICE_BYTES] = cells[AMPLIFICATION] = UNKNOWN_CELL;
	/* Stores to a direct mapping pass the block layer, and its counter. */
	if (!a || !a->counts_device || a->facts.direct != PM_NO || !device_written(row->major, row->minor, &device))
		return;
	cells[DEVICE_BYTES] = NUMBER_CELL(device - a->device_written);
	if (asked)
		cells[AMPLIFICATION] = NUMBER_CELL((device - a->device_written) * 100 / asked);
}

static char *appended(char *text, char *more)
{
	char *longer = text_format("%s%s", text, more);
	free(text);
	free(more);
	return longer;
}

/* "function+0x1f (object) < its caller 12; ..." */
static char *sites_of(const struct answers *answers, const struct ledger_row *row)
{
	const struct row_answer *a = answers->rows[row - answers->ledger->row];
	char *all = text_copy("");
	for (unsigned i = 0; a && i < LEDGER_SITES; i++) {
		uint64_t calls = atomic_load(&row->sites[i].calls);
		if (!calls || !a->frames[i][0].address)
			continue;
		if (*all)
			all = appended(all, text_copy("; "));
		for (unsigned frame = 0; frame < LEDGER_FRAMES && a->frames[i][frame].address; frame++) {
			if (frame)
				all = appended(all, text_copy(" < "));
			all = appended(all, symbol_of(&a->frames[i][frame]));
		}
		all = appended(all, text_format(" %" PRIu64, calls));
	}
	uint64_t others = atomic_load(&row->other_sites);
	return others ? appended(all, text_format("; other places %" PRIu64, others)) : all;
}

/* "length 60, range 2" */
static char *by_kernel_of(const struct ledger_row *row)
{
	static const char *const names[WHYS] = {
		[WHY_MAPPING] = "mapping", [WHY_FLAGS] = "flags",     [WHY_RANGE] = "range", [WHY_LENGTH] = "length",
		[WHY_CHILD] = "child",     [WHY_COVERED] = "covered", [WHY_BUSY] = "busy",   [WHY_REFUSED] = "refused",
	};
	char *all = text_copy("");
	for (unsigned why = 0; why < WHYS; why++) {
		uint64_t calls = atomic_load(&row->by_kernel[why]);
		if (calls && names[why])
			all = appended(all, text_format("%s%s %" PRIu64, *all ? ", " : "", names[why], calls));
	}
	return all;
}

static void add_row(struct output *out, const struct answers *answers, const struct ledger_row *row,
                    const struct run_form *form)
{
	struct cell cells[COLUMNS];
	const struct ledger_process *p = &answers->ledger->process[row->process % LEDGER_PROCESSES];
	const struct row_answer *a = answer_to(answers, row);
	char *sites = sites_of(answers, row), *by_kernel = by_kernel_of(row);
	cells[PID] = NUMBER_CELL((uint64_t)p->pid);
	cells[PROGRAM] = TEXT_CELL(p->program);
	cells[SITES] = TEXT_CELL(sites);
	cells[BY_KERNEL] = TEXT_CELL(by_kernel);
	fill_state(cells, row, a);
	fill_counts(cells, row);
	fill_written(cells, row, a, p, form);
	output_row(out, cells);
	free(sites);
	free(by_kernel);
}

/* ---- What was not covered ---- */

/* What limits the report is part of it: of one in a file too, since stderr is the program's then. */
struct notes {
	struct output *out;
	const struct run_form *form;
	char *text; /* lines that follow the table in the file */
};

__attribute__((format(printf, 2, 3))) static void note(struct notes *notes, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	char *sentence = text_format_list(format, arguments);
	va_end(arguments);
	if (!notes->form->is_in_file)
		say("%s", sentence);
	output_remark(notes->out, sentence);
	char *longer = text_format("%s%s\n", notes->text ? notes->text : "", sentence);
	free(notes->text);
	notes->text = longer;
	free(sentence);
}

/* What was not covered is said aloud, wherever the report goes. */
static void note_expected(struct notes *notes, const struct ledger_process *p)
{
	char *limit = NULL, *path = find_program(p->program);
	char *why = path ? check_coverable(path, &limit) : NULL;
	char *sentence = text_format("process %d (%s) is not covered: %s", (int)p->pid, p->program,
	                             why ? why : "the companion was not loaded, or did not find pmdirect run");
	note(notes, "%s", sentence);
	if (notes->form->is_in_file)
		say("%s", sentence);
	free(sentence);
	free(why);
	free(limit);
	free(path);
}

static void note_processes(struct notes *notes, const struct ledger *l)
{
	unsigned running = 0, covered = atomic_load(&l->covered);
	for (uint32_t i = 0; i < atomic_load(&l->processes) && i < LEDGER_PROCESSES; i++) {
		const struct ledger_process *p = &l->process[i];
		uint32_t state = atomic_load(&p->state);
		if (state == PROCESS_EXPECTED)
			note_expected(notes, p);
		else if (state == PROCESS_COVERED && notes->form->has_ended && p->pid != notes->form->child &&
		         process_image(p) == IMAGE_SAME)
			running++;
	}
	if (running == 1)
		note(notes, "1 covered process still runs, and is counted no further");
	else if (running)
		note(notes, "%u covered processes still run, and are counted no further", running);
	if (!notes->out->rows && covered)
		note(notes, "no file was mapped shared, in %u covered program%s", covered, covered == 1 ? "" : "s");
}

static void note_losses(struct notes *notes, const struct ledger *l)
{
	if (atomic_load(&l->has_no_stacks))
		note(notes, "call sites have no callers: libunwind is not there, or a standard descriptor was closed");
	unsigned processes = atomic_load(&l->processes_lost), rows = atomic_load(&l->rows_lost),
		 maps = atomic_load(&l->maps_lost);
	if (processes)
		note(notes, "processes that are not in the report, which has room for %d: %u", LEDGER_PROCESSES,
		     processes);
	if (rows)
		note(notes, "files of processes that are not in the report, which has room for %d: %u", LEDGER_ROWS,
		     rows);
	if (maps)
		note(notes, "mappings and files that are not counted, as a process has room for 4096 and 1023: %u",
		     maps);
}

enum status report(struct answers *answers, const struct run_form *form)
{
	struct output out;
	if (output_begin(&out, "run", columns, COLUMNS, &form->form))
		return STATUS_UNKNOWN;
	pthread_mutex_lock(&answers->lock);
	struct ledger *l = answers->ledger;
	for (uint32_t i = 0; i < atomic_load(&l->rows) && i < LEDGER_ROWS; i++)
		if (atomic_load(&l->row[i].state) == ROW_USED)
			add_row(&out, answers, &l->row[i], form);
	struct notes notes = {.out = &out, .form = form};
	note_processes(&notes, l);
	note_losses(&notes, l);
	pthread_mutex_unlock(&answers->lock);
	enum status status = output_end(&out, STATUS_MET);
	if (form->is_in_file && !form->form.json && notes.text)
		printf("%s", notes.text);
	free(notes.text);
	return status;
}

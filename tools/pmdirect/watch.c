/* SPDX-License-Identifier: BSD-3-Clause */
/* pmdirect watch: what happens to a file, or to the mappings of processes, a line each. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "facts.h"
#include "locks.h"
#include "place.h"
#include "scope.h"
#include "text.h"

enum { TIME, EVENT, PID, START, GRANULARITY, COULD, SYNC, DIRECT, REASON, OFFSET, LENGTH, SENTENCE, PATH, COLUMNS };

static struct column columns[] = {
	[TIME] = {"time", COLUMN_TEXT, true, "of this line: UTC, ISO 8601, milliseconds"},
	[EVENT] = {"event", COLUMN_TEXT, true, "now, mapped, changed, unmapped, or of pm_events(7)"},
	[PID] = {"pid", COLUMN_COUNT, false, "the process"},
	[START] = {"start", COLUMN_ADDRESS, false, "the address of the mapping"},
	[GRANULARITY] = {"granularity", COLUMN_TEXT, true, "since then"},
	[COULD] = {"could", COLUMN_TEXT, false, "what pm_map() would get, since then"},
	[SYNC] = {"sync", COLUMN_TEXT, true, "since then"},
	[DIRECT] = {"direct", COLUMN_TEXT, true, "since then"},
	[REASON] = {"reason", COLUMN_TEXT, true, "the first fact in the way, or the cause of the event"},
	[OFFSET] = {"offset", COLUMN_COUNT, false, "of the range of the file, in bytes"},
	[LENGTH] = {"length", COLUMN_COUNT, false, "of that range, in bytes"},
	[SENTENCE] = {"sentence", COLUMN_TEXT, false, "the event in words"},
	[PATH] = {"path", COLUMN_PATH, true, "of the file"},
};

static const char help[] =
	"usage: pmdirect watch [OPTIONS] -p PID,... | PATH\n"
	"\n"
	"What changes, a line each, as it happens: in the mappings of processes, or of a file, which is mapped for\n"
	"reading meanwhile. The first lines say how it is now. Exit status: 0 when it ends, 1 it cannot be\n"
	"mapped, 2 it cannot be watched.\n"
	"\n"
	"  -p, --pid=LIST     the shared file mappings of these processes\n"
	"  -f, --file=PATH    of these, the mappings of one file\n"
	"  -w, --writable     of these, those that stores can be made to\n"
	"  --interval=MS      between two looks; 1000\n"
	"  --for=SECONDS      ends then; otherwise with the process, or at an interrupt\n" COMMON_HELP;

#define INTERVAL_MAX 1000000000 /* milliseconds */
#define SECONDS_MAX 1000000000

struct request {
	struct form form;
	struct scope scope;
	long interval, seconds; /* milliseconds; 0: without an end */
	const char *path;
};

static volatile sig_atomic_t is_interrupted;

static void interrupt(int signal)
{
	(void)signal;
	is_interrupted = 1;
}

static int64_t milliseconds(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const char *time_now(void)
{
	static char text[40];
	struct tm tm;
	int64_t now = milliseconds(CLOCK_REALTIME);
	time_t seconds = (time_t)(now / 1000);
	gmtime_r(&seconds, &tm);
	size_t length = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + length, sizeof(text) - length, ".%03dZ", (int)(now % 1000));
	return text;
}

/* Milliseconds until the next look, at most the interval; 0: the end. */
static int until_next(const struct request *request, int64_t began)
{
	int64_t left =
		request->seconds ? began + request->seconds * 1000 - milliseconds(CLOCK_MONOTONIC) : request->interval;
	if (is_interrupted || left <= 0 || ferror(stdout))
		return 0;
	return (int)(left < request->interval ? left : request->interval);
}

static void fill_states(struct cell *cells, enum pm_granularity g, enum pm_state sync, enum pm_state direct,
                        const char *reason)
{
	for (size_t i = 0; i < COLUMNS; i++)
		cells[i] = columns[i].kind == COLUMN_TEXT ? TEXT_CELL("") : NO_CELL;
	cells[TIME] = TEXT_CELL(time_now());
	cells[GRANULARITY] = TEXT_CELL(pm_granularity_name(g));
	cells[SYNC] = TEXT_CELL(pm_state_name(sync));
	cells[DIRECT] = TEXT_CELL(pm_state_name(direct));
	cells[REASON] = TEXT_CELL(reason);
}

/* ---- A file, by a mapping of the library ---- */

static void put_event(struct output *out, const char *path, const struct pm_event *e)
{
	struct cell cells[COLUMNS];
	char sentence[1024] = "";
	/* The first look at a mapping that was just made: the line "now" has said it. */
	if (e->old_granularity == PM_GRANULARITY_UNKNOWN && e->new_granularity != PM_GRANULARITY_UNKNOWN)
		return;
	pm_explain_event(e, sentence, sizeof(sentence));
	/* The call is the next look of this command. */
	char *call = strstr(sentence, " The call came from ");
	if (call)
		*call = 0;
	fill_states(cells, e->new_granularity, e->sync, e->direct, pm_reason_name(e->reason));
	cells[EVENT] = TEXT_CELL(pm_event_name(e->kind));
	cells[OFFSET] = NUMBER_CELL(e->offset);
	cells[LENGTH] = NUMBER_CELL(e->length);
	cells[SENTENCE] = TEXT_CELL(sentence);
	cells[PATH] = TEXT_CELL(path);
	output_row(out, cells);
}

static void put_report(struct output *out, const char *path, const struct pm_report *r)
{
	struct cell cells[COLUMNS];
	char sentence[4096] = "";
	pm_explain(r, sentence, sizeof(sentence));
	fill_states(cells, r->granularity, r->sync, r->direct, pm_reason_name(r->reason));
	cells[EVENT] = TEXT_CELL("now");
	cells[OFFSET] = NUMBER_CELL(r->offset);
	cells[LENGTH] = NUMBER_CELL(r->length);
	cells[SENTENCE] = TEXT_CELL(sentence);
	cells[PATH] = TEXT_CELL(path);
	output_row(out, cells);
}

/* Until the end, or until the library cannot look any more. */
static int follow(struct output *out, const struct request *request, struct pm_mapping *m, int event_fd)
{
	int64_t began = milliseconds(CLOCK_MONOTONIC);
	struct pollfd ready = {.fd = event_fd, .events = POLLIN};
	int rc = 0;
	for (int left = 1; !rc && left;) {
		struct pm_event e = {.size = sizeof(e)};
		while (!(rc = pm_next_event(m, &e, sizeof(e))))
			put_event(out, request->path, &e);
		/* One event is lost; those that come are not. */
		if (rc == -ENOMEM)
			say("%s", pm_error_detail());
		rc = rc == -EAGAIN || rc == -ENOMEM ? 0 : rc;
		left = until_next(request, began);
		if (left)
			poll(&ready, 1, left);
	}
	return rc;
}

/* What stands in the way of a mapping of the path, in a sentence; NULL: nothing that is seen without opening it. */
static char *obstacle_of(const char *path, int *error)
{
	struct place place;
	place_look(path, &place);
	char *sentence = place_obstacle(path, &place, error);
	if (sentence)
		return sentence;
	*error = -EBUSY;
	if (place.lease_holder)
		return text_format("%s: process %d has a lease on the file, which an open would break", path,
		                   (int)place.lease_holder);
	*error = -EISDIR;
	if (place.kind == PLACE_DIRECTORY)
		return text_format("%s: it is a directory, and watch takes a file", path);
	*error = -EINVAL;
	if (place.kind == PLACE_FILE && !place.size)
		return text_format("%s: its size is 0, so there is nothing to map", path);
	return NULL;
}

static int map(struct output *out, const char *path, struct pm_mapping **m)
{
	struct pm_options o = {.size = sizeof(o), .flags = PM_READ_ONLY};
	int rc = 0;
	char *obstacle = obstacle_of(path, &rc);
	if (!obstacle)
		rc = pm_map(path, &o, m);
	if (rc)
		output_note(out, "%s", obstacle ? obstacle : pm_error_detail());
	free(obstacle);
	return rc;
}

static enum status watch_path(struct output *out, const struct request *request)
{
	struct pm_mapping *m;
	struct pm_report r;
	int rc = map(out, request->path, &m);
	if (rc)
		return is_unmappable(rc) ? STATUS_NOT_MET : STATUS_UNKNOWN;
	/* From here on changes are announced, so none falls between the first line and the next. */
	int event_fd = pm_event_fd(m);
	rc = event_fd < 0 ? event_fd : pm_query(m, &r, sizeof(r));
	if (!rc) {
		put_report(out, request->path, &r);
		rc = follow(out, request, m, event_fd);
	}
	if (rc)
		output_note(out, "%s", pm_error_detail());
	pm_unmap(m);
	return rc ? STATUS_UNKNOWN : STATUS_MET;
}

/* ---- Processes, by looking again ---- */

struct seen {
	struct area area;
	struct mapping_state state;
	enum pm_granularity could;
};

struct look {
	struct areas areas;
	struct seen *list;
	size_t count;
};

static void put_seen(struct output *out, const char *event, const struct seen *s)
{
	struct cell cells[COLUMNS];
	fill_states(cells, s->state.granularity, s->state.sync, s->state.direct, s->state.reason);
	cells[EVENT] = TEXT_CELL(event);
	cells[PID] = NUMBER_CELL((uint64_t)s->area.pid);
	cells[START] = NUMBER_CELL(s->area.start);
	cells[COULD] = TEXT_CELL(pm_granularity_name(s->could));
	cells[OFFSET] = NUMBER_CELL(s->area.offset);
	cells[LENGTH] = NUMBER_CELL(s->area.end - s->area.start);
	cells[PATH] = TEXT_CELL(s->area.path);
	output_row(out, cells);
}

/* What is true may have changed, so nothing of the look before counts. */
static int look_anew(struct scope *scope, struct look *look)
{
	struct scope_rows found;
	facts_forget();
	locks_read();
	int rc = scope_read(scope, &found);
	*look = (struct look){.areas = found.areas, .list = calloc(found.areas.count + 1, sizeof(*look->list))};
	if (!look->list)
		abort();
	for (size_t i = 0; i < found.areas.count; i++) {
		const struct facts *f = facts_of(&found.areas.list[i], NULL);
		if (!f->is_no_file)
			look->list[look->count++] = (struct seen){
				found.areas.list[i], mapping_state_of(&found.areas.list[i], f), f->granularity};
	}
	return rc;
}

static void look_end(struct look *look)
{
	areas_free(&look->areas);
	free(look->list);
}

static const struct seen *same_in(const struct look *look, const struct seen *s)
{
	for (size_t i = 0; i < look->count; i++) {
		const struct area *a = &look->list[i].area;
		if (a->pid == s->area.pid && a->start == s->area.start && a->end == s->area.end &&
		    a->offset == s->area.offset && a->inode == s->area.inode)
			return &look->list[i];
	}
	return NULL;
}

static bool differs(const struct seen *a, const struct seen *b)
{
	return a->state.granularity != b->state.granularity || a->state.sync != b->state.sync || a->could != b->could ||
	       a->state.direct != b->state.direct || strcmp(a->state.reason, b->state.reason) != 0;
}

static void compare(struct output *out, const struct look *before, const struct look *now)
{
	for (size_t i = 0; i < before->count; i++)
		if (!same_in(now, &before->list[i]))
			put_seen(out, "unmapped", &before->list[i]);
	for (size_t i = 0; i < now->count; i++) {
		const struct seen *old = same_in(before, &now->list[i]);
		if (!old)
			put_seen(out, "mapped", &now->list[i]);
		else if (differs(old, &now->list[i]))
			put_seen(out, "changed", &now->list[i]);
	}
}

static enum status watch_processes(struct output *out, const struct request *request)
{
	struct look before, now;
	struct scope scope = request->scope;
	int64_t began = milliseconds(CLOCK_MONOTONIC);
	if (look_anew(&scope, &before)) {
		look_end(&before);
		return STATUS_UNKNOWN;
	}
	for (size_t i = 0; i < before.count; i++)
		put_seen(out, "now", &before.list[i]);
	for (int left; (left = until_next(request, began)) > 0;) {
		poll(NULL, 0, left);
		look_anew(&scope, &now);
		compare(out, &before, &now);
		look_end(&before);
		before = now;
		if (!scope.pid_count)
			break;
	}
	look_end(&before);
	return STATUS_MET;
}

/* ---- The command ---- */

static int parse(int argc, char **argv, struct request *request)
{
	static const struct option options[] = {COMMON_OPTIONS,
	                                        SCOPE_OPTIONS,
	                                        {"interval", required_argument, NULL, 'i'},
	                                        {"for", required_argument, NULL, 's'},
	                                        {0}};
	for (int option; (option = option_next(argc, argv, COMMON_LETTERS SCOPE_LETTERS, options)) != -1;) {
		int taken = option == 'a' ? -1 : scope_take(&request->scope, option);
		if (taken > 0 || (!taken && form_take(&request->form, option)))
			continue;
		if (option == 'i')
			request->interval = option_number(optarg, 1, INTERVAL_MAX);
		else if (option == 's')
			request->seconds = option_number(optarg, 1, SECONDS_MAX);
		else if (option == 'h')
			return 1;
		else
			return option == 'a' ? (say("--all is no option of watch"), -1) : -1;
	}
	if (request->interval < 0 || request->seconds < 0)
		return say("--interval takes milliseconds, --for seconds"), -1;
	request->path = optind < argc ? argv[optind] : NULL;
	if (!request->path == !request->scope.pid_count || optind + 1 < argc)
		return say("watch takes -p PID or one path"), -1;
	if (request->path && (request->scope.file || request->scope.only_writable))
		return say("--file and --writable choose among the mappings of -p"), -1;
	return 0;
}

enum status command_watch(int argc, char **argv)
{
	struct request request = {.interval = 1000};
	struct output out;
	int rc = parse(argc, argv, &request);
	if (rc > 0) {
		printf("%s", help);
		output_list_columns(columns, COLUMNS);
		return STATUS_MET;
	}
	columns[PID].is_standard = request.scope.pid_count > 1;
	if (rc || output_begin(&out, "watch", columns, COLUMNS, &request.form))
		return usage("watch");
	out.is_stream = true;
	const struct sigaction end = {.sa_handler = interrupt};
	sigaction(SIGINT, &end, NULL);
	sigaction(SIGTERM, &end, NULL);
	enum status status = request.path ? watch_path(&out, &request) : watch_processes(&out, &request);
	return output_end(&out, status);
}

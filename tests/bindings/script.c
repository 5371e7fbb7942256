/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs conformance.script by the C interface. Usage: conformance SCRIPT, in an empty directory */
#include <errno.h>
#include <fcntl.h>
#include <pmdirect.h>
#include <unistd.h>

#include "conformance.h"

static struct pm_mapping *mapping;

static char *at(long long offset)
{
	return (char *)pm_base(mapping) + offset;
}

static void result(int value)
{
	printf("%d\n", value);
}

static void print_bytes(const char *bytes, long long length)
{
	printf("%.*s\n", (int)length, bytes);
}

/* ---- Life ---- */

static struct pm_options options_of(unsigned flags, uint64_t length)
{
	struct pm_options options = {.size = sizeof(options), .flags = flags, .length = length};
	return options;
}

static int map_descriptor(const struct line *line)
{
	struct pm_options options = options_of((unsigned)number(line, 2), (uint64_t)number(line, 3));
	int fd = open(line->word[1], O_RDWR | O_CLOEXEC);
	int error;
	if (mapping && fd >= 0) {
		close(fd);
		return -EBUSY; /* the script has one mapping */
	}
	error = pm_map_fd(fd, &options, &mapping);
	if (!(options.flags & PM_BORROW_FD))
		close(fd);
	return error;
}

static int life(const struct line *line)
{
	struct pm_options options = options_of((unsigned)number(line, 2), (uint64_t)number(line, 3));
	int error;
	if (is(line, "map")) {
		error = pm_map(line->word[1], &options, &mapping);
	} else if (is(line, "map-at")) {
		options = options_of(0, (uint64_t)number(line, 3));
		options.offset = (uint64_t)number(line, 2);
		error = pm_map(line->word[1], &options, &mapping);
	} else if (is(line, "guarantee")) {
		options.sync = PM_GUARANTEE;
		options.length = options.flags & PM_CREATE ? 4096 : 0;
		error = pm_map(line->word[1], &options, &mapping);
	} else if (is(line, "map-fd")) {
		error = map_descriptor(line);
	} else if (is(line, "resize")) {
		error = pm_resize(mapping, (uint64_t)number(line, 1));
	} else if (is(line, "give-up")) {
		error = pm_give_up(mapping, at(number(line, 1)), (size_t)number(line, 2));
	} else if (is(line, "unmap")) {
		error = pm_unmap(mapping);
		mapping = NULL;
	} else {
		return 0;
	}
	result(error);
	return 1;
}

/* ---- Durability ---- */

static int commit(const struct line *line)
{
	struct pm_range ranges[WORDS];
	size_t count = 0;
	for (int i = 1; i < line->count; i++) {
		char *colon;
		ranges[count].address = at(strtoll(line->word[i], &colon, 10));
		ranges[count++].length = strtoul(colon + 1, NULL, 10);
	}
	return pm_commit(mapping, ranges, count);
}

static int durability(const struct line *line)
{
	size_t second = (size_t)number(line, 2);
	char *address = mapping && line->count > 1 ? at(number(line, 1)) : NULL;
	if (is(line, "flush"))
		result(pm_flush(mapping, address, second));
	else if (is(line, "drain"))
		result(pm_drain(mapping));
	else if (is(line, "persist"))
		result(pm_persist(mapping, address, second));
	else if (is(line, "deep-persist"))
		result(pm_deep_persist(mapping, address, second));
	else if (is(line, "sync"))
		result(pm_sync(mapping));
	else if (is(line, "commit"))
		result(commit(line));
	else if (is(line, "publish"))
		result(pm_publish64(mapping, (uint64_t *)(void *)address, (uint64_t)number(line, 2)));
	else if (is(line, "clear-error"))
		result(pm_clear_error(mapping));
	else if (is(line, "clear-bad-blocks"))
		result(pm_clear_bad_blocks(mapping, address, second));
	else
		return 0;
	return 1;
}

static void read_bytes(const struct line *line, const char *address)
{
	char bytes[64];
	int error = pm_read(mapping, bytes, address, (size_t)number(line, 2));
	if (error)
		result(error);
	else
		print_bytes(bytes, number(line, 2));
}

static int copies(const struct line *line)
{
	char *address = mapping && line->count > 1 ? at(number(line, 1)) : NULL;
	const char *text = line->count > 2 ? line->word[2] : "";
	unsigned last = (unsigned)number(line, line->count - 1);
	if (is(line, "store")) {
		memcpy(address, text, strlen(text));
		result(0);
	} else if (is(line, "load")) {
		print_bytes(address, number(line, 2));
	} else if (is(line, "word")) {
		printf("%llu\n", (unsigned long long)*(uint64_t *)(void *)address);
	} else if (is(line, "copy")) {
		result(pm_memcpy(mapping, address, text, strlen(text), last));
	} else if (is(line, "move")) {
		result(pm_memmove(mapping, address, at(number(line, 2)), (size_t)number(line, 3), last));
	} else if (is(line, "fill")) {
		result(pm_memset(mapping, address, (int)number(line, 2), (size_t)number(line, 3), last));
	} else if (is(line, "read")) {
		read_bytes(line, address);
	} else if (is(line, "write")) {
		result(pm_write(mapping, address, text, strlen(text)));
	} else {
		return 0;
	}
	return 1;
}

/* ---- Truth ---- */

static void print_explanation(const struct pm_report *report)
{
	char text[2048];
	pm_explain(report, text, sizeof(text));
	printf("%s\n", text);
}

static void print_quirks(const struct pm_report *report)
{
	const struct pm_quirk *quirk = pm_quirk(report, 0);
	printf("%s", quirk ? quirk->name : "none");
	for (size_t i = 1; (quirk = pm_quirk(report, i)); i++)
		printf(" %s", quirk->name);
	putchar('\n');
}

static void print_report(const struct pm_report *report, const char *field)
{
	if (!strcmp(field, "granularity"))
		puts(pm_granularity_name(report->granularity));
	else if (!strcmp(field, "sync"))
		puts(pm_state_name(report->sync));
	else if (!strcmp(field, "direct"))
		puts(pm_state_name(report->direct));
	else if (!strcmp(field, "verdict"))
		puts(pm_verdict_name(report->verdict));
	else if (!strcmp(field, "reason"))
		puts(pm_reason_name(report->reason));
	else if (!strcmp(field, "advice"))
		puts(pm_advice_name(report->advice));
	else if (!strcmp(field, "explain"))
		print_explanation(report);
	else if (!strcmp(field, "quirks"))
		print_quirks(report);
	else
		printf("%lld\n", !strcmp(field, "grade")          ? (long long)report->grade
		                 : !strcmp(field, "sync-request") ? (long long)report->sync_request
		                 : !strcmp(field, "error")        ? (long long)report->error
		                 : !strcmp(field, "offset")       ? (long long)report->offset
		                 : !strcmp(field, "length")       ? (long long)report->length
		                                                  : (long long)report->size);
}

static int probe(const struct line *line, struct pm_report *report)
{
	int fd, error;
	if (is(line, "probe"))
		return pm_probe(line->word[1], NULL, report, sizeof(*report));
	fd = open(line->word[1], O_RDWR | O_CLOEXEC);
	error = pm_probe_fd(fd, NULL, report, sizeof(*report));
	close(fd);
	return error;
}

static int reports(const struct line *line)
{
	struct pm_report report;
	struct pm_statistics counts;
	int error;
	if (is(line, "query") || is(line, "evidence")) {
		error = pm_query(mapping, &report, sizeof(report));
	} else if (is(line, "probe") || is(line, "probe-fd")) {
		error = probe(line, &report);
	} else if (is(line, "statistics")) {
		error = pm_statistics(mapping, &counts, sizeof(counts));
	} else {
		return 0;
	}
	if (error)
		result(error);
	else if (is(line, "evidence"))
		puts(pm_state_name(report.evidence[number(line, 1)].state));
	else if (is(line, "statistics"))
		printf("%llu\n", (unsigned long long)(!strcmp(line->word[1], "flushes")     ? counts.flushes
		                                      : !strcmp(line->word[1], "demotions") ? counts.demotions
		                                                                            : counts.size));
	else
		print_report(&report, line->word[line->count - 1]);
	return 1;
}

static void next_event(void)
{
	struct pm_event event;
	int error = pm_next_event(mapping, &event, sizeof(event));
	if (error)
		puts(error == -EAGAIN ? "none" : pm_strerror(error));
	else
		puts(pm_event_name(event.kind));
}

static const char *name_of(const char *kind, int value)
{
	return !strcmp(kind, "granularity") ? pm_granularity_name((enum pm_granularity)value)
	       : !strcmp(kind, "state")     ? pm_state_name((enum pm_state)value)
	       : !strcmp(kind, "request")   ? pm_request_name((enum pm_request)value)
	       : !strcmp(kind, "access")    ? pm_access_name((enum pm_access)value)
	       : !strcmp(kind, "grade")     ? pm_grade_name((enum pm_grade)value)
	       : !strcmp(kind, "verdict")   ? pm_verdict_name((enum pm_verdict)value)
	       : !strcmp(kind, "evidence")  ? pm_evidence_name((enum pm_evidence_row)value)
	       : !strcmp(kind, "advice")    ? pm_advice_name((enum pm_advice)value)
	       : !strcmp(kind, "event")     ? pm_event_name((enum pm_event_kind)value)
	                                    : pm_reason_name((enum pm_reason)value);
}

static void others(const struct line *line)
{
	char header[32];
	snprintf(header, sizeof(header), "%d.%d.%d", PM_VERSION_MAJOR, PM_VERSION_MINOR, PM_VERSION_PATCH);
	if (is(line, "version"))
		puts(strcmp(pm_version(), header) ? "another" : "same");
	else if (is(line, "detail"))
		puts(strstr(pm_error_detail(), line->word[1]) ? "named" : "not named");
	else if (is(line, "length"))
		printf("%llu\n", (unsigned long long)pm_length(mapping));
	else if (is(line, "granularity"))
		puts(pm_granularity_name(pm_granularity_of(mapping)));
	else if (is(line, "find"))
		puts(pm_find(at(number(line, 1))) == mapping ? "mine" : "none");
	else if (is(line, "event-fd"))
		puts(pm_event_fd(mapping) > 2 ? "ok" : "not ok");
	else if (is(line, "event"))
		next_event();
	else if (is(line, "truncate"))
		result(truncate(line->word[1], number(line, 2)));
	else if (is(line, "exists"))
		puts(access(line->word[1], F_OK) ? "no" : "yes");
	else if (is(line, "name"))
		puts(name_of(line->word[1], (int)number(line, 2)));
	else if (is(line, "strerror"))
		puts(pm_strerror((int)number(line, 1)));
	else
		puts("?");
}

int main(int argc, char **argv)
{
	FILE *script = argc == 2 ? fopen(argv[1], "re") : NULL;
	struct line line;
	if (!script)
		return 2;
	while (next_line(script, &line))
		if (!life(&line) && !durability(&line) && !copies(&line) && !reports(&line))
			others(&line);
	fclose(script);
	return 0;
}

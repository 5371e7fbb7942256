/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pmdirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define MOST_ROUNDS 1000
#define MOST_COMPETITORS 8
#define QUICK_PART 8 /* of the rounds, and of the operations of each */
#define QUICK_ROUNDS 5

static const char *asked = "";
static FILE *json;
static bool quick;

/* Of the last measurement, in ns an operation. */
static double cost[MOST_COMPETITORS][MOST_ROUNDS];
static int rounds_taken;
static size_t turn;
static bool takes_turns;

double bench_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

bool bench_quick(void)
{
	return quick;
}

size_t bench_turn(void)
{
	takes_turns = true;
	return turn;
}

int bench_order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

void bench_options(int *argc, char **argv, const char *question)
{
	int left = 1;
	asked = question;
	for (int i = 1; i < *argc; i++) {
		if (!strcmp(argv[i], "--quick")) {
			quick = true;
		} else if (!strcmp(argv[i], "--json") && i + 1 < *argc) {
			json = fopen(argv[++i], "a");
			if (!json) {
				perror(argv[i]);
				exit(2);
			}
		} else {
			argv[left++] = argv[i];
		}
	}
	*argc = left;
	argv[left] = NULL;
	/* In order with what the other stream says, and a line at a time on a terminal. */
	setvbuf(stdout, NULL, _IOLBF, 0);
}

/* ---- JSON ---- */

static void put_string(const char *text)
{
	fputc('"', json);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', json);
		fputc((unsigned char)*text < ' ' ? ' ' : *text, json);
	}
	fputc('"', json);
}

/* Every object has a first entry already. */
static void put(const char *name, const char *text)
{
	if (!json)
		return;
	fputs(", ", json);
	put_string(name);
	fputs(": ", json);
	put_string(text);
}

/* ---- Results ---- */

struct spread {
	double low, median, high; /* quartiles */
};

static struct spread spread_of(const double *values, int count)
{
	static double sorted[MOST_ROUNDS];
	memcpy(sorted, values, (size_t)count * sizeof(*values));
	qsort(sorted, (size_t)count, sizeof(*sorted), bench_order);
	return (struct spread){sorted[count / 4], sorted[count / 2], sorted[count - 1 - count / 4]};
}

static void put_spread(const char *name, struct spread s)
{
	fprintf(json, ", \"%s\": [%.6g, %.6g, %.6g]", name, s.low, s.median, s.high);
}

static void put_result(const char *what, const char *name)
{
	fputs("{\"program\": ", json);
	put_string(program_invocation_short_name);
	put("question", asked);
	put("case", what);
	put("competitor", name);
}

static void print_result(const char *name, double ns, double ratio)
{
	printf("  %-28s %12.1f ns   x%.3f\n", name, ns, ratio);
}

/* The first of them that is the library's. */
static size_t ours_of(const struct competitor *c, size_t count)
{
	size_t i = 0;
	while (i < count && strncmp(c[i].name, "pm_", 3) != 0 && strcmp(c[i].name, "pmdirect_vfs") != 0)
		i++;
	return i;
}

static void divide(const double *a, const double *b, double *ret_ratio, int count)
{
	for (int i = 0; i < count; i++)
		ret_ratio[i] = a[i] / b[i];
}

void bench_write(const char *what, const struct competitor *c, size_t count)
{
	static double ratio[MOST_ROUNDS];
	size_t ours = ours_of(c, count);
	for (size_t i = 0; i < count && json; i++) {
		put_result(what, c[i].name);
		fprintf(json, ", \"rounds\": %d", rounds_taken);
		put_spread("ns", spread_of(cost[i], rounds_taken));
		divide(cost[i], cost[0], ratio, rounds_taken);
		put_spread("ratio", spread_of(ratio, rounds_taken));
		if (ours < count) {
			/* Round by round, because the machine's moods are common to both. */
			divide(cost[ours], cost[i], ratio, rounds_taken);
			put("ours", c[ours].name);
			put_spread("ours_to_this", spread_of(ratio, rounds_taken));
		}
		fputs("}\n", json);
	}
	if (json)
		fflush(json);
}

/* A run of each is not measured: the memory was another's before. */
static void warm_up(const struct competitor *c, size_t count, size_t operations, size_t new_turn)
{
	turn = new_turn;
	for (size_t i = 0; i < count; i++)
		c[i].run(c[i].arg, operations);
}

void bench_measure(const struct competitor *c, size_t count, size_t operations, int rounds, struct bench_result *ret)
{
	static double ratio[MOST_ROUNDS];
	if (quick) {
		rounds = rounds / QUICK_PART > QUICK_ROUNDS ? rounds / QUICK_PART : QUICK_ROUNDS;
		operations = (operations + QUICK_PART - 1) / QUICK_PART;
	}
	if (count > MOST_COMPETITORS || rounds > MOST_ROUNDS)
		abort();
	for (int round = 0; round < rounds; round++) {
		size_t new_turn = takes_turns ? (size_t)round * count / (size_t)rounds : 0;
		if (!round || turn != new_turn)
			warm_up(c, count, operations, new_turn);
		/* The order turns, and turns round: no competitor always goes first, or always after the same one. */
		for (size_t k = 0; k < count; k++) {
			size_t i = (k + (size_t)round / 2) % count;
			i = round % 2 ? count - 1 - i : i;
			double start = bench_now();
			c[i].run(c[i].arg, operations);
			cost[i][round] = (bench_now() - start) / (double)operations;
		}
	}
	rounds_taken = rounds;
	for (size_t i = 0; i < count; i++) {
		divide(cost[i], cost[0], ratio, rounds);
		ret[i] = (struct bench_result){spread_of(cost[i], rounds).median, spread_of(ratio, rounds).median};
	}
}

void bench_compare(const char *what, const struct competitor *c, size_t count, size_t operations, int rounds)
{
	struct bench_result result[MOST_COMPETITORS];
	bench_measure(c, count, operations, rounds, result);
	printf("%s\n", what);
	for (size_t i = 0; i < count; i++)
		print_result(c[i].name, result[i].cost, result[i].ratio);
	bench_write(what, c, count);
}

void bench_figures(const char *what, const struct bench_figure *figures, size_t count)
{
	printf("%s\n", what);
	for (size_t i = 0; i < count; i++) {
		double value = figures[i].value, ratio = value / figures[0].value;
		print_result(figures[i].name, value, ratio);
		if (!json)
			continue;
		put_result(what, figures[i].name);
		put_spread("ns", (struct spread){value, value, value});
		put_spread("ratio", (struct spread){ratio, ratio, ratio});
		if (!strncmp(figures[0].name, "pm_", 3))
			put_spread("ours_to_this", (struct spread){1 / ratio, 1 / ratio, 1 / ratio});
		fputs("}\n", json);
	}
	if (json)
		fflush(json);
}

/* ---- The machine ---- */

static void say(const char *name, const char *text)
{
	printf("%s: %s\n", name, text);
	put(name, text);
}

/* The value behind "name : " in a line of /proc/cpuinfo, the first of them, into text. */
static void find_cpu(const char *name, char *text, size_t size)
{
	char line[256];
	FILE *f = fopen("/proc/cpuinfo", "r");
	snprintf(text, size, "unknown");
	while (f && fgets(line, sizeof(line), f)) {
		char *value = strchr(line, ':');
		size_t length = strcspn(line, "\t:");
		if (!value || length != strlen(name) || strncmp(line, name, length) != 0)
			continue;
		value[strcspn(value, "\n")] = 0;
		snprintf(text, size, "%s", value[1] ? value + 2 : "");
		break;
	}
	if (f)
		fclose(f);
}

static void say_cpu(void)
{
	char name[128], family[16], model[16], text[256];
	find_cpu("model name", name, sizeof(name));
	find_cpu("cpu family", family, sizeof(family));
	find_cpu("model", model, sizeof(model));
	snprintf(text, sizeof(text), "%s, family %s model %s, %ld of them", name, family, model,
	         sysconf(_SC_NPROCESSORS_ONLN));
	say("CPU", text);
}

/* How busy it was with other things. */
static void say_load(void)
{
	double load[1];
	char text[32] = "unknown";
	if (getloadavg(load, 1) == 1)
		snprintf(text, sizeof(text), "%.2f", load[0]);
	say("load", text);
}

static void say_evidence(const char *directory)
{
	char path[4096], text[128];
	struct pm_report r;
	struct pm_options options = {.size = sizeof(options), .flags = PM_CREATE, .length = 4096};
	snprintf(path, sizeof(path), "%s/bench.probe", directory);
	if (pm_probe(path, &options, &r, sizeof(r))) {
		say("file", pm_error_detail());
		return;
	}
	snprintf(text, sizeof(text), "%s, granularity %s, reason %s", r.evidence[PM_EV_FILE_SYSTEM].text,
	         pm_granularity_name(r.granularity), pm_reason_name(r.reason));
	say("file", text);
	for (int row = 0; row < PM_EVIDENCE_ROWS; row++) {
		const struct pm_evidence *e = &r.evidence[row];
		snprintf(text, sizeof(text), "%s%s%s", pm_state_name(e->state), e->text[0] ? " " : "", e->text);
		if (e->state != PM_UNKNOWN)
			put(pm_evidence_name((enum pm_evidence_row)row), text);
	}
}

void bench_machine(const char *directory)
{
	struct utsname name;
	char text[256] = "unknown";
	if (json) {
		fputs("{\"machine\": {\"program\": ", json);
		put_string(program_invocation_short_name);
	}
	if (!uname(&name))
		snprintf(text, sizeof(text), "%s %s", name.release, name.machine);
	say("kernel", text);
	say_cpu();
	say_load();
	if (directory)
		say_evidence(directory);
	if (json) {
		fputs("}}\n", json);
		fflush(json);
	}
}

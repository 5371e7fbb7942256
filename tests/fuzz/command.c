/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whatever the kernel's texts and the arguments of the command pmdirect say, its parsers neither crash nor let a
 * control character through. An input is a letter that chooses a parser, and the text: "amountinfo ...". replay.c runs
 * the corpus (tests/fuzz/command); scripts/fuzz makes new inputs with libFuzzer.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "area.h"
#include "command.h"
#include "doctor.h"
#include "fuzz.h"
#include "locks.h"
#include "place.h"
#include "scope.h"
#include "text.h"

bool fuzz_text_was_read;
static const char *text; /* ends with a null byte, which text_length does not count */
static size_t text_length;

/* ---- What the command asks of the machine (ld --wrap) ---- */

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
int __wrap_scandir(const char *directory, struct dirent ***list, int (*filter)(const struct dirent *),
                   int (*compare)(const struct dirent **, const struct dirent **));
void __wrap_place_look(const char *path, struct place *place);
void __wrap_place_ask(const char *path, const struct place *place, const struct pm_options *options,
                      struct answer *answer);

FILE *__wrap_fopen(const char *path, const char *mode)
{
	if (strncmp(path, "/proc/", 6) && strncmp(path, "/sys/", 5))
		return __real_fopen(path, mode);
	fuzz_text_was_read = true;
	return text_length ? fmemopen((void *)(uintptr_t)text, text_length, "r") : __real_fopen("/dev/null", "r");
}

/* The name that the C library has for it where offsets have 64 bits. */
FILE *__wrap_fopen64(const char *path, const char *mode) __attribute__((alias("__wrap_fopen")));

/* A machine that has one of each. */
int __wrap_scandir(const char *directory, struct dirent ***list, int (*filter)(const struct dirent *),
                   int (*compare)(const struct dirent **, const struct dirent **))
{
	static const char *const devices[] = {"namespace0.0", "nmem0", "region0"}, *const disk[] = {"sda"},
				 *const dax[] = {"dax0.0"};
	bool is_disk = strstr(directory, "block"), is_dax = strstr(directory, "dax");
	const char *const *names = is_disk ? disk : is_dax ? dax : devices;
	int count = is_disk || is_dax ? 1 : 3;
	(void)filter;
	(void)compare;
	*list = malloc((size_t)count * sizeof(**list));
	for (int i = 0; i < count; i++) {
		(*list)[i] = calloc(1, sizeof(***list));
		strcpy((*list)[i]->d_name, names[i]);
	}
	return count;
}

int __wrap_scandir64(const char *directory, struct dirent ***list, int (*filter)(const struct dirent *),
                     int (*compare)(const struct dirent **, const struct dirent **))
	__attribute__((alias("__wrap_scandir")));

void __wrap_place_look(const char *path, struct place *place)
{
	(void)path;
	*place = (struct place){.kind = PLACE_DIRECTORY};
}

void __wrap_place_ask(const char *path, const struct place *place, const struct pm_options *options,
                      struct answer *answer)
{
	(void)place;
	(void)options;
	*answer = (struct answer){.error = text_length & 1 ? -EACCES : 0, .sentence = text_copy(path)};
	answer->report.size = sizeof(answer->report);
	answer->report.granularity = PM_PAGE;
	answer->report.direct = text_length & 2 ? PM_YES : PM_NO;
}

/* ---- The parsers ---- */

static void examine_all(bool is_table)
{
	static const struct column columns[] = {{"level", COLUMN_TEXT, true, ""}, {"area", COLUMN_TEXT, true, ""},
	                                        {"subject", COLUMN_PATH, true, ""}, {"evidence", COLUMN_TEXT, true, ""},
	                                        {"advice", COLUMN_TEXT, true, ""}};
	const struct form form = {.json = !is_table};
	struct output out;
	struct doctor d = {.out = &out, .is_table = is_table};
	if (output_begin(&out, "doctor", columns, 5, &form))
		abort();
	doctor_mounts(&d);
	doctor_regions(&d);
	doctor_disks(&d);
	output_end(&out, STATUS_MET);
}

static void examine_table(void)
{
	examine_all(true);
}

static void examine_json(void)
{
	examine_all(false);
}

static void read_areas(void)
{
	struct areas areas = {.count = 0};
	char command[32];
	areas_read(&areas, 1);
	command_of(1, command, sizeof(command));
	locks_read();
	for (size_t i = 0; i < areas.count; i++) {
		const struct area *a = &areas.list[i];
		struct locks_of_file locks = locks_of(a->major, a->minor, a->inode);
		char *shown = text_printable(a->path);
		printf("%s %u\n", shown, locks.leases);
		free(shown);
	}
	areas_free(&areas);
}

static void read_locks(void)
{
	locks_read();
	struct locks_of_file locks = locks_of(0xfe, 0, 1234);
	printf("%u %u %u\n", locks.record_locks, locks.flocks, locks.leases);
}

static void take_arguments(void)
{
	static const struct column columns[] = {{"path", COLUMN_PATH, true, ""}, {"size", COLUMN_BYTES, false, ""}};
	const struct form form = {.columns = text};
	struct scope scope = {.pid_count = 0};
	struct output out;
	unsigned required;
	fuzz_text_was_read = true;
	if (!output_begin(&out, "probe", columns, 2, &form)) {
		const struct cell cells[] = {TEXT_CELL(text), NUMBER_CELL(text_length)};
		output_row(&out, cells);
		output_end(&out, STATUS_MET);
	}
	requirement_parse(text, &required);
	optarg = (char *)(uintptr_t)text;
	scope_take(&scope, 'p');
	if (option_number(text, 1, 3600) > 3600)
		abort();
}

static void show_text(void)
{
	fuzz_text_was_read = true;
	char *shown = text_printable(text);
	say("%s", text);
	printf("%s\n", shown);
	text_json(stdout, text);
	printf("\n%zu %d\n", text_columns(shown), text_is_utf8(text));
	if (!text_is_utf8(shown))
		abort();
	free(shown);
}

static void (*const parsers[])(void) = {examine_table, examine_json, read_areas, read_locks, take_arguments, show_text};

/* What reaches a terminal or a program: lines of UTF-8 that print. */
static void check(const char *written, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (((unsigned char)written[i] < ' ' && written[i] != '\n') || written[i] == 0x7f) {
			fprintf(stderr, "a control character was written: %.*s\n", (int)length, written);
			abort();
		}
	}
	if (strlen(written) != length || !text_is_utf8(written)) {
		fprintf(stderr, "no UTF-8 was written: %s\n", written);
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || data[0] < 'a' || data[0] >= 'a' + sizeof(parsers) / sizeof(parsers[0]))
		return -1; /* not kept */
	char *copy = malloc(size), *written = NULL;
	size_t length = 0;
	memcpy(copy, data + 1, size - 1);
	copy[size - 1] = 0;
	text = copy;
	text_length = size - 1;
	fuzz_text_was_read = false;
	FILE *out = stdout, *err = stderr, *stream = open_memstream(&written, &length);
	stdout = stderr = stream;
	parsers[data[0] - 'a']();
	stdout = out;
	stderr = err;
	fclose(stream);
	check(written, length);
	free(written);
	free(copy);
	return 0;
}

void fuzz_end(void)
{
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "doctor.h"
#include "text.h"

enum { LEVEL, AREA, SUBJECT, EVIDENCE, ADVICE, COLUMNS };

static const struct column columns[] = {
	[LEVEL] = {"level", COLUMN_TEXT, true, "ok, note, unknown, warning, bad"},
	[AREA] = {"area", COLUMN_TEXT, true, "cpu, kernel, region, namespace, dimm, device-dax, mount, disk"},
	[SUBJECT] = {"subject", COLUMN_PATH, true, "which one"},
	[EVIDENCE] = {"evidence", COLUMN_TEXT, true, "what was found"},
	[ADVICE] = {"advice", COLUMN_TEXT, true, "what to do about it"},
};

static const char *const levels[] = {"ok", "note", "unknown", "warning", "bad"};

bool findings_begin(struct doctor *d, struct output *out, const struct form *form)
{
	*d = (struct doctor){.out = out, .is_table = !form->json && !form->columns, .worst = LEVEL_OK};
	return !output_begin(out, "doctor", columns, COLUMNS, form);
}

void findings_list_columns(void)
{
	output_list_columns(columns, COLUMNS);
}

void finding(struct doctor *d, enum level level, const char *area, const char *subject, const char *advice,
             const char *evidence, ...)
{
	va_list arguments;
	va_start(arguments, evidence);
	char *text = text_format_list(evidence, arguments);
	va_end(arguments);
	d->worst = level > d->worst ? level : d->worst;
	d->has_unknown |= level == LEVEL_UNKNOWN;
	if (d->is_table) {
		char *shown = text_printable(subject), *said = text_printable(text);
		printf("%-8s %s %s: %s\n", levels[level], area, shown, said);
		if (*advice)
			printf("%-8s %s\n", "", advice);
		free(shown);
		free(said);
	} else {
		const struct cell cells[COLUMNS] = {
			[LEVEL] = TEXT_CELL(levels[level]), [AREA] = TEXT_CELL(area),
			[SUBJECT] = TEXT_CELL(subject),     [EVIDENCE] = TEXT_CELL(text),
			[ADVICE] = TEXT_CELL(advice),
		};
		output_row(d->out, cells);
	}
	free(text);
}

bool sysfs_line(char *text, size_t size, const char *format, ...)
{
	char path[512];
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(path, sizeof(path), format, arguments);
	va_end(arguments);
	text[0] = 0;
	FILE *f = length > 0 && (size_t)length < sizeof(path) ? fopen(path, "re") : NULL;
	if (!f)
		return false;
	bool is_read = fgets(text, (int)size, f) != NULL;
	text[strcspn(text, "\n")] = 0;
	fclose(f);
	return is_read;
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

int for_each_entry(const char *directory, void (*act)(struct doctor *d, const char *name), struct doctor *d)
{
	struct dirent **entries;
	int count = scandir(directory, &entries, is_visible, versionsort);
	for (int i = 0; i < count; i++) {
		act(d, entries[i]->d_name);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	return count;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is this mapping, and why? Maps an existing file, or creates FILE with -c BYTES, and prints the report with all
 * its evidence. Usage: why [-c BYTES] FILE
 */
#include <inttypes.h>
#include <pmdirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_row(enum pm_evidence_row row, const struct pm_evidence *e)
{
	char value[96] = "", error[64] = "";
	if (e->text[0])
		snprintf(value, sizeof(value), " %s", e->text);
	else if (e->value)
		snprintf(value, sizeof(value), " %" PRIu64, e->value);
	if (e->error)
		snprintf(error, sizeof(error), " (%.50s)", pm_strerror(e->error));
	printf("  %-26s %-8s%s%s  [%s]\n", pm_evidence_name(row), pm_state_name(e->state), value, error, e->source);
}

static void print_report(const struct pm_report *r)
{
	char text[1024];
	printf("granularity %s, sync %s, direct %s, reason %s\n", pm_granularity_name(r->granularity),
	       pm_state_name(r->sync), pm_state_name(r->direct), pm_reason_name(r->reason));
	pm_explain(r, text, sizeof(text));
	printf("%s\nEvidence:\n", text);
	for (int row = 0; row < PM_EVIDENCE_ROWS; row++)
		print_row((enum pm_evidence_row)row, &r->evidence[row]);
}

int main(int argc, char **argv)
{
	struct pm_options options = {.size = sizeof(options)};
	struct pm_mapping *mapping;
	struct pm_report report;

	if (argc == 4 && !strcmp(argv[1], "-c")) {
		options.flags = PM_CREATE;
		options.length = strtoull(argv[2], NULL, 0);
	} else if (argc != 2) {
		return fprintf(stderr, "usage: %s [-c BYTES] FILE\n", argv[0]), 2;
	}
	if (pm_map(argv[argc - 1], &options, &mapping) || pm_query(mapping, &report, sizeof(report)))
		return fprintf(stderr, "%s\n", pm_error_detail()), 1;
	print_report(&report);
	return pm_unmap(mapping) ? 1 : 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* pmdirect doctor: what of this machine makes mappings durable or direct, and what prevents it. */
#include <stdio.h>

#include "command.h"
#include "doctor.h"

static const char help[] =
	"usage: pmdirect doctor [OPTIONS]\n"
	"\n"
	"What of this machine makes mapped files durable and direct, and what prevents it: a line of\n"
	"evidence and a line of advice each. Nothing is changed. Exit status: 0 nothing is bad, 1 something\n"
	"is, 2 something is not known.\n"
	"\n" COMMON_HELP;

static enum status examine(const struct form *form)
{
	struct output out;
	struct doctor d;
	if (!findings_begin(&d, &out, form))
		return usage("doctor");
	doctor_cpu(&d);
	doctor_regions(&d);
	doctor_mounts(&d);
	doctor_disks(&d);
	doctor_kernel(&d);
	return output_end(&out, d.worst == LEVEL_BAD ? STATUS_NOT_MET : d.has_unknown ? STATUS_UNKNOWN : STATUS_MET);
}

enum status command_doctor(int argc, char **argv)
{
	static const struct option options[] = {COMMON_OPTIONS, {0}};
	struct form form = {.json = false};
	for (int option; (option = option_next(argc, argv, COMMON_LETTERS, options)) != -1;) {
		if (form_take(&form, option))
			continue;
		if (option != 'h')
			return usage("doctor");
		printf("%s", help);
		findings_list_columns();
		return STATUS_MET;
	}
	if (optind < argc) {
		say("doctor takes no argument");
		return usage("doctor");
	}
	return examine(&form);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

int requirement_parse(const char *list, unsigned *ret)
{
	static const struct {
		const char *name;
		enum requirement bit;
	} words[] = {{"sync", REQUIRE_SYNC}, {"direct", REQUIRE_DIRECT}, {"durable", REQUIRE_DURABLE}};
	unsigned bits = 0;
	for (const char *at = list;; at++) {
		size_t length = strcspn(at, ","), i = 0;
		while (i < 3 && (strlen(words[i].name) != length || strncmp(words[i].name, at, length)))
			i++;
		if (i == 3) {
			say("--require: \"%.*s\" is none of sync, direct and durable", (int)length, at);
			return -1;
		}
		bits |= words[i].bit;
		at += length;
		if (!*at)
			break;
	}
	*ret = bits;
	return 0;
}

enum pm_state state_worst(enum pm_state a, enum pm_state b)
{
	if (a == PM_NO || b == PM_NO)
		return PM_NO;
	return a == PM_UNKNOWN || b == PM_UNKNOWN ? PM_UNKNOWN : PM_YES;
}

/* What became of the file so that nothing stored in it is kept, whatever the medium is. */
static bool is_lost(enum pm_reason reason)
{
	switch (reason) {
	case PM_REASON_READ_ONLY:
	case PM_REASON_SHUT_DOWN:
	case PM_REASON_DEVICE_GONE:
	case PM_REASON_TRUNCATED:
	case PM_REASON_UNLINKED:
	case PM_REASON_UNNAMED:
	case PM_REASON_WRITE_BACK_FAILED:
		return true;
	default:
		return false;
	}
}

enum pm_state state_durable(const struct pm_report *report)
{
	if (report->granularity == PM_NONE || is_lost(report->reason))
		return PM_NO;
	if (report->granularity > PM_PAGE)
		return PM_YES;
	bool is_known = report->granularity == PM_PAGE && report->evidence[PM_EV_VOLATILE].state == PM_NO &&
	                report->evidence[PM_EV_DEVICE_FLUSH].state == PM_YES;
	return is_known ? PM_YES : PM_UNKNOWN;
}

enum status status_of(enum pm_state state)
{
	return state == PM_YES ? STATUS_MET : state == PM_NO ? STATUS_NOT_MET : STATUS_UNKNOWN;
}

enum status status_worst(enum status a, enum status b)
{
	if (a == STATUS_NOT_MET || b == STATUS_NOT_MET)
		return STATUS_NOT_MET;
	return a == STATUS_MET ? b : a;
}

int option_next(int argc, char **argv, const char *letters, const struct option *options)
{
	/* getopt_long(3) would write the argument as it is. */
	opterr = 0;
	int option = getopt_long(argc, argv, letters, options, NULL);
	if (option == '?')
		say("\"%s\" is no option, or its argument is missing or too much", argv[optind - 1]);
	return option;
}

long option_number(const char *text, long least, long most)
{
	char *end;
	errno = 0;
	long number = strtol(text, &end, 10);
	return *text && !*end && !errno && number >= least && number <= most ? number : -1;
}

bool form_take(struct form *form, int option)
{
	if (option == 'j')
		form->json = true;
	else if (option == 'n')
		form->no_headings = true;
	else if (option == 'o')
		form->columns = optarg;
	return option == 'j' || option == 'n' || option == 'o';
}

enum status usage(const char *command)
{
	say("see pmdirect %s --help", command);
	return STATUS_UNKNOWN;
}

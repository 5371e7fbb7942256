/* SPDX-License-Identifier: BSD-3-Clause */
/* The subcommands. Each gets the arguments from its own name on. */
#ifndef COMMAND_H
#define COMMAND_H

#include <getopt.h>
#include <pmdirect.h>

#include "output.h"

enum status command_probe(int argc, char **argv);
enum status command_explain(int argc, char **argv);
enum status command_doctor(int argc, char **argv);
enum status command_ps(int argc, char **argv);
enum status command_watch(int argc, char **argv);
enum status command_bench(int argc, char **argv);
/* The status is that of the program. */
enum status command_run(int argc, char **argv);

/* What --require asks for. */
enum requirement { REQUIRE_NOTHING = 0, REQUIRE_SYNC = 1, REQUIRE_DIRECT = 2, REQUIRE_DURABLE = 4 };

/* A list such as "sync,durable" into *ret. 0, or -1 with a line on stderr. */
int requirement_parse(const char *list, unsigned *ret);
/* Of three states: no before unknown, unknown before yes. */
enum pm_state state_worst(enum pm_state a, enum pm_state b);
/* Whether what a durability call returned 0 for survives a power failure there, as far as is known. */
enum pm_state state_durable(const struct pm_report *report);
enum status status_of(enum pm_state state);
/* The worse of the two: not met before unknown. */
enum status status_worst(enum status a, enum status b);

/* Options that all subcommands have. */
#define COMMON_OPTIONS                                                                                                 \
	{"json", no_argument, NULL, 'j'}, {"columns", required_argument, NULL, 'o'},                                   \
		{"no-headings", no_argument, NULL, 'n'},                                                               \
	{                                                                                                              \
		"help", no_argument, NULL, 'h'                                                                         \
	}
#define COMMON_LETTERS "o:nh"
#define COMMON_HELP                                                                                                    \
	"  --json             JSON instead of a table\n"                                                               \
	"  -o, --columns=LIST columns, by commas; +LIST: after the standard ones; all\n"                               \
	"  -n, --no-headings  no line of headings\n"                                                                   \
	"  -h, --help         this text\n"
/* As getopt_long(3), with a line on stderr for '?'. */
int option_next(int argc, char **argv, const char *letters, const struct option *options);
/* A decimal number and nothing behind it; -1: it is none, or not in that range. */
long option_number(const char *text, long least, long most);
/* Whether the option is one of them; 'h' is the caller's. */
bool form_take(struct form *form, int option);
enum status usage(const char *command);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* pmdirect: what mappings are, from outside, of any process and any path. */
#include <pmdirect.h>
#include <stdio.h>
#include <string.h>

#include "command.h"

static const struct {
	const char *name;
	enum status (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{"probe", command_probe, "what a mapping of a path would get"},
	{"explain", command_explain, "the same, with all evidence and advice"},
	{"ps", command_ps, "the shared file mappings of running processes"},
	{"watch", command_watch, "changes of a file or of mappings, as they happen"},
	{"bench", command_bench, "what a commit costs at a path"},
	{"run", command_run, "runs a program, and reports its shared file mappings"},
	{"doctor", command_doctor, "what of this machine makes mappings durable, and what prevents it"},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void help(void)
{
	printf("usage: pmdirect COMMAND [OPTIONS] ...\n\nWhether memory-mapped files are durable, and why not.\n\n");
	for (size_t i = 0; i < COMMANDS; i++)
		printf("  %-8s %s\n", commands[i].name, commands[i].help);
	printf("\n  --help, --version; pmdirect COMMAND --help\n\n"
	       "Data is on stdout, all else on stderr. Exit status: 0 met, 1 not met, 2 not known, or a mistake in\n"
	       "the arguments. The manual: pmdirect(1).\n");
}

static int run(size_t command, int argc, char **argv)
{
	static char name[] = "pmdirect";
	/* getopt_long(3) begins its complaints with it. */
	argv[0] = name;
	return (int)output_close(commands[command].run(argc, argv));
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(word, commands[i].name))
			return run(i, argc - 1, argv + 1);
	if (!strcmp(word, "--version"))
		return printf("pmdirect %s\n", pm_version()), (int)output_close(STATUS_MET);
	if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help"))
		return help(), (int)output_close(STATUS_MET);
	if (*word)
		say("there is no command \"%s\"", word);
	say("see pmdirect --help");
	return STATUS_UNKNOWN;
}

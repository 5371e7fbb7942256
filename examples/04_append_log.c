/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A log that survives a power failure at any moment; how it does is in append_log.c.
 *
 *   append_log FILE append TEXT...   append each TEXT; it is durable when its sequence number is printed
 *   append_log FILE list             print the records
 *   append_log FILE verify           look, change nothing; exits with 4 if something follows the last record
 *   append_log FILE recover          make it ready for appending: discard what follows the last record
 *
 * FILE soak and FILE soaked are for tests that cut the power: see append_log_soak.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "append_log.h"
#include "append_log_soak.h"

#define EXIT_UNSOUND 4

static int complain(const char *path, int error)
{
	fprintf(stderr, "%s: %s\n", path, append_log_error(error));
	return 1;
}

static void summarise(const char *path, const struct append_log *log)
{
	printf("%s: %" PRIu64 " records, then %" PRIu64 " bytes that are none, granularity %s\n", path, log->last,
	       log->discarded, pm_granularity_name(pm_granularity_of(log->mapping)));
}

static int append(const char *path, char **texts, int count)
{
	struct append_log log;
	int rc = append_log_open(path, NULL, &log);
	if (rc)
		return complain(path, rc);
	for (int i = 0; i < count && !rc; i++) {
		rc = append_log_append(&log, texts[i], (uint32_t)strnlen(texts[i], APPEND_LOG_MAX + 1));
		if (!rc)
			printf("%" PRIu64 "\n", log.last);
	}
	int closed = append_log_close(&log);
	return rc || closed ? complain(path, rc ? rc : closed) : 0;
}

static int look(const char *path, bool list)
{
	struct append_log_options options = {.read_only = true};
	struct append_log_record record;
	struct append_log log;
	uint64_t position = 0;
	int rc = append_log_open(path, &options, &log);
	if (rc)
		return complain(path, rc);
	while (list && append_log_next(&log, &position, &record))
		printf("%" PRIu64 " %.*s\n", record.sequence, (int)record.length, (const char *)record.payload);
	if (!list)
		summarise(path, &log);
	rc = append_log_close(&log);
	if (rc)
		return complain(path, rc);
	return !list && log.discarded ? EXIT_UNSOUND : 0;
}

static int recover(const char *path)
{
	struct append_log log;
	int rc = append_log_open(path, NULL, &log);
	if (!rc) {
		summarise(path, &log);
		rc = append_log_close(&log);
	}
	return rc ? complain(path, rc) : 0;
}

int main(int argc, char **argv)
{
	const char *command = argc > 2 ? argv[2] : "";
	if (!strcmp(command, "append") && argc > 3)
		return append(argv[1], argv + 3, argc - 3);
	if (!strcmp(command, "list") && argc == 3)
		return look(argv[1], true);
	if (!strcmp(command, "verify") && argc == 3)
		return look(argv[1], false);
	if (!strcmp(command, "recover") && argc == 3)
		return recover(argv[1]);
	if (!strncmp(command, "soak", 4))
		return append_log_soak(argc, argv);
	fprintf(stderr, "usage: %s FILE append TEXT... | list | verify | recover\n", argv[0]);
	return 2;
}

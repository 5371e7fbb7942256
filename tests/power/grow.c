/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Creates and grows files without ever storing into them, so that only pm_map() and pm_resize() themselves can
 * have made name and size durable. Talks like append_log (append_log_soak.h), one step of growth for one record:
 *
 *   grow FILE soak LABEL SEED - FIRST
 *   grow FILE soaked LABEL SEED FIRST
 */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pmdirect.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../guest/check.h"

#define STEP 4096u
#define STEPS_MAX 12u

static const struct {
	const char *name;
	unsigned flags;
} kinds[] = {{"plain", 0}, {"sparse", PM_SPARSE}, {"plain", 0}, {"sparse", PM_SPARSE}, {"prepared", PM_PREPARE}};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct grow {
	const char *base, *label;
	uint64_t number;
	char path[PATH_MAX];
};

/* Whole steps that file number has beyond the first; -1 if it has not even that one, -2 if there is none. */
static int64_t steps_of(struct grow *g, uint64_t number)
{
	struct stat st;
	snprintf(g->path, sizeof(g->path), "%s.%" PRIu64, g->base, number);
	return stat(g->path, &st) ? -2 : (int64_t)st.st_size / STEP - 1;
}

static int grow_file(struct grow *g)
{
	int64_t steps = steps_of(g, g->number);
	bool new = steps == -2;
	if (steps < 0)
		steps = 0;
	struct pm_options options = {.size = sizeof(options), .flags = PM_CREATE | kinds[g->number % KINDS].flags};
	struct pm_mapping *m;
	options.length = (uint64_t)(steps + 1) * STEP;
	if (pm_map(g->path, &options, &m))
		return complain(g->path, "pm_map");
	dprintf(STDOUT_FILENO, "%s.%" PRIu64 " is %s %s: %s\n", g->label, g->number, kinds[g->number % KINDS].name,
	        new ? "new" : "resumed", pm_granularity_name(pm_granularity_of(m)));
	dprintf(STDOUT_FILENO, "%s.%" PRIu64 " %" PRIi64 "\n", g->label, g->number, steps);
	while (++steps <= STEPS_MAX) {
		if (pm_resize(m, (uint64_t)(steps + 1) * STEP))
			return complain(g->path, "pm_resize");
		dprintf(STDOUT_FILENO, "%s.%" PRIu64 " %" PRIi64 "\n", g->label, g->number, steps);
	}
	return pm_unmap(m) ? complain(g->path, "pm_unmap") : 0;
}

static int grow_files(struct grow *g)
{
	while (steps_of(g, g->number + 1) > -2)
		g->number++;
	int failed = 0;
	for (; !failed; g->number++)
		failed = grow_file(g);
	return failed;
}

static bool all_zero(const char *path)
{
	char block[STEP];
	bool zero = true;
	ssize_t got = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && zero && (got = read(fd, block, sizeof(block))) > 0)
		for (ssize_t i = 0; i < got; i++)
			zero = zero && !block[i];
	if (fd >= 0)
		close(fd);
	return fd >= 0 && zero && !got;
}

static int check_files(struct grow *g)
{
	int failed = 0;
	int64_t steps;
	for (; (steps = steps_of(g, g->number)) > -2; g->number++) {
		if (!all_zero(g->path)) {
			printf("%s.%" PRIu64 " is not all zeroes\n", g->label, g->number);
			failed = 1;
		}
		printf("%s.%" PRIu64 " recovered %" PRIi64 " %s 0\n", g->label, g->number, steps < 0 ? 0 : steps,
		       steps < 0 ? "made" : "found");
	}
	return failed;
}

int main(int argc, char **argv)
{
	bool soak = argc == 7 && !strcmp(argv[2], "soak"), soaked = argc == 6 && !strcmp(argv[2], "soaked");
	if (!soak && !soaked) {
		fprintf(stderr, "usage: %s FILE soak LABEL SEED - FIRST | soaked LABEL SEED FIRST\n", argv[0]);
		return 2;
	}
	struct grow g = {.base = argv[1], .label = argv[3], .number = strtoull(argv[argc - 1], NULL, 0)};
	return soak ? grow_files(&g) : check_files(&g);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What a path leads to, found without opening it, and what pm_probe() says of it. */
#ifndef PLACE_H
#define PLACE_H

#include <pmdirect.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum place_kind { PLACE_MISSING, PLACE_FILE, PLACE_DIRECTORY, PLACE_BLOCK_DEVICE, PLACE_DEVICE_DAX, PLACE_OTHER };

struct place {
	enum place_kind kind;
	int error; /* PLACE_MISSING: negative errno of statx(2) */
	uint64_t size;
	enum pm_state direct; /* STATX_ATTR_DAX, of a file that exists; device-dax */
	pid_t lease_holder; /* another process that has a lease on it; 0: /proc/locks shows none */
};

const char *place_kind_name(enum place_kind kind);
void place_look(const char *path, struct place *place);

/*
 * Why no mapping of it can be asked for, in a sentence, and in *error as a negative errno: it is not there, or pm_map()
 * maps no such thing. NULL: it can.
 */
char *place_obstacle(const char *path, const struct place *place, int *error);

/* The answer to a question about a place. */
struct answer {
	struct pm_report report; /* valid if error is 0 */
	int error;               /* negative, as of pm_probe() */
	bool is_read_only;       /* of a mapping for reading: the file cannot be opened for writing */
	bool is_new;             /* of a new file in the directory */
	bool is_held_back;       /* not asked, since the open would break a lease; only report.direct is known */
	char *sentence;          /* of the error, or of what was held back; NULL if there is none */
};

/* options: flags, sync and direct are used. */
void place_ask(const char *path, const struct place *place, const struct pm_options *options, struct answer *answer);
void answer_free(struct answer *answer);

/* Whether the error says that pm_map() cannot map it, rather than that this caller could not find out. */
bool is_unmappable(int error);

#endif

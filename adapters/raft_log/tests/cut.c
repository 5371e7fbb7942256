/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Appends until the power is cut, and says what is promised; afterwards, what is there: cut.py has the lines.
 *
 *   raft_cut before|after NAME DIRECTORY [control]
 *
 * Built once more with a pm_commit() that does nothing: what that promises is a control.
 */
#include "store_test.h"

#define LENGTH(index) ((size_t)(index) * 37 % 700)
#define TERM_EVERY 16
#define DROPPED 1000000000u /* a term */

static void before(const char *name, const char *verb)
{
	struct io io;
	open_io(&io);
	for (raft_index i = 1;; i++) {
		CHECK(!append(&io, i, 1, 1 + i / TERM_EVERY, LENGTH(i)), "%s", io.io.errmsg);
		printf("%s %s/%llu whole\n", verb, name, i);
		if (i % TERM_EVERY == 0) {
			CHECK(!io.io.set_term(&io.io, i), "%s", io.io.errmsg);
			printf("%s %s/term-%llu whole\n", verb, name, i);
		}
		fflush(stdout);
		/* Entries that are dropped again, and that nothing promises. */
		if (i % 100 == 0) {
			CHECK(!append(&io, i + 1, 3, DROPPED, 300), "%s", io.io.errmsg);
			CHECK(!io.io.truncate(&io.io, i + 1), "%s", io.io.errmsg);
		}
	}
}

static void after(const char *name)
{
	struct io io;
	open_io(&io);
	printf("note %s: %zu entries, term %llu, %s\n", name, io.count, io.term, pmdirect_raft_granularity(&io.io));
	for (raft_index i = 1; i <= io.count && io.entries[i - 1].term != DROPPED; i++) {
		check_entry(&io.entries[i - 1], i, 1 + i / TERM_EVERY, LENGTH(i));
		printf("found %s/%llu whole\n", name, i);
	}
	for (raft_term term = TERM_EVERY; term <= io.term; term += TERM_EVERY)
		printf("found %s/term-%llu whole\n", name, term);
	close_io(&io);
}

int main(int argc, char **argv)
{
	CHECK(argc > 3);
	strcpy(directory, argv[3]);
	mkdir(directory, 0755);
	if (!strcmp(argv[1], "before"))
		before(argv[2], argc > 4 ? argv[4] : "promise");
	else
		after(argv[2]);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Parts of `pmdirect run`: what can be covered, the answers to the processes that are, and the report. */
#ifndef RUN_H
#define RUN_H

#include <pthread.h>
#include <pmdirect.h>

#include "../preload/ledger.h"
#include "facts.h"
#include "output.h"

/* Where an address of a process lies. */
struct place_in_object {
	char *object;             /* its path; NULL: not known */
	uint64_t offset, address; /* in the file, and in the process */
};

/* What run found about a row when it was asked. */
struct row_answer {
	bool is_asked;
	char *path;    /* as the process sees it */
	uint64_t size; /* of the file */
	struct facts facts;
	bool counts_device;
	uint64_t device_written; /* bytes that the device had written until then */
	struct place_in_object frames[LEDGER_SITES][LEDGER_FRAMES];
};

struct answers {
	struct ledger *ledger;
	char path[64]; /* leads to the ledger */
	pthread_mutex_t lock;
	struct row_answer *rows[LEDGER_ROWS];
};

/* 0, or -1 with a line on stderr. The thread that answers blocks all signals. */
int answers_begin(struct answers *answers, bool accelerate, bool stacks);
/* Bytes that the block device has written since it is there. */
bool device_written(uint32_t major, uint32_t minor, uint64_t *ret);

/* The executable of a program that PATH has. NULL: covered, as far as is known before. Else why not; the caller
 * frees it. ret_note: what limits the cover, or NULL. */
char *check_coverable(const char *program, char **ret_note);
/* As execvp(3) finds it; NULL with errno. */
char *find_program(const char *name);

/* write_bytes of /proc/PID/io and 1; 0: not known. */
uint64_t process_written(int32_t pid);
/* What its pid stands for by now: nothing or a zombie, the program that it was covered in, or another one, which that
 * process or another one executes. */
enum image { IMAGE_GONE, IMAGE_SAME, IMAGE_OTHER };
enum image process_image(const struct ledger_process *process);

struct run_form {
	struct form form;
	bool is_in_file;
	int32_t child;
	uint64_t child_written; /* as process_written(), at its end; 0: it runs, or it is not known */
	bool has_ended;
};
enum status report(struct answers *answers, const struct run_form *form);
/* 0, or -1 with a line on stderr: a column is not there. */
int report_check(const struct run_form *form);
void report_list_columns(void);

/* "function+0x1f (object)" of a place; the caller frees it. */
char *symbol_of(const struct place_in_object *place);

#endif

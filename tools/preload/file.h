/* SPDX-License-Identifier: BSD-3-Clause */
/* The files that this process has mapped shared, and to which of them a descriptor leads. */
#ifndef FILE_H
#define FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ledger.h"

/* One inode. Never freed and never moved: a reader needs no lock. */
struct file {
	uint32_t major, minor;
	uint64_t inode;
	int64_t born;                     /* when it was made, in nanoseconds: the number of an inode is used again */
	_Atomic(struct ledger_row *) row; /* of this process; NULL: not yet, or there was no room */
	_Atomic bool has_no_row;          /* there was no room, which was counted */
	struct ledger_row *parent_row;    /* of the nearest parent at fork(2) that had one */
	_Atomic bool is_dax;              /* as it was when it was mapped last */
	_Atomic int owed_fsync, owed_syncfs; /* errors that accelerate mode took, for the program's next such call */
};

/* Whether this process has ever mapped a file shared. */
bool file_any(void);

/* The file of a descriptor; NULL: this process has never mapped it shared. Keeps errno. Makes one system
 * call and takes no lock: write(2) may run in a signal handler. */
struct file *file_of(int fd);
/* As file_of(), and adds a file that is not there yet. NULL: it is no regular file or device, or there is no room. */
struct file *file_add(int fd);
/* The file of a path that leads to one. */
struct file *file_at(const char *path);
/* Where the file counts; NULL: there was no room. */
struct ledger_row *file_row(struct file *file);
/* Each in turn, until NULL. */
struct file *file_number(unsigned number);

/* What pm_map_fd(3) does first: an error, which the kernel tells a description once, is owed to the program. */
bool file_sync(struct file *file, int fd);

/* In a child of fork(2): rows are a process's own. */
void file_forked(void);

#endif

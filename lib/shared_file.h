/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the mappings of one file in this process share: that a write-back failed. The kernel's error concerns the file,
 * not a range (errseq.rst), so one failure makes every mapping of the file suspect.
 *
 * Two mappings are of one file where the kernel says so (identity.h). Where the kernel does not say, they share no
 * failure: the description of each still reports its own. But for anything that takes pages away they count as one.
 */
#ifndef PM_SHARED_FILE_H
#define PM_SHARED_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct pm_file_user {
	struct pm_file_user *next, **at; /* at: what points to it */
	uint64_t end;                    /* of the file, as far as the mapping reaches */
	int fd;                          /* of the mapping */
	bool cuts;                       /* it is making the file shorter */
	atomic_bool is_poisoned; /* pm_errors.error_seen is behind error_seq: kept so whenever either changes */
};

struct pm_shared_file {
	struct pm_shared_file *next;
	uint64_t device, inode;
	uint64_t number; /* in the order in which they are made */
	unsigned pins;   /* calls that compare it with another file, without the lock */
	bool unsure;     /* may be of the same file as another one of these numbers */
	bool is_cut;     /* one of the users is making the file shorter */
	struct pm_file_user *users;
	atomic_uint error_seq; /* how often a write-back of this file failed */
	atomic_int error;      /* the last one */
};

/*
 * Joins the entry of the file user->fd, creating it if there is no other user; *alone says so. NULL: no memory. From
 * then on no other user cuts the file before user->end.
 */
struct pm_shared_file *pm_shared_file_join(const struct statx *, struct pm_file_user *, bool *alone);
void pm_shared_file_leave(struct pm_shared_file *, struct pm_file_user *);
/*
 * Adds a failure to the number known to the caller. A failure that became known meanwhile was shared, and is the same
 * one.
 */
void pm_shared_file_fail(struct pm_shared_file *, unsigned failures, int error);
/*
 * Making the file shorter, which no other user does meanwhile: false, with nothing begun, if another user of this file,
 * or of what may be the same file, reaches beyond the end. *sure: it is of this file.
 */
bool pm_shared_file_begin_cut(struct pm_shared_file *, struct pm_file_user *, uint64_t end, bool *sure);
void pm_shared_file_end_cut(struct pm_shared_file *, struct pm_file_user *);
/* How often a file was made shorter: if it is more often by now, a size that was seen before may be old. */
uint64_t pm_shared_files_cuts(void);
/* Waits until no other user makes the file shorter; from then on none cuts it before that end. */
void pm_shared_file_reach(struct pm_shared_file *, struct pm_file_user *, uint64_t end);
/* The same for an end that the user has already, or comes back to. */
void pm_shared_file_set_end(struct pm_file_user *, uint64_t end);

/* How far one mapping has come with the failures of its file. */
struct pm_errors {
	struct pm_shared_file *shared; /* NULL: no file that could fail */
	unsigned error_seen;           /* shared->error_seq up to which the mapping was cleared; guarded by a lock */
	atomic_uint error_reported;    /* shared->error_seq up to which an event was sent */
	struct pm_file_user user;      /* of shared */
};

/* The error that the mapping is poisoned with; 0: none. */
static inline int pm_errors_current(const struct pm_errors *e)
{
	if (__builtin_expect(!atomic_load_explicit(&e->user.is_poisoned, memory_order_acquire), 1))
		return 0;
	return atomic_load(&e->shared->error);
}
/* Poisons every mapping of the file. Returns the error. */
int pm_errors_add(struct pm_errors *, int error);
/* The failures up to that number are over, for this mapping; a later one is not. */
void pm_errors_clear(struct pm_errors *, unsigned failures);
/* Whether the last failure has not been reported by an event yet; from now on it has. */
bool pm_errors_mark_reported(struct pm_errors *);

#endif

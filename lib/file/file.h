/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file under a mapping. This layer knows nothing of addresses that outlive a call. Functions return 0 or -errno and
 * leave the sentence in pm_error_detail().
 */
#ifndef PM_FILE_H
#define PM_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "facts/evidence.h"
#include "facts/name.h"
#include "kernel/kept.h"
#include "sys/sys.h"

/* What is done on the way to the file, for the sentence where it fails. */
enum pm_doing {
	PM_DOING_OPEN,
	PM_DOING_CREATE,
	PM_DOING_DIRECTORY,
	PM_DOING_READ_LINK,
	PM_DOING_CHECK_LINK,
	PM_DOING_FOLLOW_LINK,
};

struct pm_file {
	const char *call; /* the public function that runs, for the sentence */
	const char *name; /* the path, or "fd N" */
	int fd;           /* the library's own open file description */
	bool callers;     /* the descriptor is the caller's until the call succeeds; else the caller gets back: */
	bool borrowed;    /* it stays the caller's (PM_BORROW_FD), and the file is not opened again, ever */
	bool by_descriptor; /* the caller gave a descriptor; no path was followed */
	uint8_t doing;      /* enum pm_doing */
	struct pm_owner owner;
	bool read_only;   /* opened for reading */
	bool grown;       /* by this call, or blocks were reserved */
	bool suspect;     /* a sync failed: perhaps the only report of a lost write-back (errseq.rst) */
	bool kept;        /* the library keeps it for longer than a call, and so: */
	struct pm_kept_file identity;
	uint32_t f_type;  /* of its file system; 0: not asked for yet */
	enum pm_state fsync_complete; /* the row of that name, once it is known; unknown: must be asked for */
	int directory_fd; /* with PM_CREATE by path, or located: holds the entry; else -1 */
	bool sync_all;    /* the same, and the entry's directory is not known for certain */
	bool created;     /* by this call */
	bool unnamed;     /* created, and without a name yet: no other process can open it */
	bool by_name;     /* no unnamed file: it cannot be created here, or cannot get a name */
	bool again;       /* the attempt failed because another process was faster: open the file anew */
	bool alone;       /* a write lease shows that no other process has had the file open since it was taken */
	bool claimed;     /* that lease is pm_file_claim()'s */
	bool copied_singly; /* by pm_map(), which may yet fail (copies.h); before it: */
	uint32_t cow_flag, cow_size;
	enum pm_backing backing; /* file or device-dax */
	char *entry;
	/* What an unnamed file is called where every file needs a name; empty: nothing. It lies behind the entry. */
	char *beside;
	uint64_t original_size, original_blocks; /* before this call; blocks of 512 bytes */
	uint64_t size;
	struct statx stx;
	size_t unit;             /* mappings begin and end at multiples of it */
	struct pm_name place;    /* the path of the file from the kernel */
};

/*
 * A copy of what is known of the file. Its place in the register of descriptors is not copied: other threads change the
 * links there.
 */
static inline struct pm_file pm_file_facts(const struct pm_file *f)
{
	struct pm_file facts = {.call = NULL};
	size_t from = offsetof(struct pm_file, identity), to = from + sizeof(f->identity);
	memcpy(&facts, f, from);
	memcpy((char *)&facts + to, (const char *)f + to, sizeof(facts) - to);
	return facts;
}

/* Whether loads and stores reach the medium without a page cache. */
static inline bool pm_file_is_direct(const struct pm_file *f)
{
	uint64_t dax = f->stx.stx_attributes & f->stx.stx_attributes_mask & STATX_ATTR_DAX;
	return dax || f->backing == PM_BACKING_DEVICE_DAX;
}

/* Reads the attributes anew. */
int pm_file_stat(struct pm_file *);
/* The f_type that fstatfs(2) returns, asked for once: it stays as long as the file is open. 0: it cannot be read. */
uint32_t pm_file_f_type(struct pm_file *);
/* -EFBIG, with the sentence, if RLIMIT_FSIZE does not let this process write up to end. */
int pm_file_within_limit(const struct pm_file *, uint64_t end);
/* Leaves the sentence, with the error and what helps. Returns rc. */
int pm_file_fail(const struct pm_file *, int rc, const char *what);

#endif

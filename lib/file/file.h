/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file under a mapping: opening, growing and preparing it, and making that durable. Knows nothing of addresses that
 * outlive a call. Functions return 0 or -errno and leave the sentence in pm_error_detail().
 */
#ifndef PM_FILE_H
#define PM_FILE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "facts/evidence.h"
#include "facts/name.h"
#include "kernel/kept.h"
#include "sys/sys.h"

struct pm_file {
	const char *call; /* the public function that runs, for the sentence */
	const char *name; /* the path, or "fd N" */
	int fd;           /* the library's own open file description */
	bool callers;     /* the descriptor is the caller's until the call succeeds; else the caller gets back: */
	bool by_descriptor; /* the caller gave a descriptor; no path was followed */
	struct pm_owner owner;
	bool kept;        /* the library keeps it for longer than a call, and so: */
	struct pm_kept_file identity;
	bool read_only;   /* opened for reading */
	enum pm_state fsync_complete; /* the row of that name, once it is known; unknown: must be asked for */
	int directory_fd; /* with PM_CREATE by path, or located: holds the entry; else -1 */
	bool sync_all;    /* the same, and the entry's directory is not known for certain */
	bool created;     /* by this call */
	bool unnamed;     /* created, and without a name yet: no other process can open it */
	bool by_name;     /* no unnamed file: it cannot be created here, or cannot get a name */
	bool again;       /* the attempt failed because another process was faster: open the file anew */
	bool alone;       /* a write lease shows that no other process has had the file open since it was taken */
	bool claimed;     /* that lease is pm_file_claim()'s */
	bool grown;       /* by this call, or blocks were reserved */
	bool suspect;     /* a sync failed: perhaps the only report of a lost write-back (errseq.rst) */
	char *entry;
	char *beside; /* what an unnamed file is called where every file needs a name; empty: nothing. Lies behind the entry */
	uint64_t original_size; /* before this call */
	uint64_t size;
	struct statx stx;
	enum pm_backing backing; /* file or device-dax */
	size_t unit;             /* mappings begin and end at multiples of it */
	struct pm_name place;    /* the path of the file from the kernel */
};

/*
 * Opens path as the options say. A missing file is created without a name where that is possible (f->unnamed),
 * otherwise by its name, with a write lease if the kernel grants one. On failure nothing is open and nothing was
 * created.
 */
int pm_file_open(struct pm_file *, const char *path, const struct pm_options *);
/* Writes the nth name beside the entry that no program asks for; removes it. */
#define PM_BESIDE_MAX 1000
void pm_file_name_beside(struct pm_file *, unsigned n);
void pm_file_drop_beside(struct pm_file *);
/*
 * Gives an unnamed file its name. If another process was faster, or the file cannot be named, f->again is set: the
 * caller closes everything and opens the file anew.
 */
int pm_file_link(struct pm_file *, const struct pm_options *);
/*
 * Opens path only for gathering, without a trace as far as possible. For a missing file with PM_CREATE an unnamed
 * temporary file in its directory stands in (f->created); -EOPNOTSUPP where there is none.
 */
int pm_file_open_unseen(struct pm_file *, const char *path, const struct pm_options *);
/* Opens the file behind fd anew, to have a description of the library's own. */
int pm_file_reopen(struct pm_file *, int fd, const struct pm_options *);
/* Makes the file reach end, allocated unless sparse. */
int pm_file_grow(struct pm_file *, uint64_t end, bool sparse);
/* Makes every block of the range allocated, written and unshared, and keeps its content. */
int pm_file_prepare(struct pm_file *, uint64_t offset, uint64_t length, bool direct);
/* The same by write(2), from the beginning to end: only for a file that no other process has. */
int pm_file_write_all(struct pm_file *, uint64_t end);
/*
 * Before a range of a DAX file is prepared that this process has not mapped yet: writes zeros into holes and unwritten
 * extents where the kernel would show what their blocks held. -EBUSY if that is needed and another process has the file
 * open.
 */
int pm_file_write_zeros(struct pm_file *, uint64_t offset, uint64_t length);
/*
 * Finds the directory that holds the entry of a file that existed already, by its present path. A file without an entry
 * needs none.
 */
void pm_file_locate(struct pm_file *);
/*
 * Makes data, size and allocation durable, and the directory entry if the directory is known or everything is to be
 * synced.
 */
int pm_file_publish(struct pm_file *);
/*
 * Called before the file changes: tries to take the write lease without which pm_file_undo() leaves the change. Sets
 * f->alone.
 */
void pm_file_claim(struct pm_file *);
/*
 * Whether that lease still shows that no other process has had the file open, on a file system whose leases show that.
 */
bool pm_file_is_alone(const struct pm_file *);
/* Releases that lease. */
void pm_file_release(struct pm_file *);
/*
 * Takes back what this call did, where no other process can have it: removes a created file, gives a grown one its old
 * size. Releases the lease.
 */
void pm_file_undo(struct pm_file *);
/* Whether an unnamed file found no room because another process has created the file meanwhile: then open that file. */
bool pm_file_was_overtaken(const struct pm_file *, int rc);
/*
 * Drops the cached pages of a file that is not direct. -EBUSY: another mapping holds some of the range. A sync comes
 * first, and its error is returned.
 */
int pm_file_from_medium(struct pm_file *, uint64_t offset, uint64_t length);
/*
 * The page cache of XFS takes blocks for a whole folio, up to 2 MiB from Linux 6.6 on (fs/iomap/buffered-io.c
 * iomap_page_mkwrite): a fault can fail for a folio where a single page would still find a block.
 */
#define PM_LARGEST_FOLIO ((uint64_t)2 << 20)
/* Whether the file was made immutable or append-only. */
static inline bool pm_file_is_fixed(const struct statx *stx)
{
	return stx->stx_attributes & stx->stx_attributes_mask & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND);
}
/*
 * Why a store into the range failed: -ENOSPC, -EDQUOT, -EFBIG, -EPERM (the file is immutable or append-only); 0: none
 * of these explains it. May allocate what is missing there, never beyond the end in stx.
 */
int pm_file_why_no_block(int fd, const struct statx *stx, uint64_t offset, uint64_t length);
/* Reads the attributes anew. */
int pm_file_look(struct pm_file *);
void pm_file_close_directory(struct pm_file *);
void pm_file_close(struct pm_file *);

/* -EFBIG, with the sentence, if RLIMIT_FSIZE does not let this process write up to end. */
int pm_file_within_limit(const struct pm_file *, uint64_t end);

/* For the file layer: the sentence; and whether the entry of the directory is this file. */
int pm_file_fail(const struct pm_file *, int rc, const char *what);
bool pm_file_is_entry(const struct pm_file *);

#endif

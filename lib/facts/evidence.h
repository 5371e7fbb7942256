/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Gathers facts, each with its source, and decides nothing. A row that was not gathered, or whose source did not
 * answer, is unknown. sysfs and procfs are read by absolute path, never relative to the working directory.
 */
#ifndef PM_EVIDENCE_H
#define PM_EVIDENCE_H

#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "kernel/quirks.h"
#include "pmdirect.h"
#include "sys/sys.h"

enum pm_backing {
	PM_BACKING_FILE, /* regular file or block device */
	PM_BACKING_DEVICE_DAX,
	PM_BACKING_PRIVATE, /* copy on write */
	PM_BACKING_ANONYMOUS,
};

/* The file's name and birth when it was mapped. */
struct pm_name {
	int fd;     /* O_PATH: the kernel shows the path by it; 0: by the file's own descriptor */
	char *path; /* the path from the kernel, to be freed; NULL: not known, for a positive errno: */
	int error;
	bool now_is_removed; /* the file had no name any more */
	bool has_birth;
	struct statx_timestamp birth;
};

/* The error of the row about the name, where the file has none: what became of it. */
enum pm_name_end {
	PM_NAME_REMOVED = ENOENT,
	PM_NAME_REPLACED = EEXIST, /* another file has its path */
	PM_NAME_MOVED = EREMCHG,
	PM_NAME_NEVER = ENOLINK,
	PM_NAME_COPIED_UP = ESTALE,
	PM_NAME_MOUNTED_OVER = EBUSY, /* a mount hides it; the path leads to another file, or to none */
};

/* The error of PM_EV_WRITABLE where the file is immutable or append-only, whatever its file system is. */
#define PM_IMMUTABLE EPERM

/* An open file, and the part of it that is mapped or would be. */
struct pm_subject {
	enum pm_backing backing;
	int fd; /* -1 for anonymous memory */
	struct statx stx;
	uint64_t offset, length; /* of the file, in whole mapping units; length > 0 */
	uint64_t end;            /* of the file: the end of the range that the caller asked for */
	size_t unit;             /* mappings begin and end at multiples of it */
	bool writable;
	bool just_opened;    /* for writing, by the current call */
	bool is_guaranteed;  /* nothing that can change is taken from an earlier look */
	unsigned syncs;      /* the PM_CALL_... of sys.h that make the mapping durable, as far as known by now */
	bool unseen;         /* nothing may be changed, not even without a trace in the content */
	void *map;           /* for residency; NULL if not mapped */
	bool uses_libpmem;   /* the mapping uses libpmem */
	bool lease_held;     /* by the mapping; if not, */
	int lease_error;     /* the positive errno of the last attempt; 0: there was none */
	enum pm_state watched; /* by inotify; no: only by looks, and */
	int watch_error;     /* the positive errno that says why */
	int file_error;      /* the positive errno of a statx(2) that failed: then stx is older */
	const struct pm_name *name; /* NULL: not remembered, and not needed */
	bool emergency;      /* found before: the file system became read-only for good */
	uint64_t hole_end, shared_end; /* found: where the first hole and the first shared part end */
	uint64_t device_entry; /* found: the number of its entry in /sys/dev/block; 0: not gathered, or none */
	uint32_t file_system; /* found: its f_type, unless that is a server's; else 0 */
	enum pm_state fsync_complete; /* found: the row of that name */
	bool no_outer_journal; /* found: an ext4 whose journal lies on no other device */
	bool fsync_may_skip_inode; /* found: an ext4, or a file system that may be one, whose row is not yes */
	unsigned region;     /* found: the number of the nd region, else ~0u */
	bool caches_may_stay; /* found: a direct file whose CPU caches are not known to survive */
};

typedef struct pm_evidence pm_evidence_table[PM_EVIDENCE_ROWS];

/* Sets a row. source must be static text. */
void pm_evidence_set(struct pm_evidence *row, enum pm_state state, int error, const char *source, const char *text);

void pm_evidence_clear(pm_evidence_table);
/* Gathers what the decision needs, and no more; tries MAP_SYNC only if try_sync. Fills subject->region. */
void pm_evidence_for_decision(pm_evidence_table, struct pm_subject *, bool try_sync);
/*
 * The errno of a row that is unknown for want of descriptors or memory, else 0. Such a row says nothing about the file.
 */
int pm_evidence_shortage(pm_evidence_table);
/*
 * name.c: remembers the name that the kernel reports for an open file; fills the row from what was just remembered;
 * says whether the descriptor leads to another file than when it was remembered.
 */
void pm_name_remember(struct pm_name *, int fd, const struct statx *);
void pm_name_forget(struct pm_name *, const struct statx *);
/*
 * For a file that was opened without a name and has an entry in the directory now. By the descriptor that it was opened
 * with, the kernel goes on to report no path (fs/dcache.c d_mark_tmpfile).
 */
void pm_name_follow(struct pm_name *, int directory_fd, const char *entry, const struct statx *);
void pm_evidence_named_at_first(pm_evidence_table, const struct pm_subject *, bool by_path);
bool pm_name_is_reborn(const struct pm_name *, const struct statx *);
/* Again, after extents changed. */
void pm_evidence_extents(pm_evidence_table, struct pm_subject *);
/* Gathers what else may change under a live mapping. Called after the first. */
void pm_evidence_for_look(pm_evidence_table, struct pm_subject *);
/* Gathers everything else that a report shows. Called after both. */
void pm_evidence_for_report(pm_evidence_table, struct pm_subject *);

/*
 * The first bad blocks of [offset, end) that lie together, by the kernel's list and the file's extents; *bytes is 0 if
 * there are none. The row of the file system must be filled. -errno: the kernel does not report them; -EOVERFLOW: the
 * list is longer than sysfs shows.
 */
int pm_bad_blocks_find(pm_evidence_table, const struct pm_subject *, uint64_t *first, uint64_t *bytes);

/* ---- for the files of this layer ---- */

/* region.c: rows of the memory region behind the file's device. */
void pm_evidence_region(pm_evidence_table, struct pm_subject *);
/* extents.c: whether the file system can share extents. */
void pm_evidence_shareable(pm_evidence_table, const struct pm_subject *);
/*
 * fast_commit.c: whether the file lies on an ext4 with fast_commit; called after the extents. May sync the file and
 * change its times.
 */
void pm_evidence_fast_commit(pm_evidence_table, const struct pm_subject *);
/* liveness.c: whether the file system is still what it was, and the inode's DAX flag. Fills subject->device_entry. */
void pm_evidence_life(pm_evidence_table, struct pm_subject *);
/* name.c: whether a path still leads to the file. */
void pm_evidence_named(pm_evidence_table, const struct pm_subject *);
/*
 * extents.c: 0, or -EXDEV where the data lies on another device than statx(2) names (the realtime device of an XFS);
 * another -errno where that cannot be known.
 */
int pm_data_elsewhere(pm_evidence_table, const struct pm_subject *);
/* filesystem.c */
void pm_evidence_file_system(pm_evidence_table, struct pm_subject *);
void pm_evidence_residency(pm_evidence_table, const struct pm_subject *);

/* mount.c: what was found of the mount by an earlier look. */
struct pm_known_mount {
	unsigned place; /* in the list of file systems, from 1; 0: nothing is known */
	enum pm_state fsync_complete;
	enum pm_state flushes; /* where the mount is settled: the row PM_EV_DEVICE_FLUSH */
	bool no_outer_journal; /* of an ext4: on no other device */
	bool is_verified;      /* the table of mounts has the type that fstatfs(2) returned */
	bool is_settled;       /* what lies below is not memory, and cannot be exchanged */
};
struct pm_known_mount pm_known_mount(const struct pm_subject *);
/* Keeps nothing about a mount whose id another mount may get. */
void pm_know_mount(const struct pm_subject *, const struct pm_known_mount *);

struct pm_mount_facts {
	const char *source; /* of all members; static text */
	const char *type, *subtype;
	const char *device; /* the mounted device, as mountinfo shows it; NULL: not shown */
	char *options;      /* of the super block */
	bool read_only;     /* if it is not among the options */
	char *table;
	struct pm_mount asked;
};
/* Returns 0, or -errno with the source set. pm_mount_free() follows in both cases. */
int pm_mount_read(int fd, const struct statx *, bool by_statmount, struct pm_mount_facts *);
void pm_mount_free(struct pm_mount_facts *);
/* The text behind the name of an option, up to the next comma; NULL: there is no such option. */
const char *pm_mount_option(const struct pm_mount_facts *, const char *name);
/* The same as a path. -ENOENT: there is no such option. */
int pm_mount_path(const struct pm_mount_facts *, const char *name, char *path, size_t size);
/* Whether the mount of the open file is in the process's table, and so below its root directory: 1 or 0, or -errno. */
int pm_mount_is_listed(int fd);
/* Fills the row from the result of pm_mount_read(), and takes the options apart. */
void pm_mount_row(pm_evidence_table, struct pm_mount_facts *, int rc);

/* below.c: what the file system stands on: whether it loses its content, and whether flushes reach it. */
void pm_evidence_below(pm_evidence_table, const struct pm_subject *, bool anew);

/* ---- for below.c, disk.c and members.c ---- */

/* What was found on the way down. */
struct pm_below {
	enum pm_state is_volatile, flushes;
	bool has_no_cache; /* each disk says itself that it has no cache */
	bool is_settled;   /* nothing on the way can be exchanged while it is in use */
	bool no_outer_journal; /* beforehand: of the ext4 that it begins with */
	bool is_met;       /* there was a disk, or what stands for one */
	int error;         /* positive errno */
	char what[56], how[56]; /* the texts of both */
	char device[65];        /* the sysfs name of the device that was asked for last; "": it does not exist */
};
/* Of two results the worse one counts. */
void pm_below_merge(struct pm_below *, const struct pm_below *other);
/* Here the way ends, and nothing is known about what follows. */
void pm_below_end(struct pm_below *, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
void pm_below_forgets(struct pm_below *, const char *what);
void pm_below_device(const char *directory, unsigned depth, struct pm_below *);
void pm_below_path(const char *path, unsigned depth, struct pm_below *);
#define PM_BELOW_DEPTH 8u /* of things upon things */
/* All devices of a btrfs; and those of another file system beyond b->device, which its first device is. */
void pm_below_btrfs(const struct pm_mount_facts *, unsigned depth, struct pm_below *b);
void pm_below_members(const struct pm_file_system *, const struct pm_mount_facts *, const struct statx *, unsigned depth,
                      struct pm_below *b);

/* negative_cache.c: whether the device is known to lack that part; and that it lacks it from now on. */
enum pm_device_part { PM_DEVICE_REGION = 1, PM_DEVICE_BAD_BLOCKS = 2 };
bool pm_device_lacks(const struct pm_subject *, enum pm_device_part);
void pm_device_lacked(const struct pm_subject *, enum pm_device_part);

/* health.c: bad blocks of the range; the other rows, after the region was found. */
void pm_evidence_bad_blocks(pm_evidence_table, const struct pm_subject *);
void pm_evidence_health(pm_evidence_table, const struct pm_subject *);

/* armed.c: whether all NVDIMMs of the region keep what is stored; value when no: 1 if one cannot. */
void pm_evidence_armed(struct pm_evidence *, unsigned region);
/* The number of the DIMM that holds the nth part of the region. Returns 0 or -errno. */
int pm_dimm_find(unsigned region, unsigned nth, unsigned *dimm);
/* An attribute of a DIMM, from the directory of the firmware table that describes it. Returns 0 or -errno. */
int pm_dimm_read(unsigned dimm, const char *name, char *text, size_t size);

/* Reads a small file whole as text, without the last newline. Returns its length or -errno. */
int pm_read_text(const char *path, char *text, size_t size);
/* The alignment of a device-dax node, and its size; 0 if the file is no such node. */
size_t pm_device_dax_align(const struct statx *, uint64_t *size);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Another machine behind the library's two tables. It stands on real files of the machine at hand, answers the
 * questions about the medium as a preset says, counts and records every call, and breaks the calls that the test names.
 *
 * What the library must never do (map over something, rely on a plain MAP_SHARED|MAP_SYNC, ask a DAX file for its
 * page cache, sync a device-dax, ...) is noted in fake.violation, which unit.c checks after every test.
 */
#ifndef FAKE_H
#define FAKE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cpu/cpu.h"
#include "machine/count.h"
#include "pmdirect.h"
#include "sys/sys.h"

/* ---- What the machine is ---- */

enum fake_sync {
	FAKE_REFUSES,  /* MAP_SYNC: with EOPNOTSUPP, or errno_of_refusal */
	FAKE_ACCEPTS,  /* as Linux does */
	FAKE_IGNORES_FLAGS_OF_FILES, /* the same for files; memory it leaves to Linux */
	FAKE_IGNORES_FLAGS, /* accepts MAP_SYNC and every other flag: a shim or a sandbox */
};

/* Attributes of the nd region under the file; NULL: the attribute is absent. */
struct fake_region {
	const char *provider, *devtype, *persistence_domain, *deep_flush, *write_cache;
	bool deep_flush_denied; /* writing it needs a right that we do not have */
	/*
	 * Flags of its two DIMMs, nmem0 and nmem1, up to NULL, which does not tell; unless the machine tells of health.
	 */
	const char *flags[2];
	bool is_read_only;
};

struct fake_extent {
	uint64_t logical, length;
	uint32_t flags; /* FIEMAP_EXTENT_... */
};

/* What the machine tells of its health; NULL: it does not. */
struct fake_health {
	const char *bad_blocks;        /* of the disk, or of a device-dax's region */
	bool keeps_list;               /* or of fake.bad */
	const char *start;             /* in sectors: the file system lies on a partition */
	const char *dimm[2];           /* mapping0 and mapping1 of the region */
	const char *dirty_shutdown[2]; /* of nmem4 and nmem5 */
	const char *id[2];             /* of each DIMM */
	const char *flags[2];          /* of each DIMM; NULL: none is set */
	const char *family;            /* the directory of those, if not nfit */
	const char *set_cookie, *numa_node;
	const uint64_t *physical; /* where on the disk each extent begins; NULL: at 0 */
};

enum {
	FAKE_LOOP_TELLS,
	FAKE_LOOP_OTHER_FILE, /* it stands on another file of the file system that its path leads to, */
	FAKE_LOOP_OTHER_DEVICE, /* or on the file of that inode in another file system */
	FAKE_LOOP_NO_NODE, /* from here on it cannot be asked: */
	FAKE_LOOP_NO_PERMISSION,
	FAKE_LOOP_OTHER_NUMBER,
	FAKE_LOOP_NO_ANSWER,
	FAKE_LOOP_A_FILE,
	FAKE_LOOP_OTHER_DRIVER,
	FAKE_LOOP_WAYS
};

enum {
	FAKE_UPPER_SAME, /* all numbers of an overlay are those of its upper layer, */
	FAKE_UPPER_OWN_ID, /* but its id; */
	FAKE_UPPER_BUSY, /* what is free changes between two calls */
	FAKE_UPPER_BUSY_OWN_ID,
	FAKE_UPPER_BLOCKS, /* the path leads to another file system: */
	FAKE_UPPER_BLOCK_SIZE,
	FAKE_UPPER_WAYS
};

struct fake_machine {
	const char *name;
	enum pm_state dax; /* STATX_ATTR_DAX; unknown: not in the mask */
	enum fake_sync sync;
	int errno_of_refusal;
	uint32_t magic;        /* f_type of statfs(2) */
	bool has_no_space;     /* f_bavail is 0 */
	enum pm_state reflink; /* XFS geometry; unknown: the ioctl fails */
	bool is_device_dax;
	bool is_block_device;
	const struct fake_region *region; /* NULL: no nd device behind the file */
	/* Until the range is populated for writing; NULL: everything is written and unshared. */
	const struct fake_extent *extents;
	unsigned extent_count;
	int fiemap_errno;
	bool cpu_stops_short;
	bool cpu_only_stores; /* by words: it neither streams nor has vectors */
	const struct pm_cpu *cpu_copies_as; /* NULL: as the CPU at hand does best */
	bool has_unnamed_files; /* O_TMPFILE */
	bool lacks_fallocate;
	const char *granularity_word; /* PMDIRECT_GRANULARITY */
	const struct fake_health *health; /* NULL: none is shown */
	const char *block;            /* where the disk hangs, after "devices/"; NULL: as region and below say */
	const char *node_block;       /* the same of a node that is mapped itself */
	const char *slaves[3];        /* names of the devices below it */
	const char
		*attributes[8][2]; /* of /sys/dev/block/259:3 or what lies below: the end of the path, and the text */
	struct {
		uint32_t magic;    /* of the files that it stands on, which are on other disks */
		const char *mount; /* of those */
		bool has_no_device;
	} under;
	int loop; /* of /dev/loop0 */
	int upper;
	/*
	 * Of all ext4: what /proc/fs/jbd2 lists, NULL at first: the journal of this one, inside it; the name of its
	 * thread.
	 */
	const char *journals[3], *journal_thread;
	bool hides_journals;          /* no /proc/fs/jbd2 */
	const char *disk_map;         /* of an f2fs: the end of that file; NULL: there is none */
	const char *mount;            /* end of the line in mountinfo, after the " - "; NULL: of another namespace */
	uint64_t cached_from;         /* all before that file offset is not in the page cache */
	bool takes_places_for_hints;  /* MAP_FIXED_NOREPLACE: before Linux 4.17 */
	bool has_no_device;           /* but a number of the file system's own, as tmpfs, btrfs and overlay */
	unsigned replaced;            /* so often: the device's entry in sysfs is another's */
	bool is_others;               /* the file is another user's */
	bool invents_inodes;          /* a server does: one number for all files */
	bool hides_smaps, shows_real_smaps;
	unsigned over_sysfs, over_proc; /* f_type of what is mounted there; 0: they are what they seem */
	/*
	 * Over the path of the file, or a directory above it; or the process has another root directory, as if there
	 * were none.
	 */
	enum fake_over { FAKE_NOTHING, FAKE_A_FILE, FAKE_THE_FILE, FAKE_A_DIRECTORY } over;
	bool has_another_root; /* mountinfo lacks the file's mount */
	bool is_read_only;    /* the file system, by now */
	bool is_gone;         /* the device */
	int statx_errno;      /* of the file: it was shut down */
	int born_later;       /* statx(2) tells of another inode (overlay copy-up) */
	bool counts_no_links; /* a server */
	bool is_immutable, is_append_only; /* STATX_ATTR_... */
	bool has_dax_flag;    /* the inode */
	const struct fake_region *below[2]; /* the file's device stands on devices of these regions, up to NULL */
	bool is_realtime;   /* XFS: the data is on another device */
	int xfs_errno;      /* the ioctl that would tell it fails */
	uint32_t xflags, cow_size, extent_size; /* XFS: hints of the inode, which may be set */
	int hints_errno;    /* not by this process */
	bool is_encrypted;  /* STATX_ATTR_ENCRYPTED */
	bool hides_device;  /* mountinfo has the file's mount under another device, as on an overlay */
	bool lacks_mount_id; /* fdinfo does not tell it */
	uint64_t unique_mount; /* STATX_MNT_ID_UNIQUE, of every start another; 0: before Linux 6.8 */
	bool lacks_journal, hides_journal; /* an ext4; sysfs does not tell */
	/* Of an ext4: what is in fc_info, if it is there; begins to count with the next thing that is counted. */
	enum {
		FAKE_NO_COUNTERS,
		FAKE_COUNTERS_OFF,
		FAKE_COUNTERS_IDLE,
		FAKE_COUNTERS_ON,
		FAKE_COUNTERS_STRANGE
	} fast_commit;
	bool counts_commits_only; /* and not what cannot be committed fast */
	bool refuses_collapse;
	unsigned busy_commits;    /* the next so many but one are another process's, and not counted */
	bool hides_proc;          /* no /proc/fs/ext4 */
	bool tells_pages;    /* PAGEMAP_SCAN, of which there are: */
	bool has_huge_pages, has_small_pages;
	unsigned ignores;    /* PM_CALL_...: a filter has them return 0 and does not make them */
	const char *release; /* of the kernel; NULL: the real one */
};

extern const struct fake_machine fake_plain, fake_dax, fake_dax_no_domain, fake_xfs_reflink, fake_e820,
	fake_virtio_pmem, fake_eadr, fake_device_dax, fake_tmpfs, fake_shim, fake_forced, fake_weak_cpu, fake_gvisor,
	fake_block_device, fake_counted, fake_counted_by_commits;
extern const struct fake_machine *const fake_machines[];
extern const unsigned fake_machines_count;

/* ---- What happened ---- */

struct fake {
	struct fake_machine machine; /* may be changed by the test while it runs */
	atomic_uint write_backs, lines, fences, streams, streamed_lines, streams_down, copies; /* of the CPU */
	/*
	 * A medium of the test's own: whole lines are on their way to it, with the content they have now; a fence was
	 * made.
	 */
	void (*set_out)(const char *lines, size_t length);
	void (*fenced)(void);
	atomic_bool populated; /* MADV_POPULATE_WRITE was used: the extents are written now */
	/*
	 * The watcher thread looks at nothing: time stands still, and nothing is announced to it. The test observes by
	 * pm_query().
	 */
	atomic_bool watcher_sleeps;
	atomic_bool time_stands_still; /* no second of the watcher passes any more */
	bool really_syncs;     /* msync, fsync, fdatasync and syncfs reach the kernel */
	bool loads_providers;  /* dlopen works */
	unsigned processes;    /* so many are to be seen in /proc; 0: all */
	bool guards;           /* the test uses the guard: else no code may touch a signal */
	bool recovers; /* from a failed write-back: then mincore tells what was touched, which is what is asked */
	/*
	 * The medium under the file: what is bad, in bytes of the file; the list of bad blocks says so unless
	 * machine.health has one. A whole page written clears it: at once on DAX, else by the write-back.
	 */
	struct {
		uint64_t offset, length; /* length 0: no more */
		bool written;            /* the page cache has what is to be written back */
	} bad[4];
	bool keeps_bad;   /* the platform cannot clear */
	bool list_is_old; /* clearing is not noted */
	char violation[256];
};
extern struct fake fake;

/* Installs the tables; forgets everything before. */
void fake_start(const struct fake_machine *);
/* Of Linux, where ext4 has no large folios: test_folios.c and test_cost.c count the calls for these. */
#define FAKE_WITHOUT_FOLIOS "6.15.0"
void fake_stop(void);
/* Forgets what was counted and recorded, not what is to be broken. */
void fake_forget(void);

/* Still mapped that the library mapped since fake_start(). */
uint64_t fake_mapped_bytes(void);

/* A timer that was set to a time other than at once goes off only when the test says so: the one set last. */
void fake_timer_goes_off(void);
/* For the calling thread: that of the watcher, asleep, has nothing to look at by it. */
void fake_time_passes(unsigned ms);

/* ---- The medium under a watched range of memory ---- */

/* A store reaches it only by a write-back or a streamed store followed by a fence. */
void fake_watch(void *base, size_t size);
/* Whether the medium holds what memory holds, in [offset, offset + length) of the watched range. */
bool fake_medium_has(size_t offset, size_t length);

#endif

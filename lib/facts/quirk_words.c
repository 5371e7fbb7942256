/* SPDX-License-Identifier: BSD-3-Clause */
/* The quirks of kernel/quirks.c that concern a person, in words, and which of them concern what a report is of. */
#include <stdbool.h>
#include <stddef.h>

#include "kernel/quirks.h"
#include "pmdirect.h"

/* It concerns a file where the bit holds, the file is direct, if that matters, and the row has the state. */
static const struct {
	enum pm_quirk_bit bit;
	bool only_direct;
	enum pm_evidence_row row;
	enum pm_state state;
	struct pm_quirk words;
} quirks[] = {
	{PM_FS_LACKS_MAP_SYNC, true, PM_EV_MAP_SYNC, PM_NO,
         {"no-map-sync", "there is no MAP_SYNC, so the kernel alone can commit a direct mapping",
          "use Linux 4.15 or later"}},
	{PM_FS_FSYNC_BY_JOURNAL, false, PM_EV_FSYNC_COMPLETE, PM_NO,
         {"fsync-skips-inode",
          "without a journal fsync(2) may leave the inode out, and a file may show zeros after a power failure; this "
          "library syncs the whole file system instead, other programs do not",
          "give the file system a journal (tune2fs -O has_journal)"}},
	{PM_FS_FSYNC_SKIPS_FLUSH, false, PM_EV_FSYNC_COMPLETE, PM_NO,
         {"fsync-skips-flush",
          "without a journal fsync(2) may leave the flush of the disk's cache out; this library has it made, other "
          "programs do not",
          "give the file system a journal (tune2fs -O has_journal), or use Linux 6.6 or later"}},
	{PM_FS_FAST_COMMIT, true, PM_EV_FAST_COMMIT, PM_YES,
         {"fast-commit-loses-stores",
          "the file system commits by fast_commit, under which MAP_SYNC can lose stores when another process changes "
          "the extents of the file",
          "map with PM_LEASE, or take fast_commit off (tune2fs -O ^fast_commit)"}},
	{PM_FS_TELLS_SHARING, true, PM_EV_SHAREABLE, PM_YES,
         {"clone-loses-stores", "the file system has reflink, and a clone of a file makes MAP_SYNC lose stores to it",
          "map with PM_LEASE, or make the file system with -m reflink=0"}},
	{PM_FS_SHOWS_OLD_BLOCKS, true, PM_EV_SHAREABLE, PM_YES,
         {"holes-show-old-data",
          "a store into a hole of a file that was cloned may show what the block held before, which may be a deleted "
          "file",
          "clone no mapped file, map with PM_PREPARE, or use Linux 6.2 or later"}},
	{PM_FS_CACHESTAT_CRASHES, true, PM_EV_DAX, PM_YES,
         {"cachestat-crashes",
          "cachestat(2) of a direct file can crash the kernel, and needs no privilege; whether this release is fixed "
          "is not known",
          "let no untrusted program open files there"}},
};

/* A report for an older program may end before the row. */
static bool has_row(const struct pm_report *r, enum pm_evidence_row row)
{
	return r->size >= offsetof(struct pm_report, evidence) + ((size_t)row + 1) * sizeof(r->evidence[0]);
}

static bool quirk_applies(const struct pm_report *r, size_t i)
{
	const struct pm_evidence *e = r->evidence;
	if (!has_row(r, quirks[i].row) || !has_row(r, PM_EV_KERNEL) || (quirks[i].only_direct && r->direct != PM_YES))
		return false;
	return e[quirks[i].row].state == quirks[i].state &&
	       pm_release_has_quirk((uint32_t)e[PM_EV_FILE_SYSTEM].value, quirks[i].bit, e[PM_EV_KERNEL].text);
}

const struct pm_quirk *pm_quirk(const struct pm_report *report, size_t index)
{
	for (size_t i = 0; report && i < sizeof(quirks) / sizeof(quirks[0]); i++)
		if (quirk_applies(report, i) && !index--)
			return &quirks[i].words;
	return NULL;
}

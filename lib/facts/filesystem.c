/* SPDX-License-Identifier: BSD-3-Clause */
/* The file system and the page cache behind a file. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "facts/evidence.h"
#include "facts/filesystem.h"
#include "facts/mount.h"
#include "facts/subject.h"
#include "kernel/identity.h"
#include "kernel/quirks.h"
#include "kernel/trusted_sync.h"
#include "sys/sys.h"

/*
 * No file system encrypts what is stored past its page cache. Linux 6.12 makes files in an encrypted directory of
 * an ext4 with dax=always DAX all the same: they are stored as they are, and decrypted into noise the next time they
 * are loaded.
 */
static void encrypted(pm_evidence_table e, const struct pm_subject *s)
{
	const uint64_t both = STATX_ATTR_ENCRYPTED | STATX_ATTR_DAX;
	if ((s->stx.stx_attributes & s->stx.stx_attributes_mask & both) == both)
		pm_evidence_set(&e[PM_EV_VOLATILE], PM_YES, 0, "statx(2) stx_attributes",
		                "encrypted, yet DAX: will not be read back");
}

static void identify(pm_evidence_table e, const struct pm_file_system *fs, const char *source)
{
	pm_evidence_set(&e[PM_EV_FILE_SYSTEM], PM_YES, 0, source, fs->name);
	e[PM_EV_FILE_SYSTEM].value = fs->magic;
	if (pm_has_quirk(fs->magic, PM_FS_VOLATILE))
		pm_evidence_set(&e[PM_EV_VOLATILE], PM_YES, 0, source, fs->name);
}

/*
 * Mount options and an emergency set this flag (fs/statfs.c flags_by_sb). The errors of an ext4 from Linux 6.15 on do
 * not: they show in its options (fs/ext4/super.c EXT4_FLAGS_EMERGENCY_RO).
 */
static int ask_if_writable(pm_evidence_table e, const struct pm_subject *s, struct statfs *stfs)
{
	int rc = PM_RETRY(pm_sys->fstatfs(s->fd, stfs));
	enum pm_state state = rc ? PM_UNKNOWN : stfs->f_flags & ST_RDONLY ? PM_NO : PM_YES;
	pm_evidence_set(&e[PM_EV_WRITABLE], state, -rc, "fstatfs(2)", NULL);
	return rc;
}

void pm_evidence_writable(pm_evidence_table e, const struct pm_subject *s)
{
	struct statfs stfs;
	ask_if_writable(e, s, &stfs);
}

static void ask_file_system(pm_evidence_table e, const struct pm_subject *s)
{
	struct statfs stfs;
	char text[56];
	int rc = ask_if_writable(e, s, &stfs);
	if (rc) {
		pm_evidence_set(&e[PM_EV_FILE_SYSTEM], PM_UNKNOWN, -rc, "fstatfs(2)", NULL);
		return;
	}
	uint32_t type = (uint32_t)stfs.f_type;
	bool is_of_server = pm_needs_block_device(type) && !pm_is_on_block_device(type, &s->stx);
	const struct pm_file_system *fs = pm_file_system(type);
	if (fs && !is_of_server) {
		identify(e, fs, "fstatfs(2)");
		return;
	}
	snprintf(text, sizeof(text), "f_type 0x%x%s", type, is_of_server ? " of a server, as there is no device" : "");
	pm_evidence_set(&e[PM_EV_FILE_SYSTEM], PM_UNKNOWN, 0, "fstatfs(2)", text);
	e[PM_EV_FILE_SYSTEM].value = type;
}

/* Under MAP_SYNC each write fault syncs the file as msync does: fs/dax.c dax_finish_sync_fault. */
static void fsync_complete(pm_evidence_table e, struct pm_subject *s)
{
	const struct pm_evidence *fs = &e[PM_EV_FILE_SYSTEM];
	bool is_ext4 = pm_has_quirk(s->found.file_system, PM_FS_FSYNC_BY_JOURNAL);
	int state = (int)s->found.fsync_complete;
	bool answers_itself = pm_has_quirk(s->found.file_system, PM_FS_FSYNC_COMPLETE);
	if (state == PM_UNKNOWN && is_ext4)
		state = pm_ext4_fsync_is_complete(&s->stx, &s->found.no_outer_journal);
	else if (state == PM_UNKNOWN && answers_itself)
		state = PM_YES;
	s->found.fsync_complete = state < 0 ? PM_UNKNOWN : (enum pm_state)state;
	s->found.fsync_may_skip_inode = (is_ext4 || fs->error) && s->found.fsync_complete != PM_YES;
	pm_evidence_set(&e[PM_EV_FSYNC_COMPLETE], s->found.fsync_complete, state < 0 ? -state : fs->error,
	                is_ext4 ? "/sys/fs/ext4/DEVICE/journal_task" : fs->source,
	                state == PM_NO ? "ext4 without a journal" : NULL);
}

/* Whether statmount(2) is asked next (below.c), which tells what else fstatfs(2) would. Not of a file that is lost. */
static bool is_left_to_mount(const struct pm_subject *s, const struct pm_file_system *fs)
{
	return s->map && !s->file_error && s->backing == PM_BACKING_FILE &&
	       pm_is_on_block_device(fs->magic, &s->stx) && pm_has_quirk(fs->magic, PM_FS_STATMOUNT);
}

/* A file system that has just opened a file for writing accepts writes. If it is known, there is nothing to ask. */
static void ask_or_recall(pm_evidence_table e, struct pm_subject *s, unsigned place)
{
	const struct pm_file_system *fs = pm_file_system_at(place);
	bool is_left = fs && is_left_to_mount(s, fs);
	if (fs && (is_left || s->just_opened)) {
		identify(e, fs, "fstatfs(2) of an earlier file of the mount");
		if (!is_left)
			pm_evidence_set(&e[PM_EV_WRITABLE], PM_YES, 0, "open(2) for writing", NULL);
	} else {
		ask_file_system(e, s);
	}
	s->found.file_system = e[PM_EV_FILE_SYSTEM].state == PM_YES ? (uint32_t)e[PM_EV_FILE_SYSTEM].value : 0;
}

void pm_evidence_file_system(pm_evidence_table e, struct pm_subject *s)
{
	s->found.fsync_complete = PM_UNKNOWN;
	s->found.fsync_may_skip_inode = false;
	s->found.file_system = 0;
	if (!S_ISREG(s->stx.stx_mode)) {
		pm_evidence_set(&e[PM_EV_FILE_SYSTEM], PM_NO, 0, "statx(2): a device node", NULL);
		return;
	}
	struct pm_known_mount known = pm_known_mount(s);
	s->found.fsync_complete = known.fsync_complete;
	s->found.no_outer_journal = known.no_outer_journal;
	ask_or_recall(e, s, known.place);
	unsigned place = pm_file_system_place(s->found.file_system);
	fsync_complete(e, s);
	if (place != known.place)
		known = (struct pm_known_mount){0};
	known.place = place;
	known.fsync_complete = s->found.fsync_complete;
	known.no_outer_journal = s->found.no_outer_journal;
	pm_know_mount(s, &known);
	encrypted(e, s);
}

/* ---- The page cache ---- */

/*
 * The kernel spends time on every page that is cached, and none on the others. So it is asked for one page, for more
 * while there is none, and for less once there are some. Both functions find the offset in the range of the first page,
 * or s->length.
 */
#define STEP 4

static int first_of_cachestat(const struct pm_subject *s, uint64_t *first)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t piece = page, end = s->length;
	bool known = false; /* some pages lie before the end */
	for (*first = 0; *first < end;) {
		struct pm_cachestat stat;
		uint64_t length = end - *first < piece ? end - *first : piece;
		int rc = PM_RETRY(pm_sys->cachestat(s->fd, s->offset + *first, length, &stat));
		if (rc)
			return rc;
		if (stat.cached && length <= page)
			return 0;
		if (stat.cached) {
			known = true;
			end = *first + length;
			piece = (length / page + STEP - 1) / STEP * page;
			continue;
		}
		*first += length;
		if (*first == end) /* pages that went meanwhile are looked for behind it */
			known = false;
		end = known ? end : s->length;
		piece = known ? piece : length * STEP;
	}
	return 0;
}

static int first_of_mincore(const struct pm_subject *s, uint64_t *first)
{
	unsigned char vector[4096];
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t pages = 1;
	for (*first = 0; *first < s->length; pages = pages < sizeof(vector) ? pages * STEP : pages) {
		uint64_t left = (s->length - *first + page - 1) / page, count = left < pages ? left : pages;
		int rc = PM_RETRY(pm_sys->mincore((char *)s->map + *first, (size_t)(count * page), vector));
		if (rc)
			return rc;
		for (uint64_t i = 0; i < count; i++, *first += page)
			if (vector[i] & 1)
				return 0;
	}
	return 0;
}

/*
 * If a file belongs to another user and cannot be written, mincore(2) says that every page is cached (mm/mincore.c
 * can_do_mincore). 65534 stands for every user that a namespace does not know.
 */
#define NO_USER 65534u

static bool may_know_pages(const struct pm_subject *s)
{
	bool owner = s->stx.stx_uid == pm_sys->euid() && s->stx.stx_uid != NO_USER;
	return owner || !PM_RETRY(pm_sys->faccessat2_write(s->fd));
}

/*
 * mincore(2) on a DAX file reports page-table entries, not a page cache. cachestat(2) must not be called on a file that
 * may be DAX: mm/filemap.c filemap_cachestat takes its entries for page-cache shadows, and an unprivileged call crashes
 * Linux 6.12.
 */
void pm_evidence_residency(pm_evidence_table e, const struct pm_subject *s)
{
	struct pm_evidence *row = &e[PM_EV_RESIDENT];
	uint64_t first = 0;
	if (e[PM_EV_DAX].state == PM_YES || e[PM_EV_DEVICE_DAX].state == PM_YES) {
		pm_evidence_set(row, PM_UNKNOWN, 0, "not asked: the file is DAX", NULL);
		return;
	}
	const char *source = "cachestat(2)";
	bool may_ask = e[PM_EV_DAX].state == PM_NO && pm_has_quirk(s->found.file_system, PM_FS_CACHESTAT);
	int rc = may_ask ? first_of_cachestat(s, &first) : -ENOSYS;
	/* cachestat(2) refuses by the same rule from Linux 6.13 on (mm/filemap.c can_do_cachestat). */
	if (rc && rc != -EPERM && s->map && !s->is_partial) {
		source = "mincore(2)";
		rc = may_know_pages(s) ? first_of_mincore(s, &first) : -EPERM;
	}
	bool found = !rc && first < s->length;
	const char *text = rc == -EPERM ? "known to the owner and to users with write access" : NULL;
	pm_evidence_set(row, rc ? PM_UNKNOWN : found ? PM_YES : PM_NO, -rc, source, text);
	row->value = found ? s->offset + first : 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The file system, the mount and the page cache behind a file. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "evidence.h"
#include "identity.h"
#include "synced.h"
#include "sys.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif
#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

static const struct {
	uint32_t magic;
	const char *name;
	bool is_volatile; /* keeps its files in memory only */
	bool passes_on;   /* to another file system, or another machine, of which nothing is known */
} file_systems[] = {
	{EXT4_SUPER_MAGIC, "ext2/ext3/ext4", false, false},
	{XFS_SUPER_MAGIC, "xfs", false, false},
	{BTRFS_SUPER_MAGIC, "btrfs", false, false},
	{F2FS_SUPER_MAGIC, "f2fs", false, false},
	{TMPFS_MAGIC, "tmpfs", true, false},
	{RAMFS_MAGIC, "ramfs", true, false},
	{HUGETLBFS_MAGIC, "hugetlbfs", true, false},
	{OVERLAYFS_SUPER_MAGIC, "overlay", false, true},
	{FUSE_SUPER_MAGIC, "fuse", false, true},
	{NFS_SUPER_MAGIC, "nfs", false, true},
	{V9FS_MAGIC, "9p", false, true},
	{EROFS_SUPER_MAGIC_V1, "erofs", false, false},
	{SQUASHFS_MAGIC, "squashfs", false, false},
};

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

/* Mounted volatile, an overlay leaves every sync out (Documentation/filesystems/overlayfs.rst). */
static void overlay(pm_evidence_table e, const struct pm_subject *s)
{
	pm_evidence_mount(e, s);
	if (strstr(e[PM_EV_MOUNT].text, "volatile"))
		pm_evidence_set(&e[PM_EV_VOLATILE], PM_YES, 0, e[PM_EV_MOUNT].source, "overlay mounted volatile");
}

/*
 * What was found of mounts: the id, the place in the list above, counted from one, and whether syncs write inodes. A mount
 * is of one file system as long as it is there, and from Linux 6.8 on its id is never another's.
 */
#define MOUNTS 16
#define PLACE_BITS 6
#define STATE_BITS 2

static _Atomic uint64_t mounts[MOUNTS];

static size_t place_of_mount(const struct pm_subject *s, enum pm_state *syncs_inodes)
{
	uint64_t id = s->stx.stx_mnt_id, found = atomic_load(&mounts[id % MOUNTS]);
	if (!(s->stx.stx_mask & STATX_MNT_ID_UNIQUE) || found >> (PLACE_BITS + STATE_BITS) != id)
		return 0;
	*syncs_inodes = found & ((1u << STATE_BITS) - 1);
	return found >> STATE_BITS & ((1u << PLACE_BITS) - 1);
}

static void remember(const struct pm_subject *s, size_t place)
{
	uint64_t id = s->stx.stx_mnt_id;
	if (place && s->stx.stx_mask & STATX_MNT_ID_UNIQUE)
		atomic_store(&mounts[id % MOUNTS], (id << PLACE_BITS | place) << STATE_BITS | s->syncs_inodes);
}

static size_t place_of_type(uint32_t magic)
{
	size_t place = sizeof(file_systems) / sizeof(file_systems[0]);
	while (place && file_systems[place - 1].magic != magic)
		place--;
	return place;
}

static void identify(pm_evidence_table e, size_t place, const char *source)
{
	const char *name = file_systems[place - 1].name;
	pm_evidence_set(&e[PM_EV_FILE_SYSTEM], PM_YES, 0, source, name);
	e[PM_EV_FILE_SYSTEM].value = file_systems[place - 1].magic;
	if (file_systems[place - 1].is_volatile)
		pm_evidence_set(&e[PM_EV_VOLATILE], PM_YES, 0, source, name);
}

static void ask_file_system(pm_evidence_table e, const struct pm_subject *s)
{
	struct statfs stfs;
	char text[56];
	int rc = PM_RETRY(pm_sys->fstatfs(s->fd, &stfs));
	if (rc) {
		pm_evidence_set(&e[PM_EV_FILE_SYSTEM], PM_UNKNOWN, -rc, "fstatfs(2)", NULL);
		pm_evidence_set(&e[PM_EV_WRITABLE], PM_UNKNOWN, -rc, "fstatfs(2)", NULL);
		return;
	}
	/*
	 * Set by mount options and by an emergency alike (fs/statfs.c flags_by_sb); not by the errors of an ext4 from
	 * Linux 6.15 on, which stand in its options: fs/ext4/super.c EXT4_FLAGS_EMERGENCY_RO.
	 */
	pm_evidence_set(&e[PM_EV_WRITABLE], stfs.f_flags & ST_RDONLY ? PM_NO : PM_YES, 0, "fstatfs(2)", NULL);
	uint32_t type = (uint32_t)stfs.f_type;
	bool is_of_server = pm_needs_block_device(type) && !pm_is_on_block_device(type, &s->stx);
	size_t place = place_of_type(type);
	if (place && !is_of_server) {
		identify(e, place, "fstatfs(2)");
		return;
	}
	snprintf(text, sizeof(text), "f_type 0x%x%s", type, is_of_server ? " of a server, as there is no device" : "");
	pm_evidence_set(&e[PM_EV_FILE_SYSTEM], PM_UNKNOWN, 0, "fstatfs(2)", text);
	e[PM_EV_FILE_SYSTEM].value = type;
}

/* MAP_SYNC has each write fault sync the file as msync does: fs/dax.c dax_finish_sync_fault. */
static void syncs_inodes(pm_evidence_table e, struct pm_subject *s, size_t place)
{
	const struct pm_evidence *fs = &e[PM_EV_FILE_SYSTEM];
	bool is_ext4 = fs->state == PM_YES && fs->value == EXT4_SUPER_MAGIC;
	int state = (int)s->syncs_inodes;
	bool answers_itself = place && !file_systems[place - 1].passes_on;
	if (state == PM_UNKNOWN)
		state = is_ext4 ? pm_ext4_syncs_inodes(&s->stx) : answers_itself ? PM_YES : PM_UNKNOWN;
	s->syncs_inodes = state < 0 ? PM_UNKNOWN : (enum pm_state)state;
	s->may_leave_inode_out = (is_ext4 || fs->error) && s->syncs_inodes != PM_YES;
	pm_evidence_set(&e[PM_EV_SYNCS_INODES], s->syncs_inodes, state < 0 ? -state : fs->error,
	                is_ext4 ? "/sys/fs/ext4/DEVICE/journal_task" : fs->source,
	                state == PM_NO ? "ext4 without a journal" : NULL);
}

void pm_evidence_file_system(pm_evidence_table e, struct pm_subject *s)
{
	s->syncs_inodes = PM_UNKNOWN;
	s->may_leave_inode_out = false;
	s->file_system = 0;
	if (!S_ISREG(s->stx.stx_mode)) {
		pm_evidence_set(&e[PM_EV_FILE_SYSTEM], PM_NO, 0, "statx(2): a device node", NULL);
		return;
	}
	size_t place = place_of_mount(s, &s->syncs_inodes);
	/* A file system that just now let a file be opened for writing takes writes: if it is known, there is nothing to ask. */
	if (place && s->just_opened) {
		identify(e, place, "fstatfs(2) of an earlier file of the mount");
		pm_evidence_set(&e[PM_EV_WRITABLE], PM_YES, 0, "open(2) for writing", NULL);
	} else {
		ask_file_system(e, s);
	}
	bool known = e[PM_EV_FILE_SYSTEM].state == PM_YES;
	place = known ? place_of_type((uint32_t)e[PM_EV_FILE_SYSTEM].value) : 0;
	s->file_system = known ? (uint32_t)e[PM_EV_FILE_SYSTEM].value : 0;
	syncs_inodes(e, s, place);
	remember(s, place);
	encrypted(e, s);
	if (e[PM_EV_FILE_SYSTEM].value == OVERLAYFS_SUPER_MAGIC)
		overlay(e, s);
}

/* Whole content of a procfs file, which has no size; to be freed. NULL: not to be read. */
static char *read_whole(const char *path)
{
	int fd = PM_RETRY(pm_sys->openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0));
	if (fd < 0)
		return NULL;
	size_t used = 0, room = 0;
	char *text = NULL;
	ssize_t got = 1;
	while (got > 0) {
		if (used + 1 >= room) {
			char *bigger = realloc(text, room += 16384);
			if (!bigger)
				break;
			text = bigger;
		}
		got = PM_RETRY(pm_sys->read(fd, text + used, room - used - 1));
		if (got > 0)
			used += (size_t)got;
	}
	pm_sys->close(fd);
	if (got == 0 && text) {
		text[used] = 0;
		return text;
	}
	free(text);
	return NULL;
}

/* Keeps the options that concern this library: ro, dax*, nodax, data=, nobarrier, barrier=, volatile, fsync=. */
static void keep_options(bool read_only, char *options, char *kept, size_t size)
{
	char *rest = NULL;
	size_t used = (size_t)snprintf(kept, size, "%s", read_only ? "ro" : "");
	for (char *o = strtok_r(options, ",", &rest); o; o = strtok_r(NULL, ",", &rest)) {
		bool wanted = !strcmp(o, "ro") || !strcmp(o, "emergency_ro") || !strncmp(o, "dax", 3) || !strcmp(o, "nodax") ||
		              !strncmp(o, "data=", 5) || strstr(o, "barrier") || !strcmp(o, "volatile") ||
		              !strncmp(o, "fsync=", 6);
		if (wanted && used + strlen(o) + 2 < size)
			used += (size_t)snprintf(kept + used, size - used, "%s%s", used ? "," : "", o);
	}
}

/*
 * Whether a line is of the file's mount: for sure by the mount's id, maybe by the device, which on an overlay is
 * often another one (Documentation/filesystems/overlayfs.rst, "Inode properties").
 */
enum match { MATCH_NONE, MATCH_DEVICE, MATCH_MOUNT };

static enum match match_mount(const char *line, unsigned mount, const struct statx *stx)
{
	unsigned id, major, minor;
	if (sscanf(line, "%u %*u %u:%u", &id, &major, &minor) != 3)
		return MATCH_NONE;
	if (id == mount)
		return MATCH_MOUNT;
	return major == stx->stx_dev_major && minor == stx->stx_dev_minor ? MATCH_DEVICE : MATCH_NONE;
}

#define TYPE_MOST 31 /* what is shown of a type's name */

/* proc(5) mountinfo: ID parent M:m root point options [tags] - type source super-options. */
static bool parse_mount(char *line, char *kept, size_t size)
{
	char *separator = strstr(line, " - "), *type = separator ? separator + 3 : NULL;
	char *source = type ? strchr(type, ' ') : NULL, *super = source ? strchr(source + 1, ' ') : NULL;
	if (!super)
		return false;
	int length = source - type < TYPE_MOST ? (int)(source - type) : TYPE_MOST;
	int used = snprintf(kept, size, "%.*s ", length, type);
	keep_options(false, super + 1, kept + used, size - (size_t)used);
	return true;
}

/* The id that the table has (proc(5) fdinfo); that of statx(2) may be another. 0: not to be had. */
static unsigned mount_of_descriptor(int fd)
{
	char path[40], text[256];
	unsigned id = 0;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	const char *at = pm_read_text(path, text, sizeof(text)) > 0 ? strstr(text, "mnt_id:") : NULL;
	return at && sscanf(at, "mnt_id: %u", &id) == 1 ? id : 0;
}

static void mount_of_table(pm_evidence_table e, const struct pm_subject *s)
{
	char *text = read_whole("/proc/self/mountinfo"), *rest = NULL, kept[56];
	struct pm_evidence *row = &e[PM_EV_MOUNT];
	enum match best = MATCH_NONE;
	unsigned mount = mount_of_descriptor(s->fd);
	pm_evidence_set(row, PM_UNKNOWN, 0, "/proc/self/mountinfo", NULL);
	for (char *line = text ? strtok_r(text, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest)) {
		enum match match = match_mount(line, mount, &s->stx);
		if (match <= best || !parse_mount(line, kept, sizeof(kept)))
			continue;
		pm_evidence_set(row, PM_YES, 0, "/proc/self/mountinfo", kept);
		best = match;
	}
	free(text);
}

/*
 * One mount is asked for where that can be done, for the table is long in the making. To keep the table and read it again
 * when poll(2) says so would not do: it says nothing of FSCONFIG_CMD_RECONFIGURE (fsconfig(2), what mount(8) uses now)
 * and of a remount in another mount namespace, which both change the options.
 */
void pm_evidence_mount(pm_evidence_table e, const struct pm_subject *s)
{
	struct pm_mount mount;
	char type[TYPE_MOST + 1], kept[56];
	/* Linux before 6.11; or the mount is of another namespace, and the table may have the device. */
	if (PM_RETRY(pm_sys->statmount(s->fd, &mount))) {
		mount_of_table(e, s);
		return;
	}
	snprintf(type, sizeof(type), "%s%s%s", mount.type, mount.subtype[0] ? "." : "", mount.subtype);
	int used = snprintf(kept, sizeof(kept), "%s ", type);
	keep_options(mount.read_only, mount.options, kept + used, sizeof(kept) - (size_t)used);
	pm_evidence_set(&e[PM_EV_MOUNT], PM_YES, 0, "statmount(2)", kept);
}

/* ---- The page cache ---- */

/*
 * The kernel takes its time for every page that is there, and not for those that are not: so it is asked for one page,
 * for more as long as there is none, and for less as soon as there are some. Both find the offset in the range of the
 * first page, or s->length.
 */
#define STEP 4

static int first_of_cachestat(const struct pm_subject *s, uint64_t *first)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t piece = page, end = s->length;
	bool known = false; /* some are before the end */
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
		if (*first == end) /* what went meanwhile is looked for behind it */
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
 * mincore(2) on a DAX file reports page-table entries, not a page cache. cachestat(2) must not be called
 * on a file that may be DAX: mm/filemap.c filemap_cachestat takes its entries for page-cache shadows, and an
 * unprivileged call crashes Linux 6.12.
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
	int rc = e[PM_EV_DAX].state == PM_NO ? first_of_cachestat(s, &first) : -ENOSYS;
	if (rc && s->map) {
		source = "mincore(2)";
		rc = first_of_mincore(s, &first);
	}
	bool found = !rc && first < s->length;
	pm_evidence_set(row, rc ? PM_UNKNOWN : found ? PM_YES : PM_NO, -rc, source, NULL);
	row->value = found ? s->offset + first : 0;
}

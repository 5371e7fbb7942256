/* SPDX-License-Identifier: BSD-3-Clause */
/* The mount behind a file: what an earlier look found out, and its options. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facts/evidence.h"
#include "facts/mount.h"
#include "facts/subject.h"
#include "facts/text.h"
#include "kernel/sysfs.h"
#include "sys/sys.h"

/* ---- What is known from before ---- */

/*
 * A mount keeps its file system as long as it exists, and from Linux 6.8 on no other mount gets its id. From the
 * highest bit down: the id, then the members of struct pm_known_mount in their order.
 */
#define MOUNTS 16
#define PLACE_BITS 6
#define STATE_BITS 2
#define KNOWN_BITS (PLACE_BITS + 2 * STATE_BITS + 3)

static _Atomic uint64_t mounts[MOUNTS];

struct pm_known_mount pm_known_mount(const struct pm_subject *s)
{
	uint64_t id = s->stx.stx_mnt_id, found = atomic_load(&mounts[id % MOUNTS]);
	if (!(s->stx.stx_mask & STATX_MNT_ID_UNIQUE) || found >> KNOWN_BITS != id)
		return (struct pm_known_mount){0};
	return (struct pm_known_mount){.is_settled = found & 1,
	                               .is_verified = found >> 1 & 1,
	                               .no_outer_journal = found >> 2 & 1,
	                               .flushes = found >> 3 & 3,
	                               .fsync_complete = found >> 5 & 3,
	                               .place = found >> 7 & ((1u << PLACE_BITS) - 1)};
}

void pm_know_mount(const struct pm_subject *s, const struct pm_known_mount *k)
{
	uint64_t id = s->stx.stx_mnt_id, facts = (uint64_t)k->place << 7 | (uint64_t)k->fsync_complete << 5 |
	                                         (uint64_t)k->flushes << 3 | (uint64_t)k->no_outer_journal << 2 |
	                                         (uint64_t)k->is_verified << 1 | k->is_settled;
	if (k->place && s->stx.stx_mask & STATX_MNT_ID_UNIQUE)
		atomic_store(&mounts[id % MOUNTS], id << KNOWN_BITS | facts);
}

/* ---- Its options ---- */

/* To the end of the file, which has no size. Returns the length or -errno; *text is to be freed either way. */
static ssize_t read_up_to_end(int fd, char **text)
{
	size_t used = 0, room = 0;
	ssize_t got;
	do {
		if (used + 1 >= room) {
			char *bigger = realloc(*text, room += 16384);
			if (!bigger)
				return -ENOMEM;
			*text = bigger;
		}
		got = PM_RETRY(pm_sys->read(fd, *text + used, room - used - 1));
		used += got > 0 ? (size_t)got : 0;
	} while (got > 0);
	return got < 0 ? got : (ssize_t)used;
}

/* The whole content of a procfs file; to be freed. NULL: it cannot be read, and *error says why. */
static char *read_whole(const char *path, int *error)
{
	char *text = NULL;
	int fd = pm_sysfs_open(path, O_RDONLY);
	ssize_t got = fd < 0 ? fd : read_up_to_end(fd, &text);
	if (fd >= 0)
		pm_sys->close(fd);
	*error = got < 0 ? (int)got : 0;
	if (got >= 0) {
		text[got] = 0;
		return text;
	}
	free(text);
	return NULL;
}

/*
 * Whether a line describes the file's mount: for certain by the id of the mount, perhaps by the device, which on an
 * overlay is often another one (Documentation/filesystems/overlayfs.rst, "Inode properties").
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

/* proc(5) mountinfo: ID parent M:m root point options [tags] - type source super-options. */
static bool parse_mount(char *line, struct pm_mount_facts *f)
{
	char *separator = strstr(line, " - "), *type = separator ? separator + 3 : NULL;
	char *source = type ? strchr(type, ' ') : NULL, *super = source ? strchr(source + 1, ' ') : NULL;
	if (!super)
		return false;
	*source++ = *super++ = 0;
	f->type = type;
	f->subtype = "";
	f->device = source;
	f->options = super;
	return true;
}

/* The id in the table (proc(5) fdinfo); that of statx(2) may differ. 0: it cannot be read. */
static unsigned mount_of_descriptor(int fd)
{
	char path[40], text[256];
	unsigned id = 0;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	const char *at = pm_read_text(path, text, sizeof(text)) > 0 ? strstr(text, "mnt_id:") : NULL;
	return at && sscanf(at, "mnt_id: %u", &id) == 1 ? id : 0;
}

int pm_mount_is_listed(int fd)
{
	int error;
	unsigned mount = mount_of_descriptor(fd), id;
	char *table = mount ? read_whole("/proc/self/mountinfo", &error) : NULL, *rest = NULL;
	if (!table)
		return mount ? error : -ENODATA;
	bool found = false;
	for (char *line = strtok_r(table, "\n", &rest); line && !found; line = strtok_r(NULL, "\n", &rest))
		found = sscanf(line, "%u", &id) == 1 && id == mount;
	free(table);
	return found;
}

static int read_table(int fd, const struct statx *stx, struct pm_mount_facts *f)
{
	char *rest = NULL, *best_line = NULL;
	enum match best = MATCH_NONE;
	unsigned mount = mount_of_descriptor(fd);
	int error;
	f->source = "/proc/self/mountinfo";
	f->table = read_whole(f->source, &error);
	for (char *line = f->table ? strtok_r(f->table, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest)) {
		enum match match = match_mount(line, mount, stx);
		if (match <= best)
			continue;
		best_line = line;
		best = match;
	}
	return best_line && parse_mount(best_line, f) ? 0 : error ? error : -ENOENT;
}

/*
 * The kernel is asked for one mount where possible, since it takes long to make the table. Keeping the table until
 * poll(2) announces a change would not do: poll(2) announces neither FSCONFIG_CMD_RECONFIGURE (fsconfig(2), which
 * mount(8) uses now) nor a remount in another mount namespace, and both change the options.
 */
int pm_mount_read(int fd, const struct statx *stx, bool by_statmount, struct pm_mount_facts *f)
{
	*f = (struct pm_mount_facts){.fd = fd, .source = "statmount(2)"};
	/* Linux before 6.11; or the mount belongs to another namespace, and the table may have the device. */
	bool has_id = stx->stx_mask & STATX_MNT_ID_UNIQUE;
	if (!by_statmount || !has_id || PM_RETRY(pm_sys->statmount(stx->stx_mnt_id, &f->asked)))
		return read_table(fd, stx, f);
	f->read_only = f->asked.read_only;
	f->type = f->asked.type;
	f->subtype = f->asked.subtype;
	f->options = f->asked.options;
	return 0;
}

void pm_mount_free(struct pm_mount_facts *f)
{
	free(f->table);
	f->table = NULL;
}

const char *pm_mount_option(const struct pm_mount_facts *f, const char *name)
{
	size_t length = strlen(name);
	bool has_value = name[length - 1] == '=';
	for (const char *o = f->options, *comma; o; o = comma ? comma + 1 : NULL) {
		bool is_it = *o == *name && !strncmp(o, name, length);
		if (is_it && (has_value || o[length] == ',' || !o[length]))
			return o + length;
		comma = strchr(o, ',');
	}
	return NULL;
}

static int octal(const char *at)
{
	for (int i = 0; i < 3; i++)
		if (at[i] < '0' || at[i] > '7')
			return -1;
	return (at[0] - '0') * 64 + (at[1] - '0') * 8 + (at[2] - '0');
}

/* The kernel writes characters that would end the text in octal (fs/seq_file.c seq_escape). */
int pm_mount_path(const struct pm_mount_facts *f, const char *name, char *path, size_t size)
{
	const char *at = pm_mount_option(f, name);
	size_t used = 0;
	if (!at)
		return -ENOENT;
	while (*at && *at != ',') {
		int escaped = *at == '\\' ? octal(at + 1) : -1;
		if (used + 1 == size)
			return -ENAMETOOLONG;
		path[used++] = escaped < 0 ? *at : (char)escaped;
		at += escaped < 0 ? 1 : 4;
	}
	path[used] = 0;
	return 0;
}

/* ---- The row ---- */

#define TYPE_MOST 31 /* what the row shows of the name of a type */

/*
 * Options that concern flushes, and their counterparts of an overlay, a server or a file system with logs of its own;
 * DAX; and what makes a file system read-only.
 */
static bool is_shown(const char *o)
{
	static const char *const names[] = {"dax",    "nodax",       "barrier",      "nobarrier",
	                                    "data=",  "checkpoint=", "nostrictsync", "journal_flush_disabled",
	                                    "fsync=", "fsync_mode=", "volatile",     "emergency_ro"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (*o == *names[i] && !strncmp(o, names[i], strlen(names[i])))
			return true;
	return !strcmp(o, "ro");
}

static void keep_options(bool read_only, char *options, char *kept, size_t size)
{
	size_t used = pm_text_copy(kept, size, read_only ? "ro" : "");
	for (char *o = options, *comma; o; o = comma ? comma + 1 : NULL) {
		comma = strchr(o, ',');
		if (comma)
			*comma = 0;
		if (!is_shown(o) || used + strlen(o) + 2 >= size)
			continue;
		if (used)
			kept[used++] = ',';
		used += pm_text_copy(kept + used, size - used, o);
	}
}

void pm_mount_row(pm_evidence_table e, struct pm_mount_facts *f, int rc)
{
	char type[TYPE_MOST + 1], kept[56];
	if (rc) {
		pm_evidence_set(&e[PM_EV_MOUNT], PM_UNKNOWN, rc == -ENOENT ? 0 : -rc, f->source, NULL);
		return;
	}
	size_t length = pm_text_copy(type, sizeof(type), f->type);
	length += pm_text_copy(type + length, sizeof(type) - length, f->subtype[0] ? "." : "");
	pm_text_copy(type + length, sizeof(type) - length, f->subtype);
	size_t used = pm_text_copy(kept, sizeof(kept), type);
	kept[used++] = ' ';
	keep_options(f->read_only, f->options, kept + used, sizeof(kept) - used);
	if (!kept[used])
		kept[used - 1] = 0;
	pm_evidence_set(&e[PM_EV_MOUNT], PM_YES, 0, f->source, kept);
}

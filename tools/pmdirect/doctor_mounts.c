/* SPDX-License-Identifier: BSD-3-Clause */
/* What the library says of a new file on each mounted file system. */
#include <errno.h>
#include <pmdirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "doctor.h"
#include "place.h"
#include "text.h"

struct mount {
	unsigned major, minor;
	char *where, *type, *options;
};

/* Those that hold files of data, on a device or in memory. Of servers nothing is asked: one may not answer. */
static const char *const asked[] = {"ext2", "ext3",    "ext4",  "xfs",  "btrfs", "f2fs", "bcachefs",
                                    "zfs",  "overlay", "erofs", "vfat", "exfat", "ntfs3"};
static const char *const servers[] = {"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "virtiofs", "afs"};

static bool is_one_of(const char *const *list, size_t count, const char *type)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i], type))
			return true;
	return false;
}
#define IS_ONE_OF(list, type) is_one_of(list, sizeof(list) / sizeof((list)[0]), type)

/* In place: "\040" and the like. */
static void unescape(char *text)
{
	char *to = text;
	for (const char *at = text; *at; to++) {
		bool is_escape = at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] && at[3];
		*to = is_escape ? (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0')) : *at;
		at += is_escape ? 4 : 1;
	}
	*to = 0;
}

static void mount_end(struct mount *m)
{
	free(m->where);
	free(m->type);
	free(m->options);
}

/* "36 35 98:0 /root /mnt rw,noatime shared:1 - ext4 /dev/sda1 rw,errors=continue" */
static bool parse(char *line, struct mount *m)
{
	char *own = NULL, *super = NULL, *rest = strstr(line, " - ");
	*m = (struct mount){.where = NULL};
	line[strcspn(line, "\n")] = 0;
	bool is_one = rest && sscanf(line, "%*u %*u %u:%u %*s %ms %ms", &m->major, &m->minor, &m->where, &own) == 4 &&
	              sscanf(rest, " - %ms %*s %ms", &m->type, &super) == 2;
	if (is_one) {
		m->options = text_format(",%s,%s,", own, super);
		unescape(m->where);
	} else {
		mount_end(m);
	}
	free(own);
	free(super);
	return is_one;
}

static bool has_option(const struct mount *m, const char *option)
{
	char *pattern = text_format(",%s,", option);
	bool has = strstr(m->options, pattern);
	free(pattern);
	return has;
}

/* What lies below: whether syncs reach a medium that keeps the data. */
static void say_medium(struct doctor *d, const struct mount *m, const struct pm_report *r)
{
	const struct pm_evidence *e = r->evidence;
	if (e[PM_EV_VOLATILE].state == PM_YES)
		finding(d, LEVEL_BAD, "mount", m->where, "put what must last on a persistent medium",
		        "%s lies on memory that a power failure clears (%s)", m->type, e[PM_EV_VOLATILE].text);
	else if (e[PM_EV_SYNC_IGNORED].state == PM_YES)
		finding(d, LEVEL_BAD, "mount", m->where, "leave the sandbox, or the preloaded library",
		        "syncs succeed without being made");
	else if (e[PM_EV_DEVICE_FLUSH].state == PM_NO)
		finding(d, LEVEL_BAD, "mount", m->where,
		        "mount it with barriers, and set queue/write_cache to write back",
		        "a sync does not reach the medium: no flush is sent to its disk (%s)",
		        e[PM_EV_DEVICE_FLUSH].text);
	else if (r->reason == PM_REASON_NOT_ARMED && r->granularity == PM_NONE)
		finding(d, LEVEL_BAD, "mount", m->where, "replace the DIMM", "its NVDIMMs do not save their data");
	else if (e[PM_EV_VOLATILE].state == PM_UNKNOWN)
		finding(d, LEVEL_UNKNOWN, "mount", m->where, "", "whether the medium keeps its data is not known%s%s",
		        e[PM_EV_VOLATILE].text[0] ? ": " : "", e[PM_EV_VOLATILE].text);
	else
		finding(d, LEVEL_OK, "mount", m->where, "", "%s: %s, sync %s, direct %s, %s", m->type,
		        pm_granularity_name(r->granularity), pm_state_name(r->sync), pm_state_name(r->direct),
		        r->reason ? pm_reason_name(r->reason) : pm_grade_name(r->grade));
}

/* What keeps a direct file system from durability by cache lines. */
static void say_direct(struct doctor *d, const struct mount *m, const struct pm_report *r)
{
	const struct pm_evidence *e = r->evidence;
	if (e[PM_EV_MAP_SYNC].state == PM_NO)
		finding(d, LEVEL_NOTE, "mount", m->where, "", "it is direct, and refuses MAP_SYNC (%s)",
		        pm_strerror(e[PM_EV_MAP_SYNC].error));
}

static void say_cached(struct doctor *d, const struct mount *m, const struct pm_report *r)
{
	char dax[8];
	if (sysfs_line(dax, sizeof(dax), "/sys/dev/block/%u:%u/queue/dax", m->major, m->minor) && !strcmp(dax, "1"))
		finding(d, LEVEL_WARNING, "mount", m->where,
		        "mount it with -o dax=always, or set the inode's flag (xfs_io -c 'chattr +x')",
		        "its device is capable of DAX, and a new file has a page cache");
	if (r->evidence[PM_EV_LARGE_FOLIOS].state == PM_YES)
		finding(d, LEVEL_NOTE, "mount", m->where,
		        "map with PM_ACCESS_RANDOM where commits are small and more than 64 MiB are cached",
		        "%s may cache files in large folios: a commit of some bytes may write up to 2 MiB, with this "
		        "library only the first in a folio that it did not split when it mapped the file",
		        m->type);
}

static void say_quirks(struct doctor *d, const struct mount *m, const struct pm_report *r)
{
	const struct pm_quirk *quirk;
	for (size_t i = 0; (quirk = pm_quirk(r, i)); i++)
		finding(d, LEVEL_WARNING, "mount", m->where, quirk->advice, "under Linux %s %s",
		        r->evidence[PM_EV_KERNEL].text, quirk->effect);
}

static void say_all(struct doctor *d, const struct mount *m, const struct pm_report *r)
{
	say_medium(d, m, r);
	if (r->direct == PM_YES)
		say_direct(d, m, r);
	else if (r->direct == PM_NO)
		say_cached(d, m, r);
	if (r->evidence[PM_EV_FSYNC_COMPLETE].state == PM_NO)
		finding(d, LEVEL_WARNING, "mount", m->where,
		        "give it a journal (tune2fs -O has_journal), or map with PM_PREPARE",
		        "it is an ext4 without a journal: a sync is of the whole file system, and needs e2fsck after a "
		        "crash");
	say_quirks(d, m, r);
	if (r->evidence[PM_EV_FS_ONLINE].state == PM_NO)
		finding(d, LEVEL_BAD, "mount", m->where, "unmount it, check it and mount it again",
		        "it was shut down, or its device is gone");
}

static void ask_mount(struct doctor *d, const struct mount *m)
{
	struct place place;
	struct answer a;
	struct pm_options o = {.flags = 0};
	place_look(m->where, &place);
	/* A mount over a single file, as in containers: what lies below is the same. */
	place_ask(m->where, &place, &o, &a);
	if (!a.error && a.report.granularity) {
		say_all(d, m, &a.report);
	} else if (a.error == -EROFS || has_option(m, "ro")) {
		finding(d, LEVEL_NOTE, "mount", m->where, "", "%s, mounted read-only: nothing can be stored there",
		        m->type);
	} else {
		bool is_forbidden = a.error == -EACCES || a.error == -EPERM;
		finding(d, LEVEL_UNKNOWN, "mount", m->where,
		        is_forbidden ? "run pmdirect doctor as root, or pmdirect probe on a file there" : "",
		        "%s: a new file there cannot be asked for%s%s", m->type, is_forbidden ? " by this user" : ": ",
		        is_forbidden ? ""
		        : a.sentence ? a.sentence
		                     : "the library does not know");
	}
	answer_free(&a);
}

static void look_at_mount(struct doctor *d, const struct mount *m)
{
	if (IS_ONE_OF(asked, m->type))
		ask_mount(d, m);
	else if (IS_ONE_OF(servers, m->type) || !strncmp(m->type, "fuse", 4))
		finding(d, LEVEL_UNKNOWN, "mount", m->where, "ask the server; pmdirect probe asks for a path there",
		        "%s: whether data lasts is the server's promise, and it was not asked", m->type);
}

struct seen {
	struct {
		unsigned major, minor;
	} *list;
	size_t count, room;
};

/* The first of each file system; in containers one is mounted many times. */
static bool is_new(struct seen *s, const struct mount *m)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->list[i].major == m->major && s->list[i].minor == m->minor)
			return false;
	if (s->count == s->room) {
		s->room = s->room ? 2 * s->room : 64;
		s->list = realloc(s->list, s->room * sizeof(*s->list));
		if (!s->list)
			abort();
	}
	s->list[s->count].major = m->major;
	s->list[s->count++].minor = m->minor;
	return true;
}

void doctor_mounts(struct doctor *d)
{
	struct seen seen = {.count = 0};
	struct mount m;
	size_t size = 0;
	unsigned in_memory = 0;
	char *line = NULL;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	if (!f) {
		finding(d, LEVEL_UNKNOWN, "mount", "-", "", "/proc is not mounted, so no mount can be looked at");
		return;
	}
	while (getline(&line, &size, f) > 0) {
		if (!parse(line, &m))
			continue;
		in_memory += !strcmp(m.type, "tmpfs") || !strcmp(m.type, "ramfs");
		if (is_new(&seen, &m))
			look_at_mount(d, &m);
		mount_end(&m);
	}
	if (in_memory)
		finding(d, LEVEL_NOTE, "mount", "tmpfs", "", "%u mounts are memory that a power failure clears",
		        in_memory);
	free(seen.list);
	free(line);
	fclose(f);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "command.h"
#include "facts.h"
#include "locks.h"
#include "look.h"
#include "place.h"
#include "reach.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* the same number on every architecture (Linux 6.5) */
#endif
#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif
#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

/* One answer. On a direct file it is that of the range, else of the file, or of all of a volatile file system. */
struct kept {
	struct facts facts;
	uint32_t major, minor;
	uint64_t inode, offset, length;
	bool is_of_device;
};

static struct kept *table;
static size_t count, room;
static size_t last; /* where the answer before was: mappings of one file follow each other */

/* The file that is open, for cachestat(2) of more of its ranges. */
static struct {
	int fd;
	uint32_t major, minor;
	uint64_t inode, size;
	bool may_count;
} file = {.fd = -1};

static bool answers(const struct kept *k, const struct area *a)
{
	if (k->major != a->major || k->minor != a->minor)
		return false;
	if (k->is_of_device)
		return true;
	bool same_range = k->offset == a->offset && k->length == a->end - a->start;
	return k->inode == a->inode && (same_range || k->facts.direct == PM_NO);
}

static const struct kept *find(const struct area *a)
{
	if (last < count && answers(&table[last], a))
		return &table[last];
	for (size_t i = 0; i < count; i++)
		if (answers(&table[i], a))
			return &table[last = i];
	return NULL;
}

/*
 * Whether cachestat(2) of the file does no harm: on a DAX file it crashes the kernel (mm/filemap.c filemap_cachestat
 * takes its entries for shadows of pages), and on tmpfs before Linux 6.9.
 */
static bool may_count(int fd, const struct statx *stx)
{
	struct statfs fs;
	bool is_cached = S_ISREG(stx->stx_mode) && stx->stx_attributes_mask & STATX_ATTR_DAX &&
	                 !(stx->stx_attributes & STATX_ATTR_DAX);
	if (!is_cached || fstatfs(fd, &fs))
		return false;
	switch ((uint32_t)fs.f_type) {
	case EXT4_SUPER_MAGIC:
	case XFS_SUPER_MAGIC:
	case BTRFS_SUPER_MAGIC:
	case FUSE_SUPER_MAGIC:
		return true;
	default:
		return false;
	}
}

static void forget_file(void)
{
	if (file.fd >= 0)
		close(file.fd);
	file.fd = -1;
}

static int open_unnoticed(const char *path)
{
	const int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd = open(path, flags | O_NOATIME);
	return fd < 0 && errno == EPERM ? open(path, flags) : fd;
}

/* For reading only: an open for writing is news to whatever watches the file. NULL, or why it is not open. */
static const char *open_file(const struct area *a, const struct reached *r)
{
	struct statx stx;
	forget_file();
	if (locks_lease_holder(r->path, &r->stx) || locks_of(a->major, a->minor, a->inode).lease_holder)
		return "a process has a lease on the file, which an open would break";
	int fd = open_unnoticed(r->path);
	if (fd < 0)
		return errno == EACCES || errno == EPERM ? "this user may not open the file"
		                                         : "the file cannot be opened";
	bool is_it = !look_at_fd(fd, &stx) && stx.stx_ino == r->stx.stx_ino &&
	             (!r->is_to_be_shown || reach_is_mapped(a, fd));
	if (!is_it) {
		close(fd);
		return "another file has its path";
	}
	file.fd = fd;
	file.major = a->major;
	file.minor = a->minor;
	file.inode = a->inode;
	file.size = stx.stx_size;
	file.may_count = may_count(fd, &stx);
	return NULL;
}

void facts_take(struct facts *f, const struct pm_report *r, bool is_writable)
{
	const struct pm_evidence *writable = &r->evidence[PM_EV_WRITABLE];
	f->is_probed = true;
	f->granularity = r->granularity;
	f->sync = r->sync;
	f->direct = r->direct;
	f->grade = r->grade;
	f->reason = r->reason;
	f->durable = state_durable(r);
	f->map_sync = state_worst(r->evidence[PM_EV_MAP_SYNC].state,
	                          r->evidence[PM_EV_MAP_SYNC_IGNORED].state == PM_YES ? PM_NO : PM_YES);
	f->large_folios = r->evidence[PM_EV_LARGE_FOLIOS].state;
	f->is_device = r->evidence[PM_EV_DEVICE_DAX].state == PM_YES;
	f->is_tmpfs = r->evidence[PM_EV_FILE_SYSTEM].value == TMPFS_MAGIC;
	f->is_overlay = r->evidence[PM_EV_FILE_SYSTEM].value == OVERLAYFS_SUPER_MAGIC;
	/* The probe was of a mapping for reading. An immutable file says EPERM, and is mapped already. */
	f->is_lost = is_writable && writable->state == PM_NO && writable->error != EPERM;
}

static void probe(struct facts *f, const struct area *a, mode_t mode)
{
	struct pm_report r;
	bool is_regular = S_ISREG(mode);
	struct pm_options o = {.size = sizeof(o), .flags = PM_READ_ONLY};
	uint64_t length = a->end - a->start;
	if (f->direct != PM_NO && !S_ISBLK(mode)) {
		o.offset = a->offset;
		o.length = is_regular && a->offset < file.size && file.size - a->offset < length ? file.size - a->offset
		                                                                                 : length;
	}
	if (is_regular && a->offset >= file.size)
		f->obstacle = "the file ends before the mapping: an access is a SIGBUS";
	else if (pm_probe_fd(file.fd, &o, &r, sizeof(r)))
		f->obstacle = "the library cannot look at the file";
	else
		facts_take(f, &r, a->is_writable);
}

static enum pm_state direct_of(const struct statx *stx)
{
	if (!S_ISREG(stx->stx_mode) || !(stx->stx_attributes_mask & STATX_ATTR_DAX))
		return PM_UNKNOWN;
	return stx->stx_attributes & STATX_ATTR_DAX ? PM_YES : PM_NO;
}

static struct facts gather(const struct area *a)
{
	struct facts f = {.direct = PM_UNKNOWN};
	struct reached r;
	struct place place;
	int rc = reach(a, &r);
	if (rc) {
		f.obstacle = rc == -ESTALE ? "another file has its path" : "this user cannot reach the file";
		return f;
	}
	f.direct = direct_of(&r.stx);
	if (S_ISCHR(r.stx.stx_mode)) {
		place_look(r.path, &place);
		f.direct = place.direct;
		f.is_no_file = place.kind != PLACE_DEVICE_DAX;
	}
	if (f.is_no_file)
		return f;
	f.obstacle = open_file(a, &r);
	if (!f.obstacle)
		probe(&f, a, r.stx.stx_mode);
	return f;
}

static const struct kept *keep(const struct area *a, const struct facts *f)
{
	if (count == room) {
		room = room ? 2 * room : 64;
		table = realloc(table, room * sizeof(*table));
		if (!table)
			abort();
	}
	table[count] = (struct kept){.facts = *f,
	                             .major = a->major,
	                             .minor = a->minor,
	                             .inode = a->inode,
	                             .offset = a->offset,
	                             .length = a->end - a->start};
	/* All files of a tmpfs are alike, and to ask takes milliseconds there. */
	table[count].is_of_device = f->is_probed && f->is_tmpfs && f->direct == PM_NO;
	return &table[last = count++];
}

static void count_cached(const struct area *a, struct cached *cached)
{
	struct {
		uint64_t offset, length;
	} range = {a->offset, a->end - a->start};
	struct {
		uint64_t cached, dirty, write_back, evicted, recently_evicted;
	} pages;
	uint64_t unit = (uint64_t)sysconf(_SC_PAGESIZE);
	if (!file.may_count || syscall(SYS_cachestat, file.fd, &range, &pages, 0))
		return;
	*cached = (struct cached){true, pages.cached * unit, pages.dirty * unit, pages.write_back * unit};
}

static bool is_open(const struct area *a)
{
	return file.fd >= 0 && file.major == a->major && file.minor == a->minor && file.inode == a->inode;
}

const struct facts *facts_of(const struct area *a, struct cached *cached)
{
	struct facts gathered;
	struct reached r;
	const struct kept *k = find(a);
	if (!k) {
		gathered = gather(a);
		k = keep(a, &gathered);
	}
	if (!cached)
		return &k->facts;
	*cached = (struct cached){.is_known = false};
	bool counts = k->facts.is_probed && !k->is_of_device && k->facts.direct == PM_NO;
	if (counts && !is_open(a) && (reach(a, &r) || open_file(a, &r)))
		forget_file();
	if (counts && is_open(a))
		count_cached(a, cached);
	return &k->facts;
}

void facts_forget(void)
{
	forget_file();
	count = last = 0;
}

/* ---- The mapping ---- */

static enum pm_granularity lowered(enum pm_granularity most, enum pm_granularity could)
{
	return could < most ? could : most;
}

/* Without MAP_SYNC: the kernel writes pages back, if it can. */
static void without_sync(const struct facts *f, struct mapping_state *m)
{
	m->sync = PM_NO;
	m->granularity = lowered(PM_PAGE, f->granularity);
	if (f->map_sync == PM_YES)
		m->reason = "no-map-sync";
}

struct mapping_state mapping_state_of(const struct area *a, const struct facts *f)
{
	struct mapping_state m = {
		.direct = f->direct, .sync = a->has_flags && !a->is_sync ? PM_NO : PM_UNKNOWN, .reason = "unknown"};
	if (!f->is_probed)
		return m;
	m.granularity = f->granularity;
	m.sync = f->sync;
	m.durable = f->durable;
	m.reason = pm_reason_name(f->reason);
	/* A device-dax has no file system, so MAP_SYNC changes nothing. */
	if (!f->is_device && a->has_flags && !a->is_sync)
		without_sync(f, &m);
	else if (!f->is_device && !a->has_flags && f->granularity > PM_PAGE) {
		m.granularity = PM_GRANULARITY_UNKNOWN;
		m.sync = PM_UNKNOWN;
	}
	if (!f->is_lost)
		return m;
	m.granularity = lowered(PM_PAGE, m.granularity);
	m.sync = m.durable = PM_NO;
	m.reason = pm_reason_name(PM_REASON_READ_ONLY);
	return m;
}

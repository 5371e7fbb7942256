/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk, followed down in sysfs to the device that keeps the data: whether that device loses its content at power-off,
 * and whether a flush reaches the volatile cache of the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <linux/major.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facts/descent.h"
#include "facts/disk.h"
#include "facts/text.h"
#include "kernel/attribute.h"
#include "kernel/sysfs.h"
#include "sys/sys.h"

#define DIRECTORY_MOST 640
#define DISK_MOST (DIRECTORY_MOST + 72)
#define NAME_SHOWN 20u

__attribute__((format(printf, 3, 4))) static void write_text(char *text, size_t size, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(text, size, format, args);
	va_end(args);
}

/* Writes into an array and cuts off what does not fit. */
#define say(text, ...) write_text(text, sizeof(text), __VA_ARGS__)

/* ---- The disk and its cache ---- */

static int read_of(const char *directory, const char *name, char *text, size_t size)
{
	char path[DISK_MOST + 64];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	int rc = pm_read_text(path, text, size);
	return rc < 0 ? rc : 0;
}

/* "write back": the kernel knows of a volatile cache, and sends flushes. */
static int read_queue(const char *disk, char *text, size_t size)
{
	char path[DISK_MOST + 32];
	size_t length = pm_text_copy(path, sizeof(path), disk);
	pm_text_copy(path + length, sizeof(path) - length, "/queue/write_cache");
	int rc = pm_attribute_read(path, text, size);
	return rc < 0 ? rc : 0;
}

/* drivers/scsi/sd.c: by the number of its host, channel, target and unit. */
struct scsi {
	const char *disk;
	char type[32];
};

static void visit_scsi(void *arg, const char *name)
{
	struct scsi *s = arg;
	char path[DISK_MOST + 128];
	snprintf(path, sizeof(path), "%s/device/scsi_disk/%.64s/cache_type", s->disk, name);
	if (pm_read_text(path, s->type, sizeof(s->type)) < 0)
		s->type[0] = 0;
}

/*
 * The kernel knows of no volatile cache, or root has said so: queue/write_cache can be written. The disk itself may
 * know better: a virtio disk is asked at each look (drivers/block/virtio_blk.c cache_type_show); of a SCSI disk the
 * driver remembers its last answer, or what root has set for a while ("temporary write through").
 */
static void ask_disk(const char *disk, struct pm_descent *b)
{
	struct scsi scsi = {.disk = disk};
	char path[DISK_MOST + 32], type[32];
	b->flushes = PM_UNKNOWN;
	say(b->how, "write through: no cache known to the kernel");
	if (!read_of(disk, "cache_type", type, sizeof(type))) {
		bool says_none = !strcmp(type, "write through");
		b->flushes = says_none ? PM_YES : PM_NO;
		b->has_no_cache = says_none;
		say(b->how, says_none ? "the disk says it has no volatile cache" : "queue: write through, disk: %.20s",
		    type);
		return;
	}
	snprintf(path, sizeof(path), "%s/device/scsi_disk", disk);
	pm_sys->each_entry(path, visit_scsi, &scsi);
	if (strncmp(scsi.type, "write back", 10))
		return;
	b->flushes = PM_NO;
	say(b->how, "queue: write through, disk: %.20s", scsi.type);
}

static void ask_queue(const char *disk, struct pm_descent *b)
{
	char type[32];
	int rc = read_queue(disk, type, sizeof(type));
	if (!rc && !strcmp(type, "write back")) {
		b->flushes = PM_YES;
		pm_text_copy(b->how, sizeof(b->how), "write back");
	} else if (!rc && !strcmp(type, "write through")) {
		ask_disk(disk, b);
	} else {
		b->error = rc == -ENOENT ? 0 : -rc;
		say(b->how, "queue/write_cache cannot be read");
	}
}

/* ---- What a disk is ---- */

/* Whether name is the prefix and a number. */
static bool is_named(const char *name, const char *prefix)
{
	size_t length = strlen(prefix);
	return !strncmp(name, prefix, length) && name[length] >= '0' && name[length] <= '9';
}

static bool is_one_of(const char *name, const char *const *prefixes)
{
	while (*prefixes && !is_named(name, *prefixes))
		prefixes++;
	return *prefixes;
}

static const char *const memory_names[] = {"ram", "zram", "nullb", NULL};
static const char *const remote_names[] = {"nbd", "rbd", "drbd", NULL};
static const char *const stacked_names[] = {"dm-", "md", "md_d", "bcache", NULL};

/* Another process or another machine keeps the data, and may keep it anywhere. */
static const char *keeper(const char *link, const char *name)
{
	if (is_named(name, "ublkb"))
		return "a process (ublk)";
	/* mtdram, phram and slram are memory, and show no difference (drivers/mtd/mtdblock.c). */
	if (is_named(name, "mtdblock"))
		return "flash or memory (MTD)";
	/* drivers/target/loopback/tcm_loop.c: a SCSI disk in front of a file, a disk or memory. */
	if (strstr(link, "/tcm_loop_"))
		return "a backstore (tcm_loop)";
	if (is_one_of(name, remote_names))
		return "another process or machine";
	/* drivers/scsi/scsi_transport_iscsi.c; drivers/nvme/host/fabrics.c */
	return strstr(link, "/session") || strstr(link, "/nvme-fabrics/") ? "another machine" : NULL;
}

struct slaves {
	const char *directory;
	unsigned depth, count;
	struct pm_descent *b;
};

static void visit_slave(void *arg, const char *name)
{
	struct slaves *s = arg;
	char path[DIRECTORY_MOST];
	snprintf(path, sizeof(path), "%.560s/slaves/%.64s", s->directory, name);
	s->count++;
	pm_descend_device(path, s->depth + 1, s->b);
}

/*
 * A stacked device passes a flush on where its own queue says "write back", which it does as long as a device below has
 * a cache.
 */
static void walk_stacked(const char *disk, const char *name, unsigned depth, struct pm_descent *b)
{
	struct pm_descent all = pm_descent_part(b);
	struct slaves slaves = {.directory = disk, .depth = depth, .b = &all};
	char path[DISK_MOST + 16], type[32];
	snprintf(path, sizeof(path), "%s/slaves", disk);
	int rc = pm_sys->each_entry(path, visit_slave, &slaves);
	if (!slaves.count)
		pm_descent_end(&all, rc == -ENOENT ? 0 : -rc, "%.20s: no device is seen below", name);
	bool has_cache = all.flushes == PM_YES && !all.has_no_cache;
	if (has_cache && !read_queue(disk, type, sizeof(type)) && strcmp(type, "write back")) {
		all.flushes = PM_NO;
		say(all.how, "%.20s: %.20s, the disk below: write back", name, type);
	}
	all.is_settled = false;
	pm_descent_merge(b, &all);
}

/*
 * Whether the device stands on that file: 1 or 0, or -errno where the device cannot be asked. Its driver has the number
 * and the inode of the file (drivers/block/loop.c loop_get_status).
 */
static int stands_on(const char *name, const struct statx *file)
{
	char path[32];
	struct statx node;
	struct loop_info64 info;
	uint64_t major = file->stx_dev_major, minor = file->stx_dev_minor;
	snprintf(path, sizeof(path), "/dev/%.20s", name);
	int rc = PM_RETRY(pm_sys->statx(AT_FDCWD, path, 0, &node));
	if (rc || !S_ISBLK(node.stx_mode) || node.stx_rdev_major != LOOP_MAJOR)
		return rc ? rc : -ENOENT;
	int fd = PM_RETRY(pm_sys->openat(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0));
	rc = fd < 0 ? fd : PM_RETRY(pm_sys->ioctl(fd, LOOP_GET_STATUS64, &info));
	if (fd >= 0)
		pm_sys->close(fd);
	if (rc || info.lo_number != strtoul(name + strlen("loop"), NULL, 10))
		return rc ? rc : -ENOENT;
	/* linux/kdev_t.h huge_encode_dev */
	uint64_t device = (minor & 0xff) | major << 8 | (minor & ~(uint64_t)0xff) << 12;
	return info.lo_inode == file->stx_ino && info.lo_device == device;
}

/*
 * Whether that path leads to the backing file: 1 or 0, or -errno where that is not known. The kernel shows the path as
 * the process that set the device up would see it (loop_attr_backing_file_show). In another mount namespace the path
 * may lead elsewhere, and a later mount may cover it. Where the device cannot be asked, a file that is too short is
 * another one.
 */
static int leads_to_its_file(const char *disk, const char *name, const char *path)
{
	char sectors[32];
	struct statx file;
	if (PM_RETRY(pm_sys->statx(AT_FDCWD, path, 0, &file)))
		return 1; /* it leads nowhere, which is found when it is followed */
	int rc = stands_on(name, &file);
	bool is_short = rc < 0 && !S_ISBLK(file.stx_mode) && !read_of(disk, "size", sectors, sizeof(sectors)) &&
	                file.stx_size / 512 < strtoull(sectors, NULL, 10);
	return is_short ? 0 : rc;
}

static void follow_file(const char *disk, const char *name, const char *path, unsigned depth, struct pm_descent *b)
{
	int leads = leads_to_its_file(disk, name, path);
	if (!leads) {
		pm_descent_end(b, 0, "%.20s: its file is not visible from here", name);
		return;
	}
	b->follow(path, depth + 1, b);
	if (leads < 0)
		pm_descent_doubt(b, leads == -ENOENT || leads == -EACCES || leads == -EPERM ? 0 : -leads,
		                 "%.20s: cannot be asked for its file", name);
}

static void walk_loop(const char *disk, const char *name, unsigned depth, struct pm_descent *b)
{
	struct pm_descent all = pm_descent_part(b);
	char path[PATH_MAX], type[32], read_only[4] = "";
	int rc = read_of(disk, "loop/backing_file", path, sizeof(path));
	if (rc || path[0] != '/')
		pm_descent_end(&all, rc == -ENOENT ? 0 : -rc, "%.20s: its backing file is not shown", name);
	else
		follow_file(disk, name, path, depth, &all);
	/* drivers/block/loop.c: a writable loop device passes fsync(2) on, unless its queue says otherwise. */
	bool silent = !read_queue(disk, type, sizeof(type)) && strcmp(type, "write back");
	if (silent && !read_of(disk, "ro", read_only, sizeof(read_only)) && !strcmp(read_only, "0")) {
		all.flushes = PM_NO;
		say(all.how, "%.20s: %.20s, yet on a file", name, type);
	}
	all.is_settled = false;
	pm_descent_merge(b, &all);
}

/* Persistent memory as a disk. Whether the memory is persistent is a question to its region (region.c). */
static void ask_region(const char *link, const char *name, struct pm_descent *disk)
{
	const char *bus = strstr(link, "/ndbus"), *region = strstr(link, "/region");
	char path[96], text[32];
	if (!bus || !region)
		return;
	snprintf(path, sizeof(path), "/sys/bus/nd/devices/region%lu/devtype", strtoul(region + 7, NULL, 10));
	if (pm_read_text(path, text, sizeof(text)) > 0 && !strcmp(text, "nd_volatile")) {
		disk->is_volatile = PM_YES;
		say(disk->what, "%.20s: nd_volatile", name);
	}
	snprintf(path, sizeof(path), "/sys/bus/nd/devices/ndbus%lu/provider", strtoul(bus + 6, NULL, 10));
	if (pm_read_text(path, text, sizeof(text)) > 0 && !strcmp(text, "e820")) {
		disk->is_volatile = PM_UNKNOWN;
		say(disk->what, "%.20s: ordinary memory presented as pmem", name);
	}
}

static void walk_leaf(const char *disk, const char *link, const char *name, struct pm_descent *b)
{
	struct pm_descent leaf = {.is_volatile = PM_NO, .is_settled = true};
	const char *who = keeper(link, name);
	if (who) {
		pm_descent_end(b, 0, "%.20s: %s keeps the data", name, who);
		return;
	}
	if (strstr(link, "/virtual/block/")) {
		pm_descent_end(b, 0, "%.20s: a virtual device of an unknown kind", name);
		return;
	}
	pm_text_copy(leaf.what, NAME_SHOWN + 1, name);
	ask_queue(disk, &leaf);
	ask_region(link, name, &leaf);
	pm_descent_merge(b, &leaf);
}

/* sdb1, nvme0n1p2, loop0p1: a partition lies in the directory of its disk (block/partitions/core.c add_partition). */
static bool is_partition(const char *name, const char *parent, size_t length)
{
	if (strncmp(name, parent, length))
		return false;
	const char *rest = name + length;
	rest += *rest == 'p';
	return *rest && strspn(rest, "0123456789") == strlen(rest);
}

void pm_descend_link(const char *directory, const char *link, int got, unsigned depth, struct pm_descent *b)
{
	char disk[DISK_MOST], parent[64] = "";
	b->device[0] = 0;
	if (got < 0) {
		pm_descent_end(b, got == -ENOENT ? 0 : -got, "its device is not found in sysfs");
		return;
	}
	const char *slash = strrchr(link, '/');
	const char *name = slash ? slash + 1 : link, *up = slash;
	pm_text_copy(b->device, sizeof(b->device), name);
	while (up && up > link && up[-1] != '/')
		up--;
	if (up && slash - up < (ssize_t)sizeof(parent))
		memcpy(parent, up, (size_t)(slash - up));
	bool part = parent[0] && is_partition(name, parent, strlen(parent));
	name = part ? parent : name;
	/* By its name: a partition of another disk can get the same number, and what is kept is found by the path. */
	size_t length = pm_text_copy(disk, sizeof(disk), directory);
	if (part)
		snprintf(disk + length, sizeof(disk) - length, "/../../%s", name);
	/* drivers/scsi/scsi_debug.c puts its memory on a bus of its own. */
	if (is_one_of(name, memory_names) || strstr(link, "/pseudo_"))
		pm_descent_forgets(b, name);
	else if (is_one_of(name, stacked_names))
		walk_stacked(disk, name, depth, b);
	else if (is_named(name, "loop"))
		walk_loop(disk, name, depth, b);
	else
		walk_leaf(disk, link, name, b);
}

/*
 * That the link lies on sysfs is not checked, which would cost each device one more call. The attributes that it leads
 * to are checked.
 */
void pm_descend_device(const char *directory, unsigned depth, struct pm_descent *b)
{
	char link[256];
	ssize_t got = depth < PM_DESCENT_DEPTH
	                      ? PM_RETRY(pm_sys->readlinkat(AT_FDCWD, directory, link, sizeof(link) - 1))
	                      : -ELOOP;
	link[got > 0 ? got : 0] = 0;
	pm_descend_link(directory, link, (int)got, depth, b);
}

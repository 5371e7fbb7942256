/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The health of the medium, for reports only; no decision depends on it. Sources: the kernel's list of bad blocks
 * (block/badblocks.c, drivers/nvdimm/region_devs.c) against the file's extents, and the attributes of the region and of
 * its DIMMs (Documentation/ABI/testing/sysfs-bus-nvdimm, sysfs-bus-nfit, sysfs-bus-papr-pmem).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facts/armed.h"
#include "facts/device.h"
#include "facts/evidence.h"
#include "facts/extents.h"
#include "facts/health.h"
#include "facts/subject.h"
#include "kernel/fiemap.h"
#include "kernel/sysfs.h"
#include "sys/sys.h"

#define ND_DEVICES "/sys/bus/nd/devices/"
#define SOURCE_BLOCKS "/sys/dev/block/M:m/badblocks against the extents"
#define SOURCE_REGION ND_DEVICES "regionN/badblocks"
#define SECTOR 512u /* of every list, whatever the block size of the device is */
#define HUGE_PAGE ((uint64_t)2 << 20) /* of x86-64, and of 64-bit Arm with pages of 4 KiB */
/* The kernel's table has PAGE_SIZE / 8 entries, and sysfs shows one page of text at most. */
#define ENTRIES_MOST 512
#define TEXT_MOST 4096
#define LINE_MOST 42
#define DIMMS_MOST 32

/* Bad parts of a disk in bytes, ascending, in the order of the kernel. */
struct bad_list {
	unsigned count;
	bool cut; /* the list may be longer than sysfs shows */
	struct {
		uint64_t start, end;
	} entry[ENTRIES_MOST];
};

struct bad_range {
	uint64_t first; /* file offset */
	uint64_t run;   /* bytes from there on */
	uint64_t bytes; /* of all */
};

/* ---- The list ---- */

/*
 * Reads the whole text, not trimmed: a disk whose driver keeps no list shows an empty line, an empty list shows
 * nothing.
 */
static ssize_t read_list_text(const char *path, char *text, size_t size)
{
	int fd = pm_sysfs_open(path, O_RDONLY);
	if (fd < 0)
		return fd;
	size_t used = 0;
	ssize_t got;
	while ((got = PM_RETRY(pm_sys->read(fd, text + used, size - 1 - used))) > 0)
		used += (size_t)got;
	pm_sys->close(fd);
	text[used] = 0;
	return got < 0 ? got : (ssize_t)used;
}

static int read_list(const char *path, struct bad_list *list)
{
	char text[TEXT_MOST];
	ssize_t length = read_list_text(path, text, sizeof(text));
	list->count = 0;
	if (length < 0)
		return (int)length;
	if (text[0] == '\n')
		return -ENODATA;
	list->cut = length >= TEXT_MOST - LINE_MOST;
	uint64_t start, count;
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
		if (sscanf(line, "%" SCNu64 " %" SCNu64, &start, &count) != 2)
			return -EINVAL;
		if (list->count == ENTRIES_MOST) {
			list->cut = true;
			break;
		}
		list->entry[list->count].start = start * SECTOR;
		list->entry[list->count++].end = (start + count) * SECTOR;
	}
	return 0;
}

/* Adds the bad parts of [physical, physical + length) of the disk, which holds the file from offset logical on. */
static void count_bad(const struct bad_list *list, uint64_t physical, uint64_t length, uint64_t logical,
                      struct bad_range *bad)
{
	unsigned low = 0, high = list->count;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		if (list->entry[middle].end <= physical)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < list->count && list->entry[low].start < physical + length; low++) {
		uint64_t start = list->entry[low].start > physical ? list->entry[low].start : physical;
		uint64_t end = list->entry[low].end < physical + length ? list->entry[low].end : physical + length;
		if (!bad->bytes || logical + (start - physical) < bad->first) {
			bad->first = logical + (start - physical);
			bad->run = end - start;
		}
		bad->bytes += end - start;
	}
}

/* ---- The extents of the range on the disk ---- */

/* Extents without a place on this disk: nothing is there, or the place is no block address (fiemap.rst). */
#define NO_ADDRESS (FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_DATA_INLINE)

struct search {
	const struct pm_subject *s;
	const struct bad_list *list;
	uint64_t shift;
	struct bad_range *bad;
};

static int count_in_extent(void *arg, const struct fiemap_extent *x)
{
	const struct search *in = arg;
	uint64_t start = x->fe_logical > in->s->offset ? x->fe_logical : in->s->offset;
	uint64_t end = x->fe_logical + x->fe_length < in->s->end ? x->fe_logical + x->fe_length : in->s->end;
	if (start < end && !(x->fe_flags & NO_ADDRESS))
		count_bad(in->list, in->shift + x->fe_physical + (start - x->fe_logical), end - start, start, in->bad);
	return 0;
}

static int count_in_file(const struct pm_subject *s, const struct bad_list *list, uint64_t shift, struct bad_range *bad)
{
	struct search in = {s, list, shift, bad};
	return pm_each_extent(s->fd, s->offset, s->end, count_in_extent, &in);
}

/* The list of the disk. A partition has the list of its disk; *shift is where the partition begins there. */
static int read_list_of_block(const struct pm_subject *s, struct bad_list *list, uint64_t *shift)
{
	char device[64], path[96], start[24];
	bool node = S_ISBLK(s->stx.stx_mode);
	snprintf(device, sizeof(device), "/sys/dev/block/%u:%u", node ? s->stx.stx_rdev_major : s->stx.stx_dev_major,
	         node ? s->stx.stx_rdev_minor : s->stx.stx_dev_minor);
	snprintf(path, sizeof(path), "%s/start", device);
	int rc = pm_read_text(path, start, sizeof(start));
	if (rc < 0 && rc != -ENOENT)
		return rc;
	bool partition = rc >= 0;
	*shift = partition ? strtoull(start, NULL, 10) * SECTOR : 0;
	snprintf(path, sizeof(path), "%s%s/badblocks", device, partition ? "/.." : "");
	return read_list(path, list);
}

static int count_in_range(pm_evidence_table e, const struct pm_subject *s, struct bad_list *list, struct bad_range *bad)
{
	uint64_t shift;
	int rc = pm_device_lacks(s, PM_DEVICE_BAD_BLOCKS) ? -ENOENT : read_list_of_block(s, list, &shift);
	if (rc == -ENOENT)
		pm_device_lacked(s, PM_DEVICE_BAD_BLOCKS);
	if (rc)
		return rc;
	if (S_ISBLK(s->stx.stx_mode)) {
		count_bad(list, shift + s->offset, s->end - s->offset, s->offset, bad);
		return 0;
	}
	if (!S_ISREG(s->stx.stx_mode))
		return -EOPNOTSUPP;
	/* The addresses of an XFS real-time file do not belong to this list. */
	rc = pm_data_elsewhere(e, s);
	/* Most often the list is empty. */
	return rc || !list->count ? rc : count_in_file(s, list, shift, bad);
}

int pm_bad_blocks_find(pm_evidence_table e, const struct pm_subject *s, uint64_t *first, uint64_t *bytes)
{
	struct bad_list list;
	struct bad_range bad = {0};
	int rc = count_in_range(e, s, &list, &bad);
	*first = bad.first;
	*bytes = bad.run;
	return rc ? rc : list.cut && !bad.bytes ? -EOVERFLOW : 0;
}

static void bad_blocks_of_file(pm_evidence_table e, const struct pm_subject *s)
{
	struct pm_evidence *row = &e[PM_EV_BAD_BLOCKS];
	struct bad_list list;
	struct bad_range bad = {0};
	char text[56] = "";
	int rc = count_in_range(e, s, &list, &bad);
	enum pm_state state = bad.bytes ? PM_YES : rc || list.cut ? PM_UNKNOWN : PM_NO;
	if (state == PM_YES)
		snprintf(text, sizeof(text), "%s%" PRIu64 " sectors of 512 bytes", list.cut ? "at least " : "",
		         (bad.bytes + SECTOR - 1) / SECTOR);
	else if (rc == -ENODATA)
		snprintf(text, sizeof(text), "the driver keeps no list");
	pm_evidence_set(row, state, -rc, SOURCE_BLOCKS, text);
	row->value = bad.bytes ? bad.first : 0;
}

/* Only root can read where in its region a device-dax begins, so a list that is not empty leaves the row unknown. */
static void bad_blocks_of_region(struct pm_evidence *row, const struct pm_subject *s)
{
	struct bad_list list;
	char path[80];
	snprintf(path, sizeof(path), ND_DEVICES "region%u/badblocks", s->found.region);
	int rc = s->found.region == PM_NO_REGION ? -ENODEV : read_list(path, &list);
	bool none = !rc && !list.count && !list.cut;
	pm_evidence_set(row, none ? PM_NO : PM_UNKNOWN, -rc, SOURCE_REGION,
	                !rc && !none ? "somewhere in the region" : NULL);
}

/* ---- The region and its DIMMs ---- */

static void numa_node(struct pm_evidence *row, const struct pm_subject *s)
{
	char path[80], text[24] = "";
	snprintf(path, sizeof(path), ND_DEVICES "region%u/numa_node", s->found.region);
	int rc = pm_read_text(path, text, sizeof(text));
	bool known = rc > 0 && text[0] != '-';
	pm_evidence_set(row, known ? PM_YES : PM_UNKNOWN, rc < 0 ? -rc : 0, ND_DEVICES "regionN/numa_node",
	                rc > 0 ? text : NULL);
	row->value = known ? strtoull(text, NULL, 10) : 0;
}

/* The sum over all DIMMs: unknown if one of them does not report. */
static void unsafe_shutdowns(struct pm_evidence *row, const struct pm_subject *s)
{
	unsigned dimm, n = 0;
	uint64_t sum = 0;
	char text[32];
	int rc = 0;
	for (; n < DIMMS_MOST && !(rc = pm_dimm_find(s->found.region, n, &dimm)); n++) {
		rc = pm_dimm_read(dimm, "dirty_shutdown", text, sizeof(text));
		if (rc)
			break;
		sum += strtoull(text, NULL, 0);
	}
	/* The first part that does not exist ends the list. */
	bool known = n && rc == -ENOENT && pm_dimm_find(s->found.region, n, &dimm) == -ENOENT;
	pm_evidence_set(row, !known ? PM_UNKNOWN : sum ? PM_YES : PM_NO, known ? 0 : -rc,
	                ND_DEVICES "nmemN/*/dirty_shutdown", NULL);
	row->value = known ? sum : 0;
}

/* The DIMM's own name where there is one DIMM; a set of several has a cookie made of theirs. */
static void device_id(struct pm_evidence *row, const struct pm_subject *s)
{
	char path[80], text[56];
	unsigned dimm, other;
	int rc = pm_dimm_find(s->found.region, 0, &dimm);
	if (!rc && pm_dimm_find(s->found.region, 1, &other) == -ENOENT &&
	    !pm_dimm_read(dimm, "id", text, sizeof(text)) && text[0]) {
		pm_evidence_set(row, PM_YES, 0, ND_DEVICES "nmemN/*/id", text);
		return;
	}
	snprintf(path, sizeof(path), ND_DEVICES "region%u/set_cookie", s->found.region);
	rc = pm_read_text(path, text, sizeof(text));
	bool known = rc > 0 && strtoull(text, NULL, 0);
	pm_evidence_set(row, known ? PM_YES : PM_UNKNOWN, rc < 0 ? -rc : 0, ND_DEVICES "regionN/set_cookie",
	                known ? text : NULL);
}

void pm_evidence_bad_blocks(pm_evidence_table e, const struct pm_subject *s)
{
	if (s->backing == PM_BACKING_DEVICE_DAX)
		bad_blocks_of_region(&e[PM_EV_BAD_BLOCKS], s);
	else
		bad_blocks_of_file(e, s);
}

/*
 * The smallest of the pages that are mapped by now. smaps tells nothing of those of a DAX file (mm/memory.c
 * vm_normal_page_pmd), and getting huge ones for a file means no more than that the kernel had them to give.
 */
static void set_page_size(struct pm_evidence *row, const struct pm_subject *s, enum pm_state dax)
{
	static const char *const source = "/proc/self/pagemap PAGEMAP_SCAN";
	/* drivers/dax/device.c maps pages of the device's alignment and no others. */
	if (s->backing == PM_BACKING_DEVICE_DAX) {
		pm_evidence_set(row, PM_YES, 0, "/sys/dev/char/M:m/align", NULL);
		row->value = s->unit;
		return;
	}
	if (!s->map || s->is_partial || dax != PM_YES) {
		const char *why = !s->map ? "not mapped" : s->is_partial ? "in parts" : "not asked for cached pages";
		pm_evidence_set(row, PM_UNKNOWN, 0, why, NULL);
		return;
	}
	int small = PM_RETRY(pm_sys->pagemap_scan(s->map, (size_t)s->length, PM_PAGE_PRESENT, PM_PAGE_HUGE));
	int huge = small ? 0
	                 : PM_RETRY(pm_sys->pagemap_scan(s->map, (size_t)s->length, PM_PAGE_PRESENT | PM_PAGE_HUGE, 0));
	int error = small < 0 ? -small : huge < 0 ? -huge : 0;
	pm_evidence_set(row, small > 0 || huge > 0 ? PM_YES : PM_UNKNOWN, error, source, NULL);
	row->value = small > 0 ? s->unit : huge > 0 ? HUGE_PAGE : 0;
}

void pm_evidence_health(pm_evidence_table e, const struct pm_subject *s)
{
	set_page_size(&e[PM_EV_PAGE_SIZE], s, e[PM_EV_DAX].state);
	if (s->found.region == PM_NO_REGION)
		return;
	numa_node(&e[PM_EV_NUMA_NODE], s);
	unsafe_shutdowns(&e[PM_EV_UNSAFE_SHUTDOWNS], s);
	device_id(&e[PM_EV_DEVICE_ID], s);
}

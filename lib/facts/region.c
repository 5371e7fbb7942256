/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the file's device to the memory region behind it: /sys/dev/block/M:m is a link whose target names the bus
 * (ndbusN) and the region (regionN) on its way. Attributes: Documentation/ABI/testing/sysfs-bus-nvdimm and
 * sysfs-bus-nfit. A device-mapper device has no region on its way: the regions of the devices below it count, and of
 * each fact the worst answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facts/armed.h"
#include "facts/device.h"
#include "facts/evidence.h"
#include "facts/extents.h"
#include "facts/region.h"
#include "facts/subject.h"
#include "kernel/sysfs.h"
#include "providers/providers.h"
#include "sys/sys.h"

#define ND_DEVICES "/sys/bus/nd/devices/"
#define SOURCE_LINK "/sys/dev/{block,char}/M:m"
#define DEPTH_MAX 4 /* of stacked devices */
#define SOURCE_REGION ND_DEVICES "regionN/"

/* The attributes of one region in sysfs. A text is empty if the attribute does not exist. */
struct region {
	char link[PM_DEVICE_LINK]; /* the key: the place of the device */
	unsigned number;
	int domain_error;
	int shortage; /* an attribute that exists could not be read */
	struct pm_evidence armed;
	char provider[56], devtype[32], domain[32], deep_flush[8], write_cache[8];
};

/*
 * What a region is does not change while its device stays at the same place, except what root writes. It is read once,
 * so that mapping stays cheap, and again under a guarantee and for every report.
 */
static struct {
	pthread_mutex_t lock;
	struct region slot[8];
	unsigned next;
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool cache_find(struct region *r)
{
	bool found = false;
	pthread_mutex_lock(&cache.lock);
	for (unsigned i = 0; i < 8 && !found; i++) {
		found = !strcmp(cache.slot[i].link, r->link);
		if (found)
			*r = cache.slot[i];
	}
	pthread_mutex_unlock(&cache.lock);
	return found;
}

static void cache_add(const struct region *r)
{
	pthread_mutex_lock(&cache.lock);
	unsigned at = cache.next;
	for (unsigned i = 0; i < 8; i++)
		if (!strcmp(cache.slot[i].link, r->link))
			at = i;
	if (at == cache.next)
		cache.next = (cache.next + 1) % 8;
	cache.slot[at] = *r;
	pthread_mutex_unlock(&cache.lock);
}

static int read_attribute(const char *directory, const char *name, char *text, size_t size)
{
	char path[384];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	int rc = pm_read_text(path, text, size);
	if (rc < 0)
		text[0] = 0;
	return rc < 0 ? rc : 0;
}

static const char *device_path(const struct pm_subject *s, char *path, size_t size)
{
	bool dax = s->backing == PM_BACKING_DEVICE_DAX;
	bool node = dax || S_ISBLK(s->stx.stx_mode);
	snprintf(path, size, "/sys/dev/%s/%u:%u", dax ? "char" : "block",
	         node ? s->stx.stx_rdev_major : s->stx.stx_dev_major,
	         node ? s->stx.stx_rdev_minor : s->stx.stx_dev_minor);
	return path;
}

static int take_attribute(struct region *r, const char *directory, const char *name, char *text, size_t size)
{
	int rc = read_attribute(directory, name, text, size);
	if (rc && rc != -ENOENT)
		r->shortage = rc;
	return rc;
}

/* What the region is. */
static void read_region(struct region *r, const char *bus)
{
	char directory[320];
	snprintf(directory, sizeof(directory), ND_DEVICES "ndbus%u", (unsigned)strtoul(bus, NULL, 10));
	take_attribute(r, directory, "provider", r->provider, sizeof(r->provider));
	snprintf(directory, sizeof(directory), ND_DEVICES "region%u", r->number);
	take_attribute(r, directory, "devtype", r->devtype, sizeof(r->devtype));
	r->domain_error = take_attribute(r, directory, "persistence_domain", r->domain, sizeof(r->domain));
	take_attribute(r, directory, "deep_flush", r->deep_flush, sizeof(r->deep_flush));
}

/* What can change while it is there: no answer is taken from an earlier time. */
static void read_state(struct region *r, const char *device)
{
	pm_evidence_armed(&r->armed, r->number);
	if (r->armed.error && r->armed.error != ENOENT)
		r->shortage = -r->armed.error;
	/* A partition has no dax directory: its disk has. */
	if (take_attribute(r, device, "dax/write_cache", r->write_cache, sizeof(r->write_cache)))
		take_attribute(r, device, "../dax/write_cache", r->write_cache, sizeof(r->write_cache));
}

/* Of the subject's own device at depth 0, if it is a file. */
static int read_link(struct pm_subject *s, const char *device, unsigned depth, char text[static PM_DEVICE_LINK])
{
	if (depth == 0 && S_ISREG(s->stx.stx_mode))
		return pm_device_link(s, text);
	ssize_t got = pm_sysfs_link(device, text, PM_DEVICE_LINK - 1);
	text[got > 0 ? got : 0] = 0;
	return got < 0 ? (int)got : 0;
}

/* Returns 0 with *r filled, -ENOTBLK for a device that only stands on others, or another -errno. */
static int find_region(struct pm_subject *s, const char *device, unsigned depth, struct region *r)
{
	memset(r, 0, sizeof(*r));
	int rc = read_link(s, device, depth, r->link);
	if (rc)
		return rc;
	const char *bus = strstr(r->link, "/ndbus"), *region = strstr(r->link, "/region");
	if (!bus || !region)
		return strstr(r->link, "/virtual/block/") ? -ENOTBLK : -ENODEV;
	/* A mapped subject belongs to a report. */
	if (s->map || s->is_anew || !cache_find(r)) {
		r->number = (unsigned)strtoul(region + strlen("/region"), NULL, 10);
		read_region(r, bus + strlen("/ndbus"));
		/* A partial answer is shown and not cached. */
		if (!r->shortage)
			cache_add(r);
	}
	read_state(r, device);
	return 0;
}

static bool includes_caches(const struct region *r)
{
	return !strcmp(r->domain, "cpu_cache");
}

static bool states_domain(const struct region *r)
{
	return includes_caches(r) || !strcmp(r->domain, "memory_controller");
}

/*
 * e820 is DRAM set aside by the kernel command line; nfit_test is vmalloc memory of a kernel test. Real memory is known
 * by its provider, or states its persistence domain.
 */
static enum pm_state is_real(const struct region *r)
{
	if (!strcmp(r->provider, "e820") || !strncmp(r->provider, "nfit_test", 9))
		return PM_NO;
	bool known = !strcmp(r->provider, "ACPI.NFIT") || !strcmp(r->provider, "CXL") ||
	             !strcmp(r->provider, "virtio-pmem");
	return known || states_domain(r) ? PM_YES : PM_UNKNOWN;
}

static void domain_rows(pm_evidence_table e, const struct region *r)
{
	static const char source[] = SOURCE_REGION "persistence_domain";
	enum pm_state stated = states_domain(r) ? PM_YES : r->domain[0] ? PM_NO : PM_UNKNOWN;
	pm_evidence_set(&e[PM_EV_DOMAIN], stated, -r->domain_error, source, r->domain);
	/* libpmem asks whether every region of the machine has it; that says nothing about this region. */
	enum pm_state caches = includes_caches(r) ? PM_YES : states_domain(r) ? PM_NO : PM_UNKNOWN;
	pm_evidence_set(&e[PM_EV_CPU_CACHE], caches, 0, source, r->domain);
}

static enum pm_state state_of_bit(const char *text)
{
	return !strcmp(text, "1") ? PM_YES : !strcmp(text, "0") ? PM_NO : PM_UNKNOWN;
}

static void region_rows(pm_evidence_table e, const struct region *r)
{
	char name[24];
	snprintf(name, sizeof(name), "region%u", r->number);
	pm_evidence_set(&e[PM_EV_REGION], r->shortage ? PM_UNKNOWN : PM_YES, -r->shortage, SOURCE_LINK, name);
	enum pm_state real = is_real(r);
	pm_evidence_set(&e[PM_EV_PROVIDER], real, 0, ND_DEVICES "ndbusN/provider", r->provider);
	bool asynchronous = !strcmp(r->provider, "virtio-pmem");
	bool persistent = !strcmp(r->devtype, "nd_pmem");
	pm_evidence_set(&e[PM_EV_CPU_FLUSH_SUFFICES],
	                asynchronous                   ? PM_NO
	                : real == PM_YES && persistent ? PM_YES
	                                               : PM_UNKNOWN,
	                0, "bus provider and region devtype", r->devtype);
	if (!strcmp(r->devtype, "nd_volatile"))
		pm_evidence_set(&e[PM_EV_VOLATILE], PM_YES, 0, SOURCE_REGION "devtype", r->devtype);
	e[PM_EV_ARMED] = r->armed;
	domain_rows(e, r);
	pm_evidence_set(&e[PM_EV_DEEP_FLUSH], state_of_bit(r->deep_flush), 0, SOURCE_REGION "deep_flush",
	                r->deep_flush);
	pm_evidence_set(&e[PM_EV_WRITE_CACHE], state_of_bit(r->write_cache), 0, "dax/write_cache", r->write_cache);
}

/* ---- Devices upon devices ---- */

/* If a file may lie on two devices, the one that promises less counts. */
static void take_worse_rows(pm_evidence_table e, const pm_evidence_table other, bool first)
{
	static const enum pm_evidence_row rows[] = {PM_EV_REGION,     PM_EV_PROVIDER,   PM_EV_CPU_FLUSH_SUFFICES,
	                                            PM_EV_DOMAIN,     PM_EV_ARMED,      PM_EV_CPU_CACHE,
	                                            PM_EV_DEEP_FLUSH, PM_EV_WRITE_CACHE};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct pm_evidence *row = &other[rows[i]];
		if (first || pm_evidence_is_worse(row->state, row->value, &e[rows[i]]))
			e[rows[i]] = *row;
	}
	if (other[PM_EV_VOLATILE].state == PM_YES)
		e[PM_EV_VOLATILE] = other[PM_EV_VOLATILE];
}

static int gather(pm_evidence_table e, struct pm_subject *s, const char *device, unsigned depth);

/* The directory slaves of a device, and the result for its entries. */
struct below {
	struct pm_evidence *e;
	struct pm_subject *s;
	char directory[320];
	unsigned depth, count;
	bool differ; /* not all are of one region */
	int rc;
};

static void visit_device(void *arg, const char *name)
{
	struct below *b = arg;
	char device[576];
	pm_evidence_table found;
	if (b->rc)
		return;
	snprintf(device, sizeof(device), "%s/%s", b->directory, name);
	pm_evidence_clear(found);
	unsigned before = b->s->found.region;
	b->rc = gather(found, b->s, device, b->depth + 1);
	b->differ |= b->count && b->s->found.region != before;
	if (!b->rc)
		take_worse_rows(b->e, found, !b->count++);
}

static int gather_below(pm_evidence_table e, struct pm_subject *s, const char *device, unsigned depth)
{
	struct below b = {.e = e, .s = s, .depth = depth};
	if (depth == DEPTH_MAX)
		return -ELOOP;
	snprintf(b.directory, sizeof(b.directory), "%s/slaves", device);
	int rc = pm_sys->each_entry(b.directory, visit_device, &b);
	/* What is known of one says nothing of the others. */
	s->found.region = b.differ ? PM_NO_REGION : s->found.region;
	return rc ? rc : b.rc ? b.rc : b.count ? 0 : -ENODEV;
}

static int gather(pm_evidence_table e, struct pm_subject *s, const char *device, unsigned depth)
{
	struct region r;
	if (depth == 0 && pm_device_lacks(s, PM_DEVICE_REGION))
		return -ENODEV;
	int rc = find_region(s, device, depth, &r);
	if (depth == 0 && rc == -ENODEV)
		pm_device_lacked(s, PM_DEVICE_REGION);
	if (rc == -ENOTBLK)
		return gather_below(e, s, device, depth);
	if (rc)
		return rc;
	s->found.region = r.number;
	region_rows(e, &r);
	return 0;
}

void pm_evidence_region(pm_evidence_table e, struct pm_subject *s)
{
	char device[64];
	pm_evidence_table found;
	pm_evidence_clear(found);
	int rc = pm_data_elsewhere(e, s);
	if (!rc)
		rc = gather(found, s, device_path(s, device, sizeof(device)), 0);
	if (rc) {
		pm_evidence_set(&e[PM_EV_REGION], PM_UNKNOWN, -rc, SOURCE_LINK, NULL);
		return;
	}
	take_worse_rows(e, found, true);
	if (e[PM_EV_CPU_CACHE].state == PM_YES)
		s->found.caches_may_stay = false;
}

int pm_device_dax_align(const struct statx *stx, size_t *align, uint64_t *size)
{
	char path[96], text[256];
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/subsystem", stx->stx_rdev_major, stx->stx_rdev_minor);
	ssize_t got = pm_sysfs_link(path, text, sizeof(text) - 1);
	if (got < 0 && got != -ENOENT)
		return (int)got;
	if (got < 4 || memcmp(text + got - 4, "/dax", 4))
		return -ENODEV;
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u", stx->stx_rdev_major, stx->stx_rdev_minor);
	int rc = read_attribute(path, "size", text, sizeof(text));
	*size = strtoull(text, NULL, 0);
	if (!rc)
		rc = read_attribute(path, "align", text, sizeof(text));
	*align = (size_t)strtoull(text, NULL, 0);
	return rc ? rc : *align ? 0 : -ENODATA;
}

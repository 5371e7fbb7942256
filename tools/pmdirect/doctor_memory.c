/* SPDX-License-Identifier: BSD-3-Clause */
/* The CPU, the regions of persistent memory and what they are made of. */
#include <inttypes.h>
#include <limits.h>
#include <pmdirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "doctor.h"

#define ND_DEVICES "/sys/bus/nd/devices/"

void doctor_cpu(struct doctor *d)
{
	struct pm_report r;
	struct pm_options o = {.size = sizeof(o), .flags = PM_ANONYMOUS, .length = 4096};
	if (pm_probe(NULL, &o, &r, sizeof(r))) {
		finding(d, LEVEL_UNKNOWN, "cpu", "write-back", "", "%s", pm_error_detail());
		return;
	}
	const struct pm_evidence *cpu = &r.evidence[PM_EV_CPU], *forced = &r.evidence[PM_EV_ENV_OVERRIDE];
	if (cpu->state == PM_YES)
		finding(d, LEVEL_OK, "cpu", "write-back", "", "cache lines are written back by %s", cpu->text);
	else
		finding(d, LEVEL_NOTE, "cpu", "write-back",
		        "use a CPU with CLWB, CLFLUSHOPT, CLFLUSH, DC CVAP or Zicbom, or POWER8 or later",
		        "no instruction is known to write cache lines back to the medium, so pages are written by the "
		        "kernel");
	if (forced->state == PM_YES)
		finding(d, LEVEL_NOTE, "cpu", "environment", "unset PMDIRECT_GRANULARITY",
		        "PMDIRECT_GRANULARITY=%s lowers every promise", forced->text);
}

/* "nmem0": its state of health, a word each, as "not_armed save_fail". */
static void look_at_dimm(struct doctor *d, const char *name)
{
	char flags[128];
	if (strncmp(name, "nmem", 4))
		return;
	bool is_known = sysfs_line(flags, sizeof(flags), ND_DEVICES "%s/nfit/flags", name) ||
	                sysfs_line(flags, sizeof(flags), ND_DEVICES "%s/papr/flags", name);
	bool is_bad = strstr(flags, "not_armed") || strstr(flags, "save_fail") || strstr(flags, "flush_fail") ||
	              strstr(flags, "restore_fail") || strstr(flags, "map_fail");
	if (is_bad)
		finding(d, LEVEL_BAD, "dimm", name, "replace it, or its battery: nothing stored there is safe",
		        "its flags are %s", flags);
	else if (is_known && flags[0])
		finding(d, LEVEL_WARNING, "dimm", name, "ask the vendor's tool for its health", "its flags are %s",
		        flags);
}

static void say_provider(struct doctor *d, const char *name, const char *provider)
{
	if (!strcmp(provider, "e820"))
		finding(d, LEVEL_WARNING, "region", name, "use NVDIMMs; do not rely on it if memmap= made it",
		        "its provider is e820: it may be plain memory that poses as persistent memory");
	else if (!strcmp(provider, "virtio-pmem"))
		finding(d, LEVEL_NOTE, "region", name, "give the guest an NVDIMM if cache lines are to be enough",
		        "its provider is virtio-pmem: direct, but only the flush command of the kernel reaches the "
		        "medium");
}

/* Whether it states one. */
static void say_domain(struct doctor *d, const char *name, const char *provider)
{
	char domain[64];
	if (!strcmp(provider, "e820") || !strcmp(provider, "virtio-pmem"))
		return;
	if (!sysfs_line(domain, sizeof(domain), ND_DEVICES "%s/persistence_domain", name) || !domain[0])
		finding(d, LEVEL_WARNING, "region", name,
		        "a firmware or emulator that states it makes guarantees possible (QEMU: nvdimm-persistence=)",
		        "it states no persistence domain, so cache lines are promised, not proven");
	else
		finding(d, LEVEL_OK, "region", name, "", "persistence domain %s, provider %s", domain, provider);
}

static void say_bad_blocks(struct doctor *d, const char *name)
{
	char line[64];
	if (sysfs_line(line, sizeof(line), ND_DEVICES "%s/badblocks", name) && line[0])
		finding(d, LEVEL_BAD, "region", name, "rewrite the files on them: pm_clear_bad_blocks(3)",
		        "it has bad blocks, the first at sector %s", line);
}

static void look_at_region(struct doctor *d, const char *name)
{
	char provider[64], read_only[8], link[64], path[PATH_MAX];
	if (strncmp(name, "region", 6))
		return;
	snprintf(link, sizeof(link), ND_DEVICES "%.32s", name);
	if (!realpath(link, path) || !sysfs_line(provider, sizeof(provider), "%.400s/../provider", path))
		snprintf(provider, sizeof(provider), "unknown");
	say_provider(d, name, provider);
	say_domain(d, name, provider);
	say_bad_blocks(d, name);
	if (sysfs_line(read_only, sizeof(read_only), ND_DEVICES "%s/read_only", name) && !strcmp(read_only, "1"))
		finding(d, LEVEL_WARNING, "region", name, "look at its DIMMs: the kernel does that if one is not armed",
		        "it is read-only");
}

static void look_at_namespace(struct doctor *d, const char *name)
{
	char mode[32], size[32], holder[64];
	if (strncmp(name, "namespace", 9) || !sysfs_line(size, sizeof(size), ND_DEVICES "%s/size", name) ||
	    !strcmp(size, "0"))
		return;
	if (!sysfs_line(mode, sizeof(mode), ND_DEVICES "%s/mode", name))
		return;
	sysfs_line(holder, sizeof(holder), ND_DEVICES "%s/holder", name);
	if (!strcmp(mode, "raw"))
		finding(d, LEVEL_NOTE, "namespace", name,
		        "make it fsdax, which loses its content: ndctl create-namespace -m fsdax",
		        "its mode is raw, which has no DAX");
	else if (!strcmp(mode, "safe"))
		finding(d, LEVEL_NOTE, "namespace", name,
		        "make it fsdax, which loses its content: ndctl create-namespace -m fsdax",
		        "its mode is sector, which has no DAX");
	else
		finding(d, LEVEL_OK, "namespace", name, "", "its mode is %s%s%s",
		        !strcmp(mode, "memory") ? "fsdax" : mode, holder[0] ? ", held by " : "", holder);
}

static void look_at_dax(struct doctor *d, const char *name)
{
	char size[32];
	if (!sysfs_line(size, sizeof(size), "/sys/bus/dax/devices/%s/size", name))
		return;
	finding(d, LEVEL_OK, "device-dax", name, "", "%" PRIu64 " MiB, mapped without a file system",
	        (uint64_t)strtoull(size, NULL, 10) >> 20);
}

void doctor_regions(struct doctor *d)
{
	/* The bus comes with the driver, which is loaded where there is a device for it. */
	if (for_each_entry(ND_DEVICES, look_at_region, d) <= 0) {
		bool has_sysfs = !access("/sys/bus", F_OK);
		finding(d, has_sysfs ? LEVEL_NOTE : LEVEL_UNKNOWN, "region", "-", "",
		        has_sysfs ? "this machine shows no persistent memory, so pages are written by the kernel"
		                  : "sysfs is not mounted, so regions and disks cannot be looked at");
		return;
	}
	for_each_entry(ND_DEVICES, look_at_dimm, d);
	for_each_entry(ND_DEVICES, look_at_namespace, d);
	for_each_entry("/sys/bus/dax/devices", look_at_dax, d);
}

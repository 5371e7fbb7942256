/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether the NVDIMMs of a region keep what is stored in them (Documentation/ABI/testing/sysfs-bus-nfit,
 * sysfs-bus-papr-pmem). The kernel makes the region of an unarmed NVDIMM read-only (drivers/nvdimm/region_devs.c
 * nd_region_create), and root can make it writable again.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "facts/armed.h"
#include "facts/evidence.h"
#include "kernel/sysfs.h"

#define ND_DEVICES "/sys/bus/nd/devices/"
#define SOURCE ND_DEVICES "nmemN/*/flags and regionN/read_only"
#define DIMMS_MOST 32 /* of a region: include/linux/ndctl.h ND_MAX_MAPPINGS */

int pm_dimm_find(unsigned region, unsigned nth, unsigned *dimm)
{
	char path[80], text[80];
	snprintf(path, sizeof(path), ND_DEVICES "region%u/mapping%u", region, nth);
	int rc = pm_read_text(path, text, sizeof(text));
	if (rc < 0)
		return rc;
	return sscanf(text, "nmem%u,", dimm) == 1 ? 0 : -EINVAL;
}

int pm_dimm_read(unsigned dimm, const char *name, char *text, size_t size)
{
	static const char *const families[] = {"nfit", "papr", "cxl"};
	int rc = -ENOENT;
	for (unsigned i = 0; i < sizeof(families) / sizeof(families[0]) && rc == -ENOENT; i++) {
		char path[96];
		snprintf(path, sizeof(path), ND_DEVICES "nmem%u/%s/%s", dimm, families[i], name);
		rc = pm_read_text(path, text, size);
	}
	return rc < 0 ? rc : 0;
}

static bool has_flag(const char *flags, const char *flag)
{
	const char *at = strstr(flags, flag);
	return at && (at == flags || at[-1] == ' ') && (!at[strlen(flag)] || at[strlen(flag)] == ' ');
}

/*
 * not_armed: the NVDIMM cannot accept persistent writes. If the last save, restore or mapping failed, the next one may
 * fail. flush_fail: the platform's flush failed at the last power-off, so the next flush is unknown. The other flags
 * say nothing about the data.
 */
static enum pm_state state_of_flags(const char *flags, bool *cannot_save, const char **flag)
{
	static const char *const broken[] = {"save_fail", "restore_fail", "map_fail"};
	*flag = "not_armed";
	*cannot_save = has_flag(flags, *flag);
	if (*cannot_save)
		return PM_NO;
	for (unsigned i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		*flag = broken[i];
		if (has_flag(flags, *flag))
			return PM_NO;
	}
	*flag = "flush_fail";
	return has_flag(flags, *flag) ? PM_UNKNOWN : PM_YES;
}

bool pm_evidence_is_worse(enum pm_state state, uint64_t value, const struct pm_evidence *than)
{
	if (than->state == PM_NO)
		return state == PM_NO && value && !than->value;
	return state == PM_NO || state < than->state;
}

static void take_worse_state(struct pm_evidence *row, enum pm_state state, int error, uint64_t value, const char *text)
{
	if (!pm_evidence_is_worse(state, value, row))
		return;
	pm_evidence_set(row, state, error, SOURCE, text);
	row->value = value;
}

static void gather_dimm(struct pm_evidence *row, unsigned dimm)
{
	char flags[128] = "", text[56];
	const char *flag = "";
	bool cannot_save = false;
	int rc = pm_dimm_read(dimm, "flags", flags, sizeof(flags));
	enum pm_state state = rc ? PM_UNKNOWN : state_of_flags(flags, &cannot_save, &flag);
	snprintf(text, sizeof(text), "nmem%u%s%s", dimm, rc ? " does not report" : ": ", rc ? "" : flag);
	take_worse_state(row, state, -rc, cannot_save, text);
}

void pm_evidence_armed(struct pm_evidence *row, unsigned region)
{
	char path[80], text[8];
	unsigned n = 0, dimm;
	int rc = 0;
	pm_evidence_set(row, PM_YES, 0, SOURCE, NULL);
	for (; n < DIMMS_MOST && !(rc = pm_dimm_find(region, n, &dimm)); n++)
		gather_dimm(row, dimm);
	/* The first part that does not exist ends the list. */
	if (!n || rc != -ENOENT)
		take_worse_state(row, PM_UNKNOWN, -rc, 0, "not all NVDIMMs are shown");
	snprintf(path, sizeof(path), ND_DEVICES "region%u/read_only", region);
	rc = pm_read_text(path, text, sizeof(text));
	bool is_writable = rc > 0 && !strcmp(text, "0");
	if (!is_writable)
		take_worse_state(row, rc < 0 ? PM_UNKNOWN : PM_NO, rc < 0 ? -rc : 0, 0,
		           rc < 0 ? "" : "the region is read-only");
}

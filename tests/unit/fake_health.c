/* SPDX-License-Identifier: BSD-3-Clause */
/* What the fake sysfs tells of DIMMs and of bad blocks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "fake_internal.h"

static bool ends_with(const char *path, const char *end)
{
	size_t a = strlen(path), b = strlen(end);
	return a >= b && !strcmp(path + a - b, end);
}

static const char *health_of_dimm(const struct fake_health *h, const char *name)
{
	const char *family = h->family ? h->family : "nfit";
	unsigned dimm = (unsigned)(name[0] - '4');
	if (dimm > 1 || strncmp(name + 2, family, strlen(family)))
		return NULL;
	if (ends_with(name, "/flags"))
		return h->flags[dimm] ? h->flags[dimm] : "";
	if (ends_with(name, "/dirty_shutdown"))
		return h->dirty_shutdown[dimm];
	return ends_with(name, "/id") ? h->id[dimm] : NULL;
}

/* Whether the path is one that tells of health; *value is NULL if this machine has it not. */
bool fake_tells_health(const char *path, const char **value)
{
	static const struct fake_health nothing;
	static _Thread_local char list[256];
	const struct fake_health *h = fake.machine.health ? fake.machine.health : &nothing;
	const char *region = "/sys/bus/nd/devices/region", *dimm = "/sys/bus/nd/devices/nmem";
	/* Of any region, by an attribute of its own. */
	const char *name = strncmp(path, region, strlen(region)) ? "" : path + strlen(region) + strlen("7/");
	bool block = !strncmp(path, "/sys/dev/block/259:", 19);
	*value = NULL;
	if (block && ends_with(path, "/start"))
		*value = h->start;
	else if (block && ends_with(path, "/badblocks")) /* a partition has none of its own */
		*value = !h->start != !strstr(path, "/../") ? NULL :
		         h->bad_blocks ? h->bad_blocks : fake_bad_list(list, sizeof(list));
	else if (!strcmp(name, "badblocks"))
		*value = h->bad_blocks;
	else if (!strcmp(name, "mapping0") || !strcmp(name, "mapping1"))
		*value = h->dimm[name[7] - '0'];
	else if (!strncmp(path, dimm, strlen(dimm)))
		*value = health_of_dimm(h, path + strlen(dimm));
	else if (!strcmp(name, "set_cookie"))
		*value = h->set_cookie;
	else if (!strcmp(name, "numa_node"))
		*value = h->numa_node;
	else
		return !strncmp(name, "mapping", 7);
	return true;
}

static const char nmem[] = "/sys/bus/nd/devices/nmem", regions[] = "/sys/bus/nd/devices/region";

static const char *part_of(const struct fake_region *r, unsigned region, const char *attribute)
{
	static _Thread_local char text[40];
	unsigned nth = (unsigned)strtoul(attribute + strlen("/mapping"), NULL, 10);
	snprintf(text, sizeof(text), "nmem%u,0,1048576,%u", 10 * region + nth, nth);
	return r && nth < 2 && r->flags[nth] ? text : NULL;
}

static const char *flags_of(unsigned number)
{
	const struct fake_region *r = number % 10 < 2 ? fake_region_of(number / 10) : NULL;
	const char *flags = r ? r->flags[number % 10] : NULL;
	return flags && strcmp(flags, "silent") ? flags : NULL;
}

/* As part of the machine's health. */
static bool names_dimms(void)
{
	return fake.machine.health && fake.machine.health->dimm[0];
}

bool fake_tells_dimms(const char *path, const char **value)
{
	char *end;
	*value = NULL;
	if (!strncmp(path, nmem, strlen(nmem)) && !names_dimms()) {
		unsigned number = (unsigned)strtoul(path + strlen(nmem), &end, 10);
		*value = !strcmp(end, "/nfit/flags") ? flags_of(number) : NULL;
		return true;
	}
	if (strncmp(path, regions, strlen(regions)))
		return false;
	unsigned number = (unsigned)strtoul(path + strlen(regions), &end, 10);
	const struct fake_region *r = fake_region_of(number);
	bool is_part = !strncmp(end, "/mapping", strlen("/mapping")) && !names_dimms();
	if (is_part)
		*value = part_of(r, number, end);
	else if (!strcmp(end, "/read_only"))
		*value = !r ? NULL : r->is_read_only ? "1" : "0";
	else
		return false;
	return true;
}

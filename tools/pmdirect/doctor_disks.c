/* SPDX-License-Identifier: BSD-3-Clause */
/* Disks whose flush does nothing, or that no flush is sent to; and the kernel. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "doctor.h"

/* What the disk itself says of its cache, beside what the kernel makes of it: virtio-blk, or SCSI (and so SATA). */
static bool cache_of_disk(const char *name, char *type, size_t size)
{
	char directory[300];
	struct dirent **entries;
	bool is_known = sysfs_line(type, size, "/sys/block/%s/cache_type", name);
	snprintf(directory, sizeof(directory), "/sys/block/%.200s/device/scsi_disk", name);
	int count = is_known ? -1 : scandir(directory, &entries, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		if (entries[i]->d_name[0] != '.')
			is_known = sysfs_line(type, size, "%s/%s/cache_type", directory, entries[i]->d_name);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	return is_known;
}

static bool is_virtual(const char *name)
{
	static const char *const prefixes[] = {"loop", "ram", "zram", "dm-", "md", "pmem", "nbd", "sr", "fd"};
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
			return true;
	return false;
}

static bool is_virtio(const char *name)
{
	char link[300], path[PATH_MAX];
	snprintf(link, sizeof(link), "/sys/block/%.200s/device/driver", name);
	return realpath(link, path) && strstr(path, "virtio_blk");
}

static void look_at_disk(struct doctor *d, const char *name)
{
	char queue[32], own[64], size[32];
	if (is_virtual(name) || !sysfs_line(size, sizeof(size), "/sys/block/%s/size", name) || !strcmp(size, "0"))
		return;
	if (!sysfs_line(queue, sizeof(queue), "/sys/block/%s/queue/write_cache", name)) {
		finding(d, LEVEL_UNKNOWN, "disk", name, "", "queue/write_cache cannot be read");
		return;
	}
	bool is_told = cache_of_disk(name, own, sizeof(own));
	if (is_told && !strncmp(own, "write back", 10) && !strcmp(queue, "write through"))
		finding(d, LEVEL_BAD, "disk", name, "write \"write back\" to queue/write_cache",
		        "it has a volatile cache, and the kernel is set to send it no flushes");
	else if (!strcmp(queue, "write through") && is_virtio(name))
		finding(d, LEVEL_NOTE, "disk", name, "make sure that the host does not use cache=unsafe",
		        "the host offers no flush: it says that each write is durable when it ends");
	else if (!strcmp(queue, "write through"))
		finding(d, LEVEL_NOTE, "disk", name, "make sure that its cache is protected, or off",
		        "the kernel sends it no flushes: it says that it has no volatile cache");
	else if (is_virtio(name))
		finding(d, LEVEL_OK, "disk", name, "",
		        "flushes are sent to the host; what the host does with them cannot be seen");
	else
		finding(d, LEVEL_OK, "disk", name, "", "flushes are sent to its volatile cache");
}

void doctor_disks(struct doctor *d)
{
	for_each_entry("/sys/block", look_at_disk, d);
}

void doctor_kernel(struct doctor *d)
{
	struct utsname name;
	char enabled[8];
	if (uname(&name)) {
		finding(d, LEVEL_UNKNOWN, "kernel", "release", "", "its release cannot be read");
		return;
	}
	finding(d, LEVEL_OK, "kernel", name.release, "", "Linux, %s; its known faults stand with the mounts",
	        name.machine);
	if (sysfs_line(enabled, sizeof(enabled), "/proc/sys/fs/leases-enable") && !strcmp(enabled, "0"))
		finding(d, LEVEL_WARNING, "kernel", name.release, "set the sysctl fs.leases-enable to 1",
		        "leases are off, so PM_LEASE cannot help where files can be cloned");
}

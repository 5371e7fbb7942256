/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "look.h"
#include "reach.h"

static int look(struct reached *r)
{
	return look_at(r->path, AT_STATX_DONT_SYNC, &r->stx);
}

static bool has_numbers(const struct reached *r, const struct area *a)
{
	return r->stx.stx_ino == a->inode && r->stx.stx_dev_major == a->major && r->stx.stx_dev_minor == a->minor;
}

/* btrfs gives each subvolume a device of its own, overlay each layer: neither is that of maps. */
static bool may_have_numbers(const struct reached *r, const struct area *a)
{
	return r->stx.stx_ino == a->inode && !r->stx.stx_dev_major && !a->major;
}

/* The path, as the process sees it. */
static int by_path(const struct area *a, struct reached *r)
{
	snprintf(r->path, sizeof(r->path), "/proc/%d/root%s", (int)a->pid, a->path);
	int rc = look(r);
	if (rc)
		return rc;
	r->is_to_be_shown = !has_numbers(r, a);
	return has_numbers(r, a) || may_have_numbers(r, a) ? 0 : -ESTALE;
}

/* A descriptor of the process: of a file without a name, for a caller without privilege. */
static int by_descriptor(const struct area *a, struct reached *r)
{
	char directory[32];
	snprintf(directory, sizeof(directory), "/proc/%d/fd", (int)a->pid);
	DIR *fds = opendir(directory);
	int rc = -ENOENT;
	for (struct dirent *entry; rc && fds && (entry = readdir(fds));) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(r->path, sizeof(r->path), "%s/%s", directory, entry->d_name);
		rc = look(r) || !has_numbers(r, a) ? -ENOENT : 0;
	}
	if (fds)
		closedir(fds);
	return rc;
}

int reach(const struct area *a, struct reached *r)
{
	r->is_to_be_shown = false;
	/* Leads to the file itself, but only with CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN (fs/proc/base.c). */
	snprintf(r->path, sizeof(r->path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)a->pid, a->start, a->end);
	if (!look(r))
		return 0;
	int rc = by_path(a, r);
	if (!rc || by_descriptor(a, r))
		return rc;
	r->is_to_be_shown = false;
	return 0;
}

bool reach_is_mapped(const struct area *a, int fd)
{
	size_t unit = (size_t)sysconf(_SC_PAGESIZE);
	struct area mine;
	char line[512];
	bool is_same = false;
	void *page = mmap(NULL, unit, PROT_NONE, MAP_SHARED, fd, 0);
	FILE *f = page == MAP_FAILED ? NULL : fopen("/proc/self/maps", "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNx64 "-%*x %*s %*x %x:%x %" SCNu64, &mine.start, &mine.major, &mine.minor,
		           &mine.inode) == 4 &&
		    mine.start == (uintptr_t)page)
			is_same = mine.major == a->major && mine.minor == a->minor && mine.inode == a->inode;
	}
	if (f)
		fclose(f);
	if (page != MAP_FAILED)
		munmap(page, unit);
	return is_same;
}

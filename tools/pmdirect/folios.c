/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

#include "folios.h"

#define PAGES_MAX 4096u /* that are looked at */

/* Documentation/admin-guide/mm/pagemap.rst */
#define PAGE_PRESENT ((uint64_t)1 << 63)
#define PAGE_NUMBER (((uint64_t)1 << 55) - 1)
#define KPF_COMPOUND ((uint64_t)1 << 15 | (uint64_t)1 << 16)

static int open_page_map(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static enum pm_state look_at_pages(const uint64_t *pages, size_t count, int flags_fd)
{
	bool is_whole = true;
	for (size_t i = 0; i < count; i++) {
		uint64_t flags, number = pages[i] & PAGE_NUMBER;
		/* The number is 0 for a caller without the privilege. */
		if (!(pages[i] & PAGE_PRESENT) || !number) {
			is_whole = false;
			continue;
		}
		if (pread(flags_fd, &flags, sizeof(flags), (off_t)(number * sizeof(flags))) != sizeof(flags))
			return PM_UNKNOWN;
		if (flags & KPF_COMPOUND)
			return PM_YES;
	}
	return is_whole ? PM_NO : PM_UNKNOWN;
}

enum pm_state folios_of(const struct area *a)
{
	static uint64_t pages[PAGES_MAX];
	uint64_t unit = (uint64_t)sysconf(_SC_PAGESIZE), all = (a->end - a->start) / unit;
	size_t wanted = all < PAGES_MAX ? (size_t)all : PAGES_MAX;
	int flags_fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	int map_fd = flags_fd < 0 ? -1 : open_page_map(a->pid);
	ssize_t got =
		map_fd < 0 ? -1
			   : pread(map_fd, pages, wanted * sizeof(*pages), (off_t)(a->start / unit * sizeof(*pages)));
	enum pm_state state = got > 0 ? look_at_pages(pages, (size_t)got / sizeof(*pages), flags_fd) : PM_UNKNOWN;
	if (flags_fd >= 0)
		close(flags_fd);
	if (map_fd >= 0)
		close(map_fd);
	return state == PM_NO && (size_t)got / sizeof(*pages) < all ? PM_UNKNOWN : state;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Which limit of the process or of the system an error is for. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "kernel/limits.h"
#include "kernel/sysfs.h"
#include "pmdirect.h"
#include "sys/sys.h"

uint64_t pm_number_after(const char *path, const char *word)
{
	char text[4096];
	unsigned long long number;
	const char *at = pm_read_text(path, text, sizeof(text)) > 0 ? strstr(text, word) : NULL;
	return at && sscanf(at + strlen(word), " %llu", &number) == 1 ? number : UINT64_MAX;
}

static uint64_t count_areas(void)
{
	char buffer[4096];
	uint64_t lines = 0;
	ssize_t got;
	int fd = PM_RETRY(pm_sys->openat(AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0));
	while (fd >= 0 && (got = PM_RETRY(pm_sys->read(fd, buffer, sizeof(buffer)))) > 0)
		for (ssize_t i = 0; i < got; i++)
			lines += buffer[i] == '\n';
	if (fd >= 0)
		pm_sys->close(fd);
	return lines;
}

/* No descriptor is left to read it from /proc. */
static bool name_descriptors(char *text, size_t size)
{
	uint64_t most;
	int rc = pm_sys->getrlimit_nofile(&most);
	unsigned long long number = most;
	if (rc || most == UINT64_MAX)
		return snprintf(text, size, "no descriptor is left: raise RLIMIT_NOFILE, or close files") > 0;
	return snprintf(text, size, "no descriptor is left: RLIMIT_NOFILE is %llu; raise it, or close files", number) >
	       0;
}

static bool name_addresses(char *text, size_t size, size_t added)
{
	unsigned long long most = pm_number_after("/proc/self/limits", "Max address space");
	unsigned long long used = most == UINT64_MAX ? 0 : pm_number_after("/proc/self/status", "VmSize:");
	return most != UINT64_MAX && used != UINT64_MAX && used * 1024 + added > most &&
	       snprintf(text, size, "RLIMIT_AS is %llu bytes, of which %llu are in use", most, used * 1024) > 0;
}

static bool name_areas(char *text, size_t size)
{
	unsigned long long most = pm_number_after("/proc/sys/vm/max_map_count", "");
	unsigned long long used = most == UINT64_MAX ? 0 : count_areas();
	/* mremap(2) stops 3 areas earlier than mmap(2) (mm/mremap.c move_vma). */
	return used + 4 >= most &&
	       snprintf(text, size, "the process has %llu areas, and vm.max_map_count is %llu", used, most) > 0;
}

static bool name_locked(char *text, size_t size)
{
	unsigned long long most = pm_number_after("/proc/self/limits", "Max locked memory");
	return most != UINT64_MAX &&
	       snprintf(text, size, "it would be locked in memory, and RLIMIT_MEMLOCK is %llu bytes", most) > 0;
}

/* pthread_create(3) has one error for want of addresses and for each limit of threads. */
static bool name_threads(char *text, size_t size)
{
	pthread_attr_t attributes;
	size_t stack = 0;
	if (!pthread_attr_init(&attributes)) {
		pthread_attr_getstacksize(&attributes, &stack);
		pthread_attr_destroy(&attributes);
	}
	return name_addresses(text, size, stack) ||
	       snprintf(text, size, "no thread can be started: see RLIMIT_NPROC, and pids.max of the cgroup") > 0;
}

/* Where a descriptor can be had, it is an instance that cannot. */
static bool name_instances(char *text, size_t size)
{
	int fd = PM_RETRY(pm_sys->eventfd());
	if (fd < 0)
		return false;
	pm_sys->close(fd);
	unsigned long long most = pm_number_after("/proc/sys/fs/inotify/max_user_instances", "");
	int length = snprintf(text, size, "no inotify instance is left: raise fs.inotify.max_user_instances");
	return most == UINT64_MAX || snprintf(text + length, size - (size_t)length, ", which is %llu", most) > 0;
}

bool pm_limit_name(char *text, size_t size, enum pm_resource wanted, size_t added, int rc)
{
	switch (-rc) {
	case ENOMEM:
		return name_addresses(text, size, added) || name_areas(text, size);
	case EAGAIN:
		return wanted == PM_RESOURCE_THREAD ? name_threads(text, size) :
		       wanted == PM_RESOURCE_MEMORY && name_locked(text, size);
	case EMFILE:
		return (wanted == PM_RESOURCE_INOTIFY && name_instances(text, size)) || name_descriptors(text, size);
	case ENFILE:
		return snprintf(text, size, "the system has no open file left: raise fs.file-max, or close files") > 0;
	case ENOSPC:
		return wanted == PM_RESOURCE_INOTIFY &&
		       snprintf(text, size, "no inotify watch is left: raise fs.inotify.max_user_watches") > 0;
	default:
		return false;
	}
}

/* Gathering maps a page or two, and allocates less than this. */
#define GATHERING ((size_t)1 << 20)

int pm_limit_no_evidence(const char *name, const char *call, int rc)
{
	char limit[120];
	bool is_named = pm_limit_name(limit, sizeof(limit), PM_RESOURCE_MEMORY, GATHERING, rc);
	const char *why = is_named ? limit : pm_strerror(rc);
	return pm_fail(rc, call, name, "the evidence cannot be gathered: %s", why);
}

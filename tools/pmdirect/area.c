/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "area.h"
#include "text.h"

#define DELETED " (deleted)"

static FILE *open_of(pid_t pid, const char *name)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return fopen(path, "re");
}

/* The device of the kernel's own mount of tmpfs, or of hugetlbfs, on which memory without a file lies. */
static dev_t internal_device(bool huge)
{
	static dev_t devices[2];
	static bool is_known[2];
	struct stat st;
	if (is_known[huge])
		return devices[huge];
	int fd = memfd_create("pmdirect", MFD_CLOEXEC | (huge ? MFD_HUGETLB : 0));
	if (fd >= 0 && !fstat(fd, &st))
		devices[huge] = st.st_dev;
	if (fd >= 0)
		close(fd);
	is_known[huge] = true;
	return devices[huge];
}

/* Shared memory that is no file: anonymous, System V, of io_setup(2). A memfd is a file. */
static bool is_no_file(const struct area *a)
{
	dev_t device = makedev(a->major, a->minor);
	if (a->path[0] != '/')
		return true;
	if (!strcmp(a->path, "/[aio]" DELETED))
		return !a->major;
	if (device != internal_device(false) && device != internal_device(true))
		return false;
	return !strcmp(a->path, "/dev/zero" DELETED) || !strcmp(a->path, "/anon_hugepage" DELETED) ||
	       !strncmp(a->path, "/SYSV", 5);
}

/* In smaps a line end in a name is "\012", and a backslash itself: only the link tells them apart. */
static void read_exact_path(struct area *a)
{
	char link[96], target[PATH_MAX];
	if (!strchr(a->path, '\\'))
		return;
	snprintf(link, sizeof(link), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)a->pid, a->start, a->end);
	ssize_t length = readlink(link, target, sizeof(target) - 1);
	if (length < 0)
		return;
	target[length] = 0;
	free(a->path);
	a->path = text_copy(target);
}

/* "7f0000000000-7f0000001000 rw-s 00000000 fe:00 1234      /path": whether it is shared. */
static bool parse_head(char *line, struct area *a)
{
	char modes[5];
	int path = 0;
	line[strcspn(line, "\n")] = 0;
	*a = (struct area){.pid = a->pid};
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &a->start, &a->end, modes,
	           &a->offset, &a->major, &a->minor, &a->inode, &path) < 7 ||
	    modes[3] != 's')
		return false;
	a->path = path ? line + path : line + strlen(line);
	a->is_writable = modes[1] == 'w';
	return !is_no_file(a);
}

/* "FilePmdMapped:      2048 kB" */
static bool kilobytes(const char *line, const char *name, uint64_t *sum)
{
	size_t length = strlen(name);
	if (strncmp(line, name, length) || line[length] != ':')
		return false;
	*sum += strtoull(line + length + 1, NULL, 10) * 1024;
	return true;
}

static void parse_detail(const char *line, struct area *a)
{
	if (kilobytes(line, "Rss", &a->resident) || kilobytes(line, "FilePmdMapped", &a->huge) ||
	    kilobytes(line, "ShmemPmdMapped", &a->huge) || strncmp(line, "VmFlags:", 8))
		return;
	a->has_flags = true;
	a->is_sync = strstr(line, " sf") != NULL;
}

static struct area *add(struct areas *areas, const struct area *a)
{
	if (areas->count == areas->room) {
		areas->room = areas->room ? 2 * areas->room : 64;
		areas->list = realloc(areas->list, areas->room * sizeof(*areas->list));
		if (!areas->list)
			abort();
	}
	struct area *added = &areas->list[areas->count++];
	*added = *a;
	added->path = text_copy(a->path);
	read_exact_path(added);
	return added;
}

/* The heads of smaps are the lines of maps; no name of a detail begins as they do. */
static bool is_head(const char *line)
{
	return strchr("0123456789abcdef", line[0]) != NULL && line[0];
}

/* Most processes have none: maps takes no walk through the page tables. */
static int has_any(pid_t pid)
{
	char *line = NULL;
	size_t size = 0;
	struct area a = {.pid = pid};
	bool found = false;
	FILE *f = open_of(pid, "maps");
	if (!f)
		return -errno;
	errno = 0;
	while (!found && getline(&line, &size, f) > 0)
		found = parse_head(line, &a);
	int rc = !found && ferror(f) ? -errno : found;
	free(line);
	fclose(f);
	return rc;
}

int areas_read(struct areas *areas, pid_t pid)
{
	char *line = NULL;
	size_t size = 0;
	struct area head = {.pid = pid}, *current = NULL;
	int rc = has_any(pid);
	FILE *f = rc > 0 ? open_of(pid, "smaps") : NULL;
	if (rc > 0 && !f)
		rc = -errno;
	while (f && getline(&line, &size, f) > 0) {
		if (!is_head(line) && current)
			parse_detail(line, current);
		else if (is_head(line))
			current = parse_head(line, &head) ? add(areas, &head) : NULL;
	}
	free(line);
	if (f)
		fclose(f);
	return rc < 0 ? rc : 0;
}

void areas_free(struct areas *areas)
{
	for (size_t i = 0; i < areas->count; i++)
		free(areas->list[i].path);
	free(areas->list);
	*areas = (struct areas){.count = 0};
}

void command_of(pid_t pid, char *command, size_t size)
{
	FILE *f = open_of(pid, "comm");
	command[0] = 0;
	if (f) {
		size_t length = fread(command, 1, size - 1, f);
		command[length && command[length - 1] == '\n' ? length - 1 : length] = 0;
		fclose(f);
	}
}

static int ascending(const void *a, const void *b)
{
	const pid_t *left = a, *right = b;
	return *left < *right ? -1 : *left > *right;
}

pid_t *processes(void)
{
	DIR *proc = opendir("/proc");
	pid_t *list = NULL;
	size_t count = 0;
	for (struct dirent *entry; proc && (entry = readdir(proc));) {
		long number = strtol(entry->d_name, NULL, 10);
		if (number <= 0)
			continue;
		list = realloc(list, (count + 2) * sizeof(*list));
		if (!list)
			abort();
		list[count++] = (pid_t)number;
	}
	if (proc)
		closedir(proc);
	if (list) {
		list[count] = 0;
		qsort(list, count, sizeof(*list), ascending);
	}
	return list;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The shared file mappings of a process, as /proc/PID/smaps has them. */
#ifndef AREA_H
#define AREA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* One a VMA: mappings of a file that continue each other are one to the kernel. */
struct area {
	pid_t pid;
	uint64_t start, end, offset;
	uint32_t major, minor; /* of the file, as the kernel has it: stat(2) may say otherwise on btrfs and overlay */
	uint64_t inode;
	char *path; /* with " (deleted)" at the end if no name is left, or if that is its name */
	bool is_writable;
	bool has_flags; /* VmFlags was there, so is_sync counts */
	bool is_sync;   /* mapped with MAP_SYNC; no proof of anything by itself */
	uint64_t resident,
		huge; /* bytes in its page table, and those of them in huge pages; 0 of DAX before Linux 6.15 */
};

struct areas {
	struct area *list;
	size_t count, room;
};

/* Adds those of one process. 0, or a negative errno: the process is not there, or may not be seen. */
int areas_read(struct areas *areas, pid_t pid);
void areas_free(struct areas *areas);

/* Of /proc/PID/comm; "" if it cannot be read. */
void command_of(pid_t pid, char *command, size_t size);
/* The processes that there are, in ascending order; 0 ends the list. NULL: there is no /proc. */
pid_t *processes(void);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Leases and record locks of all processes, by /proc/locks: those of this PID namespace, which need no privilege. */
#ifndef LOCKS_H
#define LOCKS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct locks_of_file {
	bool is_known; /* /proc/locks could be read */
	unsigned record_locks; /* fcntl(2), of processes and of open file descriptions */
	unsigned flocks, leases;
	pid_t lease_holder; /* of the last one seen; not this process */
};

/* Reads the table; until then the functions read it themselves, once. */
void locks_read(void);

/* By the numbers that the kernel has, which are those of maps. inode: 0 counts nothing. */
struct locks_of_file locks_of(uint32_t major, uint32_t minor, uint64_t inode);
/*
 * By what stat(2) says of the path, which on btrfs and overlay are other numbers: there a lease on the same inode
 * number of any such device counts. Read anew, since the answer decides whether a file is opened.
 */
pid_t locks_lease_holder(const char *path, const struct statx *stx);

#endif

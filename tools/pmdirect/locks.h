/* SPDX-License-Identifier: BSD-3-Clause */
/* Leases and record locks of all processes, by /proc/locks: those of this PID namespace, which need no privilege. */
#ifndef LOCKS_H
#define LOCKS_H

#include <stdint.h>
#include <sys/types.h>

struct locks_of_file {
	unsigned record_locks; /* fcntl(2), of processes and of open file descriptions */
	unsigned flocks, leases;
	pid_t lease_holder; /* of the last one seen; not this process */
};

/* Reads the table; until then the functions read it themselves, once. */
void locks_read(void);
/* inode: 0 counts nothing. Where the numbers of the device are made up (major 0: btrfs, overlay) any such device
 * counts. */
struct locks_of_file locks_of(uint32_t major, uint32_t minor, uint64_t inode);
/* Read anew, since the answer decides whether a file is opened. */
pid_t locks_lease_holder(uint32_t major, uint32_t minor, uint64_t inode);

#endif

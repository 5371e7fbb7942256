/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "locks.h"

struct lock {
	char kind; /* of "POSIX", "OFDLCK", "FLOCK", "LEASE": the first letter */
	pid_t holder;
	uint32_t major, minor;
	uint64_t inode;
};

static struct lock *table;
static size_t count;
static bool is_read, is_known;

/* "1: POSIX  ADVISORY  WRITE 1234 fe:00:5678 0 EOF"; a waiter has "->" before the kind and holds nothing. */
static bool parse(const char *line, struct lock *lock)
{
	char kind[16], mode[16], access[16];
	int holder;
	if (sscanf(line, "%*u: %15s %15s %15s %d %x:%x:%" SCNu64, kind, mode, access, &holder, &lock->major,
	           &lock->minor, &lock->inode) != 7)
		return false;
	lock->kind = kind[0];
	lock->holder = holder;
	return kind[0] != '-';
}

void locks_read(void)
{
	char line[256];
	struct lock lock;
	FILE *f = fopen("/proc/locks", "re");
	count = 0;
	is_read = true;
	is_known = f != NULL;
	for (size_t room = 0; f && fgets(line, sizeof(line), f);) {
		if (!parse(line, &lock))
			continue;
		if (count >= room) {
			room = room ? 2 * room : 64;
			table = realloc(table, room * sizeof(*table));
			if (!table)
				abort();
		}
		table[count++] = lock;
	}
	if (f)
		fclose(f);
}

/* any_device: any that has no block device. */
static bool is_on(const struct lock *lock, uint32_t major, uint32_t minor, uint64_t inode, bool any_device)
{
	if (lock->inode != inode)
		return false;
	return (lock->major == major && lock->minor == minor) || (any_device && !major && !lock->major);
}

static struct locks_of_file find(uint32_t major, uint32_t minor, uint64_t inode, bool any_device)
{
	if (!is_read)
		locks_read();
	struct locks_of_file found = {.is_known = is_known};
	for (size_t i = 0; inode && i < count; i++) {
		if (!is_on(&table[i], major, minor, inode, any_device))
			continue;
		/* A delegation is a server's to its client (DELEG): the client gives it back, and nothing is lost. */
		bool is_lease = table[i].kind == 'L';
		found.record_locks += table[i].kind == 'P' || table[i].kind == 'O';
		found.flocks += table[i].kind == 'F';
		found.leases += is_lease;
		if (is_lease && table[i].holder != getpid())
			found.lease_holder = table[i].holder;
	}
	return found;
}

struct locks_of_file locks_of(uint32_t major, uint32_t minor, uint64_t inode)
{
	return find(major, minor, inode, false);
}

/* btrfs gives each subvolume numbers of its own, overlay each layer. */
static bool has_other_numbers(const char *path)
{
	struct statfs fs;
	if (statfs(path, &fs))
		return true;
	return (uint32_t)fs.f_type == BTRFS_SUPER_MAGIC || (uint32_t)fs.f_type == OVERLAYFS_SUPER_MAGIC;
}

pid_t locks_lease_holder(const char *path, const struct statx *stx)
{
	locks_read();
	bool is_made_up = !stx->stx_dev_major && has_other_numbers(path);
	return find(stx->stx_dev_major, stx->stx_dev_minor, stx->stx_ino, is_made_up).lease_holder;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The calls that make stores durable, each made so that the kernel must refuse it before it checks anything else:
 * msync(2) of an address that is not page-aligned (mm/msync.c), the others of an invalid descriptor (fs/sync.c). They
 * take the same way as the real ones, through the C library: a preloaded shim answers both, and so does a filter of
 * system calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys/calls.h"

static int make(unsigned call)
{
	switch (call) {
	case PM_CALL_MSYNC:
		return msync((void *)(uintptr_t)1, 1, MS_SYNC);
	case PM_CALL_FSYNC:
		return fsync(-1);
	case PM_CALL_FDATASYNC:
		return fdatasync(-1);
	case PM_CALL_SYNCFS:
		return syncfs(-1);
	default:
		return sync_file_range(-1, 0, 0, 0);
	}
}

int pm_linux_wrong_sync(unsigned call)
{
	int rc = make(call);
	return rc < 0 ? -errno : rc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "durability/deep.h"
#include "durability/writeback_calls.h"
#include "kernel/sysfs.h"
#include "kernel/trusted_sync.h"
#include "sys/sys.h"

/* Documentation/ABI/testing/sysfs-bus-nvdimm: reads 1 where flush hints exist; writing 1 uses them. */
static int region_deep_flush(unsigned region)
{
	char path[64], answer = 0;
	if (region == ~0u)
		return -EOPNOTSUPP;
	snprintf(path, sizeof(path), "/sys/bus/nd/devices/region%u/deep_flush", region);
	int fd = pm_sysfs_open(path, O_RDONLY);
	if (fd < 0)
		return fd == -ENOENT || fd == -ENOSYS ? -EOPNOTSUPP : fd;
	ssize_t got = PM_RETRY(pm_sys->read(fd, &answer, 1));
	pm_sys->close(fd);
	if (got != 1 || answer != '1')
		return -EOPNOTSUPP;
	fd = pm_sysfs_open(path, O_WRONLY);
	if (fd < 0)
		return fd;
	ssize_t put = PM_RETRY(pm_sys->write(fd, "1", 1));
	pm_sys->close(fd);
	return put == 1 ? 0 : put < 0 ? (int)put : -EIO;
}

int pm_deepen(struct pm_medium *m, const void *address, size_t length)
{
	if (m->device_dax)
		return region_deep_flush(m->region);
	int seen = pm_medium_check(m);
	if (seen)
		return seen;
	if (m->read_only)
		return pm_write_back_file(m);
	if (!m->libpmem)
		return pm_write_back(m, (uintptr_t)address, (uintptr_t)address + length);
	int rc = pm_complete_fsync(m, m->offset, m->map_length);
	/* For what it has not mapped itself this is an msync as well. */
	if (!rc)
		rc = pm_flush_after_sync(m->fd, m->fsync_skips_flush, m->libpmem->deep_drain(address, length));
	return pm_verify_sync(m->fd, rc);
}

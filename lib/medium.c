/* SPDX-License-Identifier: BSD-3-Clause */
/* What strategies share: the kernel's write-back, reading and writing by it, and the way beyond the persistence domain. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "strategy.h"
#include "synced.h"
#include "sys.h"

/* Documentation/ABI/testing/sysfs-bus-nvdimm: reads 1 where flush hints exist; writing 1 uses them. */
static int region_deep_flush(unsigned region)
{
	char path[64], answer = 0;
	if (region == ~0u)
		return -EOPNOTSUPP;
	snprintf(path, sizeof(path), "/sys/bus/nd/devices/region%u/deep_flush", region);
	int fd = PM_RETRY(pm_sys->openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0));
	if (fd < 0)
		return fd == -ENOENT ? -EOPNOTSUPP : fd;
	ssize_t got = PM_RETRY(pm_sys->read(fd, &answer, 1));
	pm_sys->close(fd);
	if (got != 1 || answer != '1')
		return -EOPNOTSUPP;
	fd = PM_RETRY(pm_sys->openat(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0));
	if (fd < 0)
		return fd;
	ssize_t put = PM_RETRY(pm_sys->write(fd, "1", 1));
	pm_sys->close(fd);
	return put == 1 ? 0 : put < 0 ? (int)put : -EIO;
}

int pm_medium_msync(struct pm_medium *m, uintptr_t low, uintptr_t high)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	low &= ~(page - 1);
	high = (high + page - 1) & ~(page - 1);
	int rc = PM_RETRY(pm_sys->msync((void *)low, high - low));
	return m->node ? rc : pm_synced(m->fd, rc);
}

int pm_medium_deepen(struct pm_medium *m, const void *address, size_t length)
{
	if (m->device_dax)
		return region_deep_flush(m->region);
	if (m->read_only)
		return PM_RETRY(pm_sys->fdatasync(m->fd));
	/* For what it has not mapped itself this is an msync as well. */
	if (m->libpmem)
		return pm_synced(m->fd, m->libpmem->deep_drain(address, length));
	return pm_medium_msync(m, (uintptr_t)address, (uintptr_t)address + length);
}

int pm_medium_read(const struct pm_medium *m, void *destination, uint64_t offset, size_t length)
{
	for (size_t done = 0; done < length;) {
		ssize_t got = PM_RETRY(pm_sys->pread(m->fd, (char *)destination + done, length - done, offset + done));
		if (got <= 0)
			return got ? (int)got : -ENODATA;
		done += (size_t)got;
	}
	return 0;
}

int pm_medium_write(const struct pm_medium *m, const void *source, uint64_t offset, size_t length)
{
	for (size_t done = 0; done < length;) {
		ssize_t put = PM_RETRY(pm_sys->pwrite(m->fd, (const char *)source + done, length - done, offset + done));
		if (put <= 0)
			return put ? (int)put : -EIO;
		done += (size_t)put;
	}
	return 0;
}

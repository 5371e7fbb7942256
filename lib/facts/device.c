/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The attributes and the place of a device exist before its entry in /sys/dev/block does (Linux drivers/base/core.c
 * device_add). So while the entry is the same one, a missing part is not looked for again. A part that exists is read
 * again. The number of the entry says whether it is the same one: it has 64 bits, and no other entry ever gets it
 * (fs/kernfs/dir.c __kernfs_new_node). On older kernels it has 32 bits or comes again. A missing part is remembered
 * there as well: taken for another device, it leaves a row unknown that could be known.
 *
 * Nor is the link at the entry read again: while it exists it leads to the same device (fs/sysfs/symlink.c), and no
 * disk is renamed. The kernel moves disks on s390 alone, to another channel, where they keep their names (device_move()
 * in drivers/s390/cio/device.c and drivers/s390/block/dasd_devmap.c). A link taken for another device's would make
 * rows wrong, so it is kept only from Linux 6.8 on, where mounts have unique ids and numbers do not come again.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "facts/device.h"
#include "facts/subject.h"
#include "kernel/sysfs.h"
#include "sys/sys.h"

#define DEVICES 8

static struct {
	pthread_mutex_t lock;
	struct {
		uint64_t entry;
		uint32_t major, minor;
		unsigned lacks;
		char link[PM_DEVICE_LINK]; /* "": not read */
	} slot[DEVICES];
	unsigned next;
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* DEVICES: not there. */
static unsigned find_slot(const struct pm_subject *s)
{
	unsigned i = 0;
	while (i < DEVICES &&
	       (known.slot[i].entry != s->found.device_entry || known.slot[i].major != s->stx.stx_dev_major ||
	        known.slot[i].minor != s->stx.stx_dev_minor))
		i++;
	return i;
}

/* With the lock held. The slot of the device, which is new if there was none. */
static unsigned take_slot(const struct pm_subject *s)
{
	unsigned i = find_slot(s);
	if (i < DEVICES)
		return i;
	i = known.next++ % DEVICES;
	known.slot[i].entry = s->found.device_entry;
	known.slot[i].major = s->stx.stx_dev_major;
	known.slot[i].minor = s->stx.stx_dev_minor;
	known.slot[i].lacks = 0;
	known.slot[i].link[0] = 0;
	return i;
}

static const char *entry_of(const struct pm_subject *s, char *path, size_t size)
{
	snprintf(path, size, "/sys/dev/block/%u:%u", s->stx.stx_dev_major, s->stx.stx_dev_minor);
	return path;
}

int pm_device_find(struct pm_subject *s)
{
	struct pm_findings *found = &s->found;
	struct statx entry;
	char path[64];
	if (found->is_device_asked)
		return found->device_error;
	found->device_error = pm_sysfs_stat(entry_of(s, path, sizeof(path)), &entry);
	found->device_entry = found->device_error ? 0 : entry.stx_ino;
	found->is_device_asked = true;
	return found->device_error;
}

static bool recall_link(const struct pm_subject *s, char *text)
{
	pthread_mutex_lock(&known.lock);
	unsigned i = find_slot(s);
	bool is_known = i < DEVICES && known.slot[i].link[0];
	if (is_known)
		memcpy(text, known.slot[i].link, PM_DEVICE_LINK);
	pthread_mutex_unlock(&known.lock);
	return is_known;
}

static void keep_link(const struct pm_subject *s, const char *text)
{
	pthread_mutex_lock(&known.lock);
	memcpy(known.slot[take_slot(s)].link, text, strlen(text) + 1);
	pthread_mutex_unlock(&known.lock);
}

int pm_device_link(struct pm_subject *s, char text[static PM_DEVICE_LINK])
{
	char path[64];
	bool may_keep = s->stx.stx_mask & STATX_MNT_ID_UNIQUE;
	int rc = pm_device_find(s);
	if (rc || (may_keep && recall_link(s, text)))
		return rc;
	ssize_t got = PM_RETRY(pm_sys->readlinkat(AT_FDCWD, entry_of(s, path, sizeof(path)), text, PM_DEVICE_LINK - 1));
	if (got < 0)
		return (int)got;
	text[got] = 0;
	if (may_keep)
		keep_link(s, text);
	return 0;
}

bool pm_device_lacks(const struct pm_subject *s, enum pm_device_part part)
{
	/* tmpfs, btrfs, overlay: no single device; the number is not in sysfs (fs/super.c get_anon_bdev). */
	if (S_ISREG(s->stx.stx_mode) && !s->stx.stx_dev_major)
		return true;
	if (!s->found.device_entry)
		return false;
	pthread_mutex_lock(&known.lock);
	unsigned i = find_slot(s);
	bool lacks = i < DEVICES && known.slot[i].lacks & part;
	pthread_mutex_unlock(&known.lock);
	return lacks;
}

void pm_device_lacked(const struct pm_subject *s, enum pm_device_part part)
{
	if (!s->found.device_entry)
		return;
	pthread_mutex_lock(&known.lock);
	known.slot[take_slot(s)].lacks |= part;
	pthread_mutex_unlock(&known.lock);
}

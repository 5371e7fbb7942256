/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the device behind a file was found to lack. The attributes and the place of a device exist before its entry in
 * /sys/dev/block does (Linux drivers/base/core.c device_add), and no other entry ever gets its number (fs/kernfs/dir.c
 * __kernfs_new_node). So while the entry is the same one, a missing part is not looked for again. A part that exists is
 * read again.
 */
#include <pthread.h>

#include "facts/negative_cache.h"
#include "facts/subject.h"

#define DEVICES 8

static struct {
	pthread_mutex_t lock;
	struct {
		uint64_t entry;
		uint32_t major, minor;
		unsigned lacks;
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
	unsigned i = find_slot(s);
	if (i == DEVICES) {
		i = known.next++ % DEVICES;
		known.slot[i].entry = s->found.device_entry;
		known.slot[i].major = s->stx.stx_dev_major;
		known.slot[i].minor = s->stx.stx_dev_minor;
		known.slot[i].lacks = 0;
	}
	known.slot[i].lacks |= part;
	pthread_mutex_unlock(&known.lock);
}

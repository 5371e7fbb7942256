/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Attributes of sysfs that each look reads anew. Most of the time that such a read takes goes into the path. So the
 * descriptors of a few stay open while the process has a mapping.
 */
#ifndef PM_ATTRIBUTE_H
#define PM_ATTRIBUTE_H

#include <stddef.h>

/* A mapping begins and ends. With the last one the descriptors are closed. */
void pm_attributes_hold(void);
void pm_attributes_release(void);
/*
 * Reads an attribute whole as text, without the last newline. Returns its length or -errno. The path names the device
 * that has the attribute: by way of the number of a partition it would lead to the disk that has the partition now.
 */
int pm_attribute_read(const char *path, char *text, size_t size);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/calls.h"

#ifndef SYS_statmount
#define SYS_statmount 457 /* the same number on every architecture (Linux 6.8) */
#endif

/* linux/mount.h. Every string is an offset into what follows the structure. */
struct kernel_statmount {
	uint32_t size, mnt_opts;
	uint64_t mask;
	uint32_t sb_dev[2];
	uint64_t sb_magic;
	uint32_t sb_flags, fs_type;
	uint64_t ids[2];
	uint32_t old_ids[2];
	uint64_t mnt_attr, of_the_mount[6];
	uint32_t fs_subtype, sb_source;
	uint32_t opt_arrays[4];
	uint64_t supported_mask;
	uint64_t rest[45];
};
_Static_assert(sizeof(struct kernel_statmount) == 512, "strings begin after 512 bytes");

#define MOUNT_SB_BASIC UINT64_C(0x1)
#define MOUNT_BASIC UINT64_C(0x2)
#define MOUNT_TYPE UINT64_C(0x20)
#define MOUNT_OPTIONS UINT64_C(0x80)    /* Linux 6.11 */
#define MOUNT_SUBTYPE UINT64_C(0x100)   /* Linux 6.13 */
#define MOUNT_SUPPORTED UINT64_C(0x1000) /* Linux 6.15 */
#define MOUNT_IS_READ_ONLY 0x1u /* SB_RDONLY, and MOUNT_ATTR_RDONLY */

int pm_linux_statmount(uint64_t id, struct pm_mount *mount)
{
	struct kernel_statmount *answer = (struct kernel_statmount *)mount->room;
	char *strings = mount->room + sizeof(*answer);
	struct {
		uint32_t size, spare;
		uint64_t id, asked;
	} request = {sizeof(request), 0, id,
	             MOUNT_SB_BASIC | MOUNT_BASIC | MOUNT_TYPE | MOUNT_OPTIONS | MOUNT_SUBTYPE | MOUNT_SUPPORTED};
	int rc = result(syscall(SYS_statmount, &request, mount->room, sizeof(mount->room), 0));
	if (rc)
		return rc;
	/* The kernel leaves out an empty string, and one that it does not know. */
	uint64_t got = answer->mask, known = got & MOUNT_SUPPORTED ? got | answer->supported_mask : got;
	if (~got & (MOUNT_SB_BASIC | MOUNT_BASIC | MOUNT_TYPE) || ~known & MOUNT_OPTIONS)
		return -EOPNOTSUPP;
	static char none[1];
	mount->read_only = answer->sb_flags & MOUNT_IS_READ_ONLY;
	mount->is_mounted_read_only = answer->mnt_attr & MOUNT_IS_READ_ONLY;
	mount->type = strings + answer->fs_type;
	mount->subtype = got & MOUNT_SUBTYPE ? strings + answer->fs_subtype : none;
	mount->options = got & MOUNT_OPTIONS ? strings + answer->mnt_opts : none;
	return 0;
}

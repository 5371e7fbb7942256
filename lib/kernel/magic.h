/* SPDX-License-Identifier: BSD-3-Clause */
/* f_type of statfs(2), with the types that linux/magic.h lacks, or has only in new versions. */
#ifndef PM_MAGIC_H
#define PM_MAGIC_H

#include <linux/magic.h>

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif
#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif
#ifndef CIFS_SUPER_MAGIC
#define CIFS_SUPER_MAGIC 0xff534d42
#endif
#ifndef SMB2_SUPER_MAGIC
#define SMB2_SUPER_MAGIC 0xfe534d42
#endif
#ifndef CEPH_SUPER_MAGIC
#define CEPH_SUPER_MAGIC 0x00c36400
#endif
#ifndef EXFAT_SUPER_MAGIC
#define EXFAT_SUPER_MAGIC 0x2011bab0
#endif
#ifndef BCACHEFS_SUPER_MAGIC
#define BCACHEFS_SUPER_MAGIC 0xca451a4e
#endif
#define NTFS3_SUPER_MAGIC 0x7366746e /* fs/ntfs3/super.c */
#define ZFS_SUPER_MAGIC 0x2fc12fc1   /* OpenZFS, include/sys/fs/zfs.h */

#endif

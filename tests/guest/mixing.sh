# SPDX-License-Identifier: BSD-3-Clause
# Two programs that need the same machine.
./test_mixing /mnt/ext4-dax /mnt/xfs-dax /mnt/ext4-disk /mnt/xfs-disk || exit
./test_flushes /mnt/ext4-dax /mnt/xfs-dax /mnt/ext4-disk /mnt/xfs-disk /dev/vdc

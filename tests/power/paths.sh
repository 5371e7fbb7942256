# SPDX-License-Identifier: BSD-3-Clause
# Three ways into a file, three calls that make it durable, and one call that is both, on four file systems and a device without one.
paths() {
	./paths $1 ext4-dax /mnt/ext4-dax xfs-dax /mnt/xfs-dax ext4-disk /mnt/ext4-disk xfs-disk /mnt/xfs-disk \
		device /dev/vdc >&3
}
before() { paths store; }
after() { paths found; }
$1

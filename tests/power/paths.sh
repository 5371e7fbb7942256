# SPDX-License-Identifier: BSD-3-Clause
# Three ways into a file, three calls that make it durable, and one call that is both, on four file systems and a device
# without one. Before that, on the four, stores where a filter ignores these calls.
places="ext4-dax $D/ext4-dax xfs-dax $D/xfs-dax ext4-disk $D/ext4-disk xfs-disk $D/xfs-disk"
suppressed() { ./suppressed $1 $places >&3; }
paths() { ./paths $1 $places device $DEVICE >&3; }
before() { suppressed store && paths store; }
after() { paths found; suppressed found; }
$1

# SPDX-License-Identifier: BSD-3-Clause
# What cannot be had without anything being broken: quotas, a frozen file system, and processes that race for what there
# is. LAB_ROUNDS: how often they do.
status=0
rounds=${LAB_ROUNDS:-5}

# These need no second CPU, and the emulator's is dear.
taskset 1 ./test_quota /mnt/ext4-dax /dev/pmem0 /mnt/xfs-dax /dev/pmem1 /mnt/ext4-disk /dev/vda /mnt/xfs-disk /dev/vdb || status=1
taskset 1 ./test_frozen /mnt/ext4-dax /mnt/xfs-dax /mnt/ext4-disk /mnt/xfs-disk || status=1

# $1: directory; $2: device
race() {
	./race "$1" 2 $((rounds * 4)) || status=1
	./race "$1" 20 $rounds || status=1
	./test_quota --limit "$1/two" "$2" 2002 20480 || status=1
	as_uid 2002 ./race --quota "$1/two" 2 $((rounds * 4)) || status=1
	./test_quota --limit "$1/twenty" "$2" 2020 98304 || status=1
	as_uid 2020 ./race --quota "$1/twenty" 20 $rounds || status=1
}

race /mnt/ext4-dax /dev/pmem0
race /mnt/xfs-dax /dev/pmem1
exit $status

# SPDX-License-Identifier: BSD-3-Clause
# What cannot be had without anything being broken. PART=quota: quotas and frozen file systems; PART=race: processes
# that race for what there is. LAB_ROUNDS: how often they do.
status=0
rounds=${LAB_ROUNDS:-5}

quota() {
	./test_quota /mnt/ext4-dax /dev/pmem0 /mnt/xfs-dax /dev/pmem1 /mnt/ext4-disk /dev/vda /mnt/xfs-disk /dev/vdb || status=1
	./test_frozen /mnt/ext4-dax /mnt/xfs-dax /mnt/ext4-disk /mnt/xfs-disk || status=1
}

# $1: directory; $2: device
race_on() {
	./race "$1" 2 $rounds || status=1
	./race "$1" 20 $rounds || status=1
	./test_quota --limit "$1/two" "$2" 2002 20480 || status=1
	as_uid 2002 ./race --quota "$1/two" 2 $rounds || status=1
	./test_quota --limit "$1/twenty" "$2" 2020 98304 || status=1
	as_uid 2020 ./race --quota "$1/twenty" 20 $rounds || status=1
}

race() {
	race_on /mnt/ext4-dax /dev/pmem0
	race_on /mnt/xfs-dax /dev/pmem1
}

$PART
exit $status

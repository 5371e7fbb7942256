# SPDX-License-Identifier: BSD-3-Clause
# The log on all four file systems, while the power is cut; and on the disks with a pm_commit() that does nothing.
LIVE="ext4-dax xfs-dax ext4-disk xfs-disk"
DISKS="ext4-disk xfs-disk"

each() {
	for fs in $LIVE; do
		"$1" ./raft_cut "$2" "$fs" "$D/$fs/raft"
	done
	for fs in $DISKS; do
		"$1" ./raft_cut_mutant "$2" "skipped-$fs" "$D/$fs/skipped" control
	done
}

in_background() { "$@" >&3 2>&1 & }
# What a program complains about is shown; what it did not find is lost, unless it came to no end of its own.
here() {
	{ "$@" 2>&1 >&3; echo $? >/tmp/status; } | sed "s/^/note /" >&3
	[ "$(cat /tmp/status)" -gt 1 ] || echo "looked $3" >&3
}

before() {
	each in_background before
	sleep 4
	echo cut >&3
	sleep 1000
}

after() { each here after; }
$1

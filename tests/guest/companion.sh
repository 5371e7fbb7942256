# SPDX-License-Identifier: BSD-3-Clause
# The report of pmdirect run on file systems that the host has not.
status=0

# $1: file; $2: what the report must have of it
expect() {
	./pmdirect run --json -o /tmp/report -- ./maps "$1" open lock map locked store sync fdatasync locked
	rc=$?
	if [ $rc -eq 0 ] && grep -q "\"msyncs\": 1, .*\"fdatasyncs\": 1, " /tmp/report && grep -q "$2" /tmp/report; then
		return
	fi
	echo "$1: status $rc, and not $2:"
	cat /tmp/report
	status=1
}

# A file of 64 KiB whose blocks are written.
written() {
	dd if=/dev/zero of="$1" bs=4096 count=16 conv=fsync 2>/dev/null
}

for name in ext4-dax xfs-dax; do
	expect /mnt/$name/companion.new '"could": "page", .*"direct": "yes", .*"reason": "no-map-sync", "could_reason": "hole"'
	written /mnt/$name/companion
	expect /mnt/$name/companion '"granularity": "page", "could": "cache line", "sync": "no", "direct": "yes", "durable": "yes", "reason": "no-map-sync"'
done
for name in ext4-disk xfs-disk; do
	written /mnt/$name/companion
	expect /mnt/$name/companion '"could": "page", .*"direct": "no", .*"reason": "page-cache", .*"device_bytes": [0-9]'
done
rm -f /mnt/*/companion /mnt/*/companion.new
[ $status -eq 0 ]

# SPDX-License-Identifier: BSD-3-Clause
# pmdirect run --accelerate: what programs see is what they see without it, and where it serves msync(2) by lines.
status=0

complain() {
	echo "$@"
	status=1
}

written() { dd if=/dev/zero of="$1" bs=4096 count=16 conv=fsync 2>/dev/null; }

# $1: file; the same results with it and without it
compare() {
	written "$1"
	timeout 60 ./accelerated "$1" >/tmp/bare || complain "$1: without it: $(tail -n 1 /tmp/bare)"
	written "$1"
	timeout 60 ./pmdirect run --accelerate --json -o /tmp/report -- ./accelerated "$1" >/tmp/with ||
		complain "$1: with it: $(tail -n 1 /tmp/with)"
	cmp -s /tmp/bare /tmp/with || complain "$1: not the same: $(diff /tmp/bare /tmp/with)"
}

# $1: file; $2: what the report must have of it; $3...: what maps does
expect() {
	file=$1 wanted=$2
	shift 2
	./pmdirect run --accelerate --json -o /tmp/report -- ./maps "$file" "$@" || complain "$file: $*: status $?"
	grep -q "$wanted" /tmp/report || complain "$file: $*: not $wanted: $(cat /tmp/report)"
}

for name in ext4-dax xfs-dax; do
	file=/mnt/$name/accelerated
	expect $file.new '"could_reason": "hole", .*"accelerated": 0, "by_lines": 0, "by_kernel": "mapping 1"' \
		open map store sync
	written $file
	expect $file '"granularity": "page", "could": "cache line", .*"msyncs": 2, .*"accelerated": 1, "by_lines": 2, "by_kernel": ""' \
		open lock map locked store sync sync-page locked fdatasync unmap locked
	expect $file '"by_lines": 0, "by_kernel": "flags 1, range 1"' open map sync-wrong sync-async
	expect $file '"by_lines": 2, "by_kernel": ""' open map store unmap-page sync-gap unmap map sync sync-page
	expect $file '"by_lines": 0, "by_kernel": "mapping 1"' open map move sync
	expect $file '"accelerated": 0, "by_lines": 0, "by_kernel": "child 1"' open map sync fork sync
	expect $file '"by_lines": 1, "by_kernel": ""' open map writes changes sync
	compare $file
	grep -oE '"(accelerated|by_lines|by_kernel)": ("[^"]*"|[^,]*)' /tmp/report | tr '\n' ' '
	for why in mapping flags range child covered refused; do
		grep -q "\"by_kernel\": \"[^\"]*$why [0-9]" /tmp/report || complain "$file: none is left for $why"
	done
	[ "$(sed -n 's/.*"by_lines": \([0-9]*\), .*/\1/p' /tmp/report | head -n 1)" -ge 100 ] || complain "$file: few by lines"
done
for name in ext4-disk xfs-disk; do
	compare /mnt/$name/accelerated
	grep -q '"accelerated": 0, "by_lines": 0, ' /tmp/report || complain "$name: $(cat /tmp/report)"
done
rm -f /mnt/*-d*/accelerated /mnt/*-d*/accelerated.new
[ $status -eq 0 ]

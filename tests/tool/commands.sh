# SPDX-License-Identifier: BSD-3-Clause
# In a guest with four file systems under /mnt: what the command counts, finds and follows there, where no other program
# writes. Read by the shell of the guest.

failed=0

check() {
	what=$1
	shift
	"$@" || { echo "failed: $what"; failed=1; }
}

# The value of a column of the method $2 with commits of $3 bytes.
bench_of() { awk -F '  +' -v method="$2" -v size="$3" '$1 == method && $2 == size { print $'"$1"' }' "/tmp/bench.$name"; }

# By pages each commit is one flush. What DAX stores passes the counts of the device, so they are not known.
try_bench() {
	./pmdirect bench --seconds=2 -n -o method,size,flushes,written "$dir" >"/tmp/bench.$name" || failed=1
	sed "s/^/$name: /" "/tmp/bench.$name"
	case $name in
	*-dax) expected="?" ;;
	*) expected=1.00 ;;
	esac
	for size in 64 4096; do
		check "$name: flushes for $size bytes" [ "$(bench_of 3 pm_persist $size)" = "$expected" ]
	done
	check "$name: fdatasync flushes" [ "$(bench_of 3 'write and fdatasync' 4096)" != 0.00 ]
	check "$name: nothing is left" [ -z "$(find "$dir" -name '*bench*')" ]
}

try_watch() {
	dd if=/dev/zero of="$dir/watched" bs=4096 count=16 2>/dev/null && sync
	./pmdirect watch --interval=100 --for=20 -o event,reason,granularity,path "$dir/watched" >"/tmp/watch.$name" 2>&1 &
	watcher=$!
	await now
	printf x | dd of="$dir/watched" bs=1 conv=notrunc 2>/dev/null
	await modified
	mv "$dir/watched" "$dir/moved"
	await name-lost
	truncate -s 4096 "$dir/moved"
	await truncated
	kill $watcher
	wait $watcher
	check "$name: watch ends well" [ $? -eq 0 ]
	rm "$dir/moved"
	sed "s/^/$name: /" "/tmp/watch.$name"
}

await() {
	tries=0
	until grep -q "^$1 " "/tmp/watch.$name"; do
		tries=$((tries + 1))
		[ $tries -lt 150 ] || { echo "failed: $name: no event $1"; failed=1; return; }
		sleep 0.1
	done
}

try_doctor() {
	case $name in
	*-dax) wanted="cache line, sync yes, direct yes" ;;
	*) wanted="page, sync no, direct no, page-cache" ;;
	esac
	check "$name: doctor" grep -q "^ok .*mount $dir: .*$wanted" /tmp/doctor
}

./pmdirect doctor >/tmp/doctor
status=$?
cat /tmp/doctor
check "doctor: nothing is bad" [ $status -ne 1 ]
check "doctor: the regions" grep -q "^ok .*region region0: persistence domain memory_controller" /tmp/doctor
check "doctor: the disks" grep -q "disk vd" /tmp/doctor
for name in ext4-dax xfs-dax ext4-disk xfs-disk; do
	dir=/mnt/$name
	try_bench
	try_watch
	try_doctor
done
[ $failed -eq 0 ]

# SPDX-License-Identifier: BSD-3-Clause
# Runs every unit test program that came along, on the backing's own file system; two at a time, some wait a lot.
export TMPDIR="$D"

run() {
	log=/tmp/log.$1
	status=0
	for program in $2; do
		began=$(date +%s)
		"$program" >"$log" 2>&1
		rc=$?
		echo "$program, $(($(date +%s) - began)) s: $(tail -n 1 "$log")"
		[ $rc -eq 0 ] || [ $rc -eq 77 ] || { cat "$log"; echo "$program: $rc"; status=1; }
	done
	return $status
}

odd='' even=''
for program in ./test_*; do
	odd="$odd $program"
	swap=$odd odd=$even even=$swap
done
run 1 "$odd" &
run 2 "$even"
status=$?
wait $! || status=1
exit $status

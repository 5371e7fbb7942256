# SPDX-License-Identifier: BSD-3-Clause
# Runs the unit test programs that came along on the backing's own file system; two at a time, some wait a lot.
export TMPDIR="$D"
# What only repeats itself with other errors is for the host.
export CK_EXCLUDE_TAGS=host
# Threads at once, and all pairs of lengths: a part of what the host does (unit_rounds() in unit.h).
export PMDIRECT_TEST_PART=12

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

first='' second=''
for program in ./test_*; do
	next=$first first=$second second="$next $program"
done
run 1 "$first" &
run 2 "$second"
status=$?
wait $! || status=1
exit $status

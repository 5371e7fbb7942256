# SPDX-License-Identifier: BSD-3-Clause
# Runs every unit test program that came along, on the backing's own file system.
export TMPDIR="$D"
status=0
for program in ./test_*; do
	"$program" >/tmp/log 2>&1
	rc=$?
	tail -n 1 /tmp/log
	[ $rc -eq 0 ] || [ $rc -eq 77 ] || { cat /tmp/log; echo "$program: $rc"; status=1; }
done
exit $status

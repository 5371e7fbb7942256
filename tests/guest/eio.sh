# SPDX-License-Identifier: BSD-3-Clause
# Runs test_eio, breaking and healing the blocks of its file when asked.
"$PROGRAM" "$D/file" &
test=$!
while kill -0 $test 2>/dev/null; do
	[ ! -e /tmp/break ] || { dm_fail_file "$D/file"; rm /tmp/break; }
	[ ! -e /tmp/heal ] || { dm_heal; rm /tmp/heal; }
	sleep 0.05
done
wait $test

# SPDX-License-Identifier: BSD-3-Clause
# Three servers, each on a file system of its own, while the power is cut: what a client was told is in all three lists
# afterwards.
PORT=9000
PLACES="ext4-dax xfs-dax ext4-disk"

# $1: entries that are proposed at a time. Server N writes to /tmp/out.N.
start() {
	ip link set lo up 2>/dev/null || ifconfig lo 127.0.0.1 up
	number=0
	for place in $PLACES; do
		number=$((number + 1))
		mkdir -p "$D/$place/raft-$number"
		./raft_server $number "$D/$place/raft-$number" $PORT load="$1" segment=262144 snapshot=500 >/tmp/out.$number \
			2>/tmp/err.$number &
	done
}

acknowledged() { cat /tmp/out.? 2>/dev/null | grep -c '^ack '; }

# Says what came of it if nothing did: until $2 is true, for $1 seconds.
wait_until() {
	seconds=$1
	while ! eval "$2"; do
		seconds=$((seconds - 1))
		[ $seconds -gt 0 ] || {
			tail -n 2 /tmp/out.? /tmp/err.? | sed 's/^/note /' >&3
			return 1
		}
		sleep 1
	done
}

before() {
	start 4
	wait_until 100 '[ "$(acknowledged)" -gt 300 ]'
	# Whole lines only: the last one may be under way.
	sed -n 's/^ack \([0-9a-f]\{16\}\)$/promise cluster\/\1 \1/p' /tmp/out.? >&3
	echo cut >&3
	sleep 1000
}

agree() {
	# The leader has committed its last entry, and the others know it.
	for n in 1 2 3; do grep '^state' /tmp/out.$n | tail -n 1; done | awk '
		$2 == "leader" && $4 == $6 { leaders++ }
		{ place = $3 " " $4; same[place]++ }
		END { exit !(leaders == 1 && same[place] == 3) }'
}

# Where the servers do not agree in time, nothing is known of their lists.
after() {
	start 0
	looked=
	wait_until 60 agree && looked=yes
	sleep 2
	kill -USR1 $(pidof raft_server)
	wait_until 60 '[ "$(cat /tmp/out.? | grep -c ^end)" = 3 ]' || looked=
	[ -z "$looked" ] || echo "looked cluster" >&3
	for n in 1 2 3; do
		grep '^state' /tmp/out.$n | tail -n 1 | sed "s/^/note server $n: /" >&3
	done
	sed -n 's/^value //p' /tmp/out.? | sort | uniq -c | while read -r count value; do
		[ "$count" != 3 ] || echo "found cluster/$value $value" >&3
	done
}
$1

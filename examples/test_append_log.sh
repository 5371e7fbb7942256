#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Breaks logs in the ways a power failure does, and in some others: test_append_log.sh PROGRAM
set -u
program=$(realpath "$1")
directory=$(mktemp -d "$PWD/test-append-log-XXXXXX") || exit 1
trap 'rm -rf "$directory"' EXIT
cd "$directory" || exit 1

die() {
	echo "append_log: $*" >&2
	exit 1
}

# run WANTED-STATUS ARGUMENTS...
run() {
	wanted=$1
	shift
	"$program" "$@" >out 2>err
	got=$?
	[ $got = "$wanted" ] || die "$* exited with $got, not $wanted: $(cat out err)"
}

lists() {
	run 0 log list
	printf "$1" | cmp -s - out || die "$2: the log has: $(cat out)"
}

says() { grep -q -- "$1" out || die "'$1' was not said: $(cat out)"; }
complains() { grep -q -- "$1" err || die "'$1' was not said: $(cat err)"; }

fresh() {
	rm -f log
	run 0 log append one two three
}

# Records begin at 64; each has 16 bytes before its payload and fills a multiple of 8.
overwrite() { printf "$2" | dd of=log bs=1 seek="$1" conv=notrunc 2>/dev/null; }
# Every bit of a byte, whatever it is: some are of a checksum.
flip() { overwrite "$1" "\\$(printf %03o $((255 - $(od -An -tu1 -j"$1" -N1 log))))"; }
FIRST=64 SECOND=88 THIRD=112 END=136

roundtrip() {
	fresh
	[ "$(tr '\n' ' ' <out)" = "1 2 3 " ] || die "appending printed $(cat out)"
	lists '1 one\n2 two\n3 three\n' "appended"
	run 0 log verify
	says ' 3 records, then 0 bytes'
	run 0 log append ""
	lists '1 one\n2 two\n3 three\n4 \n' "an empty record"
	[ $(($(wc -c <log) % 262144)) = 0 ] || die "the log does not grow in steps"
}

truncated() {
	for size in $((END - 8)) $((THIRD + 16)) $((THIRD + 5)) $THIRD; do
		fresh
		truncate -s $size log
		lists '1 one\n2 two\n' "truncated to $size"
		run 0 log append new
		[ "$(cat out)" = 3 ] || die "after truncation the next record is $(cat out)"
		lists '1 one\n2 two\n3 new\n' "truncated to $size and appended"
	done
	fresh
	truncate -s $FIRST log
	lists '' "truncated to the header"
}

flipped() {
	for byte in $SECOND $((SECOND + 8)) $((SECOND + 12)) $((SECOND + 16)) $((SECOND + 18)); do
		fresh
		cp log whole
		flip $byte
		! cmp -s log whole || die "nothing was flipped at $byte"
		lists '1 one\n' "flipped at $byte"
		run 4 log verify
		says ' 1 records, then [1-9]'
	done
}

# The third record is whole, and follows the second by its number: it must stay dead when a new second one of the
# same length stands before it.
stale() {
	fresh
	overwrite $((SECOND + 16)) X
	run 0 log recover
	says ' 1 records, then [1-9]'
	run 0 log verify
	run 0 log append owt
	[ "$(cat out)" = 2 ] || die "after recovery the next record is $(cat out)"
	lists '1 one\n2 owt\n' "a stale record"
}

# A record of another log, at its place and with its number, is no record of this one.
foreign() {
	fresh
	mv log other
	fresh
	dd if=other of=log bs=1 skip=$THIRD seek=$THIRD count=$((END - THIRD)) conv=notrunc 2>/dev/null
	lists '1 one\n2 two\n' "another log's record"
}

# Whatever a power failure during pm_map() or the write of the header may leave.
unfinished() {
	for size in 0 1 30 64 4096; do
		rm -f log
		truncate -s $size log
		run 1 log list
		complains 'never finished'
		run 0 log append one
		lists '1 one\n' "an unfinished creation of $size bytes"
	done
	fresh
	cp log whole
	rm log
	truncate -s 262144 log
	dd if=whole of=log bs=1 count=24 conv=notrunc 2>/dev/null
	run 0 log append again
	lists '1 again\n' "a header written in part"
}

refused() {
	run 1 missing list
	complains missing
	[ ! -e missing ] || die "listing made a file"
	echo "some notes of a user" >notes
	cp notes copy
	run 1 notes append x
	complains 'not an append log'
	cmp -s notes copy || die "a foreign file was changed"
	fresh
	overwrite 32 '\001\002'
	cp log whole
	run 1 log append x
	complains 'not an append log'
	cmp -s log whole || die "a log with a broken header was changed"
	run 2 log
	run 2 log frobnicate
}

soaked() {
	run 0 many soak label 11 acks 0 7
	says '^label.0 is prepared new: '
	says '^label.2 is sparse new: '
	"$program" many soaked label 11 >recovered || die "soaked: $(cat recovered)"
	[ "$(wc -l <recovered)" = 7 ] || die "soaked: $(cat recovered)"
	while read -r name recovered records found discarded; do
		[ "$recovered $found $discarded" = "recovered found 0" ] || die "$name $recovered $found $discarded"
		[ "$(grep "^$name " acks | tail -n 1)" = "$name $records" ] || die "$name has $records records"
		[ "$(grep -c "^$name " acks)" = $((records + 1)) ] || die "not all of $name was acknowledged"
	done <recovered
	# Another seed stands for records that were never appended.
	run 1 many soaked label 12 6
	says '^label.6 wrong 1$'
	# The last one is continued, from where it was cut.
	truncate -s 10000 many.6
	run 0 many soak label 11 acks2 0 1
	says '^label.6 is prepared resumed: '
	run 0 many soaked label 11 6
	says "^$(tail -n 1 recovered | cut -d' ' -f1-3) "
	[ "$(head -n 1 acks2)" != "label.6 0" ] || die "nothing was left of the log that was cut"
}

for part in roundtrip truncated flipped stale foreign unfinished refused soaked; do
	$part
done

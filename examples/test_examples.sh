#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Runs one example in a directory of its own below the current one: test_examples.sh NAME PROGRAM
set -u
name=$1 program=$(realpath "$2")
directory=$(mktemp -d "$PWD/test-$name-XXXXXX") || exit 1
trap 'rm -rf "$directory"' EXIT
cd "$directory" || exit 1

die() {
	echo "$name: $*" >&2
	[ ! -e out ] || sed 's/^/  /' out err >&2
	exit 1
}

# status WANTED... -- COMMAND: the exit status must be one of those wanted
status() {
	wanted=
	while [ "$1" != -- ]; do
		wanted="$wanted $1"
		shift
	done
	shift
	"$@" >out 2>err
	got=$?
	case "$wanted " in
	*" $got "*) ;;
	*) die "$* exited with $got, not$wanted" ;;
	esac
}

says() { grep -q -- "$1" out || die "'$1' was not said"; }
complains() { grep -q -- "$1" err || die "'$1' was not said on standard error"; }

hello() {
	status 0 -- "$program" file
	says '^durable by [a-z]'
	grep -q 'hello, durable world' file || die "the greeting is not in the file"
	status 0 -- "$program" file
	status 1 -- "$program" no/file
	complains "no/file"
}

# What is granted depends on the machine; a refusal must be a sentence, and leave nothing.
guarantee() {
	status 0 3 -- "$program" file
	if [ $got = 3 ]; then
		says '^refused: .* .* '
		[ ! -e file ] || die "the refused file was left behind"
	else
		says '^granted: '
		[ -s file ] || die "there is no file"
	fi
}

why() {
	status 0 -- "$program" -c 8192 file
	says '^granularity [a-z]'
	says '^Evidence:'
	[ "$(grep -c '^  .*\[.*\]$' out)" -ge 27 ] || die "rows of evidence are missing"
	status 0 -- "$program" file
	status 1 -- "$program" missing
	complains missing
}

# In whole pages the file ends where the next one begins.
guard() {
	status 0 -- "$program" file
	says '^all is there, the sum is 0$'
	says '^lost from offset 16384: .*offset 16384 is past the end of the file .truncated to 16384.$'
	status 1 -- "$program" no/file
	complains "no/file"
}

"$name"

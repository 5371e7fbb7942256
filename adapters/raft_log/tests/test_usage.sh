#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What cannot run is one sentence, and leaves nothing behind: test_usage.sh DEMO KILLS SERVER
set -u
demo=$(realpath "$1") kills=$(realpath "$2") server=$(realpath "$3")
place=$(mktemp -d "$PWD/raft-usage-XXXXXX") || exit 1
trap 'rm -rf "$place"' EXIT
mkdir "$place/here" && cd "$place/here" || exit 1
failed=0

# $1: words that the sentence has; $2 on: the script and its arguments.
refused() {
	words=$1
	shift
	timeout 60 python3 -B "$@" >"$place/out" 2>&1
	status=$?
	[ $status -ne 0 ] && grep -q "$words" "$place/out" && ! grep -q Traceback "$place/out" && [ -z "$(ls)" ] &&
		return
	echo "$*: status $status, left: $(ls)"
	cat "$place/out"
	failed=1
	rm -rf ./*
}

printf '#!/bin/sh\necho "libraft.so.2: cannot open shared object file" >&2\nexit 127\n' >"$place/unlinked"
printf '\177ELF' >"$place/no-format"
chmod +x "$place/unlinked" "$place/no-format"
printf 'x' >"$place/plain"
for script in "$demo" "$kills"; do
	refused 'no such program' "$script" "$place/missing"
	refused 'cannot open shared object' "$script" "$place/unlinked"
	refused 'no such value' "$script" "$server" snapshot=many
	refused 'is no number' "$script" "$server" --load=-1
done
refused 'not a program' "$demo" "$place"
refused 'not a program' "$demo" "$place/plain"
refused 'cannot be run' "$demo" "$place/no-format"
refused 'not a server' "$demo" /bin/true
refused 'required' "$demo"
refused 'no such word' "$kills" "$server" segments=1
refused 'ended by itself' "$kills" "$server" payload=0
refused 'no number of seconds' "$demo" "$server" --kill=-3
refused 'no number of seconds' "$demo" "$server" --seconds soon
refused 'plain' "$demo" "$server" --directory "$place/plain"
mkdir "$place/foreign" && echo nonsense >"$place/foreign/port"
refused 'holds no number' "$demo" "$server" --directory "$place/foreign"
refused 'at least 1' "$kills" "$server" --all-in 0
refused 'at least 1' "$kills" "$server" --times 0
refused 'at least 1' "$kills" "$server" --load 0
! pgrep -f "$place" >/dev/null || { echo "a server is left"; failed=1; }
exit $failed

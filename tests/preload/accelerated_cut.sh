# SPDX-License-Identifier: BSD-3-Clause
# What an accelerated msync(2) made durable, while the power is cut: what another process did to the file before
# (other_process.c), and what database engines have acknowledged. Each has a file system of its own, so that nothing
# else commits for it. As controls, with a part of the companion left out.
DEEDS=${DEEDS-$(./other_process list)}
NO_COMMIT=${NO_COMMIT-punched-stored cut-stored grown-inside collapsed covered-child itself}
NO_FAULT=${NO_FAULT-appended-inside}
FIRST=60 # keys that an engine has before

# A command beside which the other companion lies, and the library where it looks for it.
make_mutant() {
	mkdir -p /tmp/mutant/tools/run
	cp pmdirect /tmp/mutant/tools/run
	cp libpmdirect-preload-mutant.so /tmp/mutant/tools/run/libpmdirect-preload.so
	ln -s "$(dirname "$(readlink -f pmdirect)")/../../libpmdirect.so.0" /tmp/mutant
}

next() { place=/mnt/$fs-$number number=$((number + 1)); }

# $1: a function that is called with the deed, its name, its file, and the mutation if it is a control; $2: one that is
# called with the engine, its name and its directory
each() {
	for fs in ext4 xfs; do
		number=0
		for deed in $DEEDS; do next && $1 "$deed" "$deed/$fs" $place/file; done
		for deed in $NO_COMMIT; do next && $1 "$deed" "no-commit-$deed/$fs" $place/file no-commit; done
		for deed in $NO_FAULT; do next && $1 "$deed" "no-fault-$deed/$fs" $place/file no-fault; done
		for engine in $ENGINES; do next && $2 "$engine" "$engine/$fs" $place; done
	done
}

nothing() { :; }

# ---- Deeds ----

prepare() { ./other_process prepare "$3"; }

store() {
	command=./pmdirect report=/tmp/report.$(echo "$2" | tr / -)
	[ -z "$4" ] || command=/tmp/mutant/tools/run/pmdirect
	{
		VERB=${4:+control} PMDIRECT_MUTATION=$4 $command run --accelerate --json -o "$report" -- \
			./other_process store "$1" "$2" "$3" >&3 || echo "$2: the store failed" >&3
		grep -q '"by_lines": 3, ' "$report" ||
			echo "$2: $(grep -oE '"(by_lines|by_kernel|could_reason)": [^,]*,' "$report" | tr '\n' ' ')" >&3
		echo >>/tmp/done
	} &
}

found() { ./other_process found "$2" "$3" >&3; }

# Until each deed is ready, or done if it failed, and $1 are done.
lines() {
	while [ $(($(wc -l <$READY) + $(wc -l </tmp/done))) -lt $((stores + $1)) ]; do sleep 0.1; done
}

# ---- Engines ----
# Tokyo Cabinet cuts its log off when it has acknowledged a transaction, and makes that durable with the next one
# (tchdbtrancommit): a power cut may undo the last that it acknowledged, with the kernel's msync(2) as well. gdbm has no
# log, so a cut in the middle of a change may leave a database that it refuses: it promises nothing here.

path_of() { [ "$1" = kyoto ] && echo db.kch || echo db; }

# Its files are written over once, so that they have no holes.
fill() {
	(cd "$3" && "$OLDPWD/load_$1" run "$(path_of "$1")" 1 $FIRST >/dev/null) || echo "$2: not filled" >&3
	find "$3" -type f ! -name '*-shm' | while read -r file; do dd if="$file" of="$file" conv=notrunc bs=64k 2>/dev/null; done
}

run_it() {
	: >"/tmp/keys.$1.$fs"
	(cd "$3" && exec "$OLDPWD/pmdirect" run ${ACCELERATE---accelerate} --json -o "/tmp/engine.$1.$fs" -- "$OLDPWD/load_$1" run \
		"$(path_of "$1")" $((FIRST + 1)) 100000) | while read -r key; do
		case $1 in
		gdbm) ;;
		tokyo) [ "$key" -eq $((FIRST + 1)) ] || echo "promise $2-$((key - 1)) yes" >&3 ;;
		*) echo "promise $2-$key yes" >&3 ;;
		esac
		echo >>"/tmp/keys.$1.$fs"
	done &
}

# Until each engine has acknowledged some keys.
wait_for_keys() {
	while [ "$(wc -l <"/tmp/keys.$1.$fs")" -lt 5 ]; do sleep 0.1; done
}

keys() {
	(cd "$3" && "$OLDPWD/load_$1" verify "$(path_of "$1")" 0) >/tmp/verified
	last=$(sed -n 's/.*: \([0-9]*\) keys.*/\1/p' /tmp/verified)
	echo "note $2: $last keys" >&3
	[ -z "$last" ] || echo "looked $2" >&3
	{
		sed -n 's/^key \([0-9]*\) .*/wrong \1/p' /tmp/verified
		seq $((FIRST + 1)) "${last:-0}"
	} | awk -v name="$2" '$1 == "wrong" { wrong[$2]; next } !($1 in wrong) { print "found " name "-" $1 " yes" }' >&3
}

# ---- The cut ----

before() {
	export GO=/tmp/go READY=/tmp/ready
	make_mutant
	each prepare fill
	sync
	stores=$(each echo nothing | wc -l)
	: >$READY
	: >/tmp/done
	each store nothing
	lines 0
	each nothing run_it
	each nothing wait_for_keys
	touch $GO
	lines "$stores"
	sleep "0.$(sed 's/.*\.\([0-9]*\) .*/\1/' /proc/uptime)"
	echo cut >&3
	sleep 1000
}

after() { each found keys; }
$1

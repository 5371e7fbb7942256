# SPDX-License-Identifier: BSD-3-Clause
"""Commands that are wrong in one way each: a name, the test of test_tool.py that must fail, and a script in which $TRUE
is the command as it is."""

COMMANDS = [
    ("a mapping is missing", "ps_all_kinds", '"$TRUE" "$@" | grep -v /other\n'),
    ("a private mapping is listed", "ps_all_kinds",
     '''[ "$1" = ps ] || exec "$TRUE" "$@"
"$TRUE" "$@" | sed 's/^ *"rows": \\[/&{"start": "0x1", "path": "x", "size": 1, "access": "rw"},/'
'''),
    ("volatile is durable", "ps_all_kinds", '''"$TRUE" "$@" | sed 's/"none", "could"/"page", "could"/'\n'''),
    ("another file is shown", "ps_all_kinds", '''for a; do [ "$a" = --file ] && exec "$TRUE" ps --json -p $PPID; done
exec "$TRUE" "$@"
'''),
    ("ps and probe differ", "ps_agrees", '''"$TRUE" "$@" | sed '/"pid"/s/"page-cache"/"no-map-sync"/'\n'''),
    ("unknown is yes", "probe_unmappable", '''"$TRUE" "$@" | sed 's/"unknown"/"yes"/g'\nexit 2\n'''),
    ("all is met", "probe_exit", '"$TRUE" "$@"; exit 0\n'),
    ("what cannot be told is met", "ps_require", '"$TRUE" "$@"; [ $? -eq 1 ]\n'),
    ("a mistake is no error", "mistakes", '"$TRUE" "$@"; exit 0\n'),
    ("talk on stdout", "mistakes", '"$TRUE" "$@" 2>&1\n'),
    ("a name is not escaped", "names", '''"$TRUE" "$@" | sed 's/\\\\n/\\n/g'\n'''),
    ("bytes of a name are lost", "names", '''"$TRUE" "$@" | sed 's/, "path_hex": "[^"]*"//'\n'''),
    ("a name is not the kernel's", "names_of_mappings", '''"$TRUE" "$@" | sed 's/octal/actal/'\n'''),
    ("-o is not heard", "columns", '[ "$3" = -o ] && exec "$TRUE" "$1" "$2" "$5"\nexec "$TRUE" "$@"\n'),
    ("a column is not in the manual", "manual", '''"$TRUE" "$@" | sed 's/^  reason  /  raison  /'\n'''),
    ("a full disk is not noticed", "full_output", '"$TRUE" "$@"; exit 0\n'),
    ("a file is created", "probe_trace", 'for a; do :; done\n[ ! -d "$a" ] || : >"$a/trace"\nexec "$TRUE" "$@"\n'),
    ("a time moves", "probe_trace", 'for a; do :; done\n[ ! -f "$a" ] || touch -a "$a"\nexec "$TRUE" "$@"\n'),
    ("a lease is broken", "lease", 'for a; do :; done\n[ ! -f "$a" ] || timeout 1 cat "$a" >/dev/null\n"$TRUE" "$@"\n'),
    ("of many, one is left out", "ps_many", '"$TRUE" "$@" | grep -v "/many500\\""\n'),
    ("dirty bytes are not counted", "ps_cache", '''"$TRUE" "$@" | sed 's/"dirty": [1-9][0-9]*/"dirty": 0/'\n'''),
    ("locks are not counted", "ps_locks", '''"$TRUE" "$@" | sed 's/"locks": 2/"locks": 1/'\n'''),
    ("a file that is gone is durable", "ps_gone", '''"$TRUE" "$@" | sed 's/"durable": "no"/"durable": "yes"/'\n'''),
    ("what was not seen is not said", "unprivileged", '"$TRUE" "$@" 2>/dev/null\n'),
    ("what is bad is ok", "doctor", '"$TRUE" "$@" | sed "s/\\"level\\": \\"[a-z]*\\"/\\"level\\": \\"fine\\"/"\n'),
    ("--help and the completion differ", "completion", '"$TRUE" "$@" | grep -v require\n'),
    ("an event is missing", "watch_file",
     '[ "$1" = watch ] || exec "$TRUE" "$@"\n"$TRUE" "$@" | grep --line-buffered -v truncated\n'),
    ("a new mapping is missing", "watch_process", '"$TRUE" "$@" | grep --line-buffered -v /other\n'),
    ("the bench leaves a file", "bench", 'for a; do :; done\n[ ! -d "$a" ] || : >"$a/left"\nexec "$TRUE" "$@"\n'),
    ("the device's writes are not counted", "bench_writes",
     '"$TRUE" "$@" | sed "s/\\"written\\": [0-9]*/\\"written\\": 1/"\n'),
    ("a file is written", "doctor_calls", ': >"$0.trace"\nexec "$TRUE" "$@"\n'),
    ("no sentences", "explain", '"$TRUE" "$@" | sed "/^$/,\\$d"\n'),
]

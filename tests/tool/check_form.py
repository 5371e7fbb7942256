# SPDX-License-Identifier: BSD-3-Clause
"""What the command writes: JSON, tables, columns, names, mistakes."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

from place import bytes_of, mapped

ODD = [b"with space", b"line\nend", b'quote"', b"back\\slash", b"octal\\012",
       b"invalid\xff\xfe", b"tab\t", b"\xc3\xa9\xe2\x82\xac",
       b"esc\x1b[31m", b" (deleted)"]


def test_names(place):
    """JSON is right whatever the names are, and a table has a line a row."""
    paths = [place.file(name) for name in ODD]
    document = place.json("probe", *paths)
    assert document["schema"] == "pmdirect-probe" and document["version"] == 1 and document["notes"] == []
    assert [bytes_of(row) for row in document["rows"]] == paths
    table = place.run("probe", "-n", "-o", "granularity,path", *paths).stdout
    assert table.count(b"\n") == len(paths) and b"\x1b" not in table and b"\xff" not in table, table
    tool = subprocess.run([sys.executable, "-m", "json.tool"], input=place.run("probe", "--json", *paths).stdout,
                          stdout=subprocess.DEVNULL, check=False)
    assert tool.returncode == 0


def test_names_of_mappings(place):
    """A line end in a name, and a name that reads like one, as the kernel writes both."""
    before = place.own()
    held = [mapped(place.file(name)) for name in ODD]
    found = [bytes_of(row) for start, row in place.own().items() if start not in before]
    assert sorted(found) == sorted(os.path.join(os.fsencode(place.directory), name) for name in ODD), found
    del held


def columns_of_help(place, command):
    text = place.run(command, "--help").stdout.decode()
    return re.findall(r"^  (\w+) +[* ] ", text.split("Columns of --columns")[1], re.MULTILINE)


def test_columns(place):
    """-o chooses and orders, in the table and in JSON; a column that there is not is a mistake."""
    path = place.file("file")
    document = place.json("probe", "-o", "reason,direct", path)
    assert [list(row) for row in document["rows"]] == [["reason", "direct"]]
    heading = place.run("probe", "-o", "reason,DIRECT", path).stdout.decode().split("\n")[0]
    assert heading.split() == ["REASON", "DIRECT"]
    for command, argument in (("probe", path), ("ps", "--all")):
        assert list(place.json(command, argument)["rows"][0]) == columns_of_help(place, command)
    done = place.run("probe", "-o", "nothing", path, status=2)
    assert done.stdout == b"" and b"nothing" in done.stderr


def test_standard_columns(place):
    """Those with a star are those of a table without -o, and of a plus sign; what there is not is no unknown."""
    path = place.file("file")
    for command, *arguments in (("probe", path), ("explain", path), ("ps", "--all"), ("doctor",),
                                ("bench", "--seconds=1", path)):
        stars = re.findall(r"^  (\w+) +[*] ", place.run(command, "--help").stdout.decode(), re.MULTILINE)
        for more in ((), ("-o", "+" + stars[0])):
            done = place.run(command, *more, *arguments, status=None)
            if command != "doctor":
                assert done.stdout.decode().split("\n")[0].lower().split() == stars, (command, more, done)
    heading = place.run("probe", "--require=durable", "-o", "+size", path, status=None).stdout.split(b"\n")[0]
    assert heading.split()[-3:] == [b"MET", b"PATH", b"SIZE"], heading
    done = place.run("probe", "-n", "-o", "met,error,sentence", path).stdout
    assert done.split() == [b"-", b"-", b"-"], done
    held = mapped(path)
    assert place.run("ps", "-n", "-f", path, "-o", "note").stdout.split() == [b"-"], held
    # More lines may follow: the file gets its blocks some time after it was written.
    done = place.run("watch", "--for=1", "-o", "pid,start,could", path).stdout.splitlines()
    assert done[0].split() == [b"-", b"-", b"-"], done
    done = place.run("watch", "--for=1", "--json", "-o", "pid,could", path).stdout.splitlines()
    row = json.loads(done[0])["row"]
    assert row == {"pid": None, "could": ""}, row


def test_manual(place):
    """Each command, column and option is in the manual, and none that there is not."""
    text = pathlib.Path(place.manual).read_text(encoding="ascii")
    commands = re.findall(r"^  (\w+) ", place.run("--help").stdout.decode(), re.MULTILINE)
    assert commands == re.findall(r"^\.Cm (\w+)$", text.split(".Sh DESCRIPTION")[0], re.MULTILINE), commands
    for command in commands:
        section = text.split(f".Ss {command}\n")[1].split("\n.Ss ")[0].split("\n.Sh ")[0]
        entries = re.findall(r"^\.It Cm (\w+)$", section, re.MULTILINE)
        assert entries == columns_of_help(place, command), (command, entries)
        synopsis = text.replace("\\-", "-")
        for option in re.findall(r"--([\w-]+)", place.run(command, "--help").stdout.decode().split("Columns")[0]):
            assert f"-{option}" in synopsis, (command, option)


FORM = re.compile(r"^\.Op Ar form$", re.MULTILINE)


def names_of(mdoc):
    """Options after each Fl of these lines: letters, and long names with their dashes."""
    found = set()
    for line in mdoc.split("\n"):
        if not line.startswith((".Op Fl", ".Fl", ".It Fl")):
            continue
        for names in re.findall(r"\bFl ((?:[\w\\-]+ ?)+)", re.sub(r" (Ns|Ar|No|Pq|Fl|Op)\b", r" | \1", line)):
            for name in names.split():
                found |= {"-" + name.replace("\\-", "-")} if name.startswith("\\-") else {"-" + it for it in name}
    return found - {"--"}


def options_of_help(place, command):
    """A set of names each: those of one option."""
    text = place.run(command, "--help").stdout.decode().split("Columns of")[0]
    return [set(re.findall(r"(?<![\w-])--?[a-zA-Z-]+", line.split("   ")[0].split("=")[0]))
            for line in re.findall(r"^  (-.*)$", text, re.MULTILINE)]


def synopses_of(text):
    """By command."""
    synopsis = text.split(".Sh SYNOPSIS\n")[1].split(".Sh ")[0]
    return dict(re.findall(r"^\.Cm (\w+)\n(.*?)(?=^\.Nm|\Z)", synopsis, re.MULTILINE | re.DOTALL))


def test_synopsis(place):
    """The synopsis has each option by one of its names, and none that there is not; so have the lists of options."""
    manual = pathlib.Path(place.manual)
    text = manual.read_text(encoding="ascii")
    form = names_of(text.split(".Ss Form\n")[1].split(".El\n")[0])
    assert {"-o", "--json", "--columns", "-n", "--no-headings"} < form, form
    for command, synopsis in synopses_of(text).items():
        options = options_of_help(place, command)
        there = set().union(*options)
        shown = names_of(synopsis) | (form if FORM.search(synopsis) else {"-h"})
        assert shown <= there, (command, shown - there)
        assert all(names & shown for names in options), (command, [names for names in options if not names & shown])
        listed = names_of(text.split(f".Ss {command}\n")[1].split("\n.Ss ")[0])
        assert listed <= there, (command, listed - there)
    own = synopses_of((manual.parent / "pmdirect-run.1").read_text(encoding="ascii"))
    assert own == {"run": synopses_of(text)["run"]}, own


def test_options(place):
    """Each option of --help is taken, and no other letter is."""
    for command in synopses_of(pathlib.Path(place.manual).read_text(encoding="ascii")):
        text = place.run(command, "--help").stdout
        letters = set()
        for names in options_of_help(place, command):
            letters |= {name[1] for name in names if len(name) == 2}
            for name in names:
                value = "sync" if name == "--require" else "1"
                with_value = [name + "=" + value] if name.startswith("--") else [name, value]
                needs = f"{name}=".encode() in text or name in ("-p", "-f") or (name == "-o")
                assert place.run(command, *(with_value if needs else [name]), "--help").stdout == text, (command, name)
        for letter in "abcdefgijklmnopqrstuvwxyz":
            done = place.run(command, "-" + letter, status=None, stdin=subprocess.DEVNULL) if (
                letter not in letters) else None
            assert not done or (done.returncode == 2 and b"is no option" in done.stderr), (command, letter, done)


def test_mistakes(place):
    for arguments in ((), ("nothing",), ("probe",), ("probe", "--nothing", "/"), ("probe", "--require=all", "/"),
                      ("ps", "-p", "x"), ("ps", "/"), ("explain",), ("explain", "/", "/"),
                      ("run", "--columns=nothing", "-o", place.directory / "report", "true")):
        done = place.run(*arguments, status=2)
        assert done.stdout == b"" and done.stderr.startswith(b"pmdirect: "), done
        assert b"--help" in done.stderr and os.listdir(place.directory) == [], done
    assert place.run("--help").stdout and place.run("--version").stdout.startswith(b"pmdirect ")


def test_full_output(place):
    """A table that was not written is no success."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*place.command, "probe", "/"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2 and b"stdout" in done.stderr, done


def completed(place, *words):
    """What bash offers for the last word."""
    script = f"""
compopt() {{ :; }}
. {shlex.quote(str(pathlib.Path(place.manual).parents[2] / "tools/pmdirect/completion/pmdirect"))}
COMP_WORDS=({" ".join(shlex.quote(word) for word in words)}) COMP_CWORD={len(words) - 1}
_pmdirect {shlex.quote(place.command[0])} && printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, check=True, cwd=place.directory)
    return done.stdout.decode().split("\n")[:-1]


def test_completion(place):
    """Commands, options, columns and names are those that there are."""
    commands = re.findall(r"^  (\w+) ", place.run("--help").stdout.decode(), re.MULTILINE)
    assert completed(place, "pmdirect", "") == [*commands, "--help", "--version"]
    assert completed(place, "pmdirect", "pr") == ["probe"]
    assert completed(place, "pmdirect", "probe", "--re") == ["--require=", "--read-only"]
    assert "--json" in completed(place, "pmdirect", "ps", "-") and "-p" in completed(place, "pmdirect", "ps", "-")
    assert completed(place, "pmdirect", "probe", "--require", "=", "sync,d") == ["sync,direct", "sync,durable"]
    assert completed(place, "pmdirect", "ps", "-o", "pid,could_") == ["pid,could_reason"]
    assert sorted(completed(place, "pmdirect", "ps", "-o", "")) == sorted([*columns_of_help(place, "ps"), "all"])
    place.file("a file")
    for words in (("explain",), ("ps", "--file"), ("ps", "-f"), ("run", "-o"), ("run", "--output")):
        assert completed(place, "pmdirect", *words, "a ") == ["a file"], words
    assert str(os.getpid()) in completed(place, "pmdirect", "ps", "-p", "")

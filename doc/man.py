#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes one manual page per public function, from the comments of the header.

  man.py HEADER VERSION DIRECTORY FUNCTION...   writes DIRECTORY/FUNCTION.3
  man.py --list HEADER                          prints the functions
"""

import pathlib
import re
import sys

import header as reader

RELATED = {
    "life": ("pm_map", "pm_map_fd", "pm_unmap", "pm_resize", "pm_base", "pm_length"),
    "durability": ("pm_flush", "pm_drain", "pm_persist", "pm_deep_persist", "pm_sync", "pm_clear_error"),
    "copies": ("pm_memcpy", "pm_memmove", "pm_memset", "pm_read", "pm_write", "pm_flush", "pm_drain"),
    "health": ("pm_read", "pm_write", "pm_clear_bad_blocks", "pm_query"),
    "truth": ("pm_query", "pm_probe", "pm_explain", "pm_granularity_of", "pm_granularity_name", "pm_state_name",
              "pm_evidence_name", "pm_reason_name"),
    "events": ("pm_event_fd", "pm_next_event", "pm_query"),
    "guard": ("pm_guard_install", "pm_guard_remove", "pm_guarded"),
    "errors": ("pm_strerror", "pm_error_detail", "pm_clear_error"),
}

# The page that describes a type, or the group of constants that begins with the one named.
OWNERS = {
    "struct pm_options": "pm_map",
    "enum pm_request": "pm_map",
    "struct pm_event": "pm_next_event",
    "enum pm_event_kind": "pm_event_fd",
    "struct pm_report": "pm_query",
    "struct pm_fault": "pm_guarded",
    "struct pm_evidence": "pm_query",
    "enum pm_grade": "pm_query",
    "enum pm_verdict": "pm_query",
    "enum pm_advice": "pm_query",
    "enum pm_granularity": "pm_granularity_name",
    "enum pm_state": "pm_state_name",
    "enum pm_reason": "pm_reason_name",
    "enum pm_evidence_row": "pm_evidence_name",
    "PM_CREATE": ("pm_map", "Flags"),
    "PM_ENOTSYNC": ("pm_map", "Errors of the library"),
    "PM_EVENT_FRAMES": ("pm_next_event", "Sizes"),
    "PM_NODRAIN": ("pm_memcpy", "Flags"),
}


def escape(text):
    """Text that troff takes literally; every hyphen is one that can be copied."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


WORDS = re.compile(r"""
    (?P<page>\b[a-z]\w*)\((?P<section>[1-9])\)           # mmap(2)
  | (?P<function>\bpm_\w+)\(\)                          # pm_map()
  | (?P<constant>(?<![\w/])(?:\\-)?(?:(?:PM|MAP|PROT|O|STATX|MADV)_[A-Z_]*[A-Z]|E[A-Z][A-Z0-9]{2,}|E2BIG|EIO))\b
""", re.VERBOSE)


def embolden(match):
    if match["function"]:
        return f"\\fB{match['function']}\\fP(3)"
    if match["page"]:
        return f"\\fB{match['page']}\\fP({match['section']})"
    return f"\\fB{match['constant']}\\fP"


def markup(text):
    """A paragraph in which functions, pages and constants are bold."""
    return WORDS.sub(embolden, escape(text))


def synopsis(prototype):
    """The prototype in bold, its parameters in italics, one to a line if it is long."""
    head, parameters = re.match(r"(.*?\()(.*)\);$", prototype).groups()
    shown = []
    for parameter in parameters.split(", "):
        match = re.match(r"(.*?)(\w+)$", parameter)
        if parameter == "void":
            shown.append("\\fBvoid\\fP")
        else:
            shown.append(f"\\fB{escape(match[1])}\\fP\\fI{match[2]}\\fP")
    # A long one continues under its first parameter.
    joint = "\\fB,\\fP " if len(prototype) <= 70 else "\\fB,\\fP\n" + " " * len(head)
    return f"\\fB{escape(head)}\\fP" + joint.join(shown) + "\\fB);\\fP"


def describe_members(members):
    lines = []
    for member in members:
        lines += [".TP", f".B {escape(member.declaration)}"]
        lines.append(markup(member.comment) if member.comment else "\\&")
    return lines


def type_sections(function, header):
    """Where the types of the prototype are described, then those that this page describes."""
    elsewhere, here = [], []
    for name, kind in reader.types(header).items():
        if OWNERS[name] == function.name:
            here += [f".SS {name}", markup(kind.comment) if kind.comment else "\\&"] + describe_members(kind.members)
        elif re.search(rf"\b{name}\b", function.prototype):
            elsewhere += [f".B {name}", "is described in", f".BR {OWNERS[name]} (3)."]
    for group in reader.constants(header):
        owner, title = OWNERS[group[0].name]
        if owner == function.name:
            here += [f".SS {title}"] + describe_members(group)
        elif owner == "pm_memcpy" and "unsigned flags" in function.prototype:
            elsewhere += ["The flags are described in", f".BR {owner} (3)."]
    return [".SH TYPES AND CONSTANTS"] + elsewhere + here if elsewhere or here else []


def see_also(function, every):
    text = " ".join([*function.paragraphs, *function.sections.values()])
    names = re.findall(r"\b(pm_\w+)\(\)", text)
    for group in RELATED.values():
        if function.name in group:
            names += group
    outside = re.findall(r"\b([a-z]\w*)\((\d)\)", text)
    pages = {(name, "3") for name in names if name in every and name != function.name}
    pages |= {page for page in outside if not page[0].startswith("pm_")}
    pages |= {("pm", "7"), ("pm_durability", "7")}
    ordered = sorted(pages, key=lambda page: (page[1], page[0]))
    return [f".BR {name} ({section}){',' if (name, section) != ordered[-1] else ''}" for name, section in ordered]


def page(function, version, header, every):
    lines = ['.\\" SPDX-License-Identifier: BSD-3-Clause',
             '.\\" Made from the comments in pmdirect.h.',
             f'.TH {function.name} 3 "" "pmdirect {version}" "pmdirect"',
             ".SH NAME", f"{function.name} \\- {escape(function.summary)}",
             ".SH LIBRARY", "Durable memory\\-mapped files", "(libpmdirect, \\-lpmdirect)",
             ".SH SYNOPSIS", ".nf", ".B #include <pmdirect.h>", ".PP", synopsis(function.prototype), ".fi",
             ".SH DESCRIPTION"]
    lines += "\n.PP\n".join(markup(p) for p in function.paragraphs or [sentence(function.summary)]).splitlines()
    for label, title in (("Returns", "RETURN VALUE"), ("Threads", "THREADS"), ("Crash", "CRASH")):
        lines += [f".SH {title}", markup(sentence(function.sections[label]))]
    lines += type_sections(function, header)
    if function.sections["Source"] != "none.":
        lines += [".SH SOURCES", markup(sentence(function.sections["Source"]))]
    lines += [".SH SEE ALSO"] + see_also(function, every)
    return "\n".join(lines) + "\n"


def sentence(text):
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", '"')) else ".")


def main(arguments):
    if arguments[0] == "--list":
        header = pathlib.Path(arguments[1]).read_text(encoding="utf-8")
        print("\n".join(function.name for function in reader.functions(header)))
        return
    header_path, version, directory, *names = arguments
    header = pathlib.Path(header_path).read_text(encoding="utf-8")
    table = {function.name: function for function in reader.functions(header)}
    for name in names:
        function = table[name]
        missing = [label for label in reader.LABELS if not function.sections.get(label)]
        if missing:
            sys.exit(f"{name}: the comment lacks {', '.join(missing)}")
        text = page(function, version, header, table)
        pathlib.Path(directory, name + ".3").write_text(text, encoding="ascii")


if __name__ == "__main__":
    main(sys.argv[1:])

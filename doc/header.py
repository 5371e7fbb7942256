# SPDX-License-Identifier: BSD-3-Clause
"""Reads the public header: the functions with the sections of their comments, the types, the constants."""

import re
from dataclasses import dataclass, field

LABELS = ("Returns", "Threads", "Crash", "Source")


@dataclass
class Function:
    name: str
    summary: str = ""
    prototype: str = ""
    paragraphs: list = field(default_factory=list)
    sections: dict = field(default_factory=dict)  # label -> text


@dataclass
class Member:
    """A member of a struct, a value of an enum, or a constant."""
    name: str
    declaration: str
    comment: str


@dataclass
class Type:
    kind: str  # "struct" or "enum"
    name: str
    comment: str
    members: list


def _one_line(text):
    return " ".join(text.split())


def _comment_lines(block):
    return [re.sub(r"^\s*\* ?", "", line).rstrip() for line in block.splitlines()]


def _split_labels(text):
    """The text before the first label, and what follows each label."""
    parts = re.split(r"(?:^|(?<=\s))(" + "|".join(LABELS) + r"):(?:\s+|$)", text, flags=re.M)
    return parts[0], {label: _one_line(body) for label, body in zip(parts[1::2], parts[2::2])}


def _function(block, prototype):
    lines = _comment_lines(block)
    while lines and not lines[0]:
        lines.pop(0)
    name = re.search(r"(\w+)\(", prototype).group(1)
    head, dash, summary = lines[0].partition(" - ") if lines else ("", "", "")
    if not dash or head != name:
        raise ValueError(f"{name}: the comment does not begin with '{name} - '")
    body, sections = _split_labels("\n".join(lines[1:]))
    paragraphs = [_one_line(p) for p in re.split(r"\n\s*\n", body) if p.strip()]
    return Function(name, summary, prototype, paragraphs, sections)


def functions(header):
    """Every exported function in the order of the header; one without a comment has no summary."""
    found = []
    pattern = r"(?:/\*\*\n(?P<comment>(?:(?!\*/).)*?)\*/\s*)?PM_API\s+(?P<proto>[^;{]+;)"
    for match in re.finditer(pattern, header, flags=re.S):
        prototype = _one_line(match["proto"])
        if match["comment"] is None:
            found.append(Function(re.search(r"(\w+)\(", prototype).group(1), prototype=prototype))
        else:
            found.append(_function(match["comment"], prototype))
    return found


def _members(kind, body):
    separator = "," if kind == "enum" else ";"
    pattern = rf"([^{separator}/]+?){separator}?\s*(?:/\*(.*?)\*/|\n|$)"
    members = []
    for match in re.finditer(pattern, body, flags=re.S):
        declaration = _one_line(match[1]).rstrip(separator)
        if declaration:
            name = re.match(r"\w+", declaration) if kind == "enum" else re.search(r"(\w+)(\[\w+\])?$", declaration)
            comment = " ".join(_comment_lines(match[2] or ""))
            members.append(Member(name[0] if kind == "enum" else name[1], declaration, _one_line(comment)))
    return members


def types(header):
    """name -> Type, for every struct and enum that the header defines."""
    found = {}
    pattern = r"(?:/\*((?:(?!\*/).)*)\*/\n)?^(struct|enum) (\w+) \{\n(.*?)^\};"
    for match in re.finditer(pattern, header, flags=re.S | re.M):
        comment = _one_line(" ".join(_comment_lines(match[1] or "")))
        found[f"{match[2]} {match[3]}"] = Type(match[2], match[3], comment, _members(match[2], match[4]))
    return found


def constants(header):
    """The defined constants, as lists of those that stand together."""
    pattern = re.compile(r"#define (PM_\w+) (\w+)\s*(?:/\* (.*?) \*/)?$")
    groups, group = [], []
    for line in header.splitlines() + [""]:
        match = pattern.match(line)
        if match:
            group.append(Member(match[1], f"{match[1]} {match[2]}", match[3] or ""))
        elif group:
            groups.append(group)
            group = []
    return groups


def words(header):
    """Every public PM_ word: enum values and constants with a meaning of their own."""
    found = [m.name for t in types(header).values() if t.kind == "enum" for m in t.members]
    return found + [m.name for group in constants(header) for m in group]


def version(map_text):
    """The names that a linker version script exports."""
    return re.findall(r"^\s*(pm_\w+);", map_text.split("local:")[0], flags=re.M)

# SPDX-License-Identifier: BSD-3-Clause
"""Reads the public header: its functions, its types, its constants."""

import re
from dataclasses import dataclass


@dataclass
class Function:
    name: str
    prototype: str  # in one line, with the semicolon
    comment: str  # the one before it, or before the first of those that stand together


def one_line(text):
    return " ".join(text.split())


def functions(header):
    """Every exported function, in the order of the header."""
    found, comment = [], ""
    pattern = r"/\*(?P<comment>(?:(?!\*/).)*)\*/\s*|^PM_API\s+(?P<proto>[^;{]+;)|(?P<other>\S+)"
    for match in re.finditer(pattern, header, flags=re.S | re.M):
        if match["comment"] is not None:
            comment = one_line(re.sub(r"^\s*\*", "", match["comment"], flags=re.M))
        elif match["proto"]:
            prototype = one_line(match["proto"])
            found.append(Function(re.search(r"(\w+)\(", prototype)[1], prototype, comment))
        else:
            comment = ""
    return found


def function_types(header):
    """name -> prototype, for what the header defines as the type of a callback."""
    return {match[1]: one_line(match[0]) for match in re.finditer(r"^typedef \w+ (pm_\w+)\([^;]*;", header, re.M)}


def without_comments(header):
    return re.sub(r"/\*.*?\*/", "", header, flags=re.S)


def structs(header):
    """name -> the declarations of its members, in order."""
    return {match[1]: [one_line(member) for member in match[2].split(";") if member.strip()]
            for match in re.finditer(r"^struct (\w+) \{(.*?)\};", without_comments(header), re.S | re.M)}


def words(header):
    """Every public PM_ word: the values of enums, and the constants with a value."""
    plain = without_comments(header)
    found = [word for body in re.findall(r"^enum \w+ \{(.*?)\};", plain, re.S | re.M)
             for word in re.findall(r"\b(PM_\w+) =", body)]
    return found + re.findall(r"^#define (PM_\w+) \w+\s*$", plain, re.M)


def version(header):
    """The version that the header states."""
    return ".".join(re.search(rf"^#define PM_VERSION_{part} (\d+)", header, re.M)[1]
                    for part in ("MAJOR", "MINOR", "PATCH"))


def listed(map_text):
    """The names that a linker version script exports."""
    return re.findall(r"^\s*(pm_\w+);", map_text, flags=re.M)

#!/usr/bin/env python3
"""Holds the sources to the house plan: who may include whom, and how long a file may be.

    check_structure.py [ROOT]

Prints one line per violation and ends with 1 when there is any.
"""

import os
import re
import sys

# The rooms of src/eigenscale, lowest first; those on one line stand beside each other. A room
# includes only from lines below its own, and from itself.
STOREYS = [
    ["core"],
    ["comm"],
    ["linalg", "data", "report"],
    ["spectral"],
    ["nn"],
    ["train"],
    ["cluster", "compress"],
    ["bench"],
]
STOREY_OF = {room: storey for storey, rooms in enumerate(STOREYS) for room in rooms}

MAXIMUM_LINES = 400
SOURCE_SUFFIXES = (".h", ".cpp", ".c", ".cu", ".py")
WORLD_FILE = "src/eigenscale/comm/environment.cpp"

COMMENT_OR_STRING = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"([^()\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"', re.DOTALL)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def without_comments(text):
    """The text with comments blanked, line breaks kept."""
    def blank(match):
        found = match.group(0)
        return re.sub(r"[^\n]", " ", found) if found.startswith(("//", "/*")) else found
    return COMMENT_OR_STRING.sub(blank, text)


def source_files(root):
    """Paths of all sources, relative to root, sorted."""
    for top in ("src", "apps", "tests"):
        for folder, folders, names in os.walk(os.path.join(root, top)):
            folders.sort()
            for name in sorted(names):
                if name.endswith(SOURCE_SUFFIXES):
                    yield os.path.relpath(os.path.join(folder, name), root)


def room_of(path):
    """The room that a path below src/ belongs to, or None."""
    parts = path.split("/")
    return parts[2] if parts[:2] == ["src", "eigenscale"] and len(parts) > 3 else None


def check_includes(path, code):
    """Violations of the arrows between rooms in one file below src/."""
    room = room_of(path)
    if room not in STOREY_OF:
        yield f"{path}: '{room}' is no room of the house plan; a new one is entered in STOREYS"
        return
    for match in INCLUDE.finditer(code):
        line = code.count("\n", 0, match.start()) + 1
        bracket, target = match.groups()
        if target.startswith("eigenscale/"):
            other = target.split("/")[1]
            if other not in STOREY_OF:
                yield f"{path}:{line}: includes {target}, of a room that the plan does not have"
            elif other != room and STOREY_OF[other] >= STOREY_OF[room]:
                where = "above" if STOREY_OF[other] > STOREY_OF[room] else "beside"
                yield f"{path}:{line}: {room} includes {target}, from a room {where} it"
        elif bracket == '"':
            yield f'{path}:{line}: includes "{target}"; own headers are named from src/'
        elif room == "core" and re.match(r"mpi\.h$|(torch|ATen|c10)/", target):
            yield f"{path}:{line}: core includes <{target}>; it knows neither MPI nor tensors"


def check_file(root, path):
    """All violations in one file, except the count of MPI_COMM_WORLD."""
    with open(os.path.join(root, path), encoding="utf-8") as file:
        text = file.read()
    code = text if path.endswith(".py") else without_comments(text)
    violations = []
    lines = text.count("\n") + (not text.endswith("\n"))
    if lines > MAXIMUM_LINES:
        violations.append(f"{path}: {lines} lines; over {MAXIMUM_LINES} it is asking to be two")
    if path.endswith(".h") and not re.search(r"^#pragma once$", code, re.MULTILINE):
        violations.append(f"{path}: has no #pragma once")
    if path.startswith("src/"):
        violations += check_includes(path, code)
    worlds = 0
    if path.startswith(("src/", "apps/")):
        worlds = len(re.findall(r"\bMPI_COMM_WORLD\b", code))
        if worlds and path != WORLD_FILE:
            violations.append(f"{path}: names MPI_COMM_WORLD; communicators are parameters")
    return violations, worlds


def check(root):
    """All violations below root, as lines of text."""
    violations = []
    worlds = 0
    for path in source_files(root):
        found, count = check_file(root, path)
        violations += found
        worlds += count if path == WORLD_FILE else 0
    if worlds != 1:
        violations.append(f"{WORLD_FILE}: names MPI_COMM_WORLD {worlds} times; expected once")
    return violations


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    violations = check(root)
    for violation in violations:
        print(violation)
    files = sum(1 for _ in source_files(root))
    print(f"{files} files, {len(violations)} violations")
    sys.exit(1 if violations or files == 0 else 0)


if __name__ == "__main__":
    main()

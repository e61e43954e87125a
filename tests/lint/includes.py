#!/usr/bin/python3
"""Who includes whom: every #include of every room against the table of rooms.py.

    includes.py [ROOT]"""

import os
import re
import sys

import rooms

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def library_of(header):
    for prefix, library in rooms.LIBRARIES.items():
        if header.startswith(prefix) if prefix.endswith("/") else header == prefix + ".h":
            return library
    return None


def wrong_with_ours(root, room, header):
    if not os.path.exists(os.path.join(root, header)):
        return "our headers are named from the top of the tree, and this one is not there"
    if not any(header.startswith(m) if m.endswith("/") else header == m for m in room.may):
        return f"{room.path} may include {', '.join(room.may[1:]) or 'nothing of ours'}"
    owner = rooms.room_of(header)
    if owner and owner is not room and header.endswith("_internal.h"):
        return f"only {owner.path} includes its internal headers"
    return None


def wrong_with_theirs(room, header):
    library = library_of(header)
    if library:
        return None if library in room.libraries else f"{room.path} does not use {library}"
    if room.system is not None and header not in room.system:
        return f"{room.path} has no use for <{header}>: it does no I/O"
    return None


def check_file(root, path):
    room = rooms.room_of(path)
    with open(os.path.join(root, path), encoding="utf-8") as f:
        text = rooms.strip_comments(f.read())
    for m in INCLUDE.finditer(text):
        line = text.count("\n", 0, m.start(2)) + 1
        ours = m.group(1) == '"'
        wrong = wrong_with_ours(root, room, m.group(2)) if ours else wrong_with_theirs(room, m.group(2))
        if wrong:
            yield f"{path}:{line}: includes {m.group(2)}: {wrong}"


def main(argv):
    root = rooms.root_of(argv)
    files = list(rooms.sources(root))
    return rooms.report("includes", [v for path in files for v in check_file(root, path)], len(files))


if __name__ == "__main__":
    sys.exit(main(sys.argv))

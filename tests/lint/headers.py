#!/usr/bin/python3
"""Every header opens with its prose and compiles by itself.

    headers.py [ROOT]        CC is the compiler, `cc` by default"""

import concurrent.futures
import os
import subprocess
import sys

import rooms

FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", '-DPEAL_VERSION="0"', "-Wall", "-Wextra", "-Werror",
         "-Wno-unused-parameter", "-fsyntax-only"]


def opens_with_prose(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as f:
        text = f.read()
    if not text.startswith("/*"):
        return f"{path}:1: a header opens with a comment that says what it is for"
    prose = text[2:text.find("*/")]
    if os.path.basename(path) not in prose.split("\n", 2)[1 if prose.startswith("\n") else 0]:
        return f"{path}:1: the comment opens with the header's name: \"{os.path.basename(path)} - ...\""
    return None


def compiles(root, path):
    cc = os.environ.get("CC", "cc")
    source = f'#include "{path}"\n#include "{path}"\n'
    result = subprocess.run([cc, *FLAGS, "-I", root, "-x", "c", "-"], input=source, text=True,
                            capture_output=True, check=False)
    if result.returncode == 0:
        return None
    first = next((l for l in result.stderr.splitlines() if "error" in l), result.stderr.strip())
    where = first if first.startswith(root) else f"{path}:1: {first}"
    return f"{os.path.relpath(where, root) if where is first else where} [must compile by itself, and twice]"


def main(argv):
    root = os.path.abspath(rooms.root_of(argv))
    headers = list(rooms.sources(root, (".h",)))
    violations = [opens_with_prose(root, h) for h in headers]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        violations += pool.map(lambda h: compiles(root, h), headers)
    return rooms.report("headers", [v for v in violations if v], len(headers))


if __name__ == "__main__":
    sys.exit(main(sys.argv))

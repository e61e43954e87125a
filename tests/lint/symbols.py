#!/usr/bin/python3
"""What the rooms without I/O call, and what they keep: the undefined symbols of each room's library
against what it may reference, and its data sections for globals that can change.

    symbols.py BUILD_DIR [ROOT]"""

import os
import re
import subprocess
import sys

import rooms

MEMORY = """malloc calloc realloc aligned_alloc free memcpy memmove memset memcmp memchr memrchr memmem mempcpy
explicit_bzero strlen strnlen strcmp strncmp strcasecmp strncasecmp strchr strchrnul strrchr strstr
strspn strcspn strpbrk strcpy strncpy stpcpy strtol strtoul strtoll strtoull snprintf vsnprintf
qsort bsearch abs tolower toupper __errno_location __ctype_b_loc __ctype_tolower_loc""".split()
MATH = "log log2 exp exp2 pow sqrt floor ceil round lround llround fmod ldexp frexp modf".split()
# What the compiler puts in by itself.
COMPILER = re.compile(r"__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__\w+_chk_fail|__gcov_\w+|__llvm_\w+"
                      r"|__sanitizer_\w+|__isoc23_strto\w+|__(aarch64|sync|atomic)_\w+"
                      r"|__(popcount|clz|ctz|ffs|bswap|u?div|u?mod|mul)[sdt]i[23]")
# __memcpy_chk is memcpy with _FORTIFY_SOURCE.
FORTIFIED = re.compile(r"__(\w+)_chk$")

SODIUM = re.compile(r"crypto_\w+|sodium_\w+")
OPENSSL = re.compile(r"(EVP|X509|X509V3|ASN1|BIO|BN|OBJ|ERR|PEM|CRYPTO|OPENSSL|OSSL|GENERAL_NAMES?|"
                     r"AUTHORITY_KEYID|BASIC_CONSTRAINTS|DIST_POINT|d2i|i2d|i2s|s2i)_\w+")
IPSEC_MB = re.compile(r"(alloc|free)_mb_mgr|init_mb_mgr_auto")
# These draw randomness, read the clock or open files, whatever their prefix says.
IMPURE = re.compile(r"randombytes\w*|RAND_\w+|crypto_\w*((?<!seed_)keypair|keygen|random)|EVP_PKEY_(Q_)?keygen|"
                    r"EVP_PKEY_generate|EVP_RAND_\w+|BN_(priv_)?rand\w*|X509_gmtime_adj|"
                    r"X509_cmp_current_time|X509_cmp_timeframe|BIO_new_(file|fp|socket|connect)|"
                    r"BIO_s_(file|fd|socket|connect|accept)|\w+_fp|ERR_print_errors_fp")

# archive: (archives it may use, symbols besides MEMORY)
ALLOWED = {
    "peal_core": ([], ["abort", "write", "inet_pton", "inet_ntop", *MATH]),
    "peal_crypto": (["peal_core"], [SODIUM, OPENSSL, IPSEC_MB, "timegm", "gmtime_r"]),
    "peal_overlay": (["peal_core", "peal_crypto"], MATH),
    "peal_dht": (["peal_core", "peal_crypto", "peal_overlay"], MATH),
    "peal_dhcp": (["peal_core"], []),
    "peal_dns": (["peal_core"], []),
    "peal_node": (["peal_core", "peal_crypto", "peal_overlay", "peal_dht", "peal_dhcp", "peal_dns",
                   "peal_tap"], MATH),
}
# Of peal_tap, the rooms without I/O may use only what these sources define.
TAP_BYTES = {os.path.basename(h)[:-2] + ".c" for h in rooms.TAP_BYTES} | {"snapshot.c", "seldom.c"}

CHANGING = re.compile(r"\.(data|bss|tdata|tbss)(?!\.rel\.ro)\b|\*COM\*")


def archives(build):
    found = {}
    for folder, _, names in os.walk(build):
        for name in names:
            m = re.fullmatch(r"lib(peal_\w+)\.a", name)
            if m:
                found[m.group(1)] = os.path.join(folder, name)
    return found


def nm(archive, *options):
    """(member, symbol) of each symbol."""
    out = subprocess.run(["nm", "-P", *options, archive], capture_output=True, text=True,
                         check=True).stdout
    member = ""
    for line in out.splitlines():
        m = re.fullmatch(r".*\[(.+)\.o\]:", line)
        if m:
            member = m.group(1)
        elif line:
            yield member, line.split()[0]


def defined_by(found, names):
    """Every symbol that one of these archives defines."""
    symbols = set()
    for name in names:
        if name not in found:
            continue
        for member, symbol in nm(found[name], "--defined-only", "--extern-only"):
            if name != "peal_tap" or member in TAP_BYTES:
                symbols.add(symbol)
    return symbols


def is_allowed(symbol, extra):
    if COMPILER.fullmatch(symbol):
        return True
    if IMPURE.fullmatch(symbol):
        return False
    fortified = FORTIFIED.match(symbol)
    symbol = fortified.group(1) if fortified else symbol
    return symbol in MEMORY or any(
        e.fullmatch(symbol) if isinstance(e, re.Pattern) else e == symbol for e in extra)


def place(root, room, member, symbol):
    """file:line of the first mention of a symbol in the member's source."""
    path = os.path.join(room.path, member)
    fortified = FORTIFIED.match(symbol)
    word = re.compile(r"\b%s\b" % re.escape(fortified.group(1) if fortified else symbol))
    try:
        with open(os.path.join(root, path), encoding="utf-8") as f:
            lines = rooms.strip_comments(f.read()).split("\n")
    except OSError:
        return path
    line = next((n for n, l in enumerate(lines, 1) if l[:1] != "#" and word.search(l)), 1)
    return f"{path}:{line}"


def why_not(found, symbol):
    owner = next((a for a in sorted(found) if symbol in defined_by(found, [a])), None)
    return f"it is lib{owner}.a's" if owner else "no I/O, clock, randomness or threads here"


def check_calls(root, found, room):
    may, extra = ALLOWED[room.archive]
    ours = defined_by(found, [room.archive, *may])
    for member, symbol in sorted(set(nm(found[room.archive], "-u"))):
        if symbol not in ours and not is_allowed(symbol, extra):
            yield (f"{place(root, room, member, symbol)}: references {symbol}, "
                   f"which {room.path} must not: {why_not(found, symbol)}")


def check_globals(root, found, room):
    out = subprocess.run(["objdump", "-t", found[room.archive]], capture_output=True, text=True,
                         check=True).stdout
    member = ""
    for line in out.splitlines():
        m = re.match(r"(.+)\.o:\s+file format", line)
        if m:
            member = m.group(1)
        m = re.match(r"[0-9a-f]+ (.{7}) (\S+)\s+[0-9a-f]+ (?:\.hidden )?(\S+)$", line)
        if not m or "O" not in m.group(1) or not CHANGING.match(m.group(2)):
            continue
        symbol = m.group(3).split(".")[0]
        if not COMPILER.fullmatch(symbol) and not symbol.startswith("__"):
            yield f"{place(root, room, member, symbol)}: {symbol} is a global that can change"


def main(argv):
    if len(argv) < 2:
        sys.exit(__doc__)
    found = archives(argv[1])
    root = rooms.root_of(argv[1:] if len(argv) > 2 else argv[:1])
    violations = []
    pure = [r for r in rooms.ROOMS if r.archive in ALLOWED]
    for room in pure:
        if room.archive not in found:
            violations.append(f"{room.path}: lib{room.archive}.a is not in {argv[1]}: build it first")
            continue
        violations += check_calls(root, found, room)
        violations += check_globals(root, found, room)
    return rooms.report("symbols", violations, len(pure))


if __name__ == "__main__":
    sys.exit(main(sys.argv))

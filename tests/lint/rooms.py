"""The rooms of the house: who may include whom, which libraries each may use, and what the rooms
without I/O may call. The checks beside this file make it true; a new dependency is a line here,
with its reason in the commit."""

import os
import re
import sys

# Headers of the C library that do no I/O by themselves; which of their functions are called is
# symbols.py's affair.
PURE = {"ctype.h", "errno.h", "inttypes.h", "limits.h", "math.h", "stdarg.h", "stdatomic.h",
        "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h", "strings.h"}

# Headers of other projects, by library. What is in neither list is the C library's or Linux's.
LIBRARIES = {"sodium": "sodium", "intel-ipsec-mb": "ipsec_mb", "openssl/": "openssl", "uv": "uv", "curl/": "curl",
             "libmnl/": "mnl", "ini": "inih", "jansson": "jansson", "sqlite3": "sqlite3",
             "microhttpd": "microhttpd", "qrencode": "qrencode", "gnutls/": "gnutls", "cmocka": "cmocka"}

CORE = "overlay/core/"
CRYPTO = "overlay/crypto/"
# The part of tap/ that only looks at bytes: the simulator links it too.
TAP_BYTES = ["tap/forward.h", "tap/eth.h", "tap/arp.h", "tap/ndp.h", "tap/icmp.h", "tap/checksum.h",
             "tap/transport.h"]


class Room:
    def __init__(self, path, may, system=None, libraries=(), archive=None):
        self.path = path            # folder, ends with "/"; the longest match owns a file
        self.may = [path] + may     # folders or headers of ours
        self.system = system        # None: any header of the C library or of Linux
        self.libraries = set(libraries)
        self.archive = archive      # the library that symbols.py reads


ROOMS = [
    Room(CORE, [], PURE | {"arpa/inet.h", "unistd.h"}, archive="peal_core"),
    Room(CRYPTO, [CORE], PURE | {"time.h"}, ["sodium", "openssl", "ipsec_mb"], archive="peal_crypto"),
    Room("overlay/", [CORE, CRYPTO], PURE, archive="peal_overlay"),
    Room("dht/", [CORE, CRYPTO, "overlay/overlay.h"], PURE, archive="peal_dht"),
    Room("dhcp/", [CORE], PURE, archive="peal_dhcp"),
    Room("dns/", [CORE], PURE, archive="peal_dns"),
    Room("tap/", [CORE, CRYPTO + "seal.h"], archive="peal_tap"),
    Room("daemon/node/", [CORE, CRYPTO, "overlay/overlay.h", "dht/", "dhcp/", "dns/"] + TAP_BYTES,
         PURE, archive="peal_node"),
    Room("daemon/", [CORE, CRYPTO, "overlay/overlay.h", "overlay/stun.h", "dht/", "dhcp/", "dns/", "tap/"],
         libraries=["sodium", "openssl", "uv", "curl", "mnl", "inih", "jansson"]),
    Room("ca-web/", [CORE, CRYPTO + "cert.h", CRYPTO + "known.h", CRYPTO + "removed.h", CRYPTO + "ringmap.h",
                     CRYPTO + "secret.h"],
         libraries=["sodium", "openssl", "sqlite3", "microhttpd", "gnutls", "jansson", "qrencode", "curl"]),
]


def room_of(path):
    """The room that owns a file, or None for tests and the like."""
    owners = [r for r in ROOMS if path.startswith(r.path)]
    return max(owners, key=lambda r: len(r.path)) if owners else None


def sources(root, endings=(".c", ".h")):
    """All files of all rooms, relative to root, in order."""
    for top in sorted({r.path.split("/")[0] for r in ROOMS}):
        for folder, _, names in sorted(os.walk(os.path.join(root, top))):
            for name in sorted(names):
                if name.endswith(endings):
                    yield os.path.relpath(os.path.join(folder, name), root)


def strip_comments(text):
    """Without comments, and with every line where it was."""
    return re.sub(r"/\*.*?\*/|//[^\n]*", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)


def report(name, violations, checked):
    """Prints and gives the exit status; a check that looked at nothing has failed."""
    for v in violations:
        print(v)
    if not checked:
        print(f"{name}: found nothing to check")
        return 1
    print(f"{name}: {checked} checked, {len(violations)} violations")
    return 1 if violations else 0


def root_of(argv):
    return argv[1] if len(argv) > 1 else os.path.dirname(os.path.dirname(os.path.dirname(
        os.path.abspath(argv[0]))))


if __name__ == "__main__":
    sys.exit("rooms.py is read by the checks beside it")

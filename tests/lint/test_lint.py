#!/usr/bin/python3
"""The checks find what they are for: each is shown a small house with one thing wrong in it."""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True

import headers
import includes
import symbols


def house(folder, files):
    for path, text in files.items():
        os.makedirs(os.path.dirname(os.path.join(folder, path)), exist_ok=True)
        with open(os.path.join(folder, path), "w", encoding="utf-8") as f:
            f.write(text)


def output(check, *argv):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = check.main(["check", *argv])
    return status, out.getvalue()


GOOD = {"overlay/core/err.h": "/* err.h - errors */\nint f(void);\n",
        "dns/name.h": "/* name.h - names */\n#include \"overlay/core/err.h\"\n"}


class Lint(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory()
        self.addCleanup(self.tmp.cleanup)
        self.root = self.tmp.name
        house(self.root, GOOD)

    def expect(self, check, files, line):
        self.assertEqual(output(check, self.root)[0], 0)
        house(self.root, files)
        status, text = output(check, self.root)
        self.assertEqual(status, 1)
        self.assertIn(line, text)

    def test_a_room_includes_another(self):
        self.expect(includes, {"dns/a.c": "/* \n */\n#include \"overlay/overlay.h\"\n",
                               "overlay/overlay.h": "/* overlay.h - x */\n"},
                    "dns/a.c:3: includes overlay/overlay.h: dns/ may include overlay/core/")

    def test_a_room_does_io(self):
        self.expect(includes, {"dns/a.c": "#include <sys/socket.h>\n"},
                    "dns/a.c:1: includes sys/socket.h")

    def test_a_room_uses_a_library(self):
        self.expect(includes, {"dht/a.c": "int x;\n  # include <uv.h>\n"},
                    "dht/a.c:2: includes uv.h: dht/ does not use uv")

    def test_a_header_by_its_bare_name(self):
        self.expect(includes, {"dns/a.c": "#include \"name.h\"\n"}, "named from the top of the tree")

    def test_what_is_in_a_comment_is_no_include(self):
        house(self.root, {"dns/a.c": "/*\n#include <uv.h>\n*/\n// #include <uv.h>\n"})
        self.assertEqual(output(includes, self.root)[0], 0)

    def test_a_header_without_prose(self):
        self.expect(headers, {"dns/a.h": "int g(void);\n"}, "dns/a.h:1: a header opens with a comment")

    def test_a_header_that_needs_another(self):
        self.expect(headers, {"dns/a.h": "/* a.h - x */\n#ifndef A\n#define A\nuint8_t g(void);\n#endif\n"},
                    "dns/a.h:4:")

    def test_an_empty_house(self):
        with tempfile.TemporaryDirectory() as empty:
            self.assertEqual(output(includes, empty)[0], 1)
            self.assertEqual(output(headers, empty)[0], 1)

    def archive(self, source):
        house(self.root, {"dns/a.c": source})
        path = os.path.join(self.root, "dns/a.c")
        subprocess.run(["cc", "-c", path, "-o", os.path.join(self.root, "a.c.o")], check=True)
        subprocess.run(["ar", "rcs", os.path.join(self.root, "libpeal_dns.a"),
                        os.path.join(self.root, "a.c.o")], check=True)
        lines = output(symbols, self.root, self.root)[1].splitlines()
        return [l for l in lines if l.startswith("dns/a.c")]

    def test_symbols(self):
        for source, expected in (
                ("int f(void) { return 0; }\nstatic const int t[2] = {1};\nint g(int i) { return t[i]; }\n", []),
                ("#include <time.h>\nlong f(void) { return time(NULL); }\n", ["dns/a.c:2: references time,"]),
                ("#include <stdio.h>\nvoid f(void)\n{\n    printf(\"%d\", 1);\n}\n",
                 ["dns/a.c:4: references printf,"]),
                ("#include <string.h>\nint f(const char *s) { return (int)strlen(s); }\n", []),
                ("static int n;\nint f(void) { return n++; }\n", ["dns/a.c:1: n is a global"]),
                ("int f(void) {\n    static int n = 1;\n    return n++;\n}\n", ["dns/a.c:2: n is a global"])):
            found = self.archive(source)
            self.assertEqual(len(found), len(expected), (source, found))
            for line, start in zip(found, expected):
                self.assertTrue(line.startswith(start), line)

    def test_a_library_that_is_not_built(self):
        status, text = output(symbols, self.root, self.root)
        self.assertEqual(status, 1)
        self.assertIn("libpeal_dht.a is not in", text)

    def test_randomness_behind_a_prefix(self):
        for symbol, pure in (("crypto_sign_keypair", False), ("crypto_sign_seed_keypair", True),
                             ("crypto_secretbox_keygen", False), ("randombytes_buf", False),
                             ("RAND_bytes", False), ("EVP_DigestInit_ex", True), ("sodium_memzero", True),
                             ("X509_cmp_current_time", False), ("BIO_new_file", False),
                             ("BIO_new_mem_buf", True), ("getrandom", False), ("__memcpy_chk", True),
                             ("__printf_chk", False)):
            self.assertEqual(symbols.is_allowed(symbol, symbols.ALLOWED["peal_crypto"][1]), pure, symbol)


if __name__ == "__main__":
    unittest.main()

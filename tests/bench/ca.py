#!/usr/bin/env python3
"""peal-ca's figures, measured: pages of a group with 10,000 members, their machines, a removal that spreads and the
largest map; approvals, enrolments, CRLs.

    PEAL_BUILD=build tests/bench/ca.py [MEMBERS]

The service runs on the first core, this program on the second, over TLS on loopback. Each figure is printed with the
limit that it is held to; the exit status is 1 when one is missed. Times are medians over the repetitions, by the clock,
with the longest and with what the service's own processor time was.
"""

import base64
import hashlib
import http.client
import json
import os
import shutil
import signal
import sqlite3
import statistics
import struct
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))

from ca_client import Answer, Browser, Ca  # noqa: E402
from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: E402

MEMBERS = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
ENROLMENTS, CONDITIONAL, FULL, REPEATS = 600, 3000, 200, 50
missed = []


def report(what, value, limit, unit, least=False):
    good = value >= limit if least else value <= limit
    if not good:
        missed.append(what)
    print(f"{what:72} {value:9.1f} {unit:4} ({'at least' if least else 'at most'} {limit}){'' if good else '   MISSED'}")


def request(name, key=None):
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
    return builder.sign(key or Ed25519PrivateKey.generate(), None).public_bytes(serialization.Encoding.PEM).decode()


def add_machine(db, group, authority, member, number, now, removed=None):
    """With one certificate; every other one has said that it knows of the first removal."""
    made = db.execute("INSERT INTO machines (group_row, member_row, enrolment, key, node, hostname, enrolled_s, revoked_s,"
                      " knows, knew_s) VALUES (?, ?, ?, ?, ?, 'x', ?, ?, ?, ?)",
                      (group, member, number, os.urandom(32), os.urandom(20), now, removed, number % 2, now))
    db.execute("INSERT INTO certificates (serial, machine_row, authority_row, der, not_before_s, not_after_s)"
               " VALUES (?, ?, ?, x'00', ?, ?)",
               (b"\x01" + os.urandom(15), made.lastrowid, authority, now, now + 86400))


def group_and_authority(db):
    group, = db.execute("SELECT id FROM groups WHERE name = 'lab'").fetchone()
    authority, = db.execute("SELECT id FROM authorities WHERE group_row = ?", (group,)).fetchone()
    return group, authority


def fill(ca):
    """What would take hours by hand: members with a machine each, unused secrets, a log."""
    now = int(time.time())
    db = sqlite3.connect(os.path.join(ca.data, "peal-ca.sqlite"), timeout=30)
    group, authority = group_and_authority(db)
    db.executemany("INSERT INTO users (id, name, email, made_s) VALUES (?, ?, ?, ?)",
                   [(1000 + i, f"user{i:05}", f"user{i}@example.org", now) for i in range(MEMBERS)])
    db.executemany("INSERT INTO members (group_row, user_row, state, reason, asked_s, decided_s, decided_by)"
                   " VALUES (?, ?, ?, 'please', ?, ?, 'alice')",
                   [(group, 1000 + i, "requested" if i % 100 == 0 else "approved", now - i, now) for i in range(MEMBERS)])
    for i, (member,) in enumerate(db.execute("SELECT id FROM members WHERE state = 'approved'").fetchall()):
        add_machine(db, group, authority, member, 1000 + i, now)
    db.execute("UPDATE groups SET next_enrolment = 100000 WHERE id = ?", (group,))
    db.executemany("INSERT INTO audit (at_s, actor, address, verb, group_row, object, detail)"
                   " VALUES (?, 'alice', '192.0.2.1', 'member.approve', ?, ?, 'welcome')",
                   [(now, group, f"user{i:05}") for i in range(MEMBERS)])
    secrets = [f"secret{i}" for i in range(ENROLMENTS)]
    # One member has at most 64 machines: the secrets are spread.
    rows = db.execute("SELECT m.id, u.name FROM members m JOIN users u ON u.id = m.user_row"
                      " WHERE m.state = 'approved' AND u.name LIKE 'user%' ORDER BY m.id LIMIT ?", (ENROLMENTS,)).fetchall()
    db.executemany("INSERT INTO secrets (hash, member_row, made_s, expires_s) VALUES (?, ?, ?, ?)",
                   [(hashlib.sha256(s.encode()).digest(), rows[i][0], now, now + 86400) for i, s in enumerate(secrets)])
    db.commit()
    db.close()
    return [(rows[i][1], s) for i, s in enumerate(secrets)]


def revoke_many(ca):
    """10,000 removed machines with one certificate each, and the list signed anew."""
    now = int(time.time())
    db = sqlite3.connect(os.path.join(ca.data, "peal-ca.sqlite"), timeout=30)
    group, authority = group_and_authority(db)
    member, = db.execute("SELECT id FROM members WHERE group_row = ? LIMIT 1", (group,)).fetchone()
    for i in range(10000):
        add_machine(db, group, authority, member, 1000000 + i, now, removed=now)
    db.execute("DELETE FROM crls")
    db.commit()
    db.close()


def draw_map(ca):
    """The largest one that a machine may send (overlay/crypto/ringmap.h), of machines that there are."""
    key = Ed25519PrivateKey.generate()
    blob = json.loads(ca.run("blob", "lab", "alice").stdout)
    done = ca.post("/api/v1/enroll", {"group": "lab", "user": "alice", "secret": blob["secret"],
                                      "csr": request("surveyor", key)})
    assert done.status == 200, done.body
    db = sqlite3.connect(os.path.join(ca.data, "peal-ca.sqlite"), timeout=30)
    (own,), = db.execute("SELECT node FROM machines WHERE hostname = 'surveyor'").fetchall()
    nodes = sorted([own, *(n for n, in db.execute("SELECT node FROM machines WHERE hostname = 'x' AND revoked_s IS NULL"
                                                  " LIMIT 1199"))])
    db.close()
    count = len(nodes)
    message = b"peal ringmap" + b"\1" + bytes.fromhex(blob["group_id"]) + own + struct.pack(
        "!QIBH", int(time.time()), count, 0, count)
    for i, node in enumerate(nodes):
        near = [(i + step) % count for step in (-1, -2, -3, 1, 2, 3)]
        message += node + struct.pack("!BBBB6H", 3, 0 if node == own else 1 + i % 3, 3, 3, *near)
    signed = message + key.sign(message)
    done = ca.post("/api/v1/groups/lab/map", {"message": base64.b64encode(signed).decode()})
    assert done.status == 200, done.body


def timed(ca, what, limit, do):
    times, cpu = [], cpu_s(ca)
    for _ in range(REPEATS):
        started = time.perf_counter()
        do()
        times.append((time.perf_counter() - started) * 1000)
    cpu = (cpu_s(ca) - cpu) * 1000 / REPEATS
    report(f"{what} (max {max(times):.0f} ms, CPU {cpu:.1f} ms)", statistics.median(times), limit, "ms")


class Kept(Browser):
    """One connection for all requests, as a browser does it."""

    def __init__(self, ca):
        super().__init__(ca)
        self.connection = ca.connect()

    def ask(self, method, path, body=None, **headers):
        headers = {n.replace("_", "-"): v for n, v in headers.items()}
        headers["Cookie"] = "; ".join(f"{n}={v}" for n, v in self.cookies.items())
        self.connection.request(method, path, body, headers)
        self.page = Answer(self.connection.getresponse())
        for cookie in self.page.headers.get_all("Set-Cookie") or []:
            name, value = cookie.split(";")[0].split("=")
            self.cookies[name] = value
        return self.page


def pages(ca):
    alice = Kept(ca)
    alice.get("/")
    assert alice.submit("/login", name="alice", password="correct horse").status == 303
    for path in ("/groups", "/groups/lab", f"/groups/lab?page={MEMBERS // 50}", "/groups/lab?q=user09&sort=time",
                 "/groups/lab?state=requested&sort=name", "/groups/lab/members/user00001", "/groups/lab/roles",
                 "/groups/lab/invitations", "/groups/lab/audit", "/groups/lab/settings", "/account", "/machines", "/service", "/service?page=150&q=user"):
        def get(path=path):
            assert alice.get(path).status == 200
        timed(ca, path, 100, get)
    names = iter(range(0, MEMBERS, 100))
    alice.get("/groups/lab")
    form = alice.form("/groups/lab/approve")

    def approve():
        body = f"csrf={form['csrf']}&user=user{next(names):05}&note=hello"
        answer = alice.ask("POST", "/groups/lab/approve", body, Content_Type="application/x-www-form-urlencoded")
        assert answer.status == 303
    timed(ca, "approve", 50, approve)


def cpu_s(ca):
    with open(f"/proc/{ca.process.pid}/stat", encoding="ascii") as f:
        return sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")


def rate(ca, what, times, limit, ask):
    """Held to the limit is what one core does in a second of its own; what the clock says is told beside it."""
    connection = ca.connect()
    started, cpu = time.perf_counter(), cpu_s(ca)
    for i in range(times):
        ask(connection, i)
    elapsed, cpu = time.perf_counter() - started, cpu_s(ca) - cpu
    report(f"{what} ({times / elapsed:.0f}/s by the clock)", times / max(cpu, 0.01), limit, "/s", least=True)


def enrolments(ca, secrets):
    bodies = [json.dumps({"group": "lab", "user": user, "secret": secret, "csr": request(f"m{i}")})
              for i, (user, secret) in enumerate(secrets)]

    def ask(connection, i):
        connection.request("POST", "/api/v1/enroll", bodies[i], {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    rate(ca, "enrolments", ENROLMENTS, 200, ask)


def crls(ca):
    tag = ca.http("GET", "/api/v1/groups/lab/crl").headers["ETag"]

    def conditional(connection, _):
        connection.request("GET", "/api/v1/groups/lab/crl", headers={"If-None-Match": tag})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 304

    def full(connection, _):
        connection.request("GET", "/api/v1/groups/lab/crl")
        answer = connection.getresponse()
        assert answer.status == 200 and len(answer.read()) > 10000 * 20
    rate(ca, "conditional requests, CRL of 10,000", CONDITIONAL, 1000, conditional)
    rate(ca, "full CRLs of 10,000", FULL, 100, full)


def main():
    folder = tempfile.mkdtemp(prefix="peal-bench-ca-")
    ca = Ca(os.path.join(folder, "data"))
    try:
        ca.user("alice", "--admin", password="correct horse")
        ca.run("group", "add", "lab", "--owner", "alice", "--ipv4", "10.77.0.0/16")
        os.sched_setaffinity(0, {0})
        ca.start("--quiet")
        os.sched_setaffinity(0, {os.cpu_count() - 1})
        secrets = fill(ca)
        ca.run("member", "revoke", "lab", f"user{MEMBERS - 1:05}")
        draw_map(ca)
        print(f"{MEMBERS} members")
        pages(ca)
        enrolments(ca, secrets)
        revoke_many(ca)
        crls(ca)
    finally:
        ca.stop(signal.SIGKILL)
        shutil.rmtree(folder)
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (AssertionError, OSError, http.client.HTTPException) as e:
        sys.exit(f"ca.py: {e!r}")

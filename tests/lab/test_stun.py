"""STUN with what others wrote: Debian's coturn asks peald, and peald asks it."""

import re

import nat
from lab import wait_for


def member_behind(lab, name):
    r = nat.router(lab, f"r{name}")
    return nat.member(r, name, 10), r


def test_a_foreign_client_learns_its_address_from_peald(lab):
    server = lab.host("server")
    server.start()
    client, r = member_behind(lab, "client")
    for who, ip in ((client, r.ip), (lab.host("open"), None)):
        out = who.sh("turnutils_stunclient", "-p", "4747", server.ip, timeout=10, check=False).stdout
        found = re.search(r"UDP reflexive addr: ([0-9.]+):(\d+)", out)
        assert found and found[1] == (ip or who.ip) and int(found[2]) > 0, out


def test_peald_learns_its_address_from_a_foreign_server(lab):
    server = lab.host("server")
    turn = server.spawn("turnserver", "-n", "-S", "-L", server.ip, "-p", "3478", "--no-cli", "--no-tls", "--no-dtls",
                 "--log-file=stdout", f"--pidfile={server.dir}/turn.pid", log="turn.log")
    wait_for("it listens", lambda: server.sh("ss", "-Hlun", "sport", "=", ":3478").stdout and turn.alive(), 10)
    member, r = member_behind(lab, "member")
    member.start(f"[daemon]\nstun = {server.ip}:3478\n")
    member.join(lab.psk_blob("alone"), hostname="member")
    seen = wait_for("the outer address", lambda: member.json("netcheck")["nat"]["reflexive"], 15)
    assert [e.rsplit(":", 1)[0] for e in seen] == [r.ip]

"""Starting with every bootstrap dead: by beacons on the LAN, and by members met before."""

import os
import time

import nat
from lab import wait_for

NOBODY = "198.18.0.1:4747"  # no bootstrap of these groups lives


def test_members_of_one_lan_find_each_other_without_any_bootstrap(lab):
    lab.lan("lan1", 113)
    hosts = [lab.lan_host(f"l{i}", "lan1", 113, 10 + i) for i in range(3)]
    quiet = lab.lan_host("quiet", "lan1", 113, 20)
    blob = lab.psk_blob("home", "--bootstrap", NOBODY)
    other = lab.psk_blob("other", "--bootstrap", NOBODY)
    spy = quiet.spawn("timeout", "20", "tcpdump", "-nn", "-l", "-i", "eth0", "udp port 4748", log="spy.log")
    wait_for("tcpdump listens", lambda: "listening on" in spy.log(), 10)
    for h in (*hosts, quiet):
        h.start("[daemon]\nlan_discovery = no\n" if h is quiet else "")
        h.join(blob, wait=0, hostname=h.name)
    hosts[2].join(other, wait=0, hostname="stranger")
    start = time.monotonic()
    for a in hosts:
        for b in hosts:
            if a is not b:
                wait_for(f"{a.name} sees {b.name}", lambda: (a.peer(b.name) or {}).get("path") == "direct", 15)
    assert time.monotonic() - start < 12
    for a in hosts:
        wait_for(f"{a.name} up", lambda: (a.network("home") or {})["state"] == "up", 10)
    wait_for("traffic", lambda: hosts[0].ping(hosts[1].address("home"), wait=1, check=False), 10)
    assert quiet.json("peers")["peers"] == []                       # lan_discovery = no
    wait_for("it says what it tries", lambda: f"tried        {NOBODY} (bootstrap): " in quiet.peal("status").stdout, 10)
    assert not any(p["network"] == "other" for p in hosts[2].json("peers")["peers"])
    lines = [line for line in spy.log().splitlines() if "UDP, length" in line]
    assert lines and all(line.endswith("length 80") for line in lines)
    assert not any("203.0.113.20." in line for line in lines)       # and it says nothing either
    spy.stop()


def test_a_cold_start_with_every_bootstrap_dead(lab):
    a, b, c = (lab.host(n) for n in "abc")
    blob = lab.psk_blob("cold", "--bootstrap", f"{a.ip}:4747")
    for h in (a, b, c):
        h.start()
        h.join(blob, hostname=h.name)
    wait_for("b knows c", lambda: (b.peer("c") or {}).get("path") == "direct", 15)
    for h in (a, b, c):
        h.stop()
    for h in (b, c):
        h.start()
    start = time.monotonic()
    wait_for("b and c are one ring again", lambda: (b.peer("c") or {}).get("path") == "direct", 10)
    assert time.monotonic() - start < 6
    for h in (b, c):
        wait_for(f"{h.name} up", h.up, 10)
    wait_for("traffic", lambda: b.ping(c.address(), wait=1, check=False), 10)


def test_members_behind_nats_who_went_off_in_turn_meet_again_with_every_bootstrap_dead(lab):
    """Each NAT lets in only whom its member sends to: who goes last has to remember who went before."""
    root = lab.host("root")
    members = [nat.member(nat.router(lab, f"r{i}"), f"m{i}", 10) for i in range(3)]
    pairs = [(x, y) for x in members for y in members if x is not y]
    blob = lab.psk_blob("cold", "--bootstrap", f"{root.ip}:4747")
    for h in (root, *members):
        h.start()
        h.join(blob, hostname=h.name)
    for x, y in pairs:
        wait_for(f"{x.name} knows {y.name}", lambda: (x.peer(y.name) or {}).get("path") == "direct", 15)
    for h in members:
        contacts = os.path.join(h.state, "cold", "contacts")
        wait_for("all are remembered", lambda: os.path.exists(contacts) and len(open(contacts).readlines()) == 3, 10)
    members[0].stop()
    for h in members[1:]:
        h.stop()
        h.start()
    wait_for("two are a ring", lambda: (members[1].peer("m2") or {}).get("path") == "direct", 15)
    for h in (root, *members[1:]):
        h.stop()
    for i in range(3):
        nat.reboot(lab.hosts[f"r{i}"])
    for h in members:
        h.start()
    for x, y in pairs:
        wait_for(f"{x.name} and {y.name} again", lambda: (x.peer(y.name) or {}).get("path") == "direct", 20)
    wait_for("traffic", lambda: members[0].ping(members[2].address(), wait=1, check=False), 10)

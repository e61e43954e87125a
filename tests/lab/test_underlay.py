"""What is below the group's network: IPv6 only, one LAN, roaming, many at once."""

import time

from lab import Ca, wait_for


def test_mesh_over_an_ipv6_only_internet(lab):
    hosts = [lab.host(f"six{i}") for i in range(3)]
    for h in hosts:
        h.sh("ip", "-4", "addr", "flush", "dev", "eth0")
    blob = lab.psk_blob("six", "--bootstrap", f"[{hosts[0].ip6}]:4747")
    for h in hosts:
        h.start()
        h.join(blob, hostname=h.name)
    for a in hosts:
        for b in hosts:
            a.ping(b.address())
            a.ping(b.address6())
    wait_for("the endpoint", lambda: "2001:db8" in ((hosts[1].peer("six0") or {}).get("endpoint") or ""))
    assert "keepalive    none needed" in hosts[1].peal("netcheck").stdout


def test_members_of_one_lan(lab):
    lab.lan("lan1", 113)
    hosts = [lab.lan_host(f"l{i}", "lan1", 113, 10 + i) for i in range(3)]
    blob = lab.psk_blob("home", "--bootstrap", f"{hosts[0].ip}:4747")
    for h in hosts:
        h.start()
        h.join(blob, hostname=h.name)
    for a in hosts:
        for b in hosts:
            a.ping(b.address())


def test_a_peer_whose_address_changes_is_found_again(lab):
    lab.lan("lan1", 113)
    a, b = lab.host("a"), lab.lan_host("b", "lan1", 113, 20)
    blob = lab.psk_blob("roam", "--bootstrap", f"{a.ip}:4747")
    for h in (a, b):
        h.start()
        h.join(blob, hostname=h.name)
    a.ping(b.address())
    b.sh("ip", "-6", "addr", "flush", "dev", "eth0", "scope", "global")
    b.sh("ip", "addr", "del", "203.0.113.20/24", "dev", "eth0")
    b.sh("ip", "addr", "add", "203.0.113.77/24", "dev", "eth0")
    b.sh("ip", "route", "replace", "default", "via", "203.0.113.1")
    start = time.monotonic()
    wait_for("traffic again", lambda: b.ping(a.address(), wait=1, check=False), 10)
    assert time.monotonic() - start < 4
    wait_for("the new endpoint", lambda: "203.0.113.77" in ((a.peer("b") or {}).get("endpoint") or ""), 10)
    assert len(a.ping(b.address(), count=5)) == 5


def test_twenty_at_once_get_different_addresses(lab):
    ca = Ca(lab.host("ca")).start()
    hosts = [lab.host(f"n{i:02d}") for i in range(20)]
    ca.group("big", f"{hosts[0].ip}:4747")
    for h in hosts:
        h.start()
    blobs = [ca.blob("big", h.name) for h in hosts]
    for h, blob in zip(hosts, blobs):
        h.join(blob, wait=0, hostname="same")
    for h in hosts:
        wait_for(f"{h.name} up", h.up, 40)
    addresses = [h.address() for h in hosts]
    assert len(set(addresses)) == 20, addresses
    names = [h.network()["hostname"] for h in hosts]
    assert len(set(names)) == 20, names
    crawl = wait_for("one consistent ring of 20", lambda: (lambda c: c if len(c["nodes"]) == 20 and
                                                            c["inconsistent"] == 0 else None)(hosts[7].json("crawl")))
    assert len(crawl["nodes"]) == 20
    for i in range(20):
        hosts[i].ping(addresses[(i + 7) % 20])


def test_rings_that_formed_apart_become_one(lab):
    a, b = lab.host("a"), lab.host("b")
    blob = lab.psk_blob("apart", "--bootstrap", f"{a.ip}:4747")
    a.sh("ip", "link", "set", "eth0", "down")
    for h in (a, b):
        h.start()
        h.join(blob, hostname=h.name)
    a.sh("ip", "link", "set", "eth0", "up")
    a.sh("ip", "route", "replace", "default", "via", a.ip.rsplit(".", 1)[0] + ".1")
    wait_for("one ring", lambda: len(b.json("crawl")["nodes"]) == 2, 75)
    wait_for("traffic", lambda: b.ping(a.address(), check=False), 10)


def test_two_groups_in_one_daemon_do_not_meet(lab):
    a, b, c = (lab.host(n) for n in "abc")
    one = lab.psk_blob("one", "--bootstrap", f"{a.ip}:4747", "--ipv4", "10.81.0.0/16")
    two = lab.psk_blob("two", "--bootstrap", f"{a.ip}:4747", "--ipv4", "10.82.0.0/16")
    for h in (a, b, c):
        h.start()
    a.join(one, hostname="a")
    a.join(two, hostname="a")
    b.join(one, hostname="b")
    c.join(two, hostname="c")
    a.ping(b.address())
    a.ping(c.address())
    devices = {n["device"] for n in a.json("status")["networks"]}
    assert len(devices) == 2
    assert len(a.sh("ss", "-Hlun", "sport", "=", ":4747").stdout.splitlines()) <= 2
    b.sh("ip", "route", "add", "10.82.0.0/16", "dev", "peal0")
    assert b.ping(c.address(), check=False, wait=1) == []
    assert [p["network"] for p in b.json("peers")["peers"]] == ["one"]
    assert b.peal("-n", "two", "members", check=False).returncode == 5


def test_crash_repairs_the_ring(lab):
    hosts = [lab.host(f"n{i}") for i in range(5)]
    blob = lab.psk_blob("crash", "--bootstrap", f"{hosts[0].ip}:4747")
    for h in hosts:
        h.start()
        h.join(blob, hostname=h.name)
    wait_for("full lists", lambda: all(len(h.ring()) == 4 for h in hosts))
    dead = hosts[4].network()["id"]
    hosts[4].daemon.stop(9)
    start = time.monotonic()
    wait_for("repaired everywhere", lambda: all(dead not in h.ring() for h in hosts[:4]), 25, every=0.2)
    wait_for("one consistent ring of 4", lambda: (lambda c: len(c["nodes"]) == 4 and c["inconsistent"] == 0)(
        hosts[1].json("crawl")))
    assert time.monotonic() - start <= 15


def test_a_crash_is_noticed_soon_when_packets_go_there(lab):
    a, b, c = (lab.host(n) for n in "abc")
    blob = lab.psk_blob("crash", "--bootstrap", f"{a.ip}:4747")
    for h in (a, b, c):
        h.start()
        h.join(blob, hostname=h.name)
    a.ping(c.address())
    wait_for("a knows c", lambda: a.peer("c"))
    flow = a.spawn("ping", "-n", "-i", "0.2", "-w", "15", c.address(), log="flow.log")
    time.sleep(1)
    c.daemon.stop(9)
    start = time.monotonic()
    wait_for("noticed", lambda: a.peer("c") is None, 15, every=0.1)
    assert time.monotonic() - start <= 4.5
    flow.stop()


def test_two_that_start_at_once_talk_as_soon_as_they_have_met(lab):
    """What one asked for while it was alone is not taken for missing afterwards."""
    a, b = lab.host("a"), lab.host("b")
    blob = lab.psk_blob("pair", "--bootstrap", f"{a.ip}:4747")
    for h in (a, b):
        h.start()
        h.join(blob, hostname=h.name)
    address = b.address()
    for _ in range(3):
        for h in (a, b):
            h.stop()
        for h in (a, b):
            h.start(wait=False)
        started = time.monotonic()
        wait_for("an answer", lambda: a.sh("ping", "-n", "-q", "-c", "1", "-i", "0.02", "-w", "10", address,
                                           check=False).returncode == 0, 10, 0.01)
        assert time.monotonic() - started < 2.5

"""The main job: approvals on a peal-ca, five members on an Internet, plain IP between all of them."""

import json
import signal
import time

import pytest

from lab import Ca, wait_for

NAMES = ["alice", "bob", "carol", "dave", "erin"]


@pytest.fixture(scope="module")
def mesh(shared_lab):
    lab = shared_lab
    lab.ca = Ca(lab.host("ca")).start()
    hosts = [lab.host(n) for n in NAMES]
    lab.ca.group("demo", f"{hosts[0].ip}:4747")
    for h in hosts:
        h.start()
        h.join(lab.ca.blob("demo", h.name), hostname=h.name)
        h.resolver("10.77.0.1", "demo.peal")
    return lab


def members(lab):
    return [lab.hosts[n] for n in NAMES]


def one_ring(h, members):
    """A crawl from h that met so many, all consistent."""
    def look():
        crawl = h.json("crawl")
        return crawl if len(crawl["nodes"]) == members and crawl["inconsistent"] == 0 else None
    return wait_for(f"a consistent ring of {members}", look)


def test_everybody_is_up_with_an_address_of_his_own(mesh):
    for h in members(mesh):
        wait_for(f"{h.name} up", h.up)
    addresses = {h.address() for h in members(mesh)}
    assert len(addresses) == len(NAMES)
    assert all(a.startswith("10.77.") for a in addresses)
    assert len({h.address6() for h in members(mesh)}) == len(NAMES)


def test_full_ping_matrix_on_ipv4_first_ping_included(mesh):
    for a in members(mesh):
        for b in members(mesh):
            a.ping(b.address(), count=1)


def test_full_ping_matrix_on_ipv6_inside(mesh):
    for a in members(mesh):
        for b in members(mesh):
            a.ping(b.address6(), count=1)


def test_paths_are_direct_and_sessions_are_one_for_each_pair(mesh):
    alice = mesh.hosts["alice"]

    def direct():
        peers = alice.json("peers")["peers"]
        return peers if all(p["path"] == "direct" and p["hostname"] and p["rtt_ms"] for p in peers) else None

    peers = wait_for("direct paths to all", direct)
    assert sorted(p["hostname"] for p in peers) == NAMES[1:]
    for p in peers:
        assert p["path"] == "direct", p
        host = mesh.hosts[p["hostname"]]
        assert p["endpoint"] in (f"{host.ip}:4747", f"[{host.ip6}]:4747")
        assert p["rtt_ms"] is not None and p["why"]


def test_names_resolve_for_dig_and_getent(mesh):
    alice, bob = mesh.hosts["alice"], mesh.hosts["bob"]

    def dig(*q):
        return alice.sh("dig", "+short", "+tries=1", *q).stdout.strip().lower()

    assert dig("bob.demo.peal", "A") == bob.address()
    assert dig("BOB.Demo.Peal", "AAAA") == bob.address6()
    assert dig("-x", bob.address()) == "bob.demo.peal."
    assert dig("-x", bob.address6()) == "bob.demo.peal."
    octets = bob.address().split(".")[1:]
    style = "C" + "".join(f"{int(o):03d}" for o in octets)
    assert dig(f"{style}.demo.peal", "A") == bob.address()
    answer = alice.sh("dig", "nobody.demo.peal", "A").stdout
    assert "status: NXDOMAIN" in answer and "SOA" in answer
    assert "status: REFUSED" in alice.sh("dig", "www.example.org", "A").stdout
    got = alice.sh("getent", "ahostsv4", "bob.demo.peal").stdout
    assert got.split()[0] == bob.address()
    assert alice.sh("getent", "hosts", bob.address()).stdout.split()[1] == "bob.demo.peal"
    alice.ping("carol", count=1)


def test_the_service_address_answers_echo(mesh):
    mesh.hosts["alice"].ping("10.77.0.1", count=2)


def test_status_members_lookup_crawl_ping_by_contract(mesh):
    alice, bob = mesh.hosts["alice"], mesh.hosts["bob"]
    status = alice.json("status")
    assert status["schema"] == "peal.status/1" and status["port"] == 4747
    net = status["networks"][0]
    for key in ("name", "state", "reason", "id", "hostname", "domain", "device", "mode", "ipv4", "ipv6", "neighbours",
                "shortcuts", "ring_size_estimate", "certificate", "dht_records", "gateway"):
        assert key in net, key
    assert len(net["id"]) == 40 and net["domain"] == "demo.peal" and net["device"] == "peal0"
    assert net["certificate"]["not_after"] and net["certificate"]["serial"]
    crawl = one_ring(alice, len(NAMES))
    assert sorted(n["hostname"] for n in crawl["nodes"]) == NAMES
    out = alice.peal("members").stdout
    assert all(n in out and mesh.hosts[n].address() in out for n in NAMES)
    for what in ("bob", "bob.demo.peal", bob.address(), bob.network()["id"]):
        assert bob.address() in alice.peal("lookup", what).stdout
    assert alice.peal("ping", "bob", "-c", "2").returncode == 0
    taken = [h.address() for h in members(mesh)]
    nobody = next(ip for ip in (f"10.77.200.{n}" for n in range(200, 206)) if ip not in taken)
    assert alice.peal("ping", nobody, "-c", "1", check=False).returncode in (5, 6)
    assert "graph" in alice.peal("crawl", "--dot").stdout


def test_tcp_carries_what_was_sent(mesh):
    alice, bob = mesh.hosts["alice"], mesh.hosts["bob"]
    server = bob.spawn("iperf3", "-s", "-1", "--forceflush", log="iperf.log")
    wait_for("iperf3 listens", lambda: "listening" in server.log(), 5)
    r = json.loads(alice.sh("iperf3", "-c", bob.address(), "-t", "1", "-J").stdout)
    assert r["end"]["sum_received"]["bits_per_second"] > 20e6
    server.stop()


def test_kill_and_restart_comes_back_by_itself(mesh):
    alice, bob = mesh.hosts["alice"], mesh.hosts["bob"]
    address = bob.address()
    alice.ping(address)
    bob.stop(signal.SIGKILL)
    bob.start()
    wait_for("bob up again", bob.up)
    assert bob.address() == address
    start = time.monotonic()
    wait_for("ping again", lambda: alice.ping(address, check=False, wait=1), timeout=8)
    assert time.monotonic() - start < 5
    assert len(alice.ping(address, count=3)) == 3


def test_members_restart_and_find_each_other_with_peal_ca_off(mesh):
    before = {h.name: h.address() for h in members(mesh)}
    mesh.ca.stop()
    for h in members(mesh):
        assert h.stop() == 0
    for h in members(mesh):
        h.start()
    for h in members(mesh):
        wait_for(f"{h.name} up", h.up)
    assert {h.name: h.address() for h in members(mesh)} == before
    for a in members(mesh):
        for b in members(mesh):
            a.ping(b.address())
    mesh.ca.start()


def test_a_clean_end_leaves_nothing(mesh):
    erin = mesh.hosts["erin"]
    assert erin.stop() == 0
    assert "peal0" not in erin.sh("ip", "link").stdout
    assert "10.77" not in erin.sh("ip", "route").stdout
    assert not erin.sh("sh", "-c", f"ls {erin.socket} 2>/dev/null || true").stdout
    erin.start()
    wait_for("erin up", erin.up)


def test_leaving_frees_name_and_address(mesh):
    alice, erin = mesh.hosts["alice"], mesh.hosts["erin"]
    address = erin.address()
    erin.peal("leave", "demo", "--purge")
    assert erin.network() is None
    wait_for("the name is free", lambda: "status: NXDOMAIN" in alice.sh("dig", "erin.demo.peal").stdout, 10)
    wait_for("the address is free", lambda: alice.peal("lookup", address, check=False).returncode == 5, 10)
    one_ring(alice, 4)
    erin.join(mesh.ca.again("demo", "erin"), hostname="erin")
    wait_for("erin up", erin.up)
    alice.ping(erin.address())

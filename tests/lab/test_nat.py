"""Every kind of NAT by every other: who reaches whom, and by which kind of path."""

import contextlib
import itertools

import pytest

import nat
from lab import ping_answers, ping_argv, wait_for

_logs = itertools.count(1)
KINDS = ["none", "preserving", "random", "double", "blocked", "hairpin", "same"]
# What a NAT is to others: `cone` keeps one port for all and lets in who was sent to, `random` has a port for each peer,
# `blocked` lets out TCP only.
BEHAVIOUR = {"none": "open", "preserving": "cone", "random": "random", "double": "cone", "blocked": "blocked", "hairpin": "cone",
             "same": "cone"}
DIRECT = ("direct",)
RELAY = ("relay",)


def expected(a, b):
    """The kinds of path that theory allows between two members."""
    behaviours = {BEHAVIOUR[a.kind], BEHAVIOUR[b.kind]}
    if a.kind == b.kind == "hairpin":  # one router that refuses hairpins, on ports isolated from each other
        return RELAY
    if "blocked" in behaviours:
        return ("tcp",) if "open" in behaviours else RELAY
    if "open" in behaviours or behaviours == {"cone"}:
        return DIRECT
    return RELAY


def make_sites(lab):
    """Two members of each kind. Those behind one router have ports of their own, as it cannot give one to both."""
    def member(kind, router, name, last=10, port=4747):
        h = nat.member(router, name, last) if router else lab.host(name)
        h.kind, h.port = kind, port
        return h

    members = []
    for i in (1, 2):
        outer = nat.router(lab, f"outer{i}", net="192.168.2")
        members += [member("none", None, f"none{i}"),
                    member("preserving", nat.router(lab, f"rp{i}"), f"preserving{i}"),
                    member("random", nat.router(lab, f"rr{i}", "random"), f"random{i}"),
                    member("double", nat.router(lab, f"inner{i}", behind=outer), f"double{i}"),
                    member("blocked", nat.router(lab, f"rb{i}", udp=False), f"blocked{i}")]
    apart, home = nat.router(lab, "rh", isolated=True), nat.router(lab, "rs")
    for i in (1, 2):
        members += [member("hairpin", apart, f"hairpin{i}", 9 + i, 4746 + i),
                    member("same", home, f"same{i}", 9 + i, 4746 + i)]
    return members


@pytest.fixture(scope="module")
def grid(shared_lab):
    lab = shared_lab
    lab.members = make_sites(lab)
    blob = lab.psk_blob("grid", "--bootstrap", f"{lab.hosts['none1'].ip}:4747")
    for h in lab.members:
        h.start(f"[daemon]\nport = {h.port}\n", wait=False)
    for h in lab.members:
        wait_for(h.name, h.answers, 20)
        h.join(blob, wait=0, hostname=h.name)
    for h in lab.members:
        wait_for(f"{h.name} up", h.up, 30)
    root = lab.hosts["none1"]
    wait_for("one ring", lambda: (lambda c: len(c["nodes"]) == len(lab.members) and c["inconsistent"] == 0)(
        root.json("crawl")), 30, every=0.5)
    for h in lab.members:
        h.inner = h.address()
    return lab


def ping_all(members, count):
    """Everybody pings everybody at once. {(from, to): answered}"""
    flows = {}
    for a, b in itertools.permutations(members, 2):
        flows[a.name, b.name] = a.spawn(*ping_argv(b.inner, count, 3, 0.2), log=f"ping-{b.name}-{next(_logs)}.log")
    wait_for("all pings", lambda: not any(p.alive() for p in flows.values()), count * 0.2 + 15, every=0.2)
    return {pair: len(ping_answers(p.log(), count)) for pair, p in flows.items()}


def test_each_reaches_each_by_the_path_that_theory_promises(grid):
    # Who was alone for his first seconds tells his address to the ring that he then joined.
    wait_for("everybody reaches everybody", lambda: min(ping_all(grid.members, 1).values()) > 0, 20)

    def paths():
        return {h.name: {p["hostname"]: p["path"] for p in h.json("peers")["peers"]} for h in grid.members}

    def surprises(found):
        return [(a.name, b.name, found[a.name].get(b.name)) for a, b in itertools.permutations(grid.members, 2)
                if found[a.name].get(b.name) not in expected(a, b)]

    found = {}

    def as_promised():
        found.update(paths())
        return not surprises(found)

    with contextlib.suppress(AssertionError):  # said better below
        wait_for("direct where it can be", as_promised, 20, every=0.5)
    print("\n" + " " * 12 + "".join(f"{k:>12}" for k in KINDS))
    for a in KINDS:
        print(f"{a:>12}" + "".join(f"{found[a + '1'].get(b + '2') or '-':>12}" for b in KINDS))
    assert surprises(found) == []


def test_no_ping_is_lost_once_up(grid):
    # "Up" is not said anywhere: when paths are settled, a whole round must pass without a loss.
    for _ in range(5):  # not so many seconds: how long 182 programs take is the machine's affair
        lost = {pair: n for pair, n in ping_all(grid.members, 6).items() if n < 6}
        if not lost:
            break
    assert lost == {}


def test_why_knows_both_nats_and_what_they_mean(grid):
    a, b = grid.hosts["random1"], grid.hosts["random2"]

    def mappings(h, other):
        why = h.json("why", other)
        return [nat and nat["mapping"] for nat in (why["nat"], why["peer_nat"])]

    wait_for("both NATs", lambda: mappings(a, "random2") == ["endpoint-dependent"] * 2, 30, every=0.5)
    wait_for("our own", lambda: mappings(grid.hosts["preserving1"], "none2")[0] == "endpoint-independent", 30, every=0.5)
    assert "both NATs take another port for each remote" in a.peal("why", "random2").stdout
    blocked = grid.hosts["blocked1"]
    assert blocked.json("why", "random1")["udp"] is False and a.json("why", "random2")["udp"] is True
    assert "UDP does not get through here" in blocked.peal("why", "random1").stdout
    outcomes = {c["outcome"] for c in b.json("why", "random1")["candidates"]}
    assert outcomes and outcomes <= {"no answer", "being tried", "not tried yet"}, outcomes


def test_members_of_one_site_talk_over_their_lan(grid):
    a, b = grid.hosts["same1"], grid.hosts["same2"]
    wait_for("the LAN's path", lambda: (a.peer("same2") or {}).get("endpoint") == f"{b.ip}:{b.port}")


def test_streams_get_through_each_pair_of_kinds(grid):
    for h in grid.members:
        if h.name.endswith("2"):
            h.server = h.spawn("iperf3", "-s", "--forceflush", log="iperf.log")
    for h in grid.members:
        if h.name.endswith("2"):
            wait_for(f"iperf3 listens at {h.name}", lambda: "listening" in h.server.log(), 10)
    for a, b in itertools.combinations_with_replacement(KINDS, 2):
        r = grid.hosts[a + "1"].sh("iperf3", "-c", grid.hosts[b + "2"].inner, "-n", "500K", timeout=15)
        assert "iperf Done" in r.stdout, (a, b)


def test_a_port_that_nobody_told_is_searched_for(lab):
    roots = [lab.host(f"root{i}") for i in range(2)]
    a, b = (nat.member(nat.router(lab, f"r{n}"), n, 10) for n in "ab")
    # b's NAT counts upwards, a port for each remote: the one that a can reach comes after those that the roots know.
    for port, remote in ((40001, roots[0]), (40002, roots[1]), (40009, lab.hosts["ra"])):
        lab.hosts["rb"].sh("nft", f"insert rule ip lab postrouting ip daddr {remote.ip} udp sport 4747 masquerade to :{port}")
    blob = lab.psk_blob("search", "--bootstrap", ",".join(f"{r.ip}:4747" for r in roots))
    for h in (*roots, a, b):
        h.start("[daemon]\nport_search = yes\n" if h is a else "")
        h.join(blob, wait=0, hostname=h.name)
    for x, y in ((a, "b"), (b, "a")):
        wait_for(f"{x.name} is direct", lambda: (x.peer(y) or {}).get("path") == "direct", 15)
    assert a.peer("b")["endpoint"] == f"{lab.hosts['rb'].ip}:40009"
    assert f"{lab.hosts['rb'].ip}:40009 from {lab.hosts['ra'].ip}:4747, heard from: in use" in a.peal("why", "b").stdout

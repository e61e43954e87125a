"""Two members that cannot reach each other: a third relays, another takes over when that one goes."""

import json
import re
import signal
import time

import pytest

from lab import binary, wait_for


@pytest.fixture(scope="module")
def apart(shared_lab):
    """a and b hear nothing of each other; r and s hear everybody."""
    lab = shared_lab
    hosts = [lab.host(n) for n in ("r", "s", "a", "b")]
    r, _, a, b = hosts
    a.sh("nft", "-f", "-", input=f"""
        table inet apart {{
            chain out {{ type filter hook output priority 0; ip daddr {b.ip} drop; ip6 daddr {b.ip6} drop; }}
            chain in {{ type filter hook input priority 0; ip saddr {b.ip} drop; ip6 saddr {b.ip6} drop; }}
        }}""")
    blob = lab.psk_blob("apart", "--bootstrap", f"{r.ip}:4747")
    for h in hosts:
        h.start()
        h.join(blob, hostname=h.name, wait=0)
    for h in hosts:
        wait_for(f"{h.name} up", h.up, 20)
    # Who found nobody within a second began a ring of his own, and is in the other one a little later.
    wait_for("one ring", lambda: all(len(h.ring()) == 3 for h in hosts), 20)
    wait_for("a finds b", lambda: a.peal("lookup", b.address(), check=False).returncode == 0, 10)
    return lab


def path_is_relay(lab):
    a, b = lab.hosts["a"].peer("b"), lab.hosts["b"].peer("a")
    return a and b and a["path"] == b["path"] == "relay" and a


def relay_host(lab):
    """By the id that `peal peers` names."""
    a = wait_for("a relayed path", lambda: path_is_relay(lab), 10)
    for n in ("r", "s"):
        if any(p["id"] == a["relay"] for p in lab.hosts["a"].json("peers")["peers"] if p["hostname"] == n):
            return lab.hosts[n]
    raise AssertionError(a)


def forwarded(h):
    return int(re.search(r"^peal_relayed_packets_total (\d+)", h.peal("metrics").stdout, re.M).group(1))


def test_a_third_member_relays_and_no_ping_is_lost(apart):
    a, b = apart.hosts["a"], apart.hosts["b"]
    a.ping(b.address(), count=1)  # over the ring, if need be: connectivity never waits
    p = wait_for("a relayed path", lambda: path_is_relay(apart), 10)
    p = wait_for("a stand-by", lambda: (lambda p: p and p["standbys"] and all(s["rtt_ms"] for s in p["standbys"]) and p)(
        path_is_relay(apart)), 10)
    assert p["relay"] not in p["standby_relays"]
    assert p["rtt_ms"] is not None and "relay" in p["why"]
    assert p["relay_hostname"] in ("r", "s") and p["path_age_s"] <= p["age_s"] and p["path_before"]
    assert [s["id"] for s in p["standbys"]] == p["standby_relays"]
    relays = [apart.hosts["r"], apart.hosts["s"]]
    before = sum(forwarded(h) for h in relays)
    assert len(a.ping(b.address(), count=50, interval=0.02, wait=5)) == 50
    assert sum(forwarded(h) for h in relays) >= before + 100  # by their workers, there and back
    wait_for("the relay's word", lambda: "relay" in (relay_host(apart).peer("a") or {"roles": []})["roles"])
    metrics = a.peal("metrics").stdout
    for path, peers in (("direct", 2), ("tcp", 0), ("relay", 1), ("overlay", 0)):
        assert f'peal_peers{{network="apart",path="{path}"}} {peers}\n' in metrics, metrics
    assert b.sh("ping", "-c", "3", "-i", "0.05", "-W", "2", "-s", "1300", a.address()).returncode == 0


def test_why_names_each_pair_and_the_relays(apart):
    a, b = apart.hosts["a"], apart.hosts["b"]
    wait_for("a relayed path", lambda: path_is_relay(apart), 10)

    def settled():
        why = a.json("why", "b")
        named = [c for c in why["candidates"] if c["named"] and c["times_tried"] > 0]
        return why if len(named) >= 2 and {r["state"] for r in why["relays"]} == {"in use", "stands by"} else None

    why = wait_for("both relays, and both addresses tried", settled, 10)
    tried = {c["endpoint"]: c for c in why["candidates"]}
    for ep in (f"{b.ip}:4747", f"[{b.ip6}]:4747"):
        assert tried[ep]["named"] and tried[ep]["outcome"] in ("no answer", "being tried"), tried
        assert tried[ep]["times_tried"] > 0 and tried[ep]["local"] is None and tried[ep]["rtt_ms"] is None
    assert f"{a.ip}:4747" in why["local_endpoints"] and why["next_try_s"] is not None
    wait_for("b's NAT", lambda: a.json("why", "b")["peer_nat"], 15)
    text = a.peal("why", "b").stdout
    relay = re.search(r"^  path      relay by ([rs]), round trip \d", text, re.M)[1]
    for words in (f"relay     {relay}: in use", f"tried     {b.ip}:4747: ", "its NAT   mapping ", "next try  in"):
        assert words in text, text
    # To a relay there is a direct path, and our end of the pair is known.
    used = [c["local"] for c in a.json("why", relay)["candidates"] if c["outcome"] == "in use"]
    assert used in ([f"{a.ip}:4747"], [f"[{a.ip6}]:4747"])
    row = re.compile(r"^b  .*  relay +[rs]  .*  [rs] \d.* ms  ", re.M)
    peers = wait_for("relay and stand-by in one row", lambda: (lambda t: t if row.search(t) else None)(a.peal("peers").stdout))
    assert "STAND-BY" in peers


def outage(apart, event, duration=7):
    """Seconds between two answers around the event, at most."""
    a, b = apart.hosts["a"], apart.hosts["b"]
    ping = a.spawn("ping", "-D", "-i", "0.05", "-w", str(duration), b.address(), log=f"outage{duration}.log")
    time.sleep(1.5)
    event()
    ping.popen.wait(duration + 5)
    times = [float(t) for t in re.findall(r"^\[(\d+\.\d+)\].*icmp_seq.*time=", ping.log(), re.M)]
    return max(y - x for x, y in zip(times, times[1:])), times[-1] - times[0]


def test_another_relay_takes_over_at_a_goodbye_and_within_3_seconds_of_a_death(apart):
    wait_for("a stand-by", lambda: (path_is_relay(apart) or {}).get("standby_relays"), 60)
    first = relay_host(apart)
    a = apart.hosts["a"]
    watch = a.spawn(binary("peal"), "--socket", a.socket, "ping", "b", log="watch.log")
    gap, span = outage(apart, lambda: first.daemon.stop(signal.SIGTERM))
    assert gap < 0.5 and span > 6, gap
    second = relay_host(apart)
    assert second is not first
    watch.stop(signal.SIGINT)
    assert f"seq=1 path=relay by={first.name} time=" in watch.log(), watch.log()
    assert f"path changed: relay by={second.name}, before it relay by={first.name}\n" in watch.log(), watch.log()
    first.start()
    wait_for("a stand-by", lambda: (path_is_relay(apart) or {}).get("standby_relays"), 60)
    gap, span = outage(apart, lambda: second.daemon.stop(signal.SIGKILL), 8)
    assert gap < 3 and span > 7, gap
    assert relay_host(apart) is first


def test_who_refuses_relays_for_nobody(apart):
    a, b = apart.hosts["a"], apart.hosts["b"]
    for n in ("r", "s"):
        h = apart.hosts[n]
        h.daemon.stop()
        h.start("[daemon]\nrelay = no\n")
    wait_for("a and b by the ring", lambda: (a.peer("b") or {}).get("path") == "overlay", 30)
    wait_for("a ping", lambda: a.ping(b.address(), wait=2, check=False), 20)
    assert wait_for("still by the ring", lambda: (lambda p: p if p and p["path"] == "overlay" else None)(
        a.peer("b")))["relay"] is None


def test_a_bound_on_relaying_is_kept_and_of_use(lab):
    """Half of it is one pair's. Too much of UDP does not cost the path, and TCP gets most of what it may."""
    a, b, r = (lab.host(n) for n in "abr")
    a.sh("nft", "-f", "-", input=f"""
        table inet apart {{
            chain out {{ type filter hook output priority 0; ip daddr {b.ip} drop; ip6 daddr {b.ip6} drop; }}
            chain in {{ type filter hook input priority 0; ip saddr {b.ip} drop; ip6 saddr {b.ip6} drop; }}
        }}""")
    blob = lab.psk_blob("narrow", "--bootstrap", f"{r.ip}:4747")
    for h in (r, a, b):
        h.start("[daemon]\nrelay_mbit = 8\n" if h is r else "")
        h.join(blob, hostname=h.name)
    wait_for("a relayed path", lambda: a.ping(b.address(), wait=1, check=False) and path_is_relay(lab), 20)
    for words, least in (("-u", "-b", "30M"), 3), ((), 2):
        server = b.spawn("iperf3", "-s", "-1", "--forceflush", log=f"iperf-{least}.log")
        wait_for("iperf3 listens", lambda: "listening" in server.log(), 5)
        end = json.loads(a.sh("iperf3", *words, "-c", b.address(), "-t", "4", "-J", timeout=20).stdout)["end"]
        got = end["sum_received"]["bytes"] * 8 / end["sum_received"]["seconds"] / 1e6 if not words else \
            end["sum"]["bits_per_second"] * (100 - end["sum"]["lost_percent"]) / 1e8
        assert least < got < 5, (words, got)
        assert path_is_relay(lab)["path_age_s"] >= 4

"""TCP for whom UDP does not reach: plain, on 443 inside TLS, through a proxy; and clients that mean no good."""

import json
import os
import time

import nat
from lab import wait_for

HERE = os.path.dirname(os.path.abspath(__file__))


def join_all(blob, *hosts):
    for h in hosts:
        h.join(blob, hostname=h.name, wait=0)
    for h in hosts:
        wait_for(f"{h.name} up", h.up, 20)


def settled(a, b, path):
    """a's peer b, when the path between them is of that kind and a ping went through."""
    def look():
        p = a.peer(b.name)
        return p if p and p["path"] == path and a.ping(b.address(), wait=1, check=False) else None
    return wait_for(f"{a.name} to {b.name} by {path}", look, 25, every=0.2)


def stream(a, b):
    server = b.spawn("iperf3", "-s", "-1", "--forceflush", log=f"iperf-{time.monotonic()}.log")
    wait_for("iperf3 listens", lambda: "listening" in server.log(), 5)
    r = json.loads(a.sh("iperf3", "-c", b.address(), "-t", "1", "-J", timeout=15).stdout)
    return r["end"]["sum_received"]["bits_per_second"]


def test_only_tcp_443_gets_out(lab):
    a, b = lab.host("a"), lab.host("b")
    c = nat.member(nat.router(lab, "rc", udp=False, only_tcp=443), "c", 10)
    blob = lab.psk_blob("walled", "--bootstrap", f"{a.ip}:4747")
    for h in (a, b):
        h.start("[daemon]\ntcp_port = 443\n")
    c.start()
    join_all(blob, a, b, c)
    for far in (a, b):
        assert settled(c, far, "tcp")["endpoint"] == f"{far.ip}:443"
        settled(far, c, "tcp")
    assert len(c.ping(b.address(), count=5)) == 5
    assert stream(c, b) > 20e6
    assert stream(a, c) > 20e6
    assert stream(a, b) > 20e6 and a.peer("b")["path"] == "direct"


def test_through_a_connect_proxy(lab):
    a, p = lab.host("a"), lab.host("p")
    r = nat.router(lab, "rc")
    c = nat.member(r, "c", 10)
    r.sh("nft", "insert", "rule", "ip", "lab", "forward", "iifname", "lan", "ip", "daddr", "!=", p.ip, "drop")
    proxy = p.spawn("/usr/bin/python3", os.path.join(HERE, "proxy.py"), p.ip, "3128", log="proxy.log")
    wait_for("the proxy listens", lambda: "ready" in proxy.log(), 5)
    blob = lab.psk_blob("office", "--bootstrap", f"{a.ip}:4747")
    a.start()
    c.start(f"[daemon]\nproxy = {p.ip}:3128\n")
    join_all(blob, a, c)
    settled(c, a, "tcp")
    assert settled(a, c, "tcp")["endpoint"].startswith(p.ip + ":")
    assert f"CONNECT {a.ip}:4747" in proxy.log()
    assert stream(c, a) > 10e6
    proxy.stop()
    lost = time.monotonic()
    wait_for("the lost connection is noticed", lambda: (c.peer("a") or {}).get("path") != "tcp", 5)
    assert time.monotonic() - lost < 5
    wait_for("it is said why", lambda: f"by the proxy {p.ip}:3128: it cannot be reached" in c.daemon.log(), 10)
    p.spawn("/usr/bin/python3", os.path.join(HERE, "proxy.py"), p.ip, "3128", "407", log="proxy2.log")
    wait_for("and then that", lambda: f"by the proxy {p.ip}:3128: it wants a password" in c.daemon.log(), 20)
    refused = next(line for line in c.peal("metrics").stdout.splitlines() if 'reason="tcp_proxy_refused"' in line)
    assert float(refused.split()[-1]) >= 2


def test_strangers_on_tcp_get_nothing_and_do_not_keep_others_out(lab):
    a, b, bad = lab.host("a"), lab.host("b"), lab.host("bad")
    blob = lab.psk_blob("calm", "--bootstrap", f"{a.ip}:4747")
    for h in (a, b):
        h.start()
    strangers = bad.spawn("/usr/bin/python3", os.path.join(HERE, "strangers.py"), a.ip, "4747", log="strangers.log")
    a.join(blob, hostname="a")
    wait_for("strangers are there", lambda: "held" in strangers.log(), 10)
    b.sh("nft", "-f", "-", input="table ip lab { chain o { type filter hook output priority 0; "
                                 "udp sport 4747 drop; }\n}\n")
    b.sh("ip", "-6", "addr", "flush", "dev", "eth0")
    join_all(blob, b)
    settled(b, a, "tcp")
    wait_for("all closed", lambda: not strangers.alive(), 15)
    result = json.loads(strangers.log().splitlines()[-1])
    assert result["held"] == 4          # of one source, the rest was turned away at once
    assert result["answered"] == 0      # not a byte to anybody who is nobody
    assert result["garbage_s"] < 1      # what is no packet ends it
    assert 4.9 <= result["idle_s"] <= 8 # and silence does after 5 s


def test_more_than_a_connection_carries_is_dropped_and_the_session_stays(lab):
    a, slow = lab.host("a"), nat.slow_host(lab, "slow", delay_ms=10, mbit=4)
    blob = lab.psk_blob("narrow", "--bootstrap", f"{a.ip}:4747")
    slow.sh("nft", "-f", "-", input="table inet lab { chain o { type filter hook output priority 0; "
                                    "udp sport 4747 drop; }\n}\n")
    for h in (a, slow):
        h.start()
    join_all(blob, a, slow)
    settled(a, slow, "tcp")
    since = a.peer("slow")["age_s"]
    server = slow.spawn("iperf3", "-s", "-1", "--forceflush", log="iperf.log")
    wait_for("iperf3 listens", lambda: "listening" in server.log(), 5)
    flood = a.spawn("iperf3", "-u", "-b", "40M", "-t", "4", "-c", slow.address(), log="flood.log")
    wait_for("the flood ends", lambda: not flood.alive(), 20)
    assert a.ping(slow.address(), wait=3)
    peer = a.peer("slow")
    assert peer["path"] == "tcp" and peer["age_s"] >= since + 4, peer
    metrics = a.peal("metrics").stdout
    dropped = next(line for line in metrics.splitlines() if 'reason="tcp_queue_full"' in line)
    assert int(dropped.split()[-1]) > 100
    rss = next(line for line in open(f"/proc/{a.daemon.pid}/status") if line.startswith("VmRSS"))
    assert int(rss.split()[1]) < 64 * 1024

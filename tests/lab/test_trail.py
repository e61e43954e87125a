"""Two members with no other way to each other than the ring: their data follows a trail, by the workers of all three."""

import json
import re

from lab import wait_for

# What follows a trail has the header of relay packets.
NO_TRAIL = """
    table inet no_trail {
        chain in { type filter hook input priority 0; udp dport 4747 @th,64,8 0x84 drop; }
    }"""

RELAYED, RELAYED_SLOWLY = "peal_relayed_packets_total", 'peal_node_events_total{network="trail",event="relayed_slowly"}'


def stream(a, b, seconds=3):
    """Mbit/s of one TCP stream, and the processor that the daemons of all hosts spend, s/GB."""
    server = b.spawn("iperf3", "-s", "-1", "--forceflush", log=f"iperf{stream.count}.log")
    stream.count += 1
    wait_for("iperf3 listens", lambda: "listening" in server.log(), 5)
    before = [cpu_s(h) for h in a.lab.hosts.values()]
    end = json.loads(a.sh("iperf3", "-c", b.address(), "-t", str(seconds), "-J", timeout=20).stdout)["end"]
    spent = [cpu_s(h) - s for h, s in zip(a.lab.hosts.values(), before)]
    got = end["sum_received"]
    return got["bits_per_second"] / 1e6, sum(spent) / (got["bytes"] / 1e9)


stream.count = 0


def offloads(lab, value):
    for h in lab.hosts.values():
        h.sh("ethtool", "-K", "eth0", "gso", value, "tso", value, "tx-udp-segmentation", value, "gro", value)


def cpu_s(h):
    fields = open(f"/proc/{h.daemon.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def counter(h, name):
    return int(re.search(rf"^{re.escape(name)} (\d+)", h.peal("metrics").stdout, re.M).group(1))


def has_trail(a, b):
    a.sh("ping", "-c", "80", "-i", "0.01", "-q", b.address())
    return "by a trail" in a.peer(b.name)["why"]


def test_data_over_the_ring_is_carried_by_workers_and_without_a_trail_it_arrives_all_the_same(lab):
    a, b, r = (lab.host(n) for n in "abr")
    a.sh("nft", "-f", "-", input=f"""
        table inet apart {{
            chain out {{ type filter hook output priority 0; ip daddr {b.ip} drop; ip6 daddr {b.ip6} drop; }}
            chain in {{ type filter hook input priority 0; ip saddr {b.ip} drop; ip6 saddr {b.ip6} drop; }}
        }}""")
    r.sh("nft", "-f", "-", input=NO_TRAIL)
    offloads(lab, "off")  # the rule sees each datagram by itself; messages go no faster with them
    blob = lab.psk_blob("trail", "--bootstrap", f"{r.ip}:4747")
    for h in (r, a, b):
        h.start("[daemon]\nrelay = no\n")
        h.join(blob, hostname=h.name)
    wait_for("a ping", lambda: a.ping(b.address(), wait=1, check=False), 20)
    assert a.peer("b")["path"] == "overlay" and "trail" not in a.peer("b")["why"]

    messages_mbit, messages_s = stream(a, b, 4)  # long enough to try a trail, in vain
    assert "trail" not in a.peer("b")["why"] and counter(r, RELAYED) == 0

    r.sh("nft", "delete", "table", "inet", "no_trail")
    offloads(lab, "on")
    wait_for("a trail there", lambda: has_trail(a, b), 20)
    wait_for("a trail back", lambda: has_trail(b, a), 20)
    assert a.peer("b")["path"] == "overlay" and a.peer("b")["relay"] is None
    before, handed = counter(r, RELAYED), counter(r, RELAYED_SLOWLY)
    mbit, s = stream(a, b)
    print(f"over the ring: {messages_mbit:.0f} Mbit/s, {messages_s:.1f} s/GB in messages;"
          f" {mbit:.0f} Mbit/s, {s:.1f} s/GB along a trail")
    assert mbit > 3 * messages_mbit and 3 * s < messages_s, (mbit, messages_mbit, s, messages_s)
    assert counter(r, RELAYED) > before + mbit * 3e6 / 8 / 1500
    assert counter(r, RELAYED_SLOWLY) < handed + 100
    assert len(a.ping(b.address(), count=50, interval=0.02, wait=5)) == 50

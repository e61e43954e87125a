"""What goes in comes out: large streams by their SHA-256, odd datagrams by their CRC, in every mode."""

import itertools
import json
import statistics
import time

import pytest

from lab import wait_for

_logs = itertools.count(1)

STREAM = """
import hashlib, os, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
size = int(sys.argv[3])
digest = hashlib.sha256()
if sys.argv[1] == "serve":
    s = socket.create_server((sys.argv[2], 7001), family=family)
    print("ready", flush=True)
    c, _ = s.accept()
    left = size
    while left:
        data = c.recv(min(left, 1 << 20))
        assert data, f"{left} bytes are missing"
        digest.update(data)
        left -= len(data)
else:
    c = socket.create_connection((sys.argv[2], 7001))
    block = os.urandom(1 << 20)
    sent = 0
    while sent < size:
        block = block[7:] + block[:7]
        part = block[:min(size - sent, 1 + (sent * 31) % len(block))]
        c.sendall(part)
        digest.update(part)
        sent += len(part)
    c.shutdown(socket.SHUT_WR)
    c.recv(1)
print(digest.hexdigest(), flush=True)
"""

DATAGRAMS = """
import os, socket, struct, sys, zlib
family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
COUNT, SIZES = 3000, int(sys.argv[3])
if sys.argv[1] == "serve":
    s.bind((sys.argv[2], 7002))
    s.settimeout(20)
    print("ready", flush=True)
    for expected in range(COUNT):
        data, peer = s.recvfrom(65536)
        number, crc = struct.unpack("!II", data[:8])
        assert zlib.crc32(data[8:]) == crc, f"datagram {number} is damaged"
        assert number == expected, f"{number} instead of {expected}"
        assert len(data) == 8 + number * 7919 % SIZES, f"datagram {number} has {len(data)} bytes"
        s.sendto(b"!", peer)
    print("all", flush=True)
else:
    s.settimeout(5)
    for number in range(COUNT):
        data = os.urandom(number * 7919 % SIZES)
        s.sendto(struct.pack("!II", number, zlib.crc32(data)) + data, (sys.argv[2], 7002))
        if number % 16 == 15:
            for _ in range(16):
                s.recv(1)
"""

TAGGED = """
import socket, struct, sys
VNET_HDR, AUXDATA, SIZE, COUNT = 15, 8, 1000, 12
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("peal0", 3))
s.setsockopt(263, VNET_HDR, 1)
a, b = (socket.inet_aton(x) for x in sys.argv[2:4])
data = b"".join(bytes([i]) * SIZE for i in range(COUNT))
def total(raw):
    n = sum(struct.unpack(f"!{len(raw) // 2}H", raw))
    return n % 65535
def frame(vlan, payload):
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + len(payload), 1, 0x4000, 64, 6, 0, a, b)
    ip = ip[:10] + struct.pack("!H", 65535 - total(ip)) + ip[12:]
    pseudo = total(a + b + struct.pack("!HH", 6, 20 + len(payload)))
    tcp = struct.pack("!HHIIBBHHH", 9, 9, 1000, 1, 0x50, 0x10, 500, pseudo, 0)
    joined = len(payload) > SIZE
    header = struct.pack("<BBHHHH", 1, joined, 58, SIZE if joined else 0, 38, 16)
    mac = s.getsockname()[4]
    return header + bytes.fromhex("fefd00000000") + mac + struct.pack("!HHH", 0x8100, vlan, 0x0800) + ip + tcp + payload
if sys.argv[1] == "write":
    for vlan, payload in ((5, data[:SIZE]), (7, data[:SIZE]), (5, data)):
        s.send(frame(vlan, payload))
else:
    s.settimeout(15)
    s.setsockopt(263, AUXDATA, 1)
    print("ready", flush=True)
    found = 0
    while found < 3:
        raw, control, _, _ = s.recvmsg(70000, 200)
        got = raw[10:]
        tci = [struct.unpack("=IIIHHHH", c[2][:20])[5] for c in control if c[0] == 263]
        if got[12:14] == bytes([8, 0]) and got[23] == 6 and got[26:34] == a + b:
            payload = got[14 + 40:]
            assert payload == data[:len(payload)], "other bytes"
            print(tci[0], "joined" if raw[1] == 1 and len(payload) == len(data) else "alone", flush=True)
            found += 1
"""


def two_ends(a, b, script, address, *args):
    """Runs both ends of a script, the server on b; returns the last lines of what they said."""
    server = b.spawn("/usr/bin/python3", "-c", script, "serve", address, *args, log=f"serve{next(_logs)}.log")
    wait_for("server", lambda: "ready" in server.log(), 10)
    client = a.sh("/usr/bin/python3", "-c", script, "send", address, *args, timeout=100)
    wait_for("the server's end", lambda: not server.alive(), 20)
    assert server.popen.returncode == 0, server.log()
    return (client.stdout.split() or [""])[-1], server.log().split()[-1]


FIRST = """
import socket, struct, sys, time
COUNT = 1000
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if sys.argv[1] == "serve":
    s.bind((sys.argv[2], 7003))
    s.settimeout(20)
    print("ready", flush=True)
    got = []
    while not got or got[-1] != COUNT:
        got.append(struct.unpack("!I", s.recv(100)[:4])[0])
    assert got == sorted(got), [pair for pair in zip(got, got[1:]) if pair[0] > pair[1]][:5]
    print(len(got), flush=True)
else:
    for number in range(COUNT):
        s.sendto(struct.pack("!I", number), (sys.argv[2], 7003))
        time.sleep(0.0001)
    for _ in range(20):
        time.sleep(0.1)
        s.sendto(struct.pack("!I", COUNT), (sys.argv[2], 7003))
"""


def make_pair(lab, wire, config="", path="direct", ping=True, block=None, wrap=()):
    a, b = lab.host("a"), lab.host("b")
    if block:
        for h in (a, b):
            h.sh("nft", "-f", "-", input=f"table inet way {{ chain o {{ type filter hook output priority 0; {block}; }}\n}}\n")
    if wire:  # no message crosses the network joined, as on any real one
        for h in (a, b):
            h.sh("ethtool", "-K", "eth0", "gso", "off", "tso", "off", "tx-udp-segmentation", "off", "gro", "on")
    blob = lab.psk_blob("data", "--bootstrap", f"{a.ip}:4747")
    for h in (a, b):
        h.start(config, wrap=wrap)
        h.join(blob, hostname=h.name)
    for x, y in ((a, b), (b, a)):
        wait_for(f"the path {path}", lambda x=x, y=y: (x.peer(y.name) or {}).get("path") == path)
    if ping:
        a.ping(b.address())
    return a, b


def set_offload(host, on):
    value = "on" if on else "off"
    host.sh("ethtool", "-K", "peal0", "tx", value, "tso", value, "gso", value, "tx-udp-segmentation", value)


# How messages cross the network: joined as veth can, cut as on a wire, or as a stream, in TLS on 443.
@pytest.mark.parametrize("way", ["joined", "wire", "tcp", "tls"])
def test_what_goes_in_comes_out(lab, way):
    """With the devices' offload on or off at either end; 7 MB each time, 224 MB of each family in all."""
    tcp = way in ("tcp", "tls")
    a, b = make_pair(lab, wire=way == "wire", config="[daemon]\ntcp_port = 443\n", path="tcp" if tcp else "direct",
                     block={"tcp": "udp sport 4747 drop", "tls": "udp sport 4747 drop; tcp dport 4747 drop"}.get(way))
    if way == "tls":
        assert ":443" in a.peer("b")["endpoint"] + b.peer("a")["endpoint"]
    for at_a, at_b in itertools.product((True, False), repeat=2):
        set_offload(a, at_a)
        set_offload(b, at_b)
        for from_, to in ((a, b), (b, a)):
            for address in (to.address(), to.address6()):
                sent, received = two_ends(from_, to, STREAM, address, str(7 << 20))
                assert sent == received
        assert two_ends(a, b, DATAGRAMS, b.address(), "4000")[1] == "all"
        assert two_ends(b, a, DATAGRAMS, a.address6(), "4000")[1] == "all"


@pytest.mark.parametrize("path", ["direct", "tcp"])
def test_the_first_packets_arrive_in_order(lab, path):
    """Those that waited for the peer to be found, those on their way through the daemon, and those after them."""
    a, b = make_pair(lab, wire=False, path=path, ping=False, block="udp sport 4747 drop" if path == "tcp" else None)
    assert int(two_ends(a, b, FIRST, b.address())[1]) > 200


def test_what_goes_through_several_workers_comes_out(lab):
    a, b = make_pair(lab, wire=True, config="[daemon]\nworkers = 3\n")
    assert b.sh("ss", "-Hlun", "sport", "=", ":4747").stdout.count(":4747 ") == 3  # a socket for each
    for from_, to in ((a, b), (b, a)):
        sent, received = two_ends(from_, to, STREAM, to.address(), str(50 << 20))
        assert sent == received
        # The neighbour is known before: what waits in the kernel while it is not may be overtaken there, on any link.
        from_.ping(to.address6())
        # Whole ones: fragments have no ports, and may take another queue than the rest of their flow.
        assert two_ends(from_, to, DATAGRAMS, to.address6(), "1300")[1] == "all"


def test_frames_with_vlan_tags_arrive_with_them(lab):
    """Alone, and joined to a super-frame, which the far kernel takes as one."""
    a, b = make_pair(lab, wire=True)
    reader = b.spawn("/usr/bin/python3", "-c", TAGGED, "read", a.address(), b.address(), log="tagged.log")
    wait_for("the reader", lambda: "ready" in reader.log(), 10)
    a.sh("/usr/bin/python3", "-c", TAGGED, "write", a.address(), b.address())
    wait_for("the reader's end", lambda: not reader.alive(), 20)
    assert sorted(reader.log().split("\n")[1:4]) == ["5 alone", "5 joined", "7 alone"], reader.log()
    assert "\npeal_packets_dropped_total{reason=\"device\"} 0\n" in b.peal("metrics").stdout


def upload_and_ping(a, b):
    """Mbit/s of one TCP stream, and the median round trip beside it."""
    server = b.spawn("iperf3", "-s", "-1", "--forceflush", log=f"iperf{next(_logs)}.log")
    wait_for("iperf3 listens", lambda: "listening" in server.log(), 5)
    client = a.spawn("iperf3", "-J", "-c", b.address(), "-t", "5", "-C", "cubic", log=f"client{next(_logs)}.log")
    time.sleep(1.5)
    busy = a.ping(b.address(), count=60, interval=0.05)
    wait_for("the upload's end", lambda: not client.alive(), 20)
    server.stop()
    return json.loads(client.log())["end"]["sum_received"]["bits_per_second"] / 1e6, statistics.median(busy)


@pytest.mark.parametrize("path, reason", [("direct", "backlog"), ("tcp", "tcp_queue_full")])
def test_a_ping_beside_an_upload_does_not_wait(lab, path, reason):
    """On a slow link whose queue would take a third of a second; at most three tries, as a machine whose processors
    are wanted elsewhere lets the link run dry."""
    a, b = make_pair(lab, wire=True, path=path, block="udp sport 4747 drop" if path == "tcp" else None)
    a.sh("tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "30mbit", "burst", "16kb", "limit", "1250000")
    idle = statistics.median(a.ping(b.address(), count=20, interval=0.02))
    tries = []
    while len(tries) < 3:
        mbit, busy = upload_and_ping(a, b)
        tries.append((mbit, busy - idle))
        if busy < idle + 10 and mbit > 0.75 * 30 * 1348 / 1460:
            break
    assert tries[-1][1] < 10 and tries[-1][0] > 0.75 * 30 * 1348 / 1460, tries
    assert f'peal_packets_dropped_total{{reason="{reason}"}} 0\n' not in a.peal("metrics").stdout


def test_a_path_that_refuses_joined_packets_gets_plain_ones(lab):
    """Its link's MTU is smaller than our packets: the kernel fragments them, but only one by one."""
    a, b = make_pair(lab, wire=False)
    assert not a.peer("b")["plain"]
    a.sh("ip", "link", "set", "eth0", "mtu", "1400")
    sent, received = two_ends(a, b, STREAM, b.address(), str(20 << 20))
    assert sent == received
    assert a.peer("b")["plain"] and not b.peer("a")["plain"]
    assert "direct, plain" in a.peal("peers").stdout
    assert "\npeal_plain_paths_total 1\n" in a.peal("metrics").stdout

"""What strangers and mistakes send: nothing crashes, nothing is answered, errors say what to do."""

import json
import os
import re
import socket
import struct
import threading
import time

import pytest

from lab import Ca, TOP, binary, wait_for

FLOOD = os.path.join(TOP, "tests", "lab", "flood.py")


@pytest.fixture(scope="module")
def pair(shared_lab):
    lab = shared_lab
    lab.a, lab.b, lab.stranger = lab.host("a"), lab.host("b"), lab.host("stranger")
    blob = lab.psk_blob("pair", "--bootstrap", f"{lab.a.ip}:4747")
    for h in (lab.a, lab.b):
        h.start()
        h.join(blob, hostname=h.name)
    lab.a.ping(lab.b.address())
    return lab


def drops(host):
    """Counters of `peal metrics` that speak of drops, by name with labels."""
    text = host.peal("metrics").stdout
    return {m[1]: float(m[2]) for m in re.finditer(r"^(peal_\S*drop\S*) ([0-9.e+]+)$", text, re.M)}


def rss_kb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read())[1])


def test_a_flood_of_garbage_is_counted_and_not_answered(pair):
    a, b = pair.a, pair.b
    before, memory = drops(a), rss_kb(a.daemon.pid)
    answered = []

    def flood():
        out = pair.stranger.sh("/usr/bin/python3", FLOOD, a.ip, "4747", "50000", "10", timeout=60).stdout.split()
        answered.extend(int(x) for x in out)

    t = threading.Thread(target=flood)
    t.start()
    time.sleep(0.5)
    rtts = b.ping(a.address(), count=40, interval=0.2, wait=2, check=False)
    t.join()
    sent, got = answered
    assert sent > 200000
    assert got == 0, "a stranger got an answer"
    assert len(rtts) >= 38, f"{len(rtts)} of 40 pings came through the flood"
    after = drops(a)
    counted = sum(after.values()) - sum(before.values())
    assert counted > 1000, after
    assert rss_kb(a.daemon.pid) < memory + 4000
    assert a.daemon.alive()
    b.ping(a.address(), count=3)


def test_recorded_packets_replayed_do_nothing(pair):
    """What an eavesdropper saw, sent again, whole, cut and flipped: no session, no second delivery."""
    a, b = pair.a, pair.b
    seen = os.path.join(a.dir, "seen.pcap")
    tcpdump = a.spawn("tcpdump", "-i", "eth0", "-w", seen, "-U", "--immediate-mode", "udp", "port", "4747", log="tcpdump.log")
    wait_for("tcpdump listens", lambda: "listening on" in tcpdump.log(), 10)
    b.stop(9)
    b.start()
    wait_for("b up", b.up)
    b.ping(a.address(), count=5)
    tcpdump.stop(2)
    packets = udp_payloads(seen, a)
    assert any(p[0] == 0x80 for p in packets) and any(p[0] == 0x83 for p in packets)
    recorded = os.path.join(a.dir, "recorded")
    with open(recorded, "w") as f:
        f.writelines(p.hex() + "\n" for p in packets if p)
    delivered = wait_for("b's session", lambda: b.peer("a"))["age_s"]
    out = pair.stranger.sh("/usr/bin/python3", FLOOD, a.ip, "4747", "5000", "3", recorded, timeout=30).stdout.split()
    assert a.daemon.alive()
    # A replayed first message costs at most one answer, shorter than the message.
    assert int(out[1]) < 100
    peer = wait_for("a's session", lambda: a.peer("b"))
    assert b.ip in peer["endpoint"] or b.ip6 in peer["endpoint"], "a replay moved the path"
    assert b.peer("a")["age_s"] >= delivered, "a replay ended the session"
    b.ping(a.address(), count=5)
    assert a.ping(b.address(), count=5)


def udp_payloads(pcap, host):
    """UDP payloads sent to a host in a capture of its Ethernet interface."""
    data, out, at = open(pcap, "rb").read(), [], 24
    four, six = socket.inet_aton(host.ip), socket.inet_pton(socket.AF_INET6, host.ip6)
    while at + 16 <= len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        frame = data[at + 16:at + 16 + size]
        at += 16 + size
        if frame[12:14] == b"\x08\x00" and frame[30:34] == four:
            out.append(frame[42:42 + struct.unpack(">H", frame[38:40])[0] - 8])
        elif frame[12:14] == b"\x86\xdd" and frame[38:54] == six:
            out.append(frame[62:62 + struct.unpack(">H", frame[58:60])[0] - 8])
    return out


def test_malformed_dhcp_arp_dns_from_the_device_are_dropped(pair):
    a = pair.a
    code = r"""
import random, socket, sys
rng = random.Random(5)
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("peal0", 0))
mac = s.getsockname()[4]
def send(kind, body):
    s.send(b"\xff" * 6 + mac + kind + body)
for i in range(3000):
    send(rng.choice([b"\x08\x06", b"\x08\x00", b"\x86\xdd", b"\x12\x34"]), rng.randbytes(rng.randrange(0, 400)))
def udp(dport, payload, dst=bytes([10, 0, 0, 1])):
    u = bytes([0, 68]) + dport.to_bytes(2, "big") + (8 + len(payload)).to_bytes(2, "big") + b"\0\0" + payload
    ip = b"\x45\0" + (20 + len(u)).to_bytes(2, "big") + b"\0\0\0\0\x40\x11\0\0" + bytes(4) + b"\xff\xff\xff\xff"
    c = sum(int.from_bytes(ip[i:i+2], "big") for i in range(0, 20, 2))
    while c >> 16: c = (c & 0xffff) + (c >> 16)
    return ip[:10] + (c ^ 0xffff).to_bytes(2, "big") + ip[12:] + u
for i in range(2000):
    send(b"\x08\x00", udp(67, b"\x01\x01\x06\0" + rng.randbytes(rng.randrange(0, 500))))
    send(b"\x08\x00", udp(53, rng.randbytes(rng.randrange(0, 100))))
"""
    a.sh("/usr/bin/python3", "-c", code)
    assert a.daemon.alive()
    a.ping(pair.b.address(), count=2)
    code = r"""
import random, socket, sys
rng = random.Random(6)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(2000):
    s.sendto(rng.randbytes(rng.randrange(0, 200)), (sys.argv[1], 53))
"""
    service = pair.a.address().split(".")
    a.sh("/usr/bin/python3", "-c", code, f"{service[0]}.{service[1]}.0.1")
    assert a.daemon.alive()
    a.ping(pair.b.address(), count=2)


def test_a_frame_with_a_foreign_source_does_not_pass(pair):
    a, b = pair.a, pair.b
    head = a.address().rsplit(".", 1)[0]
    third = next(ip for ip in (f"{head}.{n}" for n in (199, 200, 201)) if ip not in (a.address(), b.address()))
    a.sh("ip", "addr", "add", f"{third}/32", "dev", "peal0")
    try:
        r = a.sh("ping", "-c", "2", "-W", "1", "-I", third, b.address(), check=False)
        assert r.returncode == 1
    finally:
        a.sh("ip", "addr", "del", f"{third}/32", "dev", "peal0")
    a.ping(b.address())


@pytest.fixture(scope="module")
def world(pair):
    """A group with one member up, and a machine that is to be refused."""
    lab = pair
    lab.ca = Ca(lab.host("ca")).start()
    lab.first, lab.second = lab.host("first"), lab.host("second")
    lab.ca.group("club", f"{lab.first.ip}:4747")
    lab.ca.group("other", f"{lab.first.ip}:4747", "10.78.0.0/16")
    lab.first.start()
    lab.first.join(lab.ca.blob("club", "first"), hostname="first")
    lab.second.start()
    return lab


def changed(path, **fields):
    """The blob with other fields; the path of the copy."""
    blob = json.load(open(path))
    for k, v in fields.items():
        if v is None:
            del blob[k]
        else:
            blob[k] = v
    out = f"{path}.changed"
    with open(out, "w") as f:
        json.dump(blob, f)
    return out


def refused(host, blob, *words):
    r = host.peal("join", blob, "--wait=5", check=False, timeout=40)
    text = (r.stdout + r.stderr).lower()
    assert r.returncode in (1, 4, 5), (r.returncode, text)
    assert any(w in text for w in words), text
    assert host.network() is None or host.network()["state"] != "up"
    assert host.json("status")["networks"] == [], "the machine is not as it was"
    assert "peal0" not in host.sh("ip", "link").stdout
    assert os.listdir(host.state) == [] or not any(
        os.path.exists(os.path.join(host.state, d, "key")) for d in os.listdir(host.state))


def test_blobs_that_must_not_work(world):
    ca, second = world.ca, world.second
    good = ca.blob("club", "second")
    blob = json.load(open(good))
    refused(second, changed(good, server_pins=["A" * 43 + "="]), "pin")
    refused(second, changed(good, secret="AAAA" + blob["secret"][4:]), "secret", "refused")
    other = json.load(open(ca.blob("other", "second")))
    refused(second, changed(good, ca=other["ca"]), "ca", "certificate", "group")
    broken = f"{good}.broken"
    with open(broken, "w") as f:
        f.write(open(good).read()[:-20])
    refused(second, broken, "json", "blob")
    for key in ("group", "group_key", "network", "secret", "group_id"):
        refused(second, changed(good, **{key: None}), key)
    refused(second, changed(good, group="not_a-label!"), "group", "label")
    refused(second, changed(good, server="https://198.51.100.250:1"), "reach", "connect", "timeout", "timed out")
    second.join(good, hostname="second")
    assert world.first.ping(second.address())
    second.peal("leave", "club", "--purge")
    refused(second, good, "used", "secret")


def test_names_that_are_no_labels_are_refused_at_every_door(world):
    ca = world.ca
    for bad in ("Bad_Name", "-x", "x-", "a.b", "x" * 64, "é", ""):
        assert ca("user", "add", bad, "--email", "x@example.net", "--password-file", ca.password,
                  check=False).returncode in (1, 2)
        assert ca("group", "add", bad, "--owner", "admin", check=False).returncode in (1, 2)
    blob = ca.again("club", "second")
    r = world.second.peal("join", blob, "--hostname=under_score", check=False)
    assert r.returncode in (1, 2) and "under_score" in r.stderr


def test_a_member_of_another_group_gets_no_session(world):
    """The group key alone opens nothing: the certificate must be of this group's CA."""
    ca, second = world.ca, world.second
    blob = ca.blob("other", "second")
    second.join(blob, hostname="second", wait=0)
    wait_for("a ring of one", second.up)
    time.sleep(2)
    assert all(p["network"] == "club" for p in world.first.json("peers")["peers"])
    assert second.json("peers")["peers"] == []
    second.peal("leave", "other", "--purge")


def test_configuration_errors_name_the_line(world):
    h = world.stranger
    for text, line, word in (("[daemon]\nprot = 1\n", 2, "port"), ("[daemon]\n\nport = 70000\n", 3, "port"),
                             ("[demon]\n", 1, "daemon"), ("[daemon]\nrelay = maybe\n", 2, "relay")):
        with open(h.config, "w") as f:
            f.write(text)
        r = h.sh(binary("peald"), "--config", h.config, "--test-config", check=False)
        assert r.returncode == 78, r
        assert f"peald.conf:{line}:" in r.stderr and word in r.stderr, r.stderr


def test_the_daemon_unreachable_is_exit_3(world):
    r = world.stranger.peal("status", check=False)
    assert r.returncode == 3
    r = world.stranger.peal("status", "--json", check=False)
    assert json.loads(r.stdout)["error"]["code"]

"""The network changes under running traffic: another address, a router that forgets, a cable pulled and put back."""

import re
import signal
import time

import pytest

import nat
from lab import wait_for


@pytest.fixture(scope="module")
def pair(shared_lab):
    """b behind a router with a port for each peer, c behind one that keeps ports; a in the open."""
    lab = shared_lab
    lab.lan("lan1", 113)
    lab.a = lab.lan_host("a", "lan1", 113, 10)
    lab.b = nat.member(nat.router(lab, "rb", "random"), "b", 10)
    lab.c = nat.member(nat.router(lab, "rc"), "c", 10)
    root = lab.host("root")
    lab.members = [root, lab.a, lab.b, lab.c]
    blob = lab.psk_blob("moving", "--bootstrap", f"{root.ip}:4747")
    for h in lab.members:
        h.start()
        h.join(blob, hostname=h.name)
    return lab


def longest_gap(h, to, change, seconds=5):
    """Traffic h -> to, back and forth all the time; how long it stood still around the change. A TCP stream lives on."""
    wait_for("traffic before", lambda: h.ping(to.address(), wait=1, check=False), 10)
    server = to.spawn("iperf3", "-s", "-1", "--forceflush", log=f"iperf-{time.monotonic()}.log")
    wait_for("iperf3 listens", lambda: "listening" in server.log(), 5)
    stream = h.spawn("iperf3", "-c", to.address(), "-t", str(seconds), "-b", "500K", log="stream.log")
    flow = h.spawn("ping", "-n", "-D", "-i", "0.05", "-w", str(seconds), to.address(), log=f"flow-{time.monotonic()}.log")
    time.sleep(1)
    change()
    wait_for("the pings end", lambda: not flow.alive(), seconds + 5)
    wait_for("the stream ends", lambda: not stream.alive(), 10)
    assert stream.popen.returncode == 0, stream.log()
    server.stop()
    at = [float(t) for t in re.findall(r"^\[([0-9.]+)\].*time=", flow.log(), re.M)]
    begin = float(re.search(r"^\[([0-9.]+)\]", flow.log(), re.M).group(1))
    return max(y - x for x, y in zip([begin, *at], [*at, begin + seconds - 0.1]))


def direct_soon(h, to):
    wait_for("direct again", lambda: (h.peer(to.name) or {}).get("path") == "direct", 15)


def test_another_address(pair):
    def move():
        pair.a.sh("sh", "-c", "ip -6 addr flush dev eth0 scope global; ip addr del 203.0.113.10/24 dev eth0; "
                              "ip addr add 203.0.113.77/24 dev eth0; ip route replace default via 203.0.113.1")
    assert longest_gap(pair.a, pair.c, move) < 3
    direct_soon(pair.a, pair.c)


def test_a_router_that_was_rebooted(pair):
    assert longest_gap(pair.b, pair.a, lambda: nat.reboot(pair.hosts["rb"], "random")) < 3
    direct_soon(pair.b, pair.a)
    assert longest_gap(pair.c, pair.a, lambda: nat.reboot(pair.hosts["rc"])) < 3
    direct_soon(pair.c, pair.a)


def test_a_machine_that_slept(pair):
    """So long that its peers gave it up, and that the router forgot; the address and a TCP connection stay."""
    address, gone = pair.b.address(), 17

    def sleep():
        pair.b.daemon.popen.send_signal(signal.SIGSTOP)
        time.sleep(gone)
        nat.reboot(pair.hosts["rb"], "random")
        pair.b.daemon.popen.send_signal(signal.SIGCONT)
    assert longest_gap(pair.b, pair.c, sleep, seconds=gone + 8) < gone + 3
    direct_soon(pair.b, pair.a)
    assert pair.b.address() == address and "asleep: asking all peers anew" in pair.b.daemon.log()


def test_a_cable_pulled_and_put_back(pair):
    def replug():
        pair.c.sh("ip", "link", "set", "eth0", "down")
        time.sleep(1)
        pair.c.sh("sh", "-c", "ip link set eth0 up && ip route add default via 192.168.1.1")
    assert longest_gap(pair.c, pair.a, replug) < 1 + 3
    direct_soon(pair.c, pair.a)
    assert all(line[2] == ":" for line in pair.c.daemon.log().splitlines())  # nothing but lines of the log

"""The lab's own link emulator does what it is told, and peald lives with it."""

import json
import statistics

import nat
from lab import wait_for


def test_delay_loss_and_rate_are_as_asked(lab):
    a, far = lab.host("a"), nat.slow_host(lab, "far", delay_ms=25, mbit=8)
    lossy = nat.slow_host(lab, "lossy", loss=20)
    a.ping(far.ip)
    rtts = far.ping(a.ip, count=5)
    assert 50 <= min(rtts) and statistics.median(rtts) < 60
    wait_for("neighbours", lambda: a.ping(lossy.ip, wait=1, check=False), 20)  # what waits for them is lost together
    lost = 100 - len(a.ping(lossy.ip, count=100, interval=0.005, wait=1, check=False))
    assert 15 <= lost <= 60  # 36 per cent both ways together
    server = a.spawn("iperf3", "-s", "-1", "--forceflush", log="iperf.log")
    wait_for("iperf3 listens", lambda: "listening" in server.log(), 5)
    r = json.loads(far.sh("iperf3", "-c", a.ip, "-t", "1", "-J").stdout)
    assert 4e6 < r["end"]["sum_received"]["bits_per_second"] < 8.2e6


def test_members_meet_over_a_lossy_link(lab):
    a, b = lab.host("a"), nat.slow_host(lab, "b", delay_ms=20, loss=10)
    blob = lab.psk_blob("lossy", "--bootstrap", f"{a.ip}:4747")
    for h in (a, b):
        h.start()
        h.join(blob, hostname=h.name)
    wait_for("the first answer", lambda: a.ping(b.address(), wait=1, check=False), 10)
    assert len(a.ping(b.address(), count=20, interval=0.05, wait=1, check=False)) >= 8

"""Certificates that end are replaced by the daemon alone, while the packets go on; and a member that was away for longer
than its certificate comes back by itself. peal-ca's clock is set back, so that what it gives is weeks old."""

import json
import os

import pytest

from lab import Ca, run, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))


def certificate(host):
    return host.json("status")["networks"][0]["certificate"]


def clock(lab, days):
    so = os.path.join(lab.dir, "wallclock.so")
    if not os.path.exists(so):
        run("cc", "-shared", "-fPIC", "-o", so, os.path.join(HERE, "wallclock.c"))
    return ("env", f"LD_PRELOAD={so}", f"WALLCLOCK_SHIFT_S={days * 86400}") if days else ()


def restart(ca, wrap):
    ca.stop()
    ca.wrap = wrap
    ca.start()


@pytest.fixture
def old_ca(lab):
    """A service 25 days in the past: what it gives is due for renewal at once."""
    ca = Ca(lab.host("ca"))
    ca.wrap = clock(lab, -25)
    a, b = lab.host("a"), lab.host("b")
    ca.group("old", f"{a.ip}:4747")
    ca.start()
    for h in (a, b):
        h.start()
        h.join(ca.blob("old", h.name), hostname=h.name)
        wait_for("up", lambda h=h: h.json("status")["networks"][0]["state"] == "up", 20)
    return ca


def test_a_running_member_renews_and_loses_no_packet(lab, old_ca):
    a, b = lab.hosts["a"], lab.hosts["b"]
    wait_for("the service had nothing newer", lambda: certificate(b)["renewal"]["failures"] == 1, 20)
    before = certificate(b)
    assert "same certificate" in before["renewal"]["error"]
    assert before["renewal"]["warning_days"] == 7
    assert "RENEW IT SOON" in b.peal("status").stdout
    assert "same certificate" in b.daemon.log()
    metrics = b.peal("metrics").stdout
    assert 'peal_cert_renewal_failures{network="old"} 1' in metrics
    # Its list of who was removed is weeks old as well: that is said loudly, and stops nobody.
    wait_for("the list is out of date", lambda: b.network()["removals"]["stale"], 20)
    wait_for("the log says so", lambda: "list of removed members is out of date" in b.daemon.log(), 5)
    assert "THE LIST IS OUT OF DATE" in b.peal("status").stdout
    assert 'peal_crl_stale{network="old"} 1' in b.peal("metrics").stdout
    a.ping(b.address(), wait=5)
    restart(old_ca, ())
    server = a.spawn("iperf3", "-s", "-1", "--forceflush", log="iperf3.log")
    wait_for("iperf3 listens", lambda: "listening" in server.log(), 10)
    # Small packets: what an iperf3 that gets no processor for a while leaves in its socket is not lost there.
    traffic = b.spawn("iperf3", "-c", a.address(), "-u", "-b", "500k", "-l", "200", "-t", "6", "--json", log="traffic.log")
    wait_for("traffic", lambda: b.peer("a")["tx_bytes"] > 50000, 10)
    assert certificate(b)["serial"] == before["serial"]
    b.peal("reload")
    after = wait_for("a new certificate", lambda: (c := certificate(b))["serial"] != before["serial"] and c, 20)
    assert after["not_after"] > before["not_after"]
    assert after["renewal"]["failures"] == 0 and after["renewal"]["error"] is None
    assert "RENEW" not in b.peal("status").stdout
    assert traffic.alive()  # it was renewed under way
    assert traffic.popen.wait(20) == 0
    done = json.loads(traffic.log())["end"]["sum"]
    assert done["packets"] > 500 and done["lost_packets"] == 0, done
    # It is kept, and used by whoever it talks to next.
    b.stop()
    b.start()
    wait_for("up again", lambda: b.json("status")["networks"][0]["state"] == "up", 20)
    assert certificate(b)["serial"] == after["serial"]
    wait_for("a list of today", lambda: not b.network()["removals"]["stale"], 20)
    assert 'peal_crl_stale{network="old"} 0' in b.peal("metrics").stdout


def test_an_ended_certificate_comes_back_by_itself(lab, old_ca):
    b = lab.hosts["b"]
    before = certificate(b)
    b.stop()
    old_ca.stop()
    # Ten days on, nobody answers: the certificate has ended, the service is away.
    b.start(wrap=clock(lab, 10))
    s = wait_for("it says so", lambda: (n := b.json("status")["networks"][0])["certificate"]["renewal"]["failures"] and n,
                 20)
    assert s["state"] == "failed" and "expired" in s["reason"], s
    assert s["certificate"]["serial"] == before["serial"]
    assert "cannot reach" in s["certificate"]["renewal"]["error"]
    old_ca.wrap = clock(lab, 10)
    old_ca.start()
    b.peal("reload")
    s = wait_for("up by itself", lambda: (n := b.json("status")["networks"][0])["state"] == "up" and n, 20)
    assert s["certificate"]["serial"] != before["serial"]
    assert s["reason"] is None

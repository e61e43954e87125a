"""peald as a program: notifying its supervisor, reloading, forwarding DNS, leaving the machine as it was."""

import os
import signal
import socket
import threading

from lab import binary, wait_for

# Answers every A question with 192.0.2.7.
DNS_SERVER = r"""
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 53))
print("ready", flush=True)
while True:
    q, peer = s.recvfrom(2048)
    end = 12
    while q[end]: end += q[end] + 1
    question = q[12:end + 5]
    s.sendto(q[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x07", peer)
"""


def alone(lab, name, config="", **kw):
    h = lab.host(name)
    h.start(config, **kw)
    h.join(lab.psk_blob("solo", "--ipv4", "10.86.0.0/16"), hostname=name)
    return h


def test_foreign_names_are_forwarded_where_configured(lab):
    server = lab.host("server")
    dns = server.spawn("/usr/bin/python3", "-c", DNS_SERVER, server.ip, log="dns.log")
    wait_for("the server listens", lambda: "ready" in dns.log(), 10)
    h = alone(lab, "h", f"[network solo]\ndns_forward = {server.ip}\n")

    def dig(name):
        return h.sh("dig", "+short", "@10.86.0.1", name).stdout.strip()

    assert dig("www.example.org") == "192.0.2.7"
    assert dig("h.solo.peal") == h.address()
    assert "REFUSED" not in h.sh("dig", "@10.86.0.1", "www.example.net").stdout
    assert "status: NXDOMAIN" in h.sh("dig", "@10.86.0.1", "nobody.solo.peal").stdout


def test_the_supervisor_hears_ready_and_stopping(lab):
    path = os.path.join(lab.dir, "notify")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(path)
    s.settimeout(15)
    heard = []

    def listen():
        while "STOPPING=1" not in "\n".join(heard):
            heard.append(s.recv(4096).decode())

    t = threading.Thread(target=listen)
    t.start()
    h = lab.host("h")
    h.start(wrap=("env", f"NOTIFY_SOCKET={path}"))
    wait_for("READY=1", lambda: any("READY=1" in m for m in heard), 10)
    assert h.stop() == 0
    t.join(10)
    assert not t.is_alive() and "STOPPING=1" in "\n".join(heard)


def test_reload_takes_what_it_can_and_says_what_needs_a_restart(lab):
    h = alone(lab, "h", "[daemon]\n")
    before = h.network()["id"], h.address(), h.daemon.pid
    with open(h.config, "w") as f:
        f.write("[daemon]\nprot = 9\n")
    r = h.peal("reload", check=False)
    assert r.returncode == 1 and "peald.conf:2" in r.stderr and "port" in r.stderr
    with open(h.config, "w") as f:
        f.write("[daemon]\nport = 4800\n[network solo]\nhostname = renamed\n")
    out = h.peal("reload")
    assert "port" in out.stdout + out.stderr
    wait_for("the new name", lambda: h.network()["hostname"] == "renamed", 10)
    h.daemon.popen.send_signal(signal.SIGHUP)
    h.ping("10.86.0.1")
    assert (h.network()["id"], h.address(), h.daemon.pid) == before


def test_a_second_daemon_on_the_same_state_is_refused(lab):
    h = alone(lab, "h")
    r = h.sh(binary("peald"), "--config", h.config, "--state", h.state, "--socket", h.socket, "--port", "0",
             check=False, timeout=15)
    assert r.returncode != 0 and r.stderr.strip()
    h.ping("10.86.0.1")


def test_state_is_for_its_owner_only(lab):
    h = alone(lab, "h")
    h.daemon.popen.send_signal(signal.SIGSTOP)  # it writes now and then, and renames what it wrote
    wait_for("it stands still", lambda: "State:\tT" in open(f"/proc/{h.daemon.pid}/status").read(), 5)
    for path, _, files in os.walk(h.state):
        assert os.stat(path).st_mode & 0o77 == 0, path
        for f in files:
            assert os.stat(os.path.join(path, f)).st_mode & 0o77 == 0, f
    assert os.stat(h.socket).st_mode & 0o777 == 0o660


def test_terminated_or_killed_the_machine_is_as_before(lab):
    h = lab.host("h")

    def seen():
        return [h.sh(*c).stdout for c in (("ls", "/sys/class/net"), ("ip", "route"), ("ip", "-6", "route"), ("ip", "rule"),
                                          ("nft", "list", "ruleset"))]

    # The kernel takes its time to find that a link is up.
    wait_for("the link is up", lambda: "fe80::" in seen()[2] and "linkdown" not in "".join(seen()), 10)
    before = seen()
    h.start()
    h.join(lab.psk_blob("solo"), hostname="h")
    assert seen() != before
    assert h.stop() == 0
    assert seen() == before and not os.path.exists(h.socket)
    h.start()
    wait_for("up", h.up)
    h.stop(signal.SIGKILL)
    assert seen() == before
    h.start()
    wait_for("up again", h.up)
    assert h.stop() == 0
    assert seen() == before and not os.path.exists(h.socket)


def test_a_public_node_needs_no_device(lab):
    h = lab.host("h")
    h.start("[daemon]\npublic = yes\n")
    status = h.json("status")
    assert status["public"]["enabled"] is True and len(status["public"]["id"]) == 40
    assert status["networks"] == []
    assert "peal0" not in h.sh("ip", "link").stdout

"""A node of the public overlay: no group, no device, no privilege."""

import os

import nat
from lab import wait_for

NOBODY = 65534


def test_a_public_node_needs_no_privilege(lab):
    os.chmod(lab.dir, 0o755)
    hosts = [lab.host(f"p{i}") for i in range(3)]
    for h in hosts:
        os.chown(h.dir, NOBODY, NOBODY)
        h.start(f"[daemon]\npublic = yes\nbootstrap = {hosts[0].ip}:4747\n", wrap=(
            "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all",
            "--bounding-set=-all"))
    for h in hosts:
        wait_for(f"{h.name} knows the others", lambda: h.json("status")["public"]["connections"] == 2, 15)
        status = h.sh("grep", "-E", "^(Uid|CapEff|CapPrm)", f"/proc/{h.daemon.pid}/status").stdout
        assert status.split() == ["Uid:", *[str(NOBODY)] * 4, "CapPrm:", "0" * 16, "CapEff:", "0" * 16], status
        assert "tun" not in h.sh("ip", "-o", "link").stdout and "peal0" not in h.sh("ip", "-o", "link").stdout
        assert "warn" not in h.daemon.log(), h.daemon.log()
    for h in hosts:
        assert h.stop() == 0


def public_host(lab, name="meet"):
    """A node of the public overlay and of nothing else."""
    h = lab.host(name)
    h.start("[daemon]\npublic = yes\n")
    return h


def members_behind_nats(lab, blob, kinds):
    members = []
    for i, kind in enumerate(kinds):
        m = nat.member(nat.router(lab, f"r{i}", kind), f"m{i}", 10)
        m.start()
        members.append(m)
    for m in members:
        m.join(blob, wait=0, hostname=m.name)
    return members


def path_to(a, b):
    return (a.peer(b.name) or {}).get("path")


def test_members_behind_nats_meet_in_the_public_overlay(lab):
    meet = public_host(lab)
    blob = lab.psk_blob("home", "--public-bootstrap", f"{meet.ip}:4747")
    a, b = members_behind_nats(lab, blob, ["preserving", "preserving"])
    wait_for("the members know each other", lambda: path_to(a, b) == path_to(b, a) == "direct", 30)
    for m in (a, b):
        wait_for(f"{m.name} up", m.up, 20)
    wait_for("traffic", lambda: a.ping(b.address(), wait=1, check=False), 10)
    a.ping(b.address(), count=5)


def test_where_no_direct_path_exists_the_public_overlay_carries(lab):
    meet = public_host(lab)
    blob = lab.psk_blob("home", "--public-bootstrap", f"{meet.ip}:4747")
    a, b = members_behind_nats(lab, blob, ["random", "random"])
    for m in (a, b):
        wait_for(f"{m.name} up", m.up, 30)
    wait_for("traffic", lambda: a.ping(b.address(), wait=1, check=False), 20)
    a.ping(b.address(), count=5)
    assert path_to(a, b) == path_to(b, a) == "overlay"
    assert "public overlay" in a.peer("m1")["why"]

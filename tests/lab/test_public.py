"""A node of the public overlay: no group, no device, no privilege."""

import os

import nat
from lab import Ca, wait_for

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


def counter(h, name):
    return sum(float(line.split()[-1]) for line in h.peal("metrics").stdout.splitlines() if f'event="{name}"' in line)


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
    # One more group, the same node, the same port.
    work = lab.psk_blob("work", "--public-bootstrap", f"{meet.ip}:4747")
    for m in (a, b):
        m.join(work, hostname=m.name)
    wait_for("traffic", lambda: a.ping(b.address("work"), wait=1, check=False), 15)
    assert len({p["id"] for p in a.json("peers")["peers"] if p["network"] is not None}) == 2


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
    # Data goes as it is behind the relay's header, in no message of the public overlay.
    before = counter(a, "tunnel_sent")
    a.ping(b.address(), count=40, interval=0.01)
    assert counter(a, "tunnel_sent") - before < 20


def test_nothing_is_carried_unless_both_sides_allow_it(lab):
    meet = lab.host("meet")
    meet.start("[daemon]\npublic = yes\nrelay = no\n")
    blob = lab.psk_blob("home", "--public-bootstrap", f"{meet.ip}:4747")
    a, b = members_behind_nats(lab, blob, ["random", "random"])
    for m in (a, b):
        wait_for(f"{m.name} up", m.up, 30)  # they do talk to each other
    assert a.ping(b.address(), count=2, wait=1, check=False) == []
    assert meet.stop() == a.stop() == 0
    meet.start("[daemon]\npublic = yes\n")
    a.start("[network home]\npublic_relay = no\n")
    wait_for("a knows b", lambda: path_to(a, b) == "overlay", 30)
    wait_for("a up", a.up, 30)
    assert a.ping(b.address(), count=2, wait=1, check=False) == []
    assert b.ping(a.address(), count=2, wait=1, check=False) == []
    assert a.stop() == 0
    a.start()
    wait_for("traffic", lambda: a.ping(b.address(), wait=1, check=False), 30)


def test_members_start_without_the_public_overlay_they_met_in(lab):
    meet = public_host(lab)
    blob = lab.psk_blob("home", "--public-bootstrap", f"{meet.ip}:4747")
    members = members_behind_nats(lab, blob, ["preserving", "preserving"])
    a, b = members
    wait_for("direct", lambda: path_to(a, b) == path_to(b, a) == "direct", 30)
    for m in members:
        wait_for(f"{m.name} up", m.up, 20)
    for m in members:
        wait_for("it is remembered", lambda: os.path.exists(os.path.join(m.state, "home", "contacts")), 10)
    meet.stop()
    for m in members:
        assert m.stop() == 0
    for i in range(2):
        nat.reboot(lab.hosts[f"r{i}"])
    for m in members:
        m.start()
    wait_for("direct again", lambda: path_to(a, b) == path_to(b, a) == "direct", 15)
    wait_for("traffic", lambda: a.ping(b.address(), wait=1, check=False), 15)


def test_a_removed_member_meets_nobody(lab):
    meet, ca = public_host(lab), Ca(lab.host("ca"))
    ca.group("club", "", "10.77.0.0/16", "admin", "--public-bootstrap", f"{meet.ip}:4747")
    ca.start()
    members = a, b, c, d, e = [lab.host(n) for n in "abcde"]
    others = [a, b, d, e]
    for h in members:
        h.start()
        h.join(ca.blob("club", h.name), hostname=h.name)
    wait_for("a ring of five", lambda: all(len(h.ring()) == 4 for h in members), 20)
    gone = c.network()["id"]
    c.stop()
    ca("member", "revoke", "club", "c")
    for h in others:
        wait_for(f"{h.name} knows", lambda: h.network()["removals"]["number"] > 0, 10)
    ca.stop()  # nobody but the members can tell it
    # With the group's key, which it still has, it can read where three keep the door; the fourth hides.
    hidden = wait_for("one hides", lambda: next((h for h in others if counter(h, "rendezvous_hidden") == 1), None), 20)
    assert hidden.stop() == 0
    hidden.start()
    found = wait_for("it looked", lambda: counter(hidden, "rendezvous_found"), 20)
    assert found % 4 == 0, found  # three, and what the removed one left there
    c.start()
    wait_for("it was refused", lambda: any("revoked" in r["why"] for h in others for r in h.json("peers")["refused"]), 20)
    # Who opened a session has it from his last message on, until he hears that it was refused, or for 5 s nothing.
    wait_for("public nodes only", lambda: all(p["network"] is None for p in c.json("peers")["peers"]), 10)
    assert not any(p["id"] == gone and p["path"] for h in others for p in h.json("peers")["peers"])
    assert c.ping(a.address(), count=2, wait=1, check=False) == []

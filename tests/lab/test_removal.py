"""From the click on revoke to no session left anywhere, and what a member that was away learns from the others."""

import json
import os
import shutil
import time

import pytest

from lab import Ca, wait_for


def network(host):
    return host.json("status")["networks"][0]


def peers(host):
    return {p["id"] for p in host.json("peers")["peers"]}


def up(host):
    return wait_for(f"{host.name} is up", lambda: (n := network(host))["state"] == "up" and n, 30)


def listed(host):
    """How many it knows to be removed; it has a number also from a list of nobody."""
    return network(host)["removals"]["listed"]


@pytest.fixture
def group(lab):
    ca = lab.ca = Ca(lab.host("ca"))
    members = [lab.host(n) for n in ("a", "b", "c", "d", "e")]
    ca.group("club", f"{members[0].ip}:4747")
    ca.start()
    for h in members:
        h.start()
        h.join(ca.blob("club", h.name), hostname=h.name)
    for h in members:
        up(h)
    return members


def test_a_removed_member_is_cut_off_everywhere_within_seconds(lab, group):
    a, b, c, d, e = group
    # What the service says needs somebody who listens: the three members nearest to the group's removal key.
    wait_for("three ask the service", lambda: sum(network(h)["removals"]["watching"] for h in group) == 3, 20)
    gone, name = network(c)["id"], network(c)["ipv4"].split("/")[0]
    for h in (a, b, d):
        assert h.sh("ping", "-c1", "-W5", name, check=False).returncode == 0
    e.stop()
    before = time.monotonic()
    lab.ca("member", "revoke", "club", "c")
    for h in (a, b, d):
        # Its own goodbye may come before the news.
        wait_for(f"{h.name} has cut it off", lambda h=h: gone not in peers(h), 5)
        wait_for(f"{h.name} knows", lambda h=h: listed(h), 5)
    wait_for("it knows", lambda: network(c)["state"] == "removed", 5)
    took = time.monotonic() - before
    print(f"cut off everywhere after {took:.2f} s")
    assert took < 5
    assert network(c)["ipv4"] is None and "removed" in network(c)["reason"]
    numbers = {network(h)["removals"]["number"] for h in (a, b, d)}
    assert len(numbers) == 1 and numbers.pop() > 0
    for h in (a, b, d):
        assert h.sh("ping", "-c1", "-W1", name, check=False).returncode != 0
    # The service is told by each of them; e, who is off, has not said anything.
    spread = wait_for("all have said so", lambda: (s := json.loads(lab.ca("group", "spread", "club", "--json").stdout))
                      ["told"] == 3 and s, 10)
    print(f"the service knows: {spread}")
    assert spread["machines"] == 4 and spread["removal"]["user"] == "c" and spread["last_s"] <= 5
    everybody = a.json("members")["removals"]
    assert everybody["known_to"] == everybody["answered"] == 3
    # Its name and address are nobody's: the records went with it.
    assert a.peal("lookup", name, check=False).returncode != 0
    # A restart changes nothing, for it or for the others, though the service is away.
    lab.ca.stop()
    c.stop()
    c.start()
    b.stop()
    b.start()
    up(b)
    wait_for("it still knows", lambda: network(c)["state"] == "removed", 20)
    time.sleep(2)
    assert gone not in peers(b) and listed(b)
    # Who was away learns it from the members, before the removed one can fool it.
    e.start()
    up(e)
    wait_for("e has learned", lambda: network(e)["removals"]["number"] == network(a)["removals"]["number"], 10)
    assert gone not in peers(e)


def test_a_removed_member_that_hides_the_news_is_refused(lab, group):
    """Its daemon forgets what it knows of removals at each start: the others do not."""
    a, b, c, d, e = group
    gone = network(c)["id"]
    wait_for("three ask the service", lambda: sum(network(h)["removals"]["watching"] for h in group) == 3, 20)
    c.stop()
    lab.ca("member", "revoke", "club", "c")
    wait_for("all know", lambda: all(listed(h) for h in (a, b, d, e)), 10)
    lab.ca.stop()
    for f in ("crl.der", "removals"):
        path = os.path.join(c.state, "club", f)
        if os.path.exists(path):
            os.unlink(path)
    c.start()
    refused = wait_for("it is refused", lambda: [r for r in a.json("peers")["refused"] if "revoked" in r["why"]], 20)
    assert refused[0]["user"] == "c"
    assert all(gone not in peers(h) for h in (a, b, d, e))


def test_a_lost_machine_goes_alone_and_comes_back_when_an_approver_agrees(lab):
    """Two machines of bob's; one is removed. The other one talks on, and the lost one needs more than a file."""
    lab.ca = Ca(lab.host("ca"))
    a, b, c = (lab.host(n) for n in "abc")
    lab.ca.group("club", f"{a.ip}:4747")
    lab.ca.start()
    for host, blob in ((a, lab.ca.blob("club", "alice")), (b, lab.ca.blob("club", "bob")),
                       (c, lab.ca.again("club", "bob"))):
        host.start()
        host.join(blob, hostname=host.name)
    for host in (a, b, c):
        up(host)
    unused, gone = lab.ca.again("club", "bob"), network(b)["id"]
    wait_for("all ask the service", lambda: all(network(h)["removals"]["watching"] for h in (a, b, c)), 20)
    lab.ca("machine", "revoke", "club", gone, "--reason", "left in a train")
    wait_for("it knows", lambda: network(b)["state"] == "removed", 5)
    for host in (a, c):
        wait_for(f"{host.name} has cut it off", lambda h=host: gone not in peers(h), 5)
    assert a.ping(c.address(), wait=5) and network(c)["state"] == "up"

    refused = lab.ca("blob", "club", "bob", check=False)
    assert refused.returncode == 4 and "an approver of the group has to agree" in refused.stderr
    for leave in (True, False):  # as it is, and after the group was left
        refused = b.peal("join", unused, check=False)
        assert refused.returncode == 5 and "an approver of the group has to agree" in refused.stderr
        if leave:
            b.peal("leave", "club")
    lab.ca("member", "request", "club", "bob", "--reason", "it is in my hands again")
    lab.ca("member", "approve", "club", "bob")
    b.join(lab.ca.again("club", "bob"), hostname="b")
    up(b)
    assert network(b)["id"] != gone
    assert a.ping(b.address(), wait=5)

    # Removed after it left, it heard nothing of it; when its certificate is of no use any more, it asks for one with
    # the key that it kept.
    gone = network(b)["id"]
    b.peal("leave", "club")
    shutil.copy(os.path.join(a.state, "club", "cert.pem"), os.path.join(b.state, "club", "cert.pem"))
    lab.ca("machine", "revoke", "club", gone)
    lab.ca("member", "approve", "club", "bob")
    b.join(lab.ca.again("club", "bob"), hostname="b")
    up(b)
    assert network(b)["id"] != gone and "asking with a new one" in b.daemon.log()
    assert a.ping(b.address(), wait=5)

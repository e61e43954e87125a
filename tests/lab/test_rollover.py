"""A group gets a new CA while its members talk: nobody does anything, and no packet is lost."""

from lab import Ca, ping_answers, ping_argv, wait_for


def network(host):
    return host.json("status")["networks"][0]


def serial(host):
    return network(host)["certificate"]["serial"]


def trusted(host):
    return network(host)["certificate"]["authorities"]


def up(host):
    return wait_for(f"{host.name} is up", lambda: (n := network(host))["state"] == "up" and n, 30)


def address(host):
    return network(host)["ipv4"].split("/")[0]


def test_a_new_ca_and_the_end_of_the_old_one(lab):
    ca = lab.ca = Ca(lab.host("ca"))
    a, b, c, d = (lab.host(n) for n in "abcd")
    ca.group("club", f"{a.ip}:4747")
    ca.start()
    older = ca.blob("club", "d")  # used only when there is a newer CA
    for h in (a, b, c):
        h.start()
        h.join(ca.blob("club", h.name), hostname=h.name)
    for h in (a, b, c):
        up(h)
    wait_for("they ask the service", lambda: all(network(h)["removals"]["watching"] for h in (a, b, c)), 20)
    assert b.sh("ping", "-c1", "-W5", address(a), check=False).returncode == 0
    c.stop()  # away over all of it
    before = {h: serial(h) for h in (a, b)}
    ping = b.spawn(*ping_argv(address(a), 200, 20, 0.05), log="ping.log")

    lab.ca("group", "roll", "club")
    wait_for("both trust both", lambda: trusted(a) == trusted(b) == 2, 10)
    d.start()
    d.join(older, hostname=d.name)
    up(d)
    assert trusted(d) == 2
    for h in (a, b):
        assert d.sh("ping", "-c1", "-W5", address(h), check=False).returncode == 0
        assert serial(h) == before[h]

    lab.ca("group", "end-old", "club")
    wait_for("theirs are of the new one", lambda: all(serial(h) != before[h] for h in before), 20)
    wait_for("the old one is trusted no more", lambda: all(trusted(h) == 1 for h in (a, b, d)), 20)
    ping.popen.wait(40)
    assert len(ping_answers(ping.log(), 200)) == 200, ping.log()

    # What they know now is kept; and who was away hears of it from the service, and comes back by himself.
    b.stop()
    b.start()
    up(b)
    c.start()
    wait_for("c is of the new one", lambda: trusted(c) == 1, 30)
    for h in (b, c):
        wait_for(f"{h.name} reaches a", lambda h=h: h.sh("ping", "-c1", "-W1", address(a), check=False).returncode == 0, 30)
    assert "not signed by this group" not in a.daemon.log()

"""Addresses: by the daemon, by real DHCP clients, fixed; a full range; the same after a restart."""

import os

import pytest

from lab import wait_for

CLIENTS = {
    "dhclient": ("dhclient", "-4", "-1", "-d", "-sf", "{script}", "-lf", "{dir}/leases", "-pf", "{dir}/pid", "peal0"),
    "udhcpc": ("udhcpc", "-f", "-q", "-n", "-t", "10", "-i", "peal0", "-s", "{script}"),
    # What it keeps of a device stands under the device's name, and another lab's has the same one.
    "dhcpcd": ("sh", "-c", "for d in run/dhcpcd var/lib/dhcpcd; do mkdir -p /$d {dir}/$d; mount --bind {dir}/$d /$d; done; "
                           "exec dhcpcd -4 -B -1 --noipv4ll -t 15 -c {script} peal0"),
}

# One hook script that understands the variables of each client and sets the address.
SCRIPT = """#!/bin/sh
case "${reason:-$1}" in
BOUND|RENEW|REBOOT|REBIND|bound|renew)
    mask=${new_subnet_mask:-$subnet}
    ip addr replace "${new_ip_address:-$ip}/${mask:+16}" dev peal0
    echo "${new_ip_address:-$ip} ${new_domain_name_servers:-$dns} ${new_domain_name:-$domain} $mask" > "{out}"
    ;;
esac
exit 0
"""


@pytest.mark.parametrize("client", sorted(CLIENTS))
def test_a_real_client_gets_the_same_address_again(lab, client):
    a, b = lab.host("a"), lab.host("b")
    blob = lab.psk_blob("dyn", "--bootstrap", f"{a.ip}:4747", "--ipv4", "10.83.0.0/16")
    a.start()
    a.join(blob, hostname="a")
    b.start(config="[network dyn]\naddress = dhcp\n")
    b.join(blob, hostname="b")
    wait_for("an address to give", b.address)
    assert b.address() not in b.sh("ip", "-4", "addr", "show", "peal0").stdout
    out, script = os.path.join(b.dir, "lease"), os.path.join(b.dir, "script")
    with open(script, "w") as f:
        f.write(SCRIPT.replace("{out}", out))
    os.chmod(script, 0o755)
    argv = [x.format(script=script, dir=b.dir) for x in CLIENTS[client]]

    def lease():
        if os.path.exists(out):
            os.unlink(out)
        p = b.spawn(*argv, log="client.log")
        try:
            wait_for(f"{client} binds", lambda: os.path.exists(out) and open(out).read().strip(), 25)
        except AssertionError:
            raise AssertionError(p.log())
        p.stop(9)
        return open(out).read().split()

    got = lease()
    assert got == [b.address(), "10.83.0.1", "dyn.peal", "255.255.0.0"]
    a.ping(got[0])
    b.ping(a.address())
    b.stop()
    b.start(config="[network dyn]\naddress = dhcp\n")
    wait_for("b up", b.up)
    assert lease()[0] == got[0]


def test_a_fixed_address_and_one_that_is_taken(lab):
    a, b, c = (lab.host(n) for n in "abc")
    blob = lab.psk_blob("fix", "--bootstrap", f"{a.ip}:4747", "--ipv4", "10.84.0.0/16")
    a.start()
    a.join(blob, hostname="a")
    b.start(config="[network fix]\naddress = 10.84.9.9\n")
    b.join(blob, hostname="b")
    assert b.address() == "10.84.9.9"
    a.ping("10.84.9.9")
    c.start(config="[network fix]\naddress = 10.84.9.9\n")
    c.join(blob, wait=0, hostname="c")
    net = wait_for("c says why", lambda: (lambda n: n if n and n["state"] == "failed" else None)(c.network()), 20)
    assert "10.84.9.9" in net["reason"]


def test_a_full_range_says_so(lab):
    hosts = [lab.host(f"n{i}") for i in range(6)]
    blob = lab.psk_blob("tiny", "--bootstrap", f"{hosts[0].ip}:4747", "--ipv4", "10.85.0.0/29")
    for h in hosts[:5]:
        h.start()
        h.join(blob, hostname=h.name)
    assert len({h.address() for h in hosts[:5]}) == 5
    last = hosts[5]
    last.start()
    last.join(blob, wait=0, hostname="n5")
    net = wait_for("full", lambda: (lambda n: n if n and n["state"] == "failed" else None)(last.network()), 40)
    assert "10.85.0.0/29" in net["reason"] and "full" in net["reason"]
    hosts[4].peal("leave", "tiny", "--purge")
    wait_for("the free one is taken", last.up, 60)


def test_names_of_two_machines_that_want_the_same(lab):
    a, b = lab.host("a"), lab.host("b")
    blob = lab.psk_blob("names", "--bootstrap", f"{a.ip}:4747")
    for h in (a, b):
        h.start()
        h.join(blob, hostname="pc")
    assert {a.network()["hostname"], b.network()["hostname"]} == {"pc", "pc-2"}

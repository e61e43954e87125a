"""Ports mapped by the router, asked of Debian's miniupnpd: by PCP, NAT-PMP and UPnP; renewed by nobody once peald ends."""

import os
import re

import pytest

import nat
from lab import wait_for

_TABLE = """
table inet upnp {
    chain forward { type filter hook forward priority 10; policy accept; jump mapped; }
    chain mapped { }
    chain prerouting { type nat hook prerouting priority dstnat; policy accept; jump in; }
    chain in { }
    chain postrouting { type nat hook postrouting priority 110; policy accept; jump out; }
    chain out { }
}
"""


def miniupnpd(router, upnp, natpmp):
    """The router maps ports for its LAN."""
    conf = os.path.join(router.dir, "miniupnpd.conf")
    with open(conf, "w") as f:
        f.write(f"""ext_ifname=eth0
listening_ip=lan
http_port=5000
enable_upnp={upnp}
enable_natpmp={natpmp}
upnp_table_name=upnp
upnp_nat_table_name=upnp
upnp_forward_chain=mapped
upnp_nat_chain=in
upnp_nat_postrouting_chain=out
secure_mode=yes
lease_file={router.dir}/leases
uuid=00000000-0000-0000-0000-000000000000
allow 443 192.168.1.0/24 443
allow 1024-65535 192.168.1.0/24 1024-65535
""")
    router.sh("nft", "-f", "-", input=_TABLE)
    p = router.spawn("/usr/sbin/miniupnpd", "-d", "-f", conf, "-P", os.path.join(router.dir, "pid"), log="upnpd.log")
    wait_for("miniupnpd listens", lambda: "listening" in p.log().lower(), 5)
    return p


def mapped_to(router):
    """Ports that the router hands on to somebody on its LAN, with the protocol's number (byte 9 of the IPv4 header)."""
    text = router.sh("nft", "-nn", "list", "chain", "inet", "upnp", "in").stdout
    return sorted((str(int(protocol, 16)), port, to) for protocol, port, to in
                  re.findall(r"@nh,72,8 (0x\w+) th dport (\d+) dnat ip to ([0-9.:]+)", text))


def holds(router, mappings):
    """miniupnpd replaces a mapping when the request for it comes again: for a moment there is none."""
    wait_for(f"exactly {mappings}", lambda: mapped_to(router) == mappings, 5)


def both_at(ip):
    return [("17", "4747", f"{ip}:4747"), ("6", "4747", f"{ip}:4747")]


@pytest.mark.parametrize("name,upnp,natpmp", [("PCP", "no", "yes"), ("UPnP", "yes", "no")])
def test_the_router_maps_a_port(lab, name, upnp, natpmp):
    a = lab.host("a")
    r = nat.router(lab, "r", "random")
    miniupnpd(r, upnp, natpmp)
    b = nat.member(r, "b", 10)
    hidden = nat.member(nat.router(lab, "rh", "random"), "hidden", 10)
    blob = lab.psk_blob("mapped", "--bootstrap", f"{a.ip}:4747")
    for h in (a, b, hidden):
        h.start()
    wait_for("the mapping", lambda: f"maps {r.ip}:4747 to us ({name})" in b.daemon.log(), 15)
    wait_for("TCP's", lambda: f"maps TCP {r.ip}:4747 to us ({name})" in b.daemon.log(), 15)
    holds(r, both_at("192.168.1.10"))
    for h in (a, b, hidden):
        h.join(blob, hostname=h.name)
    # Two NATs with a port for each peer: only the mapping lets them meet.
    wait_for("a direct path", lambda: hidden.ping(b.address(), wait=1, check=False) and
             (hidden.peer("b") or {}).get("path") == "direct", 15)
    assert hidden.peer("b")["endpoint"] == f"{r.ip}:4747"
    assert b.stop() == 0
    wait_for("the mappings are gone", lambda: mapped_to(r) == [], 5)


def test_not_when_told_not_to(lab):
    r = nat.router(lab, "r")
    miniupnpd(r, "yes", "yes")
    b = nat.member(r, "b", 10)
    b.start("[daemon]\nport_mapping = no\n")
    c = nat.member(r, "c", 11)
    c.start()
    wait_for("another one's mapping", lambda: mapped_to(r), 10)
    wait_for("TCP's", lambda: "maps TCP" in c.daemon.log(), 15)
    holds(r, both_at("192.168.1.11"))


def test_a_router_that_was_restarted_maps_again(lab):
    r = nat.router(lab, "r")
    upnpd = miniupnpd(r, "no", "yes")
    b = nat.member(r, "b", 10)
    b.start()
    wait_for("TCP's", lambda: "maps TCP" in b.daemon.log(), 10)
    upnpd.stop(9)  # asked to end, it may wait for one more packet first
    r.sh("nft", "delete", "table", "inet", "upnp")
    miniupnpd(r, "no", "yes")  # which it tells all hosts
    wait_for("mapped again", lambda: mapped_to(r) == both_at("192.168.1.10"), 6)


def test_nothing_is_mapped_that_does_not_listen(lab):
    r = nat.router(lab, "r")
    miniupnpd(r, "yes", "yes")
    b = nat.member(r, "b", 10)
    b.start("[daemon]\ntcp = no\n")
    wait_for("the mapping", lambda: mapped_to(r), 10)
    c = nat.member(r, "c", 11)
    c.start("[daemon]\nport = 4750\n")
    wait_for("another one's", lambda: "maps TCP" in c.daemon.log(), 15)
    holds(r, [("17", "4747", "192.168.1.10:4747"), ("17", "4750", "192.168.1.11:4750"),
              ("6", "4750", "192.168.1.11:4750")])


def test_by_443_through_the_router_where_udp_is_blocked(lab):
    """Neither has a public address, and one network lets only HTTPS out."""
    r = nat.router(lab, "r")
    miniupnpd(r, "no", "yes")
    b = nat.member(r, "b", 10)
    b.start("[daemon]\ntcp_port = 443\n")
    wait_for("443", lambda: f"maps TCP {r.ip}:443 to us (PCP)" in b.daemon.log(), 15)
    strict = nat.member(nat.router(lab, "rs", udp=False, only_tcp=443), "strict", 10)
    blob = lab.psk_blob("mapped", "--bootstrap", f"{r.ip}:4747")
    strict.start()
    for h in (b, strict):
        h.join(blob, hostname=h.name)
    wait_for("TCP", lambda: strict.ping(b.address(), wait=1, check=False) and
             (strict.peer("b") or {}).get("path") == "tcp", 20)
    assert strict.peer("b")["endpoint"] == f"{r.ip}:443"
    assert strict.json("netcheck")["udp"] is False and "does not get through" in strict.peal("netcheck").stdout
    assert b.json("netcheck")["mapped"] == f"{r.ip}:4747"
    assert " error " not in strict.daemon.log() and strict.daemon.log().count("IPv6 is switched off here") == 1
    assert b.stop() == 0
    wait_for("the mappings are gone", lambda: mapped_to(r) == [], 5)


def test_a_router_that_speaks_nat_pmp_only(lab):
    r = nat.router(lab, "r")
    asked = r.spawn("/usr/bin/python3", os.path.join(os.path.dirname(__file__), "natpmp.py"), r.ip, log="natpmp.log")
    wait_for("it listens", lambda: "ready" in asked.log(), 5)
    b = nat.member(r, "b", 10)
    b.start("[daemon]\ntcp_port = 443\n")
    wait_for("the mapping", lambda: f"maps {r.ip}:4748 to us (NAT-PMP)" in b.daemon.log(), 10)
    # TCP is of use only where others try it: at UDP's number outside, and at 443, which this router moves.
    wait_for("TCP's", lambda: f"maps TCP {r.ip}:4748 to us (NAT-PMP)" in b.daemon.log(), 5)
    wait_for("443 is given back", lambda: "tcp 443 443 600\ntcp 443 0 0" in asked.log(), 5)
    assert "443 to us" not in b.daemon.log().replace("4748", "")
    assert b.stop() == 0
    wait_for("they are taken away", lambda: {"map 4747 0 0", "tcp 4747 0 0"} <= set(asked.log().split("\n")), 5)

"""STUN with what others wrote: Debian's coturn asks peald, and peald asks it."""

import re

import nat
from lab import run, wait_for


def member_behind(lab, name):
    r = nat.router(lab, f"r{name}")
    return nat.member(r, name, 10), r


def test_a_foreign_client_learns_its_address_from_peald(lab):
    server = lab.host("server")
    server.start()
    client, r = member_behind(lab, "client")
    for who, ip in ((client, r.ip), (lab.host("open"), None)):
        out = who.sh("turnutils_stunclient", "-p", "4747", server.ip, timeout=10, check=False).stdout
        found = re.search(r"UDP reflexive addr: ([0-9.]+):(\d+)", out)
        assert found and found[1] == (ip or who.ip) and int(found[2]) > 0, out


def test_peald_learns_its_address_from_a_foreign_server(lab):
    server = lab.host("server")
    turn = server.spawn("turnserver", "-n", "-S", "-L", server.ip, "-p", "3478", "--no-cli", "--no-tls", "--no-dtls",
                 "--log-file=stdout", f"--pidfile={server.dir}/turn.pid", log="turn.log")
    wait_for("it listens", lambda: server.sh("ss", "-Hlun", "sport", "=", ":3478").stdout and turn.alive(), 10)
    member, r = member_behind(lab, "member")
    member.start(f"[daemon]\nstun = {server.ip}:3478\n")
    member.join(lab.psk_blob("alone"), hostname="member")
    seen = wait_for("the outer address", lambda: member.json("netcheck")["nat"]["reflexive"], 15)
    assert [e.rsplit(":", 1)[0] for e in seen] == [r.ip]


def test_who_reaches_all_over_ipv6_learns_of_his_ipv4_nat_and_is_direct_with_those_who_have_no_ipv6(lab):
    """His neighbours have both families and see him over IPv6; they are asked by STUN over IPv4."""
    roots = [lab.host(f"root{i}") for i in range(2)]
    both, r = member_behind(lab, "both")
    leg6 = next(lab.networks)
    run("ip", "link", "add", f"v{leg6}", "netns", f"{lab.tag}inet", "type", "veth", "peer", "name", "eth6", "netns", both.ns)
    lab.inet("sh", "-c", f"ip addr add 2001:db8:{leg6:x}::1/64 dev v{leg6} nodad; ip link set v{leg6} up")
    both.sh("sh", "-c", "sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.eth6.disable_ipv6=0 && "
                        f"ip addr add 2001:db8:{leg6:x}::2/64 dev eth6 nodad && ip link set eth6 up && "
                        f"ip -6 route add default via 2001:db8:{leg6:x}::1")
    four, _ = member_behind(lab, "four")
    for i in range(9):  # as of containers: more addresses than are told of
        four.sh("sh", "-c", f"ip link add br{i} type bridge && ip addr add 172.{17 + i}.0.1/16 dev br{i} && ip link set br{i} up")
    blob = lab.psk_blob("dual", "--bootstrap", f"{roots[0].ip}:4747,[{roots[0].ip6}]:4747")
    for h in (*roots, both, four):
        h.start()
        h.join(blob, hostname=h.name)
    for root in roots:
        wait_for("IPv6", lambda: "2001:db8:" in (both.peer(root.name) or {}).get("endpoint", ""), 15)
    wait_for("a direct path", lambda: both.ping(four.address(), wait=1, check=False) and
             (both.peer("four") or {}).get("path") == "direct", 15)
    assert four.json("netcheck")["endpoints"][0] == f"{four.ip}:4747"
    netcheck = both.json("netcheck")["nat"]
    assert netcheck["mapping"] == "endpoint-independent" and f"{r.ip}:4747" in netcheck["reflexive"], netcheck

"""Sites behind the kernel's own NATs, and links with delay, loss and a rate.

A site is a router in a namespace of its own, one leg on the lab's Internet, one on a LAN, which at
every site is 192.168.1.0/24, as at home. Like home routers they drop what comes unsolicited from
outside, without an answer; otherwise the early probe of one side would make a connection-tracking
entry at the other side's router, and take the port from the packet that was to use it.
"""

import os

from lab import Host, run, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
_MASQUERADE = {"preserving": "masquerade", "random": "masquerade random,fully-random"}


def _rules(kind, udp, only_tcp):
    """The router's table: what is from outside and no answer is dropped; kind of port allocation; UDP out or not; to one TCP port only."""
    return f"""
table ip lab {{
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname eth0 ct state established,related accept
        iifname eth0 drop
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        {"" if udp else "meta l4proto udp drop"}
        {f"iifname lan tcp dport != {only_tcp} drop" if only_tcp else ""}
        iifname eth0 ct status dnat accept
        iifname eth0 ct state established,related accept
        iifname eth0 drop
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname eth0 {_MASQUERADE[kind]}
    }}
}}
"""


def no_ipv6(host):
    host.sh("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")


def _lan(router, net, isolated):
    """The router's LAN bridge; isolated ports reach the router only."""
    router.lan_net, router.isolated = net, isolated
    router.sh("sh", "-c", f"sysctl -qw net.ipv4.ip_forward=1 && ip link add lan type bridge && "
                          f"ip addr add {net}.1/24 dev lan && ip link set lan up")


def router(lab, name, kind="preserving", udp=True, isolated=False, behind=None, net="192.168.1", only_tcp=None):
    """A NAT router on the Internet, or on the LAN of another one. Its legs: eth0 outside, lan inside."""
    if behind is None:
        r = lab.host(name)
    else:
        r = member(behind, name, 9)
    no_ipv6(r)
    _lan(r, net, isolated)
    rules(r, kind, udp, only_tcp)
    return r


def rules(r, kind="preserving", udp=True, only_tcp=None):
    r.sh("nft", "-f", "-", input=_rules(kind, udp, only_tcp))


def member(r, name, last):
    """A host on the router's LAN, without IPv6."""
    lab, net = r.lab, r.lan_net
    h = lab.hosts[name] = Host(lab, name)
    no_ipv6(h)
    port = f"p{last}"
    run("ip", "link", "add", port, "netns", r.ns, "type", "veth", "peer", "name", "eth0", "netns", h.ns)
    r.sh("sh", "-c", f"ip link set {port} master lan up" + (f" && bridge link set dev {port} isolated on" if r.isolated else ""))
    h.sh("sh", "-c", f"ip addr add {net}.{last}/24 dev eth0 && ip link set eth0 up && ip route add default via {net}.1")
    h.ip = f"{net}.{last}"
    return h


def reboot(r, kind="preserving", udp=True):
    """The router forgets every mapping, as when its power was off."""
    r.sh("sh", "-c", "nft flush ruleset; conntrack -F 2>/dev/null")
    rules(r, kind, udp)


def _link_program(lab):
    path = os.path.join(lab.dir, "link")
    if not os.path.exists(path):
        run("cc", "-O2", "-o", path, os.path.join(HERE, "link.c"))
    return path


def slow_host(lab, name, delay_ms=0, loss=0, mbit=0, seconds=60):
    """A host whose link to the Internet is slow: delay_ms each way, per cent lost, megabits per second."""
    n = next(lab.networks)
    h = lab.hosts[name] = Host(lab, name)
    h.link = h.spawn(_link_program(lab), f"{lab.tag}inet", f"v{n}", h.ns, "eth0", str(delay_ms), str(loss), str(mbit),
                     str(seconds), log="link.log")
    wait_for("the link is ready", lambda: "ready" in h.link.log(), 5)
    lab.inet("sh", "-c", f"ip addr add 198.51.{n}.1/24 dev v{n}; ip -6 addr add 2001:db8:{n:x}::1/64 dev v{n} nodad; "
                         f"ip link set v{n} up")
    lab._address(h, f"198.51.{n}.2", f"2001:db8:{n:x}::2", f"198.51.{n}.1", f"2001:db8:{n:x}::1")
    return h

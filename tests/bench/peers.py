"""The programs that tests/bench/run compares, each as Debian has it: how two ends are set up and started.

Every peer gets two hosts on one cable. `prepare` makes keys and configuration; `start` starts both ends and gives
their virtual devices addresses; after that `processes` are the two ends whose cost counts. Ciphers are each
program's best that needs no patch; the inner MTU is 1400 wherever there is a knob for it.
"""

import contextlib
import os
import secrets

from lab import wait_for

PORT = 4700
INNER = {"a": "10.99.0.1", "b": "10.99.0.2"}


class Peer:
    name, packages = None, ()

    def __init__(self, a, b):
        self.hosts, self.processes = (a, b), []
        self.tag = f"b{os.getpid() % 100000}"  # device names that are unique on the machine

    def other(self, host):
        return self.hosts[1 - self.hosts.index(host)]

    def path(self, host, *names):
        return os.path.join(host.dir, *names)

    def write(self, host, name, text, mode=0o600):
        os.makedirs(os.path.dirname(self.path(host, name)), exist_ok=True)
        with open(self.path(host, name), "w") as f:
            f.write(text)
        os.chmod(self.path(host, name), mode)
        return self.path(host, name)

    def daemon(self, host, *argv, env=None):
        self.processes.append(host.spawn(*argv, log=f"{self.name}.log", env=env))

    def address(self, host):
        return INNER[host.name]

    def device_up(self, host, device, mtu=1400):
        """Waits for the device that the program makes, and gives it its address."""
        wait_for(f"{self.name}'s device", lambda: host.sh("ip", "link", "show", device, check=False).returncode == 0,
                 10, 0.005)
        host.sh("ip", "addr", "replace", f"{INNER[host.name]}/24", "dev", device)
        host.sh("ip", "link", "set", device, "mtu", str(mtu), "up")

    def prepare(self):
        pass

    def start(self):
        raise NotImplementedError

    def clean(self):
        """What is left outside the hosts' own folders when the processes are gone."""


class Peal(Peer):
    """The daemons join a group first, and are started again: what is measured is an ordinary start."""

    name = "peal"

    def prepare(self):
        a, b = self.hosts
        blob = a.lab.psk_blob("bench", "--bootstrap", f"{a.ip}:4747")
        for h in self.hosts:
            h.start()
            h.join(blob, hostname=h.name)
        self.addresses = {h.name: h.address() for h in self.hosts}
        for h in self.hosts:
            h.stop()

    def start(self):
        for h in self.hosts:
            self.processes.append(h.start(wait=False))

    def address(self, host):
        return self.addresses[host.name]


class Tinc(Peer):
    name, packages = "tinc", ("tinc",)
    settle_s = 6  # it finds the path's MTU before it sends full packets over UDP

    def prepare(self):
        for h in self.hosts:
            self.write(h, "tinc/tinc.conf", f"Name = {h.name}\nDevice = /dev/net/tun\nInterface = tinc0\n"
                       f"AddressFamily = ipv4\nProcessPriority = normal\nConnectTo = {self.other(h).name}\n")
            self.write(h, f"tinc/hosts/{h.name}", f"Address = {h.ip} {PORT}\nPort = {PORT}\n"
                       f"Subnet = {INNER[h.name]}/32\n")
            h.sh("tincd", "-c", self.path(h, "tinc"), "-K2048", stdin=-3)
        for h in self.hosts:
            with open(self.path(h, "tinc/hosts", h.name)) as f:
                self.write(self.other(h), f"tinc/hosts/{h.name}", f.read())

    def start(self):
        for h in self.hosts:
            self.daemon(h, "tincd", "-c", self.path(h, "tinc"), "-D", "--pidfile", self.path(h, "tinc.pid"))
        for h in self.hosts:
            self.device_up(h, "tinc0")


class N2n(Peer):
    """Both register at a supernode, which sees no payload once they know each other."""

    name, packages = "n2n", ("n2n",)
    settle_s = 3

    def start(self):
        a = self.hosts[0]
        a.spawn("supernode", "-l", str(PORT + 1), log="supernode.log")
        for h in self.hosts:
            self.daemon(h, "edge", "-d", "n2n0", "-a", INNER[h.name], "-s", "255.255.255.0", "-c", "bench", "-k",
                        "benchkey", "-l", f"{a.ip}:{PORT + 1}", "-p", str(PORT), "-u", "0", "-g", "0")
        for h in self.hosts:
            self.device_up(h, "n2n0")


class Fastd(Peer):
    name, packages = "fastd", ("fastd",)

    def prepare(self):
        keys = {}
        for h in self.hosts:
            secret = h.sh("fastd", "--generate-key", "--machine-readable").stdout.strip()
            conf = self.write(h, "key.conf", f'secret "{secret}";\n')
            keys[h.name] = secret, h.sh("fastd", "-c", conf, "--show-key", "--machine-readable").stdout.strip()
        for h in self.hosts:
            o = self.other(h)
            self.write(h, "fastd.conf", f'log level warn;\nmode tap;\ninterface "fastd0";\nmtu 1400;\n'
                       f'method "salsa2012+umac";\nbind {h.ip}:{PORT};\nsecret "{keys[h.name][0]}";\n'
                       f'peer "{o.name}" {{ key "{keys[o.name][1]}"; remote {o.ip}:{PORT}; }}\n')

    def start(self):
        for h in self.hosts:
            self.daemon(h, "fastd", "-c", self.path(h, "fastd.conf"))
        for h in self.hosts:
            self.device_up(h, "fastd0")


class Nebula(Peer):
    name, packages = "nebula", ("nebula",)

    def prepare(self):
        a = self.hosts[0]
        ca = self.path(a, "ca")
        a.sh("nebula-cert", "ca", "-name", "bench", "-out-crt", f"{ca}.crt", "-out-key", f"{ca}.key")
        for h in self.hosts:
            o, base = self.other(h), self.path(h, "nebula")
            h.sh("nebula-cert", "sign", "-ca-crt", f"{ca}.crt", "-ca-key", f"{ca}.key", "-name", h.name, "-ip",
                 f"{INNER[h.name]}/24", "-out-crt", f"{base}.crt", "-out-key", f"{base}.key")
            self.write(h, "nebula.yml", f"""
pki: {{ca: {ca}.crt, cert: {base}.crt, key: {base}.key}}
static_host_map: {{"{INNER[o.name]}": ["{o.ip}:{PORT}"]}}
lighthouse: {{am_lighthouse: false}}
listen: {{host: {h.ip}, port: {PORT}, batch: 64, read_buffer: 4194304, write_buffer: 4194304}}
punchy: {{punch: false}}
cipher: aes
tun: {{dev: nebula0, mtu: 1400, tx_queue: 500}}
logging: {{level: warning}}
firewall:
  outbound: [{{port: any, proto: any, host: any}}]
  inbound: [{{port: any, proto: any, host: any}}]
""")

    def start(self):
        for h in self.hosts:
            self.daemon(h, "nebula", "-config", self.path(h, "nebula.yml"))


class WireguardGo(Peer):
    name, packages = "wireguard-go", ("wireguard-go", "wireguard-tools")

    def device(self, host):
        return f"{self.tag}{host.name}"  # its control socket's name, for the whole machine

    def prepare(self):
        self.keys = {}
        for h in self.hosts:
            key = h.sh("wg", "genkey").stdout
            self.write(h, "wg.key", key)
            self.keys[h.name] = h.sh("wg", "pubkey", input=key).stdout.strip()

    def start(self):
        for h in self.hosts:
            self.daemon(h, "wireguard-go", "-f", self.device(h), env={**os.environ, "WG_I_PREFER_BUGGY_USERSPACE_TO_"
                                                                      "POLISHED_KMOD": "1", "LOG_LEVEL": "error"})
        for h in self.hosts:
            o, device = self.other(h), self.device(h)
            wait_for("wireguard-go's control socket",
                     lambda: os.path.exists(f"/var/run/wireguard/{device}.sock"), 10, 0.005)
            h.sh("wg", "set", device, "listen-port", str(PORT), "private-key", self.path(h, "wg.key"), "peer",
                 self.keys[o.name], "endpoint", f"{o.ip}:{PORT}", "allowed-ips", f"{INNER[o.name]}/32")
            self.device_up(h, device)


    def clean(self):
        for h in self.hosts:
            with contextlib.suppress(FileNotFoundError):
                os.remove(f"/var/run/wireguard/{self.device(h)}.sock")
        with contextlib.suppress(OSError):
            os.rmdir("/var/run/wireguard")


class Openvpn(Peer):
    """Two equal ends under TLS with one another's fingerprint; AES-256-GCM."""

    name, packages = "openvpn", ("openvpn", "openssl")

    def prepare(self):
        prints = {}
        for h in self.hosts:
            key, cert = self.path(h, "ovpn.key"), self.path(h, "ovpn.crt")
            h.sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={h.name}")
            prints[h.name] = h.sh("openssl", "x509", "-in", cert, "-noout", "-fingerprint",
                                  "-sha256").stdout.strip().split("=")[1]
        for h in self.hosts:
            o = self.other(h)
            self.write(h, "ovpn.conf", f"""
dev ovpn0
dev-type tun
local {h.ip}
lport {PORT}
remote {o.ip} {PORT} udp
ifconfig {INNER[h.name]} {INNER[o.name]}
{"tls-server" if h is self.hosts[0] else "tls-client"}
dh none
cert {self.path(h, "ovpn.crt")}
key {self.path(h, "ovpn.key")}
peer-fingerprint {prints[o.name]}
data-ciphers AES-256-GCM
tun-mtu 1400
mssfix 0
fast-io
txqueuelen 500
verb 1
""")

    def start(self):
        for h in self.hosts:
            self.daemon(h, "openvpn", "--config", self.path(h, "ovpn.conf"))


class Forwarder(Peer):
    """A bare forwarder without handshake, peers or timers: what the technique alone can do. Any program that takes
    -d DEVICE -l OWN:PORT -r OTHER:PORT -k KEY and further options of its own."""

    name, command = "bare forwarder", ()
    key = secrets.token_hex(32)

    def start(self):
        for h in self.hosts:
            self.daemon(h, *self.command, "-d", "fwd0", "-l", f"{h.ip}:{PORT}", "-r", f"{self.other(h).ip}:{PORT}",
                        "-k", self.key)
        for h in self.hosts:
            self.device_up(h, "fwd0")


DEBIAN = {p.name: p for p in (Tinc, N2n, Fastd, Nebula, WireguardGo, Openvpn)}

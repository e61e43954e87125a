"""Real programs in network namespaces: an emulated Internet with hosts on it, peald, peal, peal-ca.

A Lab makes everything under a tag of its own and removes exactly that. Hosts sit each on a network
of its own behind one router ("internet"), or together on a LAN (a bridge in the router's namespace).
Every wait has an end, every process is killed by its pid.
"""

import contextlib
import itertools
import json
import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("PEAL_BUILD", os.path.join(TOP, "build"))
_numbers = itertools.count(1)


def binary(name):
    return os.path.join(BUILD, "bin", name)


def run(*argv, check=True, timeout=30, **kw):
    """Runs to the end; stdout and stderr as text."""
    r = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, **kw)
    if check and r.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: exit {r.returncode}\n{r.stdout}{r.stderr}")
    return r


def wait_for(what, condition, timeout=20, every=0.05):
    """Polls until condition() is true and returns its value; fails with `what` after timeout seconds."""
    end = time.monotonic() + timeout
    while True:
        last = time.monotonic() > end  # looked at once more after the time: this process may have stood still itself
        value = condition()
        if value:
            return value
        if last:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(every)


def ping_argv(to, count, wait, interval):
    """Waits for the last answer, too: once one came, -W is nothing to ping, and it ends an interval or two round trips
    after the last request. With -w it waits, and sends more meanwhile, which ping_answers leaves out."""
    end = ("-w", str(math.ceil(count * interval + wait))) if count > 1 else ("-W", str(wait))
    return "ping", "-n", "-c", str(count), "-i", str(interval), *end, to


def ping_answers(text, count):
    """Round trips in ms of the first `count` requests, as far as they were answered."""
    return [float(ms) for number, ms in re.findall(r" icmp_seq=(\d+) .*time=([0-9.]+)", text) if int(number) <= count]


class Process:
    """A program of ours in the background, its output in a file."""

    def __init__(self, argv, log, env=None):
        self.log_path = log
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=env)

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def stop(self, sig=signal.SIGTERM, timeout=10):
        """Sends the signal and waits; returns the exit status."""
        if self.alive():
            self.popen.send_signal(sig)
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(5)
            raise AssertionError(f"pid {self.pid} did not end within {timeout} s of signal {sig}")


class Host:
    """One machine: a namespace, perhaps with a peald."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.ns = f"{lab.tag}{name}"
        self.ip = self.ip6 = None
        self.daemon = None
        run("ip", "netns", "add", self.ns)
        self.sh("ip", "link", "set", "lo", "up")
        self.dir = os.path.join(lab.dir, name)
        os.mkdir(self.dir)
        self.socket = os.path.join(self.dir, "ctl.sock")
        self.state = os.path.join(self.dir, "state")
        self.config = os.path.join(self.dir, "peald.conf")

    def argv(self, *argv):
        return ("ip", "netns", "exec", self.ns) + argv

    def sh(self, *argv, **kw):
        return run(*self.argv(*argv), **kw)

    def spawn(self, *argv, log="spawn.log", env=None):
        p = Process(self.argv(*argv), os.path.join(self.dir, log), env)
        self.lab.processes.append(p)
        return p

    # -- peald and peal

    def start(self, config="", wait=True, args=(), wrap=()):
        """peald with the given lines of [daemon] and [network ...] configuration; wrap: a command before it."""
        with open(self.config, "w") as f:
            f.write(config)
        self.daemon = self.spawn(*wrap, binary("peald"), "--config", self.config, "--state", self.state, "--socket",
                                 self.socket, *args, log="peald.log")
        if wait:
            wait_for(f"{self.name}: control socket", self.answers, 30)
        return self.daemon

    def answers(self):
        assert self.daemon.alive(), f"{self.name}: peald ended:\n{self.daemon.log()}"
        return os.path.exists(self.socket) and self.peal("status", check=False).returncode == 0

    def stop(self, sig=signal.SIGTERM, timeout=10):
        return self.daemon.stop(sig, timeout)

    def peal(self, *args, check=True, timeout=30, **kw):
        return self.sh(binary("peal"), "--socket", self.socket, *args, check=check, timeout=timeout, **kw)

    def json(self, *args, **kw):
        return json.loads(self.peal(*args, "--json", **kw).stdout)

    def network(self, name=None):
        """The network's part of `peal status`, or None."""
        nets = self.json("status")["networks"]
        return next((n for n in nets if name is None or n["name"] == name), None)

    def join(self, blob, wait=20, **options):
        args = [f"--{k}={v}" for k, v in options.items()]
        return self.peal("join", blob, f"--wait={wait}", *args, timeout=wait + 15)

    def address(self, name=None):
        n = self.network(name)
        return n["ipv4"].split("/")[0] if n and n["ipv4"] else None

    def address6(self, name=None):
        n = self.network(name)
        return n["ipv6"].split("/")[0] if n and n["ipv6"] else None

    def up(self, name=None):
        n = self.network(name)
        return n is not None and n["state"] == "up"

    def ring(self):
        """Ids of our near neighbours, left and right together."""
        near = self.network()["neighbours"]
        return set(near["left"]) | set(near["right"])

    def peer(self, hostname):
        return next((p for p in self.json("peers")["peers"] if p["hostname"] == hostname), None)

    def ping(self, to, count=1, wait=3, interval=0.2, check=True):
        """Round trips in ms of the pings that were answered."""
        r = self.sh(*ping_argv(to, count, wait, interval), check=False, timeout=count * interval + wait + 10)
        rtts = ping_answers(r.stdout, count)
        if check:
            assert len(rtts) == count, f"{self.name} to {to}: {len(rtts)} of {count} answered\n{r.stdout}{r.stderr}"
        return rtts

    def resolver(self, server, search=None):
        """What /etc/resolv.conf is for programs in this namespace."""
        etc = f"/etc/netns/{self.ns}"
        while not os.path.isdir(etc):
            with contextlib.suppress(FileNotFoundError):  # another lab that ends takes the empty parent away
                os.makedirs(etc, exist_ok=True)
        with open(f"{etc}/resolv.conf", "w") as f:
            f.write(f"nameserver {server}\noptions timeout:2 attempts:2\n")
            if search:
                f.write(f"search {search}\n")


class Ca:
    """A peal-ca on a host, driven by its command line."""

    def __init__(self, host, port=8443):
        self.host, self.port = host, port
        self.data = os.path.join(host.dir, "ca")
        self.process = None
        self.wrap = ()  # a command before each of its programs
        self.password = os.path.join(host.dir, "password")
        with open(self.password, "w") as f:
            f.write("correct horse battery\n")

    def start(self):
        path = os.path.join(self.host.dir, "ca.log")
        before = os.path.getsize(path) if os.path.exists(path) else 0
        self.process = self.host.spawn(*self.wrap, binary("peal-ca"), "serve", "--data", self.data, "--listen",
                                       f"{self.host.ip}:{self.port}", log="ca.log")

        def listens():
            """It says so after all else that it says at its start; it answers earlier."""
            assert self.process.alive(), self.process.log()
            return "listening on" in self.process.log()[before:]
        wait_for("peal-ca listens", listens, 15)
        return self

    def stop(self):
        return self.process.stop()

    def __call__(self, *args, **kw):
        return self.host.sh(*self.wrap, binary("peal-ca"), *args, "--data", self.data, **kw)

    def group(self, name, bootstrap, ipv4="10.77.0.0/16", owner="admin", *args):
        self("user", "add", owner, "--email", f"{owner}@example.net", "--password-file", self.password, "--admin",
             check=False)
        self("group", "add", name, "--owner", owner, "--ipv4", ipv4, "--bootstrap", bootstrap, *args)

    def blob(self, group, user):
        """A new user, approved; the path of the blob."""
        self("user", "add", user, "--email", f"{user}@example.net", "--password-file", self.password, check=False)
        self("member", "request", group, user, "--reason", "lab")
        self("member", "approve", group, user)
        return self.again(group, user)

    def again(self, group, user):
        """One more blob of an approved member."""
        path = os.path.join(self.host.dir, f"{group}-{user}-{next(_numbers)}.peal")
        with open(path, "w") as f:
            f.write(self("blob", group, user).stdout)
        os.chmod(path, 0o600)
        return path


class Lab:
    def __init__(self):
        self.tag = f"peal{os.getpid() % 100000}x{next(_numbers)}-"
        self.dir = tempfile.mkdtemp(prefix="peal-lab-")
        self.hosts, self.processes = {}, []
        self.networks = itertools.count(1)
        run("ip", "netns", "add", f"{self.tag}inet")
        self.inet("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        self.inet("ip", "link", "set", "lo", "up")

    def inet(self, *argv, **kw):
        """A command on the router."""
        return run("ip", "netns", "exec", f"{self.tag}inet", *argv, **kw)

    def host(self, name):
        """A host on a network of its own: 198.51.N.2 and 2001:db8:N::2, the router being .1."""
        n = next(self.networks)
        h = self.hosts[name] = Host(self, name)
        run("ip", "link", "add", f"v{n}", "netns", f"{self.tag}inet", "type", "veth", "peer", "name", "eth0", "netns",
            h.ns)
        self.inet("ip", "addr", "add", f"198.51.{n}.1/24", "dev", f"v{n}")
        self.inet("ip", "addr", "add", f"2001:db8:{n:x}::1/64", "dev", f"v{n}", "nodad")
        self.inet("ip", "link", "set", f"v{n}", "up")
        self._address(h, f"198.51.{n}.2", f"2001:db8:{n:x}::2", f"198.51.{n}.1", f"2001:db8:{n:x}::1")
        return h

    def lan(self, name, number):
        """A bridge on the router: the LAN 203.0.NUMBER.0/24 and 2001:db8:ff:NUMBER::/64."""
        self.inet("ip", "link", "add", name, "type", "bridge")
        self.inet("ip", "addr", "add", f"203.0.{number}.1/24", "dev", name)
        self.inet("ip", "addr", "add", f"2001:db8:ff:{number:x}::1/64", "dev", name, "nodad")
        self.inet("ip", "link", "set", name, "up")

    def lan_host(self, name, lan, number, last):
        """A host on that LAN, with last in its addresses."""
        h = self.hosts[name] = Host(self, name)
        run("ip", "link", "add", f"{lan}{last}", "netns", f"{self.tag}inet", "type", "veth", "peer", "name", "eth0",
            "netns", h.ns)
        self.inet("ip", "link", "set", f"{lan}{last}", "master", lan, "up")
        self._address(h, f"203.0.{number}.{last}", f"2001:db8:ff:{number:x}::{last:x}", f"203.0.{number}.1",
                      f"2001:db8:ff:{number:x}::1")
        return h

    def _address(self, h, ip, ip6, gateway, gateway6):
        h.sh("ip", "addr", "add", f"{ip}/24", "dev", "eth0")
        h.sh("ip", "addr", "add", f"{ip6}/64", "dev", "eth0", "nodad")
        h.sh("ip", "link", "set", "eth0", "up")
        h.sh("ip", "route", "add", "default", "via", gateway)
        h.sh("ip", "-6", "route", "add", "default", "via", gateway6)
        h.ip, h.ip6 = ip, ip6

    def psk_blob(self, name, *args):
        """A pre-exchanged-key group, with a range of its own; the path of its blob."""
        n = next(_numbers)
        path = os.path.join(self.dir, f"{name}-{n}.peal")
        if "--ipv4" not in args:  # one that is drawn may be that of another group of the same host
            args += ("--ipv4", f"10.{64 + n % 128}.0.0/16")
        with open(path, "w") as f:
            f.write(run(binary("peal"), "new", name, *args).stdout)
        os.chmod(path, 0o600)
        return path

    def logs(self):
        return {p.log_path: p.log() for p in self.processes}

    def close(self):
        for p in self.processes:
            with contextlib.suppress(ProcessLookupError):
                p.popen.kill()
        for p in self.processes:
            p.popen.wait(30)
        for ns in [h.ns for h in self.hosts.values()] + [f"{self.tag}inet"]:
            for pid in run("ip", "netns", "pids", ns, check=False).stdout.split():  # what our processes started
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            run("ip", "netns", "del", ns, check=False)
            shutil.rmtree(f"/etc/netns/{ns}", ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir("/etc/netns")
        shutil.rmtree(self.dir, ignore_errors=True)

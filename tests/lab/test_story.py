"""The whole way of a group, by its pages and by what its members' machines do: set up, register, make a group, ask,
approve, take the file, join, talk, revoke. The person's browser is on the member's machine; it runs no script."""

import os
import re
import urllib.parse

from ca_client import FORM, Forms
from lab import Ca, wait_for

PASSWORD = "correct horse battery"


class Page:
    def __init__(self, head, body):
        lines = head.decode().splitlines()
        self.status = int(lines[0].split()[1])
        self.headers = [line.partition(": ")[::2] for line in lines[1:]]
        self.text = body.decode()

    def header(self, name):
        return [v for n, v in self.headers if n.lower() == name]


class Person:
    """A browser on a host: curl fetches, forms are filled in, redirects followed by hand."""

    def __init__(self, host, url):
        self.host, self.url, self.cookies, self.page = host, url, {}, None

    def ask(self, path, *options):
        cookies = "; ".join(f"{n}={v}" for n, v in self.cookies.items())
        out = os.path.join(self.host.dir, "page")
        self.host.sh("curl", "-sk", "-D", out + ".head", "-o", out, *(("-H", f"Cookie: {cookies}") if cookies else ()),
                     *options, self.url + path)
        with open(out + ".head", "rb") as head, open(out, "rb") as body:
            self.page = Page(head.read(), body.read())
        for cookie in self.page.header("set-cookie"):
            name, value = cookie.split(";")[0].split("=")
            self.cookies[name] = value
        return self.page

    def go(self, path):
        page = self.ask(path)
        assert page.status == 200, page.text
        return page

    def submit(self, action, **values):
        """Fills in the form of this page, and goes where the answer sends."""
        fields = next(f["fields"] for f in Forms(self.page.text).forms if f["action"] == action)
        page = self.ask(action, "-H", f"Content-Type: {FORM}", "-H", f"Origin: {self.url}", "--data-raw",
                        urllib.parse.urlencode({**fields, **values}))
        return self.go(page.header("location")[0]) if page.status == 303 else page


def network(host):
    return host.json("status")["networks"][0]


def test_from_the_set_up_link_to_the_silence_after_the_removal(lab):
    ca = Ca(lab.host("ca"))
    a, b = lab.host("a"), lab.host("b")
    ca.start()
    with open(os.path.join(ca.host.dir, "ca.log"), encoding="ascii") as f:
        link = re.search(r"/setup/[\w-]+", f.read()).group(0)
    url = f"https://{ca.host.ip}:{ca.port}"
    root, bob = Person(a, url), Person(b, url)

    root.go(link)
    root.submit(link, name="root", email="root@example.org", password=PASSWORD)
    root.go("/new-group")
    root.submit("/new-group", name="lab", ipv4="10.77.0.0/16", bootstrap=f"{a.ip}:4747")

    bob.go("/")
    bob.submit("/register", name="bob", email="bob@example.org", password=PASSWORD)
    bob.go("/groups/lab/join")
    bob.submit("/groups/lab/join", reason="third floor")
    assert "third floor" in root.go("/groups/lab").text
    assert "Approved." in root.submit("/groups/lab/approve", user="bob", note="welcome").text

    for person, host in ((root, a), (bob, b)):
        person.go("/groups/lab/blob")
        file = os.path.join(host.dir, "lab.peal")
        with open(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
            f.write(person.submit("/groups/lab/blob").text)
        host.start()
        host.join(file, hostname=host.name)
    for host in (a, b):
        wait_for("up", lambda h=host: network(h)["state"] == "up", 30)
    assert b.sh("ping", "-c1", "-W5", a.address(), check=False).returncode == 0
    assert "Known to" not in root.go("/groups/lab").text

    to_b = b.address()
    pings = a.spawn("ping", "-i", "0.2", to_b, log="ping.log")
    wait_for("a reaches b", lambda: "bytes from" in pings.log(), 10)
    wait_for("a asks for removals", lambda: network(a)["removals"]["watching"], 20)
    root.go("/groups/lab/revoke?user=bob")
    assert "Removed." in root.submit("/groups/lab/revoke", note="left the house").text
    wait_for("b knows", lambda: network(b)["state"] == "removed", 5)
    assert a.sh("ping", "-c2", "-W1", to_b, check=False).returncode != 0
    wait_for("the page shows that a knows", lambda: "1 of 1 machines" in root.go("/groups/lab").text, 10)
    bob.go("/groups/lab/join")
    assert "You were removed" in bob.page.text and "left the house" in bob.page.text

"""A group's life in a real browser: set up, register, ask, approve, take the file, be removed.

The browser is on the machine of bob, on an emulated Internet where root's two machines and his run peald with the files
that the browser downloads: they join, talk, and hear of the removal. Every page is looked at on a phone and on a desk,
light and dark (the pictures stay in the output directory), and axe-core must find nothing serious. Then once more the
same without scripts, and once by keyboard alone.
"""

import base64
import contextlib
import ctypes
import hmac
import json
import os
import re
import shutil
import signal
import tempfile
import time

import pytest
from ca_client import Ca, Key, enrol
from chromium import OUT, Chromium, axe_source
from lab import Ca as LabCa
from lab import Lab, wait_for
from selenium.webdriver.common.keys import Keys

CLICKS_MAX = 10  # from the first visit to a file in hand
CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def within(namespace):
    """This thread, and what it starts, is in that network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(path):
        with open(path, "rb") as f:
            assert libc.setns(f.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())

    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        enter(f"/run/netns/{namespace}")
        yield
    finally:
        enter(f"/proc/self/fd/{before}")
        os.close(before)


class World:
    """The service and three machines: two of root's, and bob's, on which the browser runs."""

    def __init__(self, folder):
        self.folder, self.lab = folder, Lab()
        self.ca = LabCa(self.lab.host("ca"))
        self.ours, self.bobs = [self.lab.host("a"), self.lab.host("c")], self.lab.host("b")
        self.url = f"https://{self.ca.host.ip}:{self.ca.port}"
        self.bootstrap = f"{self.ours[0].ip}:4747"
        self.ca.start()

    def setup_link(self):
        return re.search(r"https://\S+/setup/[\w-]+", self.ca.process.log()).group(0)

    def join(self, host, blob):
        path = os.path.join(host.dir, "lab.peal")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as f:
            f.write(blob)
        host.start()
        host.join(path, hostname=host.name)
        wait_for(f"{host.name} is up", host.up, 30)

    def survey(self):
        """One of root's machines is told to map the ring, now that all are in it and it is whole."""
        wait_for("the ring is whole", self.whole)
        with open(self.ours[0].config, "w", encoding="ascii") as f:
            f.write("[network lab]\nmap = yes\n")
        self.ours[0].peal("reload")

    def whole(self):
        ring = self.ours[0].json("crawl", check=False)
        return ring.get("inconsistent") == 0 and len(ring["nodes"]) == 3

    def mapped(self):
        return json.loads(self.ca("group", "map", "lab", "--json").stdout)["map"]


@pytest.fixture
def folder():
    path = tempfile.mkdtemp(prefix="peal-test-browser-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def world(folder, request):
    axe_source()  # from the real network
    made = World(folder)
    try:
        with within(made.bobs.ns):
            yield made
    finally:
        os.makedirs(OUT, exist_ok=True)
        with open(os.path.join(OUT, f"{request.node.name}.log"), "w", encoding="utf-8") as f:
            f.writelines(f"--- {path}\n{text}" for path, text in made.lab.logs().items())
        made.lab.close()


@pytest.fixture
def ca(folder):
    made = Ca(os.path.join(folder, "data")).start()
    yield made
    made.stop(signal.SIGKILL)


@pytest.fixture
def chromium(folder):
    made = Chromium(folder)
    yield made
    made.close()


def sign_up(browser, button, name, password="correct horse battery"):
    """The last form of the page that has these fields: on the first page that is the one for registering."""
    for label, value in (("User name", name), ("E-mail", name + "@example.org"), ("Password", password)):
        fields = [e for e in browser.all("label") if e.text.strip() == label]
        form = fields[-1].get_attribute("for")
        browser.driver.find_element("id", form).send_keys(value)
    browser.click(button)


def administer(browser, url, look):
    """Roles, settings, and an invitation that carol uses."""
    browser.go(url + "/groups/lab")
    browser.click("Roles")
    browser.fill("User name", "bob")
    browser.select("Role", "Auditor")
    browser.click("Give the role")
    browser.sees("The role was changed.", "auditor")
    look("roles")
    browser.click("Settings")
    browser.fill("Address leases, in hours", "0")
    browser.click("Save")
    browser.sees("A number is missing")
    browser.fill("Address leases, in hours", "12")
    browser.select("Who may see whom", "Members see each other")
    browser.click("Save")
    browser.sees("Saved.")
    look("settings")
    browser.click("Roll over to a new CA")
    browser.sees("A new CA signs from now on", "trusted", "signs")
    look("rolled-over")
    browser.click("End the old CA now")
    browser.sees("The old CA has ended")
    browser.click("Invitations")
    browser.fill("For whom", "Carol")
    browser.click("Make a link")
    link = re.search(r"https://\S+/invite/[\w-]+", browser.text()).group(0)
    look("invitation-made")
    assert browser.read_qr().strip() == link
    browser.become("carol")
    browser.go(link)
    look("invite")
    sign_up(browser, "Register", "carol")
    browser.sees("You are invited to lab")
    browser.click("Join")
    browser.sees("You are a member.")
    browser.go(link)
    browser.sees("ask for a new one")
    browser.become("root")
    browser.go(url + "/groups/lab/invitations")
    browser.sees("There is none.")


def app_code(base32):
    """What an authenticator app shows (RFC 6238)."""
    mac = hmac.digest(base64.b32decode(base32), int(time.time() // 30).to_bytes(8, "big"), "sha1")
    at = mac[19] & 15
    return f"{(int.from_bytes(mac[at:at + 4], 'big') & 0x7fffffff) % 1000000:06}"


def second_factor(browser, url, look):
    """bob turns it on, logs in with it, uses a recovery code, makes a token."""
    browser.go(url + "/account")
    look("account")
    browser.click("Turn on")
    look("factor")
    key = re.search(r"secret=([A-Z2-7]+)", browser.read_qr()).group(1)
    browser.sees(key)
    browser.fill("Code", "12345")
    browser.click("Turn on")
    browser.sees("The code is wrong", key)
    used = app_code(key)
    browser.fill("Code", used)
    browser.click("Turn on")
    look("recovery-codes")
    codes = [e.text for e in browser.all(".codes code")]
    assert len(codes) == 10
    browser.click("Done")
    browser.sees("Recovery codes left: 10")
    browser.click("Log out")
    for code, seen in ((used, "wrong, or has been used"), (codes[0], "Groups")):
        browser.go(url)
        browser.fill("User name", "bob")
        browser.fill("Password", "correct horse battery")
        browser.click("Log in")
        browser.sees("One more step")
        browser.fill("Code", code)
        browser.click("Log in")
        browser.sees(seen)
    browser.go(url + "/account/tokens")
    browser.fill("What the token is for", "a script")
    browser.click("Make a token")
    browser.sees("peal_", "a script")
    look("tokens")


def take_file(world, browser, url):
    """Adds a machine: the file of it, as it is downloaded."""
    browser.go(url + "/groups/lab")
    browser.click("Add a machine")
    browser.click("Download", leaves=False)
    return browser.downloaded("lab*.peal")


def removal_bites(world, browser, look):
    """From the member's page: the click, and within 5 s nobody talks to him and he knows it."""
    a, b, to = world.ours[0], world.bobs, world.bobs.address()
    for host in world.ours:
        wait_for(f"{host.name} asks for removals", lambda h=host: h.network()["removals"]["watching"], 20)
    pings = a.spawn("ping", "-n", "-i", "0.1", to, log="ping.log")
    wait_for("a reaches b", lambda: pings.log().count("bytes from") > 5, 10)
    gone = b.network()["id"]
    browser.click("Remove this member")
    look("revoke")
    browser.fill("Why", "left the house")
    browser.click("Remove from the group")
    clicked = time.monotonic()
    wait_for("b knows that it was removed", lambda: b.network()["state"] == "removed", 5)
    for host in world.ours:
        wait_for(f"{host.name} has cut b off", lambda h=host: gone not in {p["id"] for p in h.json("peers")["peers"]}, 5)
    assert time.monotonic() - clicked < 5
    assert not a.ping(to, count=3, wait=1, check=False)
    answered = pings.log().count("bytes from")  # not earlier: an answer may have come that was not written yet
    a.ping(world.ours[1].address(), count=3)
    assert pings.alive() and pings.log().count("bytes from") == answered
    browser.sees("Removed.", "Last removal")

    def told():
        browser.go(world.url + "/groups/lab")
        return "2 of 2 machines" in browser.text()
    wait_for("the page says that both of the others know", told, 10)


def story(world, browser, look):
    """look(name) is called on each page on the way. Returns the clicks that the member needed."""
    url = world.url
    browser.become("root")
    browser.go(world.setup_link())
    look("setup")
    sign_up(browser, "Set up", "root")
    look("groups-empty")
    browser.click("New group")
    look("new-group")
    browser.fill("Name", "lab")
    browser.fill("IPv4 range", "10.77.0.0/16")
    browser.fill("Bootstrap endpoints", world.bootstrap)
    browser.fill("Certificates, in days", "367")
    browser.click("Make the group")
    browser.sees("A number is missing")
    browser.fill("Certificates, in days", "7")
    browser.click("Make the group")
    look("group-new")
    for host in world.ours:
        world.join(host, take_file(world, browser, url))

    browser.become("bob")
    browser.go(url)
    look("start")
    browser.clicks = 0
    sign_up(browser, "Register", "bob")
    browser.fill("Name of the group", "lab")
    browser.click("Go on")
    look("join")
    browser.fill("Who are you, and why do you want to join?", "Bob from the <third> floor & friends")
    browser.click("Ask to join")
    look("join-asked")
    clicks = browser.clicks

    browser.become("root")
    browser.go(url + "/groups/lab")
    browser.sees("Waiting for approval", "Bob from the <third> floor & friends")
    look("group-pending")
    browser.fill("Note (optional)", "welcome")
    browser.click("Approve")
    browser.sees("Approved")
    look("group-approved")

    browser.become("bob")
    browser.clicks = clicks
    browser.go(url + "/groups/lab")
    browser.click("Add a machine")
    look("blob")
    browser.click("Download", leaves=False)
    clicks = browser.clicks
    blob = browser.downloaded("lab*.peal")
    world.join(world.bobs, blob)
    for host in world.ours:
        world.bobs.ping(host.address(), wait=5)
    world.survey()
    browser.go(url + "/groups/lab")
    assert [e.text for e in browser.all("td[data-label='Machine']")] == [f"b {world.bobs.network()['id']}"]
    look("group-member")

    browser.go(url + "/groups/lab/blob")
    browser.click("Show as a QR code")
    look("blob-qr")
    assert json.loads(browser.read_qr())["secret"] != json.loads(blob)["secret"]

    browser.become("root")
    administer(browser, url, look)

    browser.click("Service")
    browser.sees("Accounts", "carol")
    look("service")
    wait_for("a map", world.mapped, 40)
    browser.go(url + "/groups/lab")
    browser.sees("Map of the ring", "a of root", "3; 3 answered")
    browser.click("The map as a table", leaves=False)
    look("group-owner")
    browser.click("bob")
    look("member")
    removal_bites(world, browser, look)
    look("group-removed")
    browser.click("Audit log")
    browser.sees("member.revoke", "left the house", "invite.use", "role.set")
    look("audit")

    browser.become("carol")
    browser.go(url + "/groups/lab")
    browser.sees("Members", "root")
    look("group-seeing")
    browser.become("bob")
    browser.go(url + "/groups/lab")
    browser.sees("You were removed", "left the house")
    look("join-removed")
    browser.click("Machines")
    look("machines")
    second_factor(browser, url, look)
    browser.click("Log out")
    browser.go(url + "/groups/lab")
    look("log-in")
    browser.go(url + "/nowhere")
    look("not-found")
    return clicks


def test_the_whole_story(world):
    with contextlib.closing(Chromium(world.folder)) as browser:
        clicks = story(world, browser, browser.look)
        assert clicks <= CLICKS_MAX, clicks
        assert not browser.problems, "\n".join(browser.problems)


def test_the_whole_story_without_scripts(world):
    with contextlib.closing(Chromium(world.folder, scripts=False)) as browser:
        browser.go("data:text/html,<title>off</title><script>document.title = 'on'</script>")
        assert browser.driver.title == "off"
        story(world, browser, lambda name: None)


def test_a_lost_machine(ca, chromium, folder):
    url = f"https://127.0.0.1:{ca.port}"
    ca.user("alice", password="correct horse")
    ca.run("group", "add", "lab", "--owner", "alice")
    ca.user("bob", password="correct horse")
    ca.run("member", "request", "lab", "bob")
    ca.run("member", "approve", "lab", "bob")
    assert enrol(ca, ca.blob("lab", "bob"), Key(folder)).status == 200
    for who in ("bob", "alice"):
        chromium.become(who)
        chromium.go(url)
        chromium.fill("User name", who)
        chromium.fill("Password", "correct horse")
        chromium.click("Log in")

    chromium.become("bob")
    chromium.go(url + "/machines")
    chromium.click("Lost? Remove ws")
    chromium.fill("What happened", "left in a train")
    chromium.look("machine")
    chromium.click("Report it lost")
    chromium.sees("change it now", "agree before you add")
    chromium.click("Add a machine")
    chromium.sees("You asked on")
    chromium.look("blob-asked")

    chromium.become("alice")
    chromium.go(url + "/groups/lab")
    chromium.sees("Waiting for approval", "another machine", "lost ws: left in a train")
    chromium.look("group-lost")
    chromium.fill("Note (optional)", "call me first")
    chromium.click("Deny")
    chromium.become("bob")
    chromium.go(url + "/groups/lab/blob")
    chromium.sees("call me first")
    chromium.look("blob-denied")
    chromium.become("alice")
    chromium.go(url + "/groups/lab/members/bob")
    chromium.look("member-held")
    chromium.click("Allow another machine")
    chromium.sees("Approved")
    chromium.become("bob")
    chromium.go(url + "/groups/lab/blob")
    chromium.click("Download", leaves=False)
    assert enrol(ca, json.loads(chromium.downloaded("lab*.peal")), Key(folder)).status == 200
    assert not chromium.problems, "\n".join(chromium.problems)


def test_the_keyboard_alone(ca, chromium):
    ca.user("alice", password="correct horse")
    ca.run("group", "add", "lab", "--owner", "alice")
    ca.user("bob")
    ca.run("member", "request", "lab", "bob")
    chromium.go(f"https://127.0.0.1:{ca.port}/groups/lab")
    chromium.tab_to("Skip to the content")
    chromium.tab_to("User name")
    chromium.press("alice", Keys.TAB, "correct horse", Keys.ENTER, leaves=True)
    chromium.sees("Waiting for approval")
    chromium.tab_to("Skip to the content")
    chromium.press(Keys.ENTER)
    chromium.tab_to("Note (optional)")
    chromium.press("hello")
    chromium.tab_to("Approve", most=2)
    chromium.press(Keys.ENTER, leaves=True)
    chromium.sees("Approved")
    assert ca.sql("SELECT note FROM members WHERE state = 'approved' AND note <> ''") == [("hello",)]

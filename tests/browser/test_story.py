"""A group's life in a real browser: set up, register, ask, approve, take the file, be removed.

Every page is looked at on a phone and on a desk, light and dark (the pictures stay in the output directory), and
axe-core must find nothing serious. Then once more the same without scripts, and once by keyboard alone.
"""

import base64
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
from chromium import Chromium
from selenium.webdriver.common.keys import Keys

CLICKS_MAX = 10  # from the first visit to a file in hand


@pytest.fixture
def folder():
    path = tempfile.mkdtemp(prefix="peal-test-browser-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


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


def setup_link(ca):
    return re.search(r"https://127.0.0.1:\d+/setup/[\w-]+", ca.log).group(0)


def sign_up(browser, button, name, password="correct horse battery"):
    """The last form of the page that has these fields: on the first page that is the one for registering."""
    for label, value in (("User name", name), ("E-mail", name + "@example.org"), ("Password", password)):
        fields = [e for e in browser.all("label") if e.text.strip() == label]
        form = fields[-1].get_attribute("for")
        browser.driver.find_element("id", form).send_keys(value)
    browser.click(button)


def administer(ca, browser, url, look):
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


def story(ca, folder, browser, look):
    """look(name) is called on each page on the way. Returns the clicks that the member needed."""
    url = f"https://127.0.0.1:{ca.port}"
    browser.become("root")
    browser.go(setup_link(ca))
    look("setup")
    sign_up(browser, "Set up", "root")
    look("groups-empty")
    browser.click("New group")
    look("new-group")
    browser.fill("Name", "lab")
    browser.fill("IPv4 range", "10.77.0.0/16")
    browser.fill("Certificates, in days", "367")
    browser.click("Make the group")
    browser.sees("A number is missing")
    browser.fill("Certificates, in days", "7")
    browser.click("Make the group")
    look("group-new")

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
    blob, key = json.loads(browser.downloaded("lab*.peal")), Key(folder)
    assert enrol(ca, blob, key).status == 200
    browser.go(url + "/groups/lab")
    browser.sees("ws")
    look("group-member")

    browser.go(url + "/groups/lab/blob")
    browser.click("Show as a QR code")
    look("blob-qr")
    assert json.loads(browser.read_qr())["secret"] != blob["secret"]

    browser.become("root")
    administer(ca, browser, url, look)

    browser.click("Service")
    browser.sees("Accounts", "carol")
    look("service")
    browser.go(url + "/groups/lab")
    look("group-owner")
    browser.click("bob")
    look("member")
    browser.click("Remove this member")
    look("revoke")
    browser.fill("Why", "left the house")
    browser.click("Remove from the group")
    browser.sees("Removed.", "Last removal", "no machine is left to be told")
    look("group-removed")
    assert ca.post("/api/v1/renew", {"group": "lab", "csr": key.csr}).code == "revoked"
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


def test_the_whole_story(ca, folder, chromium):
    clicks = story(ca, folder, chromium, chromium.look)
    assert clicks <= CLICKS_MAX, clicks
    assert not chromium.problems, "\n".join(chromium.problems)


def test_the_whole_story_without_scripts(ca, folder):
    browser = Chromium(folder, scripts=False)
    try:
        browser.go("data:text/html,<title>off</title><script>document.title = 'on'</script>")
        assert browser.driver.title == "off"
        story(ca, folder, browser, lambda name: None)
    finally:
        browser.close()


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

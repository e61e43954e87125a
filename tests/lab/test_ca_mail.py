"""Notices by e-mail: who gets which, and what happens when the mail server is slow, gone or says no."""

import os
import shutil
import signal
import socket
import sqlite3
import tempfile
import threading
import time

import pytest
from ca_client import Ca, Key, enrol
from lab import wait_for


class MailServer(threading.Thread):
    """As much of RFC 5321 as a client needs; keeps what it is sent. refuse: how many mails it turns away first."""

    def __init__(self, refuse=0):
        super().__init__(daemon=True)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port, self.mails, self.refuse = self.listening.getsockname()[1], [], refuse
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rwb") as f:
            def say(text):
                f.write(text.encode() + b"\r\n")
                f.flush()
            say("220 here")
            to = []
            for line in f:
                word = line[:4].upper()
                if word == b"RCPT":
                    to.append(line.decode().strip()[len("RCPT TO:"):])
                if word == b"MAIL" and self.refuse:
                    self.refuse -= 1
                    say("451 not now")
                elif word == b"DATA":
                    say("354 go on")
                    lines = []
                    for text in f:
                        if text == b".\r\n":
                            break
                        lines.append(text.decode())
                    self.mails.append((to, "".join(lines)))
                    say("250 taken")
                elif word == b"QUIT":
                    say("221 bye")
                    return
                else:
                    say("250 ok")

    def wait(self, count, seconds=15):
        until = time.monotonic() + seconds
        while len(self.mails) < count and time.monotonic() < until:
            time.sleep(0.05)
        assert len(self.mails) == count, self.mails
        return self.mails[-1]


@pytest.fixture
def ca():
    folder = tempfile.mkdtemp(prefix="peal-test-ca-mail-")
    made = Ca(os.path.join(folder, "data"))
    made.user("alice")
    made.user("olga")
    made.user("bob")
    made.run("group", "add", "lab", "--owner", "alice")
    made.run("member", "role", "lab", "olga", "auditor")
    yield made
    made.stop(signal.SIGKILL)
    shutil.rmtree(folder)


def with_mail(ca, port):
    ca.start("--mail", f"smtp://127.0.0.1:{port}", "--mail-from", "ca@example.net", "--url", "https://ca.example:8443")


def test_who_hears_of_what(ca, tmp_path):
    server = MailServer()
    with_mail(ca, server.port)
    ca.run("member", "request", "lab", "bob", "--reason", "secret words of a user\nBcc: x@example.org")
    to, text = server.wait(1)
    assert to == ["<alice@example.org>"]  # the owner, not the auditor
    head, body = text.split("\r\n\r\n", 1)
    assert "Subject: bob asks to join lab" in head and "From: peal <ca@example.net>" in head
    assert "https://ca.example:8443/groups/lab" in body and "secret words" not in text
    ca.run("member", "request", "lab", "bob", "--reason", "again and again")
    for words, subject in ((["approve"], "You are a member of lab"), (["revoke"], "You were removed from lab")):
        ca.run("member", *words, "lab", "bob")
        to, text = server.wait(len(server.mails) + 1)
        assert to == ["<bob@example.org>"] and f"Subject: {subject}" in text
    ca.run("member", "request", "lab", "bob")
    ca.run("member", "deny", "lab", "bob")
    assert "denied by lab" in server.wait(5)[1]
    ca.run("member", "request", "lab", "bob")
    ca.run("member", "approve", "lab", "bob")
    server.wait(7)
    assert enrol(ca, ca.blob("lab", "bob"), Key(tmp_path)).status == 200
    ca.run("machine", "revoke", "lab", ca.sql("SELECT lower(hex(node)) FROM machines")[0][0])
    assert "Subject: A machine of yours was removed from lab" in server.wait(8)[1]
    for number, words, to, subject in (
            (9, "request", "alice", "bob asks to add a machine, after one was removed, to lab"),
            (10, "approve", "bob", "You may add another machine to lab")):
        ca.run("member", words, "lab", "bob")
        assert server.wait(number)[0] == [f"<{to}@example.org>"] and f"Subject: {subject}" in server.mails[-1][1]
    # The server has a mail before it says so; the row goes when it said so.
    wait_for("no mail is left", lambda: ca.sql("SELECT count(*) FROM mails") == [(0,)])
    assert "bob@example.org" not in ca.log


def test_a_mail_server_that_is_gone_loses_nothing(ca):
    with socket.socket() as nobody:  # bound and not listening: refuses, and the port becomes nobody else's
        nobody.bind(("127.0.0.1", 0))
        with_mail(ca, nobody.getsockname()[1])
        ca.run("member", "request", "lab", "bob")
        wait_for("it is said", lambda: "tried again later" in ca.log)  # after it is written down
        assert ca.sql("SELECT tries FROM mails") == [(1,)]
        assert ca.http("GET", "/healthz").status == 200
        assert ca.stop() == 0
    # Later, after a restart, with a server that first says no.
    server = MailServer(refuse=1)
    with_mail(ca, server.port)
    for tries in (2, None):
        db = sqlite3.connect(os.path.join(ca.data, "peal-ca.sqlite"), timeout=10)
        db.execute("UPDATE mails SET next_s = 0")
        db.commit()
        db.close()
        if tries:
            wait_for("the refusal is written down", lambda t=tries: ca.sql("SELECT tries FROM mails") == [(t,)])
    assert server.wait(1)[0] == ["<alice@example.org>"]


def test_a_mail_server_that_says_nothing_holds_nobody_up(ca):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with_mail(ca, silent.getsockname()[1])
        ca.run("member", "request", "lab", "bob")
        silent.settimeout(20)
        connection, _ = silent.accept()
        started = time.monotonic()
        assert ca.stop() == 0 and time.monotonic() - started < 5
        connection.close()
    assert ca.sql("SELECT count(*), max(tries) FROM mails") == [(1, 0)]


def test_without_mail_nothing_is_queued_and_nonsense_is_refused(ca):
    ca.start()
    ca.run("member", "request", "lab", "bob")
    assert ca.sql("SELECT count(*) FROM mails") == [(0,)]
    ca.stop()
    for options in (["--mail", "http://x"], ["--mail", "smtp://x"], ["--mail", "smtp://", "--mail-from", "a@b.c"],
                    ["--mail", "smtp://x", "--mail-from", "nobody"],
                    ["--mail", "smtp://x", "--mail-from", "a@b.c", "--mail-login", "/nonexistent"]):
        done = ca.run("serve", "--listen", "127.0.0.1:0", *options, check=False)
        assert done.returncode == 1 and "--mail" in done.stderr, options

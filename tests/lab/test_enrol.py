"""Enrolment against services that answer wrongly: nothing on the machine changes, and the error says why."""

import json
import os
import subprocess

import pytest

from lab import BUILD, Ca, run, wait_for


class Service:
    """An HTTPS service in the host's namespace that answers as it is told, and keeps the requests."""

    SCRIPT = r"""
import json, ssl, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
answers, seen, where = sys.argv[4], sys.argv[5], (sys.argv[1], 8443)
class H(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        with open(seen, "a") as f:
            f.write(body.decode() + "\n")
        a = json.load(open(answers))
        if a.get("close"):
            self.connection.close()
            return
        out = a.get("body", "").encode() * a.get("times", 1)
        self.send_response(a["status"])
        for k, v in a.get("headers", {}).items():
            self.send_header(k, v)
        self.send_header("content-length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)
    def log_message(self, *a):
        pass
s = HTTPServer(where, H)
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
c.load_cert_chain(sys.argv[2], sys.argv[3])
s.socket = c.wrap_socket(s.socket, server_side=True)
print("ready", flush=True)
s.serve_forever()
"""

    def __init__(self, host):
        self.host = host
        self.cert, self.key, self.answers, self.seen = (os.path.join(host.dir, n) for n in
                                                        ("tls.pem", "tls.key", "answers", "seen"))
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=ca", "-keyout", self.key, "-out", self.cert)
        self.pin = run("sh", "-c", f"openssl x509 -in {self.cert} -noout -pubkey | openssl pkey -pubin -outform der |"
                       " openssl dgst -sha256 -binary | openssl base64 -A").stdout
        self.answer(status=500)
        self.process = host.spawn("/usr/bin/python3", "-c", self.SCRIPT, host.ip, self.cert, self.key, self.answers,
                                  self.seen, log="service.log")
        wait_for("the service", lambda: "ready" in self.process.log(), 10)

    def answer(self, **what):
        with open(self.answers, "w") as f:
            json.dump(what, f)

    def requests(self):
        return [json.loads(line) for line in open(self.seen)] if os.path.exists(self.seen) else []


@pytest.fixture(scope="module")
def world(shared_lab):
    lab = shared_lab
    lab.ca = Ca(lab.host("ca")).start()
    lab.ca.group("club", "192.0.2.1:4747")
    lab.ca.group("other", "192.0.2.1:4747", "10.78.0.0/16")
    lab.fake, lab.m = Service(lab.host("fake")), lab.host("m")
    lab.m.start()
    return lab


def blob(world, **fields):
    """A right blob whose service is the fake one."""
    path = world.ca.blob("club", "alice")
    b = json.load(open(path))
    b.update({"server": f"https://{world.fake.host.ip}:8443", "server_pins": [world.fake.pin]}, **fields)
    with open(path, "w") as f:
        json.dump(b, f)
    return path


def refused(world, path, status, *words):
    r = world.m.peal("join", path, "--json", check=False, timeout=100)
    assert r.returncode == status, r
    message = json.loads(r.stdout)["error"]["message"]
    assert all(w in message for w in words), message
    assert world.m.json("status")["networks"] == []
    assert "peal0" not in world.m.sh("ip", "link").stdout
    assert os.listdir(world.m.state) in ([".lock"], [".lock", ".pending"], [".pending", ".lock"])
    return message


def certificate(world, group, user, hostname="x"):
    """What the real service gives for a key that is not the machine's."""
    b = json.load(open(world.ca.blob(group, user)))
    key = os.path.join(world.ca.host.dir, "foreign.key")
    run("openssl", "genpkey", "-algorithm", "ed25519", "-out", key)
    csr = run("openssl", "req", "-new", "-key", key, "-subj", f"/CN={hostname}").stdout
    body = json.dumps({"group": b["group"], "user": b["user"], "secret": b["secret"], "csr": csr})
    out = world.m.sh("curl", "-sk", "-d", body, "-H", "Content-Type: application/json",
                     f"{b['server']}/api/v1/enroll").stdout
    assert "certificate" in json.loads(out), out
    return out


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
def test_a_refusal_is_exit_5_with_the_services_words(world, status):
    world.fake.answer(status=status, body=json.dumps({"error": {"code": "x", "message": "this secret was used"}}))
    refused(world, blob(world), 5, "refused", "this secret was used")


def test_a_broken_service_is_exit_1(world):
    world.fake.answer(status=500, body="<html>")
    refused(world, blob(world), 1, "HTTP status 500")
    world.fake.answer(status=200, body="<html>")
    refused(world, blob(world), 1, "no JSON")
    world.fake.answer(status=200, body="{}")
    refused(world, blob(world), 1, "without", "certificate")
    world.fake.answer(status=200, body='{"certificate":"-----BEGIN CERTIFICATE-----"}')
    refused(world, blob(world), 1, "no certificate")
    world.fake.answer(status=200, body="x" * 1024, times=1024)
    refused(world, blob(world), 1, "too long")


def test_redirects_are_not_followed(world):
    world.fake.answer(status=302, headers={"location": f"https://{world.ca.host.ip}:8443/"})
    refused(world, blob(world), 1, "HTTP status 302")


def test_words_of_the_service_cannot_forge_log_lines(world):
    world.fake.answer(status=403, body=json.dumps({"error": {"code": "x", "message": "no\n<0>root: owned\x1b[2J"}}))
    refused(world, blob(world), 5, "refused")
    assert not any(line.startswith("<0>") for line in world.m.daemon.log().splitlines())
    assert "\x1b" not in world.m.daemon.log()


def test_a_certificate_for_another_key_is_refused(world):
    world.fake.answer(status=200, body=certificate(world, "club", "alice"))
    refused(world, blob(world), 1, "another key")


def test_a_certificate_of_another_group_is_refused(world):
    world.fake.answer(status=200, body=certificate(world, "other", "alice"))
    refused(world, blob(world), 1, "certificate")


def test_without_pins_the_systems_trust_decides(world):
    refused(world, blob(world, server_pins=[]), 1, "does not trust")


def test_after_a_lost_answer_the_same_key_asks_again(world):
    """The service gives a secret its certificate a second time only for the same key."""
    path = blob(world)
    world.fake.answer(close=True)
    before = len(world.fake.requests())
    refused(world, path, 1, "no answer")
    world.m.stop(9)
    world.m.start()
    refused(world, path, 1, "no answer")
    asked = world.fake.requests()[before:]
    assert len(asked) >= 4 and len({a["secret"] for a in asked}) == 1

    def key(csr):
        return subprocess.run(["openssl", "req", "-noout", "-pubkey"], input=csr, capture_output=True, text=True).stdout

    assert len({key(a["csr"]) for a in asked}) == 1 and "PUBLIC KEY" in key(asked[0]["csr"])


def test_the_helper_is_nobodys_tool(world):
    """Started by hand it does nothing."""
    r = run(os.path.join(BUILD, "libexec", "peal", "peal-https"), input="hello\n")
    assert json.loads(r.stdout)["error"]["code"] == "failed"

"""peal-ca as its users meet it: the real program, its command line, and HTTPS on loopback."""

import base64
import concurrent.futures
import hashlib
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import tempfile
import threading
import time
import urllib.parse

import pytest


from ca_client import FORM, PEAL_CA, TOP, Answer, Browser, Ca, Forms, Key, ReverseProxy, enrol, openssl, until_refused
from lab import wait_for


@pytest.fixture
def folder():
    path = tempfile.mkdtemp(prefix="peal-test-ca-")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def ca(folder):
    made = Ca(os.path.join(folder, "data"))
    yield made
    made.stop(signal.SIGKILL)


@pytest.fixture
def lab(ca):
    """A running service with the group lab, owned by alice, and bob in it."""
    ca.start()
    ca.user("alice")
    ca.run("group", "add", "lab", "--owner", "alice", "--ipv4", "10.77.0.0/16", "--bootstrap",
           "192.0.2.1:4747")
    ca.member("lab", "bob")
    return ca


def wait_for_held(ca, count):
    """Until so many questions for events have come in and are held."""
    wait_for(f"{count} answers are held", lambda: f"peal_ca_held_answers {count}\n" in ca.http("GET", "/metrics").text)


# --- the command line ---


def test_help_and_version_are_answers():
    for option, begins in (("--help", "usage: peal-ca serve"), ("--version", "peal-ca 0")):
        done = subprocess.run([PEAL_CA, option], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(begins)


def test_the_manual_page_names_every_command_and_option():
    usage = subprocess.run([PEAL_CA, "--help"], capture_output=True, text=True, check=True).stdout
    with open(os.path.join(TOP, "packaging/man/peal-ca.8"), encoding="utf-8") as f:
        page = f.read()
    options = set(re.findall(r"--([a-z][a-z0-9-]*)", usage))
    assert len(options) > 25
    for option in options:
        assert re.search(rf"(Fl|\|) -{option}\b", page), option
    commands = re.findall(r"^(?:usage:)? +peal-ca ([a-z]+)(?: ([a-z|-]+))?", usage, re.M)
    commands.append(("group", "end-old"))
    assert len(commands) > 14
    for noun, verbs in commands:
        for verb in verbs.split("|"):
            assert re.search(rf"\.Cm ({noun}|{noun} [^\n]*\b{verb}\b[^\n]*)( |\n)", page), (noun, verb)


def test_exit_status_and_words(ca):
    ca.user("alice", password="correct horse")
    rows = [
        (2, ["nonsense"]), (2, []), (2, ["user"]), (2, ["user", "add"]), (2, ["user", "add", "x"]),
        (2, ["user", "add", "x", "y", "--email", "e@x.y"]), (2, ["user", "add", "--mail", "e@x.y"]),
        (2, ["user", "add", "a b", "--email", "e@x.y"]), (2, ["user", "add", "x", "--email", "e"]),
        (1, ["user", "add", "ALICE", "--email", "e@x.y"]),
        (1, ["user", "add", "x", "--email", "e@x.y", "--password-file", "/nonexistent"]),
        (2, ["group", "add", "lab"]), (5, ["group", "add", "lab", "--owner", "nobody"]),
        (2, ["group", "add", "lab", "--owner", "alice", "--ipv4", "8.8.8.0/24"]),
        (2, ["group", "add", "lab", "--owner", "alice", "--bootstrap", "x"]),
        (0, ["group", "add", "lab", "--owner=alice"]),
        (1, ["group", "add", "lab", "--owner=alice"]),
        (5, ["member", "request", "nowhere", "alice"]), (5, ["member", "request", "lab", "nobody"]),
        (0, ["user", "add", "bob", "--email=bob@example.org"]),
        (5, ["member", "approve", "lab", "bob"]), (5, ["member", "deny", "lab", "bob"]),
        (5, ["member", "revoke", "lab", "bob"]),
        (5, ["blob", "lab", "bob", "--url", "https://ca:1"]),
        (0, ["member", "request", "lab", "bob", "--reason", "please"]),
        (0, ["member", "approve", "lab", "bob"]), (0, ["member", "approve", "lab", "bob"]),
        (1, ["member", "deny", "lab", "bob"]),
        (0, ["member", "request", "lab", "bob"]), (1, ["blob", "lab", "bob"]),
        (2, ["blob", "lab", "bob", "--url", "http://ca:1"]),
        (0, ["member", "revoke", "lab", "bob"]), (5, ["member", "revoke", "lab", "bob"]),
        (1, ["member", "revoke", "lab", "alice"]), (2, ["serve"]),
        (2, ["serve", "--listen", "ca:1"]),
    ]
    for want, words in rows:
        done = ca.run(*words, check=False)
        assert done.returncode == want, (words, done)
        assert done.stdout == ""
        assert want in (0, 5) or done.stderr.startswith(("peal-ca: ", "usage: ")), words


def test_a_mistyped_command_or_directory_makes_nothing(ca, folder):
    nowhere = Ca(os.path.join(folder, "nowhere"))
    for words in (["group", "ad", "lab"], ["group", "add"], ["user"]):
        assert nowhere.run(*words, check=False).returncode == 2
    for words in (["member", "list", "lab"], ["group", "add", "lab", "--owner", "alice"], ["blob", "lab", "alice"]):
        done = nowhere.run(*words, check=False)
        assert done.returncode == 1 and nowhere.data in done.stderr
    assert not os.path.exists(nowhere.data)


def test_errors_are_json_where_the_answer_is(ca):
    ca.user("alice")
    done = ca.run("member", "list", "nowhere", "--json", check=False)
    assert done.returncode == 5 and "no such group" in done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "no_such_group"


def test_a_blob_written_to_a_file_is_for_its_owner_only(lab, folder):
    path = os.path.join(folder, "alice.peal")
    with open(path, "w") as out:
        os.fchmod(out.fileno(), 0o664)
        subprocess.run([PEAL_CA, "blob", "lab", "alice", "--data", lab.data], stdout=out, check=True)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with open(path) as f:
        assert json.load(f)["user"] == "alice"


def test_one_service_to_a_directory(lab):
    done = lab.run("serve", "--listen", "127.0.0.1:0", check=False)
    assert done.returncode == 1 and "another peal-ca" in done.stderr


def test_a_blob_before_the_first_serve_takes_the_url_it_is_told(ca, folder):
    ca.user("alice")
    ca.run("group", "add", "lab", "--owner", "alice")
    refused = ca.run("blob", "lab", "alice", check=False)
    assert refused.returncode == 1 and "--url" in refused.stderr
    blob = json.loads(ca.run("blob", "lab", "alice", "--url", "https://localhost:1").stdout)
    ca.start("--url", "https://localhost:1")
    assert ca.blob("lab", "alice")["server_pins"] == blob["server_pins"]
    assert enrol(ca, blob, Key(folder)).status == 200


def test_everything_made_is_the_owners_alone(lab):
    assert stat.S_IMODE(os.stat(lab.data).st_mode) == 0o700
    names = os.listdir(lab.data)
    assert {"master.key", "peal-ca.sqlite", "tls.key", "tls.crt"} <= set(names)
    for name in names:
        assert stat.S_IMODE(os.stat(os.path.join(lab.data, name)).st_mode) == 0o600, name


def test_commands_on_a_fresh_directory_may_meet(folder):
    ca = Ca(os.path.join(folder, "deep", "er", "data"))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: ca.user(f"u{i}"), range(8)))
    assert ca.sql("SELECT count(*) FROM users") == [(8,)]


def test_a_file_that_others_may_not_read_is_status_4(ca):
    if os.geteuid() != 0:
        pytest.skip("needs to be somebody else")
    ca.user("alice")
    os.chmod(os.path.dirname(ca.data), 0o755)
    done = subprocess.run([PEAL_CA, "member", "list", "lab", "--data", ca.data],
                          capture_output=True, text=True, user="nobody", group="nogroup",
                          extra_groups=[])
    assert (done.returncode, done.stdout) == (4, "")


def test_root_becomes_the_directorys_owner(folder):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    os.chmod(folder, 0o755)
    ca = Ca(os.path.join(folder, "data"))
    os.mkdir(ca.data)
    shutil.chown(ca.data, "nobody", "nogroup")
    ca.run("user", "add", "alice", "--email", "a@example.org")
    ca.run("group", "add", "lab", "--owner", "alice")
    ca.start()
    try:
        with open(f"/proc/{ca.process.pid}/status", encoding="ascii") as f:
            status = f.read()
        nobody = os.stat(ca.data).st_uid
        assert f"Uid:\t{nobody}\t{nobody}\t{nobody}\t{nobody}\n" in status
        ca.blob("lab", "alice")
        for name in os.listdir(ca.data):
            assert os.stat(os.path.join(ca.data, name)).st_uid == nobody, name
    finally:
        ca.stop()


def test_the_master_key_may_live_elsewhere(ca, folder):
    key = os.path.join(folder, "elsewhere.key")
    ca.run("user", "add", "alice", "--email", "a@example.org", "--key-file", key)
    assert not os.path.exists(os.path.join(ca.data, "master.key"))
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    refused = ca.run("group", "add", "lab", "--owner", "alice", check=False)
    assert refused.returncode != 0 and "master.key" in refused.stderr
    credentials = os.path.join(folder, "credentials")
    os.mkdir(credentials)
    shutil.copy(key, os.path.join(credentials, "master.key"))
    ca.run("group", "add", "lab", "--owner", "alice",
           env={**os.environ, "CREDENTIALS_DIRECTORY": credentials})


def test_the_list_as_text_and_as_json(lab):
    lab.user("carol")
    lab.run("member", "request", "lab", "carol", "--reason", 'a "reason"')
    lines = lab.run("member", "list", "lab").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["USER", "carol", "alice", "bob"]
    answer = json.loads(lab.run("member", "list", "lab", "--json").stdout)
    assert answer["schema"] == "peal.ca-members/1"
    assert [(m["user"], m["state"], m["role"]) for m in answer["members"]] == [
        ("carol", "requested", "member"), ("alice", "approved", "owner"),
        ("bob", "approved", "member")]
    assert answer["members"][0]["reason"] == 'a "reason"'


# --- enrolment ---


def test_a_blob_and_what_it_gets(lab, folder):
    blob, key = lab.blob("lab", "bob"), Key(folder)
    assert blob["server"] == f"https://127.0.0.1:{lab.port}"
    assert set(blob) == {"peal", "group", "group_id", "group_key", "ca", "user", "secret", "server",
                         "server_pins", "network", "bootstrap", "public_bootstrap", "psk"}
    assert blob["network"]["ipv4"] == "10.77.0.0/16" and blob["bootstrap"] == ["192.0.2.1:4747"]
    assert len(base64.b64decode(blob["group_key"])) == 32 and blob["psk"] is False

    served = ssl.get_server_certificate(("127.0.0.1", lab.port))
    public = openssl("x509", "-noout", "-pubkey", stdin=served.encode())[1]
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=public.encode(),
                         capture_output=True, check=True).stdout
    assert blob["server_pins"] == [base64.b64encode(hashlib.sha256(der).digest()).decode()]

    answer = enrol(lab, blob, key)
    assert answer.status == 200
    assert set(answer.json) == {"certificate", "chain", "network", "server_pins", "successions"}
    assert answer.json["successions"] == []
    assert answer.json["chain"] == blob["ca"] and answer.json["network"] == blob["network"]
    assert answer.json["server_pins"] == blob["server_pins"]
    with open(os.path.join(folder, "ca.pem"), "w", encoding="ascii") as f:
        f.write(blob["ca"])
    certificate = answer.json["certificate"].encode()
    assert openssl("verify", "-CAfile", os.path.join(folder, "ca.pem"), stdin=certificate)[0] == 0
    text = openssl("x509", "-noout", "-text", stdin=certificate)[1]
    public = subprocess.run(["openssl", "pkey", "-in", key.path, "-pubout", "-outform", "der"],
                            capture_output=True, check=True).stdout[-32:]
    node = hashlib.sha256(public + bytes.fromhex(blob["group_id"]) + (1).to_bytes(8, "big"))
    for want in ("Issuer: CN = lab", "Subject: CN = bob", "CA:FALSE",
                 f"URI:peal:node:{node.hexdigest()[:40]}, URI:peal:group:{blob['group_id']}, "
                 "URI:peal:enrolment:1"):
        assert want in text


def test_a_secret_is_good_for_one_key(lab, folder):
    blob, key = lab.blob("lab", "bob"), Key(folder)
    first = enrol(lab, blob, key)
    assert first.status == 200
    assert enrol(lab, blob, key).body == first.body
    stolen = enrol(lab, blob, Key(folder))
    assert (stolen.status, stolen.code) == (409, "secret_used")
    another = lab.blob("lab", "bob")
    assert another["secret"] != blob["secret"]
    assert enrol(lab, another, Key(folder)).status == 200
    assert lab.sql("SELECT count(*) FROM machines") == [(2,)]


def test_of_many_at_once_one_wins(lab, folder):
    blob = lab.blob("lab", "bob")
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        keys = list(pool.map(lambda _: Key(folder), range(20)))
        answers = list(pool.map(lambda key: enrol(lab, blob, key).status, keys))
    assert sorted(answers) == [200] + [409] * 19
    assert lab.sql("SELECT count(*), max(enrolment) FROM machines") == [(1, 1)]


def test_refused_enrolments_change_nothing(lab, folder):
    blob, key = lab.blob("lab", "bob"), Key(folder)
    rsa = Key(folder, ("rsa", "-pkeyopt", "rsa_keygen_bits:2048"))
    before = lab.state()
    rows = [
        ({"secret": "wrong"}, 403, "bad_secret"), ({"user": "alice"}, 403, "bad_secret"),
        ({"user": "nobody"}, 403, "bad_secret"), ({"group": "nowhere"}, 403, "bad_secret"),
        ({"group": "lab\u0000"}, 400, "bad_request"), ({"secret": "x" * 200}, 400, "bad_request"),
        ({"secret": None}, 400, "bad_request"), ({"secret": 7}, 400, "bad_request"),
        ({"csr": ""}, 400, "bad_csr"), ({"csr": "x"}, 400, "bad_csr"),
        ({"csr": rsa.csr}, 400, "bad_csr"), ({"csr": blob["ca"]}, 400, "bad_csr"),
        ({"csr": key.csr[:-40]}, 400, "bad_csr"),
    ]
    for other, status, code in rows:
        answer = enrol(lab, blob, key, **other)
        assert (answer.status, answer.code) == (status, code), other
    assert lab.state() == before
    assert enrol(lab, blob, key).status == 200


def test_replays_run_into_the_limit_and_issue_nothing(lab, folder):
    blob = lab.blob("lab", "bob")
    assert enrol(lab, blob, Key(folder)).status == 200
    thief, connection, seen = Key(folder), lab.connect(), set()
    body = json.dumps({"group": "lab", "user": "bob", "secret": blob["secret"], "csr": thief.csr})
    for _ in range(400):
        connection.request("POST", "/api/v1/enroll", body, {"Content-Type": "application/json"})
        answer = Answer(connection.getresponse())
        seen.add(answer.status)
        if answer.status == 429:
            assert int(answer.headers["Retry-After"]) >= 1
    assert seen == {409, 429}
    assert lab.sql("SELECT count(*) FROM certificates") == [(1,)]
    refusals = dict(re.findall(r'^peal_ca_refusals_total{code="(\w+)"} (\d+)$', lab.http("GET", "/metrics").text, re.M))
    assert int(refusals["secret_used"]) + int(refusals["too_many"]) == 400


def test_a_request_names_its_own_node_in_vain(lab, folder):
    """What a request asks for besides its key is not granted: the id follows from the key."""
    blob, key = lab.blob("lab", "bob"), Key(folder)
    victim = enrol(lab, lab.blob("lab", "alice"), Key(folder)).json["certificate"].encode()
    node = re.search(r"peal:node:([0-9a-f]{40})", openssl("x509", "-noout", "-text", stdin=victim)[1]).group(1)
    asked = subprocess.run(["openssl", "req", "-new", "-key", key.path, "-subj", "/CN=alice", "-addext",
                            f"subjectAltName=URI:peal:node:{node}", "-addext", "basicConstraints=critical,CA:TRUE"],
                           check=True, capture_output=True, text=True).stdout
    got = enrol(lab, blob, key, csr=asked)
    assert got.status == 200
    text = openssl("x509", "-noout", "-text", stdin=got.json["certificate"].encode())[1]
    assert node not in text and "CA:FALSE" in text and "Subject: CN = bob" in text


def test_who_is_not_approved_or_was_removed_is_refused(lab, folder):
    blob, unused, key = lab.blob("lab", "bob"), lab.blob("lab", "bob"), Key(folder)
    assert enrol(lab, blob, key).status == 200
    assert lab.post("/api/v1/renew", {"group": "lab", "csr": key.csr}).status == 200
    lab.run("member", "revoke", "lab", "bob")
    for answer in (enrol(lab, blob, key), enrol(lab, unused, Key(folder)),
                   lab.post("/api/v1/renew", {"group": "lab", "csr": key.csr})):
        assert (answer.status, answer.code) == (403, "revoked")
    stranger = lab.post("/api/v1/renew", {"group": "lab", "csr": Key(folder).csr})
    assert (stranger.status, stranger.code) == (403, "not_enrolled")


def test_the_service_hears_of_a_removal_at_once(lab, folder):
    blob, key = lab.blob("lab", "bob"), Key(folder)
    certificate = enrol(lab, blob, key).json["certificate"].encode()
    first = lab.http("GET", "/api/v1/groups/lab/crl")
    assert first.headers["Content-Type"] == "application/pkix-crl"
    again = lab.http("GET", "/api/v1/groups/lab/crl",
                     headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    number = int(first.headers["ETag"].strip('"'))

    heard = {}

    def listen():
        heard["answer"] = lab.http("GET", f"/api/v1/groups/lab/events?after={number}", timeout=70)
        heard["at"] = time.monotonic()

    listener = threading.Thread(target=listen)
    listener.start()
    wait_for_held(lab, 1)
    assert not heard
    lab.run("member", "revoke", "lab", "bob")
    done = time.monotonic()
    listener.join(10)
    assert heard["at"] - done < 0.5
    events = heard["answer"].json
    assert events["number"] == number + 1 and len(events["events"]) == 1
    assert re.fullmatch(r"[0-9a-f]{40}", events["events"][0]["node"])
    crl = lab.http("GET", "/api/v1/groups/lab/crl",
                   headers={"If-None-Match": first.headers["ETag"]})
    assert crl.status == 200
    with open(os.path.join(folder, "ca.pem"), "w", encoding="ascii") as f:
        f.write(blob["ca"])
    status, text = openssl("crl", "-inform", "der", "-noout", "-text", "-CAfile",
                           os.path.join(folder, "ca.pem"), stdin=crl.body)
    assert status == 0 and "verify OK" in text and text.count("Serial Number") == 1
    # RFC 5280 5.2.1: the list names the CA's key, as the CA's certificate does.
    key_id = re.search(r"X509v3 Authority Key Identifier: *\n +((?:[0-9A-F]{2}:){19}[0-9A-F]{2})", text).group(1)
    assert key_id in openssl("x509", "-noout", "-text", stdin=blob["ca"].encode())[1]
    pem = openssl("crl", "-inform", "der", stdin=crl.body)[1]
    with open(os.path.join(folder, "crl.pem"), "w", encoding="ascii") as f:
        f.write(pem)
    check = ("verify", "-crl_check", "-CAfile", os.path.join(folder, "ca.pem"), "-CRLfile",
             os.path.join(folder, "crl.pem"))
    status, text = openssl(*check, stdin=certificate)
    assert status != 0 and "certificate revoked" in text
    other = enrol(lab, lab.blob("lab", "alice"), Key(folder)).json["certificate"].encode()
    assert openssl(*check, stdin=other)[0] == 0
    for path, status in (("/api/v1/groups/nowhere/crl", 404),
                         ("/api/v1/groups/lab/events?after=x", 400),
                         ("/api/v1/groups/nowhere/events", 404)):
        assert lab.http("GET", path).status == status


# --- pages ---


def test_the_whole_story_on_pages(ca, folder):
    ca.start()
    link = re.search(r"https://127.0.0.1:\d+(/setup/[\w-]+)", ca.log).group(1)
    admin, bob = Browser(ca), Browser(ca)
    assert admin.get(link).status == 200
    assert admin.submit(link, name="root", email="r@example.org", password="short").status == 400
    assert admin.submit(link, name="Root", email="r@example.org",
                        password="long enough").status == 303
    assert admin.page.headers["Location"] == "/groups"
    assert Browser(ca).get(link).status == 403

    admin.get("/new-group")
    assert admin.submit("/new-group", name="lab", ipv4="1.2.3.0/24").status == 400
    assert admin.submit("/new-group", name="Lab", ipv4="10.5.0.0/16").status == 303
    assert admin.page.headers["Location"] == "/groups/lab"

    bob.register("bob")
    assert bob.get("/groups?find=lab").headers["Location"] == "/groups/lab"
    assert bob.get("/groups/lab").headers["Location"] == "/groups/lab/join"
    bob.get("/groups/lab/join")
    reason = "<script>alert('x')</script> & \"why\"\nnot"
    assert bob.submit("/groups/lab/join", reason=reason).status == 303
    assert bob.get("/groups/lab/join?done=asked").status == 200
    assert bob.get("/groups/lab/blob").status == 403

    page = admin.get("/groups/lab")
    assert reason in Forms(page.text).words[0:] or reason in "".join(Forms(page.text).words)
    assert admin.submit("/groups/lab/approve", user="bob", note="welcome").status == 303
    assert bob.get("/groups/lab").status == 200
    assert bob.get("/groups/lab/blob").status == 200
    page = bob.submit("/groups/lab/blob")
    assert page.headers["Content-Disposition"] == 'attachment; filename="lab.peal"'
    assert page.headers["Cache-Control"] == "no-store"
    assert page.json["user"] == "bob" and page.json["network"]["ipv4"] == "10.5.0.0/16"
    assert enrol(ca, page.json, Key(folder)).status == 200
    assert ">ws<" in bob.get("/groups/lab").text

    assert "blob.make" in admin.get("/groups/lab/audit").text
    admin.get("/groups/lab/revoke?user=bob")
    assert admin.submit("/groups/lab/revoke").status == 303
    assert bob.get("/groups/lab").headers["Location"] == "/groups/lab/join"
    assert "removed" in bob.get("/groups/lab/join").text


def test_a_lost_machine_and_the_one_after_it(lab, folder):
    lab.user("chief", "--admin", password="correct horse")
    chief, carol = Browser(lab), Browser(lab).register("carol")
    chief.get("/")
    chief.submit("/login", name="chief", password="correct horse")
    lab.run("member", "request", "lab", "carol")
    lab.run("member", "approve", "lab", "carol")
    assert enrol(lab, lab.blob("lab", "carol"), Key(folder)).status == 200
    unused = lab.blob("lab", "carol")
    node = re.search(r"/groups/lab/machines/(\w{40})", carol.get("/machines").text).group(0)

    carol.get(node)
    assert carol.submit(node, node + "/lost", note="<left> in a train").headers["Location"] == "/groups/lab?done=lost"
    assert "agree before you add" in carol.get("/groups/lab").text
    assert "You asked on" in carol.get("/groups/lab/blob").text
    refused = enrol(lab, unused, Key(folder))
    assert (refused.status, refused.code) == (403, "needs_approval")
    assert "1 waiting" in chief.get("/groups").text
    assert "another machine" in chief.get("/groups/lab").text
    assert "lost ws: <left> in a train" in Forms(chief.page.text).words
    assert chief.submit("/groups/lab/approve", "/groups/lab/deny", note="call me").status == 303
    assert "call me" in carol.get("/groups/lab/blob").text
    assert carol.submit("/groups/lab/join", reason="it is me").headers["Location"] == "/groups/lab/blob?done=asked"

    assert "another one was asked for" in chief.get("/groups/lab/members/carol").text
    assert chief.submit("/groups/lab/approve", note="she called").status == 303
    assert enrol(lab, unused, Key(folder)).code == "secret_expired"
    carol.get("/groups/lab/blob")
    assert enrol(lab, carol.submit("/groups/lab/blob").json, Key(folder)).status == 200
    assert lab.sql("SELECT verb, detail FROM audit WHERE verb = 'machine.lost' OR detail LIKE 'another%'") == [
        ("machine.lost", "ws: <left> in a train"), ("member.request", "another machine: lost ws: <left> in a train"),
        ("member.deny", "another machine: call me"), ("member.request", "another machine: it is me"),
        ("member.approve", "another machine: she called")]


def test_deny_and_ask_again(lab):
    lab.run("user", "add", "chief", "--email", "c@example.org", "--admin", "--password-file",
            "/dev/stdin", input="correct horse\n")
    chief, carol = Browser(lab), Browser(lab).register("carol")
    chief.get("/")
    assert chief.submit("/login", name="Chief", password="correct horse").status == 303
    carol.get("/groups/lab/join")
    carol.submit("/groups/lab/join", reason="please")
    chief.get("/groups/lab")
    # The same form has two buttons; the other one's address is the deny button's.
    assert chief.submit("/groups/lab/approve", "/groups/lab/deny", note="not now").status == 303
    assert "not now" in carol.get("/groups/lab/join").text
    assert carol.submit("/groups/lab/join", reason="pretty please").status == 303
    assert lab.sql("SELECT state FROM members m JOIN users u ON u.id = m.user_row"
                   " WHERE u.name = 'carol'") == [("requested",)]


def test_log_in_out_and_back_to_where_one_was_going(ca):
    ca.start()
    carol = Browser(ca).register("carol")
    assert carol.get("/").headers["Location"] == "/groups"
    carol.get("/groups")
    assert carol.submit("/logout").status == 303
    assert carol.cookies["__Host-peal"] == ""
    assert carol.get("/groups?find=x").status == 401
    assert carol.submit("/login", name="carol", password="wrong wrong").status == 401
    carol.get("/groups?find=x")
    page = carol.submit("/login", name="carol", password="correct horse")
    assert page.headers["Location"] == "/groups?find=x"
    for bad in ("//evil.example", "https://evil.example", "/\\evil", "javascript:x"):
        other = Browser(ca)
        other.get("/")
        page = other.submit("/login", name="carol", password="correct horse", next=bad)
        assert page.headers["Location"] == "/groups"


def test_a_new_password_ends_every_other_session(ca):
    ca.start()
    here, there = Browser(ca).register("carol"), Browser(ca)
    there.get("/")
    assert there.submit("/login", name="carol", password="correct horse").status == 303
    here.get("/account")
    assert here.submit("/account", old="wrong wrong", password="battery staple").status == 401
    assert here.submit("/account", old="correct horse", password="short").status == 400
    assert here.submit("/account", old="correct horse", password="battery staple").status == 303
    assert there.get("/groups").status == 401
    assert here.get("/groups").status == 200


def test_forms_need_their_own_sessions_token(lab):
    carol, eve = Browser(lab).register("carol"), Browser(lab).register("eve")
    carol.get("/groups/lab/join")
    eve.get("/groups/lab/join")
    stolen, mine = eve.form("/groups/lab/join")["csrf"], carol.form("/groups/lab/join")["csrf"]
    assert stolen != mine
    before = lab.state()
    for token in ("", "0" * 32, stolen, mine[:-1], mine + "0"):
        page = carol.ask("POST", "/groups/lab/join", urllib.parse.urlencode(
            {"csrf": token, "reason": "x"}), Content_Type=FORM)
        assert page.status == 403, token
    assert lab.state() == before
    old = dict(carol.cookies)
    carol.get("/groups")
    carol.submit("/logout")
    carol.cookies = old
    page = carol.ask("POST", "/groups/lab/join", urllib.parse.urlencode(
        {"csrf": mine, "reason": "x"}), Content_Type=FORM)
    assert page.status == 401 or page.status == 403
    stranger = lab.http("POST", "/login", "name=carol&password=correct+horse",
                        {"Content-Type": FORM})
    assert stranger.status == 403
    assert lab.sql("SELECT count(*) FROM members WHERE state = 'requested'") == [(0,)]


def test_forms_and_hosts_of_other_sites_are_refused(lab):
    carol = Browser(lab).register("carol")
    carol.get("/groups/lab/join")
    body = urllib.parse.urlencode({**carol.form("/groups/lab/join"), "reason": "x"})
    ours = f"https://127.0.0.1:{lab.port}"
    rows = [
        (403, {"Origin": "https://evil.example"}), (403, {"Origin": "null"}),
        (403, {"Origin": f"http://127.0.0.1:{lab.port}"}), (403, {"Origin": ours + "0"}),
        (403, {"Sec-Fetch-Site": "cross-site"}), (403, {"Sec-Fetch-Site": "same-site"}),
        (421, {"Host": "evil.example"}), (421, {"Host": "127.0.0.1.evil.example"}),
        (421, {"Host": f"evil.example:{lab.port}"}), (400, {"Host": ""}),
        (303, {"Origin": ours, "Sec-Fetch-Site": "same-origin"}),
    ]
    for want, headers in rows:
        got = carol.ask("POST", "/groups/lab/join", body, Content_Type=FORM, **headers).status
        assert got == want or (want == 400 and got == 421), (headers, got)
    assert lab.sql("SELECT count(*) FROM members WHERE state = 'requested'") == [(1,)]


def test_every_answer_carries_the_guards(lab):
    for path in ("/", "/groups", "/nothing", "/style.css", "/healthz", "/api/v1/nothing"):
        headers = lab.http("GET", path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'self';")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] in ("no-store", "no-cache")


# Every page, as somebody with nothing, an account, a membership of another group, and the owner of
# another group: what they get, and that nothing changes.
ROUTES = [
    ("GET", "/groups/lab", 401, 303), ("GET", "/groups/lab/join", 401, 200),
    ("GET", "/groups/lab/blob", 401, 403), ("POST", "/groups/lab/blob", 403, 403),
    ("POST", "/groups/lab/approve", 403, 403), ("POST", "/groups/lab/deny", 403, 403),
    ("GET", "/groups/lab/revoke?user=bob", 401, 403), ("POST", "/groups/lab/revoke", 403, 403),
    ("GET", "/new-group", 401, 403), ("POST", "/new-group", 403, 403),
    ("GET", "/account", 401, 200),
    ("POST", "/account", 403, 401), ("GET", "/groups", 401, 200),
    ("GET", "/groups/nowhere", 401, 404),
    ("GET", "/setup/x", 403, 403), ("POST", "/setup/x", 403, 403),
]


def test_who_has_no_business_here_gets_nowhere(lab):
    outsider, owner = Browser(lab).register("outsider"), Browser(lab).register("owner")
    lab.run("group", "add", "other", "--owner", "owner")
    lab.user("asker")
    lab.run("member", "request", "lab", "asker")
    stranger = Browser(lab)
    before = {t: rows for t, rows in lab.state().items() if t != "sessions"}
    for method, path, as_stranger, as_user in ROUTES:
        for browser, want in ((stranger, as_stranger), (outsider, as_user), (owner, as_user)):
            if method == "POST":
                browser.get("/account" if browser is not stranger else "/")
                csrf = "x" if browser is stranger else browser.form("/account")["csrf"]
                values = {"csrf": csrf, "user": "asker", "name": "x", "email": "x@y.z",
                          "password": "long enough"}
                got = browser.ask("POST", path, urllib.parse.urlencode(values), Content_Type=FORM)
            else:
                got = browser.get(path)
            assert got.status == want, (method, path, got.status, browser is stranger)
    after = {t: rows for t, rows in lab.state().items() if t != "sessions"}
    assert after == before


def test_passwords_tried_by_list(ca):
    ca.start()
    for name in ("carol", "dave"):
        ca.user(name, password="correct horse")
    eve = Browser(ca)
    eve.get("/")
    started = time.monotonic()
    let_in, refused = until_refused(lambda: eve.submit("/login", name="carol", password="guess guess"), 10)
    assert 10 <= let_in <= 10 + (time.monotonic() - started + 1) // 30
    assert eve.submit("/login", name="CAROL", password="correct horse").status == 429
    assert eve.submit("/login", name="dave", password="correct horse").status == 303
    metrics = ca.http("GET", "/metrics").text
    assert f"peal_ca_login_failures_total {let_in}\n" in metrics
    assert f'peal_ca_requests_total{{method="POST",route="/login",code="429"}} {refused + 1}\n' in metrics


def test_one_address_tries_many_names(ca):
    ca.start()
    eve = Browser(ca)
    eve.get("/")
    seen = []
    while 429 not in seen and len(seen) < 60:
        seen.append(eve.submit("/login", name=f"user{len(seen)}", password="guess guess").status)
    assert seen[-1] == 429 and seen[:-1] == [401] * (len(seen) - 1) and len(seen) >= 21


# --- HTTP ---


def test_requests_that_make_no_sense(lab):
    js = {"Content-Type": "application/json"}
    before = lab.state()
    rows = [
        (404, "GET", "/nothing", None, {}), (404, "GET", "/groups/lab/nothing", None, {}),
        (404, "GET", "/groups//join", None, {}), (404, "GET", "/groups/", None, {}),
        (404, "GET", "/%67roups", None, {}), (404, "GET", "/../etc/passwd", None, {}),
        (404, "GET", "//groups", None, {}), (404, "GET", "/" + "x" * 2000, None, {}),
        (405, "GET", "/api/v1/enroll", None, {}), (405, "POST", "/healthz", "x", {}),
        (405, "DELETE", "/groups", None, {}), (405, "PUT", "/api/v1/enroll", "{}", js),
        (405, "TRACE", "/", None, {}), (415, "POST", "/api/v1/enroll", "{}", {}),
        (415, "POST", "/api/v1/enroll", "a=b", {"Content-Type": FORM}),
        (415, "POST", "/login", "{}", js), (400, "POST", "/api/v1/enroll", "", js),
        (400, "POST", "/api/v1/enroll", "{", js), (400, "POST", "/api/v1/enroll", "[]", js),
        (400, "POST", "/api/v1/enroll", "null", js), (400, "POST", "/api/v1/enroll", "{}", js),
        (400, "POST", "/api/v1/enroll", '{"a":1,"a":2}', js),
        (400, "POST", "/api/v1/enroll", "[" * 60000, js),
        (400, "POST", "/api/v1/enroll", b"\xff{}", js),
        (400, "POST", "/api/v1/renew", "{}", js),
        (400, "POST", "/login", "a=%", {"Content-Type": FORM}),
        (400, "GET", "/groups?find=%00", None, {}),
        (413, "POST", "/api/v1/enroll", "x" * 65537, js),
        (413, "POST", "/api/v1/enroll", "x" * (1 << 20), js),
        (413, "POST", "/login", "", {"Content-Length": "9999999", "Content-Type": FORM}),
        (413, "POST", "/login", "", {"Content-Length": "65537", "Expect": "100-continue"}),
        (403, "POST", "/login", "x" * 65536, {"Content-Type": FORM}),
    ]
    for want, method, path, body, headers in rows:
        answer = lab.http(method, path, body, headers)
        assert answer.status == want, (method, path, answer.status)
        if want == 405:
            assert answer.headers["Allow"]
    assert lab.state() == before


def raw(ca, data, timeout=5):
    """Sends bytes over TLS; the first line of what comes back."""
    context = ssl._create_unverified_context()
    with socket.create_connection(("127.0.0.1", ca.port), timeout) as plain:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as tls:
            try:
                tls.sendall(data)
                return tls.recv(4096).split(b"\r\n")[0].decode("latin-1")
            except (ConnectionError, ssl.SSLError, socket.timeout):
                return ""


def test_malformed_http_is_refused_and_the_next_is_served(lab):
    host = f"Host: 127.0.0.1:{lab.port}\r\n".encode()
    enroll = b"POST /api/v1/enroll HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\n"
    rows = [
        b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n" + host + host + b"\r\n", b"\r\n\r\n\r\n",
        b"GARBAGE\r\n\r\n", b"GET\r\n\r\n", b"\x00\xff\x16\x03\x01" * 50 + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n" + host + b"\r\n",
        b"GET / HTTP/1.1\r\n" + host + b"X: " + b"y" * 40000 + b"\r\n\r\n",
        b"GET /" + b"y" * 40000 + b" HTTP/1.1\r\n" + host + b"\r\n",
        b"GET / HTTP/1.1\r\n" + host + b"".join(b"X%d: y\r\n" % i for i in range(4000)) + b"\r\n",
        enroll + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        enroll + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        enroll + b"Content-Length: -1\r\n\r\n",
        enroll + b"Content-Length: 99999999999999999999\r\n\r\n",
        enroll + b"Content-Length: x\r\n\r\n",
        enroll + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        enroll + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 20
        + b"0\r\n\r\n",
    ]
    before = lab.state()
    for data in rows:
        line = raw(lab, data)
        # An answer of refusal, or the connection closed without one.
        assert line == "" or re.match(r"HTTP/1\.\d (4\d\d|505) ", line), (data[:60], line)
        assert lab.http("GET", "/healthz").text == "ok\n", data[:60]
    assert lab.state() == before


def test_plain_text_on_the_tls_port(lab):
    with socket.create_connection(("127.0.0.1", lab.port), 5) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not plain.recv(4096).startswith(b"HTTP/1.1 2")
    assert lab.http("GET", "/healthz").status == 200


def test_old_tls_is_refused(lab):
    context = ssl._create_unverified_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", lab.port), 5) as plain:
        assert context.wrap_socket(plain).version() == "TLSv1.2"
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", lab.port), 5) as plain:
        with pytest.raises((ssl.SSLZeroReturnError, ConnectionResetError)):  # closed by the service
            context.wrap_socket(plain)


def test_a_thousand_slow_clients_do_not_stop_the_next(lab):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    context, slow = ssl._create_unverified_context(), []
    try:
        for i in range(1001):
            started = time.monotonic()
            plain = socket.create_connection(("127.0.0.1", lab.port), 10)
            if i % 4 == 0:
                plain = context.wrap_socket(plain)
                plain.sendall(b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                              b"Content-Length: 60000\r\n")
            slow.append(plain)
        took = []
        for _ in range(3):  # the machine may have been busy elsewhere once
            asked = time.monotonic()
            assert lab.http("GET", "/healthz").status == 200
            took.append(time.monotonic() - asked)
        assert min(took) < 1
        # A byte now and then does not keep a connection: it is cut 15 s after it came.
        dripping = slow[-1]
        time.sleep(max(0.0, started + 10 - time.monotonic()))
        dripping.sendall(b"X")
        dripping.settimeout(15)
        assert dripping.recv(1) == b""
        assert 14 < time.monotonic() - started < 25
    finally:
        for plain in slow:
            plain.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert lab.http("GET", "/healthz").status == 200


def test_one_held_answer_too_many_costs_the_oldest(lab):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    context, held = ssl._create_unverified_context(), []
    ask = (f"GET /api/v1/groups/lab/events?after=9 HTTP/1.1\r\nHost: 127.0.0.1:{lab.port}\r\n\r\n")
    try:
        for i in range(1025):
            held.append(context.wrap_socket(socket.create_connection(("127.0.0.1", lab.port), 10)))
            held[-1].sendall(ask.encode())
            if i == 0:
                wait_for_held(lab, 1)  # so that it is the oldest
        held[0].settimeout(5)
        assert held[0].recv(100).startswith(b"HTTP/1.1 200")
        held[1].settimeout(0.3)
        with pytest.raises(socket.timeout):
            held[1].recv(100)
    finally:
        for one in held:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert lab.http("GET", "/healthz").status == 200


def test_health_and_metrics(lab, folder):
    assert lab.http("GET", "/healthz").text == "ok\n"
    assert enrol(lab, lab.blob("lab", "bob"), Key(folder)).status == 200
    metrics = lab.http("GET", "/metrics").text
    for line in ('peal_ca_requests_total{method="POST",route="/api/v1/enroll",code="200"} 1',
                 'peal_ca_members{state="approved"} 2', "peal_ca_machines 1",
                 "peal_ca_issued_total 1"):
        assert line + "\n" in metrics


# --- the service's life ---


def test_sigterm_answers_whoever_waits(lab):
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(
        lab.http("GET", "/api/v1/groups/lab/events?after=99", timeout=70)))
    waiting.start()
    wait_for_held(lab, 1)
    started = time.monotonic()
    assert lab.stop() == 0
    assert time.monotonic() - started < 3
    waiting.join(5)
    assert answers[0].status == 200 and answers[0].json["events"] == []


def test_sigterm_answers_a_request_that_is_still_coming(lab):
    body = json.dumps({"group": "lab", "csr": "none"}).encode()
    context = ssl._create_unverified_context()
    with context.wrap_socket(socket.create_connection(("127.0.0.1", lab.port), 10)) as coming, \
            context.wrap_socket(socket.create_connection(("127.0.0.1", lab.port), 10)):  # the other one says nothing
        coming.sendall(b"POST /api/v1/renew HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                       b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert coming.recv(100).startswith(b"HTTP/1.1 100 ")  # it has read so far
        coming.sendall(body[:10])
        lab.process.send_signal(signal.SIGTERM)

        def refuses():
            try:
                socket.create_connection(("127.0.0.1", lab.port), 5).close()
            except ConnectionRefusedError:
                return True
        wait_for("no new connection is taken", refuses)
        time.sleep(0.5)
        assert lab.process.poll() is None
        coming.sendall(body[10:])
        response = http.client.HTTPResponse(coming)
        response.begin()
        answer = Answer(response)
        assert answer.status == 400 and answer.code == "bad_csr"
        assert lab.process.wait(3) == 0


def test_a_restart_changes_nothing_that_members_hold(lab, folder):
    blob, carol = lab.blob("lab", "bob"), Browser(lab).register("carol")
    port = lab.port
    lab.stop()
    lab.start(listen=f"127.0.0.1:{port}")
    assert lab.blob("lab", "bob")["server_pins"] == blob["server_pins"]
    assert carol.get("/groups").status == 200
    assert enrol(lab, blob, Key(folder)).status == 200


def test_another_name_gets_another_certificate_for_the_same_key(lab):
    pins = lab.blob("lab", "bob")["server_pins"]
    lab.stop()
    lab.start("--url", "https://ca.example.org:8443/")
    blob = lab.blob("lab", "bob")
    assert (blob["server"], blob["server_pins"]) == ("https://ca.example.org:8443", pins)
    served = ssl.get_server_certificate(("127.0.0.1", lab.port))
    assert "DNS:ca.example.org" in openssl("x509", "-noout", "-text", stdin=served.encode())[1]
    assert lab.http("GET", "/healthz", headers={"Host": "ca.example.org"}).status == 200


def test_a_certificate_that_was_given(ca, folder):
    certificate, key = os.path.join(folder, "c.pem"), os.path.join(folder, "k.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key,
                    "-out",
                    certificate, "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1"],
                   check=True, stderr=subprocess.DEVNULL)
    ca.start("--tls-cert", certificate, "--tls-key", key)
    with open(certificate, encoding="ascii") as f:
        assert ssl.get_server_certificate(("127.0.0.1", ca.port)).strip() == f.read().strip()
    assert not os.path.exists(os.path.join(ca.data, "tls.key"))
    ca.stop()
    other = Key(folder)
    done = ca.run("serve", "--listen", "127.0.0.1:0", "--tls-cert", certificate, "--tls-key",
                  other.path, check=False)
    assert done.returncode == 1 and "not the certificate's" in done.stderr


def make_certificate(certificate, key):
    """For a key that may be there already."""
    if not os.path.exists(key):
        subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key],
                       check=True, stderr=subprocess.DEVNULL)
    subprocess.run(["openssl", "req", "-x509", "-key", key, "-out", certificate, "-subj", "/CN=x", "-addext",
                    "subjectAltName=IP:127.0.0.1"], check=True, stderr=subprocess.DEVNULL)


def let_expire(certificate, key):
    request = subprocess.run(["openssl", "req", "-new", "-key", key, "-subj", "/CN=x"], check=True, capture_output=True)
    subprocess.run(["openssl", "x509", "-req", "-signkey", key, "-days", "0", "-out", certificate], check=True,
                   input=request.stdout, stderr=subprocess.DEVNULL)


def shown(ca):
    return ssl.get_server_certificate(("127.0.0.1", ca.port)).strip()


def content(path):
    with open(path, encoding="ascii") as f:
        return f.read().strip()


def reload_says(ca, words):
    """SIGHUP, and the line that it makes in the log."""
    before = len(ca.log)
    ca.process.send_signal(signal.SIGHUP)
    until = time.monotonic() + 10
    while not re.search(r"^.*reload.*\n", ca.log[before:], re.M):
        assert ca.process.poll() is None and time.monotonic() < until, ca.log
        time.sleep(0.01)
    assert words in ca.log[before:], ca.log[before:]


def test_a_renewed_certificate_is_shown_from_a_reload_on(ca, folder):
    certificate, key, other, next_key = (os.path.join(folder, n) for n in ("c.pem", "k.pem", "o.pem", "n.pem"))
    make_certificate(certificate, key)
    first = content(certificate)
    ca.start("--tls-cert", certificate, "--tls-key", key)
    ca.user("alice")
    ca.run("group", "add", "lab", "--owner", "alice")
    (pin,) = ca.blob("lab", "alice")["server_pins"]
    context = ssl._create_unverified_context()
    kept = http.client.HTTPSConnection("127.0.0.1", ca.port, context=context, timeout=20)
    held = http.client.HTTPSConnection("127.0.0.1", ca.port, context=context, timeout=20)
    kept.connect()
    before = kept.sock

    def goes_on():
        """On the connection from before the first reload; asked each time, since an idle one is cut after 15 s."""
        kept.request("GET", "/healthz")
        answer = kept.getresponse()
        assert answer.status == 200 and answer.read() and kept.sock is before
    goes_on()
    assert shown(ca) == first

    # Who asks again and again, on a new connection each time, never fails meanwhile.
    seen, enough = [], threading.Event()

    def ask():
        while not enough.is_set():
            one = http.client.HTTPSConnection("127.0.0.1", ca.port, context=context, timeout=20)
            one.request("GET", "/healthz")
            seen.append(one.getresponse().status)
            one.close()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        try:
            for _ in range(5):
                make_certificate(certificate, key)
                reload_says(ca, "reloaded: the certificate that is served now ends 20")
                assert shown(ca) == content(certificate) != first
                goes_on()
        finally:
            enough.set()
        for one in asking:
            one.result()
    assert len(seen) > 5 and set(seen) == {200}

    # What is wrong is refused, and the one before is shown on.
    good = content(certificate)
    for words, wrong in (("is not PEM", lambda: shutil.copy(os.path.join(ca.data, "master.key"), certificate)),
                         ("not the certificate's", lambda: make_certificate(certificate, other)),
                         ("has expired", lambda: let_expire(certificate, key)),
                         ("cannot read the certificate or the key", lambda: os.unlink(certificate))):
        wrong()
        reload_says(ca, f"{words}; the certificate before is served on")
        assert shown(ca) == good
        goes_on()
    shutil.move(key, key + ".before")
    make_certificate(certificate, key)
    reload_says(ca, "announce the next one first (peal-ca tls announce); the certificate before is served on")
    assert shown(ca) == good and ca.blob("lab", "alice")["server_pins"] == [pin]

    # A key that was announced is taken, also when there was a restart in between.
    make_certificate(os.path.join(folder, "next.pem"), next_key)
    shutil.move(key + ".before", key)
    make_certificate(certificate, key)
    assert "cannot read a private key" in ca.run("tls", "announce", "--tls-key", certificate, check=False).stderr
    ca.run("tls", "announce", "--tls-key", next_key)
    assert "name its next key with --tls-key" in ca.run("tls", "announce", check=False).stderr
    announced = ca.blob("lab", "alice")["server_pins"]
    assert announced[0] == pin and len(announced) == 2
    # Connections that were there before feel nothing: one goes on, one's answer is held.
    held.request("GET", "/api/v1/groups/lab/events?after=0")
    make_certificate(certificate, key)
    reload_says(ca, "reloaded:")
    assert shown(ca) == content(certificate) != good
    goes_on()
    ca.run("group", "roll", "lab")
    assert json.loads(held.getresponse().read())["events"]
    ca.stop()
    ca.start("--tls-cert", certificate, "--tls-key", key)
    assert ca.blob("lab", "alice")["server_pins"] == announced
    shutil.copy(next_key, key)
    make_certificate(certificate, key)
    reload_says(ca, "reloaded:")
    assert shown(ca) == content(certificate)
    assert ca.blob("lab", "alice")["server_pins"] == announced[1:]


@pytest.mark.parametrize("appends", (True, False), ids=("appends", "adds a line"))
def test_behind_a_reverse_proxy(ca, folder, appends):
    """Who asks is whom the proxy heard: not the proxy, and not whom the client says."""
    ca.start("--proxy", "127.0.0.1,::1")
    proxy = ReverseProxy(ca, folder, appends)
    try:
        carol = Browser(proxy.client("127.0.0.3")).register("carol")
        assert carol.get("/groups").status == 200
        wrong = {"Authorization": "Bearer peal_nonsense"}

        def tries(client, **headers):
            return client.http("GET", "/api/v1/groups", headers={**wrong, **headers})
        eve = proxy.client("127.0.0.4")
        started = time.monotonic()
        let_in, _ = until_refused(lambda: tries(eve), 4)
        assert 20 <= let_in <= 20 + (time.monotonic() - started + 1) // 5
        assert tries(eve, **{"X-Forwarded-For": "127.0.0.77"}).status == 429
        assert tries(eve, **{"X-Forwarded-For": "127.0.0.1"}).status == 429
        assert tries(proxy.client("127.0.0.5")).status == 401
        # From elsewhere than the proxy nobody is believed.
        direct = proxy.client("127.0.0.6")
        direct.port, direct.proxy.trust = ca.port, ssl._create_unverified_context()
        assert tries(direct, **{"X-Forwarded-For": "127.0.0.4"}).status == 401
    finally:
        proxy.shutdown()
        proxy.server_close()
    assert ca.sql("SELECT address FROM audit WHERE verb = 'user.register' AND object = 'carol'") == [("127.0.0.3",)]
    # Members see the proxy's key, which we do not know: they trust whom their system trusts.
    ca.run("group", "add", "lab", "--owner", "carol")
    assert ca.blob("lab", "carol")["server_pins"] == []
    assert "reverse proxy" in ca.run("tls", "announce", check=False).stderr


def test_what_is_no_proxys_address(ca):
    for bad in ("localhost", "127.0.0.1:80", "10.0.0.0/8", "127.0.0.1,", ",".join(["127.0.0.1"] * 9)):
        done = ca.run("serve", "--listen", "127.0.0.1:0", "--proxy", bad, check=False)
        assert done.returncode == 2 and "--proxy takes" in done.stderr


def test_a_port_that_is_taken(lab):
    done = lab.run("serve", "--listen", f"127.0.0.1:{lab.port}", check=False)
    assert done.returncode == 1 and "in use" in done.stderr


def test_it_tells_systemd(ca, folder):
    path = os.path.join(folder, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(15)
        ca.start(env={**os.environ, "NOTIFY_SOCKET": path, "JOURNAL_STREAM": "1:2"})
        assert manager.recv(100) == b"READY=1"
        assert ca.stop() == 0
        assert manager.recv(100) == b"STOPPING=1"
    assert re.search(r"^<5>listening on ", ca.log, re.M)


def test_a_socket_of_the_service_managers(ca, folder):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ca.port = listening.getsockname()[1]
        ca.user("alice")

        def start(count="1", fd=listening.fileno()):
            return subprocess.Popen(["sh", "-c", 'LISTEN_PID=$$ exec "$0" serve --data "$1" --url https://127.0.0.1:1',
                                     PEAL_CA, ca.data], stderr=subprocess.PIPE, env={**os.environ, "LISTEN_FDS": count},
                                    preexec_fn=lambda: os.dup2(fd, 3), close_fds=False)

        # The socket outlives the service: the second one serves who has been waiting.
        for _ in range(2):
            service = start()
            try:
                until = time.monotonic() + 15
                while not os.path.exists(os.path.join(ca.data, "tls.crt")) and time.monotonic() < until:
                    time.sleep(0.02)
                assert ca.http("GET", "/healthz").status == 200
            finally:
                service.terminate()
                assert service.wait(20) == 0
                service.stderr.close()
        for count, fd in (("2", listening.fileno()), ("1", os.open("/dev/null", os.O_RDONLY))):
            refused = start(count, fd)
            assert refused.wait(20) == 2
            refused.stderr.close()


def test_nothing_secret_is_logged(lab, folder):
    blob, carol = lab.blob("lab", "bob"), Browser(lab).register("carol", "very secret word")
    assert enrol(lab, blob, Key(folder)).status == 200
    carol.get("/groups")
    lab.stop()
    secrets = [blob["secret"], blob["group_key"], carol.cookies["__Host-peal"], "very secret word",
               carol.form("/logout")["csrf"]]
    for secret in secrets:
        assert secret not in lab.log
    assert "POST /api/v1/enroll 200" in lab.log


def test_the_log_as_json(ca):
    ca.user("alice", "--admin", password="correct horse")  # or the set-up link is a line, which is no log
    ca.start("--log-json")
    alice = Browser(ca)
    alice.get("/")
    alice.submit("/login", name="alice", password="correct horse")
    alice.get("/groups")
    alice.get('/groups/"lab"\\')
    ca.stop()
    lines = [json.loads(line) for line in ca.log.splitlines() if line.startswith("{")]
    assert len(lines) == len(ca.log.splitlines())
    asked = [line for line in lines if line.get("route") == "/groups"]
    assert len(asked) == 1 and (asked[0]["status"], asked[0]["user"], asked[0]["level"]) == (200, "alice", "info")
    assert asked[0]["ms"] >= 0 and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", asked[0]["at"])


def test_kill_at_any_moment_loses_and_doubles_nothing(lab, folder):
    keys = [Key(folder) for _ in range(24)]
    issued, end = {}, time.monotonic() + 90

    def machine(i):
        """As a daemon does it: asks with its one secret until it has an answer."""
        blob = blobs[i]
        while time.monotonic() < end:
            try:
                answer = enrol(lab, blob, keys[i])
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
                continue
            assert answer.status == 200, answer.body
            issued[i] = answer.json["certificate"]
            return

    blobs = [lab.blob("lab", "bob") for _ in range(12)]
    lab.user("carol")
    lab.run("member", "request", "lab", "carol")
    lab.run("member", "approve", "lab", "carol")
    blobs += [lab.blob("lab", "carol") for _ in range(12)]
    port = lab.port
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        work = [pool.submit(machine, i) for i in range(len(keys))]
        for _ in range(6):
            time.sleep(0.03)
            lab.stop(signal.SIGKILL)
            lab.start(listen=f"127.0.0.1:{port}")
        for one in work:
            one.result()
    assert len(issued) == len(keys)
    # Whoever was answered before a kill gets the same again.
    for i, key in enumerate(keys):
        assert enrol(lab, blobs[i], key).json["certificate"] == issued[i]
    assert lab.sql("PRAGMA integrity_check") == [("ok",)]
    assert lab.sql("SELECT count(*), count(DISTINCT enrolment), count(DISTINCT node),"
                   " max(enrolment) FROM machines") == [(24, 24, 24, 24)]
    assert lab.sql("SELECT count(DISTINCT serial) FROM certificates") == [(24,)]


def test_backup_and_restore_beside_a_running_service(lab, folder):
    blob, key = lab.blob("lab", "bob"), Key(folder)
    assert enrol(lab, blob, key).status == 200
    unused, path = lab.blob("lab", "bob"), os.path.join(folder, "backup")
    lab.run("backup", path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert sorted(os.listdir(folder)) == sorted({"backup", "data", os.path.basename(key.path)})
    with open(path, "rb") as f:
        backup = f.read()
    with open(os.path.join(lab.data, "tls.key"), "rb") as f:
        tls_key = f.read()
    assert tls_key[60:100] not in backup
    assert lab.run("backup", path, check=False).returncode == 1  # never over what is there

    lab.run("member", "revoke", "lab", "bob")
    assert lab.post("/api/v1/renew", {"group": "lab", "csr": key.csr}).code == "revoked"
    removed = int(lab.http("GET", "/api/v1/groups/lab/crl").headers["ETag"].strip('"'))
    lab.user("dave")
    lab.run("member", "request", "lab", "dave")
    lab.run("member", "deny", "lab", "dave", "--reason", "who?\nwhy?")
    assert lab.run("restore", path).stderr.splitlines() == [
        "peal-ca: undone, since it was after the backup: member.revoke lab bob",
        "peal-ca: undone, since it was after the backup: member.deny lab dave (who? why?)"]
    # The service goes on with it: bob is in again, and no number that members have seen comes again.
    assert lab.post("/api/v1/renew", {"group": "lab", "csr": key.csr}).status == 200
    assert int(lab.http("GET", "/api/v1/groups/lab/crl").headers["ETag"].strip('"')) > removed
    assert enrol(lab, unused, Key(folder)).code == "secret_expired"
    assert enrol(lab, lab.blob("lab", "bob"), Key(folder)).status == 200
    assert lab.sql("SELECT max(enrolment) FROM machines")[0][0] > 1000
    assert [n for n in os.listdir(lab.data) if n.startswith(("restore", "backup"))] == []
    assert any(n.startswith("peal-ca.sqlite.before-") for n in os.listdir(lab.data))


def test_all_that_a_restore_undoes_is_told(lab, folder):
    path = os.path.join(folder, "backup")
    lab.run("backup", path)
    lab.run("group", "add", "new", "--owner", "alice")
    lab.run("group", "roll", "lab")

    def used(count):
        """As if so many users had come in by an invitation."""
        with sqlite3.connect(os.path.join(lab.data, "peal-ca.sqlite"), timeout=20) as db:
            db.executemany("INSERT INTO audit (at_s, actor, address, verb, group_row, object, detail) SELECT at_s, ?,"
                           " '', 'invite.use', group_row, ?, '' FROM audit WHERE verb = 'ca.roll'",
                           [(f"u{i}", f"u{i}") for i in range(count)])
        db.close()

    used(998)
    told = lab.run("restore", path).stderr.splitlines()
    said = "peal-ca: undone, since it was after the backup: "
    assert told[:3] == [said + "group.add new new (" + told[0].rpartition("(")[2], said + "ca.roll lab lab (a new CA signs)",
                        said + "invite.use lab u0"]
    assert len(told) == 1000 and told[-1] == said + "invite.use lab u997"
    time.sleep(1)  # the file that is kept is named after the second
    lab.run("group", "roll", "lab")
    used(1000)
    told = lab.run("restore", path).stderr.splitlines()
    assert len(told) == 1001 and told[-2] == said + "invite.use lab u998"
    kept = told[-1].removeprefix("peal-ca: more was undone: it stands in the audit log in ")
    with sqlite3.connect(kept) as db:
        assert db.execute("SELECT count(*) FROM audit WHERE verb = 'invite.use'").fetchone() == (1000,)
    db.close()


def test_a_backup_comes_back_elsewhere_with_its_master_key_only(lab, folder):
    blob, key, path = lab.blob("lab", "bob"), Key(folder), os.path.join(folder, "backup")
    assert enrol(lab, blob, key).status == 200
    lab.run("backup", path)
    other = Ca(os.path.join(folder, "other"))
    refused = other.run("restore", path, check=False)
    assert refused.returncode == 1 and "master key" in refused.stderr
    shutil.rmtree(other.data)
    os.mkdir(other.data)
    shutil.copy(os.path.join(lab.data, "master.key"), other.data)
    with open(path, "rb") as f:
        backup = f.read()
    for broken in (b"", b"nonsense" * 100, backup[:len(backup) // 2]):
        with open(os.path.join(folder, "broken"), "wb") as f:
            f.write(broken)
        assert other.run("restore", os.path.join(folder, "broken"), check=False).returncode == 1
    other.run("restore", path)
    other.start()
    try:
        assert other.post("/api/v1/renew", {"group": "lab", "csr": key.csr}).status == 200
        assert other.blob("lab", "bob")["server_pins"] == blob["server_pins"]
    finally:
        other.stop()


def test_the_next_tls_key_is_announced_ahead(lab, folder):
    blob, key = lab.blob("lab", "bob"), Key(folder)
    (pin,) = enrol(lab, blob, key).json["server_pins"]
    assert lab.run("tls", "switch", check=False).returncode == 1
    lab.run("tls", "announce")
    lab.run("tls", "announce")  # twice is once
    assert "leave out --tls-key" in lab.run("tls", "announce", "--tls-key", key.path, check=False).stderr
    # At once, without a restart, for who renews and for new blobs; and after one.
    pins = lab.post("/api/v1/renew", {"group": "lab", "csr": key.csr}).json["server_pins"]
    assert pins[0] == pin and len(pins) == 2
    assert lab.blob("lab", "bob")["server_pins"] == pins
    lab.stop()
    lab.start()
    assert lab.blob("lab", "bob")["server_pins"] == pins
    lab.run("tls", "switch")
    reload_says(lab, "reloaded:")
    served = ssl.get_server_certificate(("127.0.0.1", lab.port))
    public = openssl("x509", "-noout", "-pubkey", stdin=served.encode())[1]
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=public.encode(),
                         capture_output=True, check=True).stdout
    assert base64.b64encode(hashlib.sha256(der).digest()).decode() == pins[1]
    assert lab.blob("lab", "bob")["server_pins"] == [pins[1]]
    assert lab.http("GET", "/healthz").status == 200
    kept = [n for n in os.listdir(lab.data) if n.startswith("tls.key.before-")]
    assert len(kept) == 1 and stat.S_IMODE(os.stat(os.path.join(lab.data, kept[0])).st_mode) == 0o600

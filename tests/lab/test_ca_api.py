"""The management interface of peal-ca as a program meets it: tokens, versions, limits, exports."""

import base64
import csv
import io
import json
import os
import re
import shutil
import signal
import tempfile
import time

import pytest
from ca_client import Browser, Ca, Key, enrol, until_refused


@pytest.fixture(scope="module")
def folder():
    path = tempfile.mkdtemp(prefix="peal-test-ca-api-")
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def ca(folder):
    made = Ca(os.path.join(folder, "data"))
    made.start()
    made.user("alice", password="correct horse")
    made.user("carol")
    made.run("group", "add", "lab", "--owner", "alice", "--ipv4", "10.77.0.0/16")
    yield made
    made.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def alice(ca):
    browser = Browser(ca)
    browser.get("/")
    assert browser.submit("/login", name="alice", password="correct horse").status == 303
    return browser


def make_token(browser, **form):
    browser.get("/account/tokens")
    fields = {"scope-members": "", "scope-machines": "", "scope-manage": "", "days": "1", "name": "test"}
    page = browser.submit("/account/tokens", **{**fields, **form})
    assert page.status == 200, page.text
    return re.search(r">(peal_[\w-]{43})<", page.text).group(1)


@pytest.fixture(scope="module")
def program(ca, alice):
    token = make_token(alice, **{"scope-members": "1", "scope-machines": "1", "scope-manage": "1"})

    def ask(method, path, value=None, token=token, **headers):
        headers = {name.replace("_", "-"): text for name, text in headers.items()}
        headers["Authorization"] = "Bearer " + token
        if value is not None:
            headers["Content-Type"] = "application/json"
        return ca.http(method, "/api/v1" + path, None if value is None else json.dumps(value), headers)

    return ask


def test_a_members_way_in_and_out(ca, program, folder):
    assert program("GET", "/groups").json == {"groups": [{"name": "lab", "role": "owner", "state": "approved"}]}
    ca.run("member", "request", "lab", "carol", "--reason", "please")
    waiting = program("GET", "/groups/lab/members?state=requested").json
    assert [(m["user"], m["reason"]) for m in waiting["members"]] == [("carol", "please")] and waiting["total"] == 1
    assert program("POST", "/groups/lab/members/carol/approve", {"note": "hello"}).status == 200
    assert enrol(ca, ca.blob("lab", "carol"), Key(folder)).status == 200
    carol = program("GET", "/groups/lab/members/carol").json
    assert (carol["state"], carol["note"], carol["decided_by"]) == ("approved", "hello", "alice")
    (machine,) = carol["machines"]
    assert machine["hostname"] == "ws" and machine["seen_address"] == "127.0.0.1" and not machine["removed"]
    assert program("POST", f"/groups/lab/machines/{machine['node']}/revoke", {}).status == 200
    assert program("GET", "/groups/lab/members/carol").json["machines"][0]["removed"]
    assert program("POST", f"/groups/lab/machines/{machine['node']}/revoke", {}).code == "no_such_machine"
    assert program("POST", "/groups/lab/members/carol/role", {"role": "auditor"}).status == 200
    assert program("POST", "/groups/lab/members/carol/revoke", {"note": "bye"}).status == 200
    assert program("GET", "/groups/lab/members/carol").json["role"] == "member"
    assert program("POST", "/groups/lab/members/alice/revoke", {}).code == "last_owner"


def test_a_file_for_ones_own_machine_and_the_one_after_a_loss(ca, alice, program, folder):
    blob = program("POST", "/groups/lab/blob", {}).json
    assert blob["user"] == "alice" and enrol(ca, blob, Key(folder)).status == 200
    (machine,) = program("GET", "/groups/lab/members/alice").json["machines"]
    assert program("POST", f"/groups/lab/machines/{machine['node']}/lost", {"note": "stolen"}).status == 200
    assert program("POST", "/groups/lab/blob", {}).code == "needs_approval"
    (waiting,) = program("GET", "/groups/lab/members?state=requested").json["members"]
    assert (waiting["user"], waiting["state"], waiting["further"]) == ("alice", "approved", "asked")
    assert waiting["reason"] == "lost ws: stolen"
    assert ca.run("blob", "lab", "alice", check=False).returncode == 4
    assert ca.run("member", "deny", "lab", "alice").returncode == 0
    assert program("POST", "/groups/lab/members/alice/request", {"reason": "really"}).status == 200
    # Her own she agrees to only while nobody else could.
    ca.run("member", "role", "lab", "carol", "approver")
    assert program("POST", "/groups/lab/members/alice/approve", {"note": "well"}).code == "not_permitted"
    page = alice.get("/groups/lab").text
    assert "Somebody else who approves has to agree." in page and 'action="/groups/lab/approve"' not in page
    assert "Allow another machine" not in alice.get("/groups/lab/members/alice").text
    ca.run("member", "role", "lab", "carol", "member")
    assert 'action="/groups/lab/approve"' in alice.get("/groups/lab").text
    assert "Allow another machine" in alice.get("/groups/lab/members/alice").text
    assert program("POST", "/groups/lab/members/alice/approve", {"note": "well"}).status == 200
    assert program("GET", "/groups/lab/members/alice").json["further"] == "free"
    assert program("POST", "/groups/lab/blob", {}).status == 200


def test_a_map_of_the_most_machines_fits_a_request(ca, program):
    assert program("GET", "/groups/lab/map").json == {"schema": "peal.ca-map/1", "group": "lab", "map": None}
    head, node, tail, most = 68, 36, 64, 1200
    for size, code in ((head + most * node + tail, "bad_request"), (50 * 1024, "too_large")):
        message = base64.b64encode(bytes(size)).decode()
        assert program("POST", "/groups/lab/map", {"message": message}).code == code


def test_an_edit_names_the_version_it_starts_from(program):
    group = program("GET", "/groups/lab")
    tag = group.headers["ETag"]
    assert program("POST", "/groups/lab", {"lease_hours": 12}).code == "no_version"
    edited = program("POST", "/groups/lab", {"lease_hours": 12, "bootstrap": ["192.0.2.1:4747"]}, If_Match=tag)
    assert (edited.status, edited.json["lease_hours"], edited.json["bootstrap"]) == (200, 12, ["192.0.2.1:4747"])
    assert edited.json["certificate_days"] == group.json["certificate_days"]
    late = program("POST", "/groups/lab", {"lease_hours": 13}, If_Match=tag)
    assert (late.status, late.code) == (412, "changed")
    for broken in ("*", '"x"', "1", '""'):
        assert program("POST", "/groups/lab", {"lease_hours": 13}, If_Match=broken).status == 412
    assert program("POST", "/groups/lab", {"lease_hours": "13"}, If_Match=edited.headers["ETag"]).status == 400


def test_scopes_groups_and_the_end_of_a_token(ca, alice, program):
    reading, lab = make_token(alice), make_token(alice, group="lab", **{"scope-manage": "1"})
    assert program("GET", "/groups/lab/members", token=reading).status == 200
    assert program("POST", "/groups/lab/members/carol/approve", {}, token=reading).code == "not_permitted"
    ca.run("group", "add", "other", "--owner", "alice")
    assert program("GET", "/groups/other/members").status == 200
    assert program("GET", "/groups/other/members", token=lab).status == 403
    assert [g["name"] for g in program("GET", "/groups", token=lab).json["groups"]] == ["lab"]
    numbers = re.findall(r'name="token" value="(\d+)"', alice.get("/account/tokens").text)
    assert alice.submit("/account/tokens/end", token=numbers[0]).status == 303
    gone = program("GET", "/groups/lab/members", token=lab)
    assert (gone.status, gone.code, gone.headers["WWW-Authenticate"]) == (401, "bad_token", "Bearer")


def test_the_audit_log_as_csv_and_json(alice, program):
    log = program("GET", "/groups/lab/audit").json
    assert log["schema"] == "peal.ca-audit/1" and log["events"][-1]["verb"] == "group.add"
    rows = list(csv.DictReader(io.StringIO(alice.get("/groups/lab/audit.csv").text, newline="")))
    assert [(r["number"], r["verb"], r["detail"]) for r in rows] == [
        (str(e["number"]), e["verb"], e["detail"]) for e in log["events"]]
    assert alice.get("/groups/lab/audit.json").json == log


def test_a_spreadsheet_finds_no_formula(ca, alice):
    ca.user("mallory")
    ca.run("member", "request", "lab", "mallory", "--reason", '=cmd|"/c calc"!A1')
    rows = list(csv.DictReader(io.StringIO(alice.get("/groups/lab/audit.csv").text, newline="")))
    assert rows[0]["detail"] == "'=cmd|\"/c calc\"!A1"


def test_the_description_is_whole(ca, program):
    """Every operation of the description is there, and refuses who shows no token."""
    described = ca.http("GET", "/api/v1/openapi.json").json
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if "security" not in operation:
                continue
            filled = re.sub(r"{\w+}", "lab", path)
            answer = ca.http(method.upper(), filled, "{}" if method == "post" else None,
                             {"Content-Type": "application/json"} if method == "post" else {})
            assert answer.status in (401, 429), (method, path)
            if answer.status == 429:
                assert int(answer.headers["Retry-After"]) >= 1


def test_tokens_tried_by_list_run_into_the_limit(ca, program):
    started = time.monotonic()
    let_in, refused = until_refused(lambda: program("GET", "/groups", token="peal_" + "x" * 43), 3)
    assert let_in <= 20 + (time.monotonic() - started + 1) // 5 and refused >= 1

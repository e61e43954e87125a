"""peal as people and scripts meet it: mistakes, exit statuses, words, and what is remembered."""

import json
import os
import re
import signal
import stat
import subprocess

import pytest

from lab import binary, run, wait_for

# What is typed, the exit status, a word of the explanation. None of it needs a daemon.
MISTAKES = [
    ([], 2, "Usage"),
    (["stauts"], 2, 'did you mean "status"'),
    (["help"], 2, "unknown command"),
    (["status", "--bogus"], 2, "unknown option --bogus"),
    (["status", "--bogus=3"], 2, "unknown option --bogus=3"),
    (["status", "-x"], 2, "unknown option -x"),
    (["--json", "status", "-xy"], 2, "unknown option -x"),
    (["status", "--json=yes"], 2, "--json takes no value"),
    (["status", "--network"], 2, "--network needs a value"),
    (["ping", "alice", "-c"], 2, "-c needs a value"),
    (["ping", "alice", "-c", "0"], 2, "from 1"),
    (["ping", "alice", "-c", "x"], 2, "expected a number"),
    (["ping"], 2, "peal ping WHO"),
    (["status", "alice"], 2, "usage: peal status"),
    (["status", "-c", "3"], 2, "no such option"),
    (["gateway", "bogus"], 2, "gateway list"),
    (["new"], 2, "peal new NAME"),
    (["new", "foo bar"], 2, "group's name"),
    (["new", "lab", "--ipv4", "10.0.0.0/40"], 2, "private range"),
    (["new", "lab", "--ipv4", "8.8.0.0/16"], 2, "private range"),
    (["new", "lab", "--ipv4", "172.16.0.0/8"], 2, "private range"),
    (["new", "lab", "--bootstrap", "host"], 2, "host:port"),
    (["join", "/nonexistent"], 1, "/nonexistent"),
    (["status"], 3, "not running"),
]


@pytest.mark.parametrize("words,status,says", MISTAKES, ids=[" ".join(m[0]) or "nothing" for m in MISTAKES])
def test_mistakes_are_explained_to_people_and_scripts(tmp_path, words, status, says):
    argv = [binary("peal"), "--socket", str(tmp_path / "none"), *words]
    r = run(*argv, check=False)
    assert r.returncode == status and says in r.stderr
    if words and words[-1] not in ("-c", "--network"):
        error = json.loads(run(*argv, "--json", check=False).stdout)["error"]
        assert says in error["message"] and set(error) == {"code", "message"}


def test_an_answer_that_cannot_be_written_is_no_success():
    for words in (["--version"], ["--help"], ["new", "lab"]):
        with open("/dev/full", "w") as full:
            r = subprocess.run([binary("peal"), *words], stdout=full, stderr=subprocess.PIPE, text=True)
        assert r.returncode == 1 and "No space left" in r.stderr


def test_the_blob_of_a_new_group_is_its_makers_alone(tmp_path):
    path = tmp_path / "lab.peal"
    with open(path, "w") as f:
        os.fchmod(f.fileno(), 0o664)
        subprocess.run([binary("peal"), "new", "lab", "--ipv4", "10.9.3.4/16"], stdout=f, check=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["network"]["ipv4"] == "10.9.0.0/16"


def test_two_members_look_around(lab):
    a, b = lab.host("a"), lab.host("b")
    blob = lab.psk_blob("pair", "--bootstrap", f"{a.ip}:4747")
    a.start()
    a.join(blob, hostname="a")
    assert "alone" in a.peal("status").stdout
    b.start()
    b.join(blob, hostname="b")
    wait_for("each other", lambda: "about 2 members; 1 near connection, 0 shortcuts" in a.peal("status", "-n", "pair").stdout)
    assert [n["name"] for n in a.json("status", "-n", "pair")["networks"]] == ["pair"]
    for command in ("status", "peers", "members", "crawl"):
        assert a.peal(command, "-n", "other", check=False).returncode == 5

    r = a.peal("why", "a", check=False)
    assert r.returncode == 1 and "this machine itself" in r.stderr
    a.peal("ping", "b", "-c", "2")
    answer = a.peal("ping", "b", "--json").stdout + a.peal("peers", "--json").stdout
    assert not re.search(r"\d\.\d{14}", answer), answer

    # Ctrl-C ends a ping with its summary, and success when something answered.
    p = subprocess.Popen(a.argv(binary("peal"), "--socket", a.socket, "ping", "b"), stdout=subprocess.PIPE, text=True)
    assert "seq=1" in p.stdout.readline()
    p.send_signal(signal.SIGINT)
    out = p.communicate(timeout=10)[0]
    assert p.returncode == 0 and "sent" in out

    gone = b.network()["id"]
    b.stop(signal.SIGKILL)
    r = a.peal("ping", gone, "-c", "1", check=False)
    assert r.returncode == 6 and "no answer" in r.stdout


def test_joining_again_takes_up_what_was_said_before(lab):
    a = lab.host("a")
    blob = lab.psk_blob("home", "--bootstrap", f"{a.ip}:4747")
    a.start()
    a.join(blob, hostname="first", device="tap-home")
    address = a.address()
    a.peal("leave", "home")
    a.join(blob)
    n = a.network()
    assert (n["hostname"], n["device"], a.address()) == ("first", "tap-home", address)
    a.peal("leave", "home")
    a.join(blob, hostname="second")
    assert (a.network()["hostname"], a.network()["device"]) == ("second", "tap-home")


def test_a_bootstrap_whose_name_has_no_address_is_named(lab):
    a = lab.host("a")
    blob = lab.psk_blob("home", "--bootstrap", f"nowhere.invalid:4747,{a.ip}:4747")
    a.start("[daemon]\npublic = yes\nbootstrap = public.invalid:4748\n",
            wrap=("env", "RES_OPTIONS=timeout:1 attempts:1"))
    a.join(blob, hostname="a")
    for what, named in ((lambda: a.network(), "nowhere.invalid:4747"),
                        (lambda: a.json("status")["public"], "public.invalid:4748")):
        wait_for(f"{named} is unresolved", lambda: what()["unresolved"], 15)
        (e,) = what()["unresolved"]
        assert e["endpoint"] == named and e["error"] and 0 <= e["next_try_s"] <= 60
        assert f"tried        {named} (bootstrap): cannot be resolved: {e['error']}" in a.peal("status").stdout


def test_router_mode_is_refused_while_there_is_none(lab):
    a = lab.host("a")
    blob = lab.psk_blob("home")
    a.start()
    for options, status, says in (
        (["--mode", "router"], 2, "--bridge"),
        (["--mode", "router", "--bridge", "br0"], 1, "not available"),
        (["--bridge", "br0"], 2, "--mode router"),
        (["--mode", "repeater"], 2, "workstation or router"),
    ):
        r = a.peal("join", blob, *options, check=False)
        assert r.returncode == status and says in r.stderr
    assert a.json("status")["networks"] == []

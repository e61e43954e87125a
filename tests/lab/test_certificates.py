"""Certificates that must not open a session, seen by two machines whose clocks are weeks apart."""

import os

import pytest

from lab import Ca, run, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))


def refusal(host, word):
    return [r for r in host.json("peers")["refused"] if word in r["why"]]


@pytest.mark.parametrize("days,word", [(-40, "expired"), (40, "not yet valid")])
def test_a_certificate_outside_its_life_opens_no_session(lab, days, word):
    clock = os.path.join(lab.dir, "wallclock.so")
    run("cc", "-shared", "-fPIC", "-o", clock, os.path.join(HERE, "wallclock.c"))
    shifted = ("env", f"LD_PRELOAD={clock}", f"WALLCLOCK_SHIFT_S={days * 86400}")
    ca = Ca(lab.host("ca"))
    other, us = lab.host("other"), lab.host("us")
    ca.wrap = shifted if days < 0 else ()  # the group's own certificate is valid for both
    ca.group("dates", f"{other.ip}:4747")
    ca.wrap = shifted
    ca.start()
    other.start(wrap=shifted)
    other.join(ca.blob("dates", "other"), hostname="other")
    ca.stop()
    ca.wrap = ()
    ca.start()
    us.start()
    us.join(ca.blob("dates", "us"), hostname="us")
    said = wait_for("we say why", lambda: refusal(us, word), 20)
    assert said[0]["network"] == "dates"
    assert us.json("peers")["peers"] == []
    assert word in us.peal("peers").stdout
    assert word in us.daemon.log()

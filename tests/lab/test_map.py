"""The map of a group's ring: a member's machine that is told to sends it, the service keeps it."""

import json

from lab import Ca, wait_for


def test_a_map_comes_from_the_machine_of_a_member_with_a_role_only(lab):
    ca = lab.ca = Ca(lab.host("ca"))
    hosts = [lab.host(n) for n in ("a", "b", "c")]
    a, b, c = hosts
    ca.group("club", f"{a.ip}:4747")
    ca.start()
    blobs = [ca.blob("club", h.name) for h in hosts]
    ca("member", "role", "club", "a", "auditor")
    assert "no machine has sent a map yet" in ca("group", "map", "club").stdout
    b.start("[network club]\nmap = yes\n")
    c.start()
    for h, blob in zip((b, c), blobs[1:]):
        h.join(blob, hostname=h.name)
    a.start()
    a.join(blobs[0], hostname="a")
    for h in hosts:
        wait_for(f"{h.name} is up", lambda h=h: h.network("club")["state"] == "up", 30)
    wait_for("b, a plain member's, is refused", lambda: "did not take our map" in b.daemon.log(), 40)
    assert json.loads(ca("group", "map", "club", "--json").stdout)["map"] is None
    # The first map is the one that is looked at: the ring has settled before. Taken up live.
    wait_for("the ring is whole", lambda: (ring := a.json("crawl", check=False)).get("inconsistent") == 0
             and len(ring["nodes"]) == 3)
    with open(a.config, "w") as f:
        f.write("[network club]\nmap = yes\n")
    a.peal("reload")
    seen = wait_for("there is a map", lambda: json.loads(ca("group", "map", "club", "--json").stdout)["map"], 40)
    assert seen["by"] == a.network("club")["id"] and seen["cut"] is False and seen["members"] == 3
    assert {n["hostname"]: n["path"] for n in seen["nodes"]} == {"a": None, "b": "udp", "c": "udp"}
    assert all(n["answered"] and n["consistent"] and len(n["left"]) == 2 for n in seen["nodes"])
    print(ca("group", "map", "club").stdout)

"""A node of the public overlay: no group, no device, no privilege."""

import os

from lab import wait_for

NOBODY = 65534


def test_a_public_node_needs_no_privilege(lab):
    os.chmod(lab.dir, 0o755)
    hosts = [lab.host(f"p{i}") for i in range(3)]
    for h in hosts:
        os.chown(h.dir, NOBODY, NOBODY)
        h.start(f"[daemon]\npublic = yes\nbootstrap = {hosts[0].ip}:4747\n", wrap=(
            "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all",
            "--bounding-set=-all"))
    for h in hosts:
        wait_for(f"{h.name} knows the others", lambda: h.json("status")["public"]["connections"] == 2, 15)
        status = h.sh("grep", "-E", "^(Uid|CapEff|CapPrm)", f"/proc/{h.daemon.pid}/status").stdout
        assert status.split() == ["Uid:", *[str(NOBODY)] * 4, "CapPrm:", "0" * 16, "CapEff:", "0" * 16], status
        assert "tun" not in h.sh("ip", "-o", "link").stdout and "peal0" not in h.sh("ip", "-o", "link").stdout
        assert "warn" not in h.daemon.log(), h.daemon.log()
    for h in hosts:
        assert h.stop() == 0

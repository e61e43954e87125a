"""What an installation puts where: the tree, the units, the man pages, completion, the Debian packages."""

import os
import re
import shutil
import stat

import pytest

from lab import BUILD, TOP, binary, run, wait_for

PROGRAMS = {"usr/sbin/peald", "usr/bin/peal", "usr/bin/peal-ca", "usr/libexec/peal/peal-https",
            "usr/libexec/peal/peal-portmap"}
OTHERS = {
    "etc/peal/peald.conf",
    "usr/lib/systemd/system/peald.service",
    "usr/lib/systemd/system/peal-ca.service",
    "usr/lib/systemd/system/peal-ca.socket",
    "usr/lib/sysusers.d/peal.conf",
    "usr/lib/sysusers.d/peal-ca.conf",
    "usr/lib/tmpfiles.d/peal-ca.conf",
    "usr/share/man/man1/peal.1",
    "usr/share/man/man5/peald.conf.5",
    "usr/share/man/man8/peald.8",
    "usr/share/man/man8/peal-ca.8",
    "usr/share/bash-completion/completions/peal",
    "usr/share/bash-completion/completions/peal-ca",
}


def install(dest, prefix="/usr"):
    run("cmake", "--install", BUILD, "--prefix", prefix, env=os.environ | {"DESTDIR": dest})


def files(top):
    return {os.path.relpath(os.path.join(d, f), top) for d, _, names in os.walk(top) for f in names}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    dest = str(tmp_path_factory.mktemp("dest"))
    install(dest)
    return dest


def test_everything_is_installed_and_nothing_else(tree):
    assert files(tree) == PROGRAMS | OTHERS
    for name in files(tree):
        mode = stat.S_IMODE(os.stat(os.path.join(tree, name)).st_mode)
        assert mode == (0o755 if name in PROGRAMS else 0o644), name


def test_units_name_the_programs_where_they_are(tree):
    for unit in ("peald", "peal-ca"):
        with open(f"{tree}/usr/lib/systemd/system/{unit}.service") as f:
            start = next(line for line in f if line.startswith("ExecStart="))
        assert os.path.exists(tree + start.split("=")[1].split()[0]), start


def test_the_sample_configuration_is_right_and_an_administrators_own_stays(tmp_path):
    dest = str(tmp_path)
    install(dest, "/usr/local")
    conf = tmp_path / "etc/peal/peald.conf"
    run(f"{dest}/usr/local/sbin/peald", "-t", "-c", str(conf))
    every_line = tmp_path / "every-line.conf"
    every_line.write_text(re.sub(r"(?m)^#(?=\[|[a-z_]+ =)", "", conf.read_text()))
    assert "\nport = 4747" in every_line.read_text() and "\n[network lab]\ndevice" in every_line.read_text()
    run(binary("peald"), "-t", "-c", str(every_line))
    conf.write_text("[daemon]\nport = 4848\n")
    install(dest, "/usr/local")
    assert "4848" in conf.read_text()


def test_an_installed_daemon_finds_its_helper(tree, lab):
    """Enrolment by the installed programs: the refused connection is the helper's answer."""
    h = lab.host("h")
    ca = lab.host("ca")
    data = os.path.join(lab.dir, "ca")
    for words in (["user", "add", "admin", "--email", "a@example.net"], ["group", "add", "lab", "--owner", "admin"]):
        run(f"{tree}/usr/bin/peal-ca", *words, "--data", data)
    blob = os.path.join(lab.dir, "lab.peal")
    with open(blob, "w") as f:
        f.write(run(f"{tree}/usr/bin/peal-ca", "blob", "lab", "admin", "--url", f"https://{ca.ip}:8443", "--data",
                    data).stdout)
    h.spawn(f"{tree}/usr/sbin/peald", "--config", "/dev/null", "--state", h.state, "--socket", h.socket)
    peal = (f"{tree}/usr/bin/peal", "--socket", h.socket)
    wait_for("peald answers", lambda: h.sh(*peal, "status", check=False).returncode == 0, 10)
    r = h.sh(*peal, "join", blob, check=False)
    assert r.returncode == 1 and f"cannot reach https://{ca.ip}:8443" in r.stderr, r.stderr


@pytest.mark.parametrize("page", sorted(os.listdir(os.path.join(TOP, "packaging/man"))))
def test_man_pages_render_without_a_warning(page):
    r = run("man", "--warnings", "-E", "UTF-8", "-l", os.path.join(TOP, "packaging/man", page),
            env=os.environ | {"MANWIDTH": "80"})
    assert r.stderr == "" and "SEE ALSO" in r.stdout


def test_every_option_of_help_is_in_the_man_page():
    for program, page in (("peal", "peal.1"), ("peald", "peald.8"), ("peal-ca", "peal-ca.8")):
        said = run(binary(program), "--help").stdout
        with open(os.path.join(TOP, "packaging/man", page)) as f:
            text = f.read().replace("\\-", "-").replace("Fl -", "--")
        for word in said.replace("[", " ").replace("]", " ").replace(",", " ").split():
            if word.startswith("--") and word not in ("--help", "--version"):
                assert word in text, (page, word)


@pytest.mark.parametrize("typed,offered", [
    ("peal st", {"status"}),
    ("peal --json m", {"members", "metrics"}),
    ("peal gateway a", {"auto"}),
    ("peal join --m", {"--mode"}),
    ("peal join --mode r", {"router"}),
    ("peal-ca member re", {"request", "revoke"}),
    ("peal-ca group add lab --ow", {"--owner"}),
])
def test_completion_offers_what_there_is(tree, typed, offered):
    words = typed.split()
    function = "_" + words[0].replace("-", "_")
    script = (f'. "{tree}/usr/share/bash-completion/completions/{words[0]}"; COMP_WORDS=({typed}); '
              f'COMP_CWORD={len(words) - 1}; {function}; echo "${{COMPREPLY[@]}}"')
    env = os.environ | {"PATH": f"{tree}/usr/bin:{os.environ['PATH']}", "PEAL_SOCKET": "/nonexistent"}
    assert set(run("bash", "-c", script, env=env).stdout.split()) == offered


def test_debian_packages(tmp_path):
    run("cpack", "-G", "DEB", "--config", os.path.join(BUILD, "CPackConfig.cmake"), "-B", str(tmp_path), timeout=600)
    packages = {p.name.split("_")[0]: str(p) for p in tmp_path.glob("*.deb")}
    assert set(packages) == {"peal", "peal-ca"}
    inside = {}
    for name, path in packages.items():
        run("dpkg-deb", "-R", path, str(tmp_path / name))
        inside[name] = {f for f in files(tmp_path / name) if not f.startswith("DEBIAN")}
        control = (tmp_path / name / "DEBIAN/control").read_text()
        assert f"Package: {name}\n" in control and "libsodium23" in control
        with open(tmp_path / name / "DEBIAN/postinst") as f:
            script = f.read()
        assert " start " not in script and " enable" not in script
        for part in ("postinst", "prerm", "postrm"):
            run("sh", "-n", str(tmp_path / name / "DEBIAN" / part))
    assert inside["peal"].isdisjoint(inside["peal-ca"])
    assert inside["peal"] | inside["peal-ca"] == PROGRAMS | OTHERS
    assert (tmp_path / "peal/DEBIAN/conffiles").read_text() == "/etc/peal/peald.conf\n"
    shutil.rmtree(tmp_path / "_CPack_Packages", ignore_errors=True)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is in the packages: files, modes, dependencies, scripts, units, hardening. Nothing is installed."""
import os
import re
import shutil
import subprocess
import tempfile

from deb import PACKAGES, SOURCE, deb, run, run_checks

FILES = {
    "loadstar": """
        /etc/loadstar/loadstar.toml /lib/systemd/network/10-loadstar.network /lib/systemd/system/loadstar-watchdog.service
        /lib/systemd/system/loadstard.service /usr/bin/loadstar /usr/lib/NetworkManager/conf.d/10-loadstar.conf
        /usr/lib/sysctl.d/60-loadstar.conf /usr/lib/systemd/networkd.conf.d/10-loadstar.conf /usr/lib/sysusers.d/loadstar.conf
        /usr/lib/tmpfiles.d/loadstar.conf /usr/sbin/loadstar-watchdog /usr/sbin/loadstard
        /usr/share/bash-completion/completions/loadstar /usr/share/doc/loadstar/architecture.md
        /usr/share/doc/loadstar/changelog.Debian.gz /usr/share/doc/loadstar/copyright /usr/share/doc/loadstar/examples/loadstar.toml
        /usr/share/fish/vendor_completions.d/loadstar.fish /usr/share/lintian/overrides/loadstar /usr/share/man/man1/loadstar.1.gz
        /usr/share/man/man5/loadstar.toml.5.gz /usr/share/man/man8/loadstar-watchdog.8.gz /usr/share/man/man8/loadstard.8.gz
        /usr/share/zsh/vendor-completions/_loadstar""".split(),
    "loadstar-cni": """
        /usr/lib/loadstar/cni/loadstar-cni /usr/share/doc/loadstar-cni/changelog.Debian.gz /usr/share/doc/loadstar-cni/copyright
        /usr/share/lintian/overrides/loadstar-cni /usr/share/man/man8/loadstar-cni.8.gz""".split(),
}
# Pages of the documentation, which come and go: /usr/share/doc/loadstar/{operate,design}/*.md.
PAGES = re.compile(r"/usr/share/doc/loadstar/(operate|design)/[\w-]+\.md")
PROGRAMS = {"/usr/bin/loadstar", "/usr/sbin/loadstard", "/usr/sbin/loadstar-watchdog", "/usr/lib/loadstar/cni/loadstar-cni"}
# What systemd-analyze security may say of a unit at most, from 0 (locked in) to 10.
EXPOSURE = {"loadstard.service": 2.0, "loadstar-watchdog.service": 2.0}

root = None  # both packages, unpacked


def control(package, field):
    return run("dpkg-deb", "-f", deb(package), field).strip()


def listing(package):
    """(mode and kind, owner, path) of everything in a package."""
    for line in run("dpkg-deb", "-c", deb(package)).splitlines():
        mode, owner, _, day, _, path = line.split(None, 5)
        assert day == "2023-11-14", f"{path} is of {day}, not of SOURCE_DATE_EPOCH"
        yield mode, owner, path[1:]


def files_are_those_of_the_list():
    """files, owners and modes are those that this test lists"""
    for package in PACKAGES:
        files = set()
        for mode, owner, path in listing(package):
            assert owner == "root/root", f"{path} belongs to {owner}"
            if mode[0] == "d":
                assert mode == "drwxr-xr-x", f"{path} has mode {mode}"
                continue
            assert mode == ("-rwxr-xr-x" if path in PROGRAMS else "-rw-r--r--"), f"{path} has mode {mode}"
            if not PAGES.fullmatch(path):
                files.add(path)
        assert files == set(FILES[package]), f"{package}: more {sorted(files - set(FILES[package]))}, less {sorted(set(FILES[package]) - files)}"
    for folder in ("operate", "design"):
        for page in os.listdir(os.path.join(SOURCE, "docs", folder)):
            assert os.path.exists(f"{root}/usr/share/doc/loadstar/{folder}/{page}"), f"{folder}/{page} is missing"


def dependencies_are_those_of_the_programs():
    """dependencies come from the programs, and every library they name is in one of them"""
    depends = control("loadstar", "Depends")
    for want in ("libbpf1 (>=", "libc6 (>=", "libssl3 (>=", "libsystemd0", "libstdc++6 (>=", "systemd (>= 247)"):
        assert want in depends, f"no '{want}' in {depends}"
    assert control("loadstar-cni", "Depends") == "", "loadstar-cni is static and depends on nothing"
    version = control("loadstar", "Version")
    assert version == control("loadstar-cni", "Version")
    assert f"loadstar-cni (= {version})" in control("loadstar", "Recommends")
    with open(os.path.join(SOURCE, "dist/deb/changelog"), encoding="utf-8") as f:
        assert f.readline().startswith(f"loadstar ({version}) "), f"the changelog does not begin with {version}"
    said = run(f"{root}/usr/sbin/loadstard", "--version").split()[-1]
    assert version.startswith(said + "-"), f"{version} is not {said}"
    return version


def scripts_are_right():
    """maintainer scripts are good shell, for dpkg, and conffiles are there"""
    with tempfile.TemporaryDirectory() as folder:
        run("dpkg-deb", "-e", deb("loadstar"), folder)
        for script in ("postinst", "prerm", "postrm"):
            path = os.path.join(folder, script)
            assert os.stat(path).st_mode & 0o777 == 0o755, f"mode of {script}"
            run("sh", "-n", path)
            if shutil.which("shellcheck"):
                run("shellcheck", "-s", "sh", path)
        with open(os.path.join(folder, "conffiles"), encoding="utf-8") as f:
            assert [line for line in f.read().split()] == [p for p in FILES["loadstar"] if p.startswith("/etc/")]


def sample_is_good():
    """the sample is what loadstard prints, and says what is missing before it can start"""
    with open(f"{root}/etc/loadstar/loadstar.toml", encoding="utf-8") as f:
        sample = f.read()
    assert sample == run(f"{root}/usr/sbin/loadstard", "--print-config", "--defaults")
    said = run(f"{root}/usr/sbin/loadstard", "--check", "--config", f"{root}/etc/loadstar/loadstar.toml", code=1)
    assert "node.address" in said and "mesos.masters" in said, said


def units_are_locked_in():
    """units are as locked in as promised"""
    out = []
    for unit, limit in EXPOSURE.items():
        said = run("systemd-analyze", "security", "--offline=true", "--no-pager", f"{root}/lib/systemd/system/{unit}")
        found = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said).group(1))
        assert found <= limit, f"{unit}: exposure {found} is above {limit}"
        out.append(f"{unit} {found}")
    return ", ".join(out)


def programs_are_hardened():
    """programs: position-independent, read-only relocations, no executable stack, stack protector, no debug data"""
    release = os.environ.get("LS_BUILD_TYPE") == "RelWithDebInfo"
    for path in PROGRAMS:
        said = run("readelf", "-hldW", root + path)
        assert re.search(r"Type:\s+DYN", said), f"{path} is not position-independent"
        assert "GNU_RELRO" in said and re.search(r"FLAGS.*NOW", said), f"{path}: relocations stay writable"
        assert re.search(r"GNU_STACK.* RW ", said), f"{path}: executable stack"
        symbols = run("readelf", "-W", "--dyn-syms", root + path)
        if path != "/usr/lib/loadstar/cni/loadstar-cni":  # it has everything inside and names nothing
            assert "__stack_chk_fail" in symbols, f"{path}: no stack protector"
            assert not release or "_chk@GLIBC" in symbols.replace("__stack_chk_fail", ""), f"{path}: no checked functions of glibc"
        assert ".debug_info" not in run("readelf", "-SW", root + path), f"{path} has debug data"


def nothing_names_the_place_of_building():
    """no file names the folder it was built in"""
    hits = subprocess.run(["grep", "-rlaF", SOURCE + "/", root], stdout=subprocess.PIPE, text=True, check=False).stdout
    assert hits == "", hits


def manual_and_completion_are_whole():
    """manual pages and completions are not empty and of this version's commands"""
    for package, names in FILES.items():
        for path in (p for p in names if "/man/" in p):
            text = run("gzip", "-dc", root + path)
            assert ".TH" in text and len(text) > 1000, f"{package}: {path}"
    for path in ("/usr/share/bash-completion/completions/loadstar", "/usr/share/zsh/vendor-completions/_loadstar",
                 "/usr/share/fish/vendor_completions.d/loadstar.fish"):
        with open(root + path, encoding="utf-8") as f:
            assert "overlay" in f.read(), path
    run("bash", "-n", root + "/usr/share/bash-completion/completions/loadstar")


def links_between_pages_lead_somewhere():
    """links between the pages that are installed lead to pages that are installed"""
    base = f"{root}/usr/share/doc/loadstar"
    for folder, _, names in os.walk(base):
        for name in (n for n in names if n.endswith(".md")):
            with open(os.path.join(folder, name), encoding="utf-8") as f:
                for target in re.findall(r"\]\(([^)#:]+\.md)[^)]*\)", f.read()):
                    assert os.path.exists(os.path.join(folder, target)), f"{folder.removeprefix(base)}/{name}: {target}"


def commands_of(*program):
    """Commands that a program's help names, by their first words."""
    said = run(*program, "--help")
    return set(re.findall(r"^  ([a-z-]+)  ", said.partition("Subcommands:")[2], re.MULTILINE))


def pages_name_commands_that_exist():
    """every command of loadstar and loadstard that a page for operators shows exists"""
    # Code: between fences, indented by four, in backticks. In it, the word behind the program and the one behind that.
    code = re.compile(r"^```.*?^```|^    [^\n]*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
    shown = re.compile(r"(?:^|`|'|\$ |sudo |&& |; )\s*(loadstard?) ([a-z-]+)(?: ([a-z][a-z-]*))?", re.MULTILINE)
    programs = {"loadstar": f"{root}/usr/bin/loadstar", "loadstard": f"{root}/usr/sbin/loadstard"}
    known = {name: commands_of(path) for name, path in programs.items()}
    deeper = {(name, c): commands_of(path, c) for name, path in programs.items() for c in known[name]}
    flags = set(re.findall(r"--[a-z-]+", run(programs["loadstard"], "--help")))
    seen = 0
    pages = [os.path.join(SOURCE, "docs/operate", p) for p in os.listdir(os.path.join(SOURCE, "docs/operate"))]
    for page in [*pages, os.path.join(SOURCE, "vagrant/README.md"), os.path.join(SOURCE, "README.md")]:
        with open(page, encoding="utf-8") as f:
            text = "\n".join(line for part in code.findall(f.read()) for line in part.splitlines())
        for name, first, second in shown.findall(text):
            if first.startswith("--"):
                assert name == "loadstar" or first in flags, f"{os.path.basename(page)}: {name} {first}"
                continue
            assert first in known[name], f"{os.path.basename(page)}: {name} {first}"
            assert not second or not deeper[name, first] or second in deeper[name, first], f"{os.path.basename(page)}: {name} {first} {second}"
            seen += 1
    assert seen > 50, f"only {seen} commands found in {len(pages)} pages"
    return f"{seen} commands"


def lintian_is_content():
    """lintian finds no error and no warning"""
    if not shutil.which("lintian"):
        return "skipped, lintian is not installed"
    run("lintian", "--allow-root", "--fail-on", "error,warning", deb("loadstar"), deb("loadstar-cni"))
    return ""


def testbed_is_described_well():
    """vagrant validate takes the Vagrantfile, and its configurations are good"""
    masters = ("--masters", "192.168.56.11,192.168.56.12,192.168.56.13")
    for kind in ("static", "zookeeper"):
        for role, address in (("master", "192.168.56.11"), ("master", "192.168.56.12"), ("agent", "192.168.56.21")):
            place = os.path.join(root, "testbed", kind, address)
            run(f"{SOURCE}/vagrant/config", role, "--root", place, "--kind", kind, "--address", address, *masters, "--uplink", "eth1", "--set", "log.level=\"debug\"")
            run(f"{root}/usr/sbin/loadstard", "--check", "--config", f"{place}/etc/loadstar/loadstar.toml")
    run(f"{SOURCE}/vagrant/config", "zookeeper", "--root", root, "--address", "192.168.56.12", *masters)
    with open(f"{root}/etc/zookeeper/conf/zoo.cfg", encoding="ascii") as f, open(f"{root}/etc/zookeeper/conf/myid", encoding="ascii") as number:
        assert "\nserver.3=192.168.56.13:2888:3888\n" in f.read() and number.read() == "2\n"
    with open(f"{SOURCE}/vagrant/Vagrantfile", encoding="ascii") as f:
        assert 'ENV.fetch("LOADSTAR_KIND", "zookeeper")' in f.read(), "another kind than scripts/lab has"
    for script in ("vagrant/provision", "scripts/lab"):
        run("bash", "-n", f"{SOURCE}/{script}")
    if not shutil.which("vagrant"):
        return "vagrant validate skipped, vagrant is not installed"
    # --ignore-provider: where the test runs there is nothing that could run virtual machines.
    run("vagrant", "validate", "--ignore-provider", cwd=f"{SOURCE}/vagrant",
        env={**os.environ, "HOME": root, "VAGRANT_HOME": f"{root}/vagrant-home", "VAGRANT_DOTFILE_PATH": f"{root}/vagrant-dot"})
    return ""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as root:
        for each in PACKAGES:
            run("dpkg-deb", "-x", deb(each), root)
        run_checks([files_are_those_of_the_list, dependencies_are_those_of_the_programs, scripts_are_right, sample_is_good, units_are_locked_in,
                    programs_are_hardened, nothing_names_the_place_of_building, manual_and_completion_are_whole,
                    links_between_pages_lead_somewhere, pages_name_commands_that_exist, lintian_is_content, testbed_is_described_well])

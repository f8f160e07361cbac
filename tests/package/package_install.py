#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The packages are installed, configured, used, installed again, removed and purged, by the real dpkg in a root of its own: a writable
layer over this machine's files, in namespaces of mounts, network and processes. Nothing of the machine changes.

systemd does not run there, as in an image that is being built; loadstard is started with the user and capabilities that its unit gives it."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

from deb import SOURCE, deb, run, run_checks, skip

# Below a folder that no source tree is in: it is hidden by what is mounted over it.
ROOT = "/mnt/root"
MASTER, AGENT, OTHER = "192.168.56.11", "192.168.56.21", "192.168.56.22"
NOT_CONFIGURED = 78  # EX_CONFIG
CAPS = "+bpf,+net_admin,+net_bind_service,+perfmon"
AS_UNIT = ("setpriv", "--reuid=loadstar", "--regid=loadstar", "--init-groups", f"--bounding-set=-all,{CAPS}", f"--inh-caps={CAPS}",
           f"--ambient-caps={CAPS}", "--no-new-privs")


def inside(*command, code=0):
    return run("chroot", ROOT, *command, code=code)


def dpkg(*arguments):
    # Flushing every file to the disk is of no use to what is thrown away, and so is the index of the manual.
    return inside("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--force-unsafe-io", "--no-triggers", *arguments)


def install():
    return dpkg("-i", *[f"/tmp/{os.path.basename(deb(p))}" for p in ("loadstar", "loadstar-cni")])


def mount_bpffs():
    """As systemd does it (src/shared/mount-setup.c): for root only."""
    run("mount", "-t", "bpf", "-o", "mode=0700", "bpf", f"{ROOT}/sys/fs/bpf")


def make_root():
    """Mounts the layer and what a system has besides files. The namespaces are ours alone already."""
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "tmpfs", "tmpfs", "/mnt")
    for folder in ("layer", "work", "root"):
        os.mkdir(f"/mnt/{folder}")
    try:
        run("mount", "-t", "overlay", "overlay", "-o", "lowerdir=/,upperdir=/mnt/layer,workdir=/mnt/work", ROOT)
    except AssertionError as e:
        skip(f"no overlay file system here: {e}")
    for kind, folder in (("proc", "proc"), ("sysfs", "sys"), ("tmpfs", "run"), ("tmpfs", "tmp")):
        run("mount", "-t", kind, kind, f"{ROOT}/{folder}")
    mount_bpffs()
    run("mount", "--rbind", "/dev", f"{ROOT}/dev")
    for package in ("loadstar", "loadstar-cni"):
        run("cp", deb(package), f"{ROOT}/tmp")
    # A machine of the testbed: one card with its own address, and for the stand-in of Mesos that of the master.
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1-far")
    for device in ("eth1", "eth1-far"):
        run("ip", "link", "set", device, "up")
    for address in (MASTER, AGENT):
        run("ip", "addr", "add", f"{address}/24", "dev", "eth1")
    # The stand-in's control socket is in /run of whoever starts it.
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    os.mkdir("/run/mesos-standin")


def exists(path):
    return os.path.lexists(ROOT + path)


def owner(path):
    return inside("stat", "-c", "%U:%G %a", path).strip()


def installs_and_starts_nothing():
    """a first installation makes user, folders and links, starts nothing, and says what to do"""
    said = install()
    assert "not started. Write /etc/loadstar/loadstar.toml" in said, said
    assert inside("id", "-un", "loadstar").strip() == "loadstar"
    for path, want in (("/etc/loadstar", "root:loadstar 750"), ("/etc/loadstar/conf.d", "root:loadstar 750"), ("/etc/loadstar/cni", "loadstar:loadstar 755"),
                       ("/sys/fs/bpf/loadstar", "loadstar:loadstar 750"), ("/sys/fs/bpf", "root:root 711")):
        assert owner(path) == want, f"{path}: {owner(path)}, not {want}"
    for unit in ("loadstard", "loadstar-watchdog"):
        assert exists(f"/etc/systemd/system/multi-user.target.wants/{unit}.service"), f"{unit} is not enabled"
    assert inside("dpkg", "--verify", "loadstar") == ""
    said = inside("loadstard", "--check", code=1)
    assert "node.address" in said, said
    assert inside("loadstard", code=NOT_CONFIGURED) == said
    for unit in ("loadstard", "loadstar-watchdog"):
        assert f"\nRestartPreventExitStatus={NOT_CONFIGURED}\n" in inside("cat", f"/lib/systemd/system/{unit}.service"), f"{unit} would be started again and again"


def units_are_understood():
    """units are understood by systemd, on a system that has what they name"""
    said = inside("systemd-analyze", "verify", "--man=no", "/lib/systemd/system/loadstard.service", "/lib/systemd/system/loadstar-watchdog.service")
    ours = [line for line in said.splitlines() if "loadstar" in line]
    assert not ours, "\n".join(ours)
    for file, want in (("systemd/networkd.conf", "ManageForeignRoutes=no"), ("sysctl.d", "-net.ipv4.conf.vtep1024.rp_filter = 2")):
        assert f"\n{want}\n" in inside("systemd-analyze", "cat-config", "--no-pager", file), f"{file} does not find what is ours"


def networkd_leaves_our_devices_alone():
    """systemd-networkd leaves our devices alone, also where a later file claims every device"""
    daemon_path = "/lib/systemd/systemd-networkd"
    if not exists(daemon_path):
        return "skipped, there is no systemd-networkd"
    ours, other = ("spartan", "vtep1024", "m-dcos", "d-dcos", "ls0123456789ab"), "br-other"
    with open(f"{ROOT}/tmp/networkd.sh", "w", encoding="utf-8") as f:
        # In a network of its own, and in a /run of its own with what its unit would make. timeout is the first process there: all ends with it.
        f.write("mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp\n"
                "mkdir -p /run/udev && chmod -R 777 /run/systemd/netif && mount -t sysfs -o ro sysfs /sys\n"
                f"printf '[Match]\nName=*-* *p*\n' >/run/systemd/network/90-all.network\nfor d in {' '.join((*ours, other))}; do ip link add $d type bridge; done\n"
                f"SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console exec timeout -s KILL 10 {daemon_path} 2>&1\n")
    p = subprocess.Popen(["chroot", ROOT, "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "/tmp/networkd.sh"],
                         stdout=subprocess.PIPE, text=True)
    missing, said = {*(f"{d}: State changed: initialized -> unmanaged" for d in ours), f"{other}: Configuring with"}, []
    for line in p.stdout:
        said.append(line)
        missing = {m for m in missing if not line.startswith(m)}
        if not missing:
            break
    p.kill()
    p.wait()
    assert not missing, f"networkd did not say {sorted(missing)}:\n{''.join(said[-40:])}"
    return ""


def is_configured_like_the_testbed():
    """the testbed's configuration is good, for the user of the unit too"""
    run(f"{SOURCE}/vagrant/config", "agent", "--root", ROOT, "--kind", "static", "--address", AGENT, "--masters", MASTER, "--uplink", "eth1", "--set", "lb.socket=false",
        "--set", "lb.ring_slots=1048576", "--set", "dns.kernel_megabytes=16", "--set", "mesos.backoff_min=\"100ms\"")
    inside("chgrp", "loadstar", "/etc/loadstar/token")
    assert "good (2 files)" in inside("loadstard", "--check")
    inside("mkdir", "-p", "/run/loadstar", "/var/lib/loadstar")  # RuntimeDirectory and StateDirectory of the unit
    inside("chown", "loadstar:loadstar", "/run/loadstar", "/var/lib/loadstar")
    said = inside(*AS_UNIT, "loadstard", "--check", "--machine")
    assert "machine: nothing keeps loadstard from starting" in said and "note" not in said, said


def check_names_what_is_missing():
    """--check --machine names what would make a start fail, and what it would go on without"""
    run("umount", f"{ROOT}/sys/fs/bpf")
    said = inside(*AS_UNIT, "loadstard", "--check", "--machine", code=1)
    assert "bpf.pin: no bpffs at /sys/fs/bpf/loadstar" in said, said
    mount_bpffs()
    said = inside(*AS_UNIT, "loadstard", "--check", "--machine", code=1)
    assert "bpf.pin: look at /sys/fs/bpf/loadstar: Permission denied; systemd-tmpfiles --create" in said, said
    inside("systemd-tmpfiles", "--create", "loadstar.conf")
    inside(*AS_UNIT, "loadstard", "--check", "--machine")

    nobody = ("setpriv", "--reuid=loadstar", "--regid=loadstar", "--init-groups", "--bounding-set=-all")
    said = inside(*nobody, "loadstard", "--check", "--machine", code=1)
    assert "CAP_BPF" in said and "start as root, or with the unit" in said, said

    with socket.create_server(("127.0.0.1", 62080)):
        said = inside(*AS_UNIT, "loadstard", "--check", "--machine")
    assert "api.listen: tcp 127.0.0.1:62080 is taken by another program" in said, said


def plugin_answers():
    """the plugin is there and says which versions of CNI it knows"""
    said = inside("env", "CNI_COMMAND=VERSION", "sh", "-c", 'echo "{\\"cniVersion\\": \\"1.0.0\\"}" | /usr/lib/loadstar/cni/loadstar-cni')
    assert "1.0.0" in json.loads(said)["supportedVersions"], said


daemon = None


def daemon_serves():
    """the daemon serves the task of the testbed's stand-in, as the user of its unit"""
    global daemon
    standin = subprocess.Popen([sys.executable, "-B", f"{SOURCE}/vagrant/standin", "master", MASTER], stdout=subprocess.PIPE, text=True)
    assert standin.stdout.readline().strip() == "ready"
    daemon = subprocess.Popen(["chroot", ROOT, *AS_UNIT, "loadstard"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 30
    while subprocess.run(["chroot", ROOT, "loadstar", "health"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode:
        if daemon.poll() is not None or time.monotonic() > deadline:
            daemon.kill()
            raise AssertionError(daemon.communicate()[0][-3000:])
        time.sleep(0.05)
    said = inside("loadstar", "vip", "show", "web.marathon")
    assert f"{AGENT}:31000" in said and f"{OTHER}:31000" in said, said
    run(sys.executable, "-B", f"{SOURCE}/vagrant/standin", "tasks", OTHER)
    while f"{AGENT}:31000" in said:
        assert time.monotonic() < deadline, said
        said = inside("loadstar", "vip", "show", "web.marathon")
    said = inside(*AS_UNIT, "loadstard", "--check", "--machine")
    assert "works with /sys/fs/bpf/loadstar: a second daemon would not start" in said and "is taken" not in said, said


def pins():
    return sorted(os.listdir(f"{ROOT}/sys/fs/bpf/loadstar/maps"))


def upgrade_keeps_what_is_there():
    """installed again: configuration, links and the kernel's tables stay, and the daemon is not ended by the package"""
    before, file = pins(), inside("cat", "/etc/loadstar/loadstar.toml")
    assert before, "no maps"
    said = inside("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--force-unsafe-io", "--no-triggers", "--force-confold", "-i",
                  f"/tmp/{os.path.basename(deb('loadstar'))}")
    assert "not started" not in said, said
    assert pins() == before and inside("cat", "/etc/loadstar/loadstar.toml") == file
    assert daemon.poll() is None


def removal_leaves_the_data_path():
    """removed: programs and files of this package are gone, the kernel's tables and the configuration stay, the resolver file is as before"""
    daemon.send_signal(signal.SIGTERM)  # what systemd would do, asked by prerm
    assert daemon.wait(10) == 0
    before = inside("cat", "/etc/resolv.conf")
    inside("loadstar-watchdog", "--once", code=3)  # nobody answers: the servers of the operator, of whom there is none
    tables = pins()
    dpkg("-r", "loadstar", "loadstar-cni")
    assert not exists("/usr/sbin/loadstard") and exists("/etc/loadstar/loadstar.toml")
    assert pins() == tables
    assert inside("cat", "/etc/resolv.conf") == before
    assert owner("/var/lib/loadstar-purge") == "root:root 700"
    run("ip", "link", "show", "spartan")


def purge_leaves_nothing():
    """purged: programs are out of the kernel, device, folders and links are gone, although the package's files went before"""
    said = dpkg("-P", "loadstar", "loadstar-cni")
    assert re.search(r"removed .*", said), said
    assert os.listdir(f"{ROOT}/sys/fs/bpf") in ([], ["maps.debug", "progs.debug"], ["progs.debug", "maps.debug"]), os.listdir(f"{ROOT}/sys/fs/bpf")
    assert "spartan" not in run("ip", "-o", "link")
    for path in ("/etc/loadstar", "/var/lib/loadstar", "/var/lib/loadstar-watchdog", "/var/lib/loadstar-purge", "/usr/lib/loadstar", "/usr/share/doc/loadstar",
                 "/etc/systemd/system/multi-user.target.wants/loadstard.service", "/usr/lib/sysctl.d/60-loadstar.conf"):
        assert not exists(path), path


def finds_its_configuration():
    """installed where a configuration is already: it is kept, and nothing says that it is missing"""
    run(f"{SOURCE}/vagrant/config", "master", "--root", ROOT, "--address", MASTER, "--masters", MASTER)
    before = inside("cat", "/etc/loadstar/loadstar.toml")
    said = inside("dpkg", "--force-unsafe-io", "--no-triggers", "--force-confold", "-i", f"/tmp/{os.path.basename(deb('loadstar'))}")
    assert "not started" not in said, said
    assert inside("cat", "/etc/loadstar/loadstar.toml") == before


if __name__ == "__main__":
    if os.geteuid() != 0:
        skip("needs root, for namespaces of its own")
    if sys.argv[1:] != ["--inside"]:
        # A process namespace: whatever is left over ends with the first process of it.
        sys.exit(subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-B", os.path.abspath(__file__), "--inside"],
                                check=False).returncode)
    make_root()
    run_checks([installs_and_starts_nothing, units_are_understood, networkd_leaves_our_devices_alone, is_configured_like_the_testbed, check_names_what_is_missing, plugin_answers, daemon_serves,
                upgrade_keeps_what_is_there, removal_leaves_the_data_path, purge_leaves_nothing, finds_its_configuration])

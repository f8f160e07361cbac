# SPDX-License-Identifier: Apache-2.0
"""A machine of the testbed in namespaces of its own: network, mounts and a cgroup below that of the run. Its files are those of this machine
with layers above them that nobody else sees: what the packages install, its own configuration, and in memory what it writes:

    /usr, /etc, /var/lib, /srv   layers: memory > the machine's own files > the unpacked packages > this machine
    /run                         memory
    /sys/fs/bpf                  a BPF file system of its own
    /srv/loadstar/source         the repository, where vagrant has it too

It is one of the lab's places (tests/support/lab), so the lab removes it."""
import os
import re
import subprocess

from lab import proc
from lab.lab import Place, _ALL_SYSCTLS, _NODE_SYSCTLS

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GATEWAY = "192.168.56.1"
# As the unit loadstard.service has it.
CAPS = "+bpf,+net_admin,+net_bind_service,+perfmon"
AS_UNIT = ("setpriv", "--reuid=loadstar", "--regid=loadstar", "--init-groups", f"--bounding-set=-all,{CAPS}", f"--inh-caps={CAPS}",
           f"--ambient-caps={CAPS}", "--no-new-privs")
SECURE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": SECURE_PATH, "LANG": "C.UTF-8"}

# $1 the machine's folder, $2 the unpacked packages or "", $3 the repository
_LAYERS = """set -e
mount -t tmpfs -o mode=0755 tmpfs "$1/memory"
cd "$1/memory"
mkdir source run
mount --bind "$3" source
for d in etc usr var/lib srv; do
  mkdir -p "upper/$d" "work/$d"
  lower=/$d
  for l in ${2:+"$2/$d"} "$1/own/$d"; do if [ -d "$l" ]; then lower=$l:$lower; fi; done
  mount -t overlay overlay -o "lowerdir=$lower,upperdir=upper/$d,workdir=work/$d" "/$d"
done
mount --bind source /srv/loadstar/source
mount -t bpf -o mode=0700 bpf /sys/fs/bpf
mount --bind run /run
cd /
echo ready
exec sleep infinity"""


class NotHere(RuntimeError):
    """This machine cannot layer files."""


def _write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


class Machine(Place):
    """`packages`: the folder that they are unpacked in; empty: the machine has none. `hosts`: {name: address} of all. `configure(root)` writes
    below `root` what the machine is told, before anything of it runs."""

    def __init__(self, lab, name, address, packages, hosts, configure=None):
        super().__init__(lab, name, lab.prefix + name, None, os.path.join(lab.cgroup, name))
        self.address = address
        self.dir = os.path.join(lab.dir, name)
        os.makedirs(self.cgroup)
        os.makedirs(os.path.join(self.dir, "memory"))
        own = os.path.join(self.dir, "own")
        _write(f"{own}/etc/hostname", name + "\n")
        _write(f"{own}/etc/hosts", "127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for n, a in hosts.items()))
        _write(f"{own}/etc/resolv.conf", "# no servers\n")
        _write(f"{own}/etc/machine-id", name.encode().hex().ljust(32, "0")[:32] + "\n")
        os.makedirs(f"{own}/srv/loadstar/source")
        if configure:
            configure(own)
        self._network()
        self._mount(packages)

    def _network(self):
        proc.ip_batch([f"netns add {self.netns}"])
        # ICMP errors, forwarding and filters of sources are settings of the network namespace.
        self.sysctl({**_ALL_SYSCTLS, **_NODE_SYSCTLS})
        proc.ip_batch([f"link add eth0 netns {self.netns} type veth peer name {self.name} netns {self.lab.fabric.netns}"])
        self.lab.fabric.ip(f"link set {self.name} master fab up")
        self.ip("link set lo up", "link set eth0 up", f"addr add {self.address}/24 dev eth0", f"route add default via {GATEWAY}")

    def _mount(self, packages):
        with open(os.path.join(self.dir, "mount.log"), "wb") as log:
            holder = proc.spawn(["unshare", "--mount", "--propagation", "private", "sh", "-c", _LAYERS, "sh", self.dir, packages, SOURCE],
                                netns=self.netns, cgroup=self.cgroup, die_with_parent=not self.lab.keep,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
        self.lab.processes.append(holder)
        if holder.stdout.readline().strip() != "ready":
            with open(os.path.join(self.dir, "mount.log"), errors="replace") as log:
                raise NotHere(f"{self.name}: its files were not mounted: {log.read().strip()}")
        self.mount_pid = holder.pid

    def run(self, argv, input=None, check=True, timeout=60, task="shell"):
        return proc.run(argv, input=input, check=check, timeout=timeout, env=ENVIRONMENT, **self._where(task))

    def service(self, name, argv):
        """A process that stays, with its output in a file of its own. No service manager starts it again."""
        with open(os.path.join(self.dir, name + ".log"), "ab") as log:
            return self.spawn(argv, task=name, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def log_tail(self, name, lines=15):
        try:
            with open(os.path.join(self.dir, name + ".log"), errors="replace") as f:
                return f"--- {self.name}: {name}\n" + "".join(f.readlines()[-lines:])
        except FileNotFoundError:
            return ""

    def start_loadstard(self):
        """What the package's scripts and the unit do: user, folders, settings of the kernel, check, daemon."""
        text = self.run(["cat", "/usr/lib/sysctl.d/60-loadstar.conf"])
        network = re.findall(r"^-(net\.ipv[46]\.\S+ = .*)$", text, re.M)  # the others are the whole machine's
        self.run(["sh", "-ec", "systemd-sysusers loadstar.conf\nsystemd-tmpfiles --create loadstar.conf\nchgrp loadstar /etc/loadstar/token\n"
                  "install -d -o loadstar -g loadstar /run/loadstar\ninstall -d -o loadstar -g loadstar -m 0750 /var/lib/loadstar\n"
                  "sysctl -q -e -p -"], input="\n".join(network) + "\n")
        self.run([*AS_UNIT, "loadstard", "--check", "--machine"])
        return self.service("loadstard", [*AS_UNIT, "loadstard"])

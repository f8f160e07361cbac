# SPDX-License-Identifier: Apache-2.0
"""The machines of vagrant/Vagrantfile in namespaces, with their addresses there, and what vagrant/provision has run on them. Besides, a container
on each agent, which loadstar-cni attaches to the overlay and in which a small web server runs.

    fabric 192.168.56.1 (switch and default gateway)
      master1 .11 (master2 .12, master3 .13)   ZooKeeper, stand-in for the Mesos master, loadstard
      agent1 .21, agent2 .22                   loadstard, loadstar-watchdog, a task on port 31000, containerN
      client1 .31                              nothing of loadstar"""
import glob
import json
import os
import subprocess
import sys
from types import SimpleNamespace

from lab import proc, sandbox, wait_until, zookeeper
from lab.lab import Place, _ALL_SYSCTLS
from machine import ENVIRONMENT, GATEWAY, SOURCE, Machine

AGENTS = {"agent1": "192.168.56.21", "agent2": "192.168.56.22"}
CLIENT = {"client1": "192.168.56.31"}
CONTAINERS = {"container1": "agent1", "container2": "agent2"}
TASK_PORT = 31000
CONTAINER_PORT = 8080
# Room for what a testbed has, and not for a large cluster. There is no Docker on its machines, and no service manager that could restart anything.
SETTINGS = ("lb.ring_slots=1048576", "dns.kernel_megabytes=16", "overlay.docker=false", "watchdog.restart=false")
STATE = "testbed.json"


def master_addresses(count):
    return {f"master{i}": f"192.168.56.{10 + i}" for i in range(1, count + 1)}


class Container(Place):
    """Attached by loadstar-cni, as the runtime of an agent does it."""

    def __init__(self, agent, name):
        super().__init__(agent.lab, name, agent.lab.prefix + name, agent.mount_pid, os.path.join(agent.cgroup, name))
        self.agent = agent
        self.address = ""
        os.makedirs(self.cgroup)
        proc.ip_batch([f"netns add {self.netns}"])
        proc.run(["sysctl", "-q", "-w"] + [f"{k}={v}" for k, v in _ALL_SYSCTLS.items()], netns=self.netns)
        self.ip("link set lo up")
        self.holder = self.spawn(["sleep", "infinity"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def attach(self):
        """Needs the agent's part of the overlay, for which a master is asked; "try again" (11) until then."""
        path = "/etc/loadstar/cni/dcos.conf"
        wait_until(lambda: self.agent.run(["sh", "-c", f"test -s {path} && cat {path}"], check=False), 30, f"{self.agent.name}: {path}", step=0.2)
        config = json.dumps({"cniVersion": "1.0.0", **json.loads(self.agent.run(["cat", path]))})
        environment = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": self.name, "CNI_NETNS": f"/proc/{self.holder.pid}/ns/net", "CNI_IFNAME": "eth0",
                       "CNI_PATH": "/nowhere"}
        said = ""

        def add():
            nonlocal said
            said = self.agent.run(["env", *[f"{k}={v}" for k, v in environment.items()], "/usr/lib/loadstar/cni/loadstar-cni"], input=config, check=False)
            return "ips" in said

        try:
            wait_until(add, 30, f"{self.name}: an address of the overlay", step=0.5)
        except TimeoutError as e:
            raise TimeoutError(f"{e}: {said.strip()}") from None
        self.address = next(i["address"].partition("/")[0] for i in json.loads(said)["ips"] if ":" not in i["address"])


class Testbed:
    def __init__(self, lab, packages, masters):
        self.lab = lab
        self.masters = master_addresses(masters)
        self.machines, self.containers = {}, {}
        self.services = []  # (machine, name, process): none of them may end
        lab.fabric.ip(f"addr add {GATEWAY}/24 dev fab")
        unpacked = os.path.join(lab.dir, "packages")
        for package in ("loadstar", "loadstar-cni"):
            found = glob.glob(os.path.join(packages, f"{package}_*.deb"))
            if len(found) != 1:
                raise SystemExit(f"lab: there has to be one {package}_*.deb in {packages}, and there are {len(found)}")
            proc.run(["dpkg-deb", "-x", found[0], unpacked])
        hosts = {**self.masters, **AGENTS, **CLIENT}
        for name, address in hosts.items():
            machine = Machine(lab, name, address, "" if name in CLIENT else unpacked, hosts, None if name in CLIENT else self._configure(name, address))
            self.machines[name] = machine
        self.agents = [self.machines[a] for a in AGENTS]

    def _configure(self, name, address):
        common = ["--address", address, "--masters", ",".join(self.masters.values()), "--root"]

        def write(root):
            role = "master" if name in self.masters else "agent"
            sets = (*SETTINGS, f'lb.cgroup="{os.path.join(self.lab.cgroup, name)}"')
            config = os.path.join(SOURCE, "vagrant", "config")
            proc.run([config, role, *common, root, "--token", "testbed", "--kind", "zookeeper", *[w for s in sets for w in ("--set", s)]])
            if role == "master":
                proc.run([config, "zookeeper", *common, root])
        return write

    def _service(self, machine, name, argv):
        self.services.append((machine, name, machine.service(name, argv)))

    def start(self, say):
        """In the order of vagrant/provision, but all machines at once."""
        masters = [self.machines[m] for m in self.masters]
        hosts = ",".join(f"{m.address}:{zookeeper.PORT}" for m in masters)
        for m in masters:
            self._service(m, "zookeeper", zookeeper.java("/etc/zookeeper/conf/zoo.cfg"))
        for a in self.agents:
            a.run(["sh", "-ec", "mkdir -p /srv/testbed-task && cp /etc/hostname /srv/testbed-task/index.html"])
            self._service(a, "testbed-task", self._web(a.address, TASK_PORT, "/srv/testbed-task"))
        for m in masters:
            m.run(["mkdir", "/run/mesos-standin"])
            self._service(m, "mesos-standin", ["/usr/bin/python3", "-B", "/srv/loadstar/source/vagrant/standin", "master", m.address, "--zookeeper", hosts])
        for m in (*masters, *self.agents):
            self.services.append((m, "loadstard", m.start_loadstard()))
        for a in self.agents:
            a.run(["mkdir", "-p", "/run/loadstar-watchdog", "/var/lib/loadstar-watchdog"])
            self._service(a, "loadstar-watchdog", ["loadstar-watchdog"])
        for m in (*masters, *self.agents):
            self._wait(lambda m=m: "ready" in self.health(m), 60, f"{m.name} is not ready")
        say(f"{len(masters)} {'master' if len(masters) == 1 else 'masters'} and {len(self.agents)} agents are ready")
        for name, agent in CONTAINERS.items():
            c = self.containers[name] = Container(self.machines[agent], name)
            c.attach()
            folder = f"/srv/testbed-{name}"
            self.machines[agent].run(["sh", "-ec", f"mkdir {folder} && echo {name} >{folder}/index.html"])
            self.services.append((self.machines[agent], name, c.spawn(self._web(c.address, CONTAINER_PORT, folder), env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                                                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)))

    @staticmethod
    def _web(address, port, folder):
        return ["/usr/bin/python3", "-m", "http.server", "--directory", folder, "--bind", address, port]

    @staticmethod
    def health(machine):
        return machine.run(["sh", "-c", "loadstar health >/dev/null 2>&1 && echo ready"], check=False)

    def ended(self):
        return [f"{m.name}: {name} ended with {p.returncode}\n{m.log_tail(name)}" for m, name, p in self.services if p.poll() is not None]

    def _wait(self, condition, seconds, what):
        def look():
            if ended := self.ended():
                raise proc.CommandFailed("\n".join(ended))
            return condition()
        wait_until(look, seconds, what, step=0.2)

    def logs(self):
        for m, name, _ in self.services:
            if name in ("zookeeper", "mesos-standin", "loadstard", "loadstar-watchdog"):
                print(m.log_tail(name, 8), file=sys.stderr, end="")

    def save(self):
        """What a later scripts/lab needs to know of this one."""
        places = {n: {"netns": p.netns, "mount_pid": p.mount_pid, "cgroup": p.cgroup, "address": p.address}
                  for n, p in {**self.machines, **self.containers}.items()}
        path = os.path.join(self.lab.dir, STATE)
        with open(path + ".new", "w", encoding="ascii") as f:
            json.dump({"masters": self.masters, "places": places}, f)
        os.rename(path + ".new", path)


class Known(Place):
    """A place of a cluster that another run set up."""
    run = Machine.run

    def __init__(self, name, values):
        super().__init__(SimpleNamespace(keep=False, processes=[]), name, values["netns"], values["mount_pid"], values["cgroup"])
        self.address = values["address"]


def find():
    """(run, masters, places) of the cluster that is up, or None."""
    for run in sandbox.runs():
        try:
            with open(os.path.join(sandbox.run_dir(run), STATE), encoding="ascii") as f:
                saved = json.load(f)
        except FileNotFoundError:
            continue
        if sandbox.owner_alive(run):
            return run, saved["masters"], {n: Known(n, v) for n, v in saved["places"].items()}
    return None

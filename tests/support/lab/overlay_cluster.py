# SPDX-License-Identifier: Apache-2.0
"""The overlay as an operator runs it: a loadstard on each node. Node 1 is master and agent, the others follow it. Mesos containers are
attached by loadstar-cni with the configuration that the daemon wrote, Docker containers are ports of the bridge that a stand-in
docker made (docker_standin.py)."""
import ipaddress
import json
import os
import subprocess

from . import proc
from .daemon import Daemon
from .lab import Place, _ALL_SYSCTLS, wait_until

NETWORK = [{"name": "dcos", "subnet": "9.0.0.0/8", "prefix": 24, "subnet6": "fd01:b::/64", "prefix6": 80}]
TOKEN = "lab-token"
STANDIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "docker_standin.py")


def settings(node, master, network=None):
    """Of a node of the overlay; `master`: the node that allocates."""
    folder = os.path.join(node.lab.dir, node.name)
    os.makedirs(folder, exist_ok=True)
    token = os.path.join(node.lab.dir, "token")
    if not os.path.exists(token):
        with open(token, "w", encoding="ascii") as f:
            f.write(TOKEN + "\n")
    out = {"api.token_file": token, "overlay.cni_dir": os.path.join(folder, "cni"), "overlay.cni_data_dir": os.path.join(folder, "leases"),
           "overlay.docker_binary": STANDIN, "overlay.kernel_nodes": 1024, "overlay.kernel_blocks": 131072,
           "lb.ports": [], "lb.bridges": [], "lb.uplinks": ["eth0"]}
    if node is master:
        out.update({"node.roles": ["master", "agent"], "api.listen": [f"{node.address[4]}:62080"], "overlay.vtep_subnet": "44.128.0.0/20",
                    "overlay.vtep_subnet6": "fd01:a::/64", "overlay.network": network or NETWORK})
    else:
        out["overlay.follow"] = [f"{master.address[4]}:62080"]
    return out


def start_daemon(node, master, source, user=None, **more):
    """`user`: the daemon runs as this one, with the capabilities that the unit gives."""
    daemon = Daemon(node, source, settings={**settings(node, master), **more})
    os.environ["DOCKER_CONFIG"] = daemon.dir
    daemon.start(before=_as_user(daemon, user) if user else ())
    return daemon


def _as_user(daemon, user):
    node, pin = daemon.node, "/sys/fs/bpf/loadstar"
    node.run(["sh", "-c", f"mkdir -p {pin} && chown {user}:{user} {pin} && chmod 755 /sys/fs/bpf"])
    os.chmod(node.lab.dir, 0o755)
    for path in (daemon.dir, daemon.config, os.path.join(node.lab.dir, "token"), node.cgroup):
        os.chown(path, user, user)
    caps = "+bpf,+net_admin,+net_bind_service,+perfmon"
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", f"--inh-caps=-all,{caps}", f"--ambient-caps=-all,{caps}",
            f"--bounding-set=-all,{caps}", "--no-new-privs"]


def view(daemon):
    return daemon.get("/v1/overlay/node")


def wait_ok(daemon, peers, seconds=10):
    """Until the node's own overlay stands and it knows `peers` others."""
    def good():
        v = view(daemon)
        return v if v["state"] == "ok" and v["peers"] >= peers and all(s["status"] == "ok" for s in v["shares"]) else None
    try:
        return wait_until(good, seconds, f"overlay of {daemon.node.name}")
    except TimeoutError as e:
        raise TimeoutError(f"{e}: {json.dumps(view(daemon))}\n{daemon.log_tail()}") from None


class Container(Place):
    """`kind`: "mesos" (by loadstar-cni) or "docker" (a port of d-dcos)."""

    def __init__(self, daemon, name, kind, index=0):
        node = daemon.node
        super().__init__(node.lab, f"{node.name}-{name}", f"{node.netns}-{name}", node.mount_pid, None)
        self.node, self.kind, self.daemon, self.short = node, kind, daemon, name
        self.address = {}
        proc.ip_batch([f"netns add {self.netns}"])
        self.sysctl(_ALL_SYSCTLS)
        self.ip("link set lo up")
        if kind == "mesos":
            self._holder = self.spawn(["sleep", "infinity"])
            self.add()
        else:
            self._docker(index)

    def cni(self, command, check=True):
        """A call of loadstar-cni with the configuration that the daemon wrote; gives its result."""
        with open(os.path.join(self.daemon.dir, "cni", "dcos.conf"), encoding="ascii") as f:
            config = {"cniVersion": "1.0.0", **json.load(f)}
        p = self.node.spawn([self.lab.tool("loadstar-cni")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={"CNI_COMMAND": command, "CNI_CONTAINERID": self.name, "CNI_NETNS": f"/proc/{self._holder.pid}/ns/net",
                                 "CNI_IFNAME": "eth0", "CNI_PATH": "/nowhere", "PATH": os.environ["PATH"]})
        out, err = p.communicate(json.dumps(config), timeout=30)
        if check and p.returncode != 0:
            raise proc.CommandFailed(f"loadstar-cni {command} for {self.name}: {out} {err}")
        return json.loads(out) if out.strip() else None

    def add(self):
        result = self.cni("ADD")
        for ip in result["ips"]:
            address = ip["address"].partition("/")[0]
            self.address[6 if ":" in address else 4] = address
        self.device = next(i["name"] for i in result["interfaces"] if not i.get("sandbox"))

    def _docker(self, index):
        share = view(self.daemon)["shares"][0]
        self.device = f"dk-{self.short}"
        mtu = view(self.daemon)["mtu"]
        proc.ip_batch([f"link add {self.device} netns {self.node.netns} mtu {mtu} type veth peer name eth0 netns {self.netns} mtu {mtu}"])
        self.node.ip(f"link set {self.device} master d-dcos up")
        self.ip("link set eth0 up")
        for family, text in ((4, share["v4"]), (6, share["v6"])):
            half = list(ipaddress.ip_network(text).subnets(1))[1]
            self.address[family] = str(half[10 + index])
            self.ip(f"addr add {half[10 + index]}/{half.prefixlen} dev eth0", f"route add {'::' if family == 6 else '0.0.0.0'}/0 via {half[1]}")

# SPDX-License-Identifier: Apache-2.0
"""The overlay on nodes of the lab: its plan, the containers, and each node's wiring: by loadstar's programs and tables
(ls-overlay-node) or as the original did it, with commands of ip and bridge.

    node <n>   9.0.<n>.0/24     fd01:b:0:0:<n>::/80     VTEP 44.128.0.<n>  fd01:a::<n>  70:b3:d5:80:00:0<n>
      routed containers (the Mesos half)      9.0.<n>.10..   a /32 behind a veth
      bridged containers (the Docker half)    9.0.<n>.140..  ports of the bridge d-dcos
"""
import json
import subprocess

from . import proc
from .lab import Place, _ALL_SYSCTLS

PLAN = {"vtep": "44.128.0.0/20", "vtep6": "fd01:a::/64", "oui": "70:b3:d5:00:00:00",
        "overlays": [{"name": "dcos", "v4": "9.0.0.0/8", "share4": 24, "v6": "fd01:b::/64", "share6": 80}]}
PORT = 64000
VNI = 1024
OVERHEAD = 50


def mac(n):
    return f"70:b3:d5:80:{n >> 8:02x}:{n & 255:02x}"


def allocation(node):
    n = node.number
    return {"node": node.address[4], "vtep": f"44.128.0.{n}", "vtep6": f"fd01:a::{n:x}", "mac": mac(n),
            "shares": [{"overlay": "dcos", "v4": f"9.0.{n}.0/24", "v6": f"fd01:b:0:0:{n:x}::/80"}]}


def device_mac(place, device):
    return json.loads(place.run(["ip", "-j", "link", "show", device]))[0]["address"]


class OverlayContainer(Place):
    def __init__(self, node, name, kind, index, mtu):
        super().__init__(node.lab, f"{node.name}-{name}", f"{node.netns}-{name}", node.mount_pid, None)
        n = node.number
        self.node, self.kind, self.mtu = node, kind, mtu
        self.address = ({4: f"9.0.{n}.{140 + index}", 6: f"fd01:b:0:0:{n:x}:8000:0:{index + 1:x}0"} if kind == "bridged"
                        else {4: f"9.0.{n}.{10 + index}", 6: f"fd01:b:0:0:{n:x}:0:0:{index + 1:x}0"})
        self.device = ("ob-" if kind == "bridged" else "or-") + name
        proc.ip_batch([f"netns add {self.netns}"])
        self.sysctl(_ALL_SYSCTLS)
        proc.ip_batch([f"link add {self.device} netns {node.netns} mtu {mtu} type veth peer name eth0 netns {self.netns} mtu {mtu}"])
        if kind == "bridged":
            node.ip(f"link set {self.device} master d-dcos up")
            self.ip("link set lo up", "link set eth0 up", f"addr add {self.address[4]}/25 dev eth0",
                    f"addr add {self.address[6]}/81 dev eth0", f"route add default via 9.0.{n}.129",
                    f"route add ::/0 via fd01:b:0:0:{n:x}:8000::1")
        else:
            # Even the loose filter drops what comes from a service address on a device that has no IPv4 address of its own.
            node.sysctl({f"net.ipv4.conf.{self.device}.proxy_arp": 1, f"net.ipv4.neigh.{self.device}.proxy_delay": 0,
                         f"net.ipv4.conf.{self.device}.rp_filter": 0})
            node.ip(f"link set {self.device} up", f"addr add fe80::1/64 dev {self.device}",
                    f"route add {self.address[4]}/32 dev {self.device}", f"route add {self.address[6]}/128 dev {self.device}")
            self.ip("link set lo up", "link set eth0 up", f"addr add {self.address[4]}/32 dev eth0",
                    f"addr add {self.address[6]}/128 dev eth0", "route add 169.254.1.1 dev eth0 scope link",
                    "route add default via 169.254.1.1", "route add ::/0 via fe80::1 dev eth0")
        node.overlay.containers.append(self)

    def entries(self):
        """Its lines of ls_ovl_local."""
        gateway = "d-dcos" if self.kind == "bridged" else self.device
        both = {"device": self.device, "mac": device_mac(self, "eth0"), "gw_mac": device_mac(self.node, gateway)}
        return [{"address": a, **both} for a in self.address.values()]


class Overlay:
    """The overlay's side of one node. `mode`: "shortcut" (programs at the VTEP and at containers), "map" (at the VTEP only),
    "static" (the original's objects)."""

    def __init__(self, node, mode="shortcut", underlay_mtu=1500, peer=True, uplink=True):
        self.node, self.mode, self.peer, self.uplink = node, mode, peer, uplink
        self.underlay_mtu = underlay_mtu
        self.mtu = underlay_mtu - OVERHEAD
        self.containers = []
        self.process = None
        node.overlay = self
        n = node.number
        node.sysctl({"net.ipv4.conf.default.rp_filter": 2, "net.ipv4.conf.all.rp_filter": 0})
        node.ip(f"link add d-dcos mtu {self.mtu} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                "link set d-dcos up", f"addr add 9.0.{n}.129/25 dev d-dcos", f"addr add fd01:b:0:0:{n:x}:8000::1/81 dev d-dcos nodad")

    def routed(self, name, mtu=None):
        return self._container(name, "routed", mtu)

    def bridged(self, name, mtu=None):
        return self._container(name, "bridged", mtu)

    def _container(self, name, kind, mtu):
        index = sum(1 for c in self.containers if c.kind == kind)
        return OverlayContainer(self.node, name, kind, index, mtu or self.mtu)

    def start(self, nodes, pin=""):
        """Wires the node; `nodes` are all nodes of the overlay. `pin`: maps of a daemon on the node, to be used together."""
        if self.mode == "static":
            return self._static_start(nodes)
        self.process = self.node.spawn([self.node.lab.tool("ls-overlay-node")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        answer = self.tell({"do": "setup", "self": self.node.address[4], "underlay_mtu": self.underlay_mtu, "peer": self.peer, "pin": pin,
                            "plan": PLAN, "nodes": [allocation(n) for n in nodes]})
        if self.mode == "shortcut":
            self.tell({"do": "containers", "containers": [e for c in self.containers for e in c.entries()]})
            self.tell({"do": "ports", "ports": [c.device for c in self.containers],
                       "uplinks": ["eth0"] if self.uplink else []})
        return answer

    def tell(self, command):
        """One command of ls-overlay-node; its answer."""
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise proc.CommandFailed(f"ls-overlay-node ended on {self.node.name}")
        answer = json.loads(line)
        if "error" in answer:
            raise proc.CommandFailed(f"{self.node.name}: {command['do']}: {answer['error']}")
        return answer

    def counts(self):
        return self.tell({"do": "counts"})

    def drops(self, hook, reason):
        return self.counts()["drops"].get(hook, {}).get(reason, 0)

    def put(self, node):
        if self.mode == "static":
            return self._static_put(node)
        return self.tell({"do": "put", "node": allocation(node)})

    def remove(self, node):
        return self.tell({"do": "remove", "node": node.address[4]})

    # ---- as the original did it ----

    def _static_start(self, nodes):
        n = self.node.number
        self.node.ip(f"link add vtep1024 type vxlan id {VNI} dstport {PORT} learning",
                     f"link set vtep1024 address {mac(n)} mtu {self.mtu} up", f"addr replace 44.128.0.{n}/20 dev vtep1024",
                     f"addr replace fd01:a::{n:x}/64 dev vtep1024 nodad", "rule add from 9.0.0.0/8 lookup 42")
        for node in nodes:
            if node is not self.node:
                self._static_put(node)

    def _static_put(self, node):
        a = allocation(node)
        share = a["shares"][0]
        self.node.ip(f"neigh replace {a['vtep']} lladdr {a['mac']} dev vtep1024 nud permanent",
                     f"route replace {share['v4']} via {a['vtep']} dev vtep1024",
                     f"route replace {a['node']}/32 via {a['vtep']} dev vtep1024 table 42",
                     f"neigh replace {a['vtep6']} lladdr {a['mac']} dev vtep1024 nud permanent",
                     f"route replace {share['v6']} via {a['vtep6']} dev vtep1024")
        self.node.run(["bridge", "fdb", "replace", a["mac"], "dev", "vtep1024", "dst", a["node"], "self", "permanent"])


def forget_lab_routes(lab):
    """Takes away what the lab's own fabric knows of 9.0.0.0/8 and fd01:b::/64, and counts what reaches it in the open: overlay
    packets are only ever seen inside a tunnel."""
    for n in lab.nodes.values():
        lab.fabric.ip(f"route del 9.0.{n.number}.0/24", f"route del fd01:b:{n.number}::/64")
    lab.fabric.nft("table inet overlay_open {\n counter open {}\n chain in {\n type filter hook prerouting priority -340;\n"
                   " ip saddr 9.0.0.0/8 counter name open drop\n ip daddr 9.0.0.0/8 counter name open drop\n"
                   " ip6 saddr fd01:b::/64 counter name open drop\n ip6 daddr fd01:b::/64 counter name open drop\n }\n}\n")


def seen_in_the_open(lab):
    words = lab.fabric.run(["nft", "list", "counter", "inet", "overlay_open", "open"]).split()
    return int(words[words.index("packets") + 1])

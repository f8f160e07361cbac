# SPDX-License-Identifier: Apache-2.0
"""The ways from a client to ten backends that vip.py compares. Each has a node of its own, with a client and a backend
container on it, so that all stand ready at once and can be measured in turns:

    client container -- veth -- node -- veth -- backend container (one server, ten ports: ten backends)

No node keeps the lab's own NAT rules: plain routing is plain."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))
from lab import Daemon, state  # noqa: E402

VIP, PORT = "11.200.0.1", 80
FIRST_PORT, BACKENDS, SERVICES = 8001, 10, 1000
QUEUE = 50
CLIENT_CPU, SERVER_CPU = 0, 1
_NFQUEUE_ALL = f"-d {VIP} -p tcp --dport {PORT} -j NFQUEUE --queue-num {QUEUE}"
_NFQUEUE_SYN = f"-d {VIP} -p tcp --dport {PORT} --syn -j NFQUEUE --queue-num {QUEUE}"


def _mac(place, device):
    return json.loads(place.run(["ip", "-j", "link", "show", device]))[0]["address"]


def _wait_ready(process, what):
    if process.stdout.readline().strip() != "ready":
        raise RuntimeError(f"{what} did not start")


class Variant:
    """`target` is (address, ports) for a client; `pids` are the processes whose CPU time counts beside the client's."""

    forwards = True   # packets of others pass through it
    streams = False   # measured with one stream too
    conntrack = False

    def __init__(self, lab, number):
        self.lab = lab
        self.node = lab.node(number)
        self.client = self.node.routed("cl")
        self.backend = self.node.routed("be")
        self.node.nft("delete table inet lab_nat\n")
        node, client, backend = self.node, self.client, self.backend
        # No ARP in the middle of a measurement.
        for c in (client, backend):
            c.ip(f"neigh replace 169.254.1.1 lladdr {_mac(node, c.device)} dev eth0 nud permanent")
            node.ip(f"neigh replace {c.address[4]} lladdr {_mac(c, 'eth0')} dev {c.device} nud permanent")
        client.sysctl({"net.ipv4.ip_local_port_range": "1024 65535"})
        # SYNs of 64 connections at once, and as many ends of connections as a round makes.
        backend.sysctl({"net.core.somaxconn": 4096, "net.ipv4.tcp_max_syn_backlog": 4096})
        self.server = backend.spawn([lab.tool("vip-load"), "server", SERVER_CPU, ",".join(map(str, self.ports))],
                                    stdout=subprocess.PIPE, text=True)
        _wait_ready(self.server, "vip-load server")
        self.pids = [self.server.pid]
        self.target = (VIP, [PORT])
        self.setup()

    ports = list(range(FIRST_PORT, FIRST_PORT + BACKENDS))

    @property
    def backends(self):
        return [f"{self.backend.address[4]}:{p}" for p in self.ports]

    def setup(self):
        pass

    def before_established(self):
        """Before packets of flows that no SYN opened."""

    def after_established(self):
        pass

    def flush(self):
        if self.conntrack:
            self.node.run([sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "flush.py")])


class Direct(Variant):
    name, streams = "direct", True

    def setup(self):
        self.target = (self.backend.address[4], self.ports)


class _Loadstar(Variant):
    streams = True

    def setup(self):
        tasks = state.Cluster()
        tasks.agents = [state._agent(self.node, 4)]
        for port in self.ports:
            tasks.add(state.routed_task(f"perf.{port}", self.backend, 4, port, [f"{VIP}:{PORT}"], ("tcp",)))
        for i in range(1, SERVICES):
            tasks.add(state.routed_task(f"other-{i}.1", self.backend, 4, 9000, [f"/other-{i}:80"], ("tcp",)))
        replay = os.path.join(self.lab.dir, f"{self.name}.recordio")
        state.write_replay(replay, [tasks.subscribed()])
        self.daemon = Daemon(self.node, {"replay": replay}, sock=self.name == "sock", tc=self.name == "tc",
                             settings={"lb.flows": 262144, "node.addresses": []})
        self.daemon.start()
        service = self.daemon.service(VIP, PORT, "tcp", 4)
        found = sum(1 for s in self.daemon.services())
        if found < SERVICES:
            raise RuntimeError(f"{self.name}: {found} services of {SERVICES}: {service}")


class Sock(_Loadstar):
    name, forwards = "sock", False  # nothing of it is on the way of a packet


class Tc(_Loadstar):
    name = "tc"


class Nft(Variant):
    """One verdict map from service to chain, one map from a random number to backend: kube-proxy's nftables layout."""

    name, conntrack = "nft", True

    def setup(self):
        others = ", ".join(f"11.201.{i // 250}.{i % 250 + 1} . {PORT} : goto other" for i in range(1, SERVICES))
        to = ", ".join(f"{i} : {self.backend.address[4]} . {p}" for i, p in enumerate(self.ports))
        self.node.nft(f"""table ip perf {{
 chain mine {{ meta l4proto tcp dnat ip to numgen random mod {BACKENDS} map {{ {to} }} ; }}
 chain other {{ meta l4proto tcp dnat ip to numgen random mod {BACKENDS} map {{ {to} }} ; }}
 map services {{ type ipv4_addr . inet_service : verdict; elements = {{ {others}, {VIP} . {PORT} : goto mine }} ; }}
 chain pre {{ type nat hook prerouting priority dstnat; ip daddr . tcp dport vmap @services ; }}
}}
""")
        _liberal(self.node)


def _liberal(node):
    """Packets that nobody answers, and flows that no SYN opened, are tracked and translated all the same."""
    node.sysctl({"net.netfilter.nf_conntrack_tcp_be_liberal": 1, "net.netfilter.nf_conntrack_tcp_loose": 1})


def _restore(node, text):
    node.run(["iptables-legacy-restore", "--noflush"], input=text)


class Iptables(Variant):
    """A chain per service, a rule per backend with its share of what the rules before it left: kube-proxy's layout of
    iptables. The service asked comes last of a thousand."""

    name, conntrack = "iptables", True

    def setup(self):
        lines = ["*nat"]
        rules = []
        for i in range(SERVICES):
            mine = i == SERVICES - 1
            address = VIP if mine else f"11.201.{i // 250}.{i % 250 + 1}"
            lines.append(f":SVC{i} - [0:0]")
            rules.append(f"-A PREROUTING -d {address}/32 -p tcp --dport {PORT} -j SVC{i}")
            for j, backend in enumerate(self.backends):
                left = BACKENDS - j
                share = f"-m statistic --mode random --probability {1 / left:.8f} " if left > 1 else ""
                rules.append(f"-A SVC{i} {share}-p tcp -j DNAT --to-destination {backend}")
        _restore(self.node, "\n".join(lines + rules + ["COMMIT", ""]))
        _liberal(self.node)


class NfQueue(Variant):
    """The first generation of DC/OS' Minuteman: queue.cpp."""

    name, conntrack = "nfqueue", True

    def setup(self):
        self.queue = self.node.spawn([self.lab.tool("vip-queue"), QUEUE, SERVER_CPU, BACKENDS], stdout=subprocess.PIPE,
                                     text=True)
        _wait_ready(self.queue, "vip-queue")
        self.pids.append(self.queue.pid)
        rules = [f"-A PREROUTING -m mark --mark {1 + i} -p tcp -j DNAT --to-destination {b}"
                 for i, b in enumerate(self.backends)]
        _restore(self.node, "\n".join(["*raw", f"-A PREROUTING {_NFQUEUE_SYN}", "COMMIT",
                                       "*nat", *rules, "COMMIT", ""]))
        _liberal(self.node)

    def before_established(self):
        _restore(self.node, f"*raw\n-F PREROUTING\n-A PREROUTING {_NFQUEUE_ALL}\nCOMMIT\n")

    def after_established(self):
        _restore(self.node, f"*raw\n-F PREROUTING\n-A PREROUTING {_NFQUEUE_SYN}\nCOMMIT\n")


ALL = [Direct, Sock, Tc, Nft, Iptables, NfQueue]

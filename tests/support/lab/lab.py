# SPDX-License-Identifier: Apache-2.0
"""A small cluster in network namespaces: a fabric, nodes on it, containers on the nodes.

                      fabric  10.10.0.254  fd00:10::254   (bridge `fab`: the switch and the default gateway)
                        |
          +-------------+-------------+
     n1 eth0 10.10.0.11          n2 eth0 10.10.0.12       fd00:10::11, fd00:10::12
          |                           |
     br0 172.31.1.1/24           br0 172.31.2.1/24        fd00:31:<n>::1/64
      |        |                                          bridged containers: from outside only through a mapped
     b-<name>  b-<name>                                   host port (nftables DNAT and masquerade, as Docker does)
     r-<name>  -> 9.0.<n>.x/32, fd01:b:<n>::x/128         routed containers: an address of their own, routed by all

Each node has its own network namespace, its own mount namespace with its own BPF file system on /sys/fs/bpf, and its own
cgroup v2 group; each container a network namespace and a group below its node's. Everything is named after the run
(sandbox.py) and goes away with it."""
import json
import os
import signal
import subprocess
import time

from . import proc, sandbox

_NODE_SYSCTLS = {
    "net.ipv4.ip_forward": 1,
    "net.ipv6.conf.all.forwarding": 1,
    # Translated packets come back on another device than the route of their new source says.
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    # A host that dials its own host port through the packet path meets its own address on lo.
    "net.ipv4.conf.lo.accept_local": 1,
}
_ALL_SYSCTLS = {
    "net.ipv6.conf.default.accept_dad": 0,
    "net.ipv6.conf.all.accept_dad": 0,
    "net.ipv6.conf.default.accept_ra": 0,
    "net.ipv6.conf.default.autoconf": 0,
    # ICMP errors must not be rate limited away under a test that counts them.
    "net.ipv4.icmp_ratelimit": 0,
    "net.ipv6.icmp.ratelimit": 0,
}


class Place:
    """Where processes run: the fabric, a node or a container."""

    def __init__(self, lab, name, netns, mount_pid=None, cgroup=None):
        self.lab = lab
        self.name = name
        self.netns = netns
        self.mount_pid = mount_pid
        self.cgroup = cgroup

    def _where(self, task=None):
        group = self.cgroup
        if group and task:
            group = os.path.join(group, task)
            os.makedirs(group, exist_ok=True)
        return {"netns": self.netns, "mount_pid": self.mount_pid, "cgroup": group,
                "die_with_parent": not self.lab.keep}

    def spawn(self, argv, task=None, **popen):
        """Starts a process here; `task` puts it into a cgroup of its own below the place's."""
        p = proc.spawn(argv, **self._where(task), **popen)
        self.lab.processes.append(p)
        return p

    def run(self, argv, input=None, check=True, timeout=60, task=None):
        return proc.run(argv, input=input, check=check, timeout=timeout, **self._where(task))

    def ip(self, *lines):
        proc.ip_batch(lines, netns=self.netns)

    def nft(self, text):
        self.run(["nft", "-f", "-"], input=text)

    def sysctl(self, values):
        self.run(["sysctl", "-q", "-w"] + [f"{k}={v}" for k, v in values.items()])

    def echo(self, name, *ports, http=False, task=None):
        """Starts ls-echo on `ports` (TCP and UDP) and waits until it listens."""
        argv = [self.lab.tool("ls-echo"), "--name", name] + (["--http"] if http else [])
        for port in ports:
            argv += ["--both", port]
        p = self.spawn(argv, task=task, stdout=subprocess.PIPE, text=True)
        if p.stdout.readline().strip() != "ready":
            raise proc.CommandFailed(f"ls-echo {name} did not start in {self.name}")
        return p

    def dial_args(self, mode, address, port, **options):
        argv = [self.lab.tool("ls-dial"), mode, address, port]
        for key, value in options.items():
            argv += ["--" + key.replace("_", "-"), value]
        return argv

    def dial(self, mode, address, port, task=None, run_timeout=60, **options):
        """Runs ls-dial to its end; gives its JSON lines as dicts."""
        out = self.run(self.dial_args(mode, address, port, **options), task=task, timeout=run_timeout)
        return parse_lines(out)

    def start_dial(self, mode, address, port, task=None, log=None, **options):
        """Starts ls-dial in the background; its lines come by next_event() or end_dial(). A mode that prints much
        while nobody reads needs a file `log` to print to: a full pipe would stop it."""
        argv = self.dial_args(mode, address, port, **options)
        if log is None:
            return self.spawn(argv, task=task, stdout=subprocess.PIPE, text=True)
        with open(log, "w") as f:
            p = self.spawn(argv, task=task, stdout=f)
        p.log = log
        return p

    def count_packets(self, name, rule):
        """Counts packets that match an nft rule on their way in here; read with packets()."""
        self.nft(f"table inet lab_count_{name} {{\n chain in {{\n type filter hook prerouting priority -350;\n"
                 f"{rule} counter\n }}\n}}\n")

    def packets(self, name):
        out = self.run(["nft", "list", "table", "inet", f"lab_count_{name}"])
        words = out.split()
        return int(words[words.index("packets") + 1])


class Container(Place):
    """`kind` is "bridge" or "routed"; `address[4]` and `address[6]` are its own."""

    def __init__(self, node, name, kind, index):
        super().__init__(node.lab, f"{node.name}-{name}", f"{node.netns}-{name}", node.mount_pid,
                         os.path.join(node.cgroup, name))
        self.node = node
        self.kind = kind
        n = node.number
        self.address = ({4: f"172.31.{n}.{index}", 6: f"fd00:31:{n}::{index}"} if kind == "bridge"
                        else {4: f"9.0.{n}.{index}", 6: f"fd01:b:{n}::{index}"})
        self.device = ("b-" if kind == "bridge" else "r-") + name  # its end on the node


class Node(Place):
    def __init__(self, lab, number):
        name = f"n{number}"
        super().__init__(lab, name, lab.prefix + name, None, os.path.join(lab.cgroup, name))
        self.number = number
        self.node = self
        self.kind = "host"
        self.address = {4: f"10.10.0.{10 + number}", 6: f"fd00:10::{10 + number}"}
        self.containers = []
        self.mappings = []

    @property
    def own_addresses(self):
        return set(self.address.values()) | {f"172.31.{self.number}.1", f"fd00:31:{self.number}::1"}

    def bridged(self, name):
        return self._container(name, "bridge")

    def routed(self, name):
        return self._container(name, "routed")

    def _container(self, name, kind):
        c = Container(self, name, kind, 10 + sum(1 for o in self.containers if o.kind == kind))
        os.makedirs(c.cgroup)
        proc.ip_batch([f"netns add {c.netns}"])
        c.sysctl(_ALL_SYSCTLS)
        proc.ip_batch([f"link add {c.device} netns {self.netns} type veth peer name eth0 netns {c.netns}"])
        if kind == "bridge":
            self.ip(f"link set {c.device} master br0 up")
            c.ip("link set lo up", "link set eth0 up",
                 f"addr add {c.address[4]}/24 dev eth0", f"addr add {c.address[6]}/64 dev eth0",
                 f"route add default via 172.31.{self.number}.1",
                 f"route add ::/0 via fd00:31:{self.number}::1")
        else:
            self.sysctl({f"net.ipv4.conf.{c.device}.proxy_arp": 1, f"net.ipv4.neigh.{c.device}.proxy_delay": 0})
            self.ip(f"link set {c.device} up", f"addr add fe80::1/64 dev {c.device}",
                    f"route add {c.address[4]}/32 dev {c.device} src {self.address[4]}",
                    f"route add {c.address[6]}/128 dev {c.device} src {self.address[6]}")
            c.ip("link set lo up", "link set eth0 up",
                 f"addr add {c.address[4]}/32 dev eth0", f"addr add {c.address[6]}/128 dev eth0",
                 "route add 169.254.1.1 dev eth0 scope link", "route add default via 169.254.1.1",
                 "route add ::/0 via fe80::1 dev eth0")
        self.containers.append(c)
        return c

    def map_port(self, host_port, container, container_port):
        """Publishes a bridged container's port (TCP and UDP, IPv4 and IPv6) on the node's own addresses."""
        self.mappings.append((host_port, container, container_port))
        self._write_nat()

    def _write_nat(self):
        """The rules that Docker would make: DNAT of the host port for what comes in and for the host's own traffic,
        masquerade for what leaves the bridge and for a container that reaches itself through its host port."""
        net4, net6 = f"172.31.{self.number}.0/24", f"fd00:31:{self.number}::/64"
        dnat = [f"meta l4proto {{ tcp, udp }} meta nfproto ipv4 th dport {hp} dnat ip to {c.address[4]}:{cp}\n"
                f"meta l4proto {{ tcp, udp }} meta nfproto ipv6 th dport {hp} dnat ip6 to [{c.address[6]}]:{cp}"
                for hp, c, cp in self.mappings]
        self.nft("table inet lab_nat\ndelete table inet lab_nat\ntable inet lab_nat {\n"
                 " chain mapped {\n" + "\n".join(dnat) + "\n }\n"
                 " chain pre {\n type nat hook prerouting priority -100;\n fib daddr type local jump mapped\n }\n"
                 " chain out {\n type nat hook output priority -100;\n"
                 " ip daddr != 127.0.0.0/8 fib daddr type local jump mapped\n"
                 " ip6 daddr != ::1 fib daddr type local jump mapped\n }\n"
                 " chain post {\n type nat hook postrouting priority 100;\n"
                 f" ip saddr {net4} oifname != \"br0\" masquerade\n"
                 f" ip6 saddr {net6} oifname != \"br0\" masquerade\n"
                 f" ct status dnat ip saddr {net4} ip daddr {net4} masquerade\n"
                 f" ct status dnat ip6 saddr {net6} ip6 daddr {net6} masquerade\n }}\n}}\n")


class Lab:
    """`with Lab(nodes=2) as lab:` builds it; leaving the block removes it, unless `keep` (then `lab down` does)."""

    def __init__(self, nodes=2, keep=False, tools=None):
        self.keep = keep
        self.id = os.getpid()
        self.prefix = sandbox.netns_prefix(self.id)
        self.cgroup = sandbox.cgroup_dir(self.id)
        self.dir = sandbox.run_dir(self.id)
        self.processes = []
        self.node_count = nodes
        self.nodes = {}
        self.fabric = None
        self._tools = tools
        self._reaper = None
        self._old_handlers = {}

    def tool(self, name):
        return find_binary(name, self._tools)

    def node(self, number):
        return self.nodes[number]

    def __enter__(self):
        if os.geteuid() != 0:
            raise SystemExit("the lab makes network namespaces: run it as root")
        sandbox.sweep()
        os.makedirs(self.dir)
        sandbox.set_owner(self.id, self.id)
        self._reaper = sandbox.Reaper(self.id)
        for s in (signal.SIGTERM, signal.SIGHUP):
            self._old_handlers[s] = signal.signal(s, self._on_signal)
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, *_):
        if self.keep and kind is None:
            self._hand_over()
        else:
            self.close()

    @staticmethod
    def _on_signal(number, _frame):
        raise SystemExit(128 + number)  # unwinds the `with` block

    def close(self):
        for s, handler in self._old_handlers.items():
            signal.signal(s, handler)
        for p in self.processes:
            if p.poll() is None:
                p.kill()
        for p in self.processes:
            p.wait()
            if p.stdout:
                p.stdout.close()
        sandbox.clean(self.id)
        self._reaper.dismiss()

    def _hand_over(self):
        """Leaves everything up, owned by a process that does nothing else."""
        keeper = proc.spawn(["sleep", "infinity"], cgroup=self.cgroup, die_with_parent=False,
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        sandbox.set_owner(self.id, keeper.pid)
        self._reaper.dismiss()

    def _build(self):
        os.makedirs(self.cgroup)
        self.fabric = Place(self, "fabric", self.prefix + "fabric")
        self.nodes = {i: Node(self, i) for i in range(1, self.node_count + 1)}
        proc.ip_batch([f"netns add {p.netns}" for p in (self.fabric, *self.nodes.values())])
        self.fabric.sysctl({**_ALL_SYSCTLS, "net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1,
                            "net.ipv4.conf.all.send_redirects": 0, "net.ipv4.conf.default.send_redirects": 0,
                            "net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.default.rp_filter": 0})
        self.fabric.ip("link set lo up", "link add fab type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                       "link set fab up", "addr add 10.10.0.254/24 dev fab", "addr add fd00:10::254/64 dev fab")
        for node in self.nodes.values():
            self._build_node(node)
        # A packet to a service address that reaches the network was translated by nobody; it is counted and ends here.
        self.fabric.nft("table inet lab_leak {\n counter leaked {}\n chain in {\n"
                        " type filter hook prerouting priority -340;\n"
                        " ip daddr 11.0.0.0/8 counter name leaked drop\n"
                        " ip6 daddr fd01:c::/64 counter name leaked drop\n }\n}\n")

    def _build_node(self, node):
        n = node.number
        os.makedirs(node.cgroup)
        node.sysctl({**_ALL_SYSCTLS, **_NODE_SYSCTLS})
        # The process that holds the node's mount namespace open; it says so when its own BPF file system is mounted.
        holder = proc.spawn(["unshare", "--mount", "--propagation", "private", "sh", "-c",
                             "mount -t bpf bpf /sys/fs/bpf && echo ready && exec sleep infinity"],
                            netns=node.netns, cgroup=node.cgroup, die_with_parent=not self.keep,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.processes.append(holder)
        if holder.stdout.readline().strip() != "ready":
            raise proc.CommandFailed(f"{node.name}: cannot mount a BPF file system")
        node.mount_pid = holder.pid
        proc.ip_batch([f"link add eth0 netns {node.netns} type veth peer name {node.name} netns {self.fabric.netns}"])
        self.fabric.ip(f"link set {node.name} master fab up",
                       f"route add 9.0.{n}.0/24 via {node.address[4]}",
                       f"route add fd01:b:{n}::/64 via {node.address[6]}")
        node.ip("link set lo up", "link set eth0 up",
                f"addr add {node.address[4]}/24 dev eth0", f"addr add {node.address[6]}/64 dev eth0",
                "route add default via 10.10.0.254", "route add ::/0 via fd00:10::254",
                "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0", "link set br0 up",
                f"addr add 172.31.{n}.1/24 dev br0", f"addr add fd00:31:{n}::1/64 dev br0")
        node._write_nat()

    def leaked(self):
        """Packets to service addresses that were seen on the network untranslated."""
        words = self.fabric.run(["nft", "list", "counter", "inet", "lab_leak", "leaked"]).split()
        return int(words[words.index("packets") + 1])


def separate_source_ports(places):
    """Gives each place a range of source ports of its own. Two clients behind one address (a machine and a container that it
    masquerades) that happen to choose the same port towards one backend disturb each other: docs/design/03-packet-path.md,
    "Two clients, one address and port". By chance a test would meet that in one run of fifty."""
    first, each = 32768, 28000 // len(places)
    for i, place in enumerate(places):
        place.sysctl({"net.ipv4.ip_local_port_range": f"{first + i * each} {first + (i + 1) * each - 1}"})


def parse_lines(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def next_event(process):
    """The next JSON line of a started ls-dial; None at its end."""
    line = process.stdout.readline()
    return json.loads(line) if line else None


def end_dial(process, timeout=10):
    """Ends a started ls-dial; gives the lines that were not read yet, the summary last."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    out = process.stdout.read() if process.stdout else ""
    process.wait(timeout)
    if not process.stdout:
        with open(process.log) as f:
            out = f.read()
    return parse_lines(out)


def find_binary(name, folder=None):
    """A program of this project: in `folder`, else in the folder that LS_BUILD_DIR names, else in the newest build."""
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.abspath(os.path.join(here, "..", "..", ".."))
    builds = [os.path.abspath(b) for b in (folder, os.environ.get("LS_BUILD_DIR")) if b]
    if not builds:
        builds = [os.path.join(root, "build", preset) for preset in ("dev", "release", "asan")]
    found = [os.path.join(b, sub, name) for b in builds
             for sub in ("", "tests/tools", "bin", "controller/app", "controller/cli", "tests/support")]
    found = [f for f in found if os.access(f, os.X_OK) and os.path.isfile(f)]
    if not found:
        raise FileNotFoundError(f"{name}: not built (looked below {', '.join(builds)})")
    return max(found, key=os.path.getmtime)


def wait_until(condition, seconds, what, step=0.02):
    """Polls until condition() is true; gives its value. Raises TimeoutError naming `what`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(step)

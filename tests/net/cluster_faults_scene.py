# SPDX-License-Identifier: Apache-2.0
"""The cluster of cluster_faults.py: a master (Mesos found in a real ZooKeeper, its store there, a hub), an agent that follows it, and clients that never
stop."""
import itertools
import os
import re
import shutil
import subprocess
import time

from lab import Daemon, OddMaster, Steady, Wire, dns, expect, overlay_cluster, state, wait_until, zookeeper
from lab.report import Skip

RECOVERY_S = 5.0
REPAIR_S = RECOVERY_S + 2  # what a look at everything puts right, every 5 s
SLOW_S = 2.0
RESOLVER = "198.51.100.1"
ZONE = "reg.thisdcos.directory"
HUB_PORT, ECHO_PORT = 62081, 7000
PIN = "/sys/fs/bpf/loadstar"
OVERLAY = [{"name": "dcos", "subnet": "9.128.0.0/9", "prefix": 24, "subnet6": "fd01:b::/64", "prefix6": 80}]
SERVICES, NODES = 64, 16  # what the tables of node 2 have room for


class Cluster:
    """Daemons, services, names, containers, and clients of all that which never stop."""

    def __init__(self, lab):
        self.lab = lab
        self.nodes = n1, n2 = lab.node(1), lab.node(2)
        self.zk = zookeeper.Server(lab, 1, 1)
        self.past = zookeeper.Server(lab, 2, 1)
        self.zk.launch()
        self.places = {"w1": n1.routed("w1"), "w2": n2.routed("w2"), "w3": n2.routed("w3")}
        for name, place in self.places.items():
            place.echo(name, 8080)
        self.clients = {(n, path): n.routed(f"{path}c") for n in self.nodes for path in ("tc", "sock")}
        self.cluster = state.Cluster()
        self.cluster.add_agents(lab)
        for name, vip in (("w1", "one"), ("w2", "two")):
            # One backend each: if it were withdrawn for an instant, nobody else would answer.
            self.cluster.add(state.routed_task(f"{vip}.1", self.places[name], 4, 8080, [f"/{vip}:80"]))
        self.mesos = [OddMaster(lab, ip, self.cluster) for ip in ("10.10.0.241", "10.10.0.242")]
        self.wires = {"mesos": Wire(lab, "10.10.0.244", 2181, self.zk.address), "store": Wire(lab, "10.10.0.245", 2181, self.zk.address)}
        self.names = {}
        self.numbers = itertools.count(1)
        wait_until(self.zk.mode, 30, "ZooKeeper")
        self.entries = [zookeeper.Entry(self.zk, m.address) for m in self.mesos]
        self.token = os.path.join(lab.dir, "hub-token")
        with open(self.token, "w", encoding="ascii") as f:
            f.write("tell-me\n")
        self.master = self.make(n1, {"mesos": []}, {
            "node.roles": ["master", "agent"], "mesos.zk": f"zk://{self.wires['mesos'].address}/mesos", "mesos.zk_session": "8s", "mesos.backoff_max": "300ms",
            "mesos.reregister_timeout": "60s", "store.kind": "zookeeper", "store.zookeeper": f"zk://{self.wires['store'].address}/loadstar",
            "store.session": "8s", "hub_server.listen": [f"{n1.address[4]}:{HUB_PORT}"], "hub_server.token_file": self.token, "hub_server.heartbeat": "500ms",
            "overlay.vtep_subnet": "44.128.0.0/20", "overlay.vtep_subnet6": "fd01:a::/64", "overlay.network": OVERLAY,
            "api.listen": [f"{n1.address[4]}:62080"]})
        self.agent = self.make(n2, {"hub": [f"{n1.address[4]}:{HUB_PORT}"]}, {
            "node.id": "n2", "hub.token_file": self.token, "registration.follow": [f"{n1.address[4]}:62080"], "lb.services": SERVICES,
            "overlay.kernel_nodes": NODES})
        self.daemons = [self.master, self.agent]
        self.steady = Steady(lab)

    def make(self, node, source, more):
        """What it keeps is on a small disk of its own."""
        disk = os.path.join(self.lab.dir, node.name, "disk")
        os.makedirs(disk)
        node.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk])
        own = {k: v for k, v in overlay_cluster.settings(node, self.nodes[0]).items() if k not in more}
        return Daemon(node, source, settings={
            **own, "lb.ports": ["r-*"], "lb.cgroup": self.clients[node, "sock"].cgroup, "overlay.docker": False, "store.path": os.path.join(disk, "store.db"),
            "state.save_every": "100ms", "resolver.enabled": True, "resolver.upstreams": ["10.10.0.250:53"], "resolver.mesos_servers": [], "dns.workers": 1,
            "dns.rate_limit": 0, **more})

    # --- the cluster

    def begins(self):
        for d in self.daemons:
            d.launch()
        for d in self.daemons:
            wait_until(lambda d=d: os.path.exists(d.socket) and self.status(d)["ready"], 30, f"{d.node.name} is ready")
        for d in self.daemons:
            overlay_cluster.wait_ok(d, 1)
        inside = [overlay_cluster.Container(d, "o", "mesos") for d in self.daemons]
        for c in inside:
            c.echo(c.name, ECHO_PORT)
        vips = {vip: self.agent.service(f"{vip}.{state.FRAMEWORK_NAME}", 80, "tcp", 4)["address"] for vip in ("one", "two")}
        self.vip = vips["one"]
        took = self.recovers(time.monotonic(), "at the start")
        names = {f"{vip}.{state.FRAMEWORK_NAME}.mesos": {self.places[w].address[4]} for vip, w in (("one", "w1"), ("two", "w2"))}
        names.update({f"{vip}.{state.FRAMEWORK_NAME}.l4lb.thisdcos.directory": {address} for vip, address in vips.items()})
        names.update(self.names)
        for n in self.nodes:
            self.steady.asks(f"names on {n.name}", n, RESOLVER, dict(names))
            for vip, address in vips.items():
                self.steady.connects(f"{vip} by packets of {n.name}", self.clients[n, "tc"], address, 80)
            self.steady.connects(f"two by sockets of {n.name}", self.clients[n, "sock"], vips["two"], 80)
        for a, b in (inside, reversed(inside)):
            self.steady.connects(f"{a.name} to {b.name}", a, b.address[4], ECHO_PORT)
        time.sleep(0.5)
        self.steady.unbroken("at the start")
        return f"a task and a name heard everywhere after {took}"

    def status(self, d):
        return d.get("/v1/status")

    def tell(self, *events):
        for m in self.mesos:
            m.tell(*events)

    def leading(self):
        """The master that has a stream."""
        return wait_until(lambda: next((m for m in self.mesos if m.streams), None), RECOVERY_S, "a stream")

    def register(self, within):
        """A new name. With an answer that is not known (500, 503) another one is tried."""
        def put():
            name, address = f"name{next(self.numbers)}", f"10.9.0.{next(self.numbers)}"
            status, _, body = self.master.call("PUT", f"/v1/zones/{ZONE}/records/{name}/A", {"data": [address], "ttl": 5}, timeout=10)
            expect(status in (200, 201, 500, 503), f"{name}: {status} {body}")
            return (f"{name}.{ZONE}", address) if status in (200, 201) else None
        name, address = wait_until(put, within, "a name is taken")
        self.names[name] = {address}
        return name

    def hears(self, name, address, within, what):
        for n in self.nodes:
            with dns.Client(n, RESOLVER) as c:
                wait_until(lambda c=c: c.ask(name, timeout=1).data("A") == address, max(0.1, within), f"{what}: {name} is {address} on {n.name}")

    def recovers(self, since, what, limit=RECOVERY_S):
        """A task and a name that are new are heard of on both nodes, in time; a task that ends too. A name stays for good."""
        left = lambda: since + limit - time.monotonic()  # noqa: E731
        task = f"t{next(self.numbers)}"
        self.tell(self.cluster.add(state.routed_task(f"{task}.1", self.places["w3"], 4, 8080, [])))
        self.hears(f"{task}.{state.FRAMEWORK_NAME}.mesos", [self.places["w3"].address[4]], left(), what)
        name = self.register(left())
        self.hears(name, list(self.names[name]), left(), what)
        took = time.monotonic() - since
        self.tell(self.cluster.update(f"{task}.1", "TASK_KILLED"))
        self.hears(f"{task}.{state.FRAMEWORK_NAME}.mesos", [], left(), what)
        return f"{took:.1f} s"

    def keeps(self, seconds, what):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.steady.unbroken_so_far(what)
            for d in self.daemons:
                if d.process.poll() is None:
                    found = {s["name"].partition(".")[0] for s in d.services().values() if any(b["state"] == "active" for b in s["backends"])}
                    expect({"one", "two"} <= found, f"{what}: {d.node.name} has only {found}")
            time.sleep(0.2)

    def ends(self, since, what, limit=RECOVERY_S):
        took = self.recovers(since, what, limit)
        return f"recovered after {took}, {self.steady.unbroken(what)} answers"

    # --- what checks have in common

    def restart(self, change):
        """Node 2's daemon ends, something is done, it starts; gives when it was ready."""
        self.agent.stop()
        change()
        self.agent.start()
        return time.monotonic()

    def tables_are_right(self, what):
        def right():
            s = self.status(self.agent)
            return {x["name"].partition(".")[0] for x in self.agent.services().values() if x["number"]} == {"one", "two"} \
                and not any(r["last_error"] for r in s["reconcile"]) and not s["warnings"]
        wait_until(right, REPAIR_S, f"{what}: the tables are the state")

    def full(self):
        """What node 2 says about tables without room, from the name of the table on."""
        return [w[w.index("ls_"):] for w in self.status(self.agent)["warnings"] if re.search("ls_(svc|ovl)", w)]

    @staticmethod
    def needs_strace():
        if not shutil.which("strace"):
            raise Skip("no strace")

    def traced(self, d, inject):
        """strace on a running daemon, when it has hold of it."""
        self.needs_strace()
        p = d.node.spawn(["strace", "-f", "-p", str(d.process.pid), "-e", "trace=bpf", "-e", f"inject=bpf:{inject}", "-o", "/dev/null"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        line = p.stderr.readline()
        expect("attached" in line, f"strace: {line}")
        return p

    def disk(self, d):
        return os.path.join(self.lab.dir, d.node.name, "disk")

    @staticmethod
    def limit(pid):
        with open(f"/proc/{pid}/limits", encoding="ascii") as f:
            words = next(line for line in f if line.startswith("Max open files")).split()
        return words[3], words[4]

    @staticmethod
    def cpu(pid):
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self):
        self.steady.close()
        for d in self.daemons:
            if d.process and d.process.poll() is None:
                d.stop()
            d.purge()

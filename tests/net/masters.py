#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Three masters that take turns at a store in a real ZooKeeper, and an agent that follows them. The leader killed with SIGKILL, its session
expired, the ensemble split, the ensemble stopped: names that were registered are answered by every node at every moment, containers reach each
other and a service, no address of the overlay is given twice or taken back, and a new leader accepts writes. Prints how long each took."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Daemon, Lab, Master, Report, arguments, dns, expect, overlay_cluster, state, wait_until, zookeeper  # noqa: E402
from lab.report import SKIPPED  # noqa: E402

RECOVERY_S = 5.0
SESSION_S = 2
RESOLVER = "198.51.100.1"
ZONE = "reg.thisdcos.directory"
PORT = 8080


class Scene:
    def __init__(self, lab):
        self.lab = lab
        self.nodes = [lab.node(i) for i in (1, 2, 3, 4)]
        self.ensemble = zookeeper.Ensemble(lab, 3)
        cluster = state.Cluster()
        cluster.add_agents(lab)
        self.mesos, self.cluster = Master(lab, cluster), cluster
        self.names, self.vteps = {}, {}
        self.containers, self.vip, self.looks = [], None, 0
        self.ensemble.wait_for_leader()
        listen = [f"{n.address[4]}:62080" for n in self.nodes[:3]]
        self.masters = [self.daemon(n, {
            "node.roles": ["master", "agent"], "store.kind": "zookeeper", "store.zookeeper": self.ensemble.url("/loadstar"), "store.session": f"{SESSION_S}s",
            "overlay.vtep_subnet": "44.128.0.0/20", "overlay.vtep_subnet6": "fd01:a::/64", "overlay.network": overlay_cluster.NETWORK,
            "overlay.check_address": False, "api.listen": [f"{n.address[4]}:62080"]}) for n in self.nodes[:3]]
        self.agent = self.daemon(self.nodes[3], {"registration.follow": listen, "overlay.follow": listen})
        self.daemons = [*self.masters, self.agent]
        for d in self.daemons:
            d.start()
        self.clients = {d: dns.Client(d.node, RESOLVER) for d in self.daemons}

    def daemon(self, node, more):
        more = {**{k: v for k, v in overlay_cluster.settings(node, self.nodes[0] if node is not self.nodes[0] else self.nodes[1]).items() if k != "overlay.follow"}, **more}
        return Daemon(node, {"mesos": [self.mesos.address]}, sock=False, settings={
            **more, "overlay.docker": False, "resolver.enabled": True, "resolver.upstreams": ["10.10.0.250:53"], "dns.workers": 1})

    # --- what must be true

    def living(self):
        return [d for d in self.daemons if d.process.poll() is None]

    def turns(self, d):
        return d.get("/v1/status")["turns"]

    def leader(self):
        found = [m for m in self.masters if m.process.poll() is None and self.turns(m)["leading"]]
        return found[0] if len(found) == 1 else None

    def look(self, what):
        for d in self.living():
            for name, address in self.names.items():
                m = self.clients[d].ask(f"{name}.{ZONE}", timeout=2)
                expect(m.data("A") == [address], lambda d=d, name=name, m=m: f"{what}: {name} on {d.node.name}: {m}")
        for a, b in zip(self.containers, self.containers[1:] + self.containers[:1]):
            for to, port in ((b.address[4], PORT), (self.vip, 80)):
                one = a.dial("once", to, port, timeout=1000)[0]
                expect(one["ok"], lambda a=a, to=to, one=one: f"{what}: {a.name} to {to}: {one}")
        self.looks += 1

    def knows(self, d, name):
        """The zone exists with its first name; until then the question goes to an upstream that is not there."""
        try:
            return self.clients[d].ask(f"{name}.{ZONE}", timeout=1).data("A") == [self.names[name]]
        except TimeoutError:
            return False

    def keeps(self, condition, seconds, what):
        """Looks at everything until the condition is true; gives its value."""
        end = time.monotonic() + seconds
        while True:
            self.look(what)
            if value := condition():
                return value
            expect(time.monotonic() < end, lambda: f"{what}: not within {seconds} s: {[self.turns(m) for m in self.masters if m.process.poll() is None]}")
            time.sleep(0.05)

    def register(self, m, name):
        """True when it was taken. A name of which that is not known is not asked for."""
        address = f"10.9.0.{len(self.names) + 1}"
        status, headers, body = m.call("PUT", f"/v1/zones/{ZONE}/records/{name}/A", {"data": [address], "ttl": 5})
        if status in (200, 201):
            self.names[name] = address
            return True
        expect(status in (500, 503), f"{name}: {status} {body}")
        if status == 503:
            expect("leader" in body, f"{body}")
        return False

    def enroll(self, m, node):
        status, _, body = m.call("POST", "/v1/overlay/nodes", {"format": 1, "node": node})
        expect(status == 200, f"{node}: {status} {body}")
        vtep = str(body["allocation"]["vtep"])
        expect(self.vteps.setdefault(node, vtep) == vtep, f"{node} had {self.vteps[node]} and gets {vtep}")
        expect(len(set(self.vteps.values())) == len(self.vteps), f"given twice: {self.vteps}")

    def works(self, since, what, but=None):
        """A leader accepts a name and a node, and everybody learns of the name."""
        name = what.split()[0] + str(len(self.names))

        def written():
            m = self.leader()
            return m if m and m is not but and self.register(m, name) else None

        m = self.keeps(written, 30, what)
        wrote = time.monotonic() - since
        for node in list(self.vteps) + [f"10.20.0.{len(self.vteps) + 1}"]:
            self.enroll(m, node)
        wait_until(lambda: all(self.knows(d, name) for d in self.living()), 15, f"{name} everywhere")
        heard = time.monotonic() - since
        self.look(what)
        return wrote, heard

    # --- faults

    def begins(self):
        wrote, heard = self.works(time.monotonic(), "first name")
        m = self.leader()
        other = next(d for d in self.masters if d is not m)
        wait_until(lambda: self.turns(other)["leader"] == self.turns(m)["leader"], 5, "all know the leader")
        status, headers, body = other.call("PUT", f"/v1/zones/{ZONE}/records/no/A", {"data": ["10.9.9.9"]})
        expect(status == 503 and body["leader"] == f"{m.node.address[4]}:62080" and headers["X-Loadstar-Leader"] == body["leader"], f"{status} {headers} {body}")
        expect(sum(d.metric("loadstar_leader") for d in self.masters) == 1, "not one leader by the metrics")
        expect(m.metric("loadstar_term") >= 1 and m.metric("loadstar_zookeeper_connected") == 1, "metrics")
        return f"written after {wrote:.2f} s, everywhere after {heard:.2f} s"

    def carries(self):
        """A container on every node, and a service of two of them: asked by look() from now on, also while a node's own daemon is dead."""
        containers = []
        for d in self.daemons:
            overlay_cluster.wait_ok(d, 3)
            c = overlay_cluster.Container(d, "c", "mesos")
            c.echo(c.name, PORT)
            containers.append(c)
        self.mesos.tell(*[self.cluster.add(state.routed_task(f"web.{c.name}", c, 4, PORT, ["/web:80"])) for c in (containers[0], containers[3])])
        vips = {d.service(f"web.{state.FRAMEWORK_NAME}", 80, "tcp", 4)["address"] for d in self.daemons}
        expect(len(vips) == 1, f"one service, several addresses: {vips}")
        self.vip, self.containers = vips.pop(), containers
        self.look("containers")
        return f"{len(containers)} containers, one service at {self.vip}"

    def killed(self):
        m = self.leader()
        begin = time.monotonic()
        m.process.kill()
        m.process.wait()
        wrote, heard = self.works(begin, "killed leader")
        expect(wrote < SESSION_S + RECOVERY_S and heard < SESSION_S + RECOVERY_S, f"{wrote:.2f} s, {heard:.2f} s")
        back = time.monotonic()
        m.start()  # begins with what its disk held when it was killed
        self.clients[m] = dns.Client(m.node, RESOLVER)
        wait_until(lambda: all(self.knows(m, n) for n in self.names), RECOVERY_S, "it knows what was registered meanwhile")
        back = time.monotonic() - back
        self.keeps(lambda: len(self.turns(m)["candidates"]) == 3, 10, "it is back in line")
        return f"written after {wrote:.2f} s, everywhere after {heard:.2f} s (session {SESSION_S} s); restarted, it knows all after {back:.2f} s"

    def expired(self):
        m = self.leader()
        begin = time.monotonic()
        _, number = self.ensemble.session_of(m.node.address[4])
        self.ensemble.end_session(number)
        wrote, heard = self.works(begin, "expired session", but=m)
        expect(heard < RECOVERY_S, f"{heard:.2f} s")
        return f"written after {wrote:.2f} s, everywhere after {heard:.2f} s"

    def split(self):
        """The leader's server is alone, and the leader reaches no other one."""
        m = self.leader()
        server = next(s for s in self.ensemble.servers if s.address == self.turns(m)["server"])
        self.ensemble.split(server)
        m.node.nft("table inet masters_split {\n chain out {\n type filter hook output priority -350;\n ip daddr { "
                   + ", ".join(s.ip_address for s in self.ensemble.servers if s is not server) + " } drop\n }\n}\n")
        begin = time.monotonic()
        wrote, heard = self.works(begin, "split", but=m)
        expect(heard < RECOVERY_S + SESSION_S, f"{heard:.2f} s")
        expect(not self.turns(m)["leading"] and not self.register(m, "late"), "the one that is cut off still leads")
        m.node.nft("delete table inet masters_split\n")
        server.heal()
        self.keeps(lambda: all(self.turns(d)["connected"] and len(self.turns(d)["candidates"]) == 3 for d in self.masters), 20, "healed")
        return f"the other half wrote after {wrote:.2f} s, everywhere after {heard:.2f} s"

    def stopped(self):
        self.ensemble.kill()
        begin = time.monotonic()
        self.keeps(lambda: not any(self.turns(m)["leading"] for m in self.masters), 10, "nobody leads")
        for m in self.masters:
            expect(not self.register(m, "none"), "a name was taken without ZooKeeper")
        end = time.monotonic() + 1
        self.keeps(lambda: time.monotonic() > end, 5, "without ZooKeeper")
        down = time.monotonic() - begin
        self.ensemble.launch()
        self.ensemble.wait_for_leader()
        begin = time.monotonic()
        wrote, heard = self.works(begin, "ensemble back")
        expect(heard < RECOVERY_S, f"{heard:.2f} s")
        return f"{down:.1f} s without; written {wrote:.2f} s after the ensemble had a leader, everywhere after {heard:.2f} s"

    def end(self):
        for c in self.clients.values():
            c.close()
        for d in self.living():
            d.stop()
            d.purge()


def main():
    args = arguments(__doc__)
    if why := zookeeper.missing():
        print(f"skipped: {why}")
        return SKIPPED
    report = Report()
    with Lab(nodes=4, tools=args.tools) as lab:
        s = Scene(lab)
        for name, check in [("a leader", s.begins), ("containers and a service", s.carries), ("leader killed", s.killed), ("session expired", s.expired), ("split", s.split), ("ensemble stopped", s.stopped)]:
            if args.only in name or check in (s.begins, s.carries):
                report.run(name, check)
        if report.failed:
            for d in s.daemons:
                print(d.node.name, d.log_tail(25))
        print(f"looked {s.looks} times")
        s.end()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Agents that follow masters: one Mesos, two masters that serve a hub, two agents that follow one of them. Names and virtual IPs of the
agents are asked with real packets while masters are killed, all of them are gone, and an agent starts anew with nothing but its disk:
nothing is withdrawn at any moment. A machine whose link is down leaves rotation on all others, and comes back. What the operator is shown of it
is compared with what is so."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Daemon, Lab, Report, arguments, expect, state, wait_until  # noqa: E402
from lab.dns import Client  # noqa: E402

MESOS = "10.10.0.241"
RESOLVER = "198.51.100.1"
HUB_PORT = 62081
WEB = f"web.{state.FRAMEWORK_NAME}"
NAMES = [f"{WEB}.mesos.", f"{WEB}.l4lb.thisdcos.directory.", "leader.mesos.", "master.mesos."]


class Mesos:
    """ls-mesos-standin with one master, in the fabric."""

    def __init__(self, lab):
        lab.fabric.ip(f"addr add {MESOS}/24 dev fab")
        path = os.path.join(lab.dir, "mesos.sock")
        self.address = f"{MESOS}:5050"
        p = lab.fabric.spawn([lab.tool("ls-mesos-standin"), "--control", path, "--listen", self.address],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        expect(p.stdout.readline().startswith("listening "), "the stand-in does not listen")
        wait_until(lambda: os.path.exists(path), 5, "control socket")
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.lines = self.socket.makefile("rw")

    def say(self, *commands):
        for c in commands:
            self.lines.write(c + "\n")
            self.lines.flush()
            answer = self.lines.readline().strip()
            expect(answer.startswith("ok"), f"stand-in: {c}: {answer or 'ended'}")


class Scene:
    def __init__(self, lab):
        self.lab = lab
        masters, agents = [lab.node(1), lab.node(2)], [lab.node(3), lab.node(4)]
        self.places = {"w1": agents[0].routed("w1"), "w2": agents[1].routed("w2"), "w3": agents[1].routed("w3")}
        for name, place in self.places.items():
            place.echo(name, 8080)
        self.mesos = Mesos(lab)
        self.mesos.say("heartbeat 1s", *[f"agent add A{n} 10.10.0.1{n}" for n in (3, 4)], f"framework add F1 {state.FRAMEWORK_NAME}",
                       self.task("w1"), self.task("w2"))
        token = os.path.join(lab.dir, "token")
        with open(token, "w") as f:
            f.write("tell-me\n")
        hubs = [f"{m.address[4]}:{HUB_PORT}" for m in masters]
        self.masters = {hub: Daemon(m, {"mesos": [self.mesos.address]},
                                    settings={"node.roles": ["master"], "hub_server.listen": [hub], "hub_server.token_file": token,
                                              "hub_server.heartbeat": "500ms", "hub_server.probe_every": "1s"})
                        for hub, m in zip(hubs, masters)}
        self.agents = [Daemon(a, {"hub": hubs},
                              settings={"node.id": a.name, "hub.token_file": token, "hub.rebalance": "1s", "state.save_every": "200ms",
                                        "resolver.enabled": True, "resolver.upstreams": [], "resolver.mesos_servers": [], "dns.workers": 1})
                       for a in agents]
        self.clients = [a.routed("c") for a in agents]

    def task(self, name, place=None, service="web"):
        place = self.places[place or name]
        return (f"task add {name} F1 A{place.node.number} name={service} container=mesos network=dcos ip={place.address[4]} "
                f"port=8080 scope=container vip=/{service}:80")

    # --- what an agent answers

    def source(self, agent):
        return agent.get("/v1/status")["source"]

    def follows(self, agent, hub):
        s = self.source(agent)
        return s["connected"] and s["endpoint"] == hub

    def backends(self, agent, name=WEB):
        return {b["ip"] for s in agent.services().values() if s["name"] == name and ":" not in s["address"]
                for b in s["backends"] if b["state"] == "active"}

    def of(self, *names):
        return {self.places[n].address[4] for n in names}

    def answers(self, *names):
        """Both agents, by the name and by the virtual IP, with real packets."""
        for agent, client in zip(self.agents, self.clients):
            with Client(agent.node, RESOLVER) as dns:
                answered = {name: dns.ask(name, "A") for name in NAMES}
            for name, a in answered.items():
                expect(a.rcode == "NOERROR" and a.answer, lambda: f"{agent.node.name}: {name}: {a.rcode} {a.answer}")
            found = {r.data for r in answered[NAMES[0]].answer}
            expect(found == self.of(*names), lambda: f"{agent.node.name}: {NAMES[0]} is {found}")
            one = client.dial("once", self.vip, 80)[0]
            expect(one["ok"] and one["name"] in names, lambda: f"{agent.node.name}: {one}")

    def keeps(self, names, until, seconds, what):
        end, looks = time.monotonic() + seconds, 0
        while True:
            done = until()
            self.answers(*names)
            looks += 1
            if done:
                return f"asked {looks} times"
            expect(time.monotonic() < end, f"{what}: not within {seconds} s")

    # --- checks

    def start(self):
        for m in self.masters.values():
            m.start()
        for a in self.agents:
            a.start()
        self.vip = self.agents[0].service(WEB, 80, "tcp", 4)["address"]
        self.answers("w1", "w2")
        return ", ".join(f"{a.node.name} follows {self.source(a)['endpoint']}" for a in self.agents)

    def change(self, kind, name, *after):
        self.mesos.say(self.task(name) if kind == "add" else f"task state {name} TASK_KILLED")
        for a in self.agents:
            wait_until(lambda: self.backends(a) == self.of(*after), 5, f"{after} on {a.node.name}")
        self.answers(*after)

    def converges(self):
        counts = []
        for a in self.agents:
            metrics = a.get("/metrics")
            found = {k: float(re.search(rf'^loadstar_convergence_seconds_{k}{{kind="hub"}} (\S+)$', metrics, re.M)[1]) for k in ("count", "sum")}
            expect(found["count"] >= 1, f"{a.node.name} measured nothing")
            counts.append(f"{found['sum'] / found['count'] * 1000:.1f} ms")
        return "from the master's receipt to the kernel of an agent: " + ", ".join(counts)

    def cli(self, daemon, *words):
        return daemon.node.run([self.lab.tool("loadstar"), "-s", daemon.socket, *words])

    def shown(self):
        """Status, metrics and `loadstar hub ls` of both sides say the same, and what is so."""
        where = {a.node.name: self.source(a)["endpoint"] for a in self.agents}
        for hub, master in self.masters.items():
            here = sorted(name for name, at in where.items() if at == hub)
            listed = json.loads(self.cli(master, "-o", "json", "hub", "ls"))
            expect([f["node"] for f in listed] == here, lambda: f"{hub} has {here} and lists {listed}")
            for f in listed:
                node = next(a.node for a in self.agents if a.node.name == f["node"])
                expect(f["address"].rsplit(":", 1)[0] == node.address[4] and f["behind"] == 0, lambda: f"{hub}: {f}")
            table = self.cli(master, "hub", "ls")
            expect(all(name in table for name in here), lambda: f"{hub}: {table}")
            # The status is made once a second.
            wait_until(lambda: master.get("/v1/status")["hub"]["followers"] == len(here), 3, f"the followers of {hub}")
            status = master.get("/v1/status")
            expect(status["hub"]["followers"] == len(here) and status["hub"]["listen"] == [hub] and status["hub"]["token"], lambda: f"{hub}: {status['hub']}")
            expect(status["agents"] == {"watched": 2, "unreachable": 0, "addresses": [], "isolated": False}, lambda: f"{hub}: {status['agents']}")
            expect({l["name"] for l in status["loops"]} >= {"control", "admin", "hub"} and all(l["beat_age_s"] < 5 for l in status["loops"]),
                   lambda: f"{hub}: {status['loops']}")
            expect(master.metric("loadstar_hub_followers") == len(here) and master.metric("loadstar_agents_watched") == 2, f"{hub}: metrics")
            expect(f"{len(here)} of at most" in self.cli(master, "status"), f"{hub}: the status has no line of it")
        for agent in self.agents:
            hub = self.source(agent)["endpoint"]
            run = self.masters[hub].get("/v1/status")["hub"]["run"]
            wait_until(lambda: self.source(agent)["hub"]["clock_error_s"] is not None, 5, f"{agent.node.name} compares the clocks")
            said = self.source(agent)["hub"]
            expect(said["run"] == run and said["behind"] == 0 and said["fed"] and said["masters"] == 2, lambda: f"{agent.node.name}: {said}")
            expect(agent.metric("loadstar_hub_client_connected") == 1 and agent.metric("loadstar_hub_client_behind") == 0, f"{agent.node.name}: metrics")
            status, _, body = agent.call("GET", "/v1/hub/followers")
            expect(status == 404 and "serves no hub" in body["error"], lambda: f"{agent.node.name}: {status} {body}")
        return ", ".join(f"{name} at {at}" for name, at in where.items())

    def link_down(self):
        """The machine of w1 is cut off: no stream ends, no connection is refused."""
        lost, other = self.agents
        solo = f"solo.{state.FRAMEWORK_NAME}"
        self.mesos.say(self.task("s1", "w1", "solo"))
        everybody = [*self.masters.values(), *self.agents]
        others = [d for d in everybody if d is not lost]
        for d in everybody:
            wait_until(lambda: self.backends(d, solo) == self.of("w1"), 5, f"solo on {d.node.name}")
        begin = time.monotonic()
        self.lab.fabric.ip(f"link set {lost.node.name} down")
        try:
            for d in others:
                wait_until(lambda: self.backends(d) == self.of("w2", "w3"), 30, f"the lost machine leaves rotation on {d.node.name}")
            took = time.monotonic() - begin
            for d in others:
                expect(self.backends(d, solo) == self.of("w1"), f"{d.node.name} took away the only backend")
            for d in others:
                told = wait_until(lambda: (lambda a: a["unreachable"] and a)(d.get("/v1/status")["agents"]), 3, f"{d.node.name} says so")
                expect(told["unreachable"] == 1 and told["addresses"] == [lost.node.address[4]], lambda: f"{d.node.name}: {told}")
            expect(all(d.metric("loadstar_agents_unreachable") == 1 for d in others), "metrics")
            warned = [w for w in next(iter(self.masters.values())).get("/v1/status")["warnings"] if "cannot be reached" in w and lost.node.address[4] in w]
            expect(warned, "the masters do not warn")
            answered = {self.clients[1].dial("once", self.vip, 80)[0]["name"] for _ in range(12)}
            expect(answered == {"w2", "w3"}, lambda: f"{answered} answered")
        finally:
            self.lab.fabric.ip(f"link set {lost.node.name} up")
        begin = time.monotonic()
        for d in everybody:
            wait_until(lambda: self.backends(d) == self.of("w1", "w2", "w3"), 20, f"the machine is back on {d.node.name}")
        back = time.monotonic() - begin
        wait_until(lambda: self.source(lost)["connected"], 10, "the lost agent follows")
        self.mesos.say("task state s1 TASK_KILLED")
        self.answers("w1", "w2", "w3")
        return f"out after {took:.1f} s, in again after {back:.1f} s; the only backend of a service stays"

    def kill_one(self):
        hub = self.source(self.agents[0])["endpoint"]
        other = next(h for h in self.masters if h != hub)
        self.masters[hub].stop(signal.SIGKILL)
        return self.keeps(("w1", "w2", "w3"), lambda: all(self.follows(a, other) for a in self.agents), 10, "the other master")

    def kill_both(self):
        for m in self.masters.values():
            if m.process.poll() is None:
                m.stop(signal.SIGKILL)
        gone = time.monotonic()
        return self.keeps(("w1", "w2", "w3"), lambda: not any(self.source(a)["connected"] for a in self.agents) and time.monotonic() > gone + 2,
                          10, "no master")

    def reboot(self):
        """An agent with an empty BPF file system and no master: what it has is its disk."""
        agent, client = self.agents[0], self.clients[0]
        expect(agent.stop() == 0, "the agent did not end well")
        agent.purge()
        lost = client.dial("once", self.vip, 80, timeout=300)[0]
        expect(not lost["ok"], "the data path outlived its purge")
        begin = time.monotonic()
        agent.launch()
        wait_until(lambda: os.path.exists(agent.socket) and self.backends(agent) == self.of("w1", "w2", "w3"), 10, "the state from the disk")
        took = time.monotonic() - begin
        wait_until(lambda: client.dial("once", self.vip, 80, timeout=300)[0]["ok"], 5, "the virtual IP")
        self.answers("w1", "w2", "w3")
        told = wait_until(lambda: [w for w in agent.get("/v1/status")["warnings"] if "state from disk" in w], 3, "the status says that it is from the disk")
        expect(agent.get("/v1/status")["source"]["kept_s"] < 60 and agent.metric("loadstar_source_from_disk") == 1, "the status does not say how old it is")
        return f"after {took:.2f} s: {told[0]}"

    def back(self):
        for m in self.masters.values():
            m.launch()
        result = self.keeps(("w1", "w2", "w3"), lambda: all(self.source(a)["connected"] for a in self.agents), 10, "the masters")
        wait_until(lambda: not any("state from disk" in w for w in self.agents[0].get("/v1/status")["warnings"]), 5, "the first snapshot")
        return result


def main():
    args = arguments(__doc__)
    report = Report()
    with Lab(nodes=4, tools=args.tools) as lab:
        scene = Scene(lab)
        report.run("two masters, two agents", scene.start)
        report.run("a task comes", scene.change, "add", "w3", "w1", "w2", "w3")
        report.run("convergence is measured", scene.converges)
        report.run("the operator is shown it", scene.shown)
        report.run("a machine's link goes down and comes back", scene.link_down)
        report.run("the followed master is killed", scene.kill_one)
        report.run("all masters are gone", scene.kill_both)
        report.run("an agent starts from its disk", scene.reboot)
        report.run("the masters are back", scene.back)
        report.run("a task goes", scene.change, "end", "w2", "w1", "w3")
        if report.failed:
            for d in [*scene.masters.values(), *scene.agents]:
                print(d.node.name, d.log_tail(15))
        for d in [*scene.masters.values(), *scene.agents]:
            d.stop()
            d.purge()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

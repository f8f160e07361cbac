#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Agents that follow masters: one Mesos, two masters that serve a hub, two agents that follow one of them. Names and virtual IPs of the
agents are asked with real packets while masters are killed, all of them are gone, and an agent starts anew with nothing but its disk:
nothing is withdrawn at any moment."""
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
                                              "hub_server.heartbeat": "500ms"})
                        for hub, m in zip(hubs, masters)}
        self.agents = [Daemon(a, {"hub": hubs},
                              settings={"node.id": a.name, "hub.token_file": token, "hub.rebalance": "1s", "state.save_every": "200ms",
                                        "resolver.enabled": True, "resolver.upstreams": [], "resolver.mesos_servers": [], "dns.workers": 1})
                       for a in agents]
        self.clients = [a.routed("c") for a in agents]

    def task(self, name):
        place = self.places[name]
        return (f"task add {name} F1 A{place.node.number} name=web container=mesos network=dcos ip={place.address[4]} "
                f"port=8080 scope=container vip=/web:80")

    # --- what an agent answers

    def source(self, agent):
        return agent.get("/v1/status")["source"]

    def follows(self, agent, hub):
        s = self.source(agent)
        return s["connected"] and s["endpoint"] == hub

    def backends(self, agent):
        return {b["ip"] for s in agent.services().values() if s["name"] == WEB and ":" not in s["address"]
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
        # The data path may serve before the status of this start is published.
        told = wait_until(lambda: [w for w in agent.get("/v1/status")["warnings"] if "state from disk" in w], 5, "a status that says it is from the disk")
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

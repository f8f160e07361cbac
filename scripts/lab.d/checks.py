# SPDX-License-Identifier: Apache-2.0
"""What must be true of a testbed that is up. Each check only looks, but the one that has a task end and come back."""
import json
import re

from lab import expect, wait_until
from lab.report import Report
from testbed import AGENTS, CONTAINER_PORT, CONTAINERS, TASK_PORT

NAME = "web.marathon.mesos"                                # the tasks
VIP_NAME = "web.marathon.l4lb.thisdcos.directory"          # the virtual IP
REQUESTS = 20
WAIT_S = 15


def tell_tasks(places, masters, *agents):
    """Every stand-in is told: whichever leads now or later says the same."""
    for m in masters:
        places[m].run(["/usr/bin/python3", "-B", "/srv/loadstar/source/vagrant/standin", "tasks", *[AGENTS[a] for a in agents]])


class Checks:
    def __init__(self, masters, places):
        self.places = places
        self.masters = [places[m] for m in masters]
        self.names = list(masters)
        self.agents = [places[a] for a in AGENTS]

    def json(self, place, *command):
        return json.loads(place.run(["loadstar", "-o", "json", *command]))

    def zookeeper(self):
        """Servers of ZooKeeper serve."""
        modes = []
        for m in self.masters:
            said = m.run(["bash", "-c", f"exec 3<>/dev/tcp/{m.address}/2181 && echo srvr >&3 && cat <&3"], check=False, timeout=10)
            mode = re.search(r"^Mode: (\w+)", said, re.M)
            expect(mode, f"{m.name} does not answer")
            modes.append(mode[1])
        expect(sorted(modes) == (["standalone"] if len(modes) == 1 else ["follower"] * (len(modes) - 1) + ["leader"]), f"{modes}")
        return ", ".join(modes)

    def ready(self):
        """loadstard is ready on masters and agents."""
        bad = []
        for p in (*self.masters, *self.agents):
            said = p.run(["sh", "-c", "loadstar health 2>&1 && echo ready"], check=False)
            if not said.endswith("ready\n"):
                bad.append(f"{p.name}: {said.strip()}")
        expect(not bad, "; ".join(bad))
        return ""

    def leaders(self):
        """One Mesos master and one loadstard lead, and all know whom."""
        def agreed():
            turns = [self.json(m, "status")["turns"] for m in self.masters]
            return turns if sum(t["leading"] for t in turns) == 1 and len({t["leader"] for t in turns}) == 1 and turns[0]["leader"] else None
        turns = wait_until(agreed, WAIT_S, "one leader of the store", step=0.2)
        mesos = {a.run(["loadstar", "dns", "lookup", "leader.mesos"]).strip() for a in self.agents}
        found = {w for text in mesos for w in re.findall(r"192\.168\.56\.\d+", text)}
        expect(len(found) == 1 and found <= {m.address for m in self.masters}, f"leader.mesos is {found}: {mesos}")
        return f"loadstard at {turns[0]['leader']}, Mesos at {found.pop()}"

    def hubs(self):
        """Agents follow the hub of a master, and masters Mesos by ZooKeeper."""
        out = []
        hubs = {f"{m.address}:62081" for m in self.masters}
        for p in (*self.masters, *self.agents):
            source = wait_until(lambda p=p: next((s for s in [self.json(p, "status")["source"]] if s["connected"]), None), WAIT_S, f"{p.name} is connected",
                                step=0.2)
            if p in self.agents:
                expect(source["kind"] == "hub" and source["endpoint"] in hubs, f"{p.name}: {source}")
                out.append(f"{p.name} {source['endpoint']}")
            else:
                expect(source["kind"] == "mesos", f"{p.name}: {source}")
        return ", ".join(out)

    def asks(self, place):
        """Addresses of NAME, as any program of the place resolves it."""
        return set(place.run(["getent", "ahostsv4", NAME], check=False).split()) & set(AGENTS.values())

    def name_resolves(self):
        """Agents resolve the name by their own resolver file, the client by a master."""
        want = set(AGENTS.values())
        for a in self.agents:
            wait_until(lambda a=a: self.asks(a) == want, WAIT_S, f"{NAME} on {a.name}", step=0.2)
        for m in self.masters:
            said = self.places["client1"].run(["dig", "+short", "+time=2", "-p", "61053", f"@{m.address}", NAME], check=False)
            expect(set(said.split()) == want, f"client1 asks {m.name}: {said.strip()}")
        return f"{NAME}: {', '.join(sorted(want))}"

    def pages(self, place, url):
        """Who answered: pages of REQUESTS requests, each over a connection of its own."""
        said = place.run(["sh", "-c", f"for i in $(seq {REQUESTS}); do curl -sS --max-time 3 {url} || echo failed; done 2>&1"])
        return said.split("\n")[:-1]

    def vip_answers(self):
        """The virtual IP answers from both agents and from containers on them, from both tasks, by its name."""
        out = []
        for place in (*self.agents, *(self.places[c] for c in CONTAINERS)):
            pages = self.pages(place, f"http://{VIP_NAME}/")
            expect(set(pages) == set(AGENTS), f"{place.name}: {pages}")
            out.append(f"{place.name} {pages.count('agent1')}+{pages.count('agent2')}")
        return ", ".join(out)

    def client_reaches_tasks(self):
        """The client outside reaches each task by the agent's address."""
        for a in self.agents:
            said = self.places["client1"].run(["curl", "-sS", "--max-time", "3", f"http://{a.address}:{TASK_PORT}/"]).strip()
            expect(said == a.name, f"{a.name}: {said}")
        return ""

    def overlay(self):
        """The tunnel: agents reach each other in it, containers reach containers."""
        for a in self.agents:
            wait_until(lambda a=a: a.run(["sh", "-c", "loadstar overlay check >/dev/null 2>&1 && echo good"], check=False), WAIT_S, f"overlay check on {a.name}",
                       step=0.5)
        names = list(CONTAINERS)
        for one, other in (names, reversed(names)):
            to = self.places[other].address
            said = self.places[one].run(["curl", "-sS", "--max-time", "3", f"http://{to}:{CONTAINER_PORT}/"]).strip()
            expect(said == other, f"{one} asks {to}: {said}")
        return ", ".join(f"{c} {self.places[c].address}" for c in names)

    def task_ends(self):
        """A task that Mesos says has ended gets no more connections, and comes back."""
        def backends(a, agents):
            said = a.run(["loadstar", "vip", "show", "web.marathon"], check=False)
            return {x for x in AGENTS.values() if f"{x}:{TASK_PORT}" in said} == {AGENTS[n] for n in agents}
        try:
            tell_tasks(self.places, self.names, "agent2")
            for a in self.agents:
                wait_until(lambda a=a: backends(a, ["agent2"]), WAIT_S, f"only agent2 on {a.name}", step=0.1)
                pages = self.pages(a, f"http://{VIP_NAME}/")
                expect(set(pages) == {"agent2"}, f"{a.name}: {pages}")
        finally:
            tell_tasks(self.places, self.names, *AGENTS)
        for a in self.agents:
            wait_until(lambda a=a: backends(a, AGENTS), WAIT_S, f"both tasks on {a.name}", step=0.1)
        return ""

    def run(self):
        """The report; its `failed` says how many."""
        report = Report()
        for check in (self.zookeeper, self.ready, self.leaders, self.hubs, self.name_resolves, self.vip_answers, self.client_reaches_tasks, self.overlay,
                      self.task_ends):
            report.run(check.__doc__.partition(".\n")[0].rstrip("."), check)
        return report

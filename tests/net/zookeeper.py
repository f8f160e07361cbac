#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The daemon finds its Mesos masters in a real ZooKeeper: three servers, three masters that elect a leader there. Leader killed and started
again, ensemble stopped, session expired, ensemble split, a slow server, a directory that is old: names and virtual IPs are answered at
every moment, no backend is withdrawn, and what happens afterwards is followed in time."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Daemon, Lab, Report, arguments, dns, expect, state, wait_until, zookeeper  # noqa: E402
from lab.report import SKIPPED  # noqa: E402

RECOVERY_S = 5.0
MASTER_SESSION_S = 2.0
RESOLVER = "198.51.100.1"
NAME = f"web.{state.FRAMEWORK_NAME}.mesos"


class Scene:
    def __init__(self, lab):
        self.lab = lab
        n1, n2 = lab.node(1), lab.node(2)
        self.node = n1
        self.clients = {"tc": n1.routed("tcc"), "sock": n1.routed("sc")}
        self.places = {"w1": n1.routed("w1"), "w2": n2.routed("w2"), "w3": n2.routed("w3")}
        for name, place in self.places.items():
            place.echo(name, 8080)
        self.ensemble = zookeeper.Ensemble(lab, 3)
        self.ensemble.wait_for_leader()
        self.commands = ["agent add A1 10.10.0.11", "agent add A2 10.10.0.12", f"framework add F1 {state.FRAMEWORK_NAME}",
                         self.task("w1"), self.task("w2")]
        self.masters = [zookeeper.ElectedMaster(self.ensemble, s, self.commands, MASTER_SESSION_S) for s in self.ensemble.servers]
        self.daemon = Daemon(n1, {"mesos": []}, settings={
            "mesos.zk": self.ensemble.url(), "mesos.zk_session": "6s", "mesos.reregister_timeout": "60s", "mesos.response_timeout": "2s",
            "lb.cgroup": self.clients["sock"].cgroup, "resolver.enabled": True, "resolver.upstreams": ["10.10.0.250:53"], "dns.workers": 1})
        self.resolver = dns.Client(n1, RESOLVER)
        self.wanted = {"w1", "w2"}

    def task(self, name):
        place = self.places[name]
        return (f"task add {name} F1 A{place.node.number} name=web container=mesos network=dcos ip={place.address[4]} "
                f"port=8080 scope=container vip=/web:80")

    def say(self, *commands):
        """An event of the cluster: every master that runs learns of it, as masters learn from agents."""
        begin = time.monotonic()
        for m in self.masters:
            if m.standin.poll() is None:
                m.say(*commands)
        return begin

    # --- what must be true

    def source(self):
        return self.daemon.get("/v1/status")["source"]

    def leading(self):
        """The master that the daemon has a stream of, or None."""
        s = self.source()
        return next((m for m in self.masters if s["connected"] and s["endpoint"] == m.address), None)

    def backends(self):
        service = self.daemon.services().get((f"web.{state.FRAMEWORK_NAME}", 80, "tcp", 4), {"backends": []})
        return {b["ip"] for b in service["backends"] if b["state"] == "active"}

    def look(self, what):
        missing = {self.places[n].address[4] for n in self.wanted} - self.backends()
        expect(not missing, lambda: f"{what}: {missing} withdrawn")
        for path, client in self.clients.items():
            a = client.dial("once", self.vip, 80)[0]
            expect(a["ok"], lambda: f"{what}: {path}: {a['step']} {a['error']}")
        m = self.resolver.ask(NAME, timeout=2)
        expect(set(m.data("A")) >= {self.places[n].address[4] for n in self.wanted}, lambda: f"{what}: {NAME}: {m}")

    def keeps(self, until, seconds, what):
        """Until `until()` is true everything is answered at every look. Gives the number of looks."""
        end, looks = time.monotonic() + seconds, 0
        while True:
            done = until()
            self.look(what)
            looks += 1
            if done:
                return looks
            expect(time.monotonic() < end, lambda: f"{what}: not over within {seconds} s; source {self.source()}")

    def keeps_for(self, seconds, what):
        end = time.monotonic() + seconds
        return self.keeps(lambda: time.monotonic() > end, seconds + 20, what)

    def follows(self, what):
        """A task comes and goes: the daemon hears of both."""
        self.say(self.task("w3"))
        wait_until(lambda: self.places["w3"].address[4] in self.backends(), RECOVERY_S, f"{what}: a new task")
        self.say("task state w3 TASK_KILLED")
        wait_until(lambda: self.places["w3"].address[4] not in self.backends(), RECOVERY_S, f"{what}: the end of a task")

    def recovered(self, since, what):
        took = time.monotonic() - since
        expect(took < RECOVERY_S, f"{what}: recovered after {took:.1f} s")
        self.follows(what)
        return f"{took:.1f} s"

    # --- checks

    def found(self):
        ready = self.daemon.start(40)
        wait_until(self.leading, 10, "a stream of the leading master")
        self.vip = self.daemon.service(f"web.{state.FRAMEWORK_NAME}", 80, "tcp", 4)["address"]
        wait_until(lambda: len(self.source()["zookeeper"]["masters"]) == 3, 5, "three masters found")
        z = self.source()["zookeeper"]
        expect(z["connected"] and z["masters"][0] == self.leading().address, f"ZooKeeper: {z}")
        self.look("at the start")
        self.follows("at the start")
        text = self.node.run([self.lab.tool("loadstar"), "-s", self.daemon.socket, "status"])
        expect(z["server"] in text, f"`loadstar status` does not tell of {z['server']}:\n{text}")
        return f"ready after {ready:.1f} s"

    def leader_killed(self):
        """The directory names the dead one until its session is over (2 s): that is as old as a list can be."""
        old = self.leading()
        begin = time.monotonic()
        old.kill()
        looks = self.keeps(lambda: self.leading() not in (None, old), 15, "leader killed")
        took = time.monotonic() - begin
        expect(took < MASTER_SESSION_S + RECOVERY_S, f"another leader after {took:.1f} s")
        self.follows("leader killed")
        self.killed = old
        return f"another one's stream after {took:.1f} s, of which its session took {MASTER_SESSION_S:.0f} s; {looks} looks"

    def leader_restarted(self):
        """Back at its old address with another node, last in the order of succession."""
        leader = self.leading()
        self.killed.start()
        looks = self.keeps(lambda: len(self.source()["zookeeper"]["masters"]) == 3, 10, "leader restarted")
        expect(self.leading() is leader, "the stream was given up")
        return f"{looks} looks"

    def restarted_at_once(self):
        """Two nodes of one address for a while, and a master that redirects to itself."""
        old = self.leading()
        begin = time.monotonic()
        old.kill()
        old.start()
        looks = self.keeps(lambda: self.leading() not in (None, old), 15, "leader restarted at once")
        took = time.monotonic() - begin
        expect(took < MASTER_SESSION_S + RECOVERY_S, f"another leader after {took:.1f} s")
        self.follows("leader restarted at once")
        return f"{took:.1f} s, {looks} looks"

    def session_expired(self):
        before = self.source()["zookeeper"]
        leader = self.leading()
        _, number = wait_until(lambda: self.ensemble.session_of(self.node.address[4]), 5, "the daemon's session")
        begin = time.monotonic()
        self.ensemble.end_session(number)
        looks = self.keeps(lambda: (z := self.source()["zookeeper"])["connected"] and z["sessions"] > before["sessions"], 10, "session expired")
        z = self.source()["zookeeper"]
        expect(z["expired"] == before["expired"] + 1 and z["masters"] == before["masters"], f"ZooKeeper: {z}")
        expect(self.leading() is leader, "the stream was given up")
        return f"another session after {self.recovered(begin, 'session expired')}, {looks} looks"

    def server_killed(self):
        """The one that the daemon talks to. Its master stays; the others of the ensemble go on."""
        server = self.attached()
        begin = time.monotonic()
        server.kill()
        looks = self.keeps(lambda: (z := self.source()["zookeeper"])["connected"] and z["server"] != server.address, 10, "server killed")
        took = self.recovered_any(begin, "server killed")
        server.launch()
        self.ensemble_whole()
        return f"at another server after {took}, {looks} looks"

    def slow_server(self):
        """Two seconds a reply: slow is not dead."""
        server = self.attached()
        before = self.source()["zookeeper"]
        server.slow(2)
        looks = self.keeps_for(5, "slow server")
        server.normal()
        z = self.source()["zookeeper"]
        # Masters whose own sessions are shorter may have lost theirs.
        expect(z["expired"] == before["expired"], f"ZooKeeper: {z}")
        self.recovered_any(time.monotonic(), "slow server")
        return f"{looks} looks"

    def split(self):
        """The daemon's server alone on its side: it serves nobody, and the other two go on."""
        alone = self.attached()
        begin = time.monotonic()
        self.ensemble.split(alone)
        looks = self.keeps(lambda: (z := self.source()["zookeeper"])["connected"] and z["server"] != alone.address, 20, "split")
        moved = time.monotonic() - begin
        took = self.recovered_any(time.monotonic(), "split")
        alone.heal()
        self.ensemble_whole()
        return f"at a server of the majority after {moved:.1f} s, a master's stream {took} later, {looks} looks"

    def ensemble_stopped(self):
        """Longer than the sessions of the masters: the leader gives up, the others answer 503."""
        self.ensemble.kill()
        looks = self.keeps(lambda: not self.source()["connected"], 15, "ensemble stopped")
        looks += self.keeps_for(1, "ensemble stopped")
        z = self.source()["zookeeper"]
        expect(not z["connected"] and z["last_error"] and z["masters"], f"ZooKeeper: {z}")
        self.ensemble.launch()
        self.ensemble.wait_for_leader()
        begin = time.monotonic()
        looks += self.keeps(self.leading, 20, "ensemble back")
        return f"a stream {self.recovered(begin, 'ensemble back')} after the ensemble had a leader, {looks} looks"

    def attached(self):
        z = wait_until(lambda: (z := self.source()["zookeeper"])["connected"] and z, 10, "a server of ZooKeeper")
        return next(s for s in self.ensemble.servers if s.address == z["server"])

    def ensemble_whole(self):
        wait_until(lambda: all(s.mode() for s in self.ensemble.servers), 20, "the ensemble whole again")

    def recovered_any(self, since, what):
        """A stream stands, of whichever master; a master may have lost its own session meanwhile."""
        self.keeps(self.leading, 15, what)
        return self.recovered(since, what)


def main():
    args = arguments(__doc__)
    if why := zookeeper.missing():
        print(f"skipped: {why}")
        return SKIPPED
    report = Report()
    with Lab(nodes=2, tools=args.tools) as lab:
        s = Scene(lab)
        checks = [("masters found", s.found), ("leading master killed", s.leader_killed), ("it comes back", s.leader_restarted),
                  ("leading master restarted at once", s.restarted_at_once), ("session expired", s.session_expired), ("server killed", s.server_killed),
                  ("slow server", s.slow_server), ("ensemble split", s.split), ("ensemble stopped", s.ensemble_stopped)]
        for name, check in checks:
            if args.only in name or check == s.found:
                report.run(name, check)
        if report.failed:
            print(s.daemon.log_tail(60))
            for m in s.masters:
                print(m.server.name, m.log())
        s.resolver.close()
        s.daemon.stop()
        s.daemon.purge()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

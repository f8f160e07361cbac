#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What follows when Mesos says that a backend is gone, on the packet path, for IPv4 and IPv6. The backend itself lives
on and would answer: whatever reaches it after its time is the balancer's fault.

* TCP peers get a reset within 1 s, those that send and those that wait.
* UDP flows are answered by another backend from the next datagram on.
* After 2 s nothing is sent to it any more.
* TASK_KILLING (weight 0) keeps open flows and takes no new ones.
* Without a backend that takes flows: connection refused at once, TCP and UDP."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import (Daemon, Lab, Master, Report, arguments, end_dial, expect, next_event,  # noqa: E402
                 state, wait_until)

FLOWS = 30      # TCP flows of each sort; the chance that one of two backends gets none is 2^-29
UDP_FLOWS = 8   # of each sort, so at least one on the backend that dies with 1 - 2^-8; else the check says so
RESET_MS = 1000
QUIET_S = 2.0
REFUSED_MS = 500


class Scene:
    def __init__(self, lab, family):
        self.lab = lab
        self.family = family
        n1, n2 = lab.node(1), lab.node(2)
        self.client = n1.routed("c")
        self.backends = {"b1": n1.routed("b1"), "b2": n2.routed("b2")}
        self.cluster = state.Cluster()
        self.cluster.add_agents(lab)
        for name, place in self.backends.items():
            place.echo(name, 8080)
            place.count_packets("service", "th dport 8080")
            self.cluster.add(self.task(name))
        self.master = Master(lab, self.cluster)
        self.daemon = Daemon(n1, {"mesos": [self.master.address]}, sock=False, tc=True)
        self.daemon.start()
        self.vip = self.daemon.service(f"web.{state.FRAMEWORK_NAME}", 80, "tcp", family)["address"]

    def task(self, name):
        return state.routed_task(f"web.{name}", self.backends[name], self.family, 8080, ["/web:80"])

    def tell(self, name, task_state):
        """Time in ms, on the clock of ls-dial, at which the master said it."""
        return self.master.tell(self.cluster.update(f"web.{name}", task_state)) * 1e3

    def weights(self):
        service = self.daemon.service(f"web.{state.FRAMEWORK_NAME}", 80, "tcp", self.family)
        return {b["task"]: b["weight"] for b in service["backends"]}

    def streams(self, **options):
        s = self.client.start_dial("stream", self.vip, 80, flows=FLOWS, **options)
        event = next_event(s)
        expect(event and event["event"] == "ready" and event["ready"] == FLOWS, f"flows did not come up: {event}")
        return s

    def death(self):
        """Kills b1 under TCP and UDP flows."""
        sending, idle = self.streams(gap=50), self.streams(idle=1)
        udp = [self.client.start_dial("udpflow", self.vip, 80, gap=20, free=free)
               for free in (0, 1) for _ in range(UDP_FLOWS)]
        time.sleep(0.5)
        died_ms = self.tell("b1", "TASK_KILLED")
        time.sleep(QUIET_S)
        counted = self.backends["b1"].packets("service")
        time.sleep(1.5)
        late = self.backends["b1"].packets("service") - counted
        return {"died_ms": died_ms, "late": late, "sending": end_dial(sending), "idle": end_dial(idle),
                "udp": [end_dial(u) for u in udp]}

    def resets(self, lines, died_ms):
        """All flows of b1 were reset in time, none of b2."""
        end = lines[-1]
        lost = [line for line in lines if line["event"] == "lost"]
        expect(not [x for x in lost if x["name"] != "b1"], lambda: f"flows of another backend lost: {lost[:2]}")
        expect("b1" not in end["by_name"], lambda: f"{end['by_name']['b1']} flows to the dead backend still open")
        expect(lost, "no flow was on the backend that died")
        expect(all(x["error"] == "ECONNRESET" for x in lost), lambda: f"ended by {sorted({x['error'] for x in lost})}")
        slowest = max(x["t"] for x in lost) - died_ms
        expect(slowest < RESET_MS, f"the last reset came after {slowest:.0f} ms")
        return f"{len(lost)} of {end['flows']} flows reset, the last after {slowest:.0f} ms"

    def udp_moves(self, runs, died_ms):
        moved, slowest = 0, 0.0
        for lines in runs:
            end = lines[-1]
            expect(not end["errors"], lambda: f"errors: {end['errors']}")
            expect(end["other_source"] == 0, f"{end['other_source']} answers not from the VIP")
            names = [x for x in lines if x["event"] == "name"]
            expect(names and names[-1]["name"] == "b2", lambda: f"still answered by {names[-1:]}")
            # Datagrams on their way at the moment of death may be lost; later ones may not.
            expect(end["sent"] - end["answered"] <= 5, f"{end['sent'] - end['answered']} of {end['sent']} unanswered")
            if names[0]["name"] == "b1":
                moved += 1
                slowest = max(slowest, names[-1]["t"] - died_ms)
        expect(moved, "no flow was on the backend that died")
        expect(slowest < RESET_MS, f"the last flow moved after {slowest:.0f} ms")
        return f"{moved} of {len(runs)} flows moved, the last after {slowest:.0f} ms"

    def quiet(self, late):
        expect(late == 0, f"{late} packets reached the dead backend later than {QUIET_S:.0f} s after its death")

    def drain(self):
        """b2 gets weight 0: its flows live on, new ones go to b1."""
        self.master.tell(self.cluster.add(self.task("b1")))
        wait_until(lambda: self.weights() == {"web.b1": 1, "web.b2": 1}, 5, "b1 back")
        open_flows = self.streams(gap=50)
        self.tell("b2", "TASK_KILLING")
        wait_until(lambda: self.weights().get("web.b2") == 0, 5, "weight 0")
        time.sleep(0.2)
        # Ports that no flow of this client has had: a known UDP flow would rightly stay with b2.
        new = {"count": 40, "source_port": 20000, "source_ports_differ": 1}
        names = {a["name"] for proto in ("tcp", "udp") for a in self.client.dial("once", self.vip, 80, proto=proto, **new)}
        end = end_dial(open_flows)[-1]
        expect(names == {"b1"}, f"new flows went to {names}")
        expect(end["lost"] == 0 and end["by_name"].get("b2"), f"open flows: {end['by_name']}, {end['lost']} lost")
        return f"{end['by_name']['b2']} flows of the draining backend live, 80 new ones avoid it"

    def refused(self, proto):
        """No backend takes flows."""
        if self.weights().get("web.b1") != 0:
            self.tell("b1", "TASK_KILLING")
            wait_until(lambda: set(self.weights().values()) == {0}, 5, "all at weight 0")
            time.sleep(0.2)
        slowest = 0.0
        for a in self.client.dial("once", self.vip, 80, count=5, proto=proto):
            expect(a["error"] == "ECONNREFUSED", f"got {a['error'] or a['name']} at {a['step']}")
            slowest = max(slowest, a["ms"])
        expect(slowest < REFUSED_MS, f"refused after {slowest:.0f} ms")
        return f"after {slowest:.1f} ms at most"

    def withdrawn(self):
        """The last task ends: the address is nobody's, and least of all a local listener's."""
        node = self.lab.node(1)
        node.echo("bystander", 80)
        for name in self.backends:
            self.tell(name, "TASK_KILLED")
        wait_until(lambda: not self.daemon.services(), 5, "VIP withdrawn")
        for place in (self.client, node):
            a = place.dial("once", self.vip, 80, timeout=700)[0]
            expect(not a["ok"], f"{a['name']} answered for a VIP that is gone")

    def death_drops(self):
        """Drops happened (the flows of the dead backend), all of them for a reason that this test caused."""
        others = {k: n for k, n in self.daemon.drops().items() if k[1] not in ("backend_dead", "no_backend")}
        expect(not others, f"dropped: {others}")


def family_checks(report, lab, family, only):
    scene = Scene(lab, family)
    seen = scene.death()
    checks = [("TCP flow that sends is reset", scene.resets, seen["sending"], seen["died_ms"]),
              ("TCP flow that waits is reset", scene.resets, seen["idle"], seen["died_ms"]),
              ("UDP flow, connected socket, moves", scene.udp_moves, seen["udp"][:UDP_FLOWS], seen["died_ms"]),
              ("UDP flow, free socket, moves", scene.udp_moves, seen["udp"][UDP_FLOWS:], seen["died_ms"]),
              ("nothing is sent to the dead backend", scene.quiet, seen["late"]),
              ("weight 0 keeps flows and takes none", scene.drain),
              ("no backend, TCP: refused", scene.refused, "tcp"),
              ("no backend, UDP: refused", scene.refused, "udp"),
              ("last task gone: nobody answers", scene.withdrawn),
              ("drop counters", scene.death_drops)]
    for name, check, *values in checks:
        name = f"IPv{family} {name}"
        if only in name:
            report.run(name, check, *values)
    if report.failed:
        print(scene.daemon.log_tail(30))
    scene.daemon.stop()
    scene.daemon.purge()


def main():
    args = arguments(__doc__)
    report = Report()
    for family in (4, 6):
        with Lab(nodes=2, tools=args.tools) as lab:
            report.run(f"IPv{family} scene", family_checks, report, lab, family, args.only)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What scripts/demo shows once everything is built."""
import argparse
import collections
import os
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from lab import Daemon, Lab, Master, dns, end_dial, find_binary, next_event, sandbox, state, wait_until  # noqa: E402
from lab import master as lab_master  # noqa: E402
from lab.__main__ import enter_command  # noqa: E402

LABEL = "/web:80"
REQUESTS = 300
OPEN_FLOWS = 60
VICTIM = "web.2"
RESOLVER = "198.51.100.1"
NAME = f"web.{state.FRAMEWORK_NAME}.l4lb.thisdcos.directory"   # the virtual IP
TASKS_NAME = f"web.{state.FRAMEWORK_NAME}.mesos"               # the tasks behind it


def heading(text):
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def table(header, rows):
    rows = [header, *[[str(c) for c in r] for r in rows]]
    widths = [max(len(r[i]) for r in rows) for i in range(len(header))]
    for r in rows:
        print("  " + "  ".join(c.ljust(w) for c, w in zip(r, widths)).rstrip())


class Demo:
    def __init__(self, lab):
        self.lab = lab
        n1, n2 = lab.node(1), lab.node(2)
        self.client = n1.routed("client")
        bridged, routed = n2.bridged("web2"), n2.routed("web3")
        n1.echo("web.1", 31001, http=True, task="web1")
        bridged.echo("web.2", 8080, http=True)
        n2.map_port(31002, bridged, 8080)
        routed.echo("web.3", 8080, http=True)
        self.tasks = {
            "web.1": (state.host_task("web.1", n1, 4, 31001, [LABEL], ["tcp"]), "n1, host network, port 31001"),
            "web.2": (state.mapped_task("web.2", bridged, 4, 31002, 8080, [LABEL], ["tcp"]),
                      "n2, bridge, host port 31002"),
            "web.3": (state.routed_task("web.3", routed, 4, 8080, [LABEL], ["tcp"]), "n2, address of its own"),
        }
        self.cluster = state.Cluster()
        self.cluster.add_agents(lab)
        for task, _ in self.tasks.values():
            self.cluster.add(task)
        self.master = Master(lab, self.cluster)
        # Host processes are translated when their socket connects, containers packet by packet: both paths are shown.
        self.daemons = []
        for node in lab.nodes.values():
            group = os.path.join(node.cgroup, "shell")
            os.makedirs(group, exist_ok=True)
            self.daemons.append(Daemon(node, {"mesos": [self.master.address]}, settings={
                "lb.cgroup": group, "resolver.enabled": True, "resolver.upstreams": [], "resolver.mesos_servers": []}))
            self.use_resolver(node)
        self.ready_s = [d.start() for d in self.daemons]
        wait_until(lambda: self.ask(NAME), 10, f"{NAME} in DNS")
        self.vip = self.daemons[0].service(f"web.{state.FRAMEWORK_NAME}", 80, "tcp", 4)["address"]

    @staticmethod
    def use_resolver(node):
        """/etc/resolv.conf of the node and its containers, in their own mount namespace, as loadstar-watchdog writes it."""
        path = os.path.join(node.lab.dir, f"{node.name}-resolv.conf")
        with open(path, "w") as f:
            f.write(f"nameserver {RESOLVER}\noptions timeout:1\n")
        node.run(["mount", "--bind", path, os.path.realpath("/etc/resolv.conf")])

    def ask(self, name, rtype="A"):
        try:
            with dns.Client(self.client, RESOLVER) as c:
                return c.ask(name, rtype).data(rtype)
        except (TimeoutError, OSError):
            return []

    def curl(self):
        """What anybody would type: a name, resolved by the C library."""
        return self.client.run(["curl", "--silent", "--show-error", "--max-time", "5", f"http://{NAME}/"], check=False).strip()

    def cli(self, *args):
        d = self.daemons[0]
        return d.node.run([find_binary("loadstar"), "-s", d.socket, *args])

    def requests(self, place, task=None):
        answers = place.dial("once", self.vip, 80, task=task, count=REQUESTS, http=1)
        failed = [a for a in answers if not a["ok"]]
        return collections.Counter(a["name"] for a in answers if a["ok"]), failed

    def kill(self):
        """Kills a task while connections are made without pause; gives what was seen."""
        flows = self.client.start_dial("stream", self.vip, 80, flows=OPEN_FLOWS, idle=1, quiet=1)
        next_event(flows)
        dialling = self.client.start_dial("once", self.vip, 80, count=1_000_000, http=1, timeout=500,
                                          log=os.path.join(self.lab.dir, "dialling"))
        time.sleep(0.7)
        killed_ms = self.master.tell(self.cluster.update(VICTIM, "TASK_KILLED")) * 1e3
        self.cluster.save(os.path.join(self.lab.dir, "cluster.json"))
        time.sleep(2)
        lost = [e for e in end_dial(flows) if e["event"] == "lost"]
        answers = end_dial(dialling)
        later = [a for a in answers if a["t"] - a["ms"] > killed_ms]  # connections begun after the kill
        # One that was begun before the kernel knew met the victim too, whether it was answered or cut off by the reset.
        def met_victim(a):
            return a["name"] == VICTIM or (not a["ok"] and "RESET" in str(a["error"]))
        met = [a["t"] - a["ms"] - killed_ms for a in later if met_victim(a)]
        return {"dialled": len(later), "met": len(met), "last_met_ms": max(met, default=0.0),
                "failed": [a for a in later if not a["ok"] and not met_victim(a)],
                "reset": len(lost), "last_reset_ms": max((e["t"] - killed_ms for e in lost), default=0.0)}


def show(lab):
    demo = Demo(lab)
    heading("The cluster")
    print("  nodes n1 and n2; three tasks that Mesos says carry the label VIP_0=" + LABEL)
    table(["task", "where"], [(name, where) for name, (_, where) in demo.tasks.items()])
    for d, s in zip(demo.daemons, demo.ready_s):
        print(f"  loadstard on {d.node.name} ready after {s * 1e3:.0f} ms")
    heading(f"curl http://{NAME}/")
    page = demo.curl()
    print("  " + (page or "no answer").splitlines()[0])
    names = {name: demo.ask(name, t) for name, t in ((NAME, "A"), (TASKS_NAME, "A"), (f"_web._tcp.{state.FRAMEWORK_NAME}.mesos", "SRV"))}
    table(["asked of " + RESOLVER, "answer"], [(name, ", ".join(found)) for name, found in names.items()])
    heading("loadstar status")
    print(demo.cli("status").rstrip())
    heading("loadstar vip ls")
    print(demo.cli("vip", "ls").rstrip())

    heading(f"{REQUESTS} requests to http://{demo.vip}/")
    from_container, failed = demo.requests(demo.client)
    from_host, failed_host = demo.requests(lab.node(1), task="shell")
    table(["answered by", "client in a container (packet path)", "process on the host (socket path)"],
          [(n, from_container[n], from_host[n]) for n in demo.tasks])
    failed += failed_host
    print(f"  failed: {len(failed)}" + (f", first: {failed[0]['step']} {failed[0]['error']}" if failed else ""))

    heading(f"Mesos says {VICTIM} was killed; its process lives on and would answer")
    seen = demo.kill()
    print(f"  {seen['dialled']} connections begun after that: {seen['met']} met {VICTIM}, {len(seen['failed'])} failed"
          + "".join(f"\n    failed: {a['step']} {a['error']} after {a['ms']:.1f} ms" for a in seen["failed"][:3]))
    print(f"  time until no connection meets it: {seen['last_met_ms']:.1f} ms")
    print(f"  {seen['reset']} of {OPEN_FLOWS} open connections were to it and were reset, the last after "
          f"{seen['last_reset_ms']:.1f} ms")
    heading("loadstar vip ls")
    print(demo.cli("vip", "ls").rstrip())
    left = demo.ask(TASKS_NAME)
    print(f"\n  {TASKS_NAME} is now {', '.join(left)}")

    named = any(t in page for t in demo.tasks) and names[NAME] == [demo.vip] and len(left) == len(names[TASKS_NAME]) - 1
    good = (named and not failed and not seen["failed"] and VICTIM in from_container and len(from_container) == len(demo.tasks)
            and len(from_host) == len(demo.tasks) and seen["dialled"] > 100 and seen["last_met_ms"] < 2000
            and seen["reset"] > 0 and seen["last_reset_ms"] < 1000)
    heading("Summary")
    print(f"  {NAME} was {demo.vip}. {2 * REQUESTS} requests through {demo.vip} reached {len(from_container)} tasks by two paths; a killed one was "
          f"out after {seen['last_met_ms']:.1f} ms" + ("." if good else ": NOT AS IT SHOULD BE, see above."))
    return demo, good


def how_to_play(demo):
    lab, d = demo.lab, demo.daemons[0]
    heading(f"The cluster stays up as run {lab.id}")
    print("  Enter a place:")
    for place in (*lab.nodes.values(), demo.client):
        print(f"    {place.name:10} {enter_command(place)} bash")
    print("  Try, from any shell:")
    print(f"    {find_binary('loadstar')} -s {d.socket} status | vip ls | backend ls | flow ls | map usage | monitor")
    print(f"    {enter_command(demo.client)} curl -s http://{NAME}/")
    print(f"    {find_binary('loadstar')} -s {d.socket} dns lookup {TASKS_NAME} | dns explain {NAME} | dns zone ls | dns upstreams")
    print(f"    scripts/demo task {lab.id} {VICTIM} TASK_RUNNING     (and TASK_KILLING, TASK_KILLED of any of web.1-3)")
    print(f"  End it: scripts/demo end {lab.id}")


def change_task(run, name, new_state):
    folder = sandbox.run_dir(run)
    cluster = state.Cluster.load(os.path.join(folder, "cluster.json"))
    original = state.Cluster.load(os.path.join(folder, "tasks.json"))
    if name not in original.tasks:
        raise SystemExit(f"demo: there is no task {name}; there are {', '.join(sorted(original.tasks))}")
    if name in cluster.tasks:
        event = cluster.update(name, new_state)
    elif new_state == "TASK_RUNNING":
        event = cluster.add(original.tasks[name])
    else:
        raise SystemExit(f"demo: {name} has ended; only TASK_RUNNING starts it again")
    lab_master.tell(lab_master.control_socket(folder), cluster, event)
    cluster.save(os.path.join(folder, "cluster.json"))
    print(f"demo: Mesos now says {name} {new_state}")


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    commands = parser.add_subparsers(dest="command")
    task = commands.add_parser("task", help="change a task of a kept cluster")
    task.add_argument("run", type=int)
    task.add_argument("name")
    task.add_argument("state", choices=["TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"])
    end = commands.add_parser("end", help="remove a kept cluster")
    end.add_argument("run", type=int)
    args = parser.parse_args()
    if args.command == "task":
        change_task(args.run, args.name, args.state)
        return 0
    if args.command == "end":
        sandbox.clean(args.run)
        return 0
    with Lab(nodes=2, keep=args.keep) as lab:
        demo, good = show(lab)
        if args.keep:
            original = state.Cluster()
            for t, _ in demo.tasks.values():
                original.add({**t, "state": "TASK_RUNNING", "statuses": t["statuses"][:1]})
            original.save(os.path.join(lab.dir, "tasks.json"))
            how_to_play(demo)
        else:
            for d in demo.daemons:
                d.stop()
                d.purge()
            print("  Everything was removed again; --keep leaves it up.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

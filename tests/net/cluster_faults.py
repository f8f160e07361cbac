#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A cluster as it is run, and everything that happens to it: node 1 is a master (Mesos found in a real ZooKeeper, its store there, a hub), node 2
follows its hub, its names and its overlay. While ZooKeeper is slow or shows the past, Mesos sends nonsense or nothing, disks are full, files are
damaged, tables are full, the kernel refuses updates and daemons are killed between two of them, clients on both nodes connect to virtual IPs and to a
container of the overlay and ask for names without a pause, and none may miss an answer. Within 5 s of a fault's end what is new is heard on both nodes."""
import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from cluster_faults_scene import NODES, PIN, RECOVERY_S, REPAIR_S, SERVICES, SLOW_S, Cluster  # noqa: E402
from lab import Lab, Report, arguments, expect, state, wait_until, zookeeper  # noqa: E402
from lab.report import SKIPPED  # noqa: E402


class Scene(Cluster):
    # --- ZooKeeper and Mesos

    def zookeeper_slow(self):
        for w in self.wires.values():
            w.delay = SLOW_S
        before = [self.status(self.master)["source"]["zookeeper"]["sessions"], self.status(self.master)["turns"]["terms"]]
        begin = time.monotonic()
        self.register(10)
        took = time.monotonic() - begin
        expect(took >= SLOW_S, f"a name was taken after {took:.1f} s: ZooKeeper was not asked")
        self.keeps(1, "ZooKeeper slow")
        after = [self.status(self.master)["source"]["zookeeper"]["sessions"], self.status(self.master)["turns"]["terms"]]
        expect(after == before, f"sessions and terms were {before}, are {after}")
        for w in self.wires.values():
            w.delay = 0.0
        return f"a name taken after {took:.1f} s; " + self.ends(time.monotonic(), "ZooKeeper slow", RECOVERY_S)

    def mesos_down(self):
        """The leading master ends, and there is no other one until it is back; then another one leads."""
        self.past.launch()  # for zookeeper_shows_the_past
        self.mesos[1].answer = "none"
        self.mesos[0].down()
        wait_until(lambda: not self.status(self.master)["source"]["connected"], 5, "the loss is noticed")
        self.keeps(1, "Mesos down")
        self.mesos[0].up()
        first = self.ends(time.monotonic(), "Mesos down")
        self.mesos[0].down()
        self.entries[0].leave()
        self.mesos[1].answer = None
        second = self.ends(time.monotonic(), "another master leads")
        expect(self.status(self.master)["source"]["endpoint"] == self.mesos[1].address, "not at the other master")
        self.mesos[0].up()
        self.mesos[0].answer = "none"
        self.entries[0] = zookeeper.Entry(self.zk, self.mesos[0].address)
        wait_until(lambda: self.directory()["masters"] == [self.mesos[1].address, self.mesos[0].address], 5, "the new order")
        return f"back: {first}; another one: {second}"

    def directory(self):
        return self.status(self.master)["source"]["zookeeper"]

    def past_begins(self):
        """The session ends, and the only server that is left has the directory of before the change of leaders: it names the one first that does not
        lead any more. It refuses whoever has seen more; when the session's time is over there is another one, which has seen nothing."""
        wait_until(self.past.mode, 20, "the other server")
        wire = self.wires["mesos"]
        number = next(int(n, 16) for ip, n in self.zk.sessions() if ip == wire.ip)
        wire.target = self.past.address
        self.zk.end_session(number)
        wait_until(lambda: not self.directory()["connected"], 5, "the end of the session")
        return self.directory()["last_error"]

    def past_is_seen(self):
        wait_until(lambda: "older than it was" in self.directory()["last_error"], 10, "the past is seen")
        self.keeps(0.5, "the past")
        z = self.status(self.master)["source"]
        expect(z["zookeeper"]["masters"][0] == self.mesos[1].address and z["connected"] and z["endpoint"] == self.mesos[1].address, f"believed: {z}")
        told = z["zookeeper"]["last_error"]
        wire = self.wires["mesos"]
        self.past.kill()
        wire.target = self.zk.address
        begin = time.monotonic()
        wait_until(lambda: self.directory()["connected"] and not self.directory()["last_error"], RECOVERY_S, "the present again")
        return f"{told}; " + self.ends(begin, "the past")

    def redirect_loop(self):
        a, b = self.mesos
        a.answer, b.answer = ("redirect", b.address), ("redirect", a.address)
        before = a.requests + b.requests
        b.cut()
        wait_until(lambda: not self.status(self.master)["source"]["connected"], 5, "the loss is noticed")
        self.keeps(1, "redirect loop")
        asked = a.requests + b.requests - before
        expect(2 < asked < 100, f"{asked} requests in a second")
        a.answer, b.answer = "none", None
        return f"{asked} requests in a second; " + self.ends(time.monotonic(), "redirect loop")

    def bad_state(self):
        """States that end early, in three ways, and one of 100 MiB."""
        m = self.leading()
        whole = m.state()
        body = whole.partition(b"\n")[2]
        cut = body[: len(body) // 2]
        for what, octets in (("half a record", [whole[: len(whole) // 2]]), ("half a state as a record", [b"%d\n" % len(cut) + cut]),
                             ("a record without an end", [b"999999999999999\n" + cut]), ("a length that is none", [b"12x\n{}"])):
            m.answer = ("octets", octets)
            before = m.subscribed
            m.cut()
            wait_until(lambda before=before: m.subscribed > before + 1, 8, what)
            self.keeps(0.1, what)
        # As large as the largest clusters', nearly all of it of no interest here, and cut after 90 MiB at first.
        event = self.cluster.subscribed()
        event["subscribed"]["get_state"]["get_executors"]["executors"] = [{"executor_info": {"data": "x" * 1000}} for _ in range(100_000)]
        huge = state.frame(event)
        pieces = [huge[i: i + (1 << 20)] for i in range(0, len(huge), 1 << 20)]
        expect(len(huge) > 100_000_000, f"{len(huge)} octets")
        before = m.subscribed
        m.answer = ("octets", pieces[:90])
        wait_until(lambda: m.subscribed > before + 1, 15, "90 of 100 MiB")
        snapshots = lambda: self.status(self.master)["source"]["events"].get("subscribed", 0)  # noqa: E731
        seen = snapshots()
        m.state = lambda: huge
        m.answer = None
        begin = time.monotonic()
        wait_until(lambda: snapshots() > seen, 10, "100 MiB")
        del m.state
        return f"100 MiB read after {time.monotonic() - begin:.1f} s; " + self.ends(begin, "bad state")

    def cut_in_a_record(self):
        m = self.leading()
        added = state.frame(self.cluster.add(state.routed_task("half.1", self.places["w3"], 4, 8080, [])))
        before = m.subscribed
        for at in (1, 2, len(added) // 2, len(added) - 1):
            m.send(added[:at])
            m.cut()
            before += 1
            wait_until(lambda: m.subscribed >= before and m.streams, 5, "subscribed again")
            self.steady.unbroken_so_far("cut in a record")
        begin = time.monotonic()
        self.hears(f"half.{state.FRAMEWORK_NAME}.mesos", [self.places["w3"].address[4]], RECOVERY_S, "cut in a record")
        m.tell(self.cluster.update("half.1", "TASK_KILLED"))
        return self.ends(begin, "cut in a record")

    def odd_events(self):
        """Everything twice, the end before the beginning, the past after the present, and of what nobody knows."""
        m = self.leading()
        one = dict(self.cluster.tasks["one.1"])
        added = {"type": "TASK_ADDED", "task_added": {"task": one}}
        again = {"type": "TASK_UPDATED", "task_updated": {"framework_id": {"value": state.FRAMEWORK}, "state": "TASK_RUNNING", "status": one["statuses"][-1]}}
        staging = {**one, "state": "TASK_STAGING", "statuses": []}
        gone = state.Cluster()
        come = gone.add(state.routed_task("odd.1", self.places["w3"], 4, 8080, []))
        went = gone.update("odd.1", "TASK_KILLED")
        nobody = {**went["task_updated"], "status": {**went["task_updated"]["status"], "task_id": {"value": "never.1"}, "agent_id": {"value": "A77"}}}
        agent = {"type": "AGENT_ADDED", "agent_added": {"agent": self.cluster.agents[0]}}
        m.tell(added, added, again, again, agent, agent, went, come, went, went, {"type": "TASK_UPDATED", "task_updated": nobody},
               {"type": "AGENT_REMOVED", "agent_removed": {"agent_id": {"value": "A77"}}}, state.HEARTBEAT, state.HEARTBEAT)
        begin = time.monotonic()
        self.hears(f"odd.{state.FRAMEWORK_NAME}.mesos", [], 2, "odd events")
        self.keeps(0.5, "odd events")
        first = self.ends(begin, "odd events")
        # The beginning of a task that runs is what a master never sends after it. The next state is the truth again.
        m.tell({"type": "TASK_ADDED", "task_added": {"task": {**staging, "task_id": {"value": "odd.2"}}}},
               {"type": "SUBSCRIBED", "subscribed": self.cluster.subscribed()["subscribed"]})
        self.keeps(0.3, "a state within a stream")
        return first

    # --- the node's own kernel, disk and limits

    def maps_and_programs(self):
        """Pinned maps of other layouts, as another version would leave them; another agent's program on our cgroup, attached to be alone there."""
        node, group = self.agent.node, self.clients[self.agent.node, "sock"].cgroup
        source = os.path.join(self.lab.dir, "foreign.c")
        with open(source, "w", encoding="ascii") as f:
            f.write('__attribute__((section("cgroup/connect6"), used)) int theirs(void *c) { return 1; }\n'
                    'char gpl[] __attribute__((section("license"), used)) = "GPL";\n')
        subprocess.run(["clang-14", "-O2", "-target", "bpf", "-c", source, "-o", source.replace(".c", ".o")], check=True)

        def change():
            for name, kind, key, value in (("ls_svc", "hash", 24, 8), ("ls_ovl_hash", "hash", 8, 4), ("ls_dns_bucket", "array", 4, 8)):
                node.run(["rm", f"{PIN}/maps/{name}"])
                node.run(["bpftool", "map", "create", f"{PIN}/maps/{name}", "type", kind, "key", str(key), "value", str(value), "entries", "64",
                          "name", name])
            node.run(["bpftool", "prog", "load", source.replace(".c", ".o"), "/sys/fs/bpf/theirs"])
            node.run(["sh", "-c", f"for l in {PIN}/links/connect6-*; do bpftool link detach pinned $l; rm $l; done"])
            node.run(["bpftool", "cgroup", "attach", group, "connect6", "pinned", "/sys/fs/bpf/theirs"])
        begin = self.restart(change)
        text = self.ends(begin, "maps and programs")
        told = set(re.findall(r"event=map_changed.* map=(ls_\w+) ", self.agent.log_tail(300)))
        expect({"ls_svc", "ls_ovl_hash", "ls_dns_bucket"} <= told, f"the log tells of {told}")
        found = [a for a in self.status(self.agent)["attachments"] if a["hook"] == "connect6"]
        expect(found and found[0]["state"] == "foreign" and group in found[0]["error"], f"{found}")
        expect("theirs" in node.run(["bpftool", "cgroup", "show", group]), "their program was replaced")
        node.run(["bpftool", "cgroup", "detach", group, "connect6", "pinned", "/sys/fs/bpf/theirs"])
        node.run(["rm", "/sys/fs/bpf/theirs"])
        return f"{found[0]['error']}; {text}"

    def tables_full(self):
        """Twice the services and nodes that node 2 has room for: what does not fit is named, everything else works."""
        many = [f"many{i}.1" for i in range(2 * SERVICES)]
        added = [self.cluster.add(state.routed_task(t, self.places["w3"], 4, 8080, [f"/{t.partition('.')[0]}:80"], ["tcp"])) for t in many]
        self.tell(*added)
        extra = [f"10.20.0.{i}" for i in range(1, 2 * NODES)]
        for ip in extra:
            status, _, body = self.master.call("POST", "/v1/overlay/nodes", {"format": 1, "node": ip})
            expect(status == 200, f"{ip}: {status} {body}")
        told = wait_until(lambda: (lambda w: w if {x[:6] for x in w} == {"ls_svc", "ls_ovl"} else None)(self.full()), 5, "warnings of both")
        self.keeps(1, "tables full")
        self.tell(*[self.cluster.update(t, "TASK_KILLED") for t in many])
        status, _, body = self.master.call("POST", "/overlay-master/agents/delete", {"agents": extra})
        expect(status == 200, f"{status} {body}")
        begin = time.monotonic()
        wait_until(lambda: not self.full(), REPAIR_S, "the warnings go")
        return f"{len(told)} warnings, {told[-1]}; " + self.ends(begin, "tables full", REPAIR_S)

    def updates_fail(self):
        """Of the daemon's calls to the kernel's tables every second one fails, then all: what was refused is there soon after."""
        tasks = []
        for error, when in (("ENOMEM", "1+2"), ("EBUSY", "1+1")):
            tracer = self.traced(self.agent, f"error={error}:when={when}")
            tasks.append(f"refused{len(tasks)}")
            self.tell(self.cluster.add(state.routed_task(f"{tasks[-1]}.1", self.places["w3"], 4, 8080, [f"/{tasks[-1]}:80"])))
            self.keeps(1, error)
            expect(re.search(f"event=left_out.* update ls_svc: {os.strerror(getattr(errno, error))}", self.agent.log_tail(50)), f"{error}: nothing was refused")
            tracer.terminate()
            tracer.wait(5)
        begin = time.monotonic()
        for t in tasks:
            for proto in ("tcp", "udp"):
                wait_until(lambda t=t, proto=proto: (s := self.agent.services().get((f"{t}.{state.FRAMEWORK_NAME}", 80, proto, 4))) and s["number"],
                           REPAIR_S, f"{t}/{proto}, which was refused")
        self.tell(*[self.cluster.update(f"{t}.1", "TASK_KILLED") for t in tasks])
        text = self.ends(begin, "updates fail", REPAIR_S)
        self.tables_are_right("updates fail")
        return text

    def killed_between_updates(self):
        """SIGKILL at the second and at the fifth call to the kernel after a change set was told."""
        self.needs_strace()
        killed = 0
        for n in (2, 5):
            tracer = self.traced(self.agent, f"signal=KILL:when={n}")
            tasks = [f"churn{n}-{i}.1" for i in range(4)]
            self.tell(*[self.cluster.add(state.routed_task(t, self.places["w3"], 4, 8080, [f"/{t.partition('.')[0]}:80"])) for t in tasks])
            try:
                self.agent.process.wait(2)
                killed += 1
            except subprocess.TimeoutExpired:
                self.agent.process.kill()
            self.agent.stop(signal.SIGKILL)
            tracer.wait(5)
            self.tell(*[self.cluster.update(t, "TASK_KILLED") for t in tasks])
            self.steady.unbroken_so_far(f"killed at update {n}")
            self.agent.start()
        expect(killed == 2, f"only {killed} of 2 were killed by an update")
        text = self.ends(time.monotonic(), "killed between updates")
        self.tables_are_right("killed between updates")
        return f"{killed} times within a change; {text}"

    def disk_full(self):
        for d in self.daemons:
            d.node.run(["sh", "-c", f"dd if=/dev/zero of={self.disk(d)}/filler bs=4096 2>/dev/null; true"])
        self.recovers(time.monotonic(), "disk full")  # also with nowhere to write to
        told = {d.node.name: wait_until(lambda d=d: [w for w in self.status(d)["warnings"] if "No space" in w or "no space" in w], 5, f"{d.node.name} tells of its disk")[0]
                for d in self.daemons}
        self.keeps(0.5, "disk full")
        for d in self.daemons:
            d.node.run(["rm", f"{self.disk(d)}/filler"])
        begin = time.monotonic()
        self.recovers(begin, "disk not full any more")
        for d in self.daemons:
            try:
                wait_until(lambda d=d: not [w for w in self.status(d)["warnings"] if "o space" in w], max(0.1, begin + RECOVERY_S - time.monotonic()), "written")
            except TimeoutError as e:
                raise TimeoutError(f"{e}: {d.node.name}: {self.status(d)['warnings']}") from None
        return f"{told['n1']}; {self.steady.unbroken('disk full')} answers"

    def files_damaged(self):
        """An octet of each file that was kept is another one."""
        node, seen = self.agent.node, []

        def damage():
            for path in node.run(["find", self.disk(self.agent), "-type", "f"]).split():
                if int(node.run(["stat", "-c", "%s", path])) < 8:
                    continue
                old = node.run(["sh", "-c", f"tail -c 5 {path} | head -c 1 | od -An -tu1"])
                size = int(node.run(["stat", "-c", "%s", path]))
                node.run(["sh", "-c", f"printf '\\{(int(old) ^ 1):03o}' | dd of={path} bs=1 seek={size - 5} conv=notrunc 2>/dev/null"])
                seen.append(os.path.basename(path))
        # Names of others are known again when a master was heard. Until then nothing here knows even their zone.
        self.steady.pause("names on n2")
        begin = self.restart(damage)
        for name, address in self.names.items():
            self.hears(name, list(address), begin + RECOVERY_S - time.monotonic(), "files damaged")
        self.steady.resume("names on n2")
        text = self.ends(begin, "files damaged")
        log = self.agent.log_tail(300)
        told = {e for e in ("state_unusable", "kept_zone_unusable", "registrations_copy_not_read", "damaged") if e in log}
        expect("state_unusable" in told, f"the log tells only of {told}")
        return f"{', '.join(seen)}: {', '.join(sorted(told))}; {text}"

    def no_descriptors(self):
        """Both daemons have all the files open that they may; the stream from Mesos ends, and no other one can be opened."""
        held, pids, limits, m = [], {d: d.process.pid for d in self.daemons}, {}, self.leading()
        for d, pid in pids.items():
            limits[d] = self.limit(pid)
            d.node.run(["prlimit", "--pid", str(pid), f"--nofile={len(os.listdir(f'/proc/{pid}/fd')) + 2}:{limits[d][1]}"])
        for d in self.daemons:
            for _ in range(40):
                s = socket.socket(socket.AF_UNIX)
                s.setblocking(False)
                s.connect(d.socket)
                held.append(s)
        m.answer = "none"
        m.cut()
        time.sleep(0.5)  # the next in the line of the API's clients has the place of the stream
        m.answer = None
        before = {d: self.cpu(pid) for d, pid in pids.items()}
        begin = time.monotonic()
        while time.monotonic() < begin + 1.5:
            self.steady.unbroken_so_far("no descriptors")
            time.sleep(0.1)
        busy = {d.node.name: round((self.cpu(pid) - before[d]) / (time.monotonic() - begin), 2) for d, pid in pids.items()}
        expect(max(busy.values()) < 0.5, f"it turns round and round: {busy} of a CPU")
        expect(not m.streams, "there is a stream")
        for s in held:
            s.close()
        for d, pid in pids.items():
            expect(d.process.poll() is None and "Too many open files" in d.log_tail(50), f"{d.node.name}: {d.log_tail(5)}")
            d.node.run(["prlimit", "--pid", str(pid), f"--nofile={limits[d][0]}:{limits[d][1]}"])
        return f"{busy} of a CPU; " + self.ends(time.monotonic(), "no descriptors")

    def everything(self):
        """All names that were ever registered, on both nodes; nothing dropped, nothing left on the network untranslated."""
        for name, address in self.names.items():
            self.hears(name, list(address), 1, "in the end")
        expect(self.lab.leaked() == 0, f"{self.lab.leaked()} packets to service addresses on the network")
        for d in self.daemons:
            drops = {k: n for k, n in d.drops().items() if k[1] not in ("backend_dead", "no_backend", "overlay_not_unicast", "overlay_unallocated")}
            expect(not drops, f"{d.node.name} dropped {drops}")
        return f"{len(self.names)} names"


def main():
    args = arguments(__doc__)
    if why := zookeeper.missing():
        print(f"skipped: {why}")
        return SKIPPED
    report = Report()
    with Lab(nodes=2, tools=args.tools) as lab:
        s = Scene(lab)
        # The directory as it is now is what the server of the past will show.
        shutil.copytree(os.path.join(s.zk.dir, "data", "version-2"), os.path.join(s.past.dir, "data", "version-2"))
        checks = [("the cluster", s.begins), ("ZooKeeper slow", s.zookeeper_slow), ("Mesos down, another leads", s.mesos_down),
                  ("ZooKeeper shows the past", s.past_begins), ("redirect loop", s.redirect_loop), ("states cut short and large", s.bad_state),
                  ("cut in a record", s.cut_in_a_record), ("events twice and in a wrong order", s.odd_events), ("the past is not believed", s.past_is_seen),
                  ("maps of other layouts, an exclusive program", s.maps_and_programs), ("updates fail", s.updates_fail), ("killed between updates", s.killed_between_updates),
                  ("disk full", s.disk_full), ("files damaged", s.files_damaged), ("no descriptors", s.no_descriptors),
                  ("tables full", s.tables_full), ("in the end", s.everything)]
        for name, check in checks:
            if args.only in name or check in (s.begins, s.everything):
                begin = time.monotonic()
                report.run(name, check)
                if os.environ.get("LS_TIMES"):
                    print(f"     {time.monotonic() - begin:.1f} s")
        if report.failed:
            for d in s.daemons:
                print(d.node.name, d.log_tail(40))
        s.end()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

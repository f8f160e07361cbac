#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Names while the daemon ends, is killed, starts and changes the size of its maps, and while zones change all the time: the kernel
goes on answering, nothing that it can answer is lost, no answer is wrong, and a set of records is never seen in part."""
import json
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Lab, Report, arguments, dns, expect, find_binary, wait_until  # noqa: E402

from dns_kernel_scene import MARATHON, R4, R6, STABLE, Scene, address_of, unharmed  # noqa: E402

QPS = 1000
BUSY_QPS = 20000
CHANGES = 50  # a second
PATIENCE_S = 10.0


class Sets(threading.Thread):
    """Asks for names whose records change, as fast as answers come, and notes every answer that is none of those allowed."""

    def __init__(self, scene, names, allowed):
        super().__init__()
        self.client = dns.Client(scene.client, R4)
        self.names, self.allowed = names, allowed
        self.answers = self.lost = 0
        self.wrong, self.seen = [], set()
        self.stop = threading.Event()

    def run(self):
        while not self.stop.is_set():
            for name in self.names:
                try:
                    m = self.client.ask(name, timeout=1, tries=1, edns=1232)
                except TimeoutError:
                    self.lost += 1
                    continue
                self.answers += 1
                got = frozenset(m.data("A"))
                self.seen.add((name, got))
                if m.rcode != "NOERROR" or got not in self.allowed[name]:
                    self.wrong.append(f"{name}: {m.rcode} {sorted(got)}")
        self.client.close()

    def end(self):
        self.stop.set()
        self.join()
        expect(not self.wrong, lambda: f"{len(self.wrong)} of {self.answers} sets were neither the one before nor the one after: {self.wrong[0]}")
        expect(self.lost == 0, f"{self.lost} of {self.answers + self.lost} questions about changing names lost")
        return f"{self.answers} answers about changing sets"


class Checks(Scene):
    def dead(self):
        """Killed, and nobody there: the kernel answers names of the zones, and only them."""
        names = self.names_file()
        self.agent.stop(signal.SIGKILL)
        said = unharmed(self.result(self.load(names, 3, QPS)))
        for place in (self.client, self.bridged[0], self.n1, self.n2):
            for server in (R4, R6):
                expect(self.data(f"s0.{MARATHON}.mesos", place=place, server=server) == [address_of(0)], f"{place.name} {server}")
        m = self.ask("nothing.mesos")
        expect(m.rcode == "NXDOMAIN", f"{m}")
        expect(self.data("ready.spartan") is None, "ready.spartan is answered by nobody's process")
        try:
            self.ask(f"s0.{MARATHON}.mesos", tcp=True, timeout=1, tries=1)
            expect(False, "TCP is answered by nobody's process")
        except (TimeoutError, OSError):
            pass
        self.start()
        wait_until(lambda: self.data("ready.spartan") == ["127.0.0.1"], 5, "the process")
        return said

    def through(self, change):
        """A load from before `change` to after it; everything is answered rightly."""
        load = self.load(self.names_file(), 8, QPS, timeout=2)
        time.sleep(1)
        took = change()
        r = self.result(load)
        return f"{unharmed(r)}; ready after {took:.1f} s"

    def killed(self):
        def change():
            self.agent.stop(signal.SIGKILL)
            time.sleep(0.5)
            return self.start()
        return self.through(change)

    def ended(self):
        def change():
            self.agent.stop(signal.SIGTERM)
            time.sleep(0.5)
            return self.start()
        return self.through(change)

    def changed_meanwhile(self):
        """What changed while nobody was there is seen after the first state, and only then."""
        task = "task add {0}.1 F1 A1 name={0} container=mesos network=dcos ip={1} port=8080 scope=container vip=/{0}:80"
        suffixes = (f"{MARATHON}.mesos", f"{MARATHON}.autoip.dcos.thisdcos.directory", f"{MARATHON}.l4lb.thisdcos.directory")
        self.mesos.say(task.format("goes", "9.0.79.1"))
        for suffix in suffixes:
            wait_until(lambda: self.data(f"goes.{suffix}"), PATIENCE_S, f"goes.{suffix}")
        self.agent.stop(signal.SIGKILL)
        self.mesos.say("task state goes.1 TASK_FAILED", task.format("comes", "9.0.79.2"))
        for suffix in suffixes:
            expect(self.data(f"goes.{suffix}"), f"goes.{suffix} is gone before anybody knows")
        self.start()
        for suffix in suffixes:
            wait_until(lambda: self.data(f"comes.{suffix}"), PATIENCE_S, f"comes.{suffix}")
            wait_until(lambda: self.ask(f"goes.{suffix}").rcode == "NXDOMAIN", PATIENCE_S, f"goes.{suffix} gone")
        before = self.counts()
        for suffix in suffixes:
            self.ask(f"goes.{suffix}")
            self.ask(f"comes.{suffix}")
        c = self.counts() - before
        expect(c.sum("port") == 6, f"{c}")
        self.mesos.say("task state comes.1 TASK_FAILED")

    def no_leader(self):
        """Started while no master leads: what was known is answered on."""
        names = self.names_file()
        self.agent.stop(signal.SIGTERM)
        self.mesos.say("leader none")
        load = self.load(names, 6, QPS, timeout=2)
        self.agent.launch()
        r = self.result(load)
        self.mesos.say("leader 1")
        wait_until(lambda: os.path.exists(self.agent.socket) and self.agent.get("/v1/status")["ready"], 30, "ready")
        said = unharmed(r)
        return f"{said}; then {unharmed(self.result(self.load(names, 2, QPS)))}"

    def larger(self):
        """Other sizes: new maps, into which everything is put before the programs change places."""
        before = self.kernel()

        def change():
            return self.restart(dns__kernel_names=200000, dns__kernel_megabytes=32)
        said = self.through(change)
        after = self.kernel()
        expect(after["slots"] > before["slots"] and after["bytes"] > before["bytes"] and after["names"] >= before["names"],
               f"before {before['slots']} places, {before['names']} names; after {after['slots']}, {after['names']}")
        c = self.counts()
        self.ask(f"s0.{MARATHON}.mesos")
        expect((self.counts() - c).sum("port") == 1, "the new maps do not answer")
        with open(self.agent.log) as f:
            expect("map_changed" in f.read(), "the maps were not rebuilt")
        return said

    def changes(self):
        """50 changes a second: half of them names of their own, half a further task of names that are asked for."""
        moving = STABLE[:4]
        allowed = {}
        for i, n in enumerate(moving):
            more = [frozenset([address_of(i)])]
            more += [frozenset([address_of(i), f"9.0.78.{k}"]) for k in range(1, 251)]
            for zone in ("mesos", "autoip.dcos.thisdcos.directory"):
                allowed[f"{n}.{MARATHON}.{zone}"] = set(more)
        stable = os.path.join(self.lab.dir, "unmoved")
        with open(self.names_file()) as f, open(stable, "w") as out:
            out.writelines(line for line in f if line.split(".")[0] not in moving)
        before = self.counts()
        load = self.load(stable, 6, BUSY_QPS)
        sets = Sets(self, list(allowed), allowed)
        sets.start()
        begin, n = time.monotonic(), 0
        while n < CHANGES * 5:
            k = n // 2
            name = moving[k // 2 % len(moving)] if k % 2 else f"c{k}"
            self.mesos.say(f"task add x{k}.1 F1 A1 name={name} container=mesos network=dcos ip=9.0.78.{k % 250 + 1} port=8080 scope=container"
                           if n % 2 == 0 else f"task state x{k}.1 TASK_FINISHED")
            n += 1
            time.sleep(max(0, begin + n / CHANGES - time.monotonic()))
        rate = n / (time.monotonic() - begin)
        r = self.result(load)
        about = sets.end()
        c = self.counts() - before
        said = unharmed(r)
        several = sum(1 for _, got in sets.seen if len(got) == 2)
        expect(several, "no set of two was ever seen: nothing changed")
        last = (n - 1) // 2
        wait_until(lambda: self.ask(f"c{last - last % 2}.{MARATHON}.mesos").rcode == "NXDOMAIN", PATIENCE_S, "the last change")
        share = c.sum() / max(1, c.sum() + c.up())
        expect(share > 0.95, f"only {share:.0%} in the kernel: {c}")
        return f"{rate:.0f} changes/s, {said}, {about}, {several} different sets of two, {share:.2%} in the kernel"


def main():
    args = arguments(__doc__)
    try:
        for tool in ("dns-generate", "ls-mesos-standin", "loadstar"):
            find_binary(tool, args.tools)
    except FileNotFoundError as e:
        print(f"skipped: {e}")
        return 77
    report = Report()
    with Lab(nodes=2, tools=args.tools) as lab:
        s = Checks(lab)
        s.start()
        for name, check in (("changes under load", s.changes), ("dead daemon", s.dead), ("killed under load", s.killed), ("ended under load", s.ended),
                            ("changed meanwhile", s.changed_meanwhile), ("no leader", s.no_leader), ("other sizes under load", s.larger)):
            if args.only in name:
                report.run(name, check)
        if report.failed:
            print(s.agent.log_tail(30))
            print(json.dumps(s.kernel()) if s.agent.process.poll() is None else "the daemon is dead")
        if s.agent.process.poll() is None:
            s.agent.stop()
        s.agent.purge()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

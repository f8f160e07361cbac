#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""loadstar-cni under load and under kill -9: hundreds of calls at once, calls killed at random moments, locks that others hold, delegates
that do not end. Afterwards nothing may be left: no address, device, map entry."""
import json
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Report, arguments, expect, find_binary  # noqa: E402
from lab.cni import Machine  # noqa: E402

CALLS = 200
KILLS = 250
SEED = int(os.environ.get("LS_SEED", "1"))


class Scene:
    def __init__(self, machine):
        self.m = machine
        self.random = random.Random(SEED)

    def config(self, name, subnet="9.0.0.0/24", **more):
        return {"cniVersion": "1.1.0", "name": name, "type": "loadstar-cni", "bridge": "b" + name,
                "ipam": {"subnets": [subnet] if isinstance(subnet, str) else subnet, "dataDir": self.m.dir}, **more}

    def all(self, calls):
        """Starts every call, then waits for all."""
        return [self.m.finish(p) for p in [self.m.start(*a, **k) for a, k in calls]]

    def nothing_left(self, name, config, addresses):
        """No device, no map entry, and every address can be had again."""
        m = self.m
        expect(not m.veths(), lambda: f"devices are left: {m.veths()}")
        expect(not m.ports(), lambda: f"port mappings are left: {m.ports()}")
        ns = m.netns("full" + name)
        got = set()
        for start in range(0, addresses, 25):
            batch = [(("ADD", config), {"container": f"full{i}", "netns": ns, "ifname": f"f{i}"}) for i in range(start, min(start + 25, addresses))]
            for a in self.all(batch):
                expect(a.code == 0, lambda: f"an address is lost, after {len(got)}: {a}")
                got.add(a.address)
        expect(len(got) == addresses, lambda: f"{addresses - len(got)} addresses were given twice")
        expect(m.call("ADD", config, container="more", netns=ns, ifname="more").error == 100, "more addresses than there are")
        a = m.call("GC", {**config, "cni.dev/valid-attachments": []})
        expect(a.code == 0 and not m.veths(), lambda: f"GC: {a}")


def many_at_once(s):
    """200 ADDs at once, then 200 DELs at once: no address twice, nothing left"""
    m = s.m
    config = s.config("many")
    ns = [m.netns(f"m{i}") for i in range(8)]
    def calls(command):
        out = []
        for i in range(CALLS):
            c = {**config, "runtimeConfig": {"portMappings": [{"hostPort": 10000 + i, "containerPort": 80}]}} if i % 4 == 0 else config
            out.append(((command, c), {"container": f"c{i}", "netns": ns[i % 8], "ifname": f"e{i}"}))
        return out
    answers = s.all(calls("ADD"))
    bad = [str(a) for a in answers if a.code != 0]
    expect(not bad, lambda: f"{len(bad)} failed: {bad[0]}")
    expect(len({a.address for a in answers}) == CALLS, "an address was given twice")
    expect(len(m.ports()) == CALLS // 4 and len(m.veths()) == CALLS, lambda: f"{len(m.ports())} mappings, {len(m.veths())} devices")
    bad = [str(a) for a in s.all(calls("DEL")) if a.code != 0]
    expect(not bad, lambda: f"{len(bad)} failed: {bad[0]}")
    s.nothing_left("many", config, 253)


def networks_of_one_container(s):
    """Several networks of one container at once (spec/cni.md 2.2), again and again"""
    m, ns = s.m, s.m.netns("several")
    configs = [s.config(f"s{i}", f"9.{i}.0.0/28", mode="direct" if i % 2 else "bridge") for i in range(6)]
    for _ in range(5):
        for command in ("ADD", "DEL"):
            answers = s.all([((command, c), {"netns": ns, "ifname": f"eth{i}"}) for i, c in enumerate(configs)])
            expect(all(a.code == 0 for a in answers), lambda: [str(a) for a in answers if a.code][0])
            expect(len(m.links("several")) == (6 if command == "ADD" else 0), lambda: f"{command}: {m.links('several').keys()}")


def mixed(s):
    """ADD and DEL of the same containers in any order at once: afterwards a DEL of each leaves nothing"""
    m = s.m
    config = s.config("mixed", "9.0.0.0/26")
    ns = m.netns("mixed")
    calls = []
    for i in range(CALLS):
        n = s.random.randrange(40)
        calls.append(((s.random.choice(["ADD", "ADD", "DEL"]), config), {"container": f"c{n}", "netns": ns, "ifname": f"e{n}"}))
    for a in s.all(calls):
        expect(a.code == 0 or a.error == 3, lambda: str(a))
    for a in s.all([(("DEL", config), {"container": f"c{n}", "netns": ns, "ifname": f"e{n}"}) for n in range(40)]):
        expect(a.code == 0, lambda: str(a))
    s.nothing_left("mixed", config, 61)


def killed(s):
    """kill -9 at random moments of ADD and DEL: the next DEL removes everything, and nothing is lost"""
    m = s.m
    began, ended = 0, 0
    for mode in ("bridge", "direct"):
        name = "kill" + mode[0]
        config = s.config(name, "9.0.0.0/27", mode=mode, runtimeConfig={"portMappings": [{"hostPort": 20000, "containerPort": 80}, {"hostPort": 20001, "containerPort": 81}]})
        ns = m.netns(name)
        # How long a whole call takes here, so that the kills are spread over all of it.
        t = time.monotonic()
        expect(m.call("ADD", config, container="c", netns=ns).code == 0, "ADD")
        span = 1.3 * (time.monotonic() - t)
        expect(m.call("DEL", config, container="c", netns=ns).code == 0, "DEL")
        for i in range(KILLS):
            for command in ("ADD", "DEL") if i % 3 == 0 else ("ADD",):
                p = m.start(command, config, container="c", netns=ns)
                p.stdin.write(p.input)
                p.stdin.close()
                time.sleep(s.random.random() * span)
                p.kill()
                killed_it = p.wait() != 0
                p.stdout.close()
                p.stderr.close()
                began += 1
                ended += not killed_it
            a = m.call("DEL", config, container="c", netns=ns)
            expect(a.code == 0, lambda: f"round {i}: {a}")
            expect(not m.links(name), lambda: f"round {i}: {m.links(name)} in the container")
            if i % 25 == 0:
                expect(not m.veths() and not m.ports(), lambda: f"round {i}: {m.veths()} {m.ports()}")
        expect(not m.dump("ls_ovl_local"), "ls_ovl_local has entries")
        s.nothing_left(name, {k: v for k, v in config.items() if k != "runtimeConfig"}, 29)
    return f"{began} calls, {began - ended} of them killed"


def killed_in_a_crowd(s):
    """Calls killed while others run: the others are not disturbed"""
    m = s.m
    config = s.config("crowd")
    ns = m.netns("crowd")
    for _ in range(5):
        victims, others = [], []
        for i in range(30):
            (victims if i % 3 == 0 else others).append((i, m.start("ADD", config, container=f"c{i}", netns=ns, ifname=f"e{i}")))
        for _, p in victims:
            p.stdin.write(p.input)
            p.stdin.close()
        answers = []
        for n, (i, p) in enumerate(others):
            answers.append(m.finish(p))
            if n < len(victims):
                victims[n][1].kill()
        for _, p in victims:
            p.wait()
            p.stdout.close()
            p.stderr.close()
        expect(all(a.code == 0 for a in answers), lambda: [str(a) for a in answers if a.code][0])
        for a in s.all([(("DEL", config), {"container": f"c{i}", "netns": ns, "ifname": f"e{i}"}) for i in range(30)]):
            expect(a.code == 0, lambda: str(a))
    s.nothing_left("crowd", config, 253)


def lock_is_held(s):
    """A lock that is held, and a delegate that does not end: code 11 within the bound, nothing left"""
    m = s.m
    config = s.config("lock", timeoutMs=300)
    ns = m.netns("lock")
    expect(m.call("ADD", config, container="first", netns=ns, ifname="first").code == 0, "ADD")
    fd = m.hold_lock(f"{m.dir}/.loadstar/lock")
    for command in ("ADD", "DEL"):
        began = time.monotonic()
        a = m.call(command, config, netns=ns)
        expect(a.error == 11 and time.monotonic() - began < 8, lambda: f"{command}: {a}")
    os.close(fd)
    expect(m.call("DEL", config, container="first", netns=ns, ifname="first").code == 0, "DEL")
    folder = f"{m.dir}/plugins"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/slow", "w") as f:
        f.write(f"#!/bin/sh\necho $CNI_COMMAND >>{m.dir}/slow.log\n[ $CNI_COMMAND = ADD ] && exec sleep 60\nexit 0\n")
    os.chmod(f"{folder}/slow", 0o755)
    began = time.monotonic()
    a = m.call("ADD", {"name": "slow", "type": "dcos-l4lb", "delegate": {"type": "slow"}}, netns=ns, path=folder)
    took = time.monotonic() - began
    expect(a.error == 11, lambda: str(a))
    with open(f"{m.dir}/slow.log") as f:
        expect(f.read() == "ADD\nDEL\n", "the delegate was not undone")
    s.nothing_left("lock", config, 253)
    return f"a delegate that does not end is given up after {took:.1f} s"


def main():
    args = arguments(__doc__, daemon=False)
    try:
        plugin = find_binary("loadstar-cni", args.tools)
    except FileNotFoundError as e:
        print(f"skipped: {e}")
        sys.exit(77)
    m = Machine(plugin)
    report = Report()
    try:
        m.maps(local=True)
        s = Scene(m)
        for check in (many_at_once, networks_of_one_container, mixed, killed, killed_in_a_crowd, lock_is_held):
            if args.only in check.__name__:
                report.run(check.__doc__, check, s)
    finally:
        m.close()
    sys.exit(report.close())


if __name__ == "__main__":
    main()

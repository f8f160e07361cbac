#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a service costs: CPU time per connection, per request, per forwarded packet and per GiB of a stream, through
loadstar's socket and packet paths and through what it replaces, as ratios to no balancer at all in the same run.

Every value is scheduler run time of client, server, ksoftirqd and, where there is one, the balancer's process, divided by
the operations done. Variants take turns round by round (variants.py: each on a node of its own). `x direct` is the median
over the rounds of the ratio within a round; `min` is the smallest value of the variant over the smallest of direct.

It asserts no times. It fails when something did not work: an error, a backend that is none of the ten or was never met, a
packet that did not arrive."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import variants
from variants import CLIENT_CPU, FIRST_PORT

from lab import Lab, find_binary  # noqa: E402  (variants.py puts it on the path)

SKIPPED = 77
MICRO = {"conn": ("connection", "us"), "rr": ("request", "us"), "stream": ("GiB, one stream", "ms"),
         "est64": ("packet, 64 open flows", "ns"), "est64k": ("packet, 65,536 open flows", "ns"),
         "new": ("packet, new flow", "ns")}
TARGETS = {("conn", "sock"): 1.05, ("conn", "tc"): 1.05, ("rr", "sock"): 1.05, ("rr", "tc"): 1.05,
           ("est64", "tc"): 1.05, ("est64k", "tc"): 1.05, ("new", "tc"): 2.0}
CHUNK = 4096  # packets in flight towards a userspace balancer


def ksoftirqd():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as f:
                if f.read().startswith("ksoftirqd/"):
                    found.append(int(pid))
        except OSError:
            pass
    return found


class Samples:
    """Values by (what, variant), one a round; and all that went wrong."""

    def __init__(self):
        self.values = {}
        self.extra = {}
        self.machine = {}
        self.wrong = []

    def add(self, what, variant, value, machine, extra=None):
        self.values.setdefault((what, variant.name), []).append(value)
        self.machine.setdefault((what, variant.name), []).append(machine)
        if extra is not None:
            self.extra.setdefault((what, variant.name), []).append(extra)

    def fail(self, what, variant, why):
        self.wrong.append(f"{variant.name}, {what}: {why}")


def connections(samples, variant, mode, seconds, soft):
    address, ports = variant.target
    pids = ",".join(map(str, variant.pids + soft))
    out = variant.client.run([variant.lab.tool("vip-load"), "client", mode, seconds, CLIENT_CPU, pids, address,
                              ",".join(map(str, ports))], timeout=seconds + 30)
    r = json.loads(out)
    if r["errors"]:
        samples.fail(mode, variant, f"{r['errors']} errors, first: {r['first_error']}")
    if r["ops"] == 0:
        return samples.fail(mode, variant, "nothing done")
    met = {int(p) for p in r["backends"]}
    stray = met - set(variant.ports)
    if stray:
        samples.fail(mode, variant, f"answers of wrong backends {sorted(stray)}")
    if mode == "conn" and met != set(variant.ports):
        samples.fail(mode, variant, f"backends never met: {sorted(set(variant.ports) - met)}")
    if mode == "stream":
        scale, extra = 2**30 / 1e3, r["ops"] * 8 / r["wall_us"] / 1e3  # ms of CPU a GiB; Gbit/s
    else:
        scale, extra = 1, r["ops"] * 1e6 / r["wall_us"] if mode == "conn" else r["p50_us"]
    samples.add(mode, variant, r["cpu_us"] / r["ops"] * scale, r["machine_us"] / r["ops"] * scale, extra)


class Injector:
    """A running vip-inject on a variant's node."""

    def __init__(self, variant, soft):
        self.variant = variant
        address, ports = variant.target
        extra = [p for p in variant.pids if p != variant.server.pid]  # the server gets none of these packets
        self.process = variant.node.spawn(
            [variant.lab.tool("vip-inject"), f"/proc/{variant.server.pid}/ns/net", "eth0", variant.client.device,
             CLIENT_CPU, ",".join(map(str, extra + soft)), address, ports[0], len(ports), variant.backend.address[4],
             FIRST_PORT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"vip-inject did not start on {variant.name}")

    def send(self, kind, first, flows, packets, chunk=0):
        self.process.stdin.write(f"{kind} {first} {flows} {packets} {chunk}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"vip-inject ended on {self.variant.name}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


def packets(samples, injector, number, sizes):
    """One round of the forwarding rows. `number` counts rounds, so that every round's new flows are new."""
    variant = injector.variant

    def measured(what, r):
        *good, stray = r["arrived"]
        if sum(good) != r["sent"] or stray:
            samples.fail(what, variant, f"{r['sent']} sent, {sum(good)} arrived, {stray} at a wrong place")
        if not all(good):
            samples.fail(what, variant, f"backends without a packet: {[i for i, n in enumerate(good) if not n]}")
        samples.add(what, variant, r["cpu_us"] * 1e3 / r["sent"], r["machine_us"] * 1e3 / r["sent"])

    variant.before_established()
    for flows in (64, 65536):
        injector.send("est", 0, flows, flows, CHUNK)
    variant.after_established()
    measured("est64", injector.send("est", 0, 64, sizes["est64"]))
    injector.send("est", 0, 65536, 65536)
    measured("est64k", injector.send("est", 0, 65536, sizes["est64k"]))
    new = sizes["new"]
    measured("new", injector.send("syn", 1 << 17 | number * new, new, new, CHUNK))
    variant.flush()


def table(samples, names, rounds):
    """The table, and whether each target was reached."""
    lines, verdicts = [], []
    for what, (title, unit) in MICRO.items():
        extra_title = {"conn": "conn/s", "rr": "p50 us", "stream": "Gbit/s"}.get(what, "")
        lines.append(f"\nCPU per {title} ({rounds[what]} rounds)")
        lines.append(f"  {'':10} {unit + ' median':>12} {'min':>9} {'x direct':>9} {'x min':>7} {'machine x':>10} "
                     f"{extra_title:>10}")
        direct = samples.values.get((what, "direct"))
        for name in names:
            values = samples.values.get((what, name))
            if not values or not direct or len(values) != len(direct):
                continue
            ratio = statistics.median(v / d for v, d in zip(values, direct))
            low = min(values) / min(direct)
            machine = statistics.median(v / d for v, d in zip(samples.machine[what, name], samples.machine[what, "direct"]) if d) \
                if any(samples.machine[what, "direct"]) else 0
            extra = samples.extra.get((what, name))
            extra_text = f"{statistics.median(extra):>10.1f}" if extra else ""
            lines.append(f"  {name:10} {statistics.median(values):12.1f} {min(values):9.1f} {ratio:9.2f} {low:7.2f} "
                         f"{machine:10.2f} {extra_text}")
            target = TARGETS.get((what, name))
            if target:
                verdicts.append((f"{name}, CPU per {title}", ratio, low, f"<= {target}", ratio <= target))
    for name in ("sock", "tc"):
        streams, base = samples.extra.get(("stream", name)), samples.extra.get(("stream", "direct"))
        if streams and base and len(streams) == len(base):
            ratio = statistics.median(v / d for v, d in zip(streams, base))
            best = max(streams) / max(base)
            verdicts.append((f"{name}, Gbit/s of one stream", ratio, best, ">= 0.95", ratio >= 0.95))
    lines.append("\ntargets (median of rounds; by the best rounds)")
    for title, ratio, low, limit, reached in verdicts:
        lines.append(f"  {title:40} {ratio:6.2f} {low:6.2f}   {limit:8} {'reached' if reached else 'MISSED'}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 rounds, about a minute: shows that it works")
    parser.add_argument("--rounds", type=int, help="rounds (12)")
    parser.add_argument("--only", default="", help="variants beside direct, separated by commas")
    parser.add_argument("--skip", default="", help="connections or packets")
    parser.add_argument("--json", help="writes all samples to this file")
    parser.add_argument("--tools", help="build folder with the programs")
    args = parser.parse_args()
    if os.geteuid() != 0:
        print("skipped: network namespaces need root")
        return SKIPPED
    chosen = [v for v in variants.ALL if v.name == "direct" or not args.only or v.name in args.only.split(",")]
    try:
        for tool in ("loadstard", "vip-load", "vip-inject"):
            find_binary(tool, args.tools)
    except FileNotFoundError as e:
        print(f"skipped: {e}")
        return SKIPPED
    rounds = args.rounds or (2 if args.quick else 12)
    seconds = 0.3 if args.quick else 0.6
    sizes = {"est64": 200_000, "est64k": 65536 * 3, "new": 16384} if args.quick else \
        {"est64": 400_000, "est64k": 65536 * 6, "new": 32768}
    begin = time.monotonic()
    samples = Samples()
    soft = ksoftirqd()
    with Lab(nodes=len(chosen), tools=args.tools) as lab:
        ways = [kind(lab, i + 1) for i, kind in enumerate(chosen)]
        counts = dict.fromkeys(MICRO, rounds)
        if args.skip != "connections":
            for mode in ("conn", "rr"):  # nothing is cold in the first round
                for way in ways:
                    connections(Samples(), way, mode, 0.1, soft)
            for number in range(rounds):
                for mode in ("conn", "rr", "stream"):
                    turn = [w for w in ways if mode != "stream" or w.streams]
                    for i in range(len(turn)):
                        connections(samples, turn[(number + i) % len(turn)], mode, seconds, soft)
        floor = []
        if args.skip != "packets":
            injectors = [Injector(w, soft) for w in ways if w.forwards]
            for number in range(-1, rounds):
                into = samples if number >= 0 else Samples()
                for i in range(len(injectors)):
                    packets(into, injectors[(number + i) % len(injectors)], number + 1, sizes)
                floor.append(injectors[0].send("drop", 0, 64, sizes["est64"])["cpu_us"] * 1e3 / sizes["est64"])
            for injector in injectors:
                injector.close()
        print(table(samples, [w.name for w in ways], counts))
        if floor:
            print(f"\nthe packet generator alone, contained in every packet row: {statistics.median(floor):.0f} ns")
        with open("/proc/loadavg") as f:
            print(f"{rounds} rounds in {time.monotonic() - begin:.0f} s, {os.cpu_count()} CPUs, load average {f.read().split()[0]}")
    if args.json:
        with open(args.json, "w") as f:
            json.dump({f"{what} {name}": v for (what, name), v in samples.values.items()}, f, indent=1)
    for wrong in samples.wrong:
        print(f"FAIL {wrong}")
    return 1 if samples.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

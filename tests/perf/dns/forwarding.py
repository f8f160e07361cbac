#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Forwarding while an upstream is silent: three upstreams that answer after 1 ms, one of them silent from the start or
going silent in the middle, under a steady rate of names that nobody asked before. Latency of loadstar, dnsmasq
--all-servers, dnsdist and unbound beside a question straight to an upstream, in the same round.

    generator -- veth -- forwarder on n1 -- fabric with three upstreams

Each forwarder is started anew for each measurement, so that "from the start" is its start. `x direct` is the median over
the rounds of p99 by p99 of the direct questions of that round. It asserts no times; a question that loadstar does not
answer within --patience, or answers wrongly, fails it. Of the others that is shown."""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))
from lab import Lab, dns_peers, find_binary  # noqa: E402

SKIPPED = 77
UPSTREAMS = [("10.10.0.254", 5401), ("10.10.0.254", 5402), ("10.10.0.254", 5403)]
SILENT = 1  # the one that falls silent; the first in a list is the favourite of some
SCENES = ["all alive", "one silent from the start", "one goes silent"]
LIMIT = 1.3


class Server(dns_peers.Peer):
    """loadstar's DNS server as a forwarder, without the daemon around it."""

    def __init__(self, place, address, port, name="loadstar"):
        self.program = find_binary("ls-dns-server")
        super().__init__(place, address, port, name)

    def argv(self):
        return [self.path, "--listen", f"{self.address}:{self.port}", "--workers", "1", "--resolver",
                *(x for a, p in UPSTREAMS for x in ("--forward", f"{a}:{p}"))]


class Bench:
    def __init__(self, lab, args):
        self.lab, self.args, self.node = lab, args, lab.node(1)
        self.client = self.node.routed("gen")
        self.node.nft("delete table inet lab_nat\n")
        self.address = self.node.address[4]
        self.upstreams = [lab.fabric.spawn([lab.tool("dns-upstream"), "--listen", f"{a}:{p}"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
                          for a, p in UPSTREAMS]
        for u in self.upstreams:
            if u.stdout.readline().strip() != "ready":
                raise RuntimeError("dns-upstream did not start")
        here = (self.node, self.address)
        self.kinds = {
            "loadstar": lambda: Server(*here, 5305),
            "dnsmasq": lambda: dns_peers.Dnsmasq(*here, 5304, servers=UPSTREAMS, all_servers=True),
            "dnsdist": lambda: dns_peers.Dnsdist(*here, 5303, UPSTREAMS),
            "unbound": lambda: dns_peers.Unbound(*here, 5302, forward={".": UPSTREAMS}),
        }
        if args.only:
            self.kinds = {k: v for k, v in self.kinds.items() if k in args.only.split(",")}
        self.results, self.wrong, self.serial = {}, [], 0

    def names(self, count):
        path = os.path.join(self.lab.dir, "names")
        with open(path, "w") as f:
            for i in range(count):
                f.write(f"n{self.serial + i}.forward.example A 192.0.2.1\n")
        self.serial += count
        return path

    def generate(self, address, port, during=None):
        count = int(self.args.rate * self.args.seconds)
        argv = [self.lab.tool("dns-generate"), "--to", f"{address}:{port}", "--names", self.names(count), "--once", count, "--rate", self.args.rate,
                "--timeout", self.args.patience, "--window", 20000, "--cpu", 0]
        p = self.client.spawn(argv, stdout=subprocess.PIPE, text=True)
        if during:
            time.sleep(self.args.seconds / 2)
            during()
        out, _ = p.communicate(timeout=120)
        self.lab.processes.remove(p)
        return json.loads(out)

    def speak(self):
        self.upstreams[SILENT].send_signal(signal.SIGUSR2)

    def fall_silent(self):
        self.upstreams[SILENT].send_signal(signal.SIGUSR1)

    def measure(self, name, scene, keep=True):
        self.speak()
        if scene == "one silent from the start":
            self.fall_silent()
        try:
            server = self.kinds[name]().start(("start.example", "A"))
        except (dns_peers.Missing, FileNotFoundError) as e:
            print(f"without {name}: {e}")
            del self.kinds[name]
            return
        try:
            r = self.generate(server.address, server.port, self.fall_silent if scene == "one goes silent" else None)
        finally:
            server.stop()
            self.speak()
        if keep:
            self.results.setdefault((scene, name), []).append(r)
        if name == "loadstar" and (r["lost"] or r["wrong"] or set(r["rcodes"]) != {"0"}):
            self.wrong.append(f"{scene}: {r['lost']} lost, {r['wrong']} wrong, rcodes {r['rcodes']}, {r['first_wrong']}")

    def rounds(self):
        for number in range(self.args.rounds):
            for scene in SCENES:
                self.results.setdefault((scene, "direct"), []).append(self.generate(*UPSTREAMS[0]))
                order = list(self.kinds)
                for i in range(len(order)):
                    name = order[(number + i) % len(order)]
                    if name in self.kinds:
                        self.measure(name, scene)

    def table(self):
        lines, verdicts = [], []
        for scene in SCENES:
            lines.append(f"\n{scene} ({self.args.rounds} rounds of {self.args.seconds} s, {self.args.rate} q/s)")
            lines.append(f"  {'':10} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'x direct':>9} {'lost':>6} {'failed':>7}")
            direct = self.results[scene, "direct"]
            for name in ["direct", *self.kinds]:
                some = self.results.get((scene, name))
                if not some:
                    continue
                ratio = statistics.median(a["p99_us"] / b["p99_us"] for a, b in zip(some, direct))
                p50, p99 = (statistics.median(r[k] for r in some) / 1000 for k in ("p50_us", "p99_us"))
                failed = sum(n for r in some for code, n in r["rcodes"].items() if code != "0")
                lines.append(f"  {name:10} {p50:8.2f} {p99:8.2f} {max(r['max_us'] for r in some) / 1000:8.1f} {ratio:9.2f} "
                             f"{sum(r['lost'] for r in some):6} {failed:7}")
                if name == "loadstar":
                    verdicts.append(f"  {scene:28} p99 at most {LIMIT} x direct {ratio:6.2f}   {'reached' if ratio <= LIMIT else 'MISSED'}")
        return "\n".join([*lines, *(["\ntargets", *verdicts] if verdicts else [])])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1 short round: shows that it works")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rate", type=int, default=5000, help="questions a second")
    parser.add_argument("--patience", type=float, default=3.0, help="seconds until a question counts as lost")
    parser.add_argument("--only", default="", help="forwarders, separated by commas")
    parser.add_argument("--tools", help="build folder with the programs")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds, args.rate, args.only = 1, 1.0, 1000, args.only or "loadstar,dnsmasq"
    if os.geteuid() != 0:
        print("skipped: network namespaces need root")
        return SKIPPED
    if args.tools:
        os.environ["LS_BUILD_DIR"] = args.tools
    try:
        for tool in ("dns-generate", "dns-upstream"):
            find_binary(tool, args.tools)
    except FileNotFoundError as e:
        print(f"skipped: {e}")
        return SKIPPED
    begin = time.monotonic()
    with Lab(nodes=1, tools=args.tools) as lab:
        bench = Bench(lab, args)
        bench.rounds()
        print(bench.table())
        with open("/proc/loadavg") as f:
            print(f"\n{time.monotonic() - begin:.0f} s, {os.cpu_count()} CPUs, load average {f.read().split()[0]}")
    for wrong in bench.wrong:
        print(f"FAIL {wrong}")
    return 1 if bench.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

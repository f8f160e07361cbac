#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What answering inside the kernel costs.

  prog    ns of a question in the XDP and in the tc program, net of the harness, beside the least program that answers
          (bare.h), with 1, 10,000 and 100,000 names. By test run, nothing is attached.
  rate    answers a second over veth, of our programs and of servers:

              generator, CPU 0 -- veth -- programs, CPU 0, or servers, CPU 1 (one worker each)

          10,000 names with an A record. Questions are made and answers checked inside the kernel (dns_rate.bpf.c), so that the
          generator is faster than everybody. For our programs question, answer and count all run on CPU 0; a server has CPU 1 to
          itself. So `x` is answers of a core that does everything by answers of a core that only serves. `floor` reflects
          questions without a look-up. On a busy machine a server waits for its CPU and the rates say nothing; the
          ratio of the CPU times, ours with question and count, is what remains.
  memory  of the maps with the names of 100,000 tasks.

It asserts no times; wrong or lost answers fail it. dnsperf and kxdpgun are slower than the programs, so they would only bound
them from below."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))
from lab import Lab, dns_peers, find_binary  # noqa: E402

SKIPPED = 77
NAMES = 10_000
CLIENT_CPU, SERVER_CPU = 0, 1
ZONE = "mesos"
TARGETS = (("xdp", "knot-xdp", 5), ("xdp", "knot", 7), ("tc", "knot", 4))
# Frames of the generator become packets of a page each: more of them at once than fit into a default receive buffer are lost.
SERVER_WINDOW, KERNEL_WINDOW = 40, 192


def letters(number):
    return "".join(chr(ord("a") + (number >> shift & 15)) for shift in range(20, -1, -4))


def name(number):
    return f"task-{letters(number)}.marathon.{ZONE}"


def lines():
    for i in range(NAMES):
        yield f"{name(i)}. 86400 IN A 10.{i >> 16}.{i >> 8 & 255}.{i & 255}"


class Loadstar(dns_peers.Peer):
    """Its DNS server with a zone from a file, without the daemon around it."""

    def __init__(self, place, address, port, records):
        self.program = find_binary("ls-dns-server")
        super().__init__(place, address, port, "loadstar")
        self.records = self.file("records", "\n".join(line.replace(" IN ", " ") for line in records) + "\n")

    def argv(self):
        return [self.path, "--listen", f"{self.address}:{self.port}", "--workers", "1", "--zone", ZONE, "--records", self.records]


class KnotXdp(dns_peers.Knot):
    """With AF_XDP on one device; the address itself, on its ordinary socket, is only for the start."""

    def __init__(self, place, address, port, zones, device):
        super().__init__(place, address, port, zones, "knot-xdp")
        with open(self.config) as f:
            text = f.read()
        with open(self.config, "w") as f:
            f.write(text.replace("database:\n", f"xdp:\n  listen: {device}@{port}\ndatabase:\n", 1))


class Generator:
    def __init__(self, lab, node, client, sink):
        link = json.loads(node.run(["ip", "-j", "link", "show", "dev", client.device]))[0]
        self.process = client.spawn([lab.tool("dns-kernel-generate"), "eth0", CLIENT_CPU, client.address[4], node.address[4], link["address"], NAMES],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.expect("ready\n")
        self.sink(sink)

    def expect(self, want=None):
        line = self.process.stdout.readline()
        if not line or (want and line != want):
            raise RuntimeError(f"dns-kernel-generate said {line!r}")
        return line

    def command(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return json.loads(self.expect())

    def sink(self, kind):
        self.command("sink", kind)

    def run(self, port, seconds, window, checksum=True, floor=False):
        return self.command("run", port, seconds, window, int(checksum), int(floor))


class Row:
    """One that answers: a program of the kernel (`server` None) or a server."""

    def __init__(self, title, generator, port, window, server=None, floor=False):
        self.title, self.generator, self.port, self.window, self.server, self.floor = title, generator, port, window, server, floor


class Rate:
    def __init__(self, lab, args):
        self.lab, self.args = lab, args
        self.node = lab.node(1)
        self.rows, self.values, self.wrong = [], {}, []
        self.node.nft("delete table inet lab_nat\n")  # no connection tracking on the way
        clients = {n: self.node.routed(n) for n in ("floor", "xdp", "tc", "kxdp", "user")}
        for client in clients.values():  # a server's first answer finds the way
            client.run(["ping", "-c", "1", "-W", "2", self.node.address[4]])
        self.serve = self.node.spawn([lab.tool("dns-kernel-serve"), self.node.address[4], 53, NAMES, f"reflect:{clients['floor'].device}",
                                      f"xdp:{clients['xdp'].device}", f"tc:{clients['tc'].device}", f"plain:{clients['user'].device}",
                                      f"plain:{clients['kxdp'].device}"],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.serve.stdout.readline() != "ready\n":
            raise RuntimeError("dns-kernel-serve did not start")
        generators = {n: Generator(lab, self.node, c, "xdp" if n in ("floor", "xdp") else args.sink) for n, c in clients.items()}
        for title in ("floor", "xdp", "tc"):
            self.rows.append(Row(title, generators[title], 53, KERNEL_WINDOW, floor=title == "floor"))
        here, records = (self.node, self.node.address[4]), list(lines())
        for title, client, port, make in (
                ("knot-xdp", "kxdp", 5306, lambda: KnotXdp(*here, 5306, {ZONE: records}, clients["kxdp"].device)),
                ("knot", "user", 5301, lambda: dns_peers.Knot(*here, 5301, {ZONE: records})),
                ("unbound", "user", 5302, lambda: dns_peers.Unbound(*here, 5302, records, zone=ZONE)),
                ("loadstar", "user", 5305, lambda: Loadstar(*here, 5305, records))):
            try:
                server = make().start((name(1), "A"))
            except (dns_peers.Missing, FileNotFoundError, RuntimeError, TimeoutError) as e:
                print(f"without {title}: {e}")
                continue
            server.pin(SERVER_CPU)
            self.rows.append(Row(title, generators[client], port, args.window or SERVER_WINDOW, server))
        if args.only:
            self.rows = [row for row in self.rows if row.title in args.only.split(",")]

    def measure(self, row, seconds, keep):
        before = row.server.cpu_ns() if row.server else 0
        r = row.generator.run(row.port, seconds, row.window, not self.args.no_checksum, row.floor)
        if row.server:
            r["cpu_us"] = (row.server.cpu_ns() - before) / 1e3
        if r["answers"] == 0:
            return self.fail(row, "nothing answered")
        if r["wrong"]:
            self.fail(row, f"{r['wrong']} of {r['answers']} answers wrong, the first one by {r['first_wrong']}")
        # A server's full socket may drop some; more than one in a thousand is a fault.
        if r["sent"] - r["answers"] > max(2, r["sent"] / 1000):
            self.fail(row, f"{r['sent'] - r['answers']} of {r['sent']} lost")
        if keep:
            self.values.setdefault(row.title, []).append((r["answers_in_time"] * 1e6 / r["wall_us"], r["cpu_us"] / r["answers"]))

    def fail(self, row, why):
        self.wrong.append(f"{row.title}: {why}")

    def rounds(self):
        for number in range(-1, self.args.rounds):  # the first one only warms
            for i in range(len(self.rows)):
                self.measure(self.rows[(number + i) % len(self.rows)], self.args.seconds, number >= 0)

    def ratio(self, ours, theirs):
        return statistics.median(a[0] / b[0] for a, b in zip(self.values[ours], self.values[theirs]))

    def cpu_ratio(self, ours, theirs):
        return statistics.median(b[1] / a[1] for a, b in zip(self.values[ours], self.values[theirs]))

    def table(self):
        out = [f"\nanswers a second of one core ({self.args.rounds} rounds of {self.args.seconds} s, questions {'without' if self.args.no_checksum else 'with'} UDP checksum)",
               f"  {'':10} {'q/s median':>11} {'min':>10} {'max':>10} {'x knot':>7} {'x knot-xdp':>11} {'CPU us an answer':>17} {'x knot':>7} {'x knot-xdp':>11}"]
        for title, values in self.values.items():
            rates = [v[0] for v in values]
            ratios = [f"{self.ratio(title, base):.2f}" if base in self.values else "" for base in ("knot", "knot-xdp")]
            cpu = [f"{self.cpu_ratio(title, base):.2f}" if base in self.values else "" for base in ("knot", "knot-xdp")]
            everything = "  with question and count" if title in ("floor", "xdp", "tc") else ""
            out.append(f"  {title:10} {statistics.median(rates):11,.0f} {min(rates):10,.0f} {max(rates):10,.0f} {ratios[0]:>7} {ratios[1]:>11} "
                       f"{statistics.median(v[1] for v in values):17.2f} {cpu[0]:>7} {cpu[1]:>11}{everything}")
        verdicts = [f"  {ours:4} {times} x {theirs:9} {self.ratio(ours, theirs):6.2f}   {'reached' if self.ratio(ours, theirs) >= times else 'MISSED':8} "
                    f"(by CPU time {self.cpu_ratio(ours, theirs):.2f})"
                    for ours, theirs, times in TARGETS if ours in self.values and theirs in self.values]
        return "\n".join(out + (["\ntargets", *verdicts] if verdicts else []))

    def end(self):
        self.serve.stdin.close()
        print(f"\nour programs: {self.serve.stdout.read().strip() or 'not built'}")
        self.serve.wait(10)


def rate(args):
    begin = time.monotonic()
    with Lab(nodes=1, tools=args.tools) as lab:
        bench = Rate(lab, args)
        bench.rounds()
        print(bench.table())
        bench.end()
        with open("/proc/loadavg") as f:
            print(f"{time.monotonic() - begin:.0f} s, {os.cpu_count()} CPUs, load average {f.read().split()[0]}")
    if args.json:
        with open(args.json, "w") as f:
            json.dump(bench.values, f, indent=1)
    for wrong in bench.wrong:
        print(f"FAIL {wrong}")
    return 1 if bench.wrong else 0


def prog(args):
    argv = [find_binary("dns-kernel-prog", args.tools), "--rounds", str(args.rounds), "--cpu", str(CLIENT_CPU)]
    if args.quick:
        argv += ["--names", "1,1000", "--repeat", "2000"]
    if args.rows:
        argv += ["--only", args.rows]
    return subprocess.run(argv, check=False).returncode


def memory(args):
    return subprocess.run([find_binary("dns-kernel-memory", args.tools), *(["500"] if args.quick else [])], check=False).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", nargs="*", help="prog, rate, memory (default: all)")
    parser.add_argument("--quick", action="store_true", help="1 short round: shows that it works")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement of rate")
    parser.add_argument("--only", default="", help="rows of rate, separated by commas")
    parser.add_argument("--rows", default="", help="rows of prog whose title begins so, beside the bare ones")
    parser.add_argument("--sink", default="tc", choices=("tc", "xdp"), help="what counts the answers of servers and of tc")
    parser.add_argument("--window", type=int, help=f"questions under way at a server ({SERVER_WINDOW})")
    parser.add_argument("--no-checksum", action="store_true", help="questions without UDP checksum")
    parser.add_argument("--json", help="writes all samples of rate to this file")
    parser.add_argument("--tools", help="build folder with the programs")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds = 1, 0.2
    if os.geteuid() != 0:
        print("skipped: network namespaces need root")
        return SKIPPED
    if args.tools:
        os.environ["LS_BUILD_DIR"] = os.path.abspath(args.tools)
    modes = {"prog": prog, "rate": rate, "memory": memory}
    if set(args.mode) - set(modes):
        parser.error("modes are " + ", ".join(modes))
    try:
        for tool in ("prog", "generate", "serve", "memory"):
            find_binary(f"dns-kernel-{tool}", args.tools)
    except FileNotFoundError as e:
        print(f"skipped: {e}")
        return SKIPPED
    return max(modes[mode](args) for mode in args.mode or modes)


if __name__ == "__main__":
    sys.exit(main())

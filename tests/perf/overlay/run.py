#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the overlay costs: CPU time per GiB of one TCP stream, per UDP packet of 64 octets and per request of one octet, between
bridged containers of two nodes, against the static scheme of the original and against the nodes' own network, in the same run.

    host       node to node, no overlay
    static     neighbours, routes and forwarding entries, made here with ip and bridge as the original did
    map        programs at the VTEP only: bridge, routes and netfilter on the way
    device     programs at the containers as well, handed over at the container's device
    peer       the same, handed straight into the container
    shortcut   the same, and taken out of the tunnel at the NIC already: what the daemon does

Every node has the rule that masquerades what leaves the overlay, as an agent of the original has, and with it connection tracking.

Every value is scheduler run time of client, server and ksoftirqd divided by what was done. Schemes take turns round by round, each
on two nodes of its own. Ratios are medians of the ratios within a round. Also: the time to teach one node 4,000 others, and what a packet costs in
the programs with 4 to 65,536 peers (overlay-prog).

It asserts no times. It fails when something did not work."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))
from lab import Lab, find_binary, overlay, wait_until  # noqa: E402

SKIPPED = 77
SCHEMES = ("host", "static", "map", "device", "peer", "shortcut")
MODES = {"static": "static", "map": "map", "device": "shortcut", "peer": "shortcut", "shortcut": "shortcut"}
PORT, UDP_PORT = 8001, 5201
CLIENT_CPU, SERVER_CPU = 0, 1
# What leaves the overlay is masqueraded, by the original and by us, so connection tracking is on everywhere.
MASQUERADE = ("table ip overlay_masquerade {\n chain out {\n type nat hook postrouting priority 100;\n"
              " ip saddr 9.0.0.0/8 ip daddr != 9.0.0.0/8 masquerade\n }\n}\n")
WHAT = {"stream": ("GiB, one TCP stream", "ms"), "udp": ("UDP packet of 64 octets received", "us"), "rr": ("request", "us")}


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


def run_time_us(pids):
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
    return total / 1e3


class Scheme:
    def __init__(self, lab, name, first):
        self.name, self.lab = name, lab
        nodes = [lab.node(first), lab.node(first + 1)]
        for node in nodes:
            node.nft("delete table inet lab_nat\n" + MASQUERADE)
        if name == "host":
            self.client, self.server = nodes
        else:
            for node in nodes:
                overlay.Overlay(node, MODES[name], peer=name != "device", uplink=name == "shortcut").bridged("c")
            for node in nodes:
                node.overlay.start(nodes)
            self.client, self.server = (node.overlay.containers[0] for node in nodes)
        self.address = self.server.address[4]
        self.load = self.server.spawn([lab.tool("vip-load"), "server", SERVER_CPU, PORT], stdout=subprocess.PIPE, text=True)
        if self.load.stdout.readline().strip() != "ready":
            raise RuntimeError("vip-load server did not start")
        self.iperf = self.server.spawn(["iperf3", "-s", "-p", UDP_PORT, "-A", SERVER_CPU], stdout=subprocess.DEVNULL)
        wait_until(lambda: f":{UDP_PORT}" in self.server.run(["ss", "-ltn"]), 5, "iperf3 listens")


def load(scheme, mode, seconds, soft):
    pids = ",".join(map(str, [scheme.load.pid] + soft))
    out = scheme.client.run([scheme.lab.tool("vip-load"), "client", mode, seconds, CLIENT_CPU, pids, scheme.address, PORT],
                            timeout=seconds + 30)
    r = json.loads(out)
    if r["errors"] or not r["ops"]:
        raise RuntimeError(f"{scheme.name}, {mode}: {r}")
    cost = r["cpu_us"] / r["ops"]
    return cost * 2**30 / 1e3 if mode == "stream" else cost


def udp(scheme, seconds, soft):
    others = [scheme.iperf.pid] + soft
    before = run_time_us(others)
    p = scheme.client.spawn(["iperf3", "-c", scheme.address, "-p", UDP_PORT, "-u", "-l", 64, "-b", 0, "-t", seconds, "-J", "-A", CLIENT_CPU],
                            stdout=subprocess.PIPE, text=True)
    text = p.stdout.read()
    _, status, usage = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    cpu = run_time_us(others) - before + (usage.ru_utime + usage.ru_stime) * 1e6
    end = json.loads(text).get("end", {}).get("sum", {})
    received = end.get("packets", 0) - end.get("lost_packets", 0)
    if received <= 0:
        raise RuntimeError(f"{scheme.name}, udp: {text[-300:]}")
    return cpu / received


def table(samples, names, rounds):
    lines = []
    for what, (title, unit) in WHAT.items():
        lines.append(f"\nCPU per {title} ({rounds} rounds)")
        lines.append(f"  {'':9} {unit + ' median':>11} {'min':>9} {'static / it':>12} {'(min)':>7} {'host / it':>10} {'(min)':>7}")
        for name in names:
            v, cells = samples[what, name], []
            for base in ("static", "host"):
                b = samples.get((what, base))
                cells += [f"{statistics.median(x / y for x, y in zip(b, v)):.2f}", f"{min(b) / min(v):.2f}"] if b else ["-", "-"]
            lines.append(f"  {name:9} {statistics.median(v):11.2f} {min(v):9.2f} {cells[0]:>12} {cells[1]:>7} {cells[2]:>10} {cells[3]:>7}")
    lines.append("\ntargets: shortcut at least 1.2 x static in all three, at least 0.75 of host")
    return "\n".join(lines)


def teach(lab, node, count, rounds):
    """One node learns of `count` others: through the tables, and as netlink objects in batches (the static wiring)."""
    def allocation(n):
        return {"node": f"10.128.{n >> 8}.{n & 255}", "vtep": f"44.128.{n >> 8}.{n & 255}", "vtep6": f"fd01:a::{n:x}", "mac": overlay.mac(n),
                "shares": [{"overlay": "dcos", "v4": f"9.{n >> 8}.{n & 255}.0/24", "v6": f"fd01:b:0:0:{n:x}::/80"}]}

    nodes = [allocation(n) for n in range(1, count + 2)]
    plan = {**overlay.PLAN, "vtep": "44.128.0.0/16"}
    p = node.spawn([lab.tool("ls-overlay-node")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(command):
        p.stdin.write(json.dumps(command) + "\n")
        p.stdin.flush()
        answer = json.loads(p.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    common = {"self": nodes[0]["node"], "plan": plan}
    tell({"do": "setup", **common, "nodes": nodes[:1]})
    times = []
    for _ in range(rounds):
        times.append(tell({"do": "sync", "nodes": nodes})["sync_ms"])
        if tell({"do": "counts"})["peers"] != count:
            raise RuntimeError("not all peers were taught")
        tell({"do": "sync", "nodes": nodes[:1]})
    tell({"do": "purge"})
    static = tell({"do": "setup", **common, "static": True, "nodes": nodes})
    p.stdin.close()
    p.wait(10)
    return (f"\n{count} peers taught: tables {statistics.median(times):.1f} ms (min {min(times):.1f}, target < 50); "
            f"static, {static['put']} objects in batches: {static['ms']:.0f} ms")


def programs(lab, quick):
    out = subprocess.run([lab.tool("overlay-prog"), "3" if quick else "15", "20000" if quick else "100000"], capture_output=True, text=True,
                         timeout=400, check=True).stdout
    lines = ["\nns per packet in the programs, random peer, net of choosing it (median)",
             f"  {'peers':>6} {'VTEP 4':>7} {'VTEP 6':>7} {'container 4':>12} {'container 6':>12}"]
    for row in map(json.loads, out.splitlines()):
        if row["dropped"]:
            raise RuntimeError(f"packets were dropped: {row}")
        lines.append(f"  {row['peers']:6} {row['out4_net']:7} {row['out6_net']:7} {row['port4_net']:12} {row['port6_net']:12}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 rounds: shows that it works")
    parser.add_argument("--rounds", type=int, help="rounds (12)")
    parser.add_argument("--seconds", type=float, help="of each measurement (1)")
    parser.add_argument("--tools", help="build folder with the programs")
    parser.add_argument("--json", help="writes all samples to this file")
    args = parser.parse_args()
    if os.geteuid() != 0:
        print("skipped: network namespaces need root")
        return SKIPPED
    try:
        for tool in ("ls-overlay-node", "overlay-prog", "vip-load"):
            find_binary(tool, args.tools)
    except FileNotFoundError as e:
        print(f"skipped: {e}")
        return SKIPPED
    rounds = args.rounds or (2 if args.quick else 12)
    seconds = args.seconds or (0.3 if args.quick else 1)
    begin, soft, samples = time.monotonic(), ksoftirqd(), {}
    with Lab(nodes=2 * len(SCHEMES) + 1, tools=args.tools) as lab:
        overlay.forget_lab_routes(lab)
        schemes = [Scheme(lab, name, 1 + 2 * i) for i, name in enumerate(SCHEMES)]
        for number in range(-1, rounds):
            for what in WHAT:
                for i in range(len(schemes)):
                    s = schemes[(number + i) % len(schemes)]
                    value = udp(s, max(1, round(seconds)), soft) if what == "udp" else load(s, what, seconds if number >= 0 else 0.1, soft)
                    if number >= 0:
                        samples.setdefault((what, s.name), []).append(value)
        for s in schemes:
            if MODES.get(s.name) == "shortcut":
                counts = s.client.node.overlay.counts()
                if counts["port"]["tunnel"] < 1000 or counts["out"]["tunnel"] > counts["port"]["tunnel"] / 100:
                    raise RuntimeError(f"{s.name}: not by the shortcut: {counts}")
        if overlay.seen_in_the_open(lab):
            raise RuntimeError("overlay packets outside of the tunnel")
        print(table(samples, SCHEMES, rounds))
        print(teach(lab, lab.node(2 * len(SCHEMES) + 1), 4000, 3 if args.quick else 9))
        print(programs(lab, args.quick))
        with open("/proc/loadavg") as f:
            print(f"\n{rounds} rounds in {time.monotonic() - begin:.0f} s, {os.cpu_count()} CPUs, load average {f.read().split()[0]}")
    if args.json:
        with open(args.json, "w") as f:
            json.dump({f"{what} {name}": v for (what, name), v in samples.items()}, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())

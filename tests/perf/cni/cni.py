#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""CPU and wall time of ADD and DEL: loadstar-cni (bridge mode, direct mode, with port mappings) beside bridge + host-local, in the same run,
alternating, from 1 to 120 containers on one bridge. CPU is user and system time of the plugin and its children (wait4). It asserts
no times; it fails when a call fails.
The state is on a tmpfs; --disk FOLDER adds a variant with its state there.
Usage: cni.py [--tools BUILD] [--containers 120] [--rounds 3] [--disk FOLDER]"""
import argparse
import json
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))
from lab import find_binary  # noqa: E402
from lab.cni import Machine  # noqa: E402


def timed(m, plugin, command, config, container, netns, ifname):
    """(CPU ms, wall ms) of one call."""
    began = time.monotonic()
    p = m.start(command, config, container=container, netns=netns, ifname=ifname, plugin=plugin)
    p.stdin.write(p.input)
    p.stdin.close()
    out = p.stdout.read()
    _, status, usage = os.wait4(p.pid, 0)
    wall = time.monotonic() - began
    p.returncode = os.waitstatus_to_exitcode(status)
    p.stdout.close()
    p.stderr.close()
    if p.returncode != 0:
        sys.exit(f"{plugin} {command}: {out.decode()}")
    return (usage.ru_utime + usage.ru_stime) * 1000, wall * 1000


def configs(m, disk):
    ipam = {"type": "host-local", "subnet": "9.0.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"cniVersion": "0.4.0", "type": "bridge", "isGateway": True, "hairpinMode": True, "mtu": 1420}
    ports = lambda n: {"runtimeConfig": {"portMappings": [{"hostPort": 10000 + i, "containerPort": 80} for i in range(n)]}}
    own = {"cniVersion": "0.4.0", "type": "loadstar-cni", "mtu": 1420}
    ours = m.plugin
    out = {
        "loadstar-cni": (ours, {**bridge, "name": "ours", "bridge": "bours", "ipam": {**ipam, "dataDir": m.dir}}),
        "direct": (ours, {**own, "name": "direct", "mode": "direct", "ipam": {"subnet": "9.1.0.0/24", "dataDir": m.dir}}),
        "2 families": (ours, {**own, "name": "dual", "bridge": "bdual", "ipam": {"subnets": ["9.2.0.0/24", "fd02::/81"], "dataDir": m.dir}}),
    }
    if disk:
        out["on disk"] = (ours, {**bridge, "name": "disk", "bridge": "bdisk", "ipam": {**ipam, "dataDir": disk}})
    if m.reference("bridge"):
        out["bridge+host-local"] = (m.reference("bridge"), {**bridge, "name": "ref", "bridge": "bref", "ipam": {**ipam, "dataDir": m.dir + "/ref"}})
    return out, own, ports


def quartet(values):
    v = sorted(values)
    return f"{v[0]:6.2f} {statistics.median(v):6.2f} {v[int(len(v) * 0.95)]:6.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools")
    parser.add_argument("--containers", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--disk", help="a folder on a disk")
    parser.add_argument("--json", help="file for the samples")
    args = parser.parse_args()
    m = Machine(find_binary("loadstar-cni", args.tools))
    try:
        m.maps(local=True)
        variants, own, ports = configs(m, args.disk)
        namespaces = {name: [m.netns(f"p{k}x{i}") for i in range(args.containers)] for k, name in enumerate(variants)}
        samples = {(v, c): [] for v in variants for c in ("ADD", "DEL")}
        for _ in range(args.rounds):
            for command in ("ADD", "DEL"):
                for i in range(args.containers):
                    for name, (plugin, config) in variants.items():
                        samples[name, command].append((i, *timed(m, plugin, command, config, f"c{i}", namespaces[name][i], "eth0")))
        print(f"{args.containers} containers, {args.rounds} rounds      CPU ms: least, median, 95 %   wall ms: least, median, 95 %   median of first and last ten")
        for (name, command), rows in samples.items():
            ends = [statistics.median(r[1] for r in rows if part(r[0])) for part in (lambda i: i < 10, lambda i: i >= args.containers - 10)]
            print(f"{command} {name:22} {quartet([r[1] for r in rows])}     {quartet([r[2] for r in rows])}     {ends[0]:.2f} {ends[1]:.2f}")
        counts = (0, 1, 10, 100)
        mapped = {n: {**own, "name": f"ports{n}", "bridge": f"bp{n}", "ipam": {"subnet": f"9.{10 + n}.0.0/24", "dataDir": m.dir}, **ports(n)} for n in counts}
        rows = {(n, c): [] for n in counts for c in ("ADD", "DEL")}
        for _ in range(40 * args.rounds):
            for n in counts:
                for command in ("ADD", "DEL"):
                    rows[n, command].append(timed(m, m.plugin, command, mapped[n], "c", namespaces["direct"][0], "eth1")[0])
        base = {k: statistics.median(v) for k, v in rows.items()}
        for n in counts:
            more = [1000 * (base[n, c] - base[0, c]) / max(n, 1) for c in ("ADD", "DEL")]
            print(f"{n:3} port mappings: ADD {base[n, 'ADD']:.2f}, DEL {base[n, 'DEL']:.2f} ms CPU; {more[0]:.0f} and {more[1]:.0f} us a mapping")
        if "bridge+host-local" in variants:
            for command in ("ADD", "DEL"):
                cpu = {v: statistics.median(r[1] for r in samples[v, command]) for v in ("loadstar-cni", "bridge+host-local")}
                print(f"{command}: {cpu['bridge+host-local'] / cpu['loadstar-cni']:.1f} times less CPU than bridge + host-local")
        if args.json:
            with open(args.json, "w") as f:
                json.dump({f"{c} {v}": rows for (v, c), rows in samples.items()}, f)
    finally:
        m.close()


if __name__ == "__main__":
    main()

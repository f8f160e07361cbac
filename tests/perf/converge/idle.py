#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An agent of a cluster of 10,000 tasks, with tables of the default sizes, that has nothing to do: its CPU and its memory, and what its
tables take in the kernel. Then the same with changes. The agent is the whole loadstard on a node of the lab, the master is the hub and the
feed of `converge --serve` on another. It asserts no figures; it fails when the agent does not have every task.

Usage: idle.py [--tools DIR] [--seconds 60] [--tasks 10000] [--rate 50] [--plain]   (tasks without ports and virtual IPs, 4 names each, not 16)"""
import argparse
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))
from lab import Daemon, Lab, wait_until  # noqa: E402

PORT = 62081
MIB = 1 << 20
DEFAULTS = {"lb.flows": 262144, "lb.flows6": 65536, "lb.services": 65536, "lb.backends": 131072, "lb.ring_slots": 37748736,
            "resolver.enabled": True, "resolver.upstreams": [], "resolver.mesos_servers": []}


def cpu(pid):
    """CPU seconds of a process, and of each of its threads by name."""
    def of(path):
        with open(path) as f:
            name, words = f.read().split("(", 1)[1].rsplit(")", 1)
        return name, (int(words.split()[11]) + int(words.split()[12])) / os.sysconf("SC_CLK_TCK")
    threads = {}
    for t in os.listdir(f"/proc/{pid}/task"):
        name, seconds = of(f"/proc/{pid}/task/{t}/stat")
        threads[name] = threads.get(name, 0) + seconds
    return of(f"/proc/{pid}/stat")[1], threads


def cpu_ns(pid):
    """As cpu(), by the scheduler's own count: ticks of 10 ms miss a thread that runs for microseconds."""
    total = 0
    for t in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{t}/schedstat") as f:
            total += int(f.read().split()[0])
    return total


def spent(daemon, seconds):
    pid = daemon.process.pid
    begin, ns, before = time.monotonic(), cpu_ns(pid), cpu(pid)[1]
    time.sleep(seconds)
    share = (cpu_ns(pid) - ns) / 1e9 / (time.monotonic() - begin)
    threads = sorted(((after - before.get(name, 0), name) for name, after in cpu(pid)[1].items()), reverse=True)
    busy = ", ".join(f"{name} {s / seconds * 100:.2f}" for s, name in threads[:4] if s > 0)
    return f"{share * 100:.2f} % of a core ({busy or 'no thread a tick'}); load {os.getloadavg()[0]:.2f}"


def memory(pid):
    """MiB: resident in all; of these what is the process's own, its files' and mapped tables' of the kernel."""
    kinds, kind = {"own": 0, "files": 0, "tables": 0}, None
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                path = words[5] if len(words) > 5 else ""
                kind = "tables" if "bpf-map" in path else "files" if path.startswith("/") else "own"
            elif words[0] == "Rss:":
                kinds[kind] += int(words[1]) / 1024
            elif words[0] == "Private_Dirty:" and kind == "files":  # relocated data and the like
                kinds["files"] -= int(words[1]) / 1024
                kinds["own"] += int(words[1]) / 1024
    with open(f"/proc/{pid}/status") as f:
        fields = dict(line.split(":", 1) for line in f)
    kinds["resident"] = int(fields["VmRSS"].split()[0]) / 1024
    kinds["peak"] = int(fields["VmHWM"].split()[0]) / 1024
    return kinds


def memory_text(pid):
    m = memory(pid)
    return (f"{m['resident']:.1f} MiB resident (peak {m['peak']:.1f}): {m['own']:.1f} its own, {m['files']:.1f} program and libraries, "
            f"{m['tables']:.1f} pieces of the kernel's tables that are mapped now")


def kernel_memory(daemon):
    """MiB of all tables of the kernel, and of each, as `loadstar map ls` has them."""
    tables = sorted(((m["bytes"] / MIB, m["name"]) for m in daemon.get("/v1/maps")), reverse=True)
    return sum(size for size, _ in tables), tables


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tools")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--plain", action="store_true")
    args = parser.parse_args()
    with Lab(nodes=2, tools=args.tools) as lab:
        master, agent = lab.node(1), lab.node(2)
        hub = f"{master.address[4]}:{PORT}"
        feed = master.spawn([lab.tool("converge"), "--serve", hub, "--tasks", str(args.tasks), "--agents", "100"] + ["--plain"] * args.plain,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not feed.stdout.readline().startswith("serving"):
            raise SystemExit("the hub does not serve")
        daemon = Daemon(agent, {"hub": [hub]}, settings=DEFAULTS)
        took = daemon.start(60)
        pid = daemon.process.pid
        services = 0 if args.plain else -(-args.tasks // 5)
        # Not by /v1/services: the text of thousands of services is itself some memory.
        wait_until(lambda: daemon.get("/v1/status")["dns"]["kernel"]["names"] >= args.tasks and daemon.metric("loadstar_vips") >= services, 60,
                   "every task", 0.5)
        print(f"{args.tasks} {'plain' if args.plain else 'hard'} tasks, {services} services; ready after {took:.2f} s, {cpu(pid)[0]:.2f} s of CPU; {memory_text(pid)}")
        time.sleep(min(15, args.seconds))
        print(f"idle for {args.seconds:.0f} s: {spent(daemon, args.seconds)}")
        print(f"  {memory_text(pid)}")
        total, tables = kernel_memory(daemon)
        print(f"  tables in the kernel: {total:.1f} MiB, of them " + ", ".join(f"{n} {s:.1f}" for s, n in tables[:6]))
        feed.stdin.write(f"{args.rate}\n")
        feed.stdin.flush()
        time.sleep(2)
        print(f"with {args.rate:g} changes/s for {args.seconds / 2:.0f} s: {spent(daemon, args.seconds / 2)}")
        feed.stdin.close()
        print(f"  {memory_text(pid)}")
        daemon.stop()
        daemon.purge()


if __name__ == "__main__":
    main()

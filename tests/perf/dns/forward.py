#!/usr/bin/env python3
"""Forwarding with a silent upstream: loadstar beside dnsmasq --all-servers, dnsdist and unbound, in one run.

Three upstreams on 127.0.1.1-3 answer after 1 ms. Unique names are asked at a steady rate (default 200 and 5000 a second). Printed for
each, medians of the rounds: p50, p90, p99, max (of all rounds), the ratio of its p99 to that of a direct question to an upstream in the
same round, wrong and lost questions, datagrams the kernel dropped for want of room, CPU per question.
  all       all three answer
  silent    one is silent from before the forwarder starts
  going     one goes silent in the middle
Generator and upstreams run on CPU 0, the forwarder on CPU 1; where the machine allows it all of them with real-time priority, so
that other work on the machine does not come in between (--no-fifo: without). Everything is on loopback; every process is ended
by its id. Programs that are not installed are left out.
Usage: forward.py [--build DIR] [--seconds 2] [--rates 200,5000] [--rounds 5] [--only loadstar,...] [--cases all,silent,going] [--check]
--check: exit code 1 when loadstar loses a question or its p99 with a silent upstream is above 1.3 times the direct one.
"""
import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

UPSTREAMS = [f"127.0.1.{i}" for i in (1, 2, 3)]
PORT = 5399
LISTEN = {"loadstar": 5401, "dnsmasq": 5402, "dnsdist": 5403, "unbound": 5404}


FIFO = ["chrt", "-f", "10"]


class Upstream:
    def __init__(self, tools, address):
        self.process = subprocess.Popen(tools["fifo"] + [tools["upstream"], "--listen", f"{address}:{PORT}", "--delay-us", "1000", "--cpu", "0"],
                                        stdout=subprocess.PIPE, text=True)
        if not self.process.stdout.readline().startswith("ready"):
            raise RuntimeError(f"upstream {address} did not start")

    def silent(self):
        self.process.send_signal(signal.SIGUSR1)

    def end(self):
        self.process.terminate()
        self.process.communicate(timeout=5)


def ran_us(pid):
    """Scheduler run time of a process's threads, microseconds."""
    return sum(int((t / "schedstat").read_text().split()[0]) for t in Path(f"/proc/{pid}/task").iterdir()) / 1e3


def dropped():
    """Datagrams that found a full receive or send buffer, of the machine."""
    names, values = [line.split()[1:] for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Udp:")]
    counts = dict(zip(names, map(int, values)))
    return counts["RcvbufErrors"] + counts["SndbufErrors"]


def command(name, tools, folder):
    """The command line of a forwarder in front of UPSTREAMS, caching nothing that matters: names are unique."""
    port = LISTEN[name]
    if name == "loadstar":
        out = [tools["server"], "--listen", f"127.0.0.1:{port}", "--resolver", "--workers", "1"]
        for u in UPSTREAMS:
            out += ["--forward", f"{u}:{PORT}"]
        return out
    if name == "dnsmasq":
        return [shutil.which("dnsmasq", path=tools["path"]), "--keep-in-foreground", "--no-resolv", "--no-hosts", "--all-servers", "--listen-address=127.0.0.1",
                "--bind-interfaces", f"--port={port}", "--cache-size=0", "--dns-forward-max=5000", "--conf-file=/dev/null", "--pid-file",
                "--user=root"] + [f"--server={u}#{PORT}" for u in UPSTREAMS]
    if name == "dnsdist":
        conf = folder / "dnsdist.conf"
        servers = "".join(f'newServer({{address="{u}:{PORT}"}})\n' for u in UPSTREAMS)
        conf.write_text(f'setLocal("127.0.0.1:{port}")\nsetSecurityPollSuffix("")\n{servers}')
        return [shutil.which("dnsdist", path=tools["path"]), "--supervised", "-C", str(conf)]
    conf = folder / "unbound.conf"
    forwards = "".join(f"  forward-addr: {u}@{PORT}\n" for u in UPSTREAMS)
    conf.write_text(f"""server:
  interface: 127.0.0.1
  port: {port}
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  do-not-query-localhost: no
  num-threads: 1
  module-config: "iterator"
  num-queries-per-thread: 4096
  outgoing-range: 8192
  access-control: 127.0.0.0/8 allow
forward-zone:
  name: "."
{forwards}""")
    return [shutil.which("unbound", path=tools["path"]), "-c", str(conf)]


def load(tools, address, port, rate, seconds, prefix):
    return subprocess.Popen(tools["fifo"] + [tools["load"], address, str(port), str(rate), str(seconds), prefix, "0"], stdout=subprocess.PIPE, text=True)


def run_case(name, case, rate, seconds, tools, stamp):
    upstreams = [Upstream(tools, a) for a in UPSTREAMS]
    server = None
    with tempfile.TemporaryDirectory() as folder:
        try:
            if case == "silent":
                upstreams[0].silent()
            if name != "direct":
                server = subprocess.Popen(tools["fifo"] + ["taskset", "-c", "1"] + command(name, tools, Path(folder)),
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(1)
                if server.poll() is not None:
                    raise RuntimeError(f"{name} ended with {server.returncode}")
                # A few questions first, as in any life of a forwarder that is longer than a test.
                warm = load(tools, "127.0.0.1", LISTEN[name], 100, 1, f"w{stamp}")
                warm.communicate()
            where = (UPSTREAMS[2], PORT) if name == "direct" else ("127.0.0.1", LISTEN[name])
            before = ran_us(server.pid) if server else 0
            drops = dropped()
            client = load(tools, *where, rate, seconds, f"q{stamp}")
            if case == "going" and name != "direct":
                time.sleep(seconds / 2)
                upstreams[0].silent()
            result = json.loads(client.communicate()[0])
            result["drops"] = dropped() - drops
            if server:
                result["cpu_us"] = (ran_us(server.pid) - before) / result["asked"]
            return result
        finally:
            if server and server.poll() is None:
                server.terminate()
                try:
                    server.wait(5)
                except subprocess.TimeoutExpired:
                    server.kill()
                    server.wait()
            for u in upstreams:
                u.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rates", default="200,5000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="loadstar,dnsmasq,dnsdist,unbound")
    parser.add_argument("--cases", default="all,silent,going")
    parser.add_argument("--no-fifo", action="store_true")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    build = Path(args.build)
    may = not args.no_fifo and shutil.which("chrt") and subprocess.run(FIFO + ["true"], stderr=subprocess.DEVNULL, check=False).returncode == 0
    tools = {"upstream": str(build / "tests/tools/dns-upstream"), "load": str(build / "tests/perf/ls-dns-forward-load"),
             "server": str(build / "tests/tools/ls-dns-server"), "path": os.environ.get("PATH", "") + ":/usr/sbin:/sbin",
             "fifo": FIFO if may else []}
    names = [n for n in args.only.split(",") if n == "loadstar" or shutil.which(n, path=tools["path"])]
    failed = False
    print(f"real-time priority: {'yes' if may else 'no'}, load average {os.getloadavg()[0]:.1f}, rounds {args.rounds} x {args.seconds:g} s")
    print(f"{'rate':>5} {'case':7} {'who':9} {'p50':>7} {'p90':>7} {'p99':>9} {'max':>9} {'ratio':>6} {'least':>6} {'most':>6} {'wrong':>5} {'lost':>5} "
          f"{'drops':>5} {'late99':>6} {'cpu us':>6}")
    for rate in [int(r) for r in args.rates.split(",")]:
        for case in args.cases.split(","):
            rows = {n: [] for n in ["direct"] + names}
            for round_number in range(args.rounds):
                for name in rows:
                    rows[name].append(run_case(name, case, rate, args.seconds, tools, f"{rate}{case[0]}{round_number}"))
            for name, results in rows.items():
                middle = lambda key: statistics.median(r.get(key, 0) for r in results)
                total = lambda key: sum(r[key] for r in results)
                ratios = [r["p99"] / d["p99"] for r, d in zip(results, rows["direct"])]
                ratio = statistics.median(ratios)
                print(f"{rate:5} {case:7} {name:9} {middle('p50'):7.2f} {middle('p90'):7.2f} {middle('p99'):9.2f} {max(r['max'] for r in results):9.1f} "
                      f"{ratio:6.2f} {min(ratios):6.2f} {max(ratios):6.2f} {total('wrong'):5} {total('lost'):5} {total('drops'):5} {middle('late99'):6.2f} "
                      f"{middle('cpu_us'):6.1f}", flush=True)
                failed = failed or (name == "loadstar" and ((case != "all" and ratio > 1.3) or total("lost") or total("wrong")))
    return 1 if args.check and failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Forwarding with a silent upstream: loadstar beside dnsmasq --all-servers, dnsdist and unbound, in one run.

Three upstreams on 127.0.1.1-3 answer after 1 ms. Unique names are asked at a steady rate (default 200 and 5000 a second). Printed for
each: p50, p99, the ratio of its p99 to that of a direct question to an upstream in the same round, wrong and lost questions.
  all       all three answer
  silent    one is silent from before the forwarder starts
  going     one goes silent in the middle
Everything is on loopback; every process is ended by its id. Programs that are not installed are left out.
Usage: forward.py [--build DIR] [--seconds 8] [--rates 200,5000] [--rounds 1] [--only loadstar,...] [--check]
--check: exit code 1 when loadstar loses a question or its p99 is above 1.3 times the direct one.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

UPSTREAMS = [f"127.0.1.{i}" for i in (1, 2, 3)]
PORT = 5399
LISTEN = {"loadstar": 5401, "dnsmasq": 5402, "dnsdist": 5403, "unbound": 5404}


class Upstream:
    def __init__(self, tools, address):
        self.process = subprocess.Popen([tools["upstream"], address, str(PORT), "delay 1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not self.process.stdout.readline().startswith("ready"):
            raise RuntimeError(f"upstream {address} did not start")

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.stdin.close()
        self.process.wait(5)


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
    return subprocess.Popen([tools["load"], address, str(port), str(rate), str(seconds), prefix], stdout=subprocess.PIPE, text=True)


def run_case(name, case, rate, seconds, tools, stamp):
    upstreams = [Upstream(tools, a) for a in UPSTREAMS]
    server = None
    with tempfile.TemporaryDirectory() as folder:
        try:
            if case == "silent":
                upstreams[0].say("silent")
            if name != "direct":
                server = subprocess.Popen(command(name, tools, Path(folder)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(1.5)
                if server.poll() is not None:
                    raise RuntimeError(f"{name} ended with {server.returncode}")
                # A few questions first, as in any life of a forwarder that is longer than a test.
                warm = load(tools, "127.0.0.1", LISTEN[name], 50, 2, f"w{stamp}")
                warm.communicate()
            where = (UPSTREAMS[2], PORT) if name == "direct" else ("127.0.0.1", LISTEN[name])
            client = load(tools, *where, rate, seconds, f"q{stamp}")
            if case == "going" and name != "direct":
                time.sleep(seconds / 2)
                upstreams[0].say("silent")
            result = json.loads(client.communicate()[0])
            if server:
                usage = Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()
                result["cpu_us"] = (int(usage[11]) + int(usage[12])) / os.sysconf("SC_CLK_TCK") * 1e6 / (result["asked"] + 100)
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
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rates", default="200,5000")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="loadstar,dnsmasq,dnsdist,unbound")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    build = Path(args.build)
    tools = {"upstream": str(build / "tests/support/ls-dns-upstream"), "load": str(build / "tests/perf/ls-dns-forward-load"),
             "server": str(build / "tests/tools/ls-dns-server"), "path": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    names = [n for n in args.only.split(",") if n == "loadstar" or shutil.which(n, path=tools["path"])]
    failed = False
    print(f"{'rate':>5} {'case':7} {'who':9} {'p50':>7} {'p99':>9} {'max':>9} {'ratio':>6} {'wrong':>5} {'lost':>5} {'cpu us':>6}")
    for rate in [int(r) for r in args.rates.split(",")]:
        for case in ("all", "silent", "going"):
            rows = {n: [] for n in ["direct"] + names}
            for round_number in range(args.rounds):
                for name in rows:
                    rows[name].append(run_case(name, case, rate, args.seconds, tools, f"{rate}{case[0]}{round_number}"))
            middle = lambda name, key: statistics.median(r.get(key, 0) for r in rows[name])
            direct = middle("direct", "p99")
            for name, results in rows.items():
                ratio = middle(name, "p99") / direct
                wrong, lost = sum(r["wrong"] for r in results), sum(r["lost"] for r in results)
                print(f"{rate:5} {case:7} {name:9} {middle(name, 'p50'):7.2f} {middle(name, 'p99'):9.2f} {max(r['max'] for r in results):9.1f} "
                      f"{ratio:6.2f} {wrong:5} {lost:5} {middle(name, 'cpu_us'):6.1f}", flush=True)
                failed = failed or (name == "loadstar" and (ratio > 1.3 or lost or wrong))
    return 1 if args.check and failed else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""Other people's DNS servers, to compare with and to forward to: Knot, unbound, dnsdist, dnsmasq. Each runs in the
foreground with one worker and a configuration of its own in a folder of the run; nothing of the machine's is read.

    knot = Knot(place, "10.10.0.11", 5301, zones={"perf.example": lines_of_zone_text})
    knot.start()                  # and waits until it answers
    knot.cpu_ns()                 # scheduler run time of all its threads so far

Records are lines of zone text with full names: `web1.perf.example. 60 A 10.0.0.1`."""
import os
import shutil
import signal
import subprocess

from . import dns
from .lab import wait_until


class Missing(RuntimeError):
    """The program is not installed."""


def process_cpu_ns(pid):
    """Scheduler run time of a process: its living threads'."""
    total = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return total


def pin(pid, cpu):
    """Every thread of a process onto one CPU, whatever it chose itself."""
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), {cpu})


class Peer:
    program = ""

    def __init__(self, place, address, port, name=None):
        found = shutil.which(self.program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if not found:
            raise Missing(f"{self.program} is not installed")
        self.place, self.address, self.port = place, address, port
        self.path = found
        self.name = name or type(self).__name__.lower()
        self.dir = os.path.join(place.lab.dir, f"{self.name}-{port}")
        os.makedirs(self.dir, exist_ok=True)
        self.process = None

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def argv(self):
        raise NotImplementedError

    def start(self, probe=("ready.test", "A"), seconds=20):
        """Starts it and waits until it answers `probe`, whatever the answer is."""
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.process = self.place.spawn(self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def answers():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.log_tail()}")
            try:
                with dns.Client(self.place, self.address, self.port) as c:
                    return c.ask(*probe, timeout=0.3, tries=1)
            except (TimeoutError, OSError):
                return None
        wait_until(answers, seconds, f"{self.name} answers")
        return self

    def pin(self, cpu):
        pin(self.process.pid, cpu)

    def cpu_ns(self):
        return process_cpu_ns(self.process.pid)

    def stop(self, sig=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process in self.place.lab.processes:
            self.place.lab.processes.remove(self.process)

    def log_tail(self, lines=12):
        with open(os.path.join(self.dir, "log"), errors="replace") as f:
            return "".join(f.readlines()[-lines:])


class Knot(Peer):
    """Authoritative."""

    program = "knotd"

    def __init__(self, place, address, port, zones, name=None):
        super().__init__(place, address, port, name)
        text = (f'server:\n  rundir: "{self.dir}"\n  listen: {address}@{port}\n  udp-workers: 1\n  tcp-workers: 1\n'
                f'  background-workers: 1\n  tcp-max-clients: 1000\ndatabase:\n  storage: "{self.dir}/db"\n'
                f'log:\n  - target: stdout\n    any: warning\nzone:\n')
        for number, (zone, lines) in enumerate(zones.items()):
            soa = [] if any(" SOA " in line for line in lines) else [
                f"{zone}. 60 SOA ns1.{zone}. root.{zone}. 1 60 60 86400 30", f"{zone}. 60 NS ns1.{zone}.", f"ns1.{zone}. 60 A {address}"]
            path = self.file(f"zone{number}", "\n".join([*soa, *lines, ""]))
            text += f'  - domain: {zone}.\n    file: "{path}"\n    journal-content: none\n    zonefile-sync: -1\n    semantic-checks: off\n'
        self.config = self.file("knot.conf", text)

    def argv(self):
        return [self.path, "-c", self.config]


class Unbound(Peer):
    """With `records` it answers them itself; `forward` ({zone: [(address, port)]}, zone "." for all) are asked and cached."""

    program = "unbound"

    def __init__(self, place, address, port, records=(), forward=None, zone="perf.example", options=(), name=None):
        super().__init__(place, address, port, name)
        lines = [f"  local-data: '{line}'" for line in records]
        if records:
            lines.insert(0, f"  local-zone: \"{zone}.\" static")
        forwards = "".join(f'forward-zone:\n  name: "{z}"\n' + "".join(f"  forward-addr: {a}@{p}\n" for a, p in servers)
                           for z, servers in (forward or {}).items())
        self.config = self.file("unbound.conf", "server:\n" + "\n".join([
            f'  directory: "{self.dir}"', '  username: ""', '  chroot: ""', '  pidfile: ""', "  use-syslog: no", '  logfile: ""',
            "  verbosity: 0", "  num-threads: 1", f"  interface: {address}@{port}", "  access-control: 0.0.0.0/0 allow",
            "  access-control: ::/0 allow", "  do-daemonize: no", '  module-config: "iterator"', "  do-not-query-localhost: no",
            "  prefer-ip6: no", "  msg-cache-size: 64m", "  rrset-cache-size: 128m", "  so-reuseport: no", "  minimal-responses: no",
            *[f"  {o}" for o in options], *lines, ""]) + "remote-control:\n  control-enable: no\n" + forwards)

    def argv(self):
        return [self.path, "-d", "-p", "-c", self.config]


class Dnsdist(Peer):
    """A packet cache before `backends` ([(address, port)]); policy leastOutstanding."""

    program = "dnsdist"

    def __init__(self, place, address, port, backends, cache=40000, checks=True, name=None):
        super().__init__(place, address, port, name)
        servers = "".join(f'newServer({{address="{a}:{p}", sockets=1, healthCheckMode="{"auto" if checks else "up"}"}})\n'
                          for a, p in backends)
        cached = f"pc = newPacketCache({cache}, {{maxTTL=86400}})\ngetPool(''):setCache(pc)\n" if cache else ""
        self.config = self.file("dnsdist.conf", f'setLocal("{address}:{port}")\nsetACL({{"0.0.0.0/0", "::/0"}})\n'
                                f"setServerPolicy(leastOutstanding)\nsetSecurityPollSuffix('')\n{cached}{servers}")

    def argv(self):
        return [self.path, "--supervised", "--disable-syslog", "-C", self.config]


class Dnsmasq(Peer):
    """`hosts` ({name: address}) as a hosts file, `srv` as (name, target, port); `servers` are asked and cached."""

    program = "dnsmasq"

    def __init__(self, place, address, port, hosts=None, srv=(), servers=(), all_servers=False, name=None):
        super().__init__(place, address, port, name)
        lines = ["no-resolv", "no-hosts", "no-poll", "keep-in-foreground", "log-facility=-", "user=root", "group=root", "pid-file=",
                 f"listen-address={address}", "bind-interfaces", f"port={port}", "cache-size=" + ("150" if hosts else "20000"), "dns-forward-max=10000",
                 "local-ttl=60"]
        if hosts:
            lines.append("addn-hosts=" + self.file("hosts", "".join(f"{a} {n}\n" for n, a in hosts.items())))
        lines += [f"srv-host={n},{target},{p}" for n, target, p in srv]
        lines += [f"server={a}#{p}" for a, p in servers]
        if all_servers:
            lines.append("all-servers")
        self.config = self.file("dnsmasq.conf", "\n".join(lines) + "\n")

    def argv(self):
        return [self.path, "-C", self.config]

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Names end to end: an agent's resolver on n1, an authority on n2, a Mesos master that says what it is told, an upstream in
the fabric. A task's names within a second of its start, virtual IPs by name, registrations, transfers; and what must not
harm anybody's names: the daemon killed under load, a leader that knows nothing yet, a zone that changes all the time, a
port that somebody else has."""
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Daemon, Lab, Report, Skip, arguments, dns, dns_peers, expect, find_binary, state, wait_until  # noqa: E402
from mesos import MASTERS, Standin  # noqa: E402

RESOLVERS = ["198.51.100.1", "198.51.100.2", "198.51.100.3", "fd01:d::c633:6401"]
R = RESOLVERS[0]
UPSTREAM = "10.10.0.254"
AUTHORITY, AUTHORITY_PORT = "10.10.0.12", 61053
FOLLOWED = "10.10.0.12:62080"  # where the agent learns what was registered at the master
PATIENCE_S = 10.0  # until a change that never comes is a failure
LOAD_QPS = 2000
GIVE_UP_S = 6
STABLE = [f"s{i}" for i in range(20)]
MARATHON = state.FRAMEWORK_NAME
BIG = "big.up.example"


def upstream_zone():
    yield "www.up.example. 300 A 192.0.2.10"
    yield "www.up.example. 300 AAAA 2001:db8::10"
    yield "alias.up.example. 300 CNAME www.up.example."
    for i in range(30):
        yield f'{BIG}. 300 TXT "{i:02d} {"x" * 200}"'


class Scene:
    def __init__(self, lab):
        self.lab = lab
        self.n1, self.n2 = lab.node(1), lab.node(2)
        self.client = self.n1.routed("cl")
        self.web = self.n2.routed("web")
        self.web.echo("web", 8080)
        lab.fabric.ip(*[f"addr add {m}/24 dev fab" for m in MASTERS])
        self.mesos = Standin(lab, "mesos", 5050)
        self.mesos.say("heartbeat 1s", "agent add A1 10.10.0.11", "agent add A2 10.10.0.12", f"framework add F1 {MARATHON}",
                       *[self.stable_task(i, n) for i, n in enumerate(STABLE)])
        self.upstream = dns_peers.Knot(lab.fabric, UPSTREAM, 53, {"up.example": list(upstream_zone())})
        self.upstream.start(("www.up.example", "A"))
        self.agent = self.make_agent()
        self.authority = Daemon(self.n2, {"mesos": self.mesos.masters}, sock=False, tc=False, settings={
            "node.roles": ["master"], "authority.enabled": True, "authority.listen": [f"{AUTHORITY}:{AUTHORITY_PORT}"],
            "authority.http_listen": [f"{AUTHORITY}:8123"], "authority.transfer": [f"{self.n1.address[4]}/32"], "dns.workers": 1,
            "api.listen": [FOLLOWED], "mesos.reregister_timeout": f"{GIVE_UP_S}s"})

    def make_agent(self, **more):
        return Daemon(self.n1, {"mesos": self.mesos.masters}, sock=False, tc=True, settings={
            "resolver.enabled": True, "resolver.upstreams": [f"{UPSTREAM}:53"], "resolver.mesos_servers": [f"{AUTHORITY}:{AUTHORITY_PORT}"],
            "registration.follow": [FOLLOWED], "dns.workers": 1, "mesos.reregister_timeout": f"{GIVE_UP_S}s", **{k.replace("__", "."): v for k, v in more.items()}})

    def stable_address(self, i):
        return f"9.0.77.{i + 1}"

    def stable_task(self, i, name):
        return (f"task add {name} F1 A{1 + i % 2} name={name} container=mesos network=dcos ip={self.stable_address(i)} "
                f"port=8080 scope=container vip=/{name}:80")

    def web_task(self, task_id="web.1"):
        return (f"task add {task_id} F1 A2 name=web container=mesos network=dcos ip={self.web.address[4]} port=8080 scope=container vip=/web:80")

    def ask(self, name, rtype="A", server=R, place=None, port=53, **more):
        with dns.Client(place or self.client, server, port) as c:
            return c.ask(name, rtype, **more)

    def data(self, name, rtype="A", **more):
        try:
            return self.ask(name, rtype, timeout=0.5, tries=1, **more).data(rtype)
        except (TimeoutError, OSError):
            return None

    def follows(self, since, name, wanted, **more):
        """Returns how long it took; that is shown and not asserted."""
        wait_until(lambda: self.data(name, **more) == wanted, PATIENCE_S, f"{name} {wanted}, is {self.data(name, **more)}", step=0.005)
        return f"{(time.monotonic() - since) * 1000:.0f} ms"

    # --- load

    def names_file(self):
        """Names that exist all the time, with the only right answer: of the Mesos domain, of dcos, of VIPs, of the upstream."""
        path = os.path.join(self.lab.dir, "stable-names")
        vips = {s["name"]: s["address"] for s in self.agent.get("/v1/services") if ":" not in s["address"] and s["name"]}
        with open(path, "w") as f:
            for i, n in enumerate(STABLE):
                f.write(f"{n}.{MARATHON}.mesos A {self.stable_address(i)}\n")
                f.write(f"{n}.{MARATHON}.autoip.dcos.thisdcos.directory A {self.stable_address(i)}\n")
                f.write(f"{n}.{MARATHON}.l4lb.thisdcos.directory A {vips[f'{n}.{MARATHON}']}\n")
            f.write("www.up.example A 192.0.2.10\n")
        return path

    def load(self, seconds, rate=LOAD_QPS, timeout=1):
        return self.client.spawn([self.lab.tool("dns-generate"), "--to", f"{R}:53", "--names", self.names_file(), "--seconds", seconds,
                                  "--rate", rate, "--window", 4096, "--timeout", timeout], stdout=subprocess.PIPE, text=True)

    @staticmethod
    def result(load):
        out, _ = load.communicate(timeout=60)
        expect(load.returncode == 0, f"dns-generate ended with {load.returncode}")
        return json.loads(out)

    def unharmed(self, r):
        expect(r["wrong"] == 0, lambda: f"{r['wrong']} wrong answers, first: {r['first_wrong']}")
        expect(r["lost"] == 0 and set(r["rcodes"]) == {"0"}, lambda: f"{r['lost']} of {r['sent']} lost, rcodes {r['rcodes']}")
        return f"{r['answers']} answers, p99 {r['p99_us'] / 1000:.1f} ms"

    def authority_says(self):
        try:
            return self.ask("nothing.mesos", server=AUTHORITY, port=AUTHORITY_PORT)
        except OSError:
            return None

    # --- checks

    def before_any_state(self):
        """No leader is there yet: what depends on the cluster is not known, which is not the same as not there."""
        self.mesos.say("leader none")
        self.agent.launch()
        self.authority.launch()
        wait_until(lambda: self.data("ready.spartan") == ["127.0.0.1"], 10, "the resolver")
        for name in (f"s0.{MARATHON}.autoip.dcos.thisdcos.directory", f"s0.{MARATHON}.l4lb.thisdcos.directory", f"s0.{MARATHON}.mesos"):
            m = self.ask(name, timeout=8)
            expect(m.rcode == "SERVFAIL", f"{name}: {m}")
        wait_until(lambda: self.data("ready.spartan", server=R) is not None, 5, "answers")
        m = wait_until(self.authority_says, 5, "the authority")
        expect(m.rcode == "SERVFAIL", f"the authority says {m}")
        expect(self.ask("www.up.example", timeout=5).data("A") == ["192.0.2.10"], "forwarding waits for the cluster")
        begin = self.mesos.say("leader 1")
        wait_until(lambda: self.data(f"s0.{MARATHON}.mesos") == [self.stable_address(0)], 15, "names of the cluster")
        wait_until(lambda: self.agent.get("/v1/status")["ready"] and self.authority.get("/v1/status")["ready"], 15, "ready")
        return f"names {time.monotonic() - begin:.2f} s after the election"

    def addresses(self):
        info = json.loads(self.n1.run(["ip", "-j", "addr", "show", "dev", "spartan"]))[0]
        there = {a["local"] for a in info["addr_info"]}
        expect(set(RESOLVERS) <= there, f"spartan has {sorted(there)}")
        for server in RESOLVERS:
            for place in (self.client, self.n1):
                for tcp in (False, True):
                    m = self.ask("ready.spartan", server=server, place=place, tcp=tcp)
                    expect(m.data("A") == ["127.0.0.1"], f"{server} {'TCP' if tcp else 'UDP'} from {place.name}: {m}")

    def start_task(self):
        begin = self.mesos.say(self.web_task())
        took = [self.follows(begin, f"web.{MARATHON}.mesos", [self.web.address[4]]),
                self.follows(begin, f"web.{MARATHON}.autoip.dcos.thisdcos.directory", [self.web.address[4]]),
                self.follows(begin, f"web.{MARATHON}.mesos", [self.web.address[4]], server=AUTHORITY, port=AUTHORITY_PORT)]
        srv = self.ask(f"_web._tcp.{MARATHON}.mesos", "SRV").data("SRV")
        expect(len(srv) == 1 and " 8080 web-" in srv[0], f"SRV {srv}")
        return ", ".join(took)

    def vip_by_name(self):
        vip = self.agent.service(f"web.{MARATHON}", 80, "tcp", 4)["address"]
        names = [f"web.{MARATHON}.{s}" for s in ("l4lb.thisdcos.directory", "dclb.thisdcos.directory", "l4lb.thisdcos.global", "dclb.thisdcos.global")]
        for name in names:
            expect(self.data(name) == [vip], f"{name} is {self.data(name)}, not {vip}")
        a = self.client.dial("once", self.data(names[0])[0], 80, count=4)
        expect(all(x["ok"] and x["name"] == "web" for x in a), f"{a[0]}")
        return f"{vip} under {len(names)} names"

    def end_task(self):
        begin = self.mesos.say("task state web.1 TASK_FAILED")
        for name in (f"web.{MARATHON}.mesos", f"web.{MARATHON}.autoip.dcos.thisdcos.directory", f"web.{MARATHON}.l4lb.thisdcos.directory"):
            wait_until(lambda: self.ask(name).rcode == "NXDOMAIN", PATIENCE_S, f"{name} gone")
        took = time.monotonic() - begin
        m = self.ask(f"web.{MARATHON}.mesos")
        expect([r.type for r in m.authority] == ["SOA"], f"{m}")
        return f"{took * 1000:.0f} ms"

    def forwarding(self):
        expect(self.ask("WwW.Up.ExAmPlE").question[0] == "WwW.Up.ExAmPlE.", "spelling not kept")
        m = self.ask("alias.up.example")
        expect([r.type for r in m.answer] == ["CNAME", "A"] and "ra" in m.flags, f"{m}")
        m = self.ask("nothing.up.example")
        expect(m.rcode == "NXDOMAIN" and [r.type for r in m.authority] == ["SOA"], f"{m}")
        m = self.ask("www.up.example", "TXT")
        expect(m.rcode == "NOERROR" and not m.answer, f"{m}")
        m = self.ask(BIG, "TXT")
        expect("tc" in m.flags and m.size <= 512, f"{m.size} octets, flags {m.flags}")
        m = self.ask(BIG, "TXT", tcp=True)
        expect(len(m.answer) == 30 and "tc" not in m.flags, f"{len(m.answer)} records over TCP")

    def internal_stays(self):
        """The bare parents and names of foreign clusters are answered here, whoever asks."""
        self.lab.fabric.count_packets("dns", "udp dport 53")
        for name in ("thisdcos.directory", "x.thisdcos.directory", "thisdcos.global", "dcos.directory", "x.dcos.directory", "nothing.spartan", "x.localhost", "zk-9.zk"):
            m = self.ask(name)
            expect(m.rcode in ("NXDOMAIN", "NOERROR", "REFUSED") and not m.answer, f"{name}: {m}")
        expect(self.lab.fabric.packets("dns") == 0, "a name of ours went upstream")

    def registration(self):
        zone, path = "reg.thisdcos.directory", "/v1/zones/reg.thisdcos.directory/records/db/A"
        begin = time.monotonic()
        status, headers, body = self.authority.call("PUT", path, {"data": ["10.7.7.7"], "ttl": 5})
        expect(status in (200, 201), f"PUT: {status} {body}")
        took = self.follows(begin, f"db.{zone}", ["10.7.7.7"])
        etag = {k.lower(): v for k, v in headers.items()}.get("etag")
        expect(etag, f"no ETag in {headers}")
        status, _, body = self.authority.call("PUT", path, {"data": ["10.7.7.8"]}, {"If-Match": '"999999"'})
        expect(status == 412, f"another version was not refused: {status} {body}")
        status, _, _ = self.authority.call("PUT", path, {"data": ["10.7.7.8", "10.7.7.9"]}, {"If-Match": etag})
        expect(status in (200, 201), f"the right version was refused: {status}")
        wait_until(lambda: self.data(f"db.{zone}") == ["10.7.7.8", "10.7.7.9"], 2, "the change")
        status, _, body = self.authority.call("PUT", path, {"data": ["not an address"]})
        expect(status == 400, f"nonsense: {status} {body}")
        status, _, body = self.authority.call("PUT", "/v1/zones/example.com/records/db/A", {"data": ["10.7.7.7"]})
        expect(400 <= status < 500, f"a zone that is not below thisdcos.directory: {status} {body}")
        return took

    def registration_survives(self):
        for daemon in (self.agent, self.authority):
            daemon.stop(signal.SIGKILL)
        for daemon in (self.authority, self.agent):
            daemon.start()
        wait_until(lambda: self.data("db.reg.thisdcos.directory") == ["10.7.7.8", "10.7.7.9"], 5, "what was registered, after a restart")
        status, _, body = self.authority.call("DELETE", "/v1/zones/reg.thisdcos.directory/records/db/A")
        expect(status in (200, 204), f"DELETE: {status} {body}")
        wait_until(lambda: self.ask("db.reg.thisdcos.directory").rcode == "NXDOMAIN", 2, "gone")

    def lease(self):
        begin = time.monotonic()
        status, _, body = self.authority.call("PUT", "/v1/zones/reg.thisdcos.directory/records/brief/A", {"data": ["10.7.7.1"], "lease": "2s"})
        expect(status in (200, 201), f"PUT: {status} {body}")
        wait_until(lambda: self.data("brief.reg.thisdcos.directory") == ["10.7.7.1"], 1, "it")
        wait_until(lambda: self.ask("brief.reg.thisdcos.directory").rcode == "NXDOMAIN", PATIENCE_S, "its end")
        # The lease began after `begin`, so a slow machine cannot make this less.
        took = time.monotonic() - begin
        expect(took >= 2, f"gone after {took:.1f} s already")
        return f"gone after {took:.1f} s"

    def transfer(self):
        with dns.Client(self.n1, AUTHORITY, AUTHORITY_PORT) as c:
            records = c.transfer("mesos")
        expect(not isinstance(records, str) and records[0].type == records[-1].type == "SOA", f"allowed address: {records if isinstance(records, str) else len(records)}")
        expect(any(r.name == f"s0.{MARATHON}.mesos." and r.data == self.stable_address(0) for r in records), "s0 is not in it")
        with dns.Client(self.client, AUTHORITY, AUTHORITY_PORT) as c:
            refused = c.transfer("mesos")
        expect(refused == "REFUSED", f"another address got {refused if isinstance(refused, str) else len(refused)}")
        with dns.Client(self.n1, AUTHORITY, AUTHORITY_PORT) as c:
            m = c.ask("mesos", "AXFR")
        expect(not m.answer and m.rcode in ("REFUSED", "FORMERR", "NOTIMP"), f"over UDP: {m}")
        return f"{len(records)} records"

    def changes(self):
        """Tasks come and go 50 times a second; nobody else's names notice, and all of it arrives."""
        load = self.load(6)
        begin, n = time.monotonic(), 0
        while n < 250:
            # Half of them touch the very names that are asked, as further tasks of the same name.
            name = STABLE[n // 2 % len(STABLE)] + "-other" if n // 2 % 2 else f"c{n // 2}"
            self.mesos.say(f"task add x{n // 2}.1 F1 A1 name={name} container=mesos network=dcos ip=9.0.78.{n // 2 % 250 + 1} port=8080 scope=container"
                           if n % 2 == 0 else f"task state x{n // 2}.1 TASK_FINISHED")
            n += 1
            time.sleep(max(0, begin + n / 50 - time.monotonic()))
        rate = n / (time.monotonic() - begin)
        said = self.unharmed(self.result(load))
        last = (n - 1) // 2
        if n % 2:
            self.mesos.say(f"task state x{last}.1 TASK_FINISHED")
        wait_until(lambda: self.ask(f"c{last}.{MARATHON}.mesos").rcode == "NXDOMAIN", PATIENCE_S, "the last change")
        return f"{rate:.0f} changes/s, {said}"

    def leader_change(self):
        """A new leader that knows no agent yet: every name stays, on both servers."""
        load = self.load(5)
        self.mesos.say("failover 2 every=500ms")
        said = self.unharmed(self.result(load))
        self.mesos.say("wait settled 5s")
        m = self.ask(f"s1.{MARATHON}.mesos", server=AUTHORITY, port=AUTHORITY_PORT)
        expect(m.data("A") == [self.stable_address(1)], f"authority: {m}")
        leader = wait_until(lambda: self.data("leader.mesos") == [MASTERS[1]] and MASTERS[1], 5, "leader.mesos")
        return f"{said}; leader.mesos is {leader}"

    def killed(self):
        """SIGKILL under load, a new daemon at once: silence while nobody listens, never a wrong answer, all again soon."""
        load = self.load(8, timeout=0.5)
        time.sleep(2)
        self.agent.stop(signal.SIGKILL)
        ready = self.agent.start()
        r = self.result(load)
        expect(r["wrong"] == 0, lambda: f"{r['wrong']} wrong answers, first: {r['first_wrong']}")
        expect("3" not in r["rcodes"], f"NXDOMAIN for names that exist: {r['rcodes']}")
        bad = r["lost"] + sum(n for code, n in r["rcodes"].items() if code != "0")
        # Whoever asks from now on gets everything.
        self.unharmed(self.result(self.load(2)))
        return f"ready {ready * 1000:.0f} ms after its start, {bad / LOAD_QPS:.2f} s of answers missing, rcodes {r['rcodes']}"

    def port_taken(self):
        """Somebody has port 53 of one address: the others serve, it is shown, and it is taken when it is free."""
        self.agent.stop()
        held = dns.socket_in(self.n1, socket.AF_INET, socket.SOCK_DGRAM)
        try:
            held.setsockopt(socket.SOL_IP, 15, 1)  # IP_FREEBIND: the device may not be there
            held.bind((RESOLVERS[1], 53))
            self.agent.start()
            for server in (RESOLVERS[0], RESOLVERS[2], RESOLVERS[3]):
                expect(self.data("ready.spartan", server=server) == ["127.0.0.1"], f"{server} does not answer")
            listeners = [x for x in self.agent.get("/v1/dns")["listeners"] if RESOLVERS[1] in json.dumps(x)]
            expect("use" in json.dumps(listeners), f"not shown: {listeners}")
        finally:
            held.close()
        begin = time.monotonic()
        wait_until(lambda: self.data("ready.spartan", server=RESOLVERS[1]) == ["127.0.0.1"], 5, "the freed port taken")
        return f"taken {time.monotonic() - begin:.1f} s after it was free"

    def answered_here(self):
        """Without mesos_servers the agent answers for the Mesos domain out of its own state."""
        self.agent.stop()
        self.agent = self.make_agent(resolver__mesos_servers=[])
        self.agent.start()
        self.lab.fabric.count_packets("auth", f"udp dport {AUTHORITY_PORT}")
        m = self.ask(f"s0.{MARATHON}.mesos")
        expect(m.data("A") == [self.stable_address(0)] and "aa" in m.flags, f"{m}")
        expect(self.lab.fabric.packets("auth") == 0, "the authority was asked")
        m = self.ask(f"s0.{MARATHON}.mesos.thisdcos.directory")
        expect(m.data("A") == [self.stable_address(0)], f"{m}")

    def watchdog(self):
        try:
            program = find_binary("loadstar-watchdog")
        except FileNotFoundError as e:
            raise Skip(e) from None
        path = os.path.join(self.lab.dir, "resolv.conf")
        with open(path, "w") as f:
            f.write("nameserver 10.99.99.99\n")
        with open(self.agent.config) as f:
            text = f.read()
        config = os.path.join(self.lab.dir, "watchdog.toml")
        with open(config, "w") as f:
            f.write(text + f'\n[watchdog]\nresolv_conf = "{path}"\ninterval = "1s"\ntimeout = "500ms"\nrestart = false\n')

        def servers():
            with open(path) as f:
                return [line.split()[1] for line in f.read().splitlines() if line.startswith("nameserver ")]
        log = open(os.path.join(self.lab.dir, "watchdog.log"), "w")  # noqa: SIM115
        p = self.n1.spawn([program, "--config", config, "--before", path + ".before", "--state", path + ".state"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        seen, stop = [], threading.Event()

        def watch():
            while not stop.is_set():
                seen.append(servers())
                time.sleep(0.005)
        reader = threading.Thread(target=watch)
        try:
            wait_until(lambda: servers() == RESOLVERS[:3], 10, f"resolv.conf, has {servers()}")
            reader.start()
            self.agent.stop(signal.SIGKILL)
            begin = time.monotonic()
            wait_until(lambda: UPSTREAM in servers(), 10, f"the upstream in resolv.conf, has {servers()}")
            took = time.monotonic() - begin
            self.agent.start()
            wait_until(lambda: servers() == RESOLVERS[:3], 10, f"ours again, has {servers()}")
            expect(all(seen), "resolv.conf was empty at a moment")
        finally:
            stop.set()
            if reader.is_alive():
                reader.join()
            p.terminate()
            p.wait(5)
            log.close()
        return f"dead daemon: {took:.1f} s to the upstream"


def main():
    args = arguments(__doc__)
    try:
        for tool in ("dns-generate", "ls-mesos-standin"):
            find_binary(tool, args.tools)
    except FileNotFoundError as e:
        print(f"skipped: {e}")
        return 77
    report = Report()
    with Lab(nodes=2, tools=args.tools) as lab:
        try:
            s = Scene(lab)
        except dns_peers.Missing as e:
            print(f"skipped: {e}")
            return 77
        report.run("before any state", s.before_any_state)
        if report.failed:
            print(s.agent.log_tail(20), s.authority.log_tail(20))
            return report.close()
        for name, check in (("addresses", s.addresses), ("task started", s.start_task), ("VIP by name", s.vip_by_name), ("task ended", s.end_task),
                            ("forwarding", s.forwarding), ("internal names stay", s.internal_stays), ("registration", s.registration),
                            ("registration survives", s.registration_survives), ("lease", s.lease), ("transfer", s.transfer),
                            ("zone changes under load", s.changes), ("leader change under load", s.leader_change), ("killed under load", s.killed),
                            ("port taken", s.port_taken), ("answered here", s.answered_here), ("watchdog", s.watchdog)):
            if args.only in name:
                report.run(name, check)
        if report.failed:
            print(s.agent.log_tail(20))
        for d in (s.agent, s.authority):
            if d.process.poll() is None:
                d.stop()
        s.agent.purge()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""DNS answered in the kernel, end to end: which questions never reach the process, from where, in which shape; their checksums
with offloads on and off; forwarded names in demand; access list, rate limit, what an operator sees; addresses that belong to
somebody else; and that purge leaves nothing. dns_kernel_life.py has the daemon's death and changes under load."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Lab, Report, Skip, arguments, dns, expect, find_binary, wait_until  # noqa: E402

from dns_kernel_scene import (L4LB, MARATHON, R4, R6, RESOLVERS, UPSTREAM_TTL, Checksums, Scene, address_of, checksum_errors,  # noqa: E402
                              pass_all_xdp, unharmed)

S0, S1 = f"s0.{MARATHON}.mesos", f"s1.{MARATHON}.mesos"
HOOKS = {"dns_lo": "lo", "dns_port": "r-cl", "dns_bridge": "b-b1", "dns_uplink": "eth0"}
KINDS = ((S0, "A", "NOERROR", 1), (S0, "AAAA", "NOERROR", 1), (f"_s0._tcp.{MARATHON}.mesos", "SRV", "NOERROR", 1),
         (f"s0.{MARATHON}.l4lb.thisdcos.directory", "A", "NOERROR", 1), ("nothing.mesos", "A", "NXDOMAIN", 0), (S0, "SRV", "NOERROR", 0),
         (S0.upper(), "A", "NOERROR", 1), (f"no.{MARATHON}.l4lb.thisdcos.directory", "A", "NXDOMAIN", 0), ("mesos", "SOA", "NOERROR", 1))


class Checks(Scene):
    def places(self):
        return [(self.client, "port"), (self.bridged[0], "port"), (self.bridged[1], "port"), (self.n1, "lo"), (self.n2, "uplink")]

    # --- start

    def start_up(self):
        took = self.start()
        s = self.json("status")
        hooks = {(a["hook"], a["device"]): a for a in s["attachments"] if a["hook"].startswith("dns_")}
        for hook, device in HOOKS.items():
            a = hooks.get((hook, device))
            expect(a and a["state"] == "attached" and a["method"] in ("tcx", "clsact"), f"{hook} on {device}: {a}")
        expect(("dns_xdp", "eth0") not in hooks, "native XDP on a virtual device that drops what it sends")
        expect(not s["warnings"], f"warnings: {s['warnings']}")
        k = self.json("dns", "kernel")
        expect(k["enabled"] and not k["problem"] and k["names"] > 100 and not k["incomplete_zones"] and not k["names_without_room"], f"{k}")
        text = self.cli("dns", "kernel")
        expect("dns kernel" in text and "names" in text, text)
        return f"ready after {took:.1f} s, {k['names']} names in {k['bytes_used']} octets"

    def switched_off(self):
        self.restart(dns__kernel=False)
        try:
            s = self.json("status")
            expect(not [a for a in s["attachments"] if a["hook"].startswith("dns_")], f"attached: {s['attachments']}")
            for place, _ in self.places():
                before = self.agent.metric("loadstar_dns_queries_total")
                expect(self.data(S0, place=place) == [address_of(0)], f"{place.name} got no answer")
                expect(self.agent.metric("loadstar_dns_queries_total") == before + 1, f"{place.name}: the process was not asked")
        finally:
            self.restart()
        self.only_kernel("port", lambda: self.ask(S0), 1)

    # --- who is answered

    def everybody(self, server):
        def one(place, hook):
            def what():
                for name, rtype, rcode, records in KINDS:
                    m = self.ask(name, rtype, server=server, place=place, timeout=2, tries=1)
                    expect(m.rcode == rcode and len(m.answer) == records, f"{place.name}: {name} {rtype}: {m}")
                    expect(m.question[0] == name + ".", f"spelling not kept: {m.question}")
            self.only_kernel(hook, what, len(KINDS))
        failed = []
        for place, hook in self.places():
            try:
                one(place, hook)
            except (AssertionError, TimeoutError) as e:
                failed.append(f"{place.name} ({hook}): {e}")
        expect(not failed, "; ".join(failed))
        return f"{len(KINDS)} questions from each of {len(self.places())} places"

    def aliases(self):
        vip = self.data(f"s3.{MARATHON}.l4lb.thisdcos.directory")
        expect(vip, "no VIP")

        def what():
            for suffix in L4LB:
                got = self.data(f"s3.{MARATHON}.{suffix}")
                expect(got == vip, f"{suffix}: {got}, not {vip}")
        self.only_kernel("port", what, len(L4LB))
        self.only_kernel("port", lambda: self.ask(f"s3.{MARATHON}.mesos.thisdcos.directory"), 1)
        return f"{vip[0]} under {len(L4LB)} names"

    def edns(self):
        """With and without EDNS, cookies, DO; over TCP the process answers."""
        m = self.only_kernel("port", lambda: self.ask(S0, edns=1232), 1)
        expect(m.edns and m.edns["size"] == 1232 and m.edns["version"] == 0, f"{m}")
        m = self.only_kernel("port", lambda: self.ask(S0, edns=4096, do=True), 1)
        expect(m.edns["do"], f"DO was not copied: {m}")
        m = self.only_kernel("port", lambda: self.ask(S0), 1)
        expect(m.edns is None, f"EDNS without being asked: {m}")
        cookie = b"\0\x0a\0\x08" + bytes(range(1, 9))
        m = self.only_kernel("port", lambda: self.ask(S0, edns=1232, options=cookie), 1)
        full = m.edns["options"]
        expect(len(full) == 28 and full[4:12] == cookie[4:], f"cookie: {full.hex()}")
        m = self.only_kernel("port", lambda: self.ask(S0, edns=1232, options=full), 1)
        expect(m.rcode == "NOERROR" and len(m.edns["options"]) == 28, f"{m}")
        # Kernel and process share the secret: what one gave the other knows.
        m = self.ask(S0, edns=1232, options=full, tcp=True)
        expect(m.edns["options"] == full, f"the process made {m.edns['options'].hex()} of {full.hex()}")
        self.only_process("port", lambda: self.ask(S0, tcp=True), 1, None)
        self.only_process("port", lambda: self.ask(S0, "ANY"), 1, "up_type")
        self.only_process("port", lambda: self.ask("ready.spartan"), 1, "up_name")

    def tools(self):
        """kdig, getent and, where it is there, dig."""
        if not shutil.which("kdig"):
            raise Skip("kdig is not installed")
        said = ["kdig"]
        for options in ((), ("+edns",), ("+cookie",), ("+bufsize=4096",), ("+dnssec",)):
            for server in (R4, R6):
                rows, status, out = self.only_kernel("port", lambda: self.kdig(self.client, server, S0, "A", *options), 1)
                expect(status == "NOERROR" and rows == [(S0 + ".", "A", address_of(0))] and "WARNING" not in out, f"kdig {options}: {out}")
        rows, _, out = self.only_process("port", lambda: self.kdig(self.client, R4, S0, "A", "+tcp"), 1, None)
        expect(rows, out)
        conf = os.path.join(self.lab.dir, "resolv.conf")
        with open(conf, "w") as f:
            f.write("".join(f"nameserver {r}\n" for r in RESOLVERS[:3]) + "options timeout:2 attempts:1\n")
        nss = os.path.join(self.lab.dir, "nsswitch.conf")
        with open(nss, "w") as f:
            f.write("hosts: dns\n")
        for place, hook in ((self.client, "port"), (self.n1, "lo")):
            for base, questions in (("ahosts", 2), ("hosts", 1), ("ahostsv4", 1)):
                script = f"mount --bind {conf} /etc/resolv.conf && mount --bind {nss} /etc/nsswitch.conf && exec getent {base} {S1}"
                out = self.only_kernel(hook, lambda: place.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script]), questions)
                expect(address_of(1) in out or "fd01:b:77::2" in out, f"getent {base}: {out}")
        said.append("getent")
        if shutil.which("dig"):
            for options in ((), ("+noedns",)):
                out = self.only_kernel("port", lambda: self.client.run(["dig", f"@{R4}", S0, "A", "+tries=1", *options]), 1)
                expect(address_of(0) in out and "BADCOOKIE" not in out and "warning" not in out.lower(), out)
            said.append("dig")
        return ", ".join(said)

    # --- checksums

    def checksums(self, place, hook, device="eth0"):
        """Every answer as the client's device sees it. Without receive offload its kernel verifies each sum as well."""
        seen = []
        Checksums.self_check()
        ends = ((place, device), (self.n1, "eth0" if place is self.n2 else place.device))

        def offload(end, value):
            ends[end][0].run(["ethtool", "-K", ends[end][1], "tx", value, "rx", value])
        for client, node in (("on", "on"), ("off", "on"), ("on", "off"), ("off", "off")):
            offload(0, client)
            offload(1, node)
            errors = checksum_errors(place)
            with Checksums(place, device) as look:
                def what():
                    for server in (R4, R6):
                        for name, rtype, _, _ in KINDS:
                            for edns in (None, 1232):
                                self.ask(name, rtype, server=server, place=place, edns=edns, timeout=2, tries=1)
                n = 4 * len(KINDS)
                self.only_kernel(hook, what, n, no_room=hook == "xdp")
                wait_until(lambda: sum(look.seen.values()) >= n, 3, f"answers at the client, saw {look.seen}")
            seen.append(f"{client}/{node}: {look.good(n)}")
            expect(checksum_errors(place) == errors, f"{checksum_errors(place) - errors} datagrams were thrown away for their checksum")
        offload(0, "on")
        offload(1, "on")
        return "offload of client/node " + "; ".join(seen)

    def checksums_port(self):
        return self.checksums(self.client, "port")

    def checksums_bridge(self):
        return self.checksums(self.bridged[1], "port")

    def checksums_uplink(self):
        return self.checksums(self.n2, "uplink")

    def xdp(self):
        """Native XDP on the veth uplink."""
        link = pass_all_xdp(self.fabric, "n1")
        self.restart(dns__kernel_xdp="native")
        try:
            a = [a for a in self.json("status")["attachments"] if a["hook"] == "dns_xdp"]
            expect(len(a) == 1 and a[0]["state"] == "attached" and a[0]["device"] == "eth0", f"{a}")
            for server in (R4, R6):
                def what():
                    for name, rtype, rcode, records in KINDS:
                        for edns in (None, 1232):
                            m = self.ask(name, rtype, server=server, place=self.n2, edns=edns, timeout=2, tries=1)
                            expect(m.rcode == rcode and len(m.answer) == records, f"{name} {rtype}: {m}")
                self.only_kernel("xdp", what, 2 * len(KINDS), no_room=True)
            self.only_process("xdp", lambda: self.ask("ready.spartan", place=self.n2), 1, None)
            return f"method {a[0]['method']}; " + self.checksums(self.n2, "xdp")
        finally:
            os.close(link)
            self.restart()

    # --- forwarded names

    def forwarded(self):
        name = "www.hot.example"
        self.ask(name)

        def kept():
            self.ask(name)
            return self.kernel()["cached_answers"]
        wait_until(kept, 5, "the name in the kernel", step=0.1)
        before = self.counts()
        first = self.ask(name)
        c = self.counts() - before
        expect(c.sum("port", ("cached",)) == 1 and not c.process, f"{c}")
        expect(first.data("A") == ["192.0.2.10"] and "ra" in first.flags and "aa" not in first.flags, f"{first}")
        ttl, seen, asked = first.answer[0].ttl, set(), len(self.upstream.asked(name=name + "."))
        expect(0 < ttl <= UPSTREAM_TTL, f"TTL {ttl}")
        end = time.monotonic() + UPSTREAM_TTL + 4
        refreshed = False
        while time.monotonic() < end and not refreshed:
            m = self.ask(name, timeout=2)
            expect(m.data("A") == ["192.0.2.10"] and m.answer[0].ttl <= UPSTREAM_TTL, f"{m}")
            seen.add(m.answer[0].ttl)
            refreshed = len(self.upstream.asked(name=name + ".")) > asked and m.answer[0].ttl >= UPSTREAM_TTL - 1
            time.sleep(0.1)
        expect(len(seen) >= 3, f"the TTL did not count down: {sorted(seen)}")
        expect(refreshed, f"it was not asked anew; TTLs {sorted(seen)}")
        wait_until(kept, 5, "the new answer in the kernel", step=0.1)
        self.cli("dns", "flush")
        wait_until(lambda: self.kernel()["cached_answers"] == 0, 2, "nothing kept after flush")
        self.only_process("port", lambda: self.ask(name), 1, "up_miss")
        return f"TTLs {sorted(seen, reverse=True)}"

    # --- who may ask, how often

    def hot_under_load(self):
        """Forwarded names in demand, over the end of several TTLs: the kernel has them, the process keeps them fresh."""
        names = os.path.join(self.lab.dir, "hot-names")
        hot = [f"h{i}.hot.example" for i in range(5)]
        with open(names, "w") as f:
            f.write("".join(f"{n} A 192.0.2.10\n" for n in hot))
        for n in hot * 4:
            self.ask(n)
        before, asked = self.counts(), len(self.upstream.questions())
        said = unharmed(self.result(self.load(names, 2 * UPSTREAM_TTL + 2, 500)))
        c = self.counts() - before
        asked = len(self.upstream.questions()) - asked
        expect(asked >= len(hot), f"the upstream was asked {asked} times only")
        share = c.sum("port", ("cached",)) / max(1, c.sum() + c.up())
        expect(share > 0.5, f"{share:.0%} from the kernel: {c}")
        return f"{said}, {share:.1%} from the kernel, {asked} questions to the upstream"

    def access_list(self):
        self.restart(dns__clients=["10.10.0.0/24", "fd00:10::/64"])
        try:
            for server in (R4, R6):
                m = self.only_kernel("port", lambda: self.ask(S0, server=server), 1)
                expect(m.rcode == "REFUSED" and not m.answer and not m.authority, f"not on the list: {m}")
                m = self.only_kernel("uplink", lambda: self.ask(S0, place=self.n2, server=server), 1)
                expect(m.rcode == "NOERROR", f"on the list: {m}")
                m = self.only_kernel("lo", lambda: self.ask(S0, place=self.n1, server=server), 1)
                expect(m.rcode == "NOERROR", f"this machine: {m}")
        finally:
            self.restart()

    def rate_limit(self):
        self.restart(dns__rate_limit=20, dns__rate_limit_slip=2)
        try:
            before = self.counts()
            got = {"full": 0, "tc": 0}
            with dns.Client(self.client, R4) as c:
                for i in range(200):
                    c.send_udp(dns.query(S0, "A", id=i))
                while True:
                    try:
                        m = dns.Message(c.receive_udp(0.5))
                    except TimeoutError:
                        break
                    got["tc" if "tc" in m.flags else "full"] += 1
                    expect("tc" not in m.flags or not m.answer, f"truncated and not empty: {m}")
            d = self.counts() - before
            expect(d.sum("port", ("hit",)) == got["full"] and d.sum("port", ("slip",)) == got["tc"] and d.sum("port") == 200 and not d.process,
                   f"client saw {got}; {d}")
            expect(got["full"] < 100 and got["tc"] > 20 and d.sum("port", ("rate_drop",)) > 20, f"client saw {got}; {d}")
            # Truncated: a client that asks again over TCP gets all.
            if shutil.which("kdig"):
                rows, status, out = self.kdig(self.client, R4, S0, "A", "+retry=5", "+timeout=1")
                expect(status == "NOERROR" and rows, f"kdig: {out}")
            cookie = b"\0\x0a\0\x08" + bytes(range(1, 9))
            full = self.ask(S0, edns=1232, options=cookie, tcp=True).edns["options"]
            def exempt():
                for _ in range(100):
                    m = self.ask(S0, edns=1232, options=full, timeout=1, tries=1)
                    expect("tc" not in m.flags and m.answer, f"{m}")
            self.only_kernel("port", exempt, 100)
            return f"of 200: {got['full']} answered, {got['tc']} truncated, {d.sum('port', ('rate_drop',))} dropped; 100 with a cookie all answered"
        finally:
            self.restart()

    def authority(self):
        """A master's server, on a wildcard address: SRV with the addresses of its targets."""
        self.restart(node__roles=["agent", "master"], authority__enabled=True, authority__listen=["0.0.0.0:61053", "[::]:61053"])
        try:
            name = f"_s0._tcp.{MARATHON}.mesos"
            for place, server, hook in ((self.n2, "10.10.0.11", "uplink"), (self.n2, "fd00:10::11", "uplink"), (self.client, "10.10.0.11", "port"),
                                        (self.n1, "127.0.0.1", "lo"), (self.bridged[0], "172.31.1.1", "port")):
                with dns.Client(place, server, 61053) as c:
                    m = self.only_kernel(hook, lambda: c.ask(name, "SRV"), 1)
                    expect(len(m.answer) == 1 and [r.data for r in m.additional if r.type == "A"] == [address_of(0)] and "aa" in m.flags, f"{place.name} {server}: {m}")
                    m = self.only_kernel(hook, lambda: c.ask("nothing.mesos"), 1)
                    expect(m.rcode == "NXDOMAIN", f"{m}")
            # The other service's port is not this one's: the agent's resolver has 53.
            self.only_kernel("port", lambda: self.ask(S0), 1)
        finally:
            self.restart()

    # --- what an operator sees

    def explain(self):
        for name, rtype, *_ in KINDS:
            k = self.json("dns", "explain", name, rtype)["kernel"]
            expect(k and k["answers"] and k["agrees"] is True, f"{name} {rtype}: {k}")
        for name, rtype, why in (("ready.spartan", "A", "up_name"), ("www.cold.example", "A", "up_miss"), (S0, "ANY", "up_type")):
            k = self.json("dns", "explain", name, rtype)["kernel"]
            expect(k and not k["answers"] and k["result"] == why and k["text"], f"{name} {rtype}: {k}")
        text = self.cli("dns", "explain", S0)
        expect("would answer (hit), as the process does" in text, text)
        text = self.cli("dns", "explain", "ready.spartan")
        expect("goes up" in text, text)

    def monitor(self):
        p = self.n1.spawn([self.lab.tool("loadstar"), "-s", self.agent.socket, "monitor", "--dns", "--json", "-n", "3"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            end = time.monotonic() + 10
            while p.poll() is None and time.monotonic() < end:
                self.ask(S0)
                time.sleep(0.1)
            out, err = p.communicate(timeout=5)
        finally:
            if p.poll() is None:
                p.kill()
            self.lab.processes.remove(p)
        events = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        expect(len(events) == 3, f"{len(events)} samples: {out} {err}")
        text = json.dumps(events[0])
        for word in (S0, "hit", "port", self.client.address[4]):
            expect(word in text, f"{word} is not in {text}")

    # --- foreign server

    def foreign(self):
        self.agent.stop(signal.SIGTERM)
        held = dns.socket_in(self.n1, socket.AF_INET, socket.SOCK_DGRAM)
        try:
            held.setsockopt(socket.SOL_IP, 15, 1)  # IP_FREEBIND
            held.bind((RESOLVERS[1], 53))
            held.settimeout(0.3)
            self.start()

            def theirs():
                try:
                    while True:
                        held.recv(4096)
                except TimeoutError:
                    pass
                try:
                    self.ask(S0, server=RESOLVERS[1], timeout=0.3, tries=1)
                    return False
                except TimeoutError:
                    pass
                try:
                    return held.recv(4096)
                except TimeoutError:
                    return False
            wait_until(theirs, 10, "the other server's questions")
            for server in (R4, R6):
                self.only_kernel("port", lambda: self.ask(S0, server=server), 1)
        finally:
            held.close()
        wait_until(lambda: self.data(S0, server=RESOLVERS[1]) == [address_of(0)], 15, "the address taken when it is free")

        def in_kernel():
            before = self.counts()
            self.ask(S0, server=RESOLVERS[1])
            return (self.counts() - before).sum("port") == 1
        wait_until(in_kernel, 15, "the address answered in the kernel")

    def purge(self):
        self.agent.stop()
        self.agent.purge()
        left = self.n1.run(["ls", "-R", "/sys/fs/bpf"]).split()
        expect(not [x for x in left if x.startswith("ls_")], f"pins left: {left}")
        for device in ("eth0", "lo", "r-cl", "b-b1"):
            out = self.n1.run(["bpftool", "net", "show", "dev", device], check=False) if shutil.which("bpftool") else ""
            expect("ls_" not in out, f"{device}: {out}")
        for place, server in ((self.client, R4), (self.n1, R4)):
            expect(self.data(S0, server=server, place=place) is None, f"still answered at {place.name}")


def main():
    args = arguments(__doc__)
    try:
        for tool in ("dns-generate", "ls-mesos-standin", "loadstar"):
            find_binary(tool, args.tools)
    except FileNotFoundError as e:
        print(f"skipped: {e}")
        return 77
    report = Report()
    with Lab(nodes=2, tools=args.tools) as lab:
        s = Checks(lab)
        report.run("start", s.start_up)
        if s.agent.process is None or s.agent.process.poll() is not None:
            print(s.agent.log_tail(20))
            return report.close()
        for name, check, *more in (("everybody IPv4", s.everybody, R4), ("everybody IPv6", s.everybody, R6), ("VIPs by all names", s.aliases),
                                   ("EDNS and cookies", s.edns), ("tools", s.tools), ("explain", s.explain), ("monitor", s.monitor),
                                   ("forwarded names", s.forwarded), ("forwarded under load", s.hot_under_load), ("checksums, container", s.checksums_port), ("checksums, bridge", s.checksums_bridge),
                                   ("checksums, network", s.checksums_uplink), ("native XDP", s.xdp), ("authority", s.authority), ("access list", s.access_list),
                                   ("rate limit", s.rate_limit), ("switched off", s.switched_off), ("another server", s.foreign), ("purge", s.purge)):
            if args.only in name:
                report.run(name, check, *more)
        if report.failed:
            print(s.agent.log_tail(20))
        if s.agent.process.poll() is None:
            s.agent.stop()
            s.agent.purge()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

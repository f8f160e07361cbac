#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Forwarded names, compared with unbound: both forward to the same upstream, and some thousand questions are asked of both,
twice, so that the second answers come out of the caches. rcode, flags, the answer as a set, TTLs and the kind of a negative
answer have to be equal, or a rule of EXPLAINED says why not, and how both have to look then.

The data is one Knot's, with a zone of everything that is legal. Once the upstream is a resolver before it, as in real life,
and once Knot itself: an upstream that says "authoritative" and offers no recursion. Aliases that Knot leaves to its asker
to follow (into another zone, or more than five) are not asked in the second part: a forwarder's upstream has to follow them.

--against server|dnsdist|unbound compares that instead of the daemon (server: its DNS server alone); --planted makes the compared
server's answers wrong in some way and wants that to be found."""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Daemon, Lab, Report, arguments, dns, dns_peers, expect, find_binary, state  # noqa: E402

ZONE, OTHER = "diff.example", "other.example"
KNOT, RECURSOR = ("10.10.0.254", 5300), ("10.10.0.254", 5310)
TYPES = ["A", "AAAA", "TXT", "MX", "SRV", "CNAME", "NS", "SOA", "PTR", "CAA", "NAPTR", "TLSA", "HTTPS", "HINFO", "TYPE65400"]
SHOWN = 8
LONG = "l" * 63


def zone_lines():
    """(owner, rest of the line) of the zone."""
    rows = []

    def add(name, rest, ttl=300):
        rows.append(f"{name + '.' if name else ''}{ZONE}. {ttl} IN {rest}")

    for i in range(40):
        add(f"h{i}", f"A 192.0.2.{i + 1}")
        if i % 2:
            add(f"h{i}", f"AAAA 2001:db8::{i + 1:x}")
        if i % 3 == 0:
            add(f"h{i}", f'TXT "host {i}" "second part"')
        if i % 5 == 0:
            add(f"h{i}", f"MX 10 h{i + 1}.{ZONE}.")
            add(f"_svc{i}._tcp", f"SRV 1 2 {8000 + i} h{i}.{ZONE}.")
    for i in range(60):
        add("many", f"A 198.18.{i // 250}.{i % 250 + 1}")
    for i in range(60):
        add("big", f'TXT "{i:03d} {"b" * 230}"')
    add("txt255", f'TXT "{"t" * 255}" "{"u" * 255}" ""')
    for i in range(9):  # aliases, up to nine in a row
        add(f"chain{i}", f"CNAME chain{i + 1}.{ZONE}.")
    add("chain9", "A 192.0.2.200")
    add("chain9", "AAAA 2001:db8::200")
    add("tonowhere", f"CNAME missing.{ZONE}.")
    add("toother", f"CNAME www.{OTHER}.")
    add("toothermissing", f"CNAME missing.{OTHER}.")
    add("toent", f"CNAME ent.{ZONE}.")
    add("tonodata", f"CNAME only6.{ZONE}.")
    add("loop1", f"CNAME loop2.{ZONE}.")
    add("loop2", f"CNAME loop1.{ZONE}.")
    add("self", f"CNAME self.{ZONE}.")
    add("only6", "AAAA 2001:db8::6")
    add("a.b.c.ent", "A 192.0.2.201")
    add("dname", f"DNAME {OTHER}.")
    add("*.wild", "A 192.0.2.202")
    add("*.wild", 'TXT "wild"')
    add("inside.wild", "A 192.0.2.203")
    add("*.wildalias", f"CNAME h1.{ZONE}.")
    add("*.wildother", f"CNAME www.{OTHER}.")
    add(LONG, "A 192.0.2.204")
    add(f"{LONG}.{LONG}.{'m' * 60}", "A 192.0.2.205")
    add("MiXeD.Case", "A 192.0.2.206")
    add("_under_score", "A 192.0.2.207")
    add(r"oct\200et", "A 192.0.2.208")
    add("1", "A 192.0.2.209")
    add("ttl0", "A 192.0.2.210", 0)
    add("ttl1day", "A 192.0.2.211", 86400)
    add("caa", 'CAA 0 issue "ca.example.net"')
    add("naptr", f'NAPTR 100 10 "u" "E2U+sip" "!^.*$!sip:x@{ZONE}!" .')
    add("naptr", f'NAPTR 100 20 "s" "SIP+D2U" "" _sip._udp.{ZONE}.')
    add("_443._tcp", "TLSA 3 1 1 " + "ab" * 32)
    add("hinfo", 'HINFO "cpu" "os"')
    add("unknown", r"TYPE65400 \# 5 0102030405")
    add("unknown", r"TYPE65400 \# 0")
    add("https", f"TYPE65 \\# {3} 000000")
    add("ptr", f"PTR h1.{ZONE}.")
    add("mxmany", f"MX 10 h1.{ZONE}.")
    add("mxmany", f"MX 20 www.{OTHER}.")
    add("srvroot", "SRV 0 0 0 .")
    add("nsat", f"NS ns.nsat.{ZONE}.")  # a delegation; the child is served by the same Knot
    add("ns.nsat", f"A {KNOT[0]}")
    return rows


def zones():
    return {ZONE: zone_lines(),
            OTHER: [f"www.{OTHER}. 300 IN A 203.0.113.1", f"www.{OTHER}. 300 IN AAAA 2001:db8:1::1", f"deep.www.{OTHER}. 300 IN A 203.0.113.2"],
            f"nsat.{ZONE}": [f"nsat.{ZONE}. 300 IN SOA ns.nsat.{ZONE}. root.{ZONE}. 1 60 60 86400 30", f"nsat.{ZONE}. 300 IN NS ns.nsat.{ZONE}.",
                             f"ns.nsat.{ZONE}. 300 IN A {KNOT[0]}", f"www.nsat.{ZONE}. 300 IN A 192.0.2.220"]}


NOT_FOLLOWED = [*(f"chain{i}." for i in range(5)), "toother", "wildother.", "dname."]


def questions(recursive, seed=1):
    chance = random.Random(seed)
    names = sorted({row.split(" ")[0] for rows in zones().values() for row in rows} | {f"ns1.{ZONE}.", ZONE + "."})
    names = [n.replace("*", f"any{i}") for i, n in enumerate(names)]
    more = [f"x.any1.wild.{ZONE}.", f"below.inside.wild.{ZONE}.", f"www.dname.{ZONE}.", f"deep.www.dname.{ZONE}.", f"missing.dname.{ZONE}.",
            f"ent.{ZONE}.", f"c.ent.{ZONE}.", f"x.ent.{ZONE}.", f"below.h1.{ZONE}.", f"x.www.nsat.{ZONE}.", f"deep.any1.wildother.{ZONE}."]
    more += [f"nothing{i}.{ZONE}." for i in range(60)] + [f"a{i}.b{i}.{OTHER}." for i in range(20)]
    more += ["".join(chance.choice((c.lower(), c.upper())) for c in n) for n in chance.sample([n for n in names if "\\" not in n], 40)]
    return [(n, t) for n in names + more for t in TYPES if recursive or not any(x in n.lower() for x in NOT_FOLLOWED)]


def shape(m):
    """What has to be equal."""
    lower = {"CNAME", "NS", "PTR", "MX", "SRV", "SOA", "DNAME"}
    answer = sorted((r.name.lower(), r.type, r.data.lower() if r.type in lower else r.data) for r in m.answer)
    return {"rcode": m.rcode, "flags": m.flags & {"qr", "tc", "rd", "ra", "aa", "ad", "cd"}, "answer": answer, "question": m.question,
            "negative": sorted({r.type for r in m.authority if r.type == "SOA"}) if not any(r.type == m.question[1] for r in m.answer) else []}


def is_loop(q, ours, theirs):
    """An alias that leads to itself: unbound fails, an answer that shows the circle, or SERVFAIL, is right too (RFC 1034 3.6.2 leaves it open)."""
    return q[0].lower().startswith(("loop1.", "loop2.", "self.")) and q[1] != "CNAME" and ours["rcode"] in ("SERVFAIL", "NOERROR") \
        and {t for _, t, _ in ours["answer"]} <= {"CNAME"}


def same_but_dname_alias(q, ours, theirs):
    """The alias made out of a DNAME is given with the DNAME or without; the rest is equal."""
    def without(a):
        return [r for r in a if r[1] != "DNAME"]
    return "dname" in q[0].lower() and ours["rcode"] == theirs["rcode"] and without(ours["answer"]) == without(theirs["answer"])


def ends_outside_unasked(q, ours, theirs):
    """unbound goes on asking for the end of an alias chain and finds NXDOMAIN; both carry the chain."""
    return ours["answer"] == theirs["answer"] and ours["rcode"] == theirs["rcode"] and ours["negative"] != theirs["negative"] and ours["answer"]


def first_hand(q, ours, theirs):
    """An answer straight from an authority, not out of the cache, keeps its AA here; unbound never sets it for others' data. Nothing
    else differs. An upstream that is a resolver sets no AA, so there this never holds."""
    return ours["flags"] == theirs["flags"] | {"aa"} and {**ours, "flags": 0} == {**theirs, "flags": 0}


EXPLAINED = [("AA at first hand", first_hand), ("loop", is_loop), ("DNAME", same_but_dname_alias), ("SOA after an alias", ends_outside_unasked)]


def ask_all(client, wanted, tcp_on_tc=True):
    found = {}
    for name, rtype in wanted:
        m = client.ask(name, rtype, edns=1232, timeout=4)
        if "tc" in m.flags and tcp_on_tc:
            whole = client.ask(name, rtype, tcp=True, edns=1232, timeout=4)
            whole.flags.add("tc")  # it was seen; both have to
            m = whole
        found[name, rtype] = m
    return found


def compare(ours, theirs):
    """(differences in words, how often each rule explained one)"""
    wrong, explained = [], {}
    for q, mine in ours.items():
        a, b = shape(mine), shape(theirs[q])
        # Where a datagram is cut is the server's own choice below the limit that the client set.
        if a != b:
            rule = next((name for name, holds in EXPLAINED if holds(q, a, b)), None)
            if rule:
                explained[rule] = explained.get(rule, 0) + 1
                continue
            what = {k: (a[k], b[k]) for k in a if a[k] != b[k]}
            wrong.append(f"{q[0]} {q[1]}: " + "; ".join(f"{k} {x}, unbound {y}" for k, (x, y) in what.items()))
    return wrong, explained


def ttl_wrong(m, original):
    """TTLs never above what the zone says."""
    return [f"{r.name} {r.type}: ttl {r.ttl}" for r in m.answer if r.ttl > original.get((r.name.lower(), r.type), 86400)]


def original_ttls():
    found = {}
    for rows in zones().values():
        for row in rows:
            name, ttl, _, rtype, *_ = row.split(" ")
            found[name.lower(), rtype] = int(ttl)
    return found


class Planter:
    """A client whose answers are changed, one in a hundred."""

    def __init__(self, client):
        self.client, self.planted = client, 0
        self.count = 0

    def ask(self, name, rtype, **more):
        m = self.client.ask(name, rtype, **more)
        self.count += 1
        if self.count % 100 == 0 and not any(x in name.lower() for x in ("loop", "self", "dname")):
            self.planted += 1
            if self.planted % 3 == 0 and m.answer:
                m.answer = m.answer[1:]
            elif self.planted % 3 == 1:
                m.rcode = "REFUSED" if m.rcode != "REFUSED" else "NOERROR"
            else:
                m.flags.add("ad")
        return m


class Loadstar:
    def __init__(self, lab, node, upstream):
        self.address, self.port = node.address[4], 5302
        replay = os.path.join(lab.dir, "empty.recordio")
        state.write_replay(replay, [state.Cluster().subscribed()])
        self.daemon = Daemon(node, {"replay": replay}, sock=False, tc=False, settings={
            "resolver.enabled": True, "resolver.listen": [f"{self.address}:{self.port}"], "resolver.device": "", "resolver.mesos_servers": [],
            "resolver.upstreams": [f"{upstream[0]}:{upstream[1]}"], "dns.workers": 1, "resolver.rotation": "none"})

    def start(self):
        self.daemon.start()

    def log_tail(self):
        return self.daemon.log_tail()


class Server(dns_peers.Peer):
    """loadstar's DNS server as a forwarder, without the daemon around it."""

    def __init__(self, node, upstream):
        self.program = find_binary("ls-dns-server")
        super().__init__(node, node.address[4], 5306, f"server-{node.name}")
        self.upstream = upstream

    def argv(self):
        return [self.path, "--listen", f"{self.address}:{self.port}", "--workers", "1", "--resolver", "--forward", f"{self.upstream[0]}:{self.upstream[1]}"]


SAME_SIZES = ["max-udp-size: 1232", "edns-buffer-size: 1232"]


def part(lab, report, node, title, upstream, args):
    """Everything with one upstream."""
    address = node.address[4]
    unbound = dns_peers.Unbound(node, address, 5301, forward={".": [upstream]}, options=SAME_SIZES, name=f"unbound-{node.name}").start()
    other = {"loadstar": lambda: Loadstar(lab, node, upstream), "server": lambda: Server(node, upstream),
             "unbound": lambda: dns_peers.Unbound(node, address, 5303, forward={".": [upstream]}, options=SAME_SIZES, name=f"second-{node.name}"),
             "dnsdist": lambda: dns_peers.Dnsdist(node, address, 5304, [upstream], checks=False, name=f"dnsdist-{node.name}")}[args.against]()
    before = report.failed
    report.run(f"{title}: start", lambda: other.start() and None)
    if report.failed != before:
        return
    wanted, original = questions(upstream == RECURSOR), original_ttls()
    plant = None
    with dns.Client(node, address, unbound.port) as theirs, dns.Client(node, address, other.port) as ours:
        if args.planted:
            ours = plant = Planter(ours)

        def check():
            mine, other_side = ask_all(ours, wanted), ask_all(theirs, wanted)
            wrong, explained = compare(mine, other_side)
            wrong += [f"{q[0]} {q[1]}: {w}" for q, m in mine.items() for w in ttl_wrong(m, original)]
            if plant:
                expect(len(wrong) >= plant.planted * 0.9, f"{len(wrong)} of {plant.planted} planted differences found")
                plant.planted = 0
                return f"{len(wrong)} planted differences found"
            for w in wrong[:SHOWN]:
                print(f"     {w[:400]}")
            expect(not wrong, f"{len(wrong)} of {len(wanted)} differ")
            return f"{len(wanted)} questions equal, explained: {explained or 'none'}"

        for turn in ("first answers", "from caches"):
            report.run(f"{title}, {args.against} and unbound, {turn}", check)
    if report.failed != before:
        print(other.log_tail())


def main():
    args = arguments(__doc__, lambda p: (p.add_argument("--against", default="loadstar"), p.add_argument("--planted", action="store_true")), daemon=False)
    if args.against == "loadstar":
        try:
            find_binary("loadstard", args.tools)
        except FileNotFoundError as e:
            print(f"skipped: {e}")
            return 77
    report = Report()
    with Lab(nodes=2, tools=args.tools) as lab:
        try:
            dns_peers.Knot(lab.fabric, *KNOT, zones()).start((f"h1.{ZONE}", "A"))
            dns_peers.Unbound(lab.fabric, *RECURSOR, forward={".": [KNOT]}, options=["max-udp-size: 4096", "edns-buffer-size: 4096"], name="recursor").start()
            for node, title, upstream in ((lab.node(1), "resolver upstream", RECURSOR), (lab.node(2), "authoritative upstream", KNOT)):
                if args.only in title:
                    part(lab, report, node, title, upstream, args)
        except dns_peers.Missing as e:
            print(f"skipped: {e}")
            return 77
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

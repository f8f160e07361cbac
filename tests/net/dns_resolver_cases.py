#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cases of spec/cases/dns through the sockets of the agent's resolver: answers, rename, truncation-edns, failures, routing,
loadbalance, as far as a configuration and a cluster can express them; what they cannot is skipped by name. Cases with a
`reference_defect` are asked for what the text requires instead.

--self-check feeds the expectations to the comparison, and planted differences; it needs neither root nor a daemon."""
import concurrent.futures
import copy
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Daemon, Lab, Report, Skip, Upstreams, arguments, dns, expect, state, wait_until  # noqa: E402

RESOLVER = "198.51.100.1"
SHORT_ID = "c3zs6aubqe"                       # the cases' cluster has a key of six bytes
CLUSTER_ID = (SHORT_ID * 6)[:51] + "y"        # a key has 32
UDP_CAP = 1232
SERIAL = "SERIAL"


def shared_folder():
    here = os.path.dirname(os.path.abspath(__file__))
    return os.environ.get("LS_SHARED_DIR") or os.path.join(here, "..", "..", "..", "shared")


def load(suite):
    with open(os.path.join(shared_folder(), "spec", "cases", "dns", suite + ".json")) as f:
        return json.load(f)


# --- what a case expects, in the form of an answer

def full(name):
    return name if name.endswith(".") else name + "."


def data_text(rtype, data):
    if rtype == "SOA":
        return " ".join([full(data["mname"]), full(data["rname"]), SERIAL, *(str(data[k]) for k in ("refresh", "retry", "expire", "minimum"))])
    if rtype == "SRV":
        return f"{data['priority']} {data['weight']} {data['port']} {full(data['target'])}"
    return full(data) if rtype in ("CNAME", "NS") else data


def wanted(records):
    return [(full(r["name"]), r["ttl"], r["type"], data_text(r["type"], r["data"])) for r in records]


def shown(records):
    def text(r):
        if r.type != "SOA":
            return r.data
        words = r.data.split(" ")
        words[2] = SERIAL
        return " ".join(words)
    return [(r.name, r.ttl, r.type, text(r)) for r in records]


def compare_answer(expect_, got):
    """Wrong things, in words. Aliases have an order: each comes before its target."""
    wrong = []
    if got.rcode != expect_["rcode"]:
        wrong.append(f"rcode {got.rcode}, not {expect_['rcode']}")
    for flag in ("qr", "aa", "tc", "ra", "rd"):
        if flag in expect_ and (flag in got.flags) != expect_[flag]:
            wrong.append(f"{flag} is {flag in got.flags}")
    for section in ("answer", "authority", "additional"):
        key = "answers" if section == "answer" else section
        if key not in expect_:
            continue
        have, want = shown(getattr(got, section)), wanted(expect_[key])
        if sorted(have) != sorted(want):
            wrong.append(f"{section} {have}, not {want}")
        elif [r for r in have if r[2] == "CNAME"] != [r for r in want if r[2] == "CNAME"]:
            wrong.append(f"aliases out of order: {have}")
    return wrong


def substitute(value, table):
    """Addresses that a cluster chose itself, put into an expectation."""
    if isinstance(value, dict):
        return {k: substitute(v, table) for k, v in value.items()}
    if isinstance(value, list):
        return [substitute(v, table) for v in value]
    return table.get(value, value) if isinstance(value, str) else value


def with_cluster_id(value):
    """The cases with the id of a whole key."""
    return json.loads(json.dumps(value).replace(SHORT_ID, CLUSTER_ID).replace(SHORT_ID.upper(), CLUSTER_ID.upper()))


def compare_size(case, got):
    """truncation-edns: ours is the size that the client offers, from 512 to what dns.udp_size allows; over TCP everything."""
    count, payload, tcp = case["input"]["records"], case["input"]["edns_payload"], case["input"]["protocol"] == "tcp"
    limit = 65535 if tcp else 512 if payload is None else max(512, min(payload, UDP_CAP))
    wrong = []
    answers = got.answer
    if got.rcode != "NOERROR":
        wrong.append(f"rcode {got.rcode}")
    if got.size > limit:
        wrong.append(f"{got.size} octets, limit {limit}")
    if bool(got.edns) != (payload is not None):
        wrong.append("OPT " + ("missing" if payload is not None else "that nobody asked for"))
    if len({r.data for r in answers}) != len(answers):
        wrong.append("the same record twice")
    whole = got.size + 16 * (count - len(answers))  # an A record behind a pointer is 16 octets
    if ("tc" in got.flags) != (whole > limit):
        wrong.append(f"tc is {'tc' in got.flags}, the whole answer has {whole} octets, limit {limit}")
    if "tc" not in got.flags and len(answers) != count:
        wrong.append(f"{len(answers)} of {count} records, and no TC")
    # Where the reference used the same limit, it is not worse than the reference.
    same_limit = "reference_defect" not in case and (tcp or payload is None or 512 <= payload <= UDP_CAP)
    if same_limit and case["expect"]["tc"] is False and "tc" in got.flags:
        wrong.append("the reference sent all of it")
    return wrong


def compare_order(case, order):
    """loadbalance: order of last octets."""
    want = case["expect"]["order"]
    if case["input"]["policy"] == "random":
        return [] if sorted(order) == sorted(range(1, case["input"]["addresses"] + 1)) else [f"order {order} is no permutation"]
    return [] if order == want else [f"order {order}, not {want}"]


# --- the resolver with everything the suites need

FORWARD = {"example.com": ["10.1.1.1:53", "10.1.1.2:5300"], "sub.example.com": ["10.1.1.3:53"], "corp": ["10.1.1.4:53"]}
MESOS = ["10.10.0.1:61053", "10.10.0.2:61053"]
UPSTREAMS = ["8.8.8.8:53", "8.8.4.4:5353"]
STATIC = {
    "component.thisdcos.directory": ["registry 5 CNAME two.fw.autoip.dcos.thisdcos.directory.", "loop 5 CNAME loop2", "loop2 5 CNAME loop",
                                     "ext 5 CNAME example.com.", "dang 5 CNAME none", "self 5 CNAME self",
                                     "six 5 CNAME six.fw.autoip.dcos.thisdcos.directory.", "reg 5 CNAME x", "x 5 A 10.3.3.3"],
    "test.thisdcos.directory": ["foo 5 CNAME bar", "bar 5 CNAME baz", "baz 5 CNAME qux", *(f"qux 5 A 127.0.0.{i}" for i in range(1, 6))],
    "empty.thisdcos.directory": [],
    "foo.thisdcos.directory": ["a 5 A 10.7.7.7"],
}
# Zones that only the cluster fills: these cases state contents that no cluster has.
NOT_EXPRESSIBLE = {
    "mesos-apex": "the Mesos domain has no address at its apex", "srv": "the task's name in the Mesos domain has a hash of its own",
    "srv-target": "the task's name in the Mesos domain has a hash of its own",
}
# Cases whose text asks for something else than the reference did.
OTHERWISE = {
    "no-upstream": {"rcode": "SERVFAIL", "qr": True, "answers": []},
    "cluster-id-upper": {"rcode": "NOERROR"},
}


def sized_zone(records):
    return [f"m{n} 5 A 10.{50 + n // 250}.{i // 250}.{i % 250 + 1}" for n in records for i in range(n)]


def ordered_zone(counts):
    return [f"a{n} 5 A 10.0.0.{i + 1}" for n in counts for i in range(n)]


class Scene:
    def __init__(self, lab):
        self.lab, self.node = lab, lab.node(1)
        self.answers, self.rename = load("answers"), with_cluster_id(load("rename"))
        self.sizes, self.orders = load("truncation-edns"), load("loadbalance")
        self.failures, self.routes = load("failures"), with_cluster_id(load("routing"))
        self.daemon = None
        fabric = lab.fabric
        places = {e.rpartition(":")[0] for e in [*MESOS, *UPSTREAMS, *(u for us in FORWARD.values() for u in us)]}
        fabric.ip(*[f"addr add {p}/32 dev lo" for p in sorted(places)])
        lab.node(1).ip(*[f"route add {p}/32 via 10.10.0.254" for p in sorted(places) if p.startswith("10.10.0.")])
        self.identity = {e: f"192.0.2.{100 + i}" for i, e in enumerate([*MESOS, *UPSTREAMS, *(u for us in FORWARD.values() for u in us)])}
        self.upstreams = Upstreams(fabric, {e: {"address": a} for e, a in self.identity.items()})
        self.failing = self.failing_upstreams(fabric)
        self.replay = os.path.join(lab.dir, "cluster.recordio")
        state.write_replay(self.replay, [self.cluster().subscribed()])

    def failing_upstreams(self, fabric):
        """Every case of `failures` has a zone and upstreams of its own."""
        endpoints, self.failing_zones = {}, {}
        fabric.ip("addr add 10.2.0.1/32 dev lo")
        for i, case in enumerate(self.failures["cases"]):
            mine = [f"10.2.0.1:{6000 + 10 * i + j}" for j in range(len(case["input"]["upstreams"]))]
            self.failing_zones[f"c{i}.example"] = mine
            for endpoint, what in zip(mine, case["input"]["upstreams"]):
                # The reference passed a truncated answer on; here TCP is tried, so that has to fail for the case to be the same.
                endpoints[endpoint] = {**what, **({"no_tcp": True} if what.get("tc") else {})}
        return Upstreams(fabric, endpoints, name="failing")

    def cluster(self):
        """Tasks of framework fw and marathon that make the names of the suites."""
        c = state.Cluster()
        c.add_agents(self.lab)
        n = self.node

        def task(task_id, addresses, framework, vips=()):
            t = state.host_task(task_id, n, 4, 31000 + len(c.tasks), list(vips), ["tcp"])
            t["framework_id"]["value"] = framework
            info = t["statuses"][0]["container_status"]["network_infos"][0]
            info["name"] = "dcos"
            info["ip_addresses"] = [{"ip_address": a, "protocol": "IPv6" if ":" in a else "IPv4"} for a in addresses]
            t["container"]["network_infos"] = [{"name": "dcos"}]
            c.add(t)

        task("one.1", ["10.1.1.1"], "F-fw")
        task("six.1", ["fd01:b::1"], "F-fw")
        task("dual.1", ["10.1.1.2", "fd01:b::2"], "F-fw")
        task("two.1", ["10.1.1.3"], "F-fw")
        task("two.2", ["10.1.1.4"], "F-fw")
        task("web.1", ["10.1.1.9", "fd01:b::19"], state.FRAMEWORK, ["/web:80"])
        task("app.1", ["10.1.1.10"], state.FRAMEWORK, ["/app:80"])
        task("v6.1", ["fd01:b::9"], state.FRAMEWORK, ["/v6:80"])
        return c

    def subscribed_with_frameworks(self, event):
        frameworks = event["subscribed"]["get_state"]["get_frameworks"]["frameworks"]
        frameworks.append({"framework_info": {"id": {"value": "F-fw"}, "name": "fw", "user": "root"}, "active": True, "connected": True})
        return event

    def start(self, **settings):
        event = self.subscribed_with_frameworks(self.cluster().subscribed())
        state.write_replay(self.replay, [event])
        sizes = sorted({c["input"]["records"] for c in self.sizes["cases"]})
        counts = sorted({c["input"]["addresses"] for c in self.orders["cases"]})
        self.daemon = Daemon(self.node, {"replay": self.replay}, sock=False, tc=False, settings={
            "resolver.enabled": True, "resolver.upstreams": [], "resolver.cluster_id": CLUSTER_ID, "resolver.mesos_servers": [],
            "resolver.static_zones": {**STATIC, "size.thisdcos.directory": sized_zone(sizes), "order.thisdcos.directory": ordered_zone(counts)},
            "resolver.forward_zones": {}, "resolver.rotation": "none", "dns.workers": 1, **{k.replace("__", "."): v for k, v in settings.items()}})
        self.daemon.start()

    def stop(self):
        if self.daemon and self.daemon.process.poll() is None:
            self.daemon.stop()

    def ask(self, name, rtype="A", **more):
        with dns.Client(self.node, RESOLVER) as c:
            return c.ask(name, rtype, **more)

    def chosen(self):
        """Addresses that the cluster chose where the suites have fixed ones."""
        known = {}
        for s in self.daemon.get("/v1/services"):
            if s["name"] in ("web.marathon", "app.marathon", "v6.marathon"):
                known[s["name"].partition(".")[0], 6 if ":" in s["address"] else 4] = s["address"]
        return known

    # --- suites

    def suite(self, report, suite, cases):
        known = self.chosen()
        tables = {"answers": {"11.1.2.3": known.get(("web", 4)), "fd01:c::5": known.get(("web", 6))},
                  "rename": {"11.1.2.3": known.get(("app", 4)), "fd01:c::7": known.get(("v6", 6)),
                             "127.0.0.1": "10.1.1.1", "127.0.0.2": "10.1.1.2"}}
        table = {k: v for k, v in tables[suite].items() if v}
        for case in cases:
            def check():
                if case["id"] in NOT_EXPRESSIBLE:
                    raise Skip(NOT_EXPRESSIBLE[case["id"]])
                q = case["input"]["question"]
                if q.get("more_names"):
                    return self.two_questions(q)
                need = substitute(copy.deepcopy(case["expect"]), table)
                name = q["name"]
                if "autoip" in name and suite == "rename":
                    raise Skip("a task of that name below no framework: no cluster has it")
                if case["id"] in OTHERWISE:
                    need = OTHERWISE[case["id"]]
                got = self.ask(name, q["type"], tcp=q.get("protocol") == "tcp" or q["type"] == "ANY")
                expect(got.question and got.question[0] == full(name), f"question {got.question}")
                wrong = compare_answer(need, got)
                expect(not wrong, lambda: "; ".join(wrong))
            report.run(f"{suite}: {case['id']}", check)

    def two_questions(self, q):
        message = bytearray(dns.query(q["name"], q["type"], id=77))
        message[5] = 1 + len(q["more_names"])
        for name in q["more_names"]:
            message += dns.encode_name(name) + b"\0\1\0\1"
        with dns.Client(self.node, RESOLVER) as c:
            got = dns.Message(c.raw(bytes(message)))
        expect(got.id == 77 and "qr" in got.flags, "no answer to it")
        expect(got.rcode == "FORMERR" or got.data("A") == ["127.0.0.1"], f"{got}")
        return got.rcode

    def size(self, case):
        got = self.ask(f"m{case['input']['records']}.size.thisdcos.directory", "A", tcp=case["input"]["protocol"] == "tcp",
                       edns=case["input"]["edns_payload"])
        wrong = compare_size(case, got)
        expect(not wrong, lambda: "; ".join(wrong))

    def order(self, case):
        got = self.ask(f"a{case['input']['addresses']}.order.thisdcos.directory", "A", id=case["input"]["message_id"])
        wrong = compare_order(case, [int(r.data.rpartition(".")[2]) for r in got.answer])
        expect(not wrong, lambda: "; ".join(wrong))

    def route(self, case):
        name, need = case["input"]["name"] or ".", case["expect"]
        got = self.ask(name, "A", timeout=8, tries=1)
        asked = {q["endpoint"] for q in self.upstreams.questions() if q["name"].lower() == full(name).lower()}
        if need["decision"] == "forward" and "reference_defect" not in case:
            expect(asked and asked <= set(need["upstreams"]), lambda: f"asked {sorted(asked)}, not of {need['upstreams']}")
            expect(got.data("A") and got.data("A")[0] in {self.identity[e] for e in asked}, f"{got}")
            return
        expect(not asked, lambda: f"left this node, to {sorted(asked)}")
        # REFUSED as for a zone below thisdcos.directory that is not there.
        expect(got.rcode == "REFUSED" or (got.rcode in ("NOERROR", "NXDOMAIN") and "aa" in got.flags), f"{got}")
        zone = need["from"] if need["decision"] == "rename" else need["zone"]
        soas = {r.name for r in got.authority if r.type == "SOA"}
        if soas and need["decision"] != "forward":
            expect(soas == {zone}, f"SOA of {soas}, not of {zone}")

    def fail(self, report):
        """All at once: some take as long as the resolver is patient."""
        cases = self.failures["cases"]

        def ask(i):
            with dns.Client(self.node, RESOLVER) as c:
                return c.ask(f"www.c{i}.example", "A", tcp=cases[i]["input"]["protocol"] == "tcp", timeout=12, tries=1)
        with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
            got = [pool.submit(ask, i) for i in range(len(cases))]
        for i, case in enumerate(cases):
            def check():
                m, need = got[i].result(), case["expect"]
                asked = {q["endpoint"] for q in self.failing.questions() if q["name"].lower() == f"www.c{i}.example."}
                expect("qr" in m.flags and m.question[0] == f"www.c{i}.example.", f"{m}")
                if case["id"] in ("servfail-first", "refused-first"):  # the later, good answer
                    need = {"rcode": "NOERROR", "answers": ["192.0.2.2"]}
                elif case["id"] in ("junk", "all-silent", "too-late", "tcp-all-close"):
                    need = {"rcode": "SERVFAIL", "answers": []}
                elif case["id"] == "truncated":  # TCP is tried and fails: what is left is no answer, or the truncated one
                    expect(m.rcode == "SERVFAIL" or "tc" in m.flags, f"{m}")
                    return None
                expect(m.rcode == need["rcode"] and m.data("A") == need["answers"], f"{m.rcode} {m.data('A')}, not {need['rcode']} {need['answers']}")
                expect(asked, "nobody was asked")
                return f"{len(asked)} asked"
            report.run(f"failures: {case['id']}", check)


def self_check():
    report = Report()

    def as_answer(e):
        m = dns.Message(dns.query("x.", "A"))
        m.rcode, m.flags = e["rcode"], {f for f in ("qr", "aa", "tc", "ra", "rd") if e.get(f)}
        for section, key in (("answer", "answers"), ("authority", "authority"), ("additional", "additional")):
            setattr(m, section, [dns.Record(n, t, ttl, d.replace(SERIAL, "5")) for n, ttl, t, d in wanted(e.get(key, []))])
        return m

    def answers(suite):
        found = 0
        for case in load(suite)["cases"]:
            e = case["expect"]
            if "answers" not in e:
                continue
            expect(not compare_answer(e, as_answer(e)), lambda: f"{case['id']}: its own answer is refused: {compare_answer(e, as_answer(e))}")
            for change in ("rcode", "aa", "ra", "tc", "more", "less", "ttl"):
                other = as_answer(e)
                if change == "rcode":
                    other.rcode = "NOTIMP"
                elif change in ("aa", "ra", "tc"):
                    other.flags ^= {change}
                elif change == "more":
                    other.answer = [*other.answer, dns.Record("x.", "A", 1, "1.2.3.4")]
                elif not other.answer:
                    continue
                elif change == "less":
                    other.answer = other.answer[1:]
                else:
                    other.answer[0] = other.answer[0]._replace(ttl=77)
                expect(compare_answer(e, other), lambda: f"{case['id']}: planted {change} was not found")
                found += 1
        return f"{found} planted differences found"

    def sizes():
        for case in load("truncation-edns")["cases"]:
            n, payload, tcp = case["input"]["records"], case["input"]["edns_payload"], case["input"]["protocol"] == "tcp"
            limit = 65535 if tcp else 512 if payload is None else max(512, min(payload, UDP_CAP))
            m = dns.Message(dns.query("x.", "A", edns=payload))
            m.rcode, base = "NOERROR", 45 + (11 if payload is not None else 0)
            fit = min(n, (limit - base) // 16)
            m.answer = [dns.Record("x.", "A", 5, f"10.0.{i // 250}.{i % 250}") for i in range(fit)]
            m.size = base + 16 * fit
            m.flags = {"qr"} | ({"tc"} if fit < n else set())
            expect(not compare_size(case, m), lambda: f"{case['id']}: a right answer is refused: {compare_size(case, m)}")
            m.flags ^= {"tc"}
            expect(compare_size(case, m), lambda: f"{case['id']}: wrong TC was not found")
            m.flags ^= {"tc"}
            m.size = limit + 1
            expect(compare_size(case, m), lambda: f"{case['id']}: an answer over the limit was not found")

    def orders():
        for case in load("loadbalance")["cases"]:
            order = case["expect"].get("order") or list(range(1, case["input"]["addresses"] + 1))
            expect(not compare_order(case, order), lambda: f"{case['id']}: its own order is refused")
            expect(compare_order(case, [*order[1:], order[0]] if len(order) > 1 and case["input"]["policy"] != "random" else [*order, 9]),
                   lambda: f"{case['id']}: another order was not found")

    report.run("answers", lambda: answers("answers"))
    report.run("rename", lambda: answers("rename"))
    report.run("sizes", sizes)
    report.run("orders", orders)
    return report.close()


def main():
    if not os.path.isdir(os.path.join(shared_folder(), "spec")):
        print(f"skipped: {shared_folder()}/spec is missing")
        return 77
    if "--self-check" in sys.argv:
        return self_check()
    args = arguments(__doc__)
    report = Report()
    with Lab(nodes=1, tools=args.tools) as lab:
        s = Scene(lab)

        def each(suite, cases, check):
            for case in cases:
                if args.only in f"{suite}: {case['id']}":
                    report.run(f"{suite}: {case['id']}", check, case)

        def phase(title, settings, *work):
            before = report.failed
            report.run(f"start: {title}", lambda: s.start(**settings))
            if report.failed == before:
                for w in work:
                    w()
            if report.failed != before:
                print(s.daemon.log_tail(10))
            s.stop()

        def policy(name):
            return [c for c in s.orders["cases"] if c["input"]["policy"] == name]

        phase("no upstreams, no rotation", {},
              lambda: wait_until(lambda: ("web", 4) in s.chosen(), 10, "services"),
              lambda: s.suite(report, "answers", [c for c in s.answers["cases"] if args.only in "answers: " + c["id"]]),
              lambda: s.suite(report, "rename", [c for c in s.rename["cases"] if args.only in "rename: " + c["id"]]),
              lambda: each("truncation-edns", s.sizes["cases"], s.size),
              lambda: each("loadbalance", policy("disabled"), s.order))
        phase("round robin, upstreams",
              {"resolver__rotation": "round_robin", "resolver__upstreams": UPSTREAMS, "resolver__mesos_servers": MESOS,
               "resolver__forward_zones": {**FORWARD, **s.failing_zones}},
              lambda: each("loadbalance", policy("round_robin"), s.order),
              lambda: each("routing", s.routes["cases"], s.route),
              lambda: args.only in "failures" and s.fail(report))
        phase("random order", {"resolver__rotation": "random"}, lambda: each("loadbalance", policy("random"), s.order))
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

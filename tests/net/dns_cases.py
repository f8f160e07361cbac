#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""All of spec/mesos-dns-cases through the daemon's real sockets: each case's state.json replayed, its config.json imported,
its address in a namespace. What the reference answered is what has to come, but for the differences of dns_case_files.py;
with the settings that bring old behaviour back, those differences go too.

--self-check asks nobody: it feeds the expectations to the comparison, which has to accept them, and then with one thing
changed at a time, which it has to find. It needs neither root nor a daemon."""

import copy
import http.client
import json
import os
import socket
import struct
import sys
import tomllib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import dns_case_files as files  # noqa: E402
from lab import Daemon, Lab, Report, arguments, dns, expect  # noqa: E402

ADDRESS, DNS_PORT, HTTP_PORT = "198.51.100.53", 53, 8123
SHOWN = 6  # wrong answers told one by one
VARIANTS = {"": {}, "as it was": {"authority.empty_is_nxdomain": True, "authority.strict": False}}


def shared_folder():
    here = os.path.dirname(os.path.abspath(__file__))
    return os.environ.get("LS_SHARED_DIR") or os.path.join(here, "..", "..", "..", "shared")


def flat(table, prefix=""):
    """TOML as {"section.key": value}; only sections are folded, tables inside them are values."""
    if not prefix:
        return {k: v for section, values in table.items() for k, v in flat(values, section + ".").items()}
    return {prefix + key: value for key, value in table.items()}


def imported(node, case):
    out = node.run([node.lab.tool("loadstard"), "import", "mesos-dns", os.path.join(case.folder, "config.json")])
    return flat(tomllib.loads(out))


class HttpFrom(http.client.HTTPConnection):
    """An HTTP connection whose socket is in a namespace."""

    def __init__(self, place, host, port):
        super().__init__(host, port, timeout=5)
        self._place = place

    def connect(self):
        self.sock = dns.socket_in(self._place, socket.AF_INET, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect((self.host, self.port))


class Asked:
    """One case's daemon, asked."""

    def __init__(self, node, case, settings):
        self.node, self.case = node, case
        self.options = [k for k, v in settings.items() if v is True]
        self.daemon = Daemon(node, {"replay": case.state}, sock=False, tc=False,
                             settings={**imported(node, case), "node.roles": ["master"], "authority.enabled": True, "authority.transfer": [ADDRESS + "/32"],
                                       "source.kind": "replay", "replay.file": case.state, **settings})

    def start(self):
        self.daemon.start()

    def told(self, wrong, total):
        for line in wrong[:SHOWN]:
            print(f"     {line}")
        expect(not wrong, f"{len(wrong)} of {total} differ")
        return f"{total} equal"

    def wire(self):
        wrong, changed = [], {}
        with dns.Client(self.node, ADDRESS) as c:
            for q in self.case.wire:
                need, items = files.required(self.case, q, self.options)
                for i in items:
                    changed[i] = changed.get(i, 0) + 1
                try:
                    got = c.ask(q.name, q.type, tcp=q.tcp, cls=q.cls, edns=1232 if q.edns else None)
                    if found := files.compare_wire(need, got):
                        wrong.append(f"{q.question}: {'; '.join(found)}")
                except (TimeoutError, dns.Malformed, OSError) as e:
                    wrong.append(f"{q.question}: {e or type(e).__name__}")
        return self.told(wrong, len(self.case.wire)) + ", otherwise than the reference: " + ", ".join(f"{n} x {i}" for i, n in sorted(changed.items()))

    def records(self):
        """Every stored name and type over TCP, and the apex."""
        got = set()
        asked = sorted({(n, t) for n, t, *_ in self.case.expected})
        with dns.Client(self.node, ADDRESS) as c:
            for name, rtype in asked:
                m = c.ask(name, rtype, tcp=True)
                where = m.authority if rtype in ("SOA", "NS") and not m.answer else m.answer
                got |= {(r.name, r.type, files._soa_serial(r.data) if r.type == "SOA" else r.data) for r in where if r.type == rtype}
        return self.told(files.compare_records(self.case.expected, got), len(self.case.expected))

    def transfer(self):
        """AXFR over DNS holds the same records, and nothing else."""
        with dns.Client(self.node, ADDRESS, source=ADDRESS) as c:
            records = c.transfer(self.case.domain)
        expect(not isinstance(records, str), lambda: f"refused: {records}")
        expect(records[0].type == records[-1].type == "SOA", "does not begin and end with the SOA")
        got = {(r.name, r.type, r.data) for r in records if r.type not in ("SOA", "NS")}
        return self.told(files.compare_records([e for e in self.case.expected if e[1] not in ("SOA", "NS")], got), len(got))

    def transfer_refused(self):
        with dns.Client(self.node, ADDRESS, source="127.0.0.1") as c:
            answer = c.transfer(self.case.domain)
        expect(answer == "REFUSED", lambda: f"got {answer if isinstance(answer, str) else len(answer)}")

    def _get(self, request):
        connection = HttpFrom(self.node, ADDRESS, HTTP_PORT)
        try:
            connection.request(request.method, request.path, headers=request.headers)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()
        finally:
            connection.close()

    def http(self):
        wrong = []
        for request in self.case.http:
            try:
                if found := files.compare_http(request, *self._get(request)):
                    wrong.append(f"{request.question}: {'; '.join(found)}")
            except (OSError, http.client.HTTPException) as e:
                wrong.append(f"{request.question}: {type(e).__name__} {e}")
        return self.told(wrong, len(self.case.http))

    def _json(self, path):
        status, _, body = self._get(files.Request("GET", path, {}))
        expect(status == 200, f"{path}: {status} {body[:100]}")
        return json.loads(body)

    def axfr(self):
        return self.told(files.compare_axfr(self.case, self._json("/v1/axfr")), sum(len(v or ()) for v in self.case.axfr["Records"].values()))

    def enumerate(self):
        return self.told(files.compare_enumerate(self.case, self._json("/v1/enumerate")), sum(len(f["tasks"]) for f in self.case.enumerate["frameworks"]))


# --- the comparison itself

def as_message(q):
    """The message that `q` describes; choices by their first."""
    def data_of(rtype, text):
        if isinstance(text, frozenset):
            text = sorted(text)[0]
        if rtype == "A":
            return socket.inet_aton(text)
        if rtype == "AAAA":
            return socket.inet_pton(socket.AF_INET6, text)
        words = text.split(" ")
        if rtype == "SRV":
            return struct.pack(">3H", *map(int, words[:3])) + dns.encode_name(words[3])
        if rtype == "SOA":
            numbers = [7 if w == "SERIAL" else int(w) for w in words[2:]]
            return dns.encode_name(words[0]) + dns.encode_name(words[1]) + struct.pack(">5I", *numbers)
        return dns.encode_name(text)

    bits = sum(dns.FLAGS[f] for f in q.flags) | dns.FLAGS["qr"] | {v: k for k, v in dns.RCODES.items()}[q.rcode]
    answer = q.answer
    if q.part_of == "set":
        answer = [r for r in q.answer if r[2] == q.answer[0][2]]
    elif q.part_of == "part":
        answer = q.answer[:3]
    sections = [answer, q.authority, q.additional]
    out = struct.pack(">6H", 1, bits, 1, *(len(s) for s in sections[:2]), len(q.additional) + q.opt)
    out += dns.encode_name(q.name) + struct.pack(">HH", dns.TYPES[q.type], dns.CLASSES[q.cls])
    for name, ttl, rtype, data in (r for s in sections for r in s):
        octets = data_of(rtype, data)
        out += dns.encode_name(name) + struct.pack(">HHIH", dns.TYPES[rtype], 1, ttl, len(octets)) + octets
    if q.opt:
        out += b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0)
    return dns.Message(out)


def planted(q):
    """`q` with one thing changed, in several ways."""
    def changed(**values):
        c = copy.deepcopy(q)
        for key, value in values.items():
            setattr(c, key, value)
        return c

    yield "rcode", changed(rcode="SERVFAIL")
    yield "aa", changed(flags=q.flags ^ {"aa"})
    yield "ra", changed(flags=q.flags ^ {"ra"})
    yield "opt", changed(opt=not q.opt)
    stranger = (q.name, 60, "A", "203.0.113.77")
    for section in ("answer", "authority", "additional"):
        if q.part_of and section != "answer":
            continue
        records = getattr(q, section)
        yield f"{section}: one more", changed(**{section: [*records, stranger]}, part_of="")
        if records and not q.part_of:
            name, ttl, rtype, data = records[0]
            yield f"{section}: one less", changed(**{section: records[1:]})
            yield f"{section}: ttl", changed(**{section: [(name, ttl + 1, rtype, data), *records[1:]]})
            yield f"{section}: owner", changed(**{section: [("x." + name, ttl, rtype, data), *records[1:]]})
            if rtype == "SRV":
                yield f"{section}: data", changed(**{section: [(name, ttl, rtype, data.replace("0 ", "1 ", 1)), *records[1:]]})


def self_check(shared):
    report = Report()
    for name in files.CASES:
        case = files.read_case(shared, name)

        def wire():
            found = 0
            for options in ([], ["authority.empty_is_nxdomain"]):
                for q in case.wire:
                    need, _ = files.required(case, q, options)
                    message = as_message(need)
                    wrong = files.compare_wire(need, message)
                    expect(not wrong, lambda: f"{q.question}: its own expectation is refused: {wrong}")
                    for what, other in planted(need):
                        expect(files.compare_wire(need, as_message(other)), lambda: f"{q.question}: planted {what} was not found")
                        found += 1
            return f"{len(case.wire)} questions, {found} planted differences found"

        def others():
            got = {(n, t, d) for n, t, d, _ in case.expected}
            expect(not files.compare_records(case.expected, got), "its own records are refused")
            one = next(iter(got))
            expect(files.compare_records(case.expected, got - {one}) and files.compare_records(case.expected, got | {("x.", "A", "1.2.3.4")}),
                   "a planted record was not found")
            for r in case.http:
                if not r.status:
                    continue
                body = json.dumps(r.body) if r.content_type == "application/json" else r.body
                expect(not files.compare_http(r, r.status, r.content_type, body), lambda: f"{r.question}: its own answer is refused")
                expect(files.compare_http(r, r.status + 1, r.content_type, body), lambda: f"{r.question}: another status was not found")
                if not r.path.rstrip("/").endswith(("version", "axfr", "enumerate")):
                    other = body.replace('"', '"x', 1) if "json" in r.content_type else body + "x"
                    expect(files.compare_http(r, r.status, r.content_type, other), lambda: f"{r.question}: another body was not found")

            def stored(axfr):  # what a server that leaves out names with empty labels lists
                axfr = copy.deepcopy(axfr)
                for kind, names in axfr["Records"].items():
                    axfr["Records"][kind] = {n: v for n, v in (names or {}).items() if not n.startswith(".")}
                return axfr
            good = stored(case.axfr)
            expect(not files.compare_axfr(case, good), lambda: f"its own axfr is refused: {files.compare_axfr(case, good)[:2]}")
            bad = copy.deepcopy(good)
            bad["Records"]["As"].popitem()
            expect(files.compare_axfr(case, bad), "a missing name in axfr was not found")
            tree = copy.deepcopy(case.enumerate)
            for f in tree["frameworks"]:
                for t in f["tasks"]:
                    if t["records"] is not None:
                        t["records"] = [r for r in t["records"] if not r["name"].startswith(".")]
            expect(not files.compare_enumerate(case, tree), lambda: f"its own enumerate is refused: {files.compare_enumerate(case, tree)[:2]}")
            for f in tree["frameworks"]:
                for t in f["tasks"]:
                    if t["records"] and len(t["records"]) > 1:
                        t["records"].reverse()
            expect(files.compare_enumerate(case, tree), "another order in enumerate was not found")

        report.run(f"{name}: wire", wire)
        report.run(f"{name}: records, HTTP, axfr, enumerate", others)
    return report.close()


def main():
    if "--self-check" in sys.argv:
        if not os.path.isdir(os.path.join(shared_folder(), "spec")):
            print(f"skipped: {shared_folder()}/spec is missing")
            return 77
        return self_check(shared_folder())
    args = arguments(__doc__)
    if not os.path.isdir(os.path.join(shared_folder(), "spec")):
        print(f"skipped: {shared_folder()}/spec is missing")
        return 77
    report = Report()
    with Lab(nodes=1, tools=args.tools) as lab:
        node = lab.node(1)
        node.ip(f"addr add {ADDRESS}/32 dev lo")
        # The only name that a case looks up is localhost, and it has one address.
        hosts = os.path.join(lab.dir, "hosts")
        with open(hosts, "w") as f:
            f.write("127.0.0.1 localhost\n")
        node.run(["mount", "--bind", hosts, "/etc/hosts"])
        for name in files.CASES:
            case = files.read_case(shared_folder(), name)
            for variant, settings in VARIANTS.items():
                title = name + (f", {variant}" if variant else "")
                if args.only not in title:
                    continue
                before = report.failed
                made = []
                report.run(f"{title}: start", lambda: made.append(Asked(node, case, settings)) or made[0].start())
                if report.failed == before:
                    asked = made[0]
                    checks = {"wire": asked.wire}
                    if not variant:
                        checks.update({"records": asked.records, "transfer": asked.transfer, "transfer refused": asked.transfer_refused,
                                       "http": asked.http, "axfr": asked.axfr, "enumerate": asked.enumerate})
                    for what, check in checks.items():
                        report.run(f"{title}: {what}", check)
                if made and made[0].daemon.process:
                    if report.failed != before:
                        print(made[0].daemon.log_tail(8))
                    made[0].daemon.stop()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Odd questions that a name server must answer: RFC 8906 section 8 and the EDNS compliance list that goes with it.

Each question of the table goes over UDP and TCP to an authority and to a resolver that forwards to it. "ok" is an answer with
what the RFC expects; silence is never ok. Everything stays on 127.0.0.1."""
import os
import sys

# In place of this folder, whose operator.py hides the module of that name.
sys.path[0] = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support")
sys.path.append("/usr/lib/python3/dist-packages")  # Debian's modules, when another Python runs this
import socket  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402

try:
    import dns.edns
    import dns.flags
    import dns.message
    import dns.opcode
    import dns.query
    import dns.rcode
    import dns.rdatatype
    import dns.rrset
except ImportError:
    print("skipped: python3-dnspython is not installed")
    sys.exit(77)
from lab import Report, expect  # noqa: E402

ZONE = "compliance.test."
RECORDS = """
@ 60 TXT "apex"
ns 60 A 127.0.0.1
""" + "\n".join(f"many 60 A 10.2.0.{i}" for i in range(100)) + "\n"
PATIENCE_S = 5.0

NOERROR, FORMERR, NOTIMP, REFUSED, BADVERS = (
    dns.rcode.NOERROR, dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.REFUSED, dns.rcode.BADVERS)
COOKIE = dns.edns.GenericOption(10, bytes(range(8)))
OPTLIST = [dns.edns.GenericOption(3, b""), dns.edns.ECSOption("0.0.0.0", 0, 0), dns.edns.GenericOption(9, b""), COOKIE]


class Case:
    """A question and what must come back. `edns`: None for no OPT in the answer, else its version."""

    def __init__(self, name, rcode=NOERROR, soa=True, edns=None, check=None, rdtype="SOA", rdclass="IN", flags=0,
                 opcode=dns.opcode.QUERY, header_only=False, ask_edns=None, payload=1232, ednsflags=0, options=(), qname=ZONE):
        self.name, self.rcode, self.soa, self.edns, self.check = name, rcode, soa, edns, check
        self.opcode, self.header_only = opcode, header_only
        q = dns.message.make_query(qname, rdtype, rdclass, use_edns=False)
        q.flags = flags
        q.set_opcode(opcode)
        if ask_edns is not None:
            q.use_edns(ask_edns, (ednsflags & 0xFFFF) | ask_edns << 16, payload, options=list(options))
        self.question = q

    def wire(self):
        wire = self.question.to_wire()
        if self.header_only:
            wire = wire[:4] + bytes(8)
        return wire

    def judge(self, wire, rd):
        a = dns.message.from_wire(wire)
        expect(a.id == self.question.id, "another id")
        expect(a.flags & dns.flags.QR, "not a response")
        expect(a.opcode() == self.opcode, f"opcode {a.opcode()}")
        expect(a.rcode() == self.rcode, f"rcode {dns.rcode.to_text(a.rcode())}")
        expect(not a.flags & 0x0040, "the reserved bit is set")
        expect(bool(a.flags & dns.flags.RD) == rd, "RD is not copied")
        found = any(s.rdtype == dns.rdatatype.SOA for s in a.answer)
        expect(found == self.soa, f"SOA in the answer: {found}")
        expect((a.edns if a.edns >= 0 else None) == self.edns, f"EDNS version {a.edns}")
        if self.edns is not None:
            expect(not a.ednsflags & 0x7FFF, "unknown EDNS flags sent back")
            known = {3, 8, 9, 10, 15}
            expect(all(int(o.otype) in known for o in a.options), "unknown option sent back")
        if not self.header_only and self.question.question and self.rcode != NOTIMP:
            expect(a.question == self.question.question, "the question is not repeated")
        if self.check:
            self.check(a, wire)


def has_cookie(a, _wire):
    data = [o.data for o in a.options if int(o.otype) == 10]
    expect(len(data) == 1 and data[0][:8] == bytes(range(8)) and len(data[0]) == 24, "no server cookie")


def fits_512(_a, wire):
    expect(len(wire) <= 512, f"{len(wire)} octets")


def authority(a, _wire):
    expect(a.flags & dns.flags.AA, "AA is not set")


CASES = [
    # 8.1 basic
    Case("soa", check=authority),
    Case("unknown type", rdtype=1000, soa=False),
    Case("unknown type, large", rdtype=65000, soa=False),
    Case("CD", flags=dns.flags.CD),
    Case("AD", flags=dns.flags.AD),
    Case("reserved bit", flags=0x0040),
    Case("AA set in the question", flags=dns.flags.AA),
    Case("RA set in the question", flags=dns.flags.RA),
    Case("RD", flags=dns.flags.RD),
    Case("unknown opcode", rcode=NOTIMP, soa=False, opcode=15, header_only=True),
    Case("IQUERY", rcode=NOTIMP, soa=False, opcode=dns.opcode.IQUERY, header_only=True),
    Case("STATUS", rcode=NOTIMP, soa=False, opcode=dns.opcode.STATUS, header_only=True),
    Case("NOTIFY", rcode=NOTIMP, soa=False, opcode=dns.opcode.NOTIFY, header_only=True),
    Case("UPDATE", rcode=NOTIMP, soa=False, opcode=dns.opcode.UPDATE, header_only=True),
    Case("no question", rcode=FORMERR, soa=False, header_only=True),
    Case("class CHAOS", rcode=REFUSED, soa=False, rdclass="CH"),
    Case("unknown class", rcode=REFUSED, soa=False, rdclass=4711),
    # 8.2 EDNS
    Case("edns", ask_edns=0, edns=0),
    Case("edns1", ask_edns=1, edns=0, rcode=BADVERS, soa=False),
    Case("edns@512", ask_edns=0, edns=0, payload=512, check=fits_512),
    Case("edns@0", ask_edns=0, edns=0, payload=0, check=fits_512),
    Case("ednsopt", ask_edns=0, edns=0, options=[dns.edns.GenericOption(100, b"")]),
    Case("ednsopt with data", ask_edns=0, edns=0, options=[dns.edns.GenericOption(65001, bytes(100))]),
    Case("edns1opt", ask_edns=1, edns=0, rcode=BADVERS, soa=False, options=[dns.edns.GenericOption(100, b"")]),
    Case("do", ask_edns=0, edns=0, ednsflags=0x8000),
    Case("edns1do", ask_edns=1, edns=0, rcode=BADVERS, soa=False, ednsflags=0x8000),
    Case("ednsflags", ask_edns=0, edns=0, ednsflags=0x0040),
    Case("edns1flags", ask_edns=1, edns=0, rcode=BADVERS, soa=False, ednsflags=0x0080),
    Case("docookie", ask_edns=0, edns=0, ednsflags=0x8000, options=[COOKIE], check=has_cookie),
    Case("optlist", ask_edns=0, edns=0, options=OPTLIST, check=has_cookie),
    Case("DNSKEY @512 with do", ask_edns=0, edns=0, payload=512, ednsflags=0x8000, rdtype="DNSKEY", soa=False, check=fits_512),
    Case("bad cookie", ask_edns=0, edns=0, options=[dns.edns.GenericOption(10, bytes(24))]),
]


def truncation(reply_of):
    """What does not fit comes with TC over UDP, whole over TCP."""
    for payload in (None, 512, 1232):
        case = Case("many", soa=False, rdtype="A", qname="many." + ZONE, flags=dns.flags.RD,
                    **({} if payload is None else {"ask_edns": 0, "edns": 0, "payload": payload}))
        wire = reply_of(case, tcp=False)
        expect(len(wire) <= (payload or 512), f"{len(wire)} octets to {payload}")
        expect(dns.message.from_wire(wire).flags & dns.flags.TC, f"TC is not set for {payload}")
        whole = dns.message.from_wire(reply_of(case, tcp=True))
        expect(not whole.flags & dns.flags.TC and len(whole.answer[0]) == 100, "not whole over TCP")


class Server:
    def __init__(self, *options):
        path = os.path.join(os.environ.get("LS_BUILD_DIR", "build/dev"), "tests/tools/ls-dns-server")
        if not os.path.exists(path):
            print(f"skipped: {path} is not built")
            sys.exit(77)
        self.process = subprocess.Popen([path, "--listen", "127.0.0.1:0", "--workers", "2", *options], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline().split()
        if line[:1] != ["listening"]:
            raise SystemExit("ls-dns-server did not start")
        self.port = int(line[1].rsplit(":", 1)[1])

    def reply(self, case, tcp):
        wire = case.wire()
        if tcp:
            with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as s:
                s.sendall(len(wire).to_bytes(2, "big") + wire)
                with s.makefile("rb") as stream:
                    length = int.from_bytes(stream.read(2), "big")
                    return stream.read(length)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(PATIENCE_S)
            s.connect(("127.0.0.1", self.port))
            s.send(wire)
            return s.recv(65535)

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()


def ask(server, case, tcp, resolver):
    asked_rd = bool(case.question.flags & dns.flags.RD)
    if resolver and case.opcode == dns.opcode.QUERY and not case.header_only:
        case.question.flags |= dns.flags.RD  # without it a resolver has nothing to say of others' names
        asked_rd = True
    check = case.check
    if resolver and check is authority:
        case.check = None
    try:
        case.judge(server.reply(case, tcp), asked_rd and not case.header_only)
    finally:
        case.check = check


def main():
    report = Report()
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as records:
        records.write(RECORDS)
        records.flush()
        zone = Server("--zone", ZONE, "--records", records.name)
        resolver = Server("--resolver", "--forward", f"127.0.0.1:{zone.port}")
        try:
            for server, name in ((zone, "authority"), (resolver, "resolver")):
                for tcp in (False, True):
                    for case in CASES:
                        report.run(f"{name}, {'tcp' if tcp else 'udp'}: {case.name}", ask, server, case, tcp, server is resolver)
                report.run(f"{name}: truncation", truncation, server.reply)
        finally:
            resolver.close()
            zone.close()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

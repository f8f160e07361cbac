# SPDX-License-Identifier: Apache-2.0
"""DNS messages from outside: an encoder and a decoder of their own, so that the tests share nothing with what they test,
and a client whose sockets are in a namespace of the lab.

    with Client(place, "198.51.100.1") as c:
        answer = c.ask("web.marathon.mesos", "A")          # UDP, RD set
        answer.rcode, answer.flags, answer.answer           # "NOERROR", {"qr", "aa", ...}, [Record(name, type, ttl, data)]

Names are text with a final dot, octets outside printable ASCII and blanks, dots and backslashes inside labels as \\DDD.
Data is text as in a zone file; of a SOA all seven fields."""
import os
import random
import socket
import struct
import time
from collections import namedtuple

from .proc import CLONE_NEWNET, _setns

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "HINFO": 13, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "NAPTR": 35, "DNAME": 39,
         "OPT": 41, "DS": 43, "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "TLSA": 52, "SVCB": 64, "HTTPS": 65, "IXFR": 251, "AXFR": 252,
         "ANY": 255, "CAA": 257}
CLASSES = {"IN": 1, "CH": 3, "HS": 4, "NONE": 254, "ANY": 255}
OPCODES = {"QUERY": 0, "IQUERY": 1, "STATUS": 2, "NOTIFY": 4, "UPDATE": 5}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 9: "NOTAUTH", 16: "BADVERS", 23: "BADCOOKIE"}
FLAGS = {"qr": 0x8000, "aa": 0x0400, "tc": 0x0200, "rd": 0x0100, "ra": 0x0080, "ad": 0x0020, "cd": 0x0010}
_TYPE_NAMES = {v: k for k, v in TYPES.items()}
_CLASS_NAMES = {v: k for k, v in CLASSES.items()}


class Malformed(ValueError):
    """A message that breaks the format; says where."""


Record = namedtuple("Record", "name type ttl data cls", defaults=("IN",))


def type_number(name):
    return TYPES[name] if name in TYPES else int(name.removeprefix("TYPE"))


def type_name(number):
    return _TYPE_NAMES.get(number, f"TYPE{number}")


def labels_of(name):
    """Labels of a name in text, as octets."""
    labels, current, i = [], bytearray(), 0
    text = name[:-1] if name.endswith(".") and not name.endswith("\\.") else name
    while i < len(text):
        c = text[i]
        if c == "\\":
            digits = text[i + 1:i + 4]
            if digits.isdigit() and len(digits) == 3:
                current.append(int(digits))
                i += 4
            else:
                current.append(ord(text[i + 1]))
                i += 2
            continue
        if c == ".":
            labels.append(bytes(current))
            current = bytearray()
        else:
            current += c.encode()
        i += 1
    if text:
        labels.append(bytes(current))
    return labels


def encode_name(name):
    return b"".join(bytes([len(label)]) + label for label in labels_of(name)) + b"\0"


def label_text(label):
    return "".join(chr(b) if 33 <= b <= 126 and b not in b".\\" else f"\\{b:03d}" for b in label)


def query(name, type="A", id=0, rd=True, cls="IN", opcode="QUERY", edns=None, flags=(), edns_version=0, do=False, options=b""):
    """`edns`: the UDP size to announce; None: no OPT."""
    bits = sum(FLAGS[f] for f in flags) | (FLAGS["rd"] if rd else 0)
    bits |= (OPCODES[opcode] if isinstance(opcode, str) else opcode) << 11
    message = struct.pack(">6H", id, bits, 1, 0, 0, 0 if edns is None else 1)
    message += encode_name(name) + struct.pack(">HH", type_number(type), CLASSES[cls] if isinstance(cls, str) else cls)
    if edns is not None:
        message += b"\0" + struct.pack(">HHBBHH", 41, edns, 0, edns_version, 0x8000 if do else 0, len(options)) + options
    return message


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if self.at + n > len(self.data):
            raise Malformed(f"cut off at octet {len(self.data)}")
        part = self.data[self.at:self.at + n]
        self.at += n
        return part

    def number(self, n):
        return int.from_bytes(self.take(n), "big")

    def name(self):
        text, self.at = self._name_at(self.at, len(self.data))
        return text

    def _name_at(self, at, limit):
        labels, total, end = [], 0, None
        while True:
            if at >= len(self.data):
                raise Malformed("name runs out of the message")
            n = self.data[at]
            if n >= 0xC0:
                if at + 1 >= len(self.data):
                    raise Malformed("pointer cut off")
                to = (n & 0x3F) << 8 | self.data[at + 1]
                end = end or at + 2
                if to >= min(at, limit):
                    raise Malformed("pointer does not go back")
                at, limit = to, to
                continue
            if n > 63:
                raise Malformed("unknown kind of label")
            if n == 0:
                return ("".join(label_text(x) + "." for x in labels) or "."), end or at + 1
            total += n + 1
            if total > 254 or at + 1 + n > len(self.data):
                raise Malformed("name too long or cut off")
            labels.append(self.data[at + 1:at + 1 + n])
            at += n + 1


def _quoted(data):
    return '"' + "".join(chr(b) if 32 <= b <= 126 and b not in b'"\\' else f"\\{b:03d}" for b in data) + '"'


def _data_text(reader, rtype, length):
    end = reader.at + length
    if end > len(reader.data):
        raise Malformed("data cut off")
    name = type_name(rtype)
    if name == "A" and length == 4:
        text = socket.inet_ntop(socket.AF_INET, reader.take(4))
    elif name == "AAAA" and length == 16:
        text = socket.inet_ntop(socket.AF_INET6, reader.take(16))
    elif name in ("NS", "CNAME", "PTR", "DNAME"):
        text = reader.name()
    elif name == "MX":
        text = f"{reader.number(2)} {reader.name()}"
    elif name == "SRV":
        text = f"{reader.number(2)} {reader.number(2)} {reader.number(2)} {reader.name()}"
    elif name == "SOA":
        mname, rname = reader.name(), reader.name()
        text = " ".join([mname, rname, *(str(reader.number(4)) for _ in range(5))])
    elif name == "TXT":
        parts = []
        while reader.at < end:
            parts.append(_quoted(reader.take(reader.number(1))))
        text = " ".join(parts)
    else:
        text = f"\\# {length} {reader.take(length).hex()}".strip()
    if reader.at != end:
        raise Malformed(f"{name} data of {length} octets does not end where it should")
    return text


class Message:
    """A decoded message. `question` is (name, type, class) or None; `edns` is None or a dict."""

    def __init__(self, data):
        self.size, self.raw = len(data), data
        r = _Reader(data)
        self.id, bits, qd, an, ns, ar = struct.unpack(">6H", r.take(12))
        self.flags = {f for f, bit in FLAGS.items() if bits & bit}
        self.opcode = bits >> 11 & 15
        self.z = bool(bits & 0x40)
        rcode = bits & 15
        self.counts = (qd, an, ns, ar)
        self.questions = [(r.name(), type_name(r.number(2)), _CLASS_NAMES.get(n := r.number(2), n)) for _ in range(qd)]
        self.question = self.questions[0] if self.questions else None
        self.edns = None
        self.answer, self.authority, self.additional = (self._section(r, n) for n in (an, ns, ar))
        if self.edns:
            rcode |= self.edns["rcode"] << 4
        self.rcode = RCODES.get(rcode, str(rcode))
        self.trailing = len(data) - r.at

    def _section(self, r, count):
        records = []
        for _ in range(count):
            name, rtype, cls, ttl, length = r.name(), r.number(2), r.number(2), r.number(4), r.number(2)
            if rtype == 41:
                if self.edns or name != ".":
                    raise Malformed("more than one OPT, or one with a name")
                self.edns = {"size": cls, "rcode": ttl >> 24, "version": ttl >> 16 & 255, "do": bool(ttl & 0x8000), "options": r.take(length)}
                continue
            records.append(Record(name, type_name(rtype), ttl, _data_text(r, rtype, length), _CLASS_NAMES.get(cls, str(cls))))
        return records

    def data(self, type=None):
        """Data of the answer section, of one type, sorted."""
        return sorted(a.data for a in self.answer if type in (None, a.type))

    def __repr__(self):
        return f"{self.rcode} {sorted(self.flags)} AN {self.answer} NS {self.authority} AR {self.additional} EDNS {self.edns}"


def socket_in(place, family, kind):
    """A socket of another network namespace: this thread enters it, opens the socket and comes back."""
    if place is None:
        return socket.socket(family, kind)
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{place.netns}", os.O_RDONLY)
    try:
        _setns(there, CLONE_NEWNET)
        try:
            return socket.socket(family, kind)
        finally:
            _setns(here, CLONE_NEWNET)
    finally:
        os.close(here)
        os.close(there)


def read_exactly(sock, n):
    data = b""
    while len(data) < n:
        part = sock.recv(n - len(data))
        if not part:
            raise ConnectionError(f"closed after {len(data)} of {n} octets")
        data += part
    return data


class Client:
    """Asks one server from `place` (None: from here). One UDP socket, made anew when it is asked from another port."""

    def __init__(self, place, address, port=53, source=None):
        self.place, self.address, self.port, self.source = place, address, port, source
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._udp = self._tcp = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for s in (self._udp, self._tcp):
            if s:
                s.close()
        self._udp = self._tcp = None

    def _open(self, kind):
        s = socket_in(self.place, self.family, kind)
        if self.source:
            s.bind((self.source, 0))
        return s

    def send_udp(self, message):
        if not self._udp:
            self._udp = self._open(socket.SOCK_DGRAM)
            self._udp.connect((self.address, self.port))
        self._udp.send(message)

    def receive_udp(self, timeout):
        self._udp.settimeout(timeout)
        return self._udp.recv(65535)

    def tcp(self, timeout=3):
        """The TCP connection, opened when there is none."""
        if not self._tcp:
            s = self._open(socket.SOCK_STREAM)
            s.settimeout(timeout)
            s.connect((self.address, self.port))
            self._tcp = s
        self._tcp.settimeout(timeout)
        return self._tcp

    def receive_tcp(self, timeout=3):
        s = self.tcp(timeout)
        return read_exactly(s, int.from_bytes(read_exactly(s, 2), "big"))

    def raw(self, message, tcp=False, timeout=3):
        """One message there, one back, as octets."""
        if tcp:
            for attempt in (1, 2):
                try:
                    self.tcp(timeout).sendall(len(message).to_bytes(2, "big") + message)
                    return self.receive_tcp(timeout)
                except ConnectionError:
                    if self._tcp:  # none: nobody listens
                        self._tcp.close()
                    self._tcp = None
                    if attempt == 2:
                        raise
        self.send_udp(message)
        return self.receive_udp(timeout)

    def ask(self, name, type="A", tcp=False, timeout=3, tries=2, id=None, **more):
        """A decoded answer to this question; datagrams that answer another one are passed over."""
        for attempt in range(1, tries + 1):
            number = random.randrange(65536) if id is None else id
            message = query(name, type, id=number, **more)
            try:
                if tcp:
                    answer = Message(self.raw(message, True, timeout))
                    if answer.id != number:
                        raise Malformed("TCP answer with another id")
                    return answer
                self.send_udp(message)
                end = time.monotonic() + timeout
                while True:
                    answer = Message(self.receive_udp(max(0.001, end - time.monotonic())))
                    if answer.id == number:
                        return answer
            except ConnectionRefusedError:
                if attempt == tries:
                    raise
                time.sleep(0.05)
            except TimeoutError:
                if attempt == tries:
                    raise TimeoutError(f"{self.address}:{self.port}: no answer to {name} {type}{' over TCP' if tcp else ''}") from None

    def transfer(self, zone, timeout=5):
        """AXFR: records in the order they came; or the rcode as text when it is refused."""
        s = self.tcp(timeout)
        message = query(zone, "AXFR", id=random.randrange(65536), rd=False)
        s.sendall(len(message).to_bytes(2, "big") + message)
        records, soas = [], 0
        while soas < 2:
            m = Message(self.receive_tcp(timeout))
            if m.rcode != "NOERROR" or not m.answer:
                return m.rcode
            for r in m.answer:
                soas += r.type == "SOA"
                records.append(r)
        return records

# SPDX-License-Identifier: Apache-2.0
"""The scene of the tests of DNS answers in the kernel: an agent on n1 that answers for the Mesos domain and the cluster's own
zones itself and forwards the rest to a scripted upstream; clients wherever clients can be; what the kernel and the process
counted, and checksums as a client's device sees them."""
import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import threading

from lab import Daemon, Upstreams, dns, expect, proc, state, wait_until
from mesos import MASTERS, Standin

RESOLVERS = ["198.51.100.1", "198.51.100.2", "198.51.100.3", "fd01:d::c633:6401"]
R4, R6 = RESOLVERS[0], RESOLVERS[3]
UPSTREAM = "10.10.0.254"
UPSTREAM_TTL = 8
STABLE = [f"s{i}" for i in range(20)]
MARATHON = state.FRAMEWORK_NAME
L4LB = [f"{a}.{b}" for a in ("l4lb", "dclb") for b in ("thisdcos.directory", "thisdcos.global")]
# Up to rate_drop a question ends in the kernel (abi/dns.h).
FINAL = ("hit", "nodata", "nxdomain", "cached", "refused", "slip", "rate_drop")
PACKET_AUXDATA, SOL_PACKET, TP_STATUS_CSUMNOTREADY = 8, 263, 8


def address_of(i):
    return f"9.0.77.{i + 1}"


def stable_task(i, name):
    return (f"task add {name} F1 A{1 + i % 2} name={name} container=mesos network=dcos ip={address_of(i)} ip=fd01:b:77::{i + 1:x} "
            f"port=8080 scope=container vip=/{name}:80")


class Counts:
    """What the kernel and the process had counted at one moment; `after - before` is what came between."""

    def __init__(self, by_hook, process):
        self.by_hook, self.process = by_hook, process

    def __sub__(self, before):
        return Counts({k: n - before.by_hook.get(k, 0) for k, n in self.by_hook.items() if n != before.by_hook.get(k, 0)},
                      self.process - before.process)

    def sum(self, hook=None, results=FINAL):
        return sum(n for (h, r), n in self.by_hook.items() if hook in (None, h) and r in results)

    def up(self, hook=None):
        return sum(n for (h, r), n in self.by_hook.items() if hook in (None, h) and r not in FINAL)

    def __repr__(self):
        return f"kernel {', '.join(f'{h}/{r} {n}' for (h, r), n in sorted(self.by_hook.items()))}; process {self.process}"


class Scene:
    def __init__(self, lab, **settings):
        self.lab = lab
        self.n1, self.n2, self.fabric = lab.node(1), lab.node(2), lab.fabric
        self.client = self.n1.routed("cl")
        # Two, so that the bridge's address is not that of every port.
        self.bridged = [self.n1.bridged("b1"), self.n1.bridged("b2")]
        lab.fabric.ip(*[f"addr add {m}/24 dev fab" for m in MASTERS])
        self.n2.ip("route add 198.51.100.0/24 via 10.10.0.11", "route add fd01:d::/64 via fd00:10::11")
        self.mesos = Standin(lab, "mesos", 5050)
        self.mesos.say("heartbeat 1s", "agent add A1 10.10.0.11", "agent add A2 10.10.0.12", f"framework add F1 {MARATHON}",
                       *[stable_task(i, n) for i, n in enumerate(STABLE)])
        self.upstream = Upstreams(self.fabric, {f"{UPSTREAM}:53": {"address": "192.0.2.10", "ttl": UPSTREAM_TTL}})
        self.agent = self.make_agent(**settings)

    def make_agent(self, **more):
        return Daemon(self.n1, {"mesos": self.mesos.masters}, sock=False, tc=True, settings={
            "resolver.enabled": True, "resolver.upstreams": [f"{UPSTREAM}:53"], "resolver.mesos_servers": [], "dns.workers": 1,
            "dns.kernel_names": 65536, "dns.kernel_megabytes": 16, **{k.replace("__", "."): v for k, v in more.items()}})

    def start(self):
        took = self.agent.start()
        wait_until(lambda: self.data(f"s0.{MARATHON}.mesos", place=self.n1) == [address_of(0)], 10, "names of the cluster")
        return took

    def restart(self, **settings):
        if self.agent.process and self.agent.process.poll() is None:
            self.agent.stop()
        self.agent = self.make_agent(**settings)
        return self.start()

    # --- questions

    def ask(self, name, rtype="A", server=R4, place=None, **more):
        with dns.Client(place or self.client, server) as c:
            return c.ask(name, rtype, **more)

    def data(self, name, rtype="A", **more):
        try:
            return self.ask(name, rtype, timeout=0.5, tries=1, **more).data(rtype)
        except (TimeoutError, OSError):
            return None

    def kdig(self, place, server, name, rtype="A", *options):
        """The answer section as (name, type, data), the status, and all that it printed."""
        out = place.run(["kdig", f"@{server}", name, rtype, "+noidn", "+retry=0", "+timeout=3", *options], timeout=20)
        status = next((line.partition("status: ")[2].split(";")[0] for line in out.splitlines() if "status: " in line), None)
        rows = [line.split(None, 4) for line in out.splitlines() if line and not line.startswith(";")]
        return [(r[0], r[3], r[4]) for r in rows if len(r) == 5], status, out

    # --- what was counted

    def cli(self, *args, code=0, timeout=20):
        p = self.n1.spawn([self.lab.tool("loadstar"), "-s", self.agent.socket, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
        try:
            out, err = p.communicate(timeout=timeout)
        finally:
            self.lab.processes.remove(p)
        expect(code is None or p.returncode == code, f"loadstar {' '.join(args)}: exit {p.returncode}, not {code}: {err or out}")
        return out

    def json(self, *args):
        return json.loads(self.cli(*args, "-o", "json"))

    def kernel(self):
        return self.agent.get("/v1/dns/kernel")

    def counts(self):
        return Counts({(c["hook"], c["result"]): c["count"] for c in self.kernel()["counts"]}, self.agent.metric("loadstar_dns_queries_total"))

    def only_kernel(self, hook, what, questions, no_room=False):
        """what() asks so many questions; all of them were answered at `hook`, and the process heard of none. `no_room`: but for those whose
        packets had no room for the answer: what a veth makes of a local packet for XDP is only as long as the packet."""
        before = self.counts()
        value = what()
        c = self.counts() - before
        if no_room:
            lacking = c.sum(hook, ("up_no_room",))
            expect(lacking < questions and c.sum(hook) + lacking == questions and c.process == lacking == c.up(),
                   lambda: f"{questions} questions were to be answered at {hook}: {c}")
            return value
        expect(c.sum(hook) == questions and c.sum() == questions and not c.up() and not c.process,
               lambda: f"{questions} questions were to be answered at {hook}: {c}")
        return value

    def only_process(self, hook, what, questions, reason):
        before = self.counts()
        value = what()
        c = self.counts() - before
        expect(not c.sum() and c.process == questions and c.sum(hook, (reason,)) == (questions if reason else 0),
               lambda: f"{questions} questions were to go up at {hook} as {reason}: {c}")
        return value

    # --- load

    def names_file(self):
        """Names that exist all the time, with the only right answer."""
        path = os.path.join(self.lab.dir, "stable-names")
        vips = {s["name"]: s["address"] for s in self.agent.get("/v1/services") if ":" not in s["address"] and s["name"]}
        with open(path, "w") as f:
            for i, n in enumerate(STABLE):
                f.write(f"{n}.{MARATHON}.mesos A {address_of(i)}\n")
                f.write(f"{n}.{MARATHON}.autoip.dcos.thisdcos.directory A {address_of(i)}\n")
                f.write(f"{n}.{MARATHON}.l4lb.thisdcos.directory A {vips[f'{n}.{MARATHON}']}\n")
        return path

    def load(self, names, seconds, rate, place=None, timeout=1):
        return (place or self.client).spawn([self.lab.tool("dns-generate"), "--to", f"{R4}:53", "--names", names, "--seconds", seconds, "--rate", rate,
                                             "--window", 8192, "--timeout", timeout], stdout=subprocess.PIPE, text=True)

    def result(self, load):
        out, _ = load.communicate(timeout=60)
        self.lab.processes.remove(load)
        expect(load.returncode == 0, f"dns-generate ended with {load.returncode}")
        return json.loads(out)


def unharmed(r):
    expect(r["wrong"] == 0, lambda: f"{r['wrong']} wrong answers, first: {r['first_wrong']}")
    expect(r["lost"] == 0 and set(r["rcodes"]) == {"0"}, lambda: f"{r['lost']} of {r['sent']} lost, rcodes {r['rcodes']}")
    return f"{r['answers']} answers, {r['answers_in_time'] * 1e6 / r['wall_us']:.0f}/s, p99 {r['p99_us'] / 1000:.1f} ms"


def _sum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


class Checksums:
    """Reads what arrives at a device and looks at the checksums of UDP from port 53: right in the packet, or left to the kernel with
    the right beginning (the pseudo header's sum)."""

    def __init__(self, place, device="eth0"):
        self.socket = dns.socket_in(place, socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.bind((device, 3))  # ETH_P_ALL
        self.socket.settimeout(0.2)
        self.seen = {"full": 0, "partial": 0, "none": 0}
        self.bad = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self.socket.close()

    def _read(self):
        while not self._stop.is_set():
            try:
                frame, more, _, address = self.socket.recvmsg(65536, 256)
            except TimeoutError:
                continue
            status = next((struct.unpack("=I", d[:4])[0] for level, kind, d in more if level == SOL_PACKET and kind == PACKET_AUXDATA), 0)
            if address[2] != 4:  # PACKET_OUTGOING
                self._look(frame, bool(status & TP_STATUS_CSUMNOTREADY))

    def _look(self, frame, partial):
        proto = int.from_bytes(frame[12:14], "big")
        if proto == 0x0800 and frame[23] == 17:
            ip, at = frame[14:34], 34
            pseudo = ip[12:20] + b"\0\x11"
            if _sum(ip) != 0xFFFF:
                self.bad.append("IPv4 header")
            total = int.from_bytes(ip[2:4], "big") - 20
        elif proto == 0x86DD and frame[20] == 17:
            at = 54
            pseudo = frame[22:54] + b"\0\x11"
            total = int.from_bytes(frame[18:20], "big")
        else:
            return
        udp = frame[at:at + total]
        if udp[:2] != b"\0\x35":
            return
        length, check = udp[4:6], int.from_bytes(udp[6:8], "big")
        if int.from_bytes(length, "big") != total or len(udp) != total:
            self.bad.append(f"lengths: IP {total}, UDP {int.from_bytes(length, 'big')}, frame {len(udp)}")
        kind = "partial" if partial else "full" if check else "none"
        self.seen[kind] += 1
        if partial and check != _sum(pseudo + length):
            self.bad.append(f"partial sum {check:04x}, pseudo header {_sum(pseudo + length):04x}")
        if kind == "full" and _sum(pseudo + length + udp) != 0xFFFF:
            self.bad.append(f"checksum {check:04x} of {udp[8:].hex()}")
        if kind == "none" and proto == 0x86DD:
            self.bad.append("IPv6 without checksum")

    @classmethod
    def self_check(cls):
        """It can fail: an answer whose sums are right, and the same with one octet changed."""
        udp = b"\0\x35\x30\x39\0\x0c\0\0" + b"abcd"
        pseudo = bytes([192, 0, 2, 1, 192, 0, 2, 2, 0, 17])
        udp = udp[:6] + (0xFFFF - _sum(pseudo + udp[4:6] + udp)).to_bytes(2, "big") + udp[8:]
        ip = bytes([0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0]) + pseudo[:8]
        ip = ip[:10] + (0xFFFF - _sum(ip)).to_bytes(2, "big") + ip[12:]
        frame = bytes(12) + b"\x08\0" + ip + udp
        for octet, wrong in ((None, 0), (18, 1), (40, 1), (44, 1)):
            changed = bytearray(frame)
            if octet:
                changed[octet] ^= 1
            looker = cls.__new__(cls)
            looker.seen, looker.bad = {"full": 0, "partial": 0, "none": 0}, []
            looker._look(bytes(changed), False)
            expect(len(looker.bad) == wrong, f"octet {octet} changed: found {looker.bad}")

    def good(self, at_least):
        expect(not self.bad, lambda: f"{len(self.bad)} wrong checksums: {self.bad[0]}")
        expect(sum(self.seen.values()) >= at_least, f"saw {self.seen} of {at_least} answers")
        return self.seen


def pass_all_xdp(place, device):
    """Puts an XDP program that passes everything on a device, as a driver's receive path in NAPI: a veth flushes what the other end sends
    from XDP only then. Gives the descriptor that holds it there."""
    def bpf(command, attr):
        buffer = ctypes.create_string_buffer(attr, max(len(attr), 128))
        fd = libc.syscall(321, command, buffer, 128)
        if fd < 0:
            raise OSError(ctypes.get_errno(), f"bpf({command})")
        return fd
    libc = ctypes.CDLL(None, use_errno=True)
    code = struct.pack("=BBhi", 0xB7, 0, 0, 2) + struct.pack("=BBhi", 0x95, 0, 0, 0)  # r0 = XDP_PASS; exit
    code_at, license_at = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    attr = struct.pack("=IIQQIIQII", 6, 2, ctypes.addressof(code_at), ctypes.addressof(license_at), 0, 0, 0, 0, 0)
    attr += b"\0" * 16 + struct.pack("=II", 0, 37)  # name, ifindex, BPF_XDP
    program = bpf(5, attr)
    with dns.socket_in(place, socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = fcntl.ioctl(s, 0x8933, struct.pack("16s16x", device.encode()))  # SIOCGIFINDEX
        index = struct.unpack("16si12x", request)[1]
        here, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{place.netns}", os.O_RDONLY)
        try:
            proc._setns(there, proc.CLONE_NEWNET)
            return bpf(28, struct.pack("=IIII", program, index, 37, 4))  # BPF_LINK_CREATE, XDP_FLAGS_DRV_MODE
        finally:
            proc._setns(here, proc.CLONE_NEWNET)
            for fd in (here, there, program):
                os.close(fd)


def checksum_errors(place):
    """UDP datagrams that the place's kernel threw away for their checksum."""
    total = 0
    lines = place.run(["cat", "/proc/net/snmp", "/proc/net/snmp6"]).splitlines()
    for line, following in zip(lines, lines[1:] + [""]):
        if line.startswith("Udp:") and "InCsumErrors" in line:
            total += int(following.split()[line.split().index("InCsumErrors")])
        if line.startswith("Udp6InCsumErrors"):
            total += int(line.split()[1])
    return total


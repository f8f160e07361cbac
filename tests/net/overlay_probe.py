#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The overlay's tests of itself: a network card that breaks inner checksums is found by TCP between nodes and worked around by the node
that has it, and `overlay check` names what is wrong between two nodes.

Nodes 1 and 2 have loadstar's device and programs and the self-tests, with the daemon's rights. Node 3 is wired as the original did it
and has neither. The bad card is tests/support/bad_nic.bpf.c at a node's own device."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Lab, Report, arguments, expect, find_binary, overlay, wait_until  # noqa: E402

PORT = 7000
TIMES = {"first_ms": 50, "witness_ms": 120, "connect_ms": 600, "data_ms": 500, "ping_ms": 150, "retry_ms": 200, "interval_ms": 3600000}
NOT_PROBED, GOOD, MENDED, OFF, BROKEN = "not_probed", "good", "mended", "off", "broken"
OPEN = "net.ipv4.ping_group_range"


class SelfTest:
    """ls-overlay-selftest on one node."""
    all = []

    def __init__(self, node, peers, **options):
        SelfTest.all.append(self)
        self.node = node
        self.process = node.spawn([node.lab.tool("ls-overlay-selftest")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.tell("start", **{**TIMES, **options})
        self.tell("self", **address(node), device="vtep1024", mtu=node.overlay.mtu)
        self.tell("peers", peers=[address(p) for p in peers])

    def tell(self, what, **more):
        self.process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        expect(line, f"ls-overlay-selftest ended on {self.node.name}")
        answer = json.loads(line)
        expect("error" not in answer, f"{self.node.name}: {answer}")
        return answer

    def state(self):
        return self.tell("status")["state"]

    def check(self, node=None):
        """node -> its result; of one node just that."""
        answer = self.tell("check", node=node.address[4] if node else "")
        expect(answer["done"], f"{answer}")
        by_node = {r["node"]: r for r in answer["results"]}
        return by_node[node.address[4]] if node else by_node

    def end(self):
        self.process.kill()
        self.process.wait()


def address(node):
    a = overlay.allocation(node)
    return {"node": a["node"], "vtep": a["vtep"], "vtep6": a["vtep6"]}


def offload(node):
    """Whether the kernel leaves checksums of the tunnel's packets to the hardware."""
    for line in node.run(["ethtool", "-k", "vtep1024"]).splitlines():
        if line.startswith("tx-checksumming:"):
            return line.split()[1] == "on"
    raise LookupError("tx-checksumming")


class Stage:
    def __init__(self, lab):
        self.lab = lab
        self.broken = []  # nodes with a bad card
        self.one, self.two, self.old = self.nodes = [lab.node(n) for n in (1, 2, 3)]
        overlay.forget_lab_routes(lab)
        for node, mode in zip(self.nodes, ("shortcut", "shortcut", "static")):
            node.nft("delete table inet lab_nat\n")
            overlay.Overlay(node, mode).routed("a")
        for node in self.nodes:
            node.overlay.start(self.nodes)
            node.sysctl({OPEN: "0 2147483647"})
        for node in (self.one, self.two):
            node.echo(node.name, PORT)
            node.overlay.containers[0].echo(node.name + "-a", PORT)

    def both(self, **options):
        """Self-tests on both new nodes, started at the same time."""
        return [SelfTest(a, [b, self.old], **options) for a, b in ((self.one, self.two), (self.two, self.one))]

    def break_card(self, node, how="all"):
        self.broken.append(node)
        node.run(["sh", "-ec", "ethtool -K eth0 tx off; tc qdisc add dev eth0 clsact; tc filter add dev eth0 egress bpf direct-action "
                  f"object-file {self.lab.tool_file('bad_nic.bpf.o')} section tc/{how}"])

    def mend_cards(self):
        for node in self.broken:
            node.run(["sh", "-ec", "tc qdisc del dev eth0 clsact; ethtool -K eth0 tx on; ethtool -K vtep1024 tx on"])
        self.broken.clear()


def alone(check, stage):
    """One check; whatever becomes of it, the next one finds nodes and cards as they were, unless it goes on from this one."""
    try:
        check(stage)
    except BaseException:
        for node in stage.nodes:
            node.run(["nft", "delete", "table", "inet", "t"], check=False)
            node.sysctl({OPEN: "0 2147483647"})
        raise
    finally:
        ended(SelfTest.all)
        SelfTest.all.clear()
        if check is not one_bad_card:
            stage.mend_cards()


def transfer(a, b, mb=8):
    return a.dial("big", overlay.allocation(b)["vtep"], PORT, mb=mb, timeout=1500, run_timeout=30)[-1]


def ended(tests):
    for t in tests:
        t.end()


def settled(test, *states):
    wait_until(lambda: test.state() in states, 15, f"{test.node.name}: state {states}")
    return test.tell("status")


def healthy(stage):
    tests = stage.both()
    for t in tests:
        s = settled(t, GOOD)
        expect(s["offload"] == "good" and s["trials"] == 0 and not s["warnings"], f"{t.node.name}: {s}")
        expect(offload(t.node), f"{t.node.name}: offload was switched")


def only_old_nodes(stage):
    t = SelfTest(stage.one, [stage.old])
    wait_until(lambda: t.tell("status")["rounds"], 10, "a round")
    s = t.tell("status")
    expect(s["state"] == NOT_PROBED and s["offload"] == "not probed: nobody answers on port 64001 of its tunnel address", f"{s}")
    expect(s["trials"] == 0 and offload(stage.one), f"{s}")
    other = SelfTest(stage.two, [stage.one])
    t.tell("put", **address(stage.two))
    settled(t, GOOD)


def one_bad_card(stage):
    """Node 1's card: only node 1 switches, and then large transfers pass in both directions."""
    stage.break_card(stage.one)
    stage.one.run(["ping", "-c", "1", "-W", "1", "44.128.0.2"])
    r = stage.one.dial("once", "44.128.0.2", PORT, timeout=700)[0]
    expect(not r["ok"], f"ping passes and TCP hangs, or the test shows nothing: {r}")
    tests = stage.both()
    s = settled(tests[0], MENDED)
    expect(s["trials"] == 1 and s["mended"] == 1 and s["offload"] == "broken, switched off", f"{s}")
    expect("connection requests of this node do not arrive" in s["warnings"][0], f"{s}")
    expect(not offload(stage.one), "offload is still on")
    s = settled(tests[1], GOOD)
    expect(s["trials"] == 0 and offload(stage.two), f"node 2 has a good card: {s}")
    for a, b in ((stage.one, stage.two), (stage.two, stage.one)):
        r = transfer(a, b)
        expect(r["ok"], f"{a.name} -> {b.name}: {r}")
        c, d = a.overlay.containers[0], b.overlay.containers[0]
        r = c.dial("big", d.address[4], PORT, mb=8, timeout=1500, run_timeout=30)[-1]
        expect(r["ok"], f"{c.name} -> {d.name}, by the shortcut: {r}")


def restart(stage):
    """After the check above: what was switched off stays so, and nothing is tried."""
    t = SelfTest(stage.one, [stage.two])
    other = SelfTest(stage.two, [stage.one], first_ms=3600000)
    s = settled(t, OFF)
    expect(s["trials"] == 0 and s["offload"] == "off already before this start" and not offload(stage.one), f"{s}")


def two_bad_cards(stage):
    """Neither gets an answer before the other has mended: each must see that its own part is done."""
    stage.break_card(stage.one)
    stage.break_card(stage.two)
    tests = stage.both()
    for t in tests:
        s = settled(t, MENDED)
        expect(s["mended"] == 1 and not offload(t.node), f"{t.node.name}: {s}")
    expect(transfer(stage.one, stage.two)["ok"] and transfer(stage.two, stage.one)["ok"], "a large transfer")


def large_segments(stage):
    """Node 2's card breaks large segments only: connections come to be, data does not pass."""
    stage.break_card(stage.two, "large")
    tests = stage.both()
    s = settled(tests[1], MENDED)
    expect("data of this node does not arrive" in s["warnings"][0] and not offload(stage.two), f"{s}")
    s = settled(tests[0], GOOD)
    expect(s["trials"] == 0 and offload(stage.one), f"{s}")
    expect(transfer(stage.two, stage.one)["ok"], "a large transfer")


def peer_is_told(stage):
    """Node 2, whose card broke after its round, hears of it from node 1 and tests itself at once."""
    two = SelfTest(stage.two, [stage.one])
    one = SelfTest(stage.one, [stage.two], first_ms=3600000)
    settled(two, GOOD)
    one.end()
    stage.break_card(stage.two)
    one = SelfTest(stage.one, [stage.two])
    settled(two, MENDED)
    s = settled(one, GOOD)
    expect(s["theirs"] == 1 and s["trials"] == 0 and "TCP of 10.10.0.12 through the tunnel fails" in s["warnings"][0], f"{s}")


def filtered(stage):
    """A firewall that drops TCP is no broken card: the trial is taken back and not repeated."""
    stage.two.nft("table inet t {\n chain in {\n type filter hook input priority 0;\n iifname vtep1024 tcp dport 64001 drop\n }\n}\n")
    tests = stage.both()
    s = settled(tests[0], BROKEN)
    stage.two.nft("delete table inet t\n")
    expect(s["trials"] == 1 and s["mended"] == 0 and offload(stage.one), f"{s}")
    expect("also without offload" in s["offload"], f"{s}")


def trial_taken_back(stage):
    """An end of the daemon within a trial leaves the device as it was."""
    stage.two.nft("table inet t {\n chain in {\n type filter hook input priority 0;\n iifname vtep1024 tcp dport 64001 drop\n }\n}\n")
    two = SelfTest(stage.two, [stage.one], first_ms=3600000)
    one = SelfTest(stage.one, [stage.two])
    wait_until(lambda: one.tell("status")["trials"] == 1 and not offload(stage.one), 10, "a trial")
    one.tell("stop")
    expect(offload(stage.one), "the trial was not taken back")
    stage.two.nft("delete table inet t\n")


def strangers(stage):
    """Who is no peer gets nothing from the probe's port."""
    t = SelfTest(stage.two, [stage.old])
    code = ("import socket\ns = socket.create_connection(('44.128.0.2', 64001), 2)\ns.settimeout(2)\n"
            "try:\n  s.sendall(b'x' * 100); s.shutdown(socket.SHUT_WR); print(len(s.recv(200)))\nexcept OSError:\n  print(0)\n")
    out = stage.one.run([sys.executable, "-c", code])
    expect(out.strip() == "0", f"{out}")
    t.tell("put", **address(stage.one))
    out = stage.one.run([sys.executable, "-c", code])
    expect(out.strip() == "100", f"a peer: {out}")
    r = stage.two.run([sys.executable, "-c", "import socket\ntry:\n  socket.create_connection(('10.10.0.12', 64001), 1); print('open')\n"
                       "except OSError as e:\n  print(type(e).__name__)"])
    expect(r.strip() == "ConnectionRefusedError", f"the node's own address: {r}")


# ---- overlay check ----

class Checks:
    """Self-tests that never probe by themselves."""

    def __init__(self, stage):
        self.stage = stage

    def __enter__(self):
        self.one, self.two = self.stage.both(first_ms=3600000)
        return self.one

    def __exit__(self, *_):
        ended([self.one, self.two])


def broken(result, *words):
    expect(not result["ok"] and all(w in result["cause"] for w in words), f"{result}")


def check_whole(stage):
    with Checks(stage) as one:
        r = one.check()
        expect(len(r) == 2 and all(x["ok"] and not x["cause"] and 0 < x["rtt_ms"] < 1000 for x in r.values()), f"{r}")
        expect(list(one.check()) == ["10.10.0.12", "10.10.0.13"], "order")
        stage.one.sysctl({OPEN: "1 0"})
        r = one.check()
        stage.one.sysctl({OPEN: "0 2147483647"})
        expect(all(x["ok"] for x in r.values()), f"without ping: {r}")


def check_faults(stage):
    with Checks(stage) as one:
        stage.old.ip("link set eth0 down")
        r = one.check()
        stage.old.ip("link set eth0 up", "route replace default via 10.10.0.254")
        broken(r["10.10.0.13"], "does not answer outside of the tunnel either")
        expect(r["10.10.0.12"]["ok"] and list(r)[0] == "10.10.0.13", f"the broken first: {r}")

        for node in (stage.old, stage.two):
            node.nft("table inet t {\n chain in {\n type filter hook prerouting priority -400;\n iifname eth0 udp dport 64000 drop\n }\n}\n")
            r = one.check(node)
            node.nft("delete table inet t\n")
            broken(r, "UDP 64000 is filtered")

        stage.two.nft("table inet t {\n chain in {\n type filter hook prerouting priority -400;\n"
                      " iifname eth0 udp dport 64000 udp length > 1300 drop\n }\n}\n")
        r = one.check(stage.two)
        # UDP length is the inner packet and 30 octets: UDP 8, VXLAN 8, inner Ethernet 14.
        sizes = [w for w in r["cause"].split() if w.isdigit()]
        broken(r, "those of 1450 do not", "takes less than 1500 octets", "overlay.vtep_mtu")
        expect(1270 - 8 <= int(sizes[0]) <= 1270, f"{r}")
        stage.one.sysctl({OPEN: "1 0"})
        r = one.check(stage.two)
        stage.one.sysctl({OPEN: "0 2147483647"})
        stage.two.nft("delete table inet t\n")
        broken(r, "those of 1450 do not")

        stage.old.ip("link set vtep1024 down")
        r = one.check(stage.old)
        stage.old.ip("link set vtep1024 up")
        stage.old.ip("addr replace fd01:a::3/64 dev vtep1024 nodad")
        for node in (stage.one, stage.two):
            stage.old.overlay.put(node)
        broken(r, "nobody listens on UDP 64000")

        one.tell("unknown", nodes=["10.10.0.13"])
        broken(one.check(stage.old), "tables do not lead to 10.10.0.13")
        one.tell("unknown", nodes=[])

        stage.two.ip("addr del fd01:a::2/64 dev vtep1024")
        r = one.check(stage.two)
        stage.two.overlay.tell({"do": "check"})
        broken(r, "IPv6 does not")

        stage.one.ip("link set vtep1024 down")
        r = one.check()
        stage.one.overlay.tell({"do": "check"})
        expect(len(r) == 2, f"{r}")
        for x in r.values():
            broken(x, "device vtep1024 of this node is missing or down")
        expect(all(x["ok"] for x in one.check().values()), "whole again, or the test left something behind")


def check_checksums(stage):
    with Checks(stage) as one:
        stage.break_card(stage.one)
        r = one.check()
        broken(r["10.10.0.12"], "ping passes, TCP does not", "this node's network card")
        broken(r["10.10.0.13"], "ping passes, TCP does not", "not in it")  # an old node, which only refuses
        stage.mend_cards()
        stage.break_card(stage.two)
        broken(one.check(stage.two), "ping passes, TCP does not", "network card of 10.10.0.12")
        stage.mend_cards()
        expect(offload(stage.one) and offload(stage.two), "a check switches nothing")


def main():
    args = arguments(__doc__, daemon=False)
    try:
        for name in ("ls-overlay-node", "ls-overlay-selftest"):
            find_binary(name, args.tools)
    except FileNotFoundError as e:
        print(f"skipped: {e}")
        return 77
    report = Report()
    with Lab(nodes=3, tools=args.tools) as lab:
        lab.tool_file = lambda name: os.path.join(os.path.dirname(lab.tool("ls-overlay-selftest")), name)
        stage = Stage(lab)
        checks = [("healthy cards", healthy), ("only old nodes, then a new one", only_old_nodes), ("one bad card", one_bad_card),
                  ("a restart", restart), ("two bad cards", two_bad_cards), ("large segments", large_segments), ("a peer is told", peer_is_told),
                  ("a firewall", filtered), ("a trial is taken back", trial_taken_back), ("strangers", strangers),
                  ("check: all is well", check_whole), ("check: faults", check_faults), ("check: checksums", check_checksums)]
        for name, check in checks:
            if args.only in name:
                report.run(name, alone, check, stage)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

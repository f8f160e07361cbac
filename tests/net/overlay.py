#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The overlay between nodes: every container reaches every other, nobody sends from an address that is not his, old and new nodes
form one overlay, large transfers and path MTU, nodes that come and go.

Nodes 1 and 2 have programs at the VTEP and at the containers, node 3 at the VTEP only (the plain path), node 4 is wired as the
original did it, with commands of ip and bridge. Each has a routed and a bridged container."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Lab, Report, arguments, expect, find_binary, overlay  # noqa: E402
from lab.overlay_traffic import PORT, all_pairs, dial, same, seen  # noqa: E402

MODES = {1: "shortcut", 2: "shortcut", 3: "map", 4: "static"}


class Stage:
    def __init__(self, lab):
        self.lab = lab
        self.nodes = [lab.node(n) for n in MODES]
        overlay.forget_lab_routes(lab)
        for node in self.nodes:
            node.nft("delete table inet lab_nat\n")
            o = overlay.Overlay(node, MODES[node.number])
            o.routed("a")
            o.bridged("b")
        for node in self.nodes:
            node.overlay.start(self.nodes[:4])
        self.containers = [c for node in self.nodes for c in node.overlay.containers]
        for c in self.containers:
            c.echo(c.name, PORT)
        for node in self.nodes:
            node.echo(node.name, PORT)


def pairs(stage, family):
    return f"{all_pairs(stage.containers, family)} ordered pairs, each seen with its own address"


def udp_pairs(stage, family):
    for client in stage.containers:
        for server in stage.containers:
            if client is not server:
                a = dial(client, server.address[family], proto="udp", payload=4000)
                expect(a["ok"] and a["name"] == server.name, f"{client.name} -> {server.name}: {a}")


def node_to_container(stage, family):
    count = 0
    for node in stage.nodes:
        for server in stage.containers:
            a = dial(node, server.address[family])
            expect(a["ok"] and a["name"] == server.name, f"{node.name} -> {server.name}: {a}")
            if server.node is not node:
                vtep = overlay.allocation(node)["vtep" if family == 4 else "vtep6"]
                expect(seen(a) == same(vtep), f"{node.name} -> {server.name}: seen as {a['seen']}, not as {vtep}")
            count += 1
    return f"{count} pairs"


def container_to_node(stage):
    """Nodes with the shortcut and static ones keep the container's address towards another node's own."""
    for client in stage.containers:
        for node in stage.nodes:
            if node is client.node or client.node.overlay.mode == "map":
                continue
            a = dial(client, node.address[4])
            expect(a["ok"] and a["name"] == node.name, f"{client.name} -> {node.name}: {a}")
            expect(seen(a) == client.address[4], f"{client.name} -> {node.name}: seen as {a['seen']}")


def vtep_to_vtep(stage):
    for family, key in ((4, "vtep"), (6, "vtep6")):
        for a in stage.nodes:
            for b in stage.nodes:
                if a is not b:
                    r = dial(a, overlay.allocation(b)[key])
                    expect(r["ok"] and r["name"] == b.name, f"{a.name} -> VTEP of {b.name}, IPv{family}: {r}")


def by_the_shortcut(stage):
    one, two = stage.nodes[0].overlay, stage.nodes[1].overlay
    before = one.counts(), two.counts()
    client, server = one.containers[1], two.containers[1]
    client.run(["ping", "-c", "50", "-i", "0.002", "-q", server.address[4]])
    after = one.counts(), two.counts()
    for was, now in zip(before, after):
        expect(now["port"]["tunnel"] - was["port"]["tunnel"] >= 50, f"sent by the shortcut: {was} {now}")
        expect(now["in"]["local"] - was["in"]["local"] >= 50, f"received by the shortcut: {was} {now}")
        expect(now["out"]["tunnel"] == was["out"]["tunnel"], f"none by the stack: {was} {now}")


def two_hops(stage):
    for server in (c for c in stage.containers if c.node.number != 1):
        for family in (4, 6):
            out = stage.containers[0].run(["ping", f"-{family}", "-c", "1", server.address[family]])
            expect("ttl=62" in out, f"{server.name}: {out}")
    for family in (4, 6):  # the end of a TTL is answered
        out = stage.containers[0].run(["ping", f"-{family}", "-c", "1", "-W", "1", "-t", "1", stage.containers[2].address[family]],
                                      check=False)
        expect("ime to live" in out or "Hop limit" in out or "hop limit" in out, f"TTL 1, IPv{family}: {out}")


FORGE = """
import socket, struct, sys
source, target, vni, inner_src, inner_dst, dmac = sys.argv[1:7]
def ip(src, dst, proto, data):
    h = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(data), 1, 0x4000, 64, proto, 0, socket.inet_aton(src), socket.inet_aton(dst))
    s = sum(struct.unpack("!10H", h)); s = (s & 0xffff) + (s >> 16); s = (s & 0xffff) + (s >> 16)
    return h[:10] + struct.pack("!H", ~s & 0xffff) + h[12:] + data
udp = struct.pack("!HHHH", 9, 7000, 12, 0) + b"hey\\n"
frame = bytes.fromhex(dmac.replace(":", "")) + bytes.fromhex("020000000099") + b"\\x08\\x00" + ip(inner_src, inner_dst, 17, udp)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((source, 0))
for i in range(5):
    s.sendto(struct.pack("!II", 0x08000000, int(vni) << 8) + frame, (target, 64000))
"""


def forge(place, source, target, vni, inner_src, inner_dst, dmac):
    place.run([sys.executable, "-c", FORGE, source, target, vni, inner_src, inner_dst, dmac])


def injected(stage):
    lab, one = stage.lab, stage.nodes[0]
    server = one.overlay.containers[0]
    other = stage.nodes[1].overlay.containers[0]
    server.count_packets("forged", "udp sport 9")
    cases = (("overlay_spoof", lab.fabric, "10.10.0.254", overlay.VNI, other.address[4], server.address[4]),
             ("overlay_spoof", stage.nodes[2], "10.10.0.13", overlay.VNI, other.address[4], server.address[4]),
             ("overlay_spoof", stage.nodes[1], "10.10.0.12", overlay.VNI, "192.0.2.1", server.address[4]),
             ("overlay_vni", stage.nodes[1], "10.10.0.12", 7, other.address[4], server.address[4]),
             ("overlay_not_here", stage.nodes[1], "10.10.0.12", overlay.VNI, other.address[4], "9.0.3.10"),
             ("overlay_unallocated", stage.nodes[1], "10.10.0.12", overlay.VNI, other.address[4], "9.0.99.1"),
             ("overlay_not_unicast", stage.nodes[1], "10.10.0.12", overlay.VNI, other.address[4], "224.0.0.1"))
    for reason, place, source, vni, inner, to in cases:
        before = one.overlay.drops("overlay_in", reason)
        forge(place, source, one.address[4], vni, inner, to, overlay.mac(1))
        time.sleep(0.05)
        count = one.overlay.drops("overlay_in", reason) - before
        expect(count == 5, f"{reason} from {place.name}: {count} of 5 counted, {one.overlay.counts()['drops']}")
    expect(server.packets("forged") == 0, "an injected packet arrived")
    forge(stage.nodes[1], "10.10.0.12", one.address[4], overlay.VNI, other.address[4], server.address[4], overlay.mac(1))
    time.sleep(0.05)
    expect(server.packets("forged") == 5, "the same from the right node arrives, or the test shows nothing")


def spoofing_container(stage):
    one = stage.nodes[0].overlay
    for liar in one.containers:
        server = stage.nodes[1].overlay.containers[1]
        for address in ("9.0.1.77", "9.0.2.10", "10.10.0.13", "44.128.0.3"):
            liar.ip(f"addr add {address}/32 dev lo")
            before = one.drops("overlay_port", "overlay_spoof")
            a = dial(liar, server.address[4], source=address, timeout=200)
            liar.ip(f"addr del {address}/32 dev lo")
            expect(not a["ok"], f"{liar.name} as {address}: {a}")
            expect(one.drops("overlay_port", "overlay_spoof") > before, f"{liar.name} as {address}: not counted")
    liar = one.containers[0]
    mac = overlay.device_mac(liar, "eth0")
    before = one.drops("overlay_port", "overlay_spoof")
    liar.ip("link set eth0 address 02:00:00:00:00:66")
    a = dial(liar, stage.nodes[1].overlay.containers[0].address[4], timeout=200)
    liar.ip(f"link set eth0 address {mac}")
    expect(not a["ok"] and one.drops("overlay_port", "overlay_spoof") > before, f"another MAC: {a}")
    expect(dial(liar, stage.nodes[1].overlay.containers[0].address[4])["ok"], "works again with its own")


def unallocated(stage):
    for node, hook in ((stage.nodes[0], "overlay_port"), (stage.nodes[2], "overlay_out")):
        for address in ("9.0.99.1", "fd01:b:0:0:99::1"):
            before = node.overlay.drops(hook, "overlay_unallocated")
            a = dial(node.overlay.containers[0], address, timeout=200)
            expect(not a["ok"], f"{address}: {a}")
            expect(node.overlay.drops(hook, "overlay_unallocated") > before, f"{address} at {hook} is not counted")
    expect(overlay.seen_in_the_open(stage.lab) == 0, "left by the default route")


def large(stage):
    """Long transfers both ways, every byte compared; pairs of every two modes."""
    slow = []
    for client, server in ((0, 3), (3, 0), (1, 2), (0, 4), (5, 2), (0, 6), (7, 1), (4, 7), (0, 1)):
        c, s = stage.containers[client], stage.containers[server]
        for family in (4, 6):
            r = c.dial("big", s.address[family], PORT, mb=24, run_timeout=90)[-1]
            expect(r["ok"], f"{c.name} -> {s.name}, IPv{family}: {r}")
            slow.append(r["retransmits"])
    return f"{len(slow)} transfers of 24 MB, {sum(slow)} segments sent again"


def path_mtu(stage):
    """Containers that believe in 1500 octets learn what the tunnel takes, from the program and from the stack."""
    for node in stage.nodes[:3]:
        o = node.overlay
        for c in o.containers[:2]:
            node.ip(f"link set {c.device} mtu 1500")
            c.ip("link set eth0 mtu 1500")
        if node.number == 3:
            node.ip("link set d-dcos mtu 1500")
    for client, server in ((0, 2), (1, 3), (2, 1), (4, 0), (5, 3)):
        c, s = stage.containers[client], stage.containers[server]
        for family in (4, 6):
            r = c.dial("big", s.address[family], PORT, mb=4, run_timeout=60)[-1]
            expect(r["ok"], f"{c.name} -> {s.name}, IPv{family}: {r}")
            expect(r["pmtu"] <= o.mtu, f"{c.name} -> {s.name}, IPv{family}: learned {r['pmtu']}")
    c = stage.containers[0]
    a = c.dial("big", stage.nodes[1].address[4], PORT, mb=4, run_timeout=60)[-1]
    expect(a["ok"], f"to another node's own address: {a}")
    expect(stage.nodes[0].overlay.counts()["port"]["answered"] > 0, "the program answered none")
    for c in stage.containers[:6]:
        c.ip(f"link set eth0 mtu {o.mtu}")
        c.node.ip(f"link set {c.device} mtu {o.mtu}")


def comes_and_goes(stage):
    """A node that everybody forgets and learns again."""
    two = stage.nodes[1]
    others = [stage.nodes[0], stage.nodes[2]]
    clients = [n.overlay.containers[0] for n in others]
    for n in others:
        n.overlay.remove(two)
    for c in clients:
        for family in (4, 6):
            a = dial(c, two.overlay.containers[0].address[family], timeout=200)
            expect(not a["ok"], f"{c.name} still reaches it: {a}")
    a = dial(two.overlay.containers[0], clients[0].address[4], timeout=200)
    expect(not a["ok"], "a removed node still reaches others")
    expect(others[0].overlay.drops("overlay_in", "overlay_spoof") > 0, "what a removed node sends is counted")
    took = []
    for n, c in zip(others, clients):
        begin = time.monotonic()
        n.overlay.put(two)
        a = dial(c, two.overlay.containers[0].address[4])
        took.append(time.monotonic() - begin)
        expect(a["ok"], f"{c.name}: {a}")
        expect(took[-1] < 1, f"reachable after {took[-1]:.3f} s")
        expect(dial(c, two.overlay.containers[1].address[6])["ok"], "IPv6")
    return f"reachable again after {max(took) * 1000:.0f} ms, first connection included"


def repaired(stage):
    one = stage.nodes[0]
    client, server = one.overlay.containers[0], stage.nodes[2].overlay.containers[1]
    one.ip("route del 9.0.0.0/8", "addr del 44.128.0.1/20 dev vtep1024", "link set vtep1024 address 02:00:00:00:00:01 mtu 1300")
    fixed = one.overlay.tell({"do": "check"})["repaired"]
    expect({"device", "address", "route"} <= set(fixed), f"repaired: {fixed}")
    expect(dial(client, server.address[4])["ok"] and dial(server, client.address[4])["ok"], "after the repair")
    one.ip("link del vtep1024")
    fixed = one.overlay.tell({"do": "check"})
    expect(fixed["repaired"][:1] == ["device"], f"{fixed}")
    expect(dial(client, server.address[4])["ok"] and dial(server, client.address[6])["ok"], "with a new device")


def main():
    args = arguments(__doc__, daemon=False)
    try:
        find_binary("ls-overlay-node", args.tools)
    except FileNotFoundError as e:
        print(f"skipped: {e}")
        return 77
    report = Report()
    with Lab(nodes=4, tools=args.tools) as lab:
        stage = Stage(lab)
        checks = [("all ordered pairs, IPv4", pairs, 4), ("all ordered pairs, IPv6", pairs, 6),
                  ("UDP of 4000 octets, IPv4", udp_pairs, 4), ("UDP of 4000 octets, IPv6", udp_pairs, 6),
                  ("nodes to containers, IPv4", node_to_container, 4), ("nodes to containers, IPv6", node_to_container, 6),
                  ("containers to nodes", container_to_node), ("VTEP to VTEP", vtep_to_vtep),
                  ("the shortcut is taken", by_the_shortcut), ("two hops", two_hops), ("injected packets", injected),
                  ("spoofing containers", spoofing_container), ("unallocated addresses", unallocated), ("large transfers", large),
                  ("path MTU", path_mtu), ("a node goes and comes", comes_and_goes), ("repair", repaired)]
        for name, check, *more in checks:
            if args.only in name:
                report.run(name, check, stage, *more)
        report.run("nothing in the open", lambda: expect(overlay.seen_in_the_open(lab) == 0, "overlay packets on the network without a tunnel"))
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

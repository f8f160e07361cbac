#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The overlay by daemons: three nodes with a loadstard each (the first is master and agent), on each a Mesos container attached by
loadstar-cni and a Docker container. All ordered pairs in both families, nodes to containers, services, what leaves the overlay; a node
that joins, one that an operator removes, ends and kills under traffic, a node that comes back after a reboot, drift."""
import json
import os
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Lab, Master, Place, Report, arguments, expect, overlay, overlay_cluster, proc, separate_source_ports, state, wait_until  # noqa: E402
from lab.overlay_traffic import PORT, all_pairs, dial, same, seen  # noqa: E402


class Stage:
    def __init__(self, lab):
        self.lab = lab
        self.nodes = [lab.node(n) for n in (1, 2, 3)]
        self.master_node = self.nodes[0]
        overlay.forget_lab_routes(lab)
        for node in lab.nodes.values():
            node.nft("delete table inet lab_nat\n")
            node.ip("link del br0")
        self.cluster = state.Cluster()
        self.cluster.add_agents(lab)
        self.mesos = Master(lab, self.cluster)
        self.daemons = [self.start(n) for n in self.nodes]
        for d in self.daemons:
            overlay_cluster.wait_ok(d, 2)
        self.containers = []
        for d in self.daemons:
            self.containers += [overlay_cluster.Container(d, "m", "mesos"), overlay_cluster.Container(d, "d", "docker")]
        for place in self.containers + self.nodes:
            place.echo(place.name, PORT)
        separate_source_ports(self.containers + self.nodes)

    def start(self, node, **more):
        return overlay_cluster.start_daemon(node, self.master_node, {"mesos": [self.mesos.address]}, **more)


def pairs(stage, family):
    count = all_pairs(stage.containers, family)
    for node in stage.nodes:
        for server in stage.containers:
            a = dial(node, server.address[family])
            expect(a["ok"] and a["name"] == server.name, f"{node.name} -> {server.name}: {a}")
            count += 1
    return f"{count} ordered pairs"


def the_shortcut_is_taken(stage):
    def counts(d):
        return {(h["hook"], h["result"]): h["packets"] for h in overlay_cluster.view(d)["hooks"]}
    one, two = stage.daemons[0], stage.daemons[1]
    before = counts(one), counts(two)
    stage.containers[0].run(["ping", "-c", "50", "-i", "0.002", "-q", stage.containers[2].address[4]])
    time.sleep(1.2)  # the view is made once a second
    after = counts(one), counts(two)
    for was, now in zip(before, after):
        expect(now["overlay_port", "tunnel"] - was["overlay_port", "tunnel"] >= 50, f"sent by the shortcut: {was} {now}")
        expect(now["overlay_in", "local"] - was["overlay_in", "local"] >= 50, f"received by the shortcut: {was} {now}")


def container_to_node(stage):
    for client in stage.containers:
        for node in stage.nodes:
            a = dial(client, node.address[4])
            expect(a["ok"] and a["name"] == node.name, f"{client.name} -> {node.name}: {a}")


def out_of_the_overlay(stage):
    """Masqueraded towards the outside, and only there."""
    stage.lab.fabric.echo("outside", PORT)
    for client in stage.containers:
        for family, address in ((4, "10.10.0.254"), (6, "fd00:10::254")):
            a = dial(client, address)
            expect(a["ok"] and a["name"] == "outside", f"{client.name} -> outside: {a}")
            expect(seen(a) == same(client.node.address[family]), f"{client.name} is seen outside as {a['seen']}")


def services(stage):
    """Services with their backend in containers of the overlay, from containers and from nodes."""
    vips = {}
    for i, c in enumerate(stage.containers):
        for family in (4, 6):
            stage.mesos.tell(stage.cluster.add(state.routed_task(f"s{i}-{family}.1", c, family, PORT, [f"/s{i}-{family}:80"])))
    for i, c in enumerate(stage.containers):
        for family in (4, 6):
            for d in stage.daemons:
                vips[c.name, family] = d.service(f"s{i}-{family}.marathon", 80, "tcp", family)["address"]
    count = 0
    for client in stage.containers + stage.nodes:
        for server in stage.containers:
            for family in (4, 6):
                for proto in ("tcp", "udp"):
                    a = client.dial("once", vips[server.name, family], 80, proto=proto, payload=600, timeout=2000)[0]
                    expect(a["ok"] and a["name"] == server.name, f"{client.name} -> {proto} service of {server.name} at {vips[server.name, family]}: {a}")
                    count += 1
    return f"{count} rows"


def large(stage):
    for client, server in ((0, 2), (3, 1), (4, 3), (2, 5)):
        for family in (4, 6):
            r = stage.containers[client].dial("big", stage.containers[server].address[family], PORT, mb=16, run_timeout=60)[-1]
            expect(r["ok"], f"{stage.containers[client].name} -> {stage.containers[server].name}: {r}")


def iperf(client, server, seconds):
    listener = server.spawn(["iperf3", "-s", "-1", "-p", "5300"], stdout=-3, stderr=-3)
    time.sleep(0.3)
    process = client.spawn(["iperf3", "-c", server.address[4], "-p", "5300", "-t", str(seconds), "-J", "-b", "200M"], stdout=-1, stderr=-3, text=True)
    process.listener = listener
    return process


def iperf_end(process):
    out, _ = process.communicate(timeout=60)
    process.listener.wait(10)
    result = json.loads(out)
    expect("error" not in result, f"iperf3: {result.get('error')}")
    rates = [i["sum"]["bits_per_second"] for i in result["intervals"]]
    return min(rates), result["end"]["sum_sent"]["retransmits"]


def kill_under_iperf3(stage):
    """kill -9 and an orderly end of both nodes' daemons while a connection runs through them."""
    running = iperf(stage.containers[2], stage.containers[4], 7)
    for sig in (signal.SIGKILL, signal.SIGTERM):
        time.sleep(1)
        for i in (1, 2):
            stage.daemons[i].stop(sig)
            stage.daemons[i] = stage.start(stage.nodes[i])
    least, again = iperf_end(running)
    expect(least > 100e6, f"a second with {least / 1e6:.0f} Mbit/s of 200")
    for d in stage.daemons:
        overlay_cluster.wait_ok(d, 2)
    pairs(stage, 4)
    return f"slowest second {least / 1e6:.0f} of 200 Mbit/s, {again} segments sent again"


def without_a_master(stage):
    """The master is dead; an agent starts anew and has everything, from its own copy."""
    stage.daemons[0].stop(signal.SIGKILL)
    stage.daemons[2].stop(signal.SIGKILL)
    stage.nodes[2].ip("link del vtep1024")
    stage.daemons[2] = stage.start(stage.nodes[2])
    v = wait_until(lambda: (lambda v: v if v["state"] == "last known" else None)(overlay_cluster.view(stage.daemons[2])), 10, "the copy")
    expect(v["peers"] >= 2, f"{v}")
    pairs(stage, 4)
    stage.daemons[0] = stage.start(stage.nodes[0])
    overlay_cluster.wait_ok(stage.daemons[2], 2, seconds=40)


def joins(stage):
    """A fourth node: how long from its registration until a container of another node reaches it. Its daemon is not root's."""
    node = stage.lab.node(4)
    node.echo(node.name, PORT)
    daemon = stage.start(node, user=65534, **{"overlay.docker": False})
    v = wait_until(lambda: (lambda v: v if v["vtep4"] else None)(overlay_cluster.view(daemon)), 5, "the share")
    begin = time.monotonic()
    vtep = v["vtep4"].partition("/")[0]
    a = dial(stage.containers[2], vtep, timeout=3000)
    took = time.monotonic() - begin
    expect(a["ok"] and a["name"] == node.name, f"{a}")
    expect(took < 2.5, f"reachable {took:.2f} s after it had its share")
    overlay_cluster.wait_ok(daemon, 3)
    # Gone for good: its daemon is off and an operator removes it.
    daemon.stop()
    status, _, answer = stage.daemons[0].call("POST", "/overlay-master/agents/delete", {"agents": [node.address[4]]})
    expect(status == 200, f"{answer}")
    wait_until(lambda: not dial(stage.containers[2], vtep, timeout=200)["ok"], 3, "a removed node is gone")
    daemon.purge()
    shutil.rmtree(daemon.dir)
    for path in (node.cgroup, os.path.join(stage.lab.dir, "token")):
        os.chown(path, 0, 0)
    return f"reachable {took * 1000:.0f} ms after it had its share"


def removed_but_alive(stage):
    """An operator removes a node that lives: it comes back with what it had."""
    before = overlay_cluster.view(stage.daemons[1])["vtep4"]
    status, _, answer = stage.daemons[0].call("POST", "/overlay-master/agents/delete", {"agents": [stage.nodes[1].address[4]]})
    expect(status == 200, f"{answer}")
    wait_until(lambda: dial(stage.containers[0], stage.containers[2].address[4], timeout=300)["ok"], 5, "it is back")
    expect(overlay_cluster.view(stage.daemons[1])["vtep4"] == before, "with what it had")


OLD = {"vtep": "44.128.1.9", "vtep6": "fd01:a::109", "mac": "70:b3:d5:80:01:09", "v4": "9.0.9.0/24", "v6": "fd01:b:0:0:9::/80"}


def old_node(stage):
    """Node 4 as Navstar wired it. The allocator learns of it from the original's state document; it has the entries of the others that
    it had when they were like it."""
    node = stage.lab.node(4)
    document = {"network": {}, "agents": [{"ip": node.address[4], "overlays": [
        {"info": {"name": "dcos", "subnet": "9.0.0.0/8", "prefix": 24}, "subnet": OLD["v4"], "subnet6": OLD["v6"],
         "mesos_bridge": {"name": "m-dcos", "ip": "9.0.9.0/25"}, "backend": {"vxlan": {
             "vni": 1024, "vtep_name": "vtep1024", "vtep_ip": OLD["vtep"] + "/20", "vtep_ip6": OLD["vtep6"] + "/64", "vtep_mac": OLD["mac"]}}}]}]}
    path = os.path.join(stage.lab.dir, "old-state.json")
    with open(path, "w", encoding="ascii") as f:
        json.dump(document, f)
    master = stage.daemons[0]
    out = master.node.run([stage.lab.tool("loadstar"), "--socket", master.socket, "overlay", "adopt", path])
    expect("1" in out, out)
    for d in stage.daemons:
        overlay_cluster.wait_ok(d, 3)

    node.ip(f"link add vtep1024 type vxlan id {overlay.VNI} dstport {overlay.PORT} learning", f"link set vtep1024 address {OLD['mac']} mtu 1450 up",
            f"addr add {OLD['vtep']}/20 dev vtep1024", f"addr add {OLD['vtep6']}/64 dev vtep1024 nodad", "rule add from 9.0.0.0/8 lookup 42",
            "link add m-dcos type bridge", "link set m-dcos mtu 1450 up", "addr add 9.0.9.1/25 dev m-dcos", "addr add fd01:b:0:0:9::1/81 dev m-dcos nodad")
    for d in stage.daemons:
        v = overlay_cluster.view(d)
        share, vtep, vtep6 = v["shares"][0], v["vtep4"].partition("/")[0], v["vtep6"].partition("/")[0]
        node.ip(f"neigh replace {vtep} lladdr {v['mac']} dev vtep1024 nud permanent", f"route replace {share['v4']} via {vtep} dev vtep1024",
                f"route replace {v['node']}/32 via {vtep} dev vtep1024 table 42", f"neigh replace {vtep6} lladdr {v['mac']} dev vtep1024 nud permanent",
                f"route replace {share['v6']} via {vtep6} dev vtep1024")
        node.run(["bridge", "fdb", "replace", v["mac"], "dev", "vtep1024", "dst", v["node"], "self", "permanent"])
    old = Place(stage.lab, "n4-old", f"{node.netns}-old", node.mount_pid, None)
    proc.ip_batch([f"netns add {old.netns}", f"link add ok-old netns {node.netns} mtu 1450 type veth peer name eth0 netns {old.netns} mtu 1450"])
    node.ip("link set ok-old master m-dcos up")
    old.ip("link set lo up", "link set eth0 up", "addr add 9.0.9.10/25 dev eth0", "addr add fd01:b:0:0:9::10/81 dev eth0 nodad",
           "route add default via 9.0.9.1", "route add ::/0 via fd01:b:0:0:9::1")
    old.address = {4: "9.0.9.10", 6: "fd01:b:0:0:9::10"}
    old.echo("old", PORT)
    for family in (4, 6):
        for c in stage.containers:
            a, b = dial(c, old.address[family]), dial(old, c.address[family])
            expect(a["ok"] and seen(a) == same(c.address[family]), f"{c.name} -> old node: {a}")
            expect(b["ok"] and b["name"] == c.name, f"old node -> {c.name}: {b}")

    # It moves over: a daemon in place of Navstar finds the device and the share as they are.
    daemon = stage.start(node)
    v = overlay_cluster.wait_ok(daemon, 3)
    expect(v["vtep4"] == OLD["vtep"] + "/20" and v["mac"] == OLD["mac"] and v["shares"][0]["v4"] == OLD["v4"], f"{v}")
    for family in (4, 6):
        for c in stage.containers:
            a, b = dial(c, old.address[family]), dial(old, c.address[family])
            expect(a["ok"] and b["ok"], f"after the move, {c.name}: {a} {b}")


def drift(stage):
    node = stage.nodes[1]
    node.ip("link del vtep1024")
    wait_until(lambda: dial(stage.containers[2], stage.containers[0].address[4], timeout=300)["ok"], 5, "the device is back")
    node.ip("route del 9.0.0.0/8", "addr flush dev vtep1024")
    wait_until(lambda: dial(node, stage.containers[0].address[4], timeout=300)["ok"], 5, "addresses and routes are back")
    pairs(stage, 6)


def reboot(stage):
    """All that a reboot takes away: containers, devices, maps, programs."""
    daemon = stage.daemons[2]
    daemon.stop(signal.SIGKILL)
    mesos = stage.containers[4]
    mesos.cni("DEL")
    daemon.purge()
    expect("vtep1024" not in stage.nodes[2].run(["ip", "link"]), "purge leaves the device")
    stage.daemons[2] = mesos.daemon = stage.containers[5].daemon = stage.start(stage.nodes[2])
    overlay_cluster.wait_ok(stage.daemons[2], 2)
    mesos.add()
    pairs(stage, 4)


def operators_view(stage):
    d = stage.daemons[1]
    for words in (["overlay", "ls"], ["overlay", "agents"], ["overlay", "trace", stage.containers[0].address[4]], ["status"]):
        out = d.node.run([d.node.lab.tool("loadstar"), "--socket", d.socket, *words])
        expect(out.strip(), f"loadstar {' '.join(words)} says nothing")
        if words[1:2] == ["agents"]:
            for n in stage.nodes:
                expect(n.address[4] in out, f"{n.address[4]} is missing: {out}")
        if words[1:2] == ["trace"]:
            expect(stage.nodes[0].address[4] in out, out)
    out = d.node.run([d.node.lab.tool("loadstar"), "--socket", d.socket, "overlay", "check"])
    for n in (stage.nodes[0], stage.nodes[2]):
        expect(n.address[4] in out, out)
    expect(d.metric("loadstar_overlay_peers") == 2, "metrics")


def main():
    args = arguments(__doc__)
    report = Report()
    with Lab(nodes=4, tools=args.tools) as lab:
        stage = Stage(lab)
        checks = [("all ordered pairs, IPv4", pairs, 4), ("all ordered pairs, IPv6", pairs, 6), ("the shortcut is taken", the_shortcut_is_taken),
                  ("containers to nodes", container_to_node), ("out of the overlay", out_of_the_overlay), ("services", services),
                  ("large transfers", large), ("the operator's view", operators_view), ("kill -9 under iperf3", kill_under_iperf3),
                  ("a node joins and goes", joins), ("removed but alive", removed_but_alive), ("an old node, moved over", old_node), ("drift", drift),
                  ("without a master", without_a_master), ("reboot", reboot)]
        for name, check, *more in checks:
            if args.only in name:
                report.run(name, check, stage, *more)
        report.run("nothing in the open", lambda: expect(overlay.seen_in_the_open(lab) == 0, "overlay packets on the network without a tunnel"))
        report.run("nothing untranslated", lambda: expect(lab.leaked() == 0, f"{lab.leaked()} packets to service addresses on the network"))
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

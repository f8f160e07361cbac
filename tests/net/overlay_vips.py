#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Virtual IPs from and to containers of the overlay, by the packet path: three nodes, each with a routed and a bridged container;
services with a backend in each of them; clients in all of them and on the nodes themselves. Nodes 1 and 2 have the shortcut, node 3
the plain path. The programs of the overlay and those of load balancing are at the same devices."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Daemon, Lab, Master, Report, arguments, expect, find_binary, overlay, separate_source_ports, state  # noqa: E402

PORT = 7000
MODES = {1: "shortcut", 2: "shortcut", 3: "map"}


def same(stage, family, proto):
    count = 0
    for client in stage["clients"]:
        for server in stage["containers"]:
            if client.kind == "host" and client is not server.node and (family == 6 or server.node.overlay.mode == "map"):
                continue  # the limits of docs/design/10-overlay-wiring.md
            vip = stage["vips"][server.name, family]
            for a in client.dial("once", vip, 80, count=2, proto=proto, payload=600, timeout=2000):
                expect(a["ok"] and a["name"] == server.name, f"{client.name} -> service of {server.name} at {vip}: {a}")
            count += 1
    return f"{count} pairs of client and service"


def large(stage):
    for client in stage["containers"][:4]:
        for server in stage["containers"]:
            r = client.dial("big", stage["vips"][server.name, 4], 80, mb=4, run_timeout=60)[-1]
            expect(r["ok"], f"{client.name} -> service of {server.name}: {r}")


def main():
    args = arguments(__doc__)
    try:
        find_binary("ls-overlay-node", args.tools)
    except FileNotFoundError as e:
        print(f"skipped: {e}")
        return 77
    report = Report()
    with Lab(nodes=3, tools=args.tools) as lab:
        nodes = list(lab.nodes.values())
        overlay.forget_lab_routes(lab)
        for node in nodes:
            node.nft("delete table inet lab_nat\n")
            o = overlay.Overlay(node, MODES[node.number])
            o.routed("a")
            o.bridged("b")
        containers = [c for node in nodes for c in node.overlay.containers]
        clients = containers + nodes
        separate_source_ports(clients)
        cluster = state.Cluster()
        cluster.add_agents(lab)
        vips = {}
        for i, c in enumerate(containers):
            c.echo(c.name, PORT)
            for family in (4, 6):
                cluster.add(state.routed_task(f"s{i}-{family}.1", c, family, PORT, [f"/s{i}-{family}:80"]))
        master = Master(lab, cluster)
        # The programs of the overlay use the daemon's maps and come first at the devices: a daemon makes the maps, goes, and comes
        # back when they are attached. The VTEP is an uplink: replies to services that the node itself dialled come through it.
        def daemons_with(settings):
            out = [Daemon(node, {"mesos": [master.address]}, sock=False, tc=True, settings=settings) for node in nodes]
            for daemon in out:
                daemon.start()
            return out

        for daemon in daemons_with({"lb.ports": [], "lb.uplinks": ["eth0"], "lb.bridges": []}):
            daemon.stop()
        for node in nodes:
            node.overlay.start(nodes, pin="/sys/fs/bpf/loadstar/maps")
        daemons = daemons_with({"lb.ports": ["or-*", "ob-*"], "lb.uplinks": ["eth0", "vtep1024"], "lb.bridges": ["d-dcos"]})
        for i, c in enumerate(containers):
            for family in (4, 6):
                for daemon in daemons:
                    found = daemon.service(f"s{i}-{family}.marathon", 80, "tcp", family)
                vips[c.name, family] = found["address"]
        stage = {"clients": clients, "containers": containers, "vips": vips}
        for family in (4, 6):
            for proto in ("tcp", "udp"):
                report.run(f"{proto}, IPv{family}", same, stage, family, proto)
        report.run("large transfers", large, stage)
        report.run("nothing untranslated", lambda: expect(lab.leaked() == 0, f"{lab.leaked()} packets to service addresses on the network"))
        report.run("nothing in the open", lambda: expect(overlay.seen_in_the_open(lab) == 0, "overlay packets without a tunnel"))
        print({n.name: n.overlay.counts()["drops"] for n in nodes})
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

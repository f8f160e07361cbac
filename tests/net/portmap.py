#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Host ports of containers that loadstar-cni made, with the programs where loadstard attaches them and no rule of netfilter: dialled from
another machine, by the machine itself, by another container and by the container itself; with a bridge and without one."""
import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Daemon, Lab, Report, arguments, expect, find_binary, proc, state, wait_until  # noqa: E402
from lab.lab import Place  # noqa: E402

PORT = 7000
NETS = {"bridge": ("9.0.1.0/25", "fd01:b:1::/64"), "direct": ("9.0.1.128/25", "fd01:b:2::/64")}


class CniContainer(Place):
    """A namespace with what loadstar-cni put into it. `host_port` leads to PORT in it, UDP and TCP."""

    def __init__(self, node, name, mode, host_port):
        super().__init__(node.lab, f"{node.name}-{name}", f"{node.netns}-{name}", node.mount_pid, os.path.join(node.cgroup, name))
        self.node, self.mode, self.host_port = node, mode, host_port
        os.makedirs(self.cgroup)
        proc.ip_batch([f"netns add {self.netns}"])
        self.config = {"cniVersion": "1.0.0", "name": f"net-{mode}", "type": "loadstar-cni", "mode": mode,
                       "ipam": {"subnets": list(NETS[mode]), "dataDir": os.path.join(node.lab.dir, "cni")}, "mtu": 1400,
                       "portMappings": [{"hostPort": host_port, "containerPort": PORT, "protocol": p} for p in ("tcp", "udp")]}
        if mode == "bridge":
            self.config["bridge"] = "cbr0"
        self.ip("link set lo up")
        # The node's mounts are older than the namespace's name.
        self.holder = self.spawn(["sleep", "infinity"])
        answer = self.cni("ADD")
        self.address = {4 if "." in i["address"] else 6: i["address"].split("/")[0] for i in answer["ips"]}

    def cni(self, command):
        out = self.node.run(["env", f"CNI_COMMAND={command}", f"CNI_CONTAINERID={self.name}", f"CNI_NETNS=/proc/{self.holder.pid}/ns/net",
                             "CNI_IFNAME=eth0", "CNI_PATH=/", self.node.lab.tool("loadstar-cni")],
                            input=json.dumps(self.config), check=False)
        answer = json.loads(out) if out.strip() else {}
        expect("code" not in answer, lambda: f"{command} of {self.name}: {answer}")
        return answer


def reaches(client, address, port, name, **options):
    for proto in ("tcp", "udp"):
        for a in client.dial("once", address, port, count=2, proto=proto, timeout=2000, **options):
            expect(a["ok"] and a["name"] == name, lambda: f"{client.name} -> {address} port {port} {proto}: {a}")


def everybody(stage, family):
    count = 0
    for server in stage["servers"]:
        for client in stage["clients"]:
            for address in stage["addresses"][family]:
                if client is stage["outside"] and not address.startswith(("10.10.", "fd00:10:")):
                    continue  # the other machine has no route there
                reaches(client, address, server.host_port, server.name, payload=600)
                count += 1
    return f"{count} pairs"


def large(stage):
    a = stage["node"].address
    for server in stage["servers"]:
        for client in stage["clients"]:
            r = client.dial("big", a[4], server.host_port, mb=4, run_timeout=60)[-1]
            expect(r["ok"], lambda: f"{client.name} -> {server.name}: {r}")
        for family in (4, 6):  # datagrams in fragments
            for client in (stage["outside"], stage["servers"][0]):
                # The first IPv6 fragment may be answered with the path's MTU: routers do not cut.
                r = client.dial("once", a[family], server.host_port, proto="udp", payload=3000, timeout=1000, count=2)[-1]
                expect(r["ok"], lambda: f"fragments {client.name} -> {server.name} IPv{family}: {r}")


def shown_addresses(stage):
    """The container sees who dials it; only the one that dials itself is somebody else to itself."""
    server, node = stage["servers"][0], stage["node"]
    r = stage["outside"].dial("once", node.address[4], server.host_port, timeout=2000)[0]
    expect(stage["outside"].address[4] in json.dumps(r), lambda: f"the client's address is not kept: {r}")


def restart(stage):
    daemon, server, out = stage["daemon"], stage["servers"][0], stage["outside"]
    daemon.stop(signal.SIGKILL)
    reaches(out, stage["node"].address[4], server.host_port, server.name)
    daemon.start()
    for s in stage["servers"]:
        for family in (4, 6):
            reaches(out, stage["node"].address[family], s.host_port, s.name)
            reaches(stage["node"], stage["node"].address[family], s.host_port, s.name)


def new_address(stage):
    """Host ports are answered at an address that the machine has only now, and no more when it is gone."""
    node, server = stage["node"], stage["servers"][0]
    dial = lambda: stage["outside"].dial("once", "10.10.0.77", server.host_port, timeout=300)[0]["ok"]
    node.ip("addr add 10.10.0.77/24 dev eth0")
    wait_until(dial, 5, "an answer at the new address")
    node.ip("addr del 10.10.0.77/24 dev eth0", "addr add 10.10.0.77/24 dev br0")
    node.ip("addr del 10.10.0.77/24 dev br0")
    wait_until(lambda: not dial(), 5, "silence at the address that is gone")


def removed(stage):
    """DEL: the port is the machine's own again at once, and the next container gets it."""
    server, node, out = stage["servers"].pop(0), stage["node"], stage["outside"]
    server.cni("DEL")
    for client in (out, node, stage["servers"][0]):
        r = client.dial("once", node.address[4], server.host_port, timeout=1000)[0]
        expect(not r["ok"], lambda: f"{client.name}: {r}")
    again = CniContainer(node, "again", server.mode, server.host_port)
    again.echo(again.name, PORT)
    stage["servers"].append(again)
    for client in (out, node, stage["servers"][0], again):
        reaches(client, node.address[4], again.host_port, again.name)
        reaches(client, node.address[6], again.host_port, again.name)


def main():
    args = arguments(__doc__)
    try:
        find_binary("loadstard", args.tools)
        find_binary("loadstar-cni", args.tools)
    except FileNotFoundError as e:
        print(f"skipped: {e}")
        return 77
    report = Report()
    with Lab(nodes=2, tools=args.tools) as lab:
        node, outside = lab.node(1), lab.node(2)
        node.nft("delete table inet lab_nat\n")
        replay = os.path.join(lab.dir, "empty.recordio")
        state.write_replay(replay, [state.Cluster().subscribed()])
        daemon = Daemon(node, {"replay": replay}, settings={"lb.ports": [], "lb.bridges": []})
        daemon.start()
        servers = [CniContainer(node, name, mode, port) for name, mode, port in
                   (("a", "bridge", 31000), ("b", "bridge", 31001), ("c", "direct", 31002), ("d", "direct", 31003))]
        for s in servers:
            s.echo(s.name, PORT)
        stage = {"node": node, "outside": outside, "servers": servers, "clients": [outside, node, *servers], "daemon": daemon,
                 "addresses": {4: [node.address[4], "172.31.1.1"], 6: [node.address[6], "fd00:31:1::1"]}}
        wait_until(lambda: all(s.dial("once", node.address[6], 31000, timeout=300)[0]["ok"] for s in servers), 10, "IPv6 in all containers")
        for family in (4, 6):
            report.run(f"everybody reaches host ports, IPv{family}", everybody, stage, family)
        report.run("large transfers and fragments", large, stage)
        report.run("addresses", shown_addresses, stage)
        report.run("without the daemon, and after its restart", restart, stage)
        report.run("addresses that come and go", new_address, stage)
        report.run("removed and given to another container", removed, stage)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

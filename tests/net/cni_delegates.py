#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""loadstar-cni beside other plugins: behind one of them, and around one that it does not know."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from cni import run  # noqa: E402
from lab import expect  # noqa: E402
from lab.report import Skip  # noqa: E402


def chained(s):
    """Behind another plugin: its result is passed on, port mappings are added and removed."""
    m = s.m
    if not m.reference("ptp"):
        raise Skip("the reference plugins are not installed")
    ns = m.netns(s.fresh())
    first = {"cniVersion": "1.0.0", "name": s.fresh(), "type": "ptp", "ipam": {"type": "host-local", "dataDir": m.dir + "/reference", "subnet": "9.7.0.0/25"}}
    previous = s.ok("ADD", first, netns=ns, plugin=m.reference("ptp")).json
    config = {"cniVersion": "1.0.0", "name": first["name"], "type": "loadstar-cni", "dataDir": m.dir, "prevResult": previous,
              "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}}
    a = s.ok("ADD", config, netns=ns)
    expect(a.json == previous, lambda: f"{a} instead of {previous}")
    expect(set(m.ports()) == {(6, 8080, 4)}, lambda: str(m.ports()))
    s.ok("CHECK", config, netns=ns)
    s.ok("DEL", {k: v for k, v in config.items() if k != "prevResult"}, netns=ns)
    expect(not m.ports() and "eth0" in m.links(os.path.basename(ns)), "mappings stay, or the other plugin's device is gone")
    s.ok("DEL", first, netns=ns, plugin=m.reference("ptp"))


def unknown_delegate(s):
    """A delegate that is not the known chain is executed; its failure is 102, ours undoes it."""
    m = s.m
    log = f"{m.dir}/delegate.log"
    folder = f"{m.dir}/plugins"
    os.makedirs(folder, exist_ok=True)
    def script(name, add, rest="exit 0"):
        with open(f"{folder}/{name}", "w") as f:
            f.write(f"#!/bin/sh\necho $CNI_COMMAND $CNI_CONTAINERID >>{log}\ncat >{m.dir}/stdin.$CNI_COMMAND\nif [ $CNI_COMMAND = ADD ]; then {add}; fi\n{rest}\n")
        os.chmod(f"{folder}/{name}", 0o755)
    def calls():
        with open(log) as f:
            out = f.read().split("\n")[:-1]
        os.unlink(log)
        return out
    script("good", """echo '{"cniVersion":"0.2.0","ip4":{"ip":"9.8.0.2/24","gateway":"9.8.0.1"},"dns":{}}'""")
    script("bad", """echo '{"code":7,"msg":"no luck"}'; exit 1""")
    script("slow", "sleep 30")
    def config(delegate):
        return {"name": "del" + delegate, "type": "mesos-cni-port-mapper", "chain": "X", "delegate": {"type": delegate, "x": 1},
                "args": {"org.apache.mesos": {"network_info": {"port_mappings": [{"host_port": 7000, "container_port": 70}]}}}}
    a = s.ok("ADD", config("good"), netns="/run/netns/x", path=folder)
    expect(a.json["ip4"]["ip"] == "9.8.0.2/24" and a.json["cniVersion"] == "0.1.0" and set(m.ports()) == {(6, 7000, 4)}, lambda: f"{a} {m.ports()}")
    with open(f"{m.dir}/stdin.ADD") as f:
        got = json.load(f)
    expect(got["name"] == "delgood" and "args" in got and got["x"] == 1 and "cniVersion" not in got, lambda: str(got))
    # Another container wants the same port: the delegate's work is undone.
    s.fails(103, "ADD", config("good"), container="c2", netns="/run/netns/x", path=folder)
    s.ok("DEL", config("good"), netns=None, path=folder)
    expect(calls() == ["ADD c1", "ADD c2", "DEL c2", "DEL c1"] and not m.ports(), "calls of the delegate")
    e = s.fails(102, "ADD", config("bad"), netns="/run/netns/x", path=folder)
    expect("no luck" in e["details"] and calls() == ["ADD c1", "DEL c1"], lambda: str(e))
    s.fails(7, "ADD", config("missing"), netns="/run/netns/x", path=folder)


if __name__ == "__main__":
    run(__doc__, (chained, unknown_delegate))

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""loadstar-cni, the real executable, in namespaces: the acceptance list of spec/cni.md, section 5, with the reference plugins bridge and
host-local as oracle where they are installed. Other plugins beside it: cni_delegates.py; concurrency and kills: cni_faults.py."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Report, arguments, expect, find_binary  # noqa: E402
from lab.cni import Machine  # noqa: E402

VERSIONS = [None, "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]


class Scene:
    def __init__(self, machine):
        self.m = machine
        self.count = 0

    def fresh(self):
        """A name for a network, bridge or namespace that nobody used yet."""
        self.count += 1
        return f"n{self.count}"

    def own(self, name=None, subnet="9.0.0.0/25", version="1.1.0", **more):
        name = name or self.fresh()
        ipam = {"subnets": [subnet] if isinstance(subnet, str) else subnet, "dataDir": self.m.dir}
        return {"cniVersion": version, "name": name, "type": "loadstar-cni", "bridge": "b" + name, "ipam": ipam, **more}

    def mesos(self, name, subnet="9.0.0.0/25", info=None):
        """The file that the agent writes, as Mesos passes it (spec/cni.md, 2.2; overlay-modules.md, 8.3)."""
        bridge = "m-" + name
        config = {"name": name, "type": "mesos-cni-port-mapper", "excludeDevices": [bridge], "chain": bridge.upper(),
                  "delegate": {"type": "bridge", "bridge": bridge, "isGateway": True, "ipMasq": False, "hairpinMode": True, "mtu": 1420,
                               "ipam": {"type": "host-local", "dataDir": self.m.dir, "subnet": subnet, "routes": [{"dst": "0.0.0.0/0"}]}}}
        if info is not None:
            config["args"] = {"org.apache.mesos": {"network_info": info}}
        return config

    def ok(self, *args, **kwargs):
        a = self.m.call(*args, **kwargs)
        expect(a.code == 0, lambda: f"{args[0]}: {a}")
        return a

    def fails(self, code, *args, **kwargs):
        a = self.m.call(*args, **kwargs)
        expect(a.error == code, lambda: f"{args[0]} gives {a} instead of code {code}")
        return a.json


def normal(result):
    """A result without what is random: hardware addresses and the name of the host's device."""
    r = json.loads(json.dumps(result))
    for i in r.get("interfaces", []):
        i.pop("mac", None)
        if i["name"].startswith(("veth", "ls")) and "sandbox" not in i:
            i["name"] = "host"
        i["name"] = i["name"].replace("bref", "bown")
    # The revision that Mesos clusters had says the gateway in every route of the old shape (spec/cni.md, 1.2), later ones leave it out.
    for family in ("ip4", "ip6"):
        for route in r.get(family, {}).get("routes", []):
            route.setdefault("gw", r[family]["gateway"])
    return r


def shapes(s):
    """1. The shape of the result for each version of the configuration; equal to the reference plugins'."""
    m = s.m
    compared = 0
    for version in VERSIONS:
        ns = m.netns(s.fresh())
        name = s.fresh()
        config = {"name": name, "type": "bridge", "bridge": "bown", "isGateway": True, "hairpinMode": True, "mtu": 1400,
                  "ipam": {"type": "host-local", "dataDir": m.dir, "subnet": "9.0.0.0/25", "routes": [{"dst": "0.0.0.0/0"}]}}
        if version:
            config["cniVersion"] = version
        ours = s.ok("ADD", config, netns=ns)
        expect(ours.json["cniVersion"] == (version or "0.1.0"), lambda: str(ours))
        keys = {"ip4", "dns", "cniVersion"} if not version or version < "0.3" else {"interfaces", "ips", "routes", "dns", "cniVersion"}
        expect(set(ours.json) == keys, lambda: f"{version}: {ours}")
        s.ok("DEL", config, netns=ns)
        if m.reference("bridge"):
            # The installed reference does not know 1.1.0, whose result differs from 1.0.0 in the interfaces' mtu alone.
            asked = {**config, "bridge": "bref", "ipam": {**config["ipam"], "dataDir": m.dir + "/reference"}}
            if version == "1.1.0":
                asked["cniVersion"] = "1.0.0"
            theirs = s.ok("ADD", asked, netns=ns, plugin=m.reference("bridge"))
            a, b = normal(ours.json), normal(theirs.json)
            a["cniVersion"] = b["cniVersion"]
            for i in a.get("interfaces", []):
                expect((i.pop("mtu", None) == 1400) == (version == "1.1.0"), lambda: f"mtu in {ours}")
            expect(a == b, lambda: f"{version}: ours {a}, reference {b}")
            m.call("DEL", asked, netns=ns, plugin=m.reference("bridge"))
            compared += 1
    for command in ("ADD", "DEL", "CHECK", "GC", "STATUS"):
        e = s.fails(1, command, s.own(version="9.9.9"), netns="/run/netns/x")
        expect("9.9.9" in e["details"] and "0.1.0" in e["details"], lambda: str(e))
    for command, least in (("CHECK", "0.4.0"), ("GC", "1.1.0"), ("STATUS", "1.1.0")):
        for version in VERSIONS:
            if not version or version < least:
                s.fails(1, command, s.own(version=version), netns="/run/netns/x")
    return f"{len(VERSIONS)} versions, {compared} equal to the reference plugins'"


def whole_half(s):
    """2. 125 addresses of a /25, then "exhausted"; the only free one is found."""
    ns, config = s.m.netns(s.fresh()), s.own()
    got = [s.ok("ADD", config, container=f"c{i}", netns=ns, ifname=f"e{i}").address for i in range(125)]
    expect(got == [f"9.0.0.{i}/25" for i in range(2, 127)], lambda: str(got))
    e = s.fails(100, "ADD", config, container="more", netns=ns, ifname="more")
    expect("9.0.0" in e["details"], lambda: str(e))
    expect(s.m.call("STATUS", config).error == 50, "STATUS of a full network is not 50")
    s.ok("DEL", config, container="c40", netns=ns, ifname="e40")
    s.ok("STATUS", config)
    expect(s.ok("ADD", config, container="more", netns=ns, ifname="more").address == "9.0.0.42/25", "not the only free one")
    s.ok("GC", {**config, "cni.dev/valid-attachments": []})
    expect(not s.m.links(os.path.basename(ns)), "devices are left")


def round_robin(s):
    """3. The order of addresses through releases is host-local's."""
    def history(plugin, config):
        ns = s.m.netns(s.fresh())
        out = []
        steps = "+a +b -a +c -b +d +e -c -d +f +g +h -g +i +j +l -i +k".split()
        for step in steps + ["-" + c for c in "abcdefghijkl"]:
            name = step[1]
            if step[0] == "+":
                a = s.m.call("ADD", config, container=name, netns=ns, ifname=name + "0", plugin=plugin)
                out.append(a.address if a.code == 0 else "refused")
            else:
                s.ok("DEL", config, container=name, netns=ns, ifname=name + "0", plugin=plugin)
        return out
    config = s.mesos(s.fresh(), "9.1.0.0/29")["delegate"]
    config.update(name="rr", cniVersion="0.4.0", bridge="brr1")
    ours = history(None, config)
    expect(ours == [f"9.1.0.{n}/29" if n else "refused" for n in (2, 3, 4, 5, 6, 2, 3, 4, 5, 3, 0, 5)], lambda: str(ours))
    if s.m.reference("bridge"):
        config = {**config, "bridge": "brr2", "ipam": {**config["ipam"], "dataDir": s.m.dir + "/reference"}}
        theirs = history(s.m.reference("bridge"), config)
        expect(ours == theirs, lambda: f"ours {ours}, reference {theirs}")


def del_is_idempotent(s):
    """4. DEL: before any ADD, twice, without a namespace, with one that is gone."""
    m, config = s.m, s.own()
    s.ok("DEL", config, netns="/run/netns/never")
    s.ok("DEL", config, netns=None)
    expect(not os.path.exists(f"{m.dir}/.loadstar/{config['name']}"), "a DEL of nothing makes a state file")
    ns = m.netns(s.fresh())
    s.ok("ADD", config, netns=ns)
    for _ in range(2):
        s.ok("DEL", config, netns=ns)
    expect(not m.links(os.path.basename(ns)), "the device is left")
    s.ok("ADD", config, netns=ns)
    s.ok("DEL", config, netns=None)
    expect(not m.veths() and not m.links(os.path.basename(ns)), "a device is left without CNI_NETNS")
    s.ok("ADD", config, netns=ns)
    m.sh(f"ip netns del {os.path.basename(ns)}")
    s.ok("DEL", config, netns=ns)
    open(ns, "w").close()  # a path that is there and no namespace
    s.ok("DEL", config, netns=ns)
    os.unlink(ns)
    ns = m.netns(s.fresh())
    s.ok("ADD", config, netns=ns)
    os.unlink(f"{m.dir}/.loadstar/{config['name']}")  # the state is lost
    s.ok("DEL", config, netns=ns)
    expect(not m.veths(), "the device is left when the state is lost")
    s.ok("ADD", config, netns=ns)
    m.sh(f"ip -n {os.path.basename(ns)} link del eth0")
    s.ok("DEL", config, netns=ns)
    s.ok("ADD", config, netns=ns)
    s.ok("DEL", config, netns=ns)


def add_refuses(s):
    """ADD: interface there, the same attachment twice, namespaces that are none; nothing changes."""
    m, config = s.m, s.own()
    ns = m.netns(s.fresh())
    s.fails(8, "ADD", config, netns="/run/netns/none")
    s.fails(8, "ADD", config, netns="/proc/self/ns/net")
    s.fails(8, "ADD", config, netns="/proc/self/ns/mnt")
    s.fails(8, "ADD", config, netns="/etc/passwd")
    m.sh(f"ip -n {os.path.basename(ns)} link add eth0 type veth peer name other")
    before = m.links(os.path.basename(ns))
    s.fails(3, "ADD", config, netns=ns)
    s.ok("DEL", config, netns=ns)
    expect(m.links(os.path.basename(ns)) == before and not m.veths(), "something changed")
    s.ok("ADD", config, netns=ns, ifname="eth1")
    s.fails(3, "ADD", config, netns=ns, ifname="eth1")
    another = m.netns(s.fresh())
    s.fails(3, "ADD", config, netns=another, ifname="eth1")
    a = s.ok("ADD", config, container="c2", netns=another)
    expect(a.address == "9.0.0.3/25", lambda: f"refusals took addresses: {a}")
    s.ok("GC", {**config, "cni.dev/valid-attachments": []})


def variables(s):
    """7. Every variable removed or malformed in turn: code 4 and its name."""
    for name, value in (("CNI_COMMAND", "NONSENSE"), ("CNI_CONTAINERID", "-x"), ("CNI_NETNS", None), ("CNI_IFNAME", "a/b"), ("CNI_ARGS", "novalue")):
        for bad in {None, value}:
            if bad is None and name == "CNI_ARGS":
                continue
            e = s.fails(4, "ADD", s.own(), netns="/run/netns/x", **{name: bad})
            expect(name in e["msg"], lambda: f"{name}: {e}")
    e = s.fails(4, "ADD", {"name": "x", "type": "dcos-l4lb", "delegate": {"type": "ptp"}}, netns="/run/netns/x", path=None, CNI_PATH=None)
    expect("CNI_PATH" in e["msg"], lambda: str(e))


def codes(s):
    """8. Bad input, and a controller that is not there, within the bound."""
    m = s.m
    ns = m.netns(s.fresh())
    for bad in (b"", b"{", b"[]", b"\xff", b"[" * 100000):
        s.fails(6, "ADD", None, netns=ns, stdin=bad)
    s.fails(7, "ADD", {"type": "loadstar-cni"}, netns=ns)
    s.fails(7, "ADD", s.own(subnet="9.0.0.0/31"), netns=ns)
    s.fails(2, "ADD", s.own(ipMasq=True), netns=ns)
    state = f"{m.dir}/overlay.json"
    config = {"cniVersion": "1.1.0", "name": s.fresh(), "type": "loadstar-cni", "dataDir": m.dir, "overlayState": state, "ipam": {"overlay": "dcos"}}
    began = time.monotonic()
    s.fails(11, "ADD", config, netns=ns)
    s.fails(50, "STATUS", config)
    expect(time.monotonic() - began < 5, "that took long")
    s.ok("DEL", config, netns=ns)
    entry = {"info": {"name": "dcos"}, "mesos_bridge": {"name": "m-dcos", "ip": "9.3.0.0/25", "ip6": "fd01:b::/81"}, "state": {"status": "STATUS_OK"}}
    with open(state, "w") as f:
        json.dump({"ip": "10.0.0.1", "overlays": [entry, {"info": {"name": "late"}, "state": {"status": "STATUS_FAILED"}}]}, f)
    for overlay, code in (("late", 11), ("nobody", 7)):
        s.fails(code, "ADD", {**config, "ipam": {"overlay": overlay}}, netns=ns)
    a = s.ok("ADD", config, netns=ns)
    expect([i["address"] for i in a.json["ips"]] == ["9.3.0.2/25", "fd01:b::2/81"] and a.json["interfaces"][0]["name"] == "m-dcos", lambda: str(a))
    expect({r["dst"] for r in a.json["routes"]} == {"0.0.0.0/0", "::/0"}, lambda: str(a))
    s.fails(51, "STATUS", config)  # addresses, but no data plane
    os.unlink(state)
    s.ok("DEL", config, netns=ns)  # without the controller and its file


def version(s):
    """VERSION needs nothing."""
    for stdin, want in ((b"", "1.1.0"), (b'{"cniVersion":"0.3.1"}', "0.3.1")):
        a = s.ok("VERSION", None, container=None, netns=None, ifname=None, path=None, stdin=stdin)
        expect(a.json["cniVersion"] == want and a.json["supportedVersions"] == VERSIONS[1:], lambda: str(a))


def check_detects(s):
    """9. CHECK sees a removed device, address, route, map entry and reservation."""
    m = s.m
    for mode in ("bridge", "direct"):
        def attached():
            config = s.own(mode=mode, runtimeConfig={"portMappings": [{"hostPort": 9000, "containerPort": 80}]})
            ns = m.netns(s.fresh())
            result = s.ok("ADD", config, netns=ns).json
            return {**config, "prevResult": result}, ns, os.path.basename(ns)
        breaks = {
            "device": lambda c, n: m.sh(f"ip -n {n} link del eth0"),
            "down": lambda c, n: m.sh(f"ip -n {n} link set eth0 down"),
            "hardware address": lambda c, n: m.sh(f"ip -n {n} link set eth0 address 02:00:00:00:00:77"),
            "address": lambda c, n: m.sh(f"ip -n {n} addr add 9.0.0.99/25 dev eth0; ip -n {n} addr del {c['prevResult']['ips'][0]['address']} dev eth0"),
            "route": lambda c, n: m.sh(f"ip -n {n} route del default"),
            "port": lambda c, n: m.sh(f"bpftool map delete pinned {m.PIN}/maps/ls_portmap key hex 23 28 06 04"),
            "reservation": lambda c, n: os.unlink(f"{m.dir}/.loadstar/{c['name']}"),
        }
        if mode == "bridge":
            breaks["bridge port"] = lambda c, n: m.sh(f"ip link set {m.veths()[0]} nomaster")
            breaks["bridge down"] = lambda c, n: m.sh(f"ip link set {c['bridge']} down")
        else:
            breaks["host route"] = lambda c, n: m.sh(f"ip route del {c['prevResult']['ips'][0]['address'].split('/')[0]}")
            breaks["local entry"] = lambda c, n: m.sh(f"bpftool map delete pinned {m.PIN}/maps/ls_ovl_local key hex 00 00 00 00 00 00 00 00 00 00 ff ff 09 00 00 02")
        for name, do in breaks.items():
            config, ns, short = attached()
            a = s.ok("CHECK", config, netns=ns)
            expect(a.out == "", "CHECK is not silent")
            do(config, short)
            a = m.call("CHECK", config, netns=ns)
            expect(a.code != 0 and a.json["msg"], lambda: f"{mode}: {name} is not seen")
            s.ok("DEL", config, netns=ns)
            for v in m.veths():
                m.sh(f"ip link del {v}")
            if name == "reservation":
                m.sh(f"bpftool map delete pinned {m.PIN}/maps/ls_portmap key hex 23 28 06 04")
            expect(not m.ports(), lambda: f"{name}: {m.ports()}")
    config, ns, _ = attached()
    without = {k: v for k, v in config.items() if k != "prevResult"}
    s.fails(7, "CHECK", without, netns=ns)
    s.ok("DEL", config, netns=ns)


def gc(s):
    """10. GC with an empty, a partial and no list, and a device whose reservation is lost."""
    m, config = s.m, s.own(runtimeConfig={"portMappings": [{"hostPort": 9000, "containerPort": 80}]})
    ns = [m.netns(s.fresh()) for _ in range(3)]
    s.ok("ADD", config, container="a", netns=ns[0])
    plain = {k: v for k, v in config.items() if k != "runtimeConfig"}
    s.ok("ADD", plain, container="b", netns=ns[1])
    s.ok("ADD", plain, container="c", netns=ns[2])
    s.fails(7, "GC", plain)
    s.ok("GC", {**plain, "cni.dev/valid-attachments": [{"containerID": "b", "ifname": "eth0"}, {"containerID": "unknown", "ifname": "eth0"}]})
    expect(len(m.veths()) == 1 and not m.ports() and m.links(os.path.basename(ns[1])), "not exactly b is left")
    os.unlink(f"{m.dir}/.loadstar/{config['name']}")
    s.ok("GC", {**plain, "cni.dev/valid-attachments": []})
    expect(not m.veths(), "the device without a reservation is left")
    s.ok("GC", {**plain, "cni.dev/valid-attachments": []})


def mesos_call(s):
    """11. As Mesos calls: its environment, its args, a reader of 0.2.0; port mappings are map entries, gone with the container."""
    m = s.m
    name = s.fresh()
    config = s.mesos(name, info={"name": name, "port_mappings": [{"host_port": 31000, "container_port": 80, "protocol": "TCP"}, {"host_port": 31001, "container_port": 53, "protocol": "udp"}]})
    nested = s.mesos(name, info={"name": name, "port_mappings": [{"host_port": 31002, "container_port": 80}]})
    ns, inner = m.netns(s.fresh()), m.netns(s.fresh())
    container = "0b7a3a2e-a2c5-4f0c-9a70-3f4f2b1d9a11"
    a = s.ok("ADD", config, container=container, netns=ns)
    expect(a.json == {"cniVersion": "0.1.0", "ip4": {"ip": "9.0.0.2/25", "gateway": "9.0.0.1", "routes": [{"dst": "0.0.0.0/0", "gw": "9.0.0.1"}]}, "dns": {}}, lambda: str(a))
    s.ok("ADD", nested, container=container + ".check", netns=inner)
    bridge = m.links()["m-" + name]["ifindex"]
    want = {(6, 31000, 4): (bytes([9, 0, 0, 2]), 80, bridge), (17, 31001, 4): (bytes([9, 0, 0, 2]), 53, bridge), (6, 31002, 4): (bytes([9, 0, 0, 3]), 80, bridge)}
    expect(m.ports() == want, lambda: str(m.ports()))
    device = m.links(os.path.basename(ns))["eth0"]
    expect(device["mtu"] == 1420 and m.links()[m.veths()[0]]["mtu"] == 1420, "mtu")
    port = m.links()[m.veths()[0]]["linkinfo"]["info_slave_data"]
    expect(port["hairpin"], "hairpin is off")
    # A host port that somebody has: refused, and nothing is left of the attempt.
    third = m.netns(s.fresh())
    e = s.fails(103, "ADD", nested, container="other", netns=third)
    expect("31002" in e["msg"] and not m.links(os.path.basename(third)) and m.ports() == want, lambda: str(e))
    # The parent's DEL leaves the nested container's mapping (spec/cni.md, 3.1, faults).
    s.ok("DEL", config, container=container, netns=ns)
    expect(set(m.ports()) == {(6, 31002, 4)}, lambda: str(m.ports()))
    s.ok("DEL", nested, container=container + ".check", netns=None)
    expect(not m.ports() and not m.veths(), "something is left")
    expect("m-" + name in m.links(), "the bridge went with the last container")
    e = s.fails(7, "ADD", {k: v for k, v in config.items() if k != "chain"}, netns=ns)
    expect("chain" in e["msg"], lambda: str(e))


def import_host_local(s):
    """12. A folder of host-local with three reservations: ADD skips them, DEL frees them."""
    m, name = s.m, s.fresh()
    os.makedirs(f"{m.dir}/{name}")
    for address, text in (("9.0.0.2", "a"), ("9.0.0.4", "b\r\neth0"), ("9.0.0.5", "c\r\neth0"), ("last_reserved_ip.0", "9.0.0.5")):
        with open(f"{m.dir}/{name}/{address}", "w", newline="") as f:
            f.write(text)
    config = s.own(name, subnet="9.0.0.0/29")
    ns = m.netns(s.fresh())
    got = [s.ok("ADD", config, container=f"x{i}", netns=ns, ifname=f"e{i}").address for i in range(2)]
    expect(got == ["9.0.0.6/29", "9.0.0.3/29"], lambda: str(got))
    s.fails(100, "ADD", config, container="x9", netns=ns, ifname="e9")
    for container in "abc":
        s.ok("DEL", config, container=container, netns="/run/netns/gone")
    got = [s.ok("ADD", config, container=f"y{i}", netns=ns, ifname=f"f{i}").address for i in range(3)]
    expect(sorted(got) == ["9.0.0.2/29", "9.0.0.4/29", "9.0.0.5/29"], lambda: str(got))
    s.ok("GC", {**config, "cni.dev/valid-attachments": []})
    if not m.reference("bridge"):
        return
    # The real thing: containers of the reference plugins are carried on.
    chain = s.mesos(s.fresh())
    ns = m.netns(s.fresh())
    s.ok("ADD", {**chain["delegate"], "name": chain["name"]}, container="running", netns=ns, plugin=m.reference("bridge"))
    other = m.netns(s.fresh())
    expect(s.ok("ADD", chain, container="new", netns=other).address == "9.0.0.3/25", "the address of a running container")
    s.ok("DEL", chain, container="running", netns=ns)
    expect(not m.links(os.path.basename(ns)), "its device is left")
    s.ok("DEL", chain, container="new", netns=other)


def both_families(s):
    """Two families: addresses usable at once, gateways answer, neighbours of the half reach each other; bridge and direct mode."""
    m = s.m
    for mode in ("bridge", "direct"):
        config = s.own(subnet=["9.4.0.0/25", "fd04:b::/81"], mode=mode)
        names = [s.fresh() for _ in range(2)]
        results = []
        for n in names:
            result = s.ok("ADD", config, container=n, netns=m.netns(n)).json
            results.append([i["address"].split("/")[0] for i in result["ips"]])
            rows = json.loads(m.sh(f"ip -n {n} -j -6 addr show dev eth0"))[0]["addr_info"]
            expect(not any(r.get("tentative") for r in rows if r["scope"] == "global"), "duplicate address detection runs")
            for target in ("9.4.0.1", "fd04:b::1"):
                m.sh(f"ip netns exec {n} ping -c1 -W2 {target}")
        for target in results[1]:
            m.sh(f"ip netns exec {names[0]} ping -c1 -W2 {target}")
            m.sh(f"ping -c1 -W2 {target}")
        if mode == "direct":
            expect(config["bridge"] not in m.links(), "direct mode made a bridge")
            expect(len(m.dump("ls_ovl_local")) == 4, lambda: str(m.dump("ls_ovl_local")))
        else:
            expect(not m.dump("ls_ovl_local"), "bridge mode wrote ls_ovl_local")
        s.ok("CHECK", {**config, "prevResult": result}, container=names[1], netns=f"/run/netns/{names[1]}")
        for n in names:
            s.ok("DEL", config, container=n, netns=f"/run/netns/{n}")
        expect(not m.dump("ls_ovl_local") and not m.veths(), "something is left")


def mtu(s):
    """The MTU: as configured, and never more than the underlay leaves."""
    m = s.m
    m.sh("ip link add uplink type veth peer name faraway; ip link set uplink mtu 1400 up; ip link set faraway up; ip addr add 192.168.7.2/24 dev uplink; ip route add default via 192.168.7.1")
    try:
        for wanted, got in ((None, 1350), (1420, 1350), (1300, 1300)):
            config = s.own(**({"mtu": wanted} if wanted else {}))
            n = s.fresh()
            s.ok("ADD", config, netns=m.netns(n))
            expect(m.links(n)["eth0"]["mtu"] == got, lambda: f"{wanted}: {m.links(n)['eth0']['mtu']} instead of {got}")
            s.ok("DEL", config, netns=f"/run/netns/{n}")
    finally:
        m.sh("ip link del uplink")
    n = s.fresh()
    config = s.own()
    s.ok("ADD", config, netns=m.netns(n))
    expect(m.links(n)["eth0"]["mtu"] == 1450, "without a default route")
    s.ok("DEL", config, netns=f"/run/netns/{n}")


def requests(s):
    """Addresses that are asked for, three ways, and a hardware address."""
    m, ns = s.m, s.m.netns(s.fresh())
    config = s.own()
    a = s.ok("ADD", {**config, "args": {"cni": {"ips": ["9.0.0.50"]}}, "runtimeConfig": {"mac": "02:00:00:00:00:42"}}, container="a", netns=ns, ifname="e0")
    expect(a.address == "9.0.0.50/25" and m.links(os.path.basename(ns))["e0"]["address"] == "02:00:00:00:00:42", lambda: str(a))
    expect(s.ok("ADD", config, container="b", netns=ns, ifname="e1", args="IP=9.0.0.60").address == "9.0.0.60/25", "CNI_ARGS")
    info = {"name": "x", "ip_addresses": [{"ip_address": "9.0.0.70", "protocol": "IPv4"}]}
    expect(s.ok("ADD", {**config, "args": {"org.apache.mesos": {"network_info": info}}}, container="c", netns=ns, ifname="e2").address == "9.0.0.70/25", "Mesos")
    s.fails(100, "ADD", config, container="d", netns=ns, ifname="e3", args="IP=9.0.0.60")
    s.fails(7, "ADD", config, container="d", netns=ns, ifname="e3", args="IP=9.0.1.60")
    s.ok("GC", {**config, "cni.dev/valid-attachments": []})


def refused_then_removed(s):
    """A DEL with the configuration that ADD refused succeeds: Mesos keeps the container until it does."""
    m, ns = s.m, s.m.netns(s.fresh())
    name = s.fresh()
    twice = {"name": name, "port_mappings": [{"host_port": 31000, "container_port": 1}, {"host_port": 31000, "container_port": 2}]}
    for code, config in ((103, s.mesos(name, info=twice)), (7, s.mesos(name, "9.0.0.0/31")), (7, s.mesos(name, info={"port_mappings": [{"host_port": 0, "container_port": 1}]})),
                         (2, s.own(ipMasq=True)), (7, {"name": name, "type": "nobody"})):
        s.fails(code, "ADD", config, netns=ns)
        s.ok("DEL", config, netns=ns)
    expect(not m.links(os.path.basename(ns)) and not m.ports(), "something is left")


def run(doc, checks):
    """The machine, the maps of loadstard, and each check on it; ends the program."""
    args = arguments(doc, daemon=False)
    try:
        plugin = find_binary("loadstar-cni", args.tools)
    except FileNotFoundError as e:
        print(f"skipped: {e}")
        sys.exit(77)
    m = Machine(plugin)
    report = Report()
    try:
        m.maps(local=True)
        s = Scene(m)
        for check in checks:
            if args.only in check.__name__:
                report.run((check.__doc__ or check.__name__).split("\n")[0], check, s)
    finally:
        m.close()
    sys.exit(report.close())


if __name__ == "__main__":
    run(__doc__, (shapes, whole_half, round_robin, del_is_idempotent, add_refuses, variables, codes, version, check_detects, gc, mesos_call, import_host_local,
                  both_families, mtu, requests, refused_then_removed))

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an operator sees: every command of loadstar(1) against a daemon with traffic, as table and as JSON, its exit codes, the
metrics, and the maps as bpftool shows them."""
import json
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import (Daemon, Lab, Master, Report, arguments, end_dial, expect, next_event, state,  # noqa: E402
                 wait_until)
from lab.report import Skip  # noqa: E402

PIN = "/sys/fs/bpf/loadstar"
FLOWS = {4: 12, 6: 5}
NAME = f"web.{state.FRAMEWORK_NAME}"


class Scene:
    def __init__(self, lab):
        self.lab = lab
        n1, n2 = lab.node(1), lab.node(2)
        self.node = n1
        self.client = n1.routed("tcc")
        self.sock = n1.routed("sc")
        self.places = {"b1": n1.routed("b1"), "b2": n2.routed("b2"), "b3": n2.routed("b3")}
        self.cluster = state.Cluster()
        self.cluster.add_agents(lab)
        for name, place in self.places.items():
            place.echo(name, 8080)
            for family in (4, 6):
                self.cluster.add(state.routed_task(f"web.{name}.{family}", place, family, 8080, ["/web:80"], ["tcp"]))
        self.cluster.add(state.routed_task("gone.1", self.places["b1"], 4, 8080, ["/gone:80"], ["tcp"]))
        self.cluster.add(state.routed_task("bad.1", self.places["b1"], 4, 8080, ["nonsense"], ["tcp"]))
        self.master = Master(lab, self.cluster)
        self.daemon = Daemon(n1, {"mesos": [self.master.address]},
                             settings={"lb.cgroup": self.sock.cgroup, "lb.flows": 4096, "lb.flows6": 1024, "lb.ring_slots": 262144})
        self.daemon.start()
        self.vips = {f: self.daemon.service(NAME, 80, "tcp", f)["address"] for f in (4, 6)}
        self.gone = self.daemon.service(f"gone.{state.FRAMEWORK_NAME}", 80, "tcp", 4)["address"]
        self.streams = []
        for family, n in FLOWS.items():
            s = self.client.start_dial("stream", self.vips[family], 80, flows=n, gap=20)
            event = next_event(s)
            expect(event and event["event"] == "ready", f"flows did not come up: {event}")
            self.streams.append(s)
        self.sock.dial("once", self.vips[4], 80, count=7)
        self.master.tell(self.cluster.update("web.b3.4", "TASK_KILLING"), self.cluster.update("gone.1", "TASK_KILLING"))
        a = self.client.dial("once", self.gone, 80, timeout=300)[0]
        wait_until(lambda: not self.client.dial("once", self.gone, 80, timeout=300)[0]["ok"] and self.daemon.drops(), 3, f"a drop ({a})")

    def cli(self, *args, code=0, socket=None):
        p = self.node.spawn([self.lab.tool("loadstar"), "-s", socket or self.daemon.socket, *args], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)
        out, err = p.communicate(timeout=20)
        expect(p.returncode == code, f"loadstar {' '.join(args)}: exit {p.returncode}, not {code}: {err or out}")
        return err if code else out

    def json(self, *args):
        return json.loads(self.cli(*args, "-o", "json"))

    def table(self, *args):
        """Rows of a table as dicts; columns begin where their titles begin, or for numbers end where they end."""
        lines = self.cli(*args).splitlines()
        return lines[0].split(), [line.split() for line in lines[1:]]

    def status(self):
        wait_until(lambda: self.json("status")["tables"]["backends"]["draining"] == 2, 3, "draining backends in status")
        s = self.json("status")
        expect(s["ready"] and s["headline"].startswith("READY: 3 VIPs, 7 backends, in sync, source mesos"), s["headline"])
        expect(s["tables"] == {"vips": 3, "backends": {"active": 5, "draining": 2, "dead": 0}}, f"tables: {s['tables']}")
        expect(s["problem_count"] == 1 and "bad.1" in s["problems"][0]["task"], f"problems: {s['problems']}")
        expect(s["source"]["connected"] and s["source"]["age_s"] < 20, f"source: {s['source']}")
        text = self.cli("status")
        first = text.splitlines()[0]
        expect(first == s["headline"], f"the first line is: {first}")
        for word in ("bad.1", "left out", "5 active, 2 draining, 0 dead", "attach:", "lb:"):
            expect(word in text, f"no '{word}' in:\n{text}")
        expect("trouble" not in text, f"attachments in trouble:\n{text}")
        wide = self.cli("status", "-o", "wide")
        expect("uplink_in" in wide and "connect4" in wide and "ls_flow4" in wide, f"wide:\n{wide}")
        self.master.tell(self.cluster.update("gone.1", "TASK_KILLED"))
        wait_until(lambda: self.json("status")["tables"]["backends"]["dead"] == 1, 3, "dead backend in status")
        return first

    def vips_listed(self):
        head, rows = self.table("vip", "ls")
        expect(head == ["NAME", "SERVICE", "ACTIVE", "DRAINING", "FLOWS"], f"columns {head}")
        want4 = [NAME, f"{self.vips[4]}:80/tcp", "2", "1"]
        expect(any(r[:4] == want4 and int(r[4]) >= FLOWS[4] + 7 for r in rows), f"{want4} not in {rows}")
        expect(any(r[:4] == [NAME, f"[{self.vips[6]}]:80/tcp", "3", "0"] for r in rows), f"IPv6 not in {rows}")
        expect({v["key"] for v in self.json("vip", "ls")} >= {want4[1]}, "JSON")
        expect("RING" in self.cli("vip", "ls", "-o", "wide").splitlines()[0], "wide")
        return f"{len(rows)} rows"

    def vip_shown(self):
        for name in (NAME, f"{NAME}:80", f"{NAME}.l4lb.thisdcos.directory", self.vips[4], f"{self.vips[4]}:80/tcp", f"[{self.vips[6]}]:80"):
            text = self.cli("vip", "show", name)
            expect("web.b1" in text and f"{NAME}.l4lb.thisdcos.directory" in text, f"{name}:\n{text}")
        shown = self.json("vip", "show", self.vips[4])
        expect(len(shown) == 1 and {b["state"] for b in shown[0]["backends"]} == {"active", "draining"}, f"JSON: {shown}")
        expect("there is no VIP" in self.cli("vip", "show", "no.such", code=1), "unknown VIP")

    def backends_listed(self):
        head, rows = self.table("backend", "ls")
        expect(head[0] == "BACKEND" and len(rows) >= 6, f"{head} {len(rows)}")
        rows = self.json("backend", "ls", "--vip", self.vips[4])
        tc, sock = sum(b["flows_tc"] for b in rows), sum(b["flows_sock"] for b in rows)
        expect(len(rows) == 3 and tc >= FLOWS[4] and sock == 7, f"{len(rows)} backends, {tc} tc and {sock} sock flows")
        return f"{tc} flows by packet, {sock} by socket"

    def flows_listed(self):
        rows = self.json("flow", "ls", "--state", "established")["flows"]
        by_vip = {v: sum(f["service"].startswith(v) or f["service"].startswith(f"[{v}") for f in rows) for v in self.vips.values()}
        expect(by_vip == {self.vips[f]: n for f, n in FLOWS.items()}, f"flows by VIP: {by_vip}")
        expect(all(f["idle_s"] < 2 for f in rows), "open flows are idle")
        head, lines = self.table("flow", "ls", "--vip", self.vips[4], "--state", "established")
        expect(head[:3] == ["CLIENT", "SERVICE", "BACKEND"] and len(lines) == FLOWS[4], f"{head} {len(lines)}")
        one = self.json("flow", "ls", "--limit", "1")
        expect(len(one["flows"]) == 1 and one["truncated"], "limit")
        self.cli("flow", "ls", "--state", "nonsense", code=2)
        self.cli("flow", "ls", "--backend", "nonsense", code=2)
        return f"{len(rows)} established"

    def maps_listed(self):
        maps = {m["name"]: m for m in self.json("map", "ls")}
        expect({"ls_svc", "ls_svc_tab", "ls_be", "ls_ring", "ls_flow4", "ls_flow6", "ls_drops", "ls_events"} <= set(maps), f"{set(maps)}")
        # An empty trie takes none until it has an entry.
        without = {n for n, m in maps.items() if not m["bytes"]} - {"ls_sock_peer", "ls_dns_acl", "ls_ovl_net"}
        expect(not without, f"maps without memory: {sorted(without)}")
        expect(maps["ls_flow4"]["entries"] >= 2 * FLOWS[4], f"ls_flow4: {maps['ls_flow4']}")
        expect(maps["ls_flow6"]["entries"] >= 2 * FLOWS[6], f"ls_flow6: {maps['ls_flow6']}")
        # A flow takes two entries, and the table is meant to be half full.
        expect(maps["ls_flow4"]["capacity"] == 4 * 4096, f"ls_flow4: {maps['ls_flow4']}")
        head, rows = self.table("map", "usage")
        used = {r[0] for r in rows}
        expect(head[0] == "NAME" and {"ls_svc", "ls_be", "ls_ring", "ls_flow4", "ls_flow6"} <= used, f"{used}")
        expect(all(r[-1] == "ok" for r in rows), f"{rows}")
        return f"{len(maps)} maps, the use of {len(used)} known"

    def maps_dumped(self):
        counted = {}
        for m in self.json("map", "ls"):
            if m["type"] in ("ringbuf", "sk_storage") or m["name"] == "ls_dns_data":  # its entries are segments of a megabyte
                self.cli("map", "dump", m["name"], code=1)
                continue
            lines = [json.loads(x) for x in self.cli("map", "dump", m["name"], "--limit", "50").splitlines()]
            counted[m["name"]] = len(lines)
            expect(all("key" in x and ("value" in x or "per_cpu" in x) for x in lines), f"{m['name']}: {lines[:1]}")
        for name in ("ls_svc", "ls_svc_tab", "ls_be", "ls_ring", "ls_flow4", "ls_flow6", "ls_meta", "ls_ctl", "ls_stats", "ls_drops"):
            expect(counted[name], f"{name} shows no entry")
        key = json.loads(self.cli("map", "dump", "ls_svc").splitlines()[0])["key"]
        expect(key["port"] == 80 and key["proto"] == "tcp" and "addr" in key, f"a key of ls_svc reads {key}")
        seed = self.cli("map", "dump", "ls_meta")
        real = json.loads(self.node.run(["bpftool", "-j", "map", "dump", "pinned", f"{PIN}/maps/ls_meta"]))[0]["formatted"]["value"]["seed"]
        expect(str(real[0]) not in seed and f"{real[0]:x}" not in seed, "the secret seed of the flow tables is shown")
        keys = json.loads(self.node.run(["bpftool", "-j", "map", "dump", "pinned", f"{PIN}/maps/ls_dns_conf"]))[0]["formatted"]["value"]
        shown = self.cli("map", "dump", "ls_dns_conf").replace(" ", "")
        cookie = bytes(keys["cookie_secret"]).hex()
        hashed = [int(k).to_bytes(8, "little").hex() for k in keys["key"]]
        expect(not [k for k in (cookie, *hashed) if k in shown] and not [k for k in keys["key"] if str(k) in shown], "secret keys of DNS are shown")
        self.cli("map", "dump", "no_such", code=1)
        return ", ".join(f"{k} {n}" for k, n in counted.items())

    def dropped(self):
        rows = {(d["hook"], d["reason"]): d["count"] for d in self.json("drops") if d["count"]}
        expect(rows and {r for _, r in rows} <= {"no_backend", "backend_dead"}, f"drops: {rows}")
        head, lines = self.table("drops")
        expect(head == ["HOOK", "REASON", "COUNT", "MEANING"] and len(lines) == len(rows), f"{head} {lines}")
        expect(len(self.cli("drops", "--all").splitlines()) > len(lines) + 10, "--all")
        _, verdicts = self.table("stats")
        expect(any(v[0] == "port_in" and int(v[2]) > 0 for v in verdicts), f"stats: {verdicts}")
        return str(rows)

    def monitored(self):
        """A drop and a new flow, as they happen."""
        self.master.tell(self.cluster.add(state.routed_task("gone.2", self.places["b1"], 4, 8080, ["/gone:80"], ["tcp"])),
                         self.cluster.update("gone.2", "TASK_KILLING"))
        wait_until(lambda: self.daemon.services().get((f"gone.{state.FRAMEWORK_NAME}", 80, "tcp", 4)), 3, "a VIP without takers")
        tool = [self.lab.tool("loadstar"), "-s", self.daemon.socket, "monitor"]
        seen = {}
        for option, dial in (("--drops", self.gone), ("--new", self.vips[4])):
            p = self.node.spawn([*tool, option, "-n", "1", "--json"], stdout=subprocess.PIPE, text=True)
            text = self.node.spawn([*tool, option, "-n", "1"], stdout=subprocess.PIPE, text=True)
            end = time.monotonic() + 5
            while (p.poll() is None or text.poll() is None) and time.monotonic() < end:
                self.client.dial("once", dial, 80, timeout=200)
            expect(p.poll() == 0 and text.poll() == 0, f"monitor {option} saw nothing (exit {p.poll()}, {text.poll()})")
            seen[option] = json.loads(p.stdout.read())
            expect(dial in text.stdout.read(), "the text does not name the address")
        drop, new = seen["--drops"], seen["--new"]
        expect(drop["type"] == "reply" and drop["reason"] == "no_backend" and drop["dst"] == f"{self.gone}:80", f"{drop}")
        expect(drop["device"] == self.client.device and drop["src"].startswith(self.client.address[4]), f"{drop}")
        expect(new["type"] == "new" and new.get("vip") == NAME and new.get("backend"), f"{new}")
        expect(abs(time.time() - time.mktime(time.strptime(new["time"][:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 60, new["time"])
        self.cli("monitor", "--type", "nonsense", code=2)

    def health(self):
        text = self.cli("health")
        expect("live" in text and "serving" in text, text)
        expect(self.json("health") == {"live": True, "ready": True}, "JSON")
        expect("loadstard " in self.cli("version"), "version")

    def metrics(self):
        text = self.cli("metrics")
        if not shutil.which("promtool"):
            raise Skip("no promtool")
        p = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
        expect(p.returncode == 0 and not p.stderr.strip(), f"promtool: {p.stderr.strip()}")
        values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if not line.startswith("#")}
        for name, least in (("loadstar_ready", 1), ('loadstar_vip_backends{state="draining"}', 1), ('loadstar_flows{state="established"}', sum(FLOWS.values())),
                            ('loadstar_map_entries{map="ls_flow4"}', 2 * FLOWS[4]), ("loadstar_vip_problems", 1),
                            ('loadstar_packets_total{hook="port_in",verdict="forward"}', 1),
                            ('loadstar_drops_total{hook="port_in",reason="no_backend"}', 1)):
            expect(values.get(name, -1) >= least, f"{name} is {values.get(name)}")
        return f"{len(values)} samples"

    def type_data(self):
        """bpftool knows the fields: the maps carry BTF."""
        for name, field in (("ls_be", "addr_be"), ("ls_svc", "port_be"), ("ls_svc_tab", "ring"), ("ls_flow4", "way"), ("ls_meta", "abi_version")):
            out = self.node.run(["sh", "-c", f"bpftool map dump pinned {PIN}/maps/{name} | head -60"])
            expect(f'"{field}"' in out, f"{name}: no field {field} in\n{out[:300]}")

    def source_down(self):
        """The master is gone: status says so first, the exit code is still good, since everything is served."""
        port_block = "table inet lab_cut {\n chain in {\n type filter hook prerouting priority -330;\n tcp dport 5050 reject with tcp reset\n }\n}\n"
        self.lab.fabric.nft(port_block)
        try:
            s = wait_until(lambda: (s := self.json("status")) and not s["source"]["connected"] and s["source"]["last_error"] and s, 60, "the loss")
            first = self.cli("status").splitlines()[0]
            expect(first.startswith("READY: ") and "lost since" in first, first)
            self.cli("health")
            a = self.client.dial("once", self.vips[4], 80)[0]
            expect(a["ok"], lambda: f"{a['step']} {a['error']}")
        finally:
            self.lab.fabric.nft("delete table inet lab_cut\n")
        wait_until(lambda: self.json("status")["source"]["connected"], 10, "connected again")
        return first

    def usage(self):
        for args in ((), ("nonsense",), ("vip",), ("vip", "ls", "-o", "xml"), ("map", "dump"), ("flow", "ls", "--limit", "-1")):
            self.cli(*args, code=2)
        expect("nobody" in self.cli("status", socket="/nonexistent/sock", code=3) or True, "")
        expect("does not run" in self.cli("status", socket="/nonexistent/sock", code=3), "no daemon")
        for args in (("--help",), ("vip", "--help"), ("completion", "bash")):
            expect(self.cli(*args), f"{args} prints nothing")

    def streams_lived(self):
        for s in self.streams:
            end = end_dial(s)[-1]
            expect(end["lost"] == 0, f"{end['lost']} lost")

    def not_running(self):
        self.daemon.stop()
        for args in (("status",), ("vip", "ls"), ("metrics",), ("monitor",), ("health",)):
            expect("does not run" in self.cli(*args, code=3), f"{args}")


def main():
    args = arguments(__doc__)
    report = Report()
    with Lab(nodes=2, tools=args.tools) as lab:
        s = Scene(lab)
        for name, check in (("status", s.status), ("vip ls", s.vips_listed), ("vip show", s.vip_shown), ("backend ls", s.backends_listed),
                            ("flow ls", s.flows_listed), ("map ls, map usage", s.maps_listed), ("map dump", s.maps_dumped),
                            ("drops, stats", s.dropped), ("monitor", s.monitored), ("health, version", s.health), ("metrics", s.metrics),
                            ("BTF of the maps", s.type_data), ("usage errors", s.usage), ("source down", s.source_down),
                            ("flows all the while", s.streams_lived), ("daemon down", s.not_running)):
            if args.only in name:
                report.run(name, check)
        if report.failed:
            print(s.daemon.log_tail(20))
        if s.daemon.process.poll() is None:
            s.daemon.stop()
        s.daemon.purge()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What may happen to a daemon and to what it left in the kernel: killed at any moment, maps of other sizes and layouts, full
tables, programs and entries taken away, another's program in the way, a second daemon, hardly any rights."""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import (Daemon, Lab, Master, Report, arguments, end_dial, expect, next_event, state,  # noqa: E402
                 wait_until)
from lab.proc import CommandFailed  # noqa: E402
from lab.report import Skip  # noqa: E402

PIN = "/sys/fs/bpf/loadstar"
REPAIR_S = 5.0
FLOWS = 20
USER = 54321
SIZES = {"lb.flows": 4096, "lb.flows6": 2048, "lb.services": 256, "lb.backends": 1024, "lb.ring_slots": 262144}


class Scene:
    def __init__(self, lab):
        self.lab = lab
        n1, n2 = lab.node(1), lab.node(2)
        self.node = n1
        self.clients = {"tc": n1.routed("tcc"), "sock": n1.routed("sc")}
        self.places = {"b1": n1.routed("b1"), "b2": n2.routed("b2")}
        self.cluster = state.Cluster()
        self.cluster.add_agents(lab)
        for name, place in self.places.items():
            place.echo(name, 8080)
            self.cluster.add(state.routed_task(f"web.{name}", place, 4, 8080, ["/web:80"]))
        self.master = Master(lab, self.cluster)
        self.daemon = self.make()
        self.daemon.start()
        self.address = self.daemon.service(f"web.{state.FRAMEWORK_NAME}", 80, "tcp", 4)["address"]

    def make(self, **settings):
        return Daemon(self.node, {"mesos": [self.master.address]},
                      settings={"lb.cgroup": self.clients["sock"].cgroup, **SIZES, **settings})

    def stop(self, sig=signal.SIGTERM):
        if self.daemon.process and self.daemon.process.poll() is None:
            self.daemon.stop(sig)

    def restart(self, **settings):
        """The daemon with these settings in the place of the default ones."""
        self.stop()
        self.daemon = self.make(**settings)
        return self.daemon.start()

    def works(self, count=6):
        for path, client in self.clients.items():
            for a in client.dial("once", self.address, 80, count=count, stop=1, timeout=1000):
                expect(a["ok"], lambda: f"{path}: {a['step']} {a['error']}")

    def both_paths_work(self):
        try:
            self.works(1)
            return True
        except AssertionError:
            return False

    def streams(self):
        opened = {p: c.start_dial("stream", self.address, 80, flows=FLOWS, gap=2, stall=8000) for p, c in self.clients.items()}
        for path, s in opened.items():
            event = next_event(s)
            expect(event and event["event"] == "ready" and event["ready"] == FLOWS, f"{path}: {event}")
        return opened

    def lived(self, streams):
        for path, s in streams.items():
            expect(s.poll() is None, f"{path}: all flows are gone")
            lines = end_dial(s)
            end = lines[-1]
            expect(end["lost"] == 0 and end["corrupt"] == 0 and end["stalled"] == 0,
                   lambda: f"{path}: {end['lost']} lost, {end['corrupt']} corrupt, {end['stalled']} stalled; "
                           f"{[x for x in lines if x['event'] == 'lost'][:2]}")

    def status(self):
        return self.daemon.get("/v1/status")

    def repairs(self):
        return sum(r["drift_repaired"] for r in self.status()["reconcile"])

    def bpftool(self, *args, check=True):
        return self.node.run(["bpftool", *args], check=check)

    # --- killed

    def kills(self, times):
        """SIGKILL at any moment, at start too, under changes; open flows live, and in the end the tables are the state."""
        rng = random.Random(7)
        streams = self.streams()
        done = threading.Event()
        failed = []

        def changes():
            here = random.Random(8)
            try:
                while not done.wait(0.01):
                    i = here.randrange(40)
                    name = f"churn.{i}"
                    if name in self.cluster.tasks:
                        self.master.tell(self.cluster.update(name, here.choice(["TASK_KILLED", "TASK_KILLING", "TASK_RUNNING"])))
                    else:
                        task = state.routed_task(name, self.places["b1"], 4, 9000 + i, [f"/churn{i % 7}:80"])
                        self.master.tell(self.cluster.add(task))
            except Exception as e:  # noqa: BLE001: whatever ended the changes ends the check
                failed.append(e)

        changer = threading.Thread(target=changes)
        changer.start()
        self.stop(signal.SIGKILL)
        for _ in range(times):
            self.daemon.launch()
            time.sleep(rng.random() * 1.5)
            self.daemon.stop(signal.SIGKILL)
        self.daemon.start()
        done.set()
        changer.join()
        expect(not failed, f"the changes ended: {failed}")
        self.lived(streams)
        wait_until(lambda: self.tables() == self.wanted(), 3, "the tables are the state")
        self.works()
        drops = {k: n for k, n in self.daemon.drops().items() if k[1] not in ("backend_dead", "no_backend")}
        expect(not drops, f"dropped: {drops}")
        before = self.repairs()
        time.sleep(REPAIR_S)
        expect(self.repairs() == before, "it goes on repairing what nobody broke")
        for name in [t for t in self.cluster.tasks if t.startswith("churn.")]:
            self.master.tell(self.cluster.update(name, "TASK_KILLED"))
        return f"{times} times, {2 * FLOWS} flows lived"

    def wanted(self):
        out = {}
        for name, task in self.cluster.tasks.items():
            port = task["discovery"]["ports"]["ports"][0]
            vip = port["labels"]["labels"][0]["value"].strip("/").split(":")[0]
            for proto in ("tcp", "udp"):
                ip = task["statuses"][-1]["container_status"]["network_infos"][0]["ip_addresses"][0]["ip_address"]
                out.setdefault((vip, proto), set()).add((f"{ip}:{port['number']}", task["state"] != "TASK_KILLING"))
        return out

    def tables(self):
        """As the kernel has it: only what has a number there."""
        return {(s["name"].split(".")[0], s["protocol"]): {(f"{b['ip']}:{b['port']}", b["state"] == "active") for b in s["backends"] if b["number"]}
                for s in self.daemon.services().values() if s["number"]}

    # --- maps of another kind

    def other_sizes(self, **settings):
        streams = self.streams()
        self.restart(**settings)
        self.works()
        self.lived(streams)
        self.restart()
        self.works()

    def kills_while_resizing(self, times):
        """SIGKILL at any moment of a start that makes tables of another size."""
        rng = random.Random(9)
        streams = self.streams()
        self.stop()
        for i in range(times):
            factor = (2, 1, 4)[i % 3]
            self.daemon = self.make(**{key: value * factor for key, value in SIZES.items()})
            self.daemon.launch()
            time.sleep(rng.random() * 2)
            self.daemon.stop(signal.SIGKILL)
            self.works(1)
        self.restart()
        self.lived(streams)
        self.works()
        folders = self.node.run(["ls", PIN]).split()
        expect("maps_next" not in folders and "maps_old" not in folders, f"half-made folders stay: {folders}")
        return f"{times} times"

    def bpffs_unmounted(self):
        """Somebody unmounts the BPF file system under the daemon: traffic goes on, status tells, a new mount is used."""
        streams = self.streams()
        self.node.run(["umount", "-l", "/sys/fs/bpf"])
        try:
            wait_until(lambda: any(r["last_error"] for r in self.status()["reconcile"]) or self.status()["warnings"], REPAIR_S + 1, "status tells")
            self.works()
            told = self.status()["headline"]
        finally:
            self.node.run(["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"])
        wait_until(lambda: all(self.pins_back()), REPAIR_S + 1, "pinned again")
        wait_until(lambda: not any(r["last_error"] for r in self.status()["reconcile"]), REPAIR_S + 1, "no error any more")
        self.purge_while_running()  # the new folder is locked too
        self.restart()
        self.lived(streams)
        self.works()
        return told

    def reload(self):
        """SIGHUP with a broken file changes nothing and says where; with a good one the level is taken over."""
        with open(self.daemon.config) as f:
            good = f.read()
        with open(self.daemon.config, "w") as f:
            f.write(good + "\n[lb]\nnonsense = 1\n")
        self.daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "event=reload_refused" in self.daemon.log_tail(20), 3, "refusal")
        with open(self.daemon.config, "w") as f:
            f.write(good.replace('level = "info"', 'level = "debug"').replace("services = 256", "services = 300"))
        self.daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "setting=log.level" in self.daemon.log_tail(20), 3, "reload")
        expect("after a restart" in self.daemon.log_tail(20), "does not tell what needs a restart")
        with open(self.daemon.config, "w") as f:
            f.write(good)
        self.daemon.process.send_signal(signal.SIGHUP)
        self.works(2)

    def devices_come_and_go(self, count):
        """Many devices at once, and all of them gone again."""
        def known():
            return {a["device"] for a in self.status()["attachments"] if a["device"].startswith("r-x") and a["state"] == "attached"}
        self.stop()
        self.daemon.start(before=["prlimit", "--nofile=128:8192"])  # fewer than it will need
        self.node.ip(*[f"link add r-x{i} type veth peer name y{i}" for i in range(count)])
        begin = time.monotonic()
        wait_until(lambda: len(known()) == count, 5, f"{count} devices attached")
        took = time.monotonic() - begin
        self.node.ip(*[f"link del r-x{i}" for i in range(count)])
        wait_until(lambda: not known(), 5, "all forgotten")
        left = [n for n in self.node.run(["ls", f"{PIN}/links"]).split() if "r-x" in n]
        expect(not left, f"pins left: {left}")
        expect(not any(r["last_error"] for r in self.status()["reconcile"]), f"{self.status()['reconcile']}")
        return f"{count} attached after {took * 1000:.0f} ms"

    def other_layout(self, name, key, value, flows_live):
        """A pin of the right name and another layout, as another version would leave it."""
        streams = self.streams() if flows_live else {}
        self.stop()
        self.node.run(["rm", f"{PIN}/maps/{name}"])
        self.bpftool("map", "create", f"{PIN}/maps/{name}", "type", "hash" if name == "ls_svc" else "array", "key", str(key),
                     "value", str(value), "entries", "100", "name", name)
        self.daemon.start()
        self.works()
        self.lived(streams)
        story = [line for line in self.daemon.log_tail(200).splitlines() if "event=map_changed" in line and f"map={name} " in line]
        expect(story, "the log does not tell that it was rebuilt")
        return story[-1].partition("why=")[2]

    def pin_of_no_map(self):
        self.stop()
        self.node.run(["sh", "-c", f"rm {PIN}/maps/ls_frag; mkdir {PIN}/maps/ls_frag"])
        self.daemon.start()
        self.works()

    # --- full

    def full(self, what, backends=("b2",), **settings):
        """The smallest table with more than fits: what does not fit is named, everything else works."""
        self.stop()
        self.daemon.purge()  # numbers of dead backends rest for a minute and would fill the table too
        self.restart(**settings)
        self.works()
        many = [f"many.{i}.{b}" for i in range(70) for b in backends]
        self.master.tell(*[self.cluster.add(state.routed_task(f"many.{i}.{b}", self.places[b], 4, 8080, [f"/many{i}:80"], ["tcp"]))
                           for i in range(70) for b in backends])
        try:
            warnings = wait_until(lambda: [w for w in self.status()["warnings"] if what in w], 5, f"a warning about {what}")
            self.works()
            held = {s["name"] for s in self.daemon.services().values() if s["number"] and "many" in s["name"]}
            expect(held, "none of the others fits")
            name = sorted(held)[0]
            address = self.daemon.service(name, 80, "tcp", 4)["address"]
            a = self.clients["tc"].dial("once", address, 80)[0]
            expect(a["ok"] and a["name"] in backends, f"one that fits: {a}")
            lines = self.daemon.log_tail(3000).count("event=left_out")
            time.sleep(5)
            expect(self.daemon.log_tail(3000).count("event=left_out") == lines, "the same is logged again and again")
        finally:
            self.master.tell(*[self.cluster.update(name, "TASK_KILLED") for name in many])
        wait_until(lambda: not [w for w in self.status()["warnings"] if what in w], 6, "the warning goes with its cause")
        return f"{len(held)} of 70 fit: {warnings[0]}"

    # --- somebody takes things away

    def repaired(self, break_it, broken=None):
        """Right again within REPAIR_S and counted, in status and as a metric."""
        repairs, metric = self.repairs(), self.daemon.metric("loadstar_drift_repaired_total")
        self.works(2)
        begin = time.monotonic()
        break_it()
        wait_until(lambda: self.repairs() > repairs, REPAIR_S + 1, "repair in the counters")
        wait_until(self.both_paths_work, REPAIR_S, "the VIP again")
        took = time.monotonic() - begin
        expect(took < REPAIR_S, f"took {took:.1f} s")
        expect(self.daemon.metric("loadstar_drift_repaired_total") > metric, "the metric does not count it")
        return f"after {took:.2f} s"

    def backend_numbers(self):
        service = self.daemon.service(f"web.{state.FRAMEWORK_NAME}", 80, "tcp", 4)
        return [b["number"] for b in service["backends"]]

    def overwrite(self, name, entry, size):
        self.bpftool("map", "update", "pinned", f"{PIN}/maps/{name}", "key", "hex",
                     *int(entry).to_bytes(4, "little").hex(" ").split(), "value", "hex", *["00"] * size)

    def used_entries(self, name):
        out = self.node.run([self.lab.tool("loadstar"), "-s", self.daemon.socket, "map", "dump", name, "--limit", "100000"])
        return [json.loads(line)["key"] for line in out.splitlines()]

    def overwrite_ring(self):
        for entry in self.used_entries("ls_ring")[:200:20]:
            self.overwrite("ls_ring", entry, 64)

    def overwrite_backend(self):
        self.overwrite("ls_be", self.backend_numbers()[0], 32)

    def overwrite_service(self):
        number = self.daemon.service(f"web.{state.FRAMEWORK_NAME}", 80, "tcp", 4)["number"]
        self.overwrite("ls_svc_tab", number, 64)

    def remove_pins(self):
        self.node.run(["sh", "-c", f"rm {PIN}/maps/ls_be {PIN}/maps/ls_flow4"])

    def remove_link_pins(self):
        self.node.run(["sh", "-c", f"rm {PIN}/links/*"])

    def detach_cgroup(self):
        self.node.run(["sh", "-c", f"for l in {PIN}/links/connect4-*; do bpftool link detach pinned $l; done"])

    def pins_back(self):
        links = self.node.run(["sh", "-c", f"ls {PIN}/links | wc -l"])
        maps = self.node.run(["sh", "-c", f"ls {PIN}/maps | wc -l"])
        return int(links), int(maps)

    def detached_in_time(self, break_it):
        before = self.pins_back()
        text = self.repaired(break_it)
        expect(self.pins_back() == before, f"pins are {self.pins_back()}, were {before}")
        return text

    def device_again(self):
        def attached():
            return {a["hook"] for a in self.status()["attachments"] if a["device"] == "r-dev" and a["state"] == "attached"}
        for _ in range(2):
            self.node.ip("link add r-dev type veth peer name xdev")
            wait_until(lambda: attached() == {"port_in", "port_out", "dns_port"}, 3, "attached to the new device")
            self.node.ip("link del r-dev")
            wait_until(lambda: not attached(), 3, "forgotten")
        left = self.node.run(["sh", "-c", f"ls {PIN}/links"])
        expect("r-dev" not in left, f"pins left: {left}")

    # --- another's program

    def exclusive(self):
        """A program that was attached to our cgroup without the multi flag."""
        if not shutil.which("clang-14"):
            raise Skip("no clang to build a foreign program")
        source = os.path.join(self.lab.dir, "foreign.c")
        with open(source, "w") as f:
            f.write('__attribute__((section("cgroup/connect4"), used)) int theirs(void *c) { return 1; }\n'
                    'char gpl[] __attribute__((section("license"), used)) = "GPL";\n')
        built = source.replace(".c", ".o")
        subprocess.run(["clang-14", "-O2", "-target", "bpf", "-c", source, "-o", built], check=True)
        group = self.clients["sock"].cgroup
        self.stop()
        self.daemon.purge()
        self.bpftool("prog", "load", built, "/sys/fs/bpf/theirs")
        self.bpftool("cgroup", "attach", group, "connect4", "pinned", "/sys/fs/bpf/theirs")
        try:
            self.daemon.start()
            status = self.status()
            foreign = [a for a in status["attachments"] if a["hook"] == "connect4"]
            expect(foreign and foreign[0]["state"] == "foreign", f"connect4 is {foreign}")
            # Its number: the name of a foreign program is for CAP_SYS_ADMIN only, which the daemon gave up.
            theirs = json.loads(self.bpftool("-j", "prog", "show", "pinned", "/sys/fs/bpf/theirs"))["id"]
            expect(f"program {theirs} " in foreign[0]["error"] and group in foreign[0]["error"], f"error: {foreign[0]['error']}")
            others = {a["hook"]: a["state"] for a in status["attachments"] if a["hook"] != "connect4"}
            expect(set(others.values()) == {"attached"}, f"the others: {others}")
            for a in self.clients["tc"].dial("once", self.address, 80, count=4):
                expect(a["ok"], lambda: f"packet path: {a['step']} {a['error']}")
            expect("theirs" in self.bpftool("cgroup", "show", group), "their program was replaced")
            text = self.node.run([self.lab.tool("loadstar"), "-s", self.daemon.socket, "status"])
            expect("foreign" in text and str(theirs) in text, f"status does not tell:\n{text}")
        finally:
            self.bpftool("cgroup", "detach", group, "connect4", "pinned", "/sys/fs/bpf/theirs")
            self.node.run(["rm", "/sys/fs/bpf/theirs"])
        wait_until(lambda: all(a["state"] == "attached" for a in self.status()["attachments"]), REPAIR_S + 1, "attached when it went")
        self.works()
        return foreign[0]["error"]

    # --- starts that must not succeed

    def refused(self, settings, *words):
        other = Daemon(self.node, {"mesos": [self.master.address]},
                       settings={"lb.cgroup": self.clients["sock"].cgroup, **SIZES, **settings})
        other.config += ".other"
        other.log += ".other"
        os.rename(self.daemon.config, other.config)
        self.rewrite()
        other.launch()
        code = other.process.wait(15)
        said = other.log_tail()
        expect(code == 1, f"ended with {code}:\n{said}")
        for w in words:
            expect(w in said, f"does not say '{w}':\n{said}")
        expect(self.daemon.process.poll() is None and self.status()["ready"], "the first daemon suffered")
        self.works(2)
        return said.strip().splitlines()[-1].partition("error=")[2]

    def rewrite(self):
        """Our own configuration file again, after another Daemon of the same node wrote its own."""
        process = self.daemon.process
        self.daemon = self.make()
        self.daemon.process = process

    def same_pins(self):
        return self.refused({"api.socket": os.path.join(self.daemon.dir, "second.sock")}, "another loadstard", PIN)

    def same_socket(self):
        return self.refused({"bpf.pin": "/sys/fs/bpf/second"}, "start the API", "another process")

    def purge_while_running(self):
        p = self.node.spawn([self.lab.tool("loadstard"), "--purge", "--config", self.daemon.config], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)
        said, _ = p.communicate(timeout=10)
        expect(p.returncode == 1 and "stop it first" in said, f"exit {p.returncode}: {said}")
        self.works(2)

    def socket_paths(self):
        """A stale socket is taken over; a file that is no socket is left alone."""
        self.stop(signal.SIGKILL)
        expect(os.path.exists(self.daemon.socket), "no stale socket to start over")
        self.daemon.start()
        self.stop()
        with open(self.daemon.socket, "w") as f:
            f.write("precious")
        self.daemon.launch()
        expect(self.daemon.process.wait(15) == 1, "started over a file that is no socket")
        expect("is not a socket" in self.daemon.log_tail(3), self.daemon.log_tail(3))
        with open(self.daemon.socket) as f:
            expect(f.read() == "precious", "the file was changed")
        os.unlink(self.daemon.socket)
        self.daemon.start()
        self.works(2)

    def broken_config(self):
        path = os.path.join(self.lab.dir, "broken.toml")
        with open(path, "w") as f:
            f.write('[node]\naddress = "10.0.0.1"\n[lb]\nflows = 12\nservice = 100\n[mesos]\nmasters = ["x:5050"]\n[log]\nlevel = "loud"\n')
        p = self.node.spawn([self.lab.tool("loadstard"), "--check", "--config", path], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)
        said, _ = p.communicate(timeout=10)
        expect(p.returncode == 1, f"exit {p.returncode}")
        for want in (f"{path}:4:", f"{path}:5:", f"{path}:9:", "lb.services", "loud"):
            expect(want in said, f"no '{want}' in:\n{said}")
        return said.splitlines()[0]

    def source_away(self):
        """A start without a source: what the kernel holds is served, and status says what is missing."""
        self.stop()
        daemon = self.make(**{"mesos.masters": ["10.10.0.254:1"]})
        daemon.launch()
        self.daemon = daemon
        status = wait_until(lambda: os.path.exists(daemon.socket) and (s := self.status())["source"]["last_error"] and s, 15, "an error")
        expect(not status["ready"] and "waiting for source_connected" in status["headline"], status["headline"])
        expect(status["tables"]["vips"] == 2 and status["tables"]["backends"]["active"] == 4, f"tables: {status['tables']}")
        self.works()
        self.restart()
        return status["headline"]

    # --- life and end

    def leftovers(self):
        found = self.node.run(["sh", "-c", f"find {PIN} 2>/dev/null; bpftool net; bpftool cgroup show {self.clients['sock'].cgroup}; "
                               "for d in $(ls /sys/class/net); do tc filter show dev $d ingress; tc filter show dev $d egress; done"])
        return [line for line in found.splitlines() if "ls_" in line or "loadstar" in line]

    def end(self):
        self.stop()
        self.works()
        self.daemon.purge()
        expect(not self.leftovers(), f"left: {self.leftovers()}")
        for path, client in self.clients.items():
            expect(not client.dial("once", self.address, 80, timeout=300)[0]["ok"], f"{path}: translated still")

    def unprivileged(self):
        """Another user with three capabilities, all its life."""
        self.stop()
        self.daemon.purge()
        folder = os.path.join(self.lab.dir, "user")
        os.makedirs(folder, exist_ok=True)
        os.chown(folder, USER, USER)
        os.chmod(self.lab.dir, 0o755)
        os.chmod(self.daemon.dir, 0o755)
        self.node.run(["sh", "-c", f"mkdir {PIN} && chown {USER}:{USER} {PIN}"])
        caps = "+bpf,+net_admin,+net_bind_service"
        before = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", f"--inh-caps=-all,{caps}",
                  f"--ambient-caps=-all,{caps}", f"--bounding-set=-all,{caps}", "--no-new-privs"]
        self.daemon = self.make(**{"api.socket": os.path.join(folder, "api.sock")})
        self.daemon.start(before=before)
        with open(f"/proc/{self.daemon.process.pid}/status") as f:
            effective = next(line for line in f if line.startswith("CapEff"))
        expect(int(effective.split()[1], 16) == 1 << 39 | 1 << 12 | 1 << 10, effective)
        # DNS in the kernel is not to be had with these three: the process answers, and that is said.
        trouble = [a for a in self.status()["attachments"] if a["state"] != "attached" or a["error"]]
        expect(not [a for a in trouble if not a["hook"].startswith("dns_")], f"attachments: {trouble}")
        expect(trouble and all(a["state"] == "degraded" and "CAP_PERFMON" in a["error"] for a in trouble), f"attachments: {trouble}")
        self.works()
        text = self.repaired(self.detach_as_root)
        self.daemon.stop(signal.SIGKILL)
        self.works()
        self.daemon.start(before=before)
        self.works()
        self.daemon.stop()
        self.works()
        purge = [*before, self.lab.tool("loadstard"), "--purge", "--config", self.daemon.config]
        try:
            self.node.run(purge)
        except CommandFailed as e:
            expect("remove folder" in str(e), f"purge: {e}")  # the folder's own parent is root's
        left = [x for x in self.leftovers() if x != PIN]
        expect(not left, f"left: {left}")
        self.node.run(["sh", "-c", f"rmdir {PIN} 2>/dev/null; true"])
        return text

    def detach_as_root(self):
        self.node.run(["sh", "-c", f"for l in {PIN}/links/port_in-*; do bpftool link detach pinned $l; done"])


def main():
    def options(parser):
        parser.add_argument("--kills", type=int, default=20)

    args = arguments(__doc__, options)
    report = Report()
    with Lab(nodes=2, tools=args.tools) as lab:
        s = Scene(lab)
        checks = [
            ("killed under changes", s.kills, args.kills),
            ("flow tables doubled, flows live", lambda: s.other_sizes(**{"lb.flows": 8192, "lb.flows6": 4096})),
            ("flow tables halved, flows live", lambda: s.other_sizes(**{"lb.flows": 2048, "lb.flows6": 1024})),
            ("every table larger, flows live", lambda: s.other_sizes(
                **{"lb.flows": 8192, "lb.services": 512, "lb.backends": 2048, "lb.ring_slots": 524288})),
            ("service tables smaller, flows live", lambda: s.other_sizes(
                **{"lb.services": 128, "lb.backends": 512, "lb.ring_slots": 131072})),
            ("killed while sizes change", s.kills_while_resizing, args.kills // 4),
            ("ls_svc of another layout, flows live", s.other_layout, "ls_svc", 24, 8, True),
            ("ls_be of another layout", s.other_layout, "ls_be", 4, 48, False),
            ("a folder in the place of a map", s.pin_of_no_map),
            ("ls_svc full", lambda: s.full("ls_svc", **{"lb.services": 64})),
            ("ls_be full", lambda: s.full("ls_be is full", **{"lb.backends": 64})),
            ("ls_ring full", lambda: s.full("ls_ring", ("b1", "b2"), **{"lb.ring_slots": 65536})),
            ("default sizes again", s.restart),
            ("ring overwritten", s.repaired, s.overwrite_ring),
            ("backend overwritten", s.repaired, s.overwrite_backend),
            ("service overwritten", s.repaired, s.overwrite_service),
            ("pins of maps removed", s.detached_in_time, s.remove_pins),
            ("pins of links removed", s.detached_in_time, s.remove_link_pins),
            ("cgroup program detached", s.detached_in_time, s.detach_cgroup),
            ("device removed and made again", s.device_again),
            ("many devices come and go", s.devices_come_and_go, 50),
            ("reload", s.reload), ("bpffs unmounted", s.bpffs_unmounted),
            ("second daemon, same pins", s.same_pins), ("second daemon, same socket", s.same_socket),
            ("purge while it runs", s.purge_while_running), ("what is at the socket's path", s.socket_paths),
            ("broken configuration", s.broken_config), ("start without a source", s.source_away),
            ("another's exclusive program", s.exclusive),
            ("SIGTERM leaves the data path, purge leaves nothing", s.end),
            ("another user, three capabilities", s.unprivileged),
        ]
        for name, check, *values in checks:
            if args.only in name:
                report.run(name, check, *values)
                if s.daemon.process.poll() is not None and "purge leaves" not in name:
                    s.daemon = s.make()
                    if name != checks[-1][0]:
                        s.daemon.start()
        if report.failed:
            print(s.daemon.log_tail(40))
        s.stop()
        s.daemon.purge()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The daemon on a Mesos that behaves badly: three masters of ls-mesos-standin on the lab's network. What the leader says
is in the VIP table and in real connections within a second; what a master does not know, or says in a broken way,
withdraws nothing; credentials and TLS."""
import os
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Daemon, Lab, Report, arguments, expect, state, wait_until  # noqa: E402

FOLLOW_S = 1.0
GIVE_UP_S = 6.0  # mesos.reregister_timeout
MASTERS = ["10.10.0.241", "10.10.0.242", "10.10.0.243"]


class Standin:
    """ls-mesos-standin in the fabric, steered over its socket."""

    def __init__(self, lab, name, port, options=(), masters=MASTERS):
        self.masters = [f"{m}:{port}" for m in masters]
        path = os.path.join(lab.dir, f"{name}.sock")
        argv = [lab.tool("ls-mesos-standin"), "--control", path, *options]
        for m in self.masters:
            argv += ["--listen", m]
        self.process = lab.fabric.spawn(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        for _ in self.masters:
            expect(self.process.stdout.readline().startswith("listening "), f"stand-in {name} does not listen")
        self.socket = socket.socket(socket.AF_UNIX)
        wait_until(lambda: os.path.exists(path), 5, "control socket")
        self.socket.connect(path)
        self.lines = self.socket.makefile("rw")

    def say(self, *commands):
        """Gives the time just before the last command was sent."""
        for c in commands:
            begin = time.monotonic()
            self.lines.write(c + "\n")
            self.lines.flush()
            answer = self.lines.readline().strip()
            expect(answer.startswith("ok"), f"stand-in: {c}: {answer or 'ended'}")
        return begin

    def close(self):
        self.lines.close()
        self.socket.close()
        self.process.terminate()
        self.process.wait(5)


class Scene:
    def __init__(self, lab):
        self.lab = lab
        n1, n2 = lab.node(1), lab.node(2)
        self.node = n1
        self.clients = {"tc": n1.routed("tcc"), "sock": n1.routed("sc")}
        self.places = {"w1": n1.routed("w1"), "w2": n2.routed("w2"), "w3": n2.routed("w3"), "w4": n1.routed("w4")}
        for name, place in self.places.items():
            place.echo(name, 8080)
        lab.fabric.ip(*[f"addr add {m}/24 dev fab" for m in MASTERS])
        self.mesos = Standin(lab, "mesos", 5050)
        self.mesos.say("heartbeat 1s", *self.cluster())
        self.mesos.say(self.task("w1"), self.task("w2"))
        self.daemon = self.make_daemon(list(reversed(self.mesos.masters)))

    def make_daemon(self, masters, **settings):
        return Daemon(self.node, {"mesos": masters},
                      settings={"lb.cgroup": self.clients["sock"].cgroup, "mesos.reregister_timeout": f"{GIVE_UP_S:.0f}s",
                                "mesos.response_timeout": "2s", "lb.backends": 32768, "lb.ring_slots": 8388608, **settings})

    def cluster(self):
        return ["agent add A1 10.10.0.11", "agent add A2 10.10.0.12", f"framework add F1 {state.FRAMEWORK_NAME}"]

    def task(self, name, vip="/web:80", more=""):
        place = self.places[name]
        return (f"task add {name} F1 A{place.node.number} name=web container=mesos network=dcos ip={place.address[4]} {more} "
                f"port=8080 scope=container vip={vip}")

    def backends(self, name="web"):
        """Tasks that take flows, by the daemon."""
        service = self.daemon.services().get((f"{name}.{state.FRAMEWORK_NAME}", 80, "tcp", 4), {"backends": []})
        return {b["task"] for b in service["backends"] if b["state"] == "active"}

    def addresses(self, name="web"):
        """Backends that take flows, of the address too: what the kernel remembers has no name."""
        known = self.daemon.services()
        service = known.get((f"{name}.{state.FRAMEWORK_NAME}", 80, "tcp", 4)) or known.get((self.address, 80, "tcp", 4), {"backends": []})
        return {b["ip"] for b in service["backends"] if b["state"] == "active"}

    def of(self, *names):
        return {self.places[n].address[4] for n in names}

    def vip(self, name="web"):
        return self.daemon.service(f"{name}.{state.FRAMEWORK_NAME}", 80, "tcp", 4)["address"]

    def reached(self, count=24):
        """Who answers on both paths; every connection must be answered."""
        seen = {}
        for path, client in self.clients.items():
            answers = client.dial("once", self.address, 80, count=count)
            for a in answers:
                expect(a["ok"], lambda: f"{path}: {a['step']} {a['error']}")
            seen[path] = {a["name"] for a in answers}
        return seen

    def follows(self, since, *names):
        """The table and real connections know `names` and no other, in time."""
        wanted = set(names)
        wait_until(lambda: self.addresses() == self.of(*names), FOLLOW_S * 3, f"backends {sorted(wanted)}, are {self.addresses()}")
        took = time.monotonic() - since
        expect(took < FOLLOW_S, f"the table followed after {took * 1000:.0f} ms")
        for path, seen in self.reached().items():
            expect(seen == wanted, f"{path} reaches {sorted(seen)}, not {sorted(wanted)}")
        return f"{took * 1000:.0f} ms"

    def keeps(self, names, until, seconds, what):
        """Until `until()` is true no backend of `names` is missing at any moment, and connections are answered."""
        end, looks = time.monotonic() + seconds, 0
        while True:
            done = until()
            missing = self.of(*names) - self.addresses()
            expect(not missing, lambda: f"{what}: {missing} withdrawn")
            for path, client in self.clients.items():
                a = client.dial("once", self.address, 80)[0]
                expect(a["ok"], lambda: f"{what}: {path}: {a['step']} {a['error']}")
            looks += 1
            if done:
                return looks
            expect(time.monotonic() < end, f"{what}: not over within {seconds} s")

    def source(self):
        return self.daemon.get("/v1/status")["source"]

    def at_leader(self, number):
        s = self.source()
        return s["connected"] and s["endpoint"] == self.mesos.masters[number - 1]

    # --- checks

    def redirected(self):
        ready = self.daemon.start()
        self.address = self.vip()
        expect(self.at_leader(1), f"subscribed at {self.source()}")
        for path, seen in self.reached().items():
            expect(seen == {"w1", "w2"}, f"{path} reaches {seen}")
        return f"ready after {ready:.2f} s"

    def start_task(self):
        return self.follows(self.mesos.say(self.task("w3")), "w1", "w2", "w3")

    def unhealthy(self):
        down = self.follows(self.mesos.say("task health w3 false"), "w1", "w2")
        return f"out after {down}, back after {self.follows(self.mesos.say('task health w3 true'), 'w1', 'w2', 'w3')}"

    def dies(self):
        return self.follows(self.mesos.say("task state w3 TASK_FAILED"), "w1", "w2")

    def checked_task(self):
        """A task with a health check serves only after its first pass."""
        self.mesos.say(self.task("w4", more="health"))
        time.sleep(0.3)
        expect(self.addresses() == self.of("w1", "w2"), "it serves before its check passed")
        self.follows(self.mesos.say("task health w4 true"), "w1", "w2", "w4")
        self.follows(self.mesos.say("task state w4 TASK_KILLED"), "w1", "w2")

    def bad_labels(self):
        self.mesos.say("task add bad.1 F1 A1 name=bad port=31001 vip=nonsense", "task add bad.2 F1 A1 name=bad port=31002 vip=/x:99999",
                       self.task("w3", vip="/other:80"))
        wait_until(lambda: self.addresses("other") == self.of("w3"), 1, "the good one")
        expect(self.addresses() == self.of("w1", "w2"), "another VIP changed")
        status = wait_until(lambda: (s := self.daemon.get("/v1/status"))["problem_count"] >= 2 and s, 3, "problems shown")
        named = {p["task"] for p in status["problems"]}
        expect(any("bad.1" in t for t in named) and any("bad.2" in t for t in named), f"named are {named}")
        text = self.lab.node(1).run([self.lab.tool("loadstar"), "-s", self.daemon.socket, "status"])
        expect("bad.1" in text and "nonsense" in text, f"`loadstar status` does not tell:\n{text}")
        self.mesos.say("task state bad.1 TASK_FAILED", "task state bad.2 TASK_FAILED", "task state w3 TASK_KILLED")
        wait_until(lambda: self.daemon.get("/v1/status")["problem_count"] == 0, 3, "problems gone with their tasks")
        return f"{status['problem_count']} problems"

    def cut_in_a_record(self):
        before = self.source()["events"].get("subscribed", 0)
        self.mesos.say("drop mid")
        looks = self.keeps(["w1", "w2"], lambda: self.source()["events"].get("subscribed", 0) > before and self.at_leader(1),
                           10, "stream cut")
        self.follows(self.mesos.say(self.task("w3")), "w1", "w2", "w3")
        self.follows(self.mesos.say("task state w3 TASK_KILLED"), "w1", "w2")
        return f"nothing missing in {looks} looks"

    def silence(self):
        before = self.source()["events"].get("subscribed", 0)
        begin = time.monotonic()
        self.mesos.say("silence")
        # Five missed heartbeats, or however many it allows itself: but it notices.
        looks = self.keeps(["w1", "w2"], lambda: self.source()["events"].get("subscribed", 0) > before, 20, "silence")
        took = time.monotonic() - begin
        self.mesos.say("speak")
        wait_until(lambda: self.at_leader(1), 10, "subscribed again")
        return f"noticed after {took:.1f} s, {looks} looks"

    def no_leader(self):
        self.mesos.say("leader none")
        wait_until(lambda: not self.source()["connected"], 5, "loss noticed")
        end = time.monotonic() + 2
        self.keeps(["w1", "w2"], lambda: time.monotonic() > end, 10, "no leader")
        status = self.daemon.get("/v1/status")
        expect(status["ready"] and "lost" in status["headline"], f"headline: {status['headline']}")
        self.mesos.say(self.task("w3"))
        self.mesos.say("leader 3")
        wait_until(lambda: self.at_leader(3), 10, "subscribed at the new leader")
        wait_until(lambda: self.addresses() == self.of("w1", "w2", "w3"), 3, "what happened meanwhile")
        return status["headline"]

    def failover(self):
        """Nothing is withdrawn; each agent counts from its own re-registration; the dead one only when its time is over."""
        begin = self.mesos.say("failover 2 every=300ms except=A2")
        self.keeps(["w1", "w2", "w3"], lambda: self.at_leader(2), 10, "failover")
        # A1 and its tasks are back: what happens there counts at once, whatever A2 does.
        self.mesos.say("wait settled 5s")
        self.follows(self.mesos.say("task state w1 TASK_KILLED"), "w2", "w3")
        self.follows(self.mesos.say(self.task("w1")), "w1", "w2", "w3")
        wait_until(lambda: self.addresses() == self.of("w1"), GIVE_UP_S + 4, "the dead agent's tasks given up")
        took = time.monotonic() - begin
        expect(took > GIVE_UP_S - 0.5, f"given up after {took:.1f} s already")
        for path, seen in self.reached().items():
            expect(seen == {"w1"}, f"{path} reaches {seen}")
        self.follows(self.mesos.say("agent back A2"), "w1", "w2", "w3")
        return f"dead agent given up after {took:.1f} s"

    def restart_in_failover(self):
        """A daemon that starts while the leader knows no agent yet: the kernel remembers."""
        self.daemon.stop()
        self.mesos.say("failover 1 every=100ms except=A1,A2")
        self.daemon.start()
        end = time.monotonic() + 1.5
        self.keeps(["w1", "w2", "w3"], lambda: time.monotonic() > end, 5, "fresh leader")
        warnings = " ".join(self.daemon.get("/v1/status")["warnings"])
        expect("before the restart" in warnings, f"status does not tell: {warnings}")
        # An agent is back: its own word counts from now on, also about what the kernel remembered.
        self.mesos.say("agent back A1")
        wait_until(lambda: "w1" in self.backends(), 2, "w1 known")
        self.follows(self.mesos.say("task state w1 TASK_KILLED"), "w2", "w3")
        wait_until(lambda: not self.addresses(), GIVE_UP_S + 6, "A2 given up")
        self.follows(self.mesos.say("agent back A2", self.task("w1")), "w1", "w2", "w3")

    def restart_before_frameworks(self):
        """The same, with agents that come back before their framework: its tasks have no VIP name until it does."""
        self.daemon.stop()
        self.mesos.say("failover 2 every=700ms frameworks=late")
        self.daemon.start()
        self.keeps(["w1", "w2", "w3"], lambda: "w3" in self.backends(), 10, "agents before frameworks")
        self.mesos.say("wait settled 5s")
        self.follows(self.mesos.say("task state w3 TASK_KILLED"), "w1", "w2")
        self.follows(self.mesos.say(self.task("w3")), "w1", "w2", "w3")

    def second_failover(self):
        """Two elections in a row, the daemon started anew in between."""
        self.mesos.say("failover 3 every=200ms except=A1,A2")
        self.daemon.stop()
        self.daemon.start()
        time.sleep(1)
        self.mesos.say("failover 1 gap=1s every=200ms except=A2")
        begin = time.monotonic()
        self.keeps(["w1", "w2", "w3"], lambda: self.at_leader(1) and time.monotonic() > begin + GIVE_UP_S - 1.5, GIVE_UP_S + 3, "second failover")
        self.mesos.say("agent back A2")
        wait_until(lambda: self.backends() == {"w1", "w2", "w3"}, 3, "all known again")

    def large(self):
        """A state of 20,000 tasks at once, and its stream cut: one service's backends stay right among them."""
        begin = self.mesos.say("bulk 20000 50 400")
        # Its tasks come one by one, as events.
        wait_until(lambda: self.daemon.get("/v1/status")["tables"]["backends"]["active"] >= 20002, 30, "the large state")
        came = time.monotonic() - begin
        self.follows(self.mesos.say(self.task("w3")), "w1", "w2", "w3")
        before = self.source()["events"].get("subscribed", 0)
        begin = time.monotonic()
        self.mesos.say("drop")
        self.keeps(["w1", "w2", "w3"], lambda: self.source()["events"].get("subscribed", 0) > before, 15, "resynchronisation")
        warnings = self.daemon.get("/v1/status")["warnings"]
        expect(not warnings, f"{warnings[:3]}")
        return f"20,000 tasks after {came:.1f} s; subscribed again {time.monotonic() - begin:.1f} s after the cut"

    def redirect_loop(self):
        self.mesos.say("answer 1 redirect " + self.mesos.masters[1], "answer 2 redirect " + self.mesos.masters[0], "drop")
        time.sleep(1.5)
        end = time.monotonic() + 0.1
        self.keeps(["w1", "w2", "w3"], lambda: time.monotonic() > end, 5, "redirect loop")
        attempts = self.daemon.log_tail(2000).count("source_")
        self.mesos.say("answer 1 normal", "answer 2 normal")
        wait_until(lambda: self.at_leader(1), 10, "subscribed again")
        return f"{attempts} log lines about the source in all"

    def nonsense(self):
        """Records that are no JSON, or JSON of another shape, between good ones."""
        for text in ("{", "[]", "null", '{"type":"TASK_ADDED"}', '{"type":"TASK_UPDATED","task_updated":{"status":7}}',
                     '{"type":"NEVER_HEARD_OF","x":[1,2]}', '{"type":"SUBSCRIBED","subscribed":{}}'):
            self.mesos.say(f"event {text}")
        time.sleep(0.3)
        expect(self.daemon.process.poll() is None, "the daemon ended")
        found = self.addresses()
        expect(found == self.of("w1", "w2", "w3"), f"backends are {found}")
        self.follows(self.mesos.say("task state w3 TASK_KILLED"), "w1", "w2")

    # --- credentials: a master and a daemon each

    def guarded(self, name, port, options, settings, wrong, why):
        """`settings` is let in, `wrong` is told why not and goes on trying, keeping what it has."""
        mesos = Standin(self.lab, name, port, options, MASTERS[:1])
        try:
            mesos.say(*self.cluster(), self.task("w1"), self.task("w2"))
            self.stop()
            self.daemon = self.make_daemon(mesos.masters, **settings)
            self.daemon.start()
            for path, seen in self.reached().items():
                expect(seen == {"w1", "w2"}, f"{path} reaches {seen}")
            self.stop()
            self.daemon = self.make_daemon(mesos.masters, **wrong)
            self.daemon.launch()
            wait_until(lambda: os.path.exists(self.daemon.socket) and self.source()["last_error"], 15, "a refusal")
            status = self.daemon.get("/v1/status")
            expect(not status["ready"], "let in with wrong credentials")
            error = status["source"]["last_error"]
            expect(why in error, f"last error is: {error}")
            for path, seen in self.reached().items():
                expect(seen == {"w1", "w2"}, f"{path} reaches {seen} while the source is away")
            return error
        finally:
            mesos.close()

    def stop(self):
        if self.daemon.process.poll() is None:
            self.daemon.stop()

    def secret(self, name, text):
        path = os.path.join(self.lab.dir, name)
        with open(path, "w") as f:
            f.write(text + "\n")
        os.chmod(path, 0o600)
        return path

    def basic(self):
        return self.guarded("basic", 5060, ["--principal", "p", "--secret", "s3cret"],
                            {"mesos.principal": "p", "mesos.secret_file": self.secret("good", "s3cret")},
                            {"mesos.principal": "p", "mesos.secret_file": self.secret("bad", "other")}, "401")

    def token(self):
        return self.guarded("token", 5061, ["--token", "abc.def"], {"mesos.token_file": self.secret("token", "abc.def")},
                            {"mesos.token_file": self.secret("wrong", "nope")}, "401")

    def tls(self):
        def certificate(name):
            key, cert = (os.path.join(self.lab.dir, f"{name}.{kind}") for kind in ("key", "pem"))
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                            "-subj", "/CN=master", "-addext", f"subjectAltName=IP:{MASTERS[0]}", "-keyout", key, "-out", cert],
                           check=True, capture_output=True)
            return key, cert

        key, cert = certificate("master")
        _, other = certificate("other")
        return self.guarded("tls", 5062, ["--tls-cert", cert, "--tls-key", key], {"mesos.tls": True, "mesos.ca_file": cert},
                            {"mesos.tls": True, "mesos.ca_file": other}, "certificate")

    def unexplained_drops(self):
        drops = {k: n for k, n in self.daemon.drops().items() if k[1] not in ("backend_dead", "no_backend")}
        expect(not drops, f"dropped: {drops}")


def main():
    args = arguments(__doc__)
    report = Report()
    with Lab(nodes=2, tools=args.tools) as lab:
        s = Scene(lab)
        checks = [("a stand-by master's redirect is followed", s.redirected),
                  ("a task starts", s.start_task), ("a task fails its health check", s.unhealthy),
                  ("a task dies", s.dies), ("a checked task waits for its first pass", s.checked_task),
                  ("bad labels stay alone", s.bad_labels),
                  ("stream cut in the middle of a record", s.cut_in_a_record), ("a stream that says nothing", s.silence),
                  ("no leader: the last state is served", s.no_leader), ("leader change with recovered agents", s.failover),
                  ("restart while the new leader knows nothing", s.restart_in_failover),
                  ("restart before the frameworks are back", s.restart_before_frameworks),
                  ("two leader changes and a restart", s.second_failover),
                  ("masters that send each other round", s.redirect_loop), ("records that make no sense", s.nonsense),
                  ("a large state", s.large),
                  ("drops", s.unexplained_drops),
                  ("basic authentication", s.basic), ("token", s.token), ("TLS", s.tls)]
        for name, check in checks:
            if args.only in name or check == s.redirected:
                report.run(name, check)
        if report.failed:
            print(s.daemon.log_tail(40))
        s.stop()
        s.daemon.purge()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Open flows do not notice that the daemon goes: many TCP flows with data back to back, through the packet path and
through the socket path, while the daemon of their machine is ended by SIGTERM and by SIGKILL again and again. While it is
away new flows are opened too. No flow may be reset, stall or carry a wrong byte, and nothing may be dropped."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Daemon, Lab, Report, arguments, end_dial, expect, next_event, state  # noqa: E402

STALL_MS = 3000  # two cores carry a thousand flows and a starting daemon: a turn of all flows takes a while


def step_back(process):
    """Traffic takes every CPU that is free; what starts beside it goes first, or a start would take five times as long."""
    os.setpriority(os.PRIO_PROCESS, process.pid, 19)
    try:
        with open(f"/proc/{process.pid}/autogroup", "w") as f:  # where it is on, niceness counts within a session only
            f.write("19")
    except OSError:
        pass


class Scene:
    """A client whose sockets the daemon translates, one whose packets it translates, three backends."""

    def __init__(self, lab):
        self.lab = lab
        n1, n2 = lab.node(1), lab.node(2)
        self.clients = {"tc": n1.routed("tcc"), "sock": n1.routed("sc")}
        backends = {"b1": n1.routed("b1"), "b2": n2.routed("b2"), "b3": n2.routed("b3")}
        cluster = state.Cluster()
        cluster.add_agents(lab)
        for name, place in backends.items():
            step_back(place.echo(name, 8080))
            cluster.add(state.routed_task(f"web.{name}", place, 4, 8080, ["/web:80"]))
        replay = os.path.join(lab.dir, "state.recordio")
        state.write_replay(replay, [cluster.subscribed(), state.HEARTBEAT])
        # The cgroup of one client alone: the other's connections are translated packet by packet.
        self.daemon = Daemon(n1, {"replay": replay}, settings={"lb.cgroup": self.clients["sock"].cgroup})
        self.daemon.start()
        self.vip = self.daemon.service(f"web.{state.FRAMEWORK_NAME}", 80, "tcp", 4)["address"]
        self.streams = {}

    def open_flows(self, counts):
        for path, n in counts.items():
            self.streams[path] = self.clients[path].start_dial("stream", self.vip, 80, flows=n, stall=STALL_MS,
                                                               timeout=30000)
            step_back(self.streams[path])
        for path, s in self.streams.items():
            event = next_event(s)
            while event and event["event"] != "ready":
                event = next_event(s)
            expect(event and event["ready"] == counts[path], f"{path}: only {event} of {counts[path]} flows came up")

    def cycle(self, sig, times):
        """Ends and starts the daemon; gives the longest time to readiness."""
        longest = 0.0
        for i in range(times):
            self.daemon.stop(sig)
            for path, client in self.clients.items():
                answer = client.dial("once", self.vip, 80, payload=2000)[0]
                expect(answer["ok"], lambda: f"cycle {i}, daemon away, new {path} flow: {answer['step']} {answer['error']}")
            longest = max(longest, self.daemon.start())
            for path, s in self.streams.items():
                expect(s.poll() is None, f"cycle {i}: all {path} flows are gone")
            expect(not self.daemon.drops(), lambda: f"cycle {i}: dropped {self.daemon.drops()}")
        return f"{times} times, ready again after at most {longest:.2f} s"

    def judge(self, path):
        lines = end_dial(self.streams[path])
        end = lines[-1]
        lost = [line for line in lines if line["event"] == "lost"]
        expect(end["lost"] == 0, lambda: f"{end['lost']} flows lost, {end['resets']} by reset, first {lost[:2]}")
        expect(end["corrupt"] == 0, "bytes changed on the way")
        expect(end["stalled"] == 0, f"{end['stalled']} flows stand still since {STALL_MS} ms")
        return f"{end['flows']} flows, {end['bytes'] / 1e6:.0f} MB, longest pause {end['max_gap_ms']:.0f} ms"

    def drops(self):
        dropped = self.daemon.drops()
        expect(not dropped, f"dropped: {dropped}")


def main():
    def options(parser):
        parser.add_argument("--flows", type=int, default=1000)
        parser.add_argument("--restarts", type=int, default=20)
        parser.add_argument("--kills", type=int, default=20)

    args = arguments(__doc__, options)
    report = Report()
    with Lab(nodes=2, tools=args.tools) as lab:
        scene = Scene(lab)
        counts = {"tc": args.flows - args.flows // 4, "sock": args.flows // 4}
        report.run(f"open {args.flows} flows", scene.open_flows, counts)
        begin = time.monotonic()
        report.run("SIGTERM and start", scene.cycle, signal.SIGTERM, args.restarts)
        report.run("SIGKILL and start", scene.cycle, signal.SIGKILL, args.kills)
        time.sleep(1)  # whatever the last start broke shows now
        for path in counts:
            report.run(f"{path} flows over {time.monotonic() - begin:.0f} s", scene.judge, path)
        report.run("drop counters", scene.drops)
        if report.failed:
            print(scene.daemon.log_tail(30))
        scene.daemon.stop()
        scene.daemon.purge()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The lab leaves nothing behind, however it ends, and touches nothing of the machine."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Lab, Report, arguments, expect, sandbox, wait_until  # noqa: E402


def machine():
    """What a run could touch outside its namespaces."""
    commands = (["ip", "-o", "link"], ["ip", "-o", "addr"], ["ip", "route"], ["ip", "-6", "route"],
                ["nft", "list", "ruleset"])
    seen = [subprocess.run(c, capture_output=True, text=True, check=True).stdout for c in commands]
    return seen + [open("/proc/sys/net/ipv4/ip_forward").read()]


def child(end):
    """Builds a lab with everything in it and ends as told."""
    with Lab(nodes=2) as lab:
        n1 = lab.node(1)
        n1.map_port(31000, n1.bridged("b"), 80)
        n1.routed("r").echo("r", 80)
        print("built", flush=True)
        if end == "exception":
            raise RuntimeError("as told")
        if end != "return":
            os.kill(os.getpid(), getattr(signal, end))
            signal.pause()


def ends(end):
    before = machine()
    p = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--child", end], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True)
    with p:
        expect(p.stdout.readline() == "built\n", "the lab was not built")
        p.wait(20)
    wait_until(lambda: p.pid not in sandbox.runs(), 10, "clean-up")
    expect(machine() == before, "the machine's own network changed")


def main():
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2])
        return 0
    arguments(__doc__, daemon=False)
    report = Report()
    for end in ("return", "exception", "SIGINT", "SIGTERM", "SIGKILL"):
        report.run(f"ends by {end}", ends, end)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

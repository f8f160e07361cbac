#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From a /master/state document to the first answer: CPU (user and system) and memory (peak, and ten seconds later) of a
whole loadstard as an authority, without a load balancer. The document is zone_bench's. It asserts no times; it fails
when the last task's name is not answered."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))
from lab import Daemon, Lab, dns  # noqa: E402

MESOS_DNS_CPU_S, MESOS_DNS_MIB = 4.4, 429  # the order for the DNS work; their document is not recorded
TASKS = 50_000


def spent(pid):
    """CPU seconds, peak and present MiB of a process."""
    with open(f"/proc/{pid}/stat") as f:
        words = f.read().rsplit(")", 1)[1].split()
    with open(f"/proc/{pid}/status") as f:
        fields = dict(line.split(":", 1) for line in f)
    mib = [int(fields[k].split()[0]) / 1024 for k in ("VmHWM", "VmRSS")]
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK"), *mib


def first_answer(node, address, name, seconds=60):
    end = time.monotonic() + seconds
    with dns.Client(node, address) as client:
        while time.monotonic() < end:
            try:
                if client.ask(name, "A").answer:
                    return
            except (TimeoutError, OSError):
                pass
            time.sleep(0.02)
    raise TimeoutError(f"{name} was not answered")


def main():
    shape = sys.argv[1] if len(sys.argv) > 1 else "plain"
    with Lab(nodes=1) as lab:
        node = lab.node(1)
        state = os.path.join(lab.dir, "state.json")
        node.run([lab.tool("zone_bench"), "--write", shape, TASKS, state], timeout=60)
        address = node.address[4]
        daemon = Daemon(node, {"replay": state}, sock=False, tc=False,
                        settings={"node.roles": ["master"], "authority.enabled": True, "authority.listen": [address + ":53"]})
        daemon.launch()
        name = f"service-{(TASKS - 1) * 10 // 7}.team-{(TASKS - 1) % 10}.mesos" if shape == "plain" else f"service-{(TASKS - 1) // 5}-group.team-9.mesos"
        first_answer(node, address, name)
        cpu, peak, now = spent(daemon.process.pid)
        time.sleep(10)
        later, peak_later, steady = spent(daemon.process.pid)
        print(f"{shape}, {TASKS} tasks, document of {os.path.getsize(state) / 1e6:.1f} MB")
        print(f"first answer    {cpu:.2f} s CPU (Mesos-DNS {MESOS_DNS_CPU_S / cpu:.1f} times as much), peak {peak:.1f} MiB ({MESOS_DNS_MIB / peak:.1f}), then {now:.1f} MiB")
        print(f"ten seconds on  {later:.2f} s CPU, peak {peak_later:.1f} MiB, {steady:.1f} MiB ({MESOS_DNS_MIB / steady:.1f})")
        daemon.stop()


if __name__ == "__main__":
    main()

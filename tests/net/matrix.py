#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every way to reach a task through its virtual IP, one table, one line a row.

  client {host, bridge, routed} x backend {host, bridge, routed} x {same, other, itself} x {tcp, udp} x {4, 6} x mode

client:  a process on the host, in a bridged container, in a container with a routed address; always on n1
backend: a task on the host's port, behind a mapped port of a bridge, at a routed address of its own
where:   on the client's machine, on the other one, or the client's own place ("itself": only where the client's kind can
         be the backend's kind; for the host that is the same task, for "same" another one)
mode:    sock (translated when the socket connects), tc (translated per packet), direct (no virtual IP: the backend's own
         address, which shows that the lab itself is sound)

A row makes the client dial and asserts: the one backend behind the VIP answered and echoed; it saw the client that the
rules below say; the client's socket shows the VIP as its peer and as the source of answers; nothing was dropped.
"""
import argparse
import itertools
import os
import sys
import time
from dataclasses import dataclass

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Daemon, Lab, difference, separate_source_ports  # noqa: E402
from lab import state  # noqa: E402

KINDS = ("host", "bridge", "routed")
WHERE = ("same", "other", "itself")
VIP_PORT = 80
SKIPPED = 77  # ctest's SKIP_RETURN_CODE


@dataclass(frozen=True)
class Row:
    client: str
    backend: str
    where: str
    proto: str
    family: int
    mode: str

    @property
    def possible(self):
        return self.where != "itself" or self.client == self.backend

    @property
    def target(self):
        """Name of the backend, and of its VIP."""
        return f"{self.backend}-{self.where}"

    @property
    def why_skipped(self):
        if self.mode == "direct" and self.client == self.backend == "bridge" and self.where == "itself":
            return "the kernel's own port mapping needs hairpin mode on the bridge port for this"
        return ""

    def __str__(self):
        return (f"{self.mode:6} {self.client:6} -> {self.backend:6} {self.where:6} {self.proto} IPv{self.family}")


def table(modes):
    rows = [Row(*r) for r in itertools.product(KINDS, KINDS, WHERE, ("tcp", "udp"), (4, 6), modes)]
    return sorted((r for r in rows if r.possible), key=lambda r: modes.index(r.mode))


class Stage:
    """The places, backends and tasks that all rows share."""

    def __init__(self, lab):
        self.lab = lab
        n1, n2 = lab.node(1), lab.node(2)
        self.clients = {"host": n1, "bridge": n1.bridged("bc"), "routed": n1.routed("rc")}
        bridged = {"same": n1.bridged("bs"), "other": n2.bridged("bo"), "itself": self.clients["bridge"]}
        routed = {"same": n1.routed("rs"), "other": n2.routed("ro"), "itself": self.clients["routed"]}
        separate_source_ports(self.clients.values())
        self.direct = {}  # backend name -> (address by family, port)
        self.cluster = state.Cluster()
        self.cluster.add_agents(lab)
        for i, where in enumerate(WHERE):
            node, name = n2 if where == "other" else n1, f"host-{where}"
            # The task of "itself" is the one the host client's processes run in.
            node.echo(name, 31001 + i, task="client" if where == "itself" else "server")
            self.direct[name] = (node.address, 31001 + i)
            self._tasks(name, lambda f: state.host_task(f"{name}.{f}", node, f, 31001 + i, [f"/{name}:{VIP_PORT}"]))
        for i, (where, c) in enumerate(bridged.items()):
            name = f"bridge-{where}"
            c.echo(name, 8080)
            c.node.map_port(31101 + i, c, 8080)
            self.direct[name] = (c.node.address, 31101 + i)
            self._tasks(name, lambda f: state.mapped_task(f"{name}.{f}", c, f, 31101 + i, 8080, [f"/{name}:{VIP_PORT}"]))
        for where, c in routed.items():
            name = f"routed-{where}"
            c.echo(name, 8080)
            self.direct[name] = (c.address, 8080)
            self._tasks(name, lambda f: state.routed_task(f"{name}.{f}", c, f, 8080, [f"/{name}:{VIP_PORT}"]))
        self.replay = os.path.join(lab.dir, "state.recordio")
        state.write_replay(self.replay, [self.cluster.subscribed(), state.HEARTBEAT])
        self.daemons = []
        self.services = {}

    def _tasks(self, _name, make):
        for family in (4, 6):
            self.cluster.add(make(family))

    def enter(self, mode):
        """Daemons on both nodes for this mode."""
        if mode == "direct":
            return
        for node in self.lab.nodes.values():
            d = Daemon(node, {"replay": self.replay}, sock=mode == "sock", tc=mode == "tc")
            self.daemons.append(d)
            d.start()
        self.services = self.daemons[0].services()

    def leave(self):
        while self.daemons:
            d = self.daemons.pop()
            d.stop()
            d.purge()

    def drops(self):
        return {(d.node.name, *k): n for d in self.daemons for k, n in d.drops().items()}

    def dialled(self, row):
        """Address and port that the client of the row dials."""
        if row.mode == "direct":
            addresses, port = self.direct[row.target]
            return addresses[row.family], port
        service = self.services.get((f"{row.target}.{state.FRAMEWORK_NAME}", VIP_PORT, row.proto, row.family))
        if service is None:
            raise LookupError("the daemon has no such VIP")
        return service["address"], VIP_PORT


def endpoint(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def split(text):
    address, _, port = text.rpartition(":")
    return address.strip("[]"), port


def allowed_clients(row, stage, dialled):
    """Addresses that the backend may see as the client; the first is the rule, others where the network masquerades."""
    client = stage.clients[row.client]
    own, node = client.address[row.family], client.node.own_addresses
    if row.mode == "tc" and row.where == "itself" and row.client != "host":
        return [dialled]  # hairpin: no stack takes a packet from its own address
    if row.client == "host":
        return sorted(node)  # and it must be the socket's own, see check()
    if row.client == "bridge" and row.where == "other":
        return sorted(node)  # bridged addresses are not routed outside: masquerade
    if row.client == "bridge" and row.backend == "routed" and row.where == "same":
        return [own, *sorted(node)]  # leaves its bridge: masqueraded if netfilter sees the flow
    if row.client == "bridge" and row.backend == "bridge" and row.mode == "direct":
        return sorted(node)  # mapped port of the own bridge, through the machine's address
    return [own]


def check(row, stage, answer, dialled, port, connected):
    """What is wrong with one answer; empty if nothing."""
    if not answer["ok"]:
        return f"{answer['step']}: {answer['error']}"
    if answer["name"] != row.target:
        return f"backend {answer['name']} answered"
    seen, seen_port = split(answer["seen"])
    allowed = allowed_clients(row, stage, dialled)
    if seen not in allowed:
        return f"backend saw client {seen}, not {' or '.join(allowed)}"
    self_address, self_port = split(answer["self"])
    if row.client == "host" and connected and seen != self_address:
        return f"backend saw client {seen}, the socket's own address is {self_address}"
    # Only a masquerade may change the port.
    if seen_port != self_port and seen not in stage.clients[row.client].node.own_addresses:
        return f"backend saw client port {seen_port}, it is {self_port}"
    target = endpoint(dialled, port)
    if connected and answer["peer"] != target:
        return f"getpeername gives {answer['peer']}, not {target}"
    if row.proto == "udp" and answer["from"] != target:
        return f"the answer came from {answer['from']}, not {target}"
    return ""


def run_row(row, stage):
    try:
        dialled, port = stage.dialled(row)
    except LookupError as e:
        return str(e)
    before = stage.drops()
    # A connected and an unconnected socket are two ways through the kernel for UDP.
    for proto in ("tcp",) if row.proto == "tcp" else ("udp", "udp-free"):
        answers = stage.clients[row.client].dial("once", dialled, port, task="client" if row.client == "host" else None,
                                                 proto=proto, payload=1200, count=2, timeout=1500, stop=1)
        for answer in answers:
            wrong = check(row, stage, answer, dialled, port, proto != "udp-free")
            if wrong:
                return f"{proto}: {wrong}"
    dropped = difference(stage.drops(), before)
    return f"dropped: {dropped}" if dropped else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", default="sock,tc", help="comma-separated list of sock, tc, direct")
    parser.add_argument("--only", default="", help="rows whose line contains this text")
    parser.add_argument("--list", action="store_true", help="print the table and end")
    parser.add_argument("--tools", help="build folder with the programs")
    args = parser.parse_args()
    modes = args.mode.split(",")
    rows = [r for r in table(modes) if args.only in str(r)]
    if args.list:
        print(*rows, sep="\n")
        return 0
    if os.geteuid() != 0:
        print("skipped: network namespaces need root")
        return SKIPPED

    begin = time.monotonic()
    passed = failed = skipped = 0
    with Lab(nodes=2, tools=args.tools) as lab:
        try:
            lab.tool("loadstard") if modes != ["direct"] else None
        except FileNotFoundError as e:
            print(f"skipped: {e}")
            return SKIPPED
        stage = Stage(lab)
        for mode, group in itertools.groupby(rows, key=lambda r: r.mode):
            leaked = lab.leaked()
            try:
                stage.enter(mode)
            except Exception as e:  # one mode that cannot start must not hide the result of the other
                print(f"{mode}: {e}")
                for row in group:
                    failed += 1
                    print(f"FAIL {row}: the daemon did not start")
                stage.leave()
                continue
            for row in group:
                if row.why_skipped:
                    skipped += 1
                    print(f"skip {row}: {row.why_skipped}")
                    continue
                try:
                    wrong = run_row(row, stage)
                except Exception as e:
                    wrong = f"{type(e).__name__}: {e}"
                failed, passed = failed + bool(wrong), passed + (not wrong)
                print(f"FAIL {row}: {wrong}" if wrong else f"ok   {row}", flush=True)
            if lab.leaked() != leaked:
                failed += 1
                print(f"FAIL {mode}: {lab.leaked() - leaked} packets to a VIP reached the network untranslated")
            if failed:
                for d in stage.daemons:
                    print(f"--- log of {d.node.name}\n{d.log_tail()}")
            stage.leave()
    print(f"{passed} passed, {failed} failed, {skipped} skipped in {time.monotonic() - begin:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""loadstard on a node of the lab: configuration, start, readiness, its HTTP interface, end."""
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time

from . import proc
from .lab import wait_until


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)  # strings and numbers are written alike in both


class Daemon:
    """`source` is {"replay": file}, {"mesos": ["host:port", ...]} or {"hub": ["host:port", ...]}; `sock` and `tc` choose the data path. `settings`
    adds to or replaces values: {"section.key": value}. It answers no DNS unless they say so."""

    def __init__(self, node, source, sock=True, tc=True, settings=None):
        self.node = node
        self.dir = os.path.join(node.lab.dir, node.name)
        os.makedirs(self.dir, exist_ok=True)
        self.socket = os.path.join(self.dir, "api.sock")
        self.config = os.path.join(self.dir, "loadstar.toml")
        self.log = os.path.join(self.dir, "log")
        self.process = None
        values = {
            "node.roles": ["agent"], "node.address": node.address[4], "node.addresses": [node.address[6]],
            "node.user": "", "log.level": "info", "api.socket": self.socket, "api.group": "",
            "lb.socket": sock, "lb.cgroup": node.cgroup, "lb.packet": tc, "lb.uplinks": ["eth0"], "lb.ports": ["r-*"],
            "lb.bridges": ["br0"], "lb.flows": 65536, "lb.flows6": 16384, "lb.services": 1024, "lb.backends": 4096,
            "lb.ring_slots": 1048576, "bpf.pin": "/sys/fs/bpf/loadstar",
            "authority.enabled": False, "resolver.enabled": False, "store.path": os.path.join(self.dir, "store.db"),
            "api.listen": [],
        }
        if "replay" in source:
            values.update({"source.kind": "replay", "replay.file": source["replay"],
                           "replay.speed": float(source.get("speed", 0))})
        elif "hub" in source:
            values.update({"source.kind": "hub", "hub.masters": source["hub"], "hub.backoff_min": "100ms", "hub.backoff_max": "1s"})
        else:
            values.update({"source.kind": "mesos", "mesos.masters": source["mesos"], "mesos.backoff_min": "100ms",
                           "mesos.backoff_max": "1s"})
        values.update(settings or {})
        self.socket = values["api.socket"]
        sections = {}
        for key, value in values.items():
            section, _, name = key.partition(".")
            sections.setdefault(section, []).append(f"{name} = {_toml(value)}")
        with open(self.config, "w") as f:
            f.write("\n".join(f"[{s}]\n" + "\n".join(lines) + "\n" for s, lines in sections.items()))

    def _binary(self):
        return self.node.lab.tool("loadstard")

    def launch(self, env=None, before=()):
        """Starts it and waits for nothing. `before`: a command line that it is an argument of (setpriv ...)."""
        with open(self.log, "ab") as log:
            self.process = self.node.spawn([*before, self._binary(), "--config", self.config], task="loadstard",
                                           env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self, seconds=20, before=()):
        """Starts it and waits for READY=1, as a service manager would. Gives the seconds that took."""
        path = os.path.join(self.dir, "notify")
        if os.path.exists(path):
            os.unlink(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(path)
            os.chmod(path, 0o666)  # the daemon may be another user
            begin = time.monotonic()
            self.launch({"NOTIFY_SOCKET": path}, before)
            notify.settimeout(0.2)
            while time.monotonic() - begin < seconds:
                try:
                    if b"READY=1" in notify.recv(65536).split(b"\n"):
                        return time.monotonic() - begin
                except TimeoutError:
                    if self.process.poll() is not None:
                        raise proc.CommandFailed(f"loadstard on {self.node.name} ended with {self.process.returncode}:\n"
                                                 + self.log_tail()) from None
        raise TimeoutError(f"loadstard on {self.node.name} not ready within {seconds} s:\n{self.log_tail()}")

    def stop(self, sig=signal.SIGTERM, seconds=10):
        """Ends it; gives its exit code. The data path stays as it is."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        code = self.process.wait(seconds)
        self.node.lab.processes.remove(self.process)
        return code

    def purge(self):
        self.node.run([self._binary(), "--purge", "--config", self.config])

    def log_tail(self, lines=15):
        try:
            with open(self.log, errors="replace") as f:
                return "".join(f.readlines()[-lines:])
        except FileNotFoundError:
            return ""

    def get(self, path, timeout=5):
        """An answer of the HTTP interface: JSON as Python values, anything else as text."""
        connection = _UnixConnection(self.socket, timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read().decode()
            if answer.status != 200:
                raise proc.CommandFailed(f"GET {path} on {self.node.name}: {answer.status} {body.strip()}")
            return json.loads(body) if "json" in answer.getheader("Content-Type", "") else body
        finally:
            connection.close()

    def call(self, method, path, body=None, headers=None, timeout=5):
        """Any request: (status, headers, body), the body as Python values where it is JSON."""
        connection = _UnixConnection(self.socket, timeout)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {**({"Content-Type": "application/json"} if text else {}), **(headers or {})})
            answer = connection.getresponse()
            content = answer.read().decode()
            if content and "json" in answer.getheader("Content-Type", ""):
                content = json.loads(content)
            return answer.status, dict(answer.getheaders()), content
        finally:
            connection.close()

    def services(self):
        """Services by (name or address, port, protocol, family), as /v1/services has them."""
        found = {}
        for s in self.get("/v1/services"):
            family = 6 if ":" in s["address"] else 4
            found[(s["name"] or s["address"], s["port"], s["protocol"], family)] = s
        return found

    def service(self, name, port, protocol, family, seconds=10):
        """One service, waited for."""
        return wait_until(lambda: self.services().get((name, port, protocol, family)), seconds,
                          f"service {name}:{port}/{protocol} IPv{family} on {self.node.name}")

    def drops(self):
        """Packets dropped so far, by (hook, reason); only what is not zero."""
        return {(d["hook"], d["reason"]): d["count"] for d in self.get("/v1/drops") if d["count"]}

    def metric(self, name):
        """Sum of a metric's samples over its labels."""
        samples = re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$", self.get("/metrics"), re.M)
        return sum(float(s) for s in samples)


def difference(after, before):
    return {k: v - before.get(k, 0) for k, v in after.items() if v != before.get(k, 0)}

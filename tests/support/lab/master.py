# SPDX-License-Identifier: Apache-2.0
"""A Mesos master that says what it is told, for tests that time what follows from one event.

It shares its events with the replay files (state.py): the caller's Cluster is the truth, a subscriber gets its snapshot
and then every event passed to tell(). Agents that come and go and authentication are the business of ls-mesos-standin; this one
lives in the fabric of the lab, or on a machine of the testbed, and knows two things: when an event left, and who leads (lead())."""
import http.server
import json
import os
import queue
import socket
import socketserver
import subprocess
import sys
import threading
import time

from .state import HEARTBEAT, frame

ADDRESS = "10.10.0.253"
PORT = 5050
HEARTBEAT_S = 15


class Master:
    """The lab's side: starts it in the fabric, or finds the one of a lab that was kept; keeps its snapshot current."""

    def __init__(self, lab, cluster):
        self.cluster = cluster
        self.address = f"{ADDRESS}:{PORT}"
        self._control = control_socket(lab.dir)
        lab.fabric.ip(f"addr add {ADDRESS}/24 dev fab")
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        p = lab.fabric.spawn([sys.executable, "-c", "import sys; from lab import master; master.serve(sys.argv[1])",
                              self._control], cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if p.stdout.readline().strip() != "ready":
            raise RuntimeError("the lab's master did not start")
        self.tell()

    def tell(self, *events):
        """Sends events to all subscribers; gives the time.monotonic() just before the first one left."""
        return tell(self._control, self.cluster, *events)


def control_socket(run_dir):
    return os.path.join(run_dir, "master.sock")


def tell(control, cluster, *events):
    begin = time.monotonic()
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(control)
        s.sendall(json.dumps({"snapshot": cluster.subscribed(), "events": events}).encode())
        s.shutdown(socket.SHUT_WR)
        if s.recv(16) != b"ok":
            raise RuntimeError("the lab's master ended")
    return begin


class _Shared:
    def __init__(self):
        self.lock = threading.Lock()
        self.snapshot = None
        self.subscribers = set()
        self.leader = LEADS


LEADS = "leads"  # this master; else the address of the one that does, or "" while nobody does
_shared = _Shared()


def lead(leader):
    """Who leads from now on. Whoever follows a master that leads no more loses its stream."""
    with _shared.lock:
        _shared.leader = leader
        if leader != LEADS:
            for s in _shared.subscribers:
                s.put(None)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        call = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        with _shared.lock:
            leader = _shared.leader
        if leader == "":
            body = b"No leader elected"
            self.send_response(503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        elif leader != LEADS:
            self.send_response(307)
            self.send_header("Location", f"//{leader}/master/api/v1")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif call.get("type") == "SUBSCRIBE":
            self._subscribe()
        elif call.get("type") == "GET_MASTER":
            self._answer({"type": "GET_MASTER", "get_master": {
                "elected_time": 1.0, "start_time": 1.0,
                "master_info": {"id": "lab-master", "ip": 0, "port": PORT, "hostname": ADDRESS, "version": "1.12.0",
                                "pid": f"master@{ADDRESS}:{PORT}", "address": {"hostname": ADDRESS, "ip": ADDRESS,
                                                                              "port": PORT}}}})
        else:
            self.send_error(501)

    def _answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _chunk(self, event):
        record = frame(event)
        self.wfile.write(b"%x\r\n" % len(record) + record + b"\r\n")

    def _subscribe(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        events = queue.Queue()
        with _shared.lock:
            snapshot = _shared.snapshot
            _shared.subscribers.add(events)
            if _shared.leader != LEADS:
                events.put(None)
        try:
            self._chunk(snapshot)
            self._chunk(HEARTBEAT)
            while True:
                try:
                    event = events.get(timeout=HEARTBEAT_S)
                except queue.Empty:
                    event = HEARTBEAT
                if event is None:
                    break
                self._chunk(event)
        except OSError:
            pass  # the subscriber left
        finally:
            with _shared.lock:
                _shared.subscribers.discard(events)
            self.close_connection = True


class _Control(socketserver.StreamRequestHandler):
    def handle(self):
        command = json.loads(self.rfile.read())
        with _shared.lock:
            _shared.snapshot = command["snapshot"]
            for event in command["events"]:
                for s in _shared.subscribers:
                    s.put(event)
        self.wfile.write(b"ok")


def serve(control):
    """The process in the fabric. Subscribers come over HTTP; commands over the Unix socket `control`, one a connection:
    {"snapshot": what the next subscriber gets, "events": what the present ones get}."""
    http.server.ThreadingHTTPServer.daemon_threads = True
    server = http.server.ThreadingHTTPServer((ADDRESS, PORT), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with socketserver.UnixStreamServer(control, _Control) as commands:
        print("ready", flush=True)
        commands.serve_forever()

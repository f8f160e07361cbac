# SPDX-License-Identifier: Apache-2.0
"""What stands between a daemon and its cluster, made to misbehave octet by octet, in threads of the test itself:

OddMaster, a Mesos master of a Cluster (state.py) that also sends half of a state, a state of any size, half of a record, any events in any order, or
redirects to wherever it is told. ls-mesos-standin behaves like a master; this one does not.

Wire, a TCP port that passes everything on to another one, later if told so, or to another one from now on, or nothing at all."""
import http.server
import json
import queue
import socket
import threading
import time

from .dns import socket_in
from .state import HEARTBEAT, frame

PORT = 5050
HEARTBEAT_S = 1.0


class OddMaster:
    """At `address` of the fabric. `answer`: None (the state, then the events), "none" (503), ("redirect", "host:port"), or ("octets", list of
    octets): what a subscriber gets before its connection is closed."""

    def __init__(self, lab, address, cluster):
        self.lab, self.ip, self.cluster = lab, address, cluster
        self.address = f"{address}:{PORT}"
        self.answer = None
        self.requests = self.subscribed = 0
        self.streams = set()
        self.lock = threading.Lock()
        self.started = time.time()
        lab.fabric.ip(f"addr add {address}/24 dev fab")
        self.up()

    def up(self):
        outer = self

        class Handler(_Handler):
            master = outer

        server = http.server.ThreadingHTTPServer((self.ip, PORT), Handler, bind_and_activate=False)
        server.daemon_threads, server.block_on_close = True, False
        server.socket.close()
        server.socket = socket_in(self.lab.fabric, socket.AF_INET, socket.SOCK_STREAM)
        server.server_bind()
        server.server_activate()
        self.server = server
        self.thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def down(self):
        """Its process has ended: nobody listens, all connections are closed."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
        self.cut()

    def tell(self, *events):
        self.send(b"".join(frame(e) for e in events))

    def send(self, octets):
        with self.lock:
            for s in self.streams:
                s.put(octets)

    def cut(self):
        """All streams end, without the end of the answer."""
        with self.lock:
            for s in self.streams:
                s.put(None)

    def state(self):
        return frame(self.cluster.subscribed())


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    master = None

    def log_message(self, *_):
        pass

    def do_POST(self):
        m = self.master
        call = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        m.requests += 1
        if m.answer == "none":
            return self._plain(503, b"")
        if m.answer and m.answer[0] == "redirect":
            return self._plain(307, b"", Location=f"//{m.answer[1]}/api/v1")
        if call.get("type") == "SUBSCRIBE":
            return self._subscribe()
        if call.get("type") == "GET_MASTER":
            info = {"id": f"odd-{m.ip}", "ip": 0, "port": PORT, "hostname": m.ip, "version": "1.11.0", "pid": f"master@{m.address}",
                    "address": {"hostname": m.ip, "ip": m.ip, "port": PORT}}
            return self._plain(200, json.dumps({"type": "GET_MASTER", "get_master": {"elected_time": m.started, "start_time": m.started,
                                                                                     "master_info": info}}).encode())
        return self._plain(501, b"")

    def _plain(self, status, body, **headers):
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", "Content-Length": len(body), **headers}.items():
            self.send_header(key, str(value))
        self.end_headers()
        self.wfile.write(body)

    def _chunk(self, octets):
        self.wfile.write(b"%x\r\n" % len(octets) + octets + b"\r\n")

    def _subscribe(self):
        m, events = self.master, queue.Queue()
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        m.subscribed += 1
        try:
            if m.answer:
                for octets in m.answer[1]:
                    self._chunk(octets)
                return
            with m.lock:
                state = m.state()
                m.streams.add(events)
            self._chunk(state)
            while True:
                try:
                    octets = events.get(timeout=HEARTBEAT_S)
                except queue.Empty:
                    octets = frame(HEARTBEAT)
                if octets is None:
                    return
                self._chunk(octets)
        except OSError:
            pass  # the subscriber left
        finally:
            with m.lock:
                m.streams.discard(events)


class Wire:
    """Listens at `ip` of the fabric and passes on to `target` ("10.10.0.231:2181"), from that very address."""

    def __init__(self, lab, ip, port, target):
        self.lab, self.ip, self.target, self.delay = lab, ip, target, 0.0
        self.address = f"{ip}:{port}"
        self.pairs = set()
        lab.fabric.ip(f"addr add {ip}/24 dev fab")
        self.listener = socket_in(lab.fabric, socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((ip, port))
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """All connections that there are."""
        for pair in list(self.pairs):
            _end(pair)

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            host, port = self.target.rsplit(":", 1)
            server = socket_in(self.lab.fabric, socket.AF_INET, socket.SOCK_STREAM)
            server.bind((self.ip, 0))
            server.settimeout(2)
            try:
                server.connect((host, int(port)))
            except OSError:
                client.close()
                server.close()
                continue
            server.settimeout(None)
            pair = (client, server)
            self.pairs.add(pair)
            threading.Thread(target=self._forth, args=(pair,), daemon=True).start()
            late = queue.Queue()
            threading.Thread(target=self._back, args=(pair, late), daemon=True).start()
            threading.Thread(target=self._deliver, args=(pair, late), daemon=True).start()

    def _forth(self, pair):
        try:
            while part := pair[0].recv(65536):
                pair[1].sendall(part)
        except OSError:
            pass
        self._gone(pair)

    def _back(self, pair, late):
        try:
            while part := pair[1].recv(65536):
                late.put((time.monotonic() + self.delay, part))
        except OSError:
            pass
        late.put((0, b""))

    def _deliver(self, pair, late):
        try:
            while True:
                at, part = late.get()
                time.sleep(max(0.0, at - time.monotonic()))
                if not part:
                    break
                pair[0].sendall(part)
        except OSError:
            pass
        self._gone(pair)

    def _gone(self, pair):
        self.pairs.discard(pair)
        _end(pair)


def _end(pair):
    for s in pair:
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Upstream DNS servers that do what they are told, as one process in a place of the lab.

    ups = Upstreams(place, {"10.1.1.1:53": {"address": "192.0.2.1"}, "10.1.1.2:53": {"behaviour": "no answer"}})
    ups.asked("10.1.1.1:53")     # [("www.example.org.", "A", "udp"), ...], in the order of arrival

A behaviour is a dict: `behaviour` is "answers" (default), "no answer", "answers with two bytes only", "closes connection"
(TCP) or "port closed"; an answer has `rcode`, `address` (data of A; other types get NODATA), `tc`, `ttl` (60),
`after_ms`, `wrong` ("id", "name": what is forged in a reply that comes before the right one)."""
import asyncio
import json
import os
import random
import socket
import struct
import subprocess
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    from lab import dns
else:
    from . import dns


class Upstreams:
    def __init__(self, place, endpoints, name="upstreams"):
        self.log = os.path.join(place.lab.dir, f"{name}.log")
        with open(self.log, "w") as log:
            self.process = place.spawn([sys.executable, os.path.abspath(__file__), json.dumps(endpoints)], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=log, text=True)
        if self.process.stdout.readline().strip() != "ready":
            with open(self.log) as f:
                raise RuntimeError(f"upstreams did not start: {f.read()[-500:]}")
        self.place = place

    def questions(self):
        with open(self.log) as f:
            return [json.loads(line) for line in f if line.startswith("{") and line.endswith("\n")]

    def asked(self, endpoint=None, name=None):
        """Questions so far: of one endpoint, for one name (any spelling)."""
        return [(q["name"], q["type"], q["protocol"]) for q in self.questions()
                if endpoint in (None, q["endpoint"]) and (name is None or q["name"].lower() == name.lower())]

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.place.lab.processes.remove(self.process)


def reply(query, what, rcode=None, id_xor=0, rename=None):
    """An answer to `query` (a dns.Message)."""
    name, rtype, _ = query.question
    question = query.raw[12:12 + len(dns.encode_name(name)) + 4]
    if rename:
        question = dns.encode_name(rename) + question[-4:]
    code = {v: k for k, v in dns.RCODES.items()}[rcode or what.get("rcode", "NOERROR")]
    data = b""
    if code == 0 and rtype == "A" and what.get("address") and not what.get("tc"):
        data = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, what.get("ttl", 60), 4) + socket.inet_aton(what["address"])
    bits = 0x8180 | (0x0200 if what.get("tc") else 0) | code
    return struct.pack(">6H", query.id ^ id_xor, bits, 1, 1 if data else 0, 0, 0) + question + data


def note(endpoint, query, protocol):
    name, rtype, _ = query.question
    print(json.dumps({"endpoint": endpoint, "name": name, "type": rtype, "protocol": protocol}), file=sys.stderr, flush=True)


class Udp(asyncio.DatagramProtocol):
    def __init__(self, endpoint, what):
        self.endpoint, self.what = endpoint, what

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, client):
        try:
            query = dns.Message(data)
        except dns.Malformed:
            return
        note(self.endpoint, query, "udp")
        asyncio.get_running_loop().call_later(self.what.get("after_ms", 0) / 1000, self.answer, query, client)

    def answer(self, query, client):
        kind = self.what.get("behaviour", "answers")
        if kind == "answers with two bytes only":
            self.transport.sendto(query.raw[:2], client)
        elif kind == "answers":
            forged = {**self.what, "address": "203.0.113.66"}
            if self.what.get("wrong") == "id":
                self.transport.sendto(reply(query, forged, id_xor=random.randrange(1, 65536)), client)
            elif self.what.get("wrong") == "name":
                self.transport.sendto(reply(query, forged, rename="forged.example."), client)
            self.transport.sendto(reply(query, self.what), client)


async def serve_tcp(endpoint, what, reader, writer):
    try:
        while True:
            size = int.from_bytes(await reader.readexactly(2), "big")
            query = dns.Message(await reader.readexactly(size))
            note(endpoint, query, "tcp")
            if what.get("behaviour", "answers") != "answers":
                if what["behaviour"] == "closes connection":
                    break
                continue
            await asyncio.sleep(what.get("after_ms", 0) / 1000)
            out = reply(query, {**what, "tc": what.get("tc_over_tcp", False)})
            writer.write(len(out).to_bytes(2, "big") + out)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, dns.Malformed):
        pass
    finally:
        writer.close()


async def main(endpoints):
    loop = asyncio.get_running_loop()
    for endpoint, what in endpoints.items():
        if what.get("behaviour") == "port closed":
            continue
        host, _, port = endpoint.rpartition(":")
        host = host.strip("[]")
        await loop.create_datagram_endpoint(lambda e=endpoint, w=what: Udp(e, w), local_addr=(host, int(port)))
        if not what.get("no_tcp"):
            await asyncio.start_server(lambda r, w, e=endpoint, b=what: serve_tcp(e, b, r, w), host, int(port))
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))

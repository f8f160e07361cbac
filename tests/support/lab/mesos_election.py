#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A Mesos master's part in the election, in a process of its own, because it needs Debian's kazoo (zookeeper.py starts it).

  mesos_election.py master HOSTS PATH ADDRESS CONTROL SESSION_S   takes part for the stand-in behind the socket CONTROL
  mesos_election.py entry HOSTS PATH ADDRESS SESSION_S            names a master there; says its session's number
  mesos_election.py end-session HOSTS NUMBER                      ends somebody's session

Like a master (spec/mesos-state.md section 12) it makes an ephemeral sequential json.info_ node; the least number leads. Without ZooKeeper for
the time of a session it gives up: whoever led ends, the others answer 503; afterwards it begins anew with another session and node. The
process is its own supervisor: the child has the session, and its end is that of the master's part."""
import ctypes
import json
import os
import queue
import signal
import socket
import struct
import sys
import time
import uuid

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError

PR_SET_PDEATHSIG = 1
LABEL = "json.info_"


def tell(control, *commands):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(control)
        lines = s.makefile("rw")
        for c in commands:
            lines.write(c + "\n")
            lines.flush()
            answer = lines.readline().strip()
            if not answer.startswith("ok"):
                raise RuntimeError(f"{c}: {answer or 'ended'}")


def master_info(address):
    host, port = address.rsplit(":", 1)
    ip = struct.unpack("<I", socket.inet_aton(host))[0]
    return json.dumps({"address": {"hostname": host, "ip": host, "port": int(port)}, "capabilities": [{"type": "AGENT_UPDATE"}],
                       "hostname": host, "id": str(uuid.uuid4()), "ip": ip, "pid": f"master@{address}", "port": int(port), "version": "1.11.0"},
                      separators=(",", ":"), sort_keys=True).encode()


def client_of(hosts, session_s, **more):
    endless = {"max_tries": -1, "delay": 0.1, "max_delay": 0.3, "backoff": 1}
    return KazooClient(hosts, timeout=session_s, connection_retry=endless, command_retry={"max_tries": 0}, **more)


def first(client, path, look, limit_s):
    """(name, address) of the least number; None: nobody. kazoo keeps a question for the next connection, however long that takes."""
    names = [n for n in client.get_children_async(path, watch=look).get(timeout=limit_s) if n.startswith(LABEL)]
    for name in sorted(names, key=lambda n: int(n[len(LABEL):])):
        try:
            info = json.loads(client.get_async(f"{path}/{name}").get(timeout=limit_s)[0])
        except NoNodeError:
            continue  # listed again by the watch
        return name, f"{info['address']['ip']}:{info['address']['port']}"
    return None


def take_part(hosts, path, address, control, session_s):
    """Until there is no session; gives why."""
    events = queue.Queue()
    client = client_of(hosts, session_s)
    client.add_listener(lambda state: events.put(state))
    client.start(timeout=86400)
    client.ensure_path(path)
    mine = client.create(f"{path}/{LABEL}", master_info(address), ephemeral=True, sequence=True).rsplit("/", 1)[1]
    role = None
    while True:
        found = first(client, path, lambda _: events.put("look"), session_s)
        wanted = None if found is None else "leads" if found[0] == mine else found[1]
        if wanted != role:
            print(f"{time.time():.3f} {mine}: {wanted}", flush=True)
            if wanted is None:
                tell(control, "leader none", "answer 1 normal")
            elif wanted == "leads":
                tell(control, "answer 1 normal", "failover 1 every=20ms")
            else:
                tell(control, "leader none", f"answer 1 redirect {wanted}")
            role = wanted
        events.get()
        end = time.monotonic() + session_s
        while client.state != KazooState.CONNECTED:
            if client.state == KazooState.LOST:
                return "the session is over"
            if time.monotonic() > end:
                return "no ZooKeeper"
            time.sleep(0.05)


def master(hosts, path, address, control, session_s):
    while True:
        child = os.fork()
        if child == 0:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            try:
                print(f"{time.time():.3f} ended: {take_part(hosts, path, address, control, session_s)}", flush=True)
            except (KazooException, KazooTimeoutError, OSError) as e:
                print(f"{time.time():.3f} ended: {type(e).__name__} {e}", flush=True)
            os._exit(0)  # without closing the session: a master does not either
        os.waitpid(child, 0)
        tell(control, "leader none", "answer 1 normal")
        time.sleep(0.2)


def entry(hosts, path, address, session_s):
    client = client_of(hosts, session_s)
    client.start(timeout=20)
    client.ensure_path(path)
    client.create(f"{path}/{LABEL}", master_info(address), ephemeral=True, sequence=True)
    print(client.client_id[0], flush=True)
    signal.pause()


def password_of(session):
    """The server makes it from the number by java.util.Random (ZooKeeperServer of ZooKeeper 3.8)."""
    seed = (session ^ 0xB3415C00 ^ 0x5DEECE66D) & (1 << 48) - 1
    out = b""
    for _ in range(4):
        seed = (seed * 0x5DEECE66D + 0xB) & (1 << 48) - 1
        out += struct.pack("<I", seed >> 16 & 0xFFFFFFFF)
    return out


def end_session(hosts, number):
    client = client_of(hosts, 10, client_id=(number, password_of(number)))
    client.start(timeout=20)
    if client.client_id[0] != number:
        sys.exit("the session could not be taken over")
    client.stop()


if __name__ == "__main__":
    if sys.argv[1] == "master":
        master(*sys.argv[2:6], float(sys.argv[6]))
    elif sys.argv[1] == "entry":
        entry(*sys.argv[2:5], float(sys.argv[5]))
    else:
        end_session(sys.argv[2], int(sys.argv[3]))

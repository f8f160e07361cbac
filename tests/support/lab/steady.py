# SPDX-License-Identifier: Apache-2.0
"""Clients that never stop: connections and questions one after another, each of which must be answered, whatever a test does meanwhile.

    steady = Steady(lab)
    steady.connects("web from n1", client, vip, 80)
    steady.asks("names on n1", node, "198.51.100.1", {"web.marathon.mesos": {"9.0.1.10"}})
    ...
    steady.unbroken("leader killed")      # every one went on until now, and none failed

`connects` is ls-dial, a new connection every few milliseconds; `asks` a thread with a socket of its own that goes through its names and wants exactly
these addresses. Both end at their first failure, which unbroken() tells. `pause` and `resume` are for questions to a process that a test ends."""
import os
import threading
import time

from .dns import Client
from .lab import parse_lines
from .report import expect

INTERVAL_MS = 25
TIMEOUT_S = 2


class _Connects:
    def __init__(self, lab, what, place, address, port, options):
        log = os.path.join(lab.dir, f"steady-{what.replace(' ', '-')}.log")
        self.process = place.start_dial("once", address, port, log=log, count=1_000_000_000, interval=INTERVAL_MS, timeout=TIMEOUT_S * 1000, stop=1, **options)
        self.file = open(log, encoding="ascii")  # noqa: SIM115 (read until the end)
        self.rest, self.count, self.failure = "", 0, None

    def failed(self):
        text = self.rest + self.file.read()
        whole, _, self.rest = text.rpartition("\n")
        answers = parse_lines(whole)
        self.count += len(answers)
        self.failure = self.failure or next((a for a in answers if not a["ok"]), None)
        if not self.failure and self.process.poll() is not None:
            self.failure = f"the client ended with {self.process.returncode}"
        return self.failure

    def answered(self):
        count, self.count = self.count, 0
        return count

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.file.close()


class _Asks:
    def __init__(self, place, resolver, names):
        self.client, self.names = Client(place, resolver), names
        self.count, self.failure = 0, None
        self.running = threading.Event()
        self.running.set()
        self.idle = threading.Event()
        self.ended = False
        self.thread = threading.Thread(target=self._ask, daemon=True)
        self.thread.start()

    def _ask(self):
        while not self.ended and not self.failure:
            for name, wanted in list(self.names.items()):
                if not self.running.is_set():
                    self.idle.set()
                    self.running.wait()
                    self.idle.clear()
                if self.ended:
                    return
                try:
                    answer = self.client.ask(name, timeout=TIMEOUT_S, tries=1)
                    if set(answer.data("A")) != wanted:
                        self.failure = f"{name}: {answer}"
                except OSError as e:
                    self.failure = f"{name}: {type(e).__name__} {e}"
                if self.failure:
                    return
                self.count += 1
                time.sleep(INTERVAL_MS / 1000)

    def failed(self):
        return self.failure

    def answered(self):
        count, self.count = self.count, 0
        return count

    def close(self):
        self.ended = True
        self.running.set()
        self.thread.join()
        self.client.close()


class Steady:
    def __init__(self, lab):
        self.lab, self.clients, self.paused = lab, {}, set()

    def connects(self, what, place, address, port, **options):
        self.clients[what] = _Connects(self.lab, what, place, address, port, options)

    def asks(self, what, place, resolver, names):
        """`names`: {name: set of addresses}; one that is added later is asked from then on."""
        self.clients[what] = _Asks(place, resolver, names)

    def pause(self, what):
        """Returns when no question is under way."""
        client = self.clients[what]
        client.running.clear()
        client.idle.wait(TIMEOUT_S + 1)
        self.paused.add(what)

    def resume(self, what):
        self.paused.discard(what)
        self.clients[what].running.set()

    def unbroken_so_far(self, during):
        """None has failed; that each goes on is for unbroken() to find."""
        for what, client in self.clients.items():
            failure = client.failed()
            expect(failure is None, f"{during}: {what}: {failure}")

    def unbroken(self, during):
        """Gives how many were answered since the last look."""
        self.unbroken_so_far(during)
        total = 0
        for what, client in self.clients.items():
            count = client.answered()
            expect(count or what in self.paused, f"{during}: {what}: nothing was asked")
            total += count
        return total

    def close(self):
        for client in self.clients.values():
            client.close()
        self.clients = {}

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A spoofer beside the upstream: 100,000 forged answers a second, right in everything but port and id, to names that are
always in flight. None may be accepted. 10 s; --seconds 60 for the whole of it.

--against dnsmasq shows what the test sees of another forwarder; --gullible takes the forged answer for the right one, so
that every good answer is counted as wrong: the test can fail."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from lab import Lab, Report, arguments, dns, dns_peers, expect, find_binary  # noqa: E402

UPSTREAM = ("10.10.0.254", 53)
ADDRESS, PORT = "10.10.0.11", 5302
NAMES = [f"n{i}.spoof.example" for i in range(50)]
QPS, FORGED_QPS, DELAY_US = 400, 100_000, 100_000


class Server(dns_peers.Peer):
    """loadstar's DNS server as a forwarder, without the daemon around it."""

    def __init__(self, place):
        self.program = find_binary("ls-dns-server")
        super().__init__(place, ADDRESS, PORT, "loadstar")

    def argv(self):
        return [self.path, "--listen", f"{ADDRESS}:{PORT}", "--workers", "1", "--resolver", "--forward", f"{UPSTREAM[0]}:{UPSTREAM[1]}"]


def main():
    def more(p):
        p.add_argument("--seconds", type=float, default=10)
        p.add_argument("--against", default="loadstar")
        p.add_argument("--gullible", action="store_true")
    args = arguments(__doc__, more, daemon=False)
    try:
        tools = [find_binary(t, args.tools) for t in ("dns-generate", "dns-upstream", "ls-dns-spoof")]
        if args.against == "loadstar":
            find_binary("ls-dns-server", args.tools)
    except FileNotFoundError as e:
        print(f"skipped: {e}")
        return 77
    generate, upstream, spoof = tools
    report = Report()
    with Lab(nodes=1, tools=args.tools) as lab:
        node = lab.node(1)
        u = lab.fabric.spawn([upstream, "--listen", "%s:%d" % UPSTREAM, "--delay-us", DELAY_US, "--ttl", 0], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, text=True)
        expect(u.stdout.readline().strip() == "ready", "dns-upstream did not start")
        server = {"loadstar": lambda: Server(node), "dnsmasq": lambda: dns_peers.Dnsmasq(node, ADDRESS, PORT, servers=[UPSTREAM])}[args.against]()
        server.start(("start.spoof.example", "A"))
        names = os.path.join(lab.dir, "names")
        with open(names, "w") as f:
            f.write("".join(f"{n} A {'203.0.113.66' if args.gullible else '192.0.2.1'}\n" for n in NAMES))

        def check():
            load = node.spawn([generate, "--to", f"{ADDRESS}:{PORT}", "--names", names, "--seconds", args.seconds, "--rate", QPS, "--window", 4096,
                               "--timeout", 5], stdout=subprocess.PIPE, text=True)
            forger = lab.fabric.spawn([spoof, "%s:%d" % UPSTREAM, ADDRESS, FORGED_QPS, args.seconds, *NAMES], stdout=subprocess.PIPE, text=True)
            out, _ = load.communicate(timeout=args.seconds + 60)
            forged = int(forger.communicate(timeout=30)[0])
            r = json.loads(out)
            expect(r["wrong"] == 0, lambda: f"{r['wrong']} of {r['answers']} answers were forged ({r['first_wrong']})")
            expect(r["answers"] > r["sent"] / 2, lambda: f"only {r['answers']} of {r['sent']} answered")
            with dns.Client(node, ADDRESS, PORT) as c:  # nothing was left in the cache either
                for n in NAMES:
                    got = c.ask(n, timeout=3).data("A")
                    expect(got == ["192.0.2.1"], f"{n} is {got}")
            return f"{forged} forged ({forged / args.seconds:.0f}/s), {r['answers']} answers, {r['lost']} lost, none accepted"
        report.run(f"{args.against} under forged answers", check)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())

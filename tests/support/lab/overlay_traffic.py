# SPDX-License-Identifier: Apache-2.0
"""Who reaches whom in the overlay, however it was wired: places with ls-echo on PORT, named after themselves."""
import ipaddress

from .report import expect

PORT = 7000


def dial(client, address, **options):
    return client.dial("once", address, PORT, timeout=options.pop("timeout", 2000), **options)[0]


def same(address):
    """Text that can be compared."""
    return str(ipaddress.ip_address(address))


def seen(answer):
    """The client's address as the server saw it."""
    return same(answer["seen"].rpartition(":")[0].strip("[]"))


def all_pairs(containers, family):
    """Every container dials every other and is seen with its own address; gives how many pairs that are."""
    count = 0
    for client in containers:
        for server in containers:
            if client is server:
                continue
            a = dial(client, server.address[family], payload=200)
            expect(a["ok"] and a["name"] == server.name, f"{client.name} -> {server.name}: {a}")
            expect(seen(a) == same(client.address[family]), f"{client.name} -> {server.name}: seen as {a['seen']}")
            count += 1
    return count

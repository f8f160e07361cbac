#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A docker command for the lab: `network inspect NAME` and `network create ...` of bridge networks. Like the real one, create makes the
bridge with the gateway's addresses. Networks are kept in networks.json in the folder that DOCKER_CONFIG names."""
import ipaddress
import json
import os
import subprocess
import sys

STATE = os.path.join(os.environ.get("DOCKER_CONFIG", "/tmp"), "networks.json")


def load():
    try:
        with open(STATE, encoding="ascii") as f:
            return json.load(f)
    except FileNotFoundError:
        return {}


def gateway(subnet):
    return next(ipaddress.ip_network(subnet).hosts())


def create(args):
    name, options, subnets, ipv6 = args[-1], {}, [], False
    i = 0
    while i < len(args) - 1:
        key, equals, value = args[i].partition("=")
        if key == "--ipv6":
            ipv6 = value != "false"
        elif not equals:
            i += 1
            value = args[i]
        if key in ("--opt", "-o"):
            option, _, setting = value.partition("=")
            options[option] = setting
        if key == "--subnet":
            subnets.append(value)
        i += 1
    bridge, mtu = options["com.docker.network.bridge.name"], options.get("com.docker.network.driver.mtu", "1500")
    lines = [f"link add {bridge} mtu {mtu} type bridge stp_state 0 forward_delay 0 mcast_snooping 0", f"link set {bridge} up"]
    for s in subnets:
        lines.append(f"addr add {gateway(s)}/{ipaddress.ip_network(s).prefixlen} dev {bridge}" + (" nodad" if ":" in s else ""))
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True)
    networks = load()
    networks[name] = {"Name": name, "Id": f"{len(networks):064x}", "Driver": "bridge", "Scope": "local", "EnableIPv6": ipv6,
                      "IPAM": {"Driver": "default", "Options": None, "Config": [{"Subnet": s, "Gateway": str(gateway(s))} for s in subnets]},
                      "Internal": False, "Options": options, "Labels": {}}
    with open(STATE, "w", encoding="ascii") as f:
        json.dump(networks, f)
    print(networks[name]["Id"])


def main():
    args = sys.argv[1:]
    if args[:2] == ["network", "inspect"]:
        found = load().get(args[-1])
        print(json.dumps([found] if found else []))
        if not found:
            print(f"Error response from daemon: network {args[-1]} not found", file=sys.stderr)
            return 1
        return 0
    if args[:2] == ["network", "create"]:
        create(args[2:])
        return 0
    print(f"docker: '{' '.join(args)}' is not a docker command.", file=sys.stderr)
    return 125


if __name__ == "__main__":
    sys.exit(main())

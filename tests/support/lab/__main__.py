# SPDX-License-Identifier: Apache-2.0
"""python3 -m lab up|shell|list|down: the lab by hand, from the folder tests/support."""
import argparse
import sys

from . import Lab, sandbox


def enter_command(place):
    return (f"nsenter --net=/run/netns/{place.netns}"
            + (f" --mount=/proc/{place.mount_pid}/ns/mnt" if place.mount_pid else ""))


def main():
    parser = argparse.ArgumentParser(prog="lab", description="A small cluster in network namespaces.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="build it: two nodes, on each a bridged and a routed container")
    up.add_argument("--nodes", type=int, default=2)
    up.add_argument("--keep", action="store_true", help="leave it up and return, instead of waiting for Enter")
    commands.add_parser("list", help="runs on this machine")
    down = commands.add_parser("down", help="remove runs")
    down.add_argument("run", type=int, nargs="*", help="ids of runs; without any: those whose owner is dead")
    args = parser.parse_args()

    if args.command == "list":
        for run in sandbox.runs():
            print(run)
        return 0
    if args.command == "down":
        for run in args.run:
            sandbox.clean(run)
        print("removed:", *(args.run or sandbox.sweep()))
        return 0
    with Lab(nodes=args.nodes, keep=args.keep) as lab:
        places = [lab.fabric]
        for node in lab.nodes.values():
            places += [node, node.bridged("b"), node.routed("r")]
        print(f"run {lab.id}")
        for p in places:
            print(f"  {p.name:8} {enter_command(p)} bash")
        if args.keep:
            print(f"remove with: python3 -m lab down {lab.id}")
        else:
            input("Enter removes it ")
    return 0


if __name__ == "__main__":
    sys.exit(main())

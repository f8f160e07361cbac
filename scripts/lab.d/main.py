# SPDX-License-Identifier: Apache-2.0
"""What scripts/lab does once the packages are there."""
import argparse
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "tests", "support"))
from lab import Lab, proc, sandbox, zookeeper  # noqa: E402
import testbed  # noqa: E402
from checks import VIP_NAME, Checks, tell_tasks  # noqa: E402
from machine import SECURE_PATH, NotHere  # noqa: E402

SKIPPED = 77


def heading(text):
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def show(bed):
    """As an operator would look at it."""
    everything = {**bed.machines, **bed.containers}
    for place, command in (("master1", "loadstar status"), ("agent1", "loadstar vip ls"), ("agent2", "loadstar overlay ls"), ("agent1", f"curl -s http://{VIP_NAME}/"),
                           ("client1", f"dig +short -p 61053 @{bed.machines['master1'].address} web.marathon.mesos")):
        heading(f"{place}: {command}")
        for line in everything[place].run(command.split(), check=False).rstrip().splitlines():
            print("  " + line)


def how_to_look(bed):
    heading("The cluster stays up")
    for name, place in {**bed.machines, **bed.containers}.items():
        print(f"  {name:11} {place.address}")
    print("  Look into it:")
    for command in ("exec agent1 loadstar status", "exec agent1 loadstar monitor", "exec agent2 loadstar overlay check",
                    f"exec agent1 curl -s http://{VIP_NAME}/", "exec container1 bash", "exec agent1 bpftool map", "tasks agent2     (and: tasks agent1 agent2)", "check", "down"):
        print(f"    sudo scripts/lab {command}")
    print(f"  What each said is in {bed.lab.dir}/NODE/*.log")


def make(packages, masters, keep):
    """Sets a cluster up and looks at it; gives the exit code. Whatever goes wrong, nothing of it stays."""
    if why := zookeeper.missing():
        print(f"lab: {why}", file=sys.stderr)
        return SKIPPED
    with Lab(nodes=0, keep=keep) as lab:
        print(f"lab: {masters} x master, 2 x agent, a client, from the packages in {packages}", flush=True)
        bed = None
        try:
            bed = testbed.Testbed(lab, packages, masters)
            bed.start(lambda text: print(f"lab: {text}", flush=True))
            if keep:
                show(bed)
                heading("Checks")
            report = Checks(bed.masters, {**bed.machines, **bed.containers}).run()
        except NotHere as e:
            print(f"lab: {e}", file=sys.stderr)
            raise SystemExit(SKIPPED) from None
        except (OSError, proc.CommandFailed) as e:
            if bed:
                bed.logs()
            raise SystemExit(f"lab: {e}") from None
        if ended := bed.ended():
            print("\n".join(ended), file=sys.stderr)
        if report.close() or ended:
            bed.logs()
            raise SystemExit(1)
        if keep:
            bed.save()
            how_to_look(bed)
    return 0


def enter(place, command):
    """The command's exit code. It has this terminal, and Ctrl-C is its own affair."""
    if not command:
        command = ["bash"]
    group = os.path.join(place.cgroup, "shell")
    os.makedirs(group, exist_ok=True)
    signal.signal(signal.SIGINT, lambda *_: None)  # a handler, not SIG_IGN, which the command would inherit
    try:
        p = proc.spawn(command, netns=place.netns, mount_pid=place.mount_pid, cgroup=group, start_new_session=False,
                       env={**os.environ, "PATH": SECURE_PATH})
    except FileNotFoundError:
        print(f"lab: there is no {command[0]} on {place.name}", file=sys.stderr)
        return 127
    code = p.wait()
    return code if code >= 0 else 128 - code


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/lab")
    commands = parser.add_subparsers(dest="command")
    for p in (parser, commands.add_parser("check")):
        p.add_argument("--masters", type=int, choices=(1, 3), default=argparse.SUPPRESS)
        p.add_argument("--packages", default=argparse.SUPPRESS)
    run = commands.add_parser("exec")
    run.add_argument("node")
    run.add_argument("argv", nargs=argparse.REMAINDER)
    tasks = commands.add_parser("tasks")
    tasks.add_argument("agents", nargs="*", choices=[[], *testbed.AGENTS])
    commands.add_parser("down")
    commands.add_parser("up")
    return parser.parse_args()


def main():
    args = arguments()
    up = testbed.find()
    if args.command == "up":
        return 0 if up else 1
    if args.command == "down":
        if up:
            sandbox.clean(up[0])
        print("lab: removed" if up else "lab: there is no cluster")
        return 0
    fresh = hasattr(args, "packages") or hasattr(args, "masters")
    if args.command in ("exec", "tasks") or (args.command == "check" and not fresh):
        if not up:
            print("lab: there is no cluster; sudo scripts/lab makes one", file=sys.stderr)
            return 2
        _, masters, places = up
        if args.command == "exec":
            if args.node not in places:
                print(f"lab: there is no {args.node}; there are {', '.join(places)}", file=sys.stderr)
                return 2
            return enter(places[args.node], args.argv)
        if args.command == "tasks":
            tell_tasks(places, masters, *args.agents)
            return 0
        return Checks(masters, places).run().close()
    if up and args.command is None:
        print("lab: a cluster is up already: scripts/lab check looks at it, scripts/lab down removes it", file=sys.stderr)
        return 2
    return make(os.path.abspath(args.packages), getattr(args, "masters", 1), keep=args.command is None)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("lab: interrupted; everything was removed")

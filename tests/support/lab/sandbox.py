# SPDX-License-Identifier: Apache-2.0
"""What a lab run owns on the machine, and how all of it goes away again, whatever happened to the run.

A run is named by the pid of the process that started it. It owns: network namespaces `ls<pid>-*`, the cgroup v2 folder
`loadstar-lab-<pid>` with every process in it, and the folder /run/loadstar-lab/<pid> (configuration, logs, sockets).
Three ways lead to the same clean-up: the end of the `with` block (also by an exception or a signal), a reaper process
that notices when the run is killed, and the next run's sweep. Nothing else is ever removed."""
import os
import shutil
import signal
import subprocess
import time

from . import proc

BASE = "/run/loadstar-lab"


def cgroup2_mount():
    """Where cgroup v2 is mounted: the root of the hierarchy on a current machine, `unified` beside v1 on others."""
    with open("/proc/mounts") as f:
        for line in f:
            fields = line.split()
            if fields[2] == "cgroup2":
                return fields[1]
    raise RuntimeError("no cgroup v2 is mounted on this machine")


def run_dir(run_id):
    return os.path.join(BASE, str(run_id))


def cgroup_dir(run_id):
    return os.path.join(cgroup2_mount(), f"loadstar-lab-{run_id}")


def netns_prefix(run_id):
    return f"ls{run_id}-"


def _netns_names():
    try:
        return os.listdir("/run/netns")
    except FileNotFoundError:
        return []


def clean(run_id):
    """Removes everything that the run made. Idempotent."""
    group = cgroup_dir(run_id)
    for _ in range(100):
        if not os.path.isdir(group):
            break
        try:
            with open(os.path.join(group, "cgroup.kill"), "w") as f:
                f.write("1")
        except OSError:
            pass
        for folder, _, _ in os.walk(group, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                pass  # a process in it is still dying
        time.sleep(0.02)
    names = [n for n in _netns_names() if n.startswith(netns_prefix(run_id))]
    for name in names:
        subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)
    shutil.rmtree(run_dir(run_id), ignore_errors=True)
    try:
        os.rmdir(BASE)
    except OSError:
        pass  # other runs live


def owner_alive(run_id):
    """True while the run's owner lives: the lab itself, or with --keep the process that holds it open."""
    try:
        with open(os.path.join(run_dir(run_id), "owner")) as f:
            pid, started = f.read().split()
    except (FileNotFoundError, ValueError):
        return proc.start_time(run_id) is not None
    return proc.start_time(pid) == started


def set_owner(run_id, pid):
    path = os.path.join(run_dir(run_id), "owner")
    with open(path + ".new", "w") as f:
        f.write(f"{pid} {proc.start_time(pid)}\n")
    os.rename(path + ".new", path)


def runs():
    """Ids of all runs that left a trace on this machine."""
    found = set()
    if os.path.isdir(BASE):
        found.update(n for n in os.listdir(BASE) if n.isdigit())
    for n in _netns_names():
        if n.startswith("ls") and "-" in n and n[2:n.index("-")].isdigit():
            found.add(n[2:n.index("-")])
    for n in os.listdir(cgroup2_mount()):
        if n.startswith("loadstar-lab-") and n.rpartition("-")[2].isdigit():
            found.add(n.rpartition("-")[2])
    return sorted(int(n) for n in found)


def sweep():
    """Removes what dead runs left behind; the runs that live are not touched."""
    dead = [r for r in runs() if not owner_alive(r)]
    for r in dead:
        clean(r)
    return dead


class Reaper:
    """A process that cleans up when the run dies without doing it itself (SIGKILL). It sees the death as the end of a
    pipe, whose other end only the run holds."""

    def __init__(self, run_id):
        read_end, self._write_end = os.pipe()
        self._pid = os.fork()
        if self._pid:
            os.close(read_end)
            return
        try:
            os.setsid()
            for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(s, signal.SIG_IGN)
            os.close(self._write_end)
            # Whoever waits for our output to end must not wait for this process.
            null = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
            if os.read(read_end, 1) == b"":
                clean(run_id)
        finally:
            os._exit(0)

    def dismiss(self):
        """The run has cleaned up, or is to be kept."""
        os.write(self._write_end, b"x")
        os.close(self._write_end)
        os.waitpid(self._pid, 0)

# SPDX-License-Identifier: Apache-2.0
"""Processes inside namespaces and cgroups, started straight from a fork: no wrapper program per process, because the
tests start thousands."""
import ctypes
import os
import signal
import subprocess

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1


class CommandFailed(RuntimeError):
    """A command of the lab's own set-up failed; carries what it said."""


def _setns(fd, kind):
    if _libc.setns(fd, kind) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def spawn(argv, netns=None, mount_pid=None, cgroup=None, die_with_parent=True, **popen):
    """Starts argv in the network namespace `netns` (a name of `ip netns`), in the mount namespace of process
    `mount_pid`, in the cgroup folder `cgroup`. Call it from the main thread only: the death signal follows the thread."""

    def enter():
        if cgroup:
            with open(os.path.join(cgroup, "cgroup.procs"), "w") as f:
                f.write("0")
        fds = []
        if netns:
            fds.append((os.open(f"/run/netns/{netns}", os.O_RDONLY), CLONE_NEWNET))
        if mount_pid:
            fds.append((os.open(f"/proc/{mount_pid}/ns/mnt", os.O_RDONLY), CLONE_NEWNS))
        for fd, kind in fds:
            _setns(fd, kind)
            os.close(fd)
        if die_with_parent:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    popen.setdefault("start_new_session", True)  # Ctrl-C goes to the lab alone, which then ends its children in order
    return subprocess.Popen([str(a) for a in argv], preexec_fn=enter, **popen)


def run(argv, input=None, check=True, timeout=60, **where):
    """Runs argv to its end and gives its output as text."""
    p = spawn(argv, stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **where)
    try:
        out, err = p.communicate(input, timeout=timeout)
    except BaseException:
        p.kill()
        p.wait()
        raise
    if check and p.returncode != 0:
        raise CommandFailed(f"{' '.join(str(a) for a in argv)}: exit {p.returncode}: {err.strip() or out.strip()}")
    return out


def ip_batch(lines, netns=None):
    """Many `ip` commands in one process. A failing line ends it and is named."""
    text = "\n".join(lines) + "\n"
    argv = ["ip"] + (["-n", netns] if netns else []) + ["-batch", "-"]
    try:
        run(argv, input=text)
    except CommandFailed as e:
        numbered = "\n".join(f"{i + 1}: {line}" for i, line in enumerate(lines))
        raise CommandFailed(f"{e}\n{numbered}") from None


def start_time(pid):
    """Start of a process in clock ticks since boot, or None: with the pid it names a process for good."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return None

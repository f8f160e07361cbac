#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/lab makes its cluster from the packages, finds it good, and removes it: nothing of this machine has changed then."""
import os
import subprocess

from deb import DEBS, SOURCE, run, run_checks, skip

SKIPPED = 77


def machine():
    """What the lab could touch outside of its namespaces."""
    commands = (("ip", "-o", "addr"), ("ip", "route", "show", "table", "all"), ("ip", "rule"), ("sysctl", "-n", "net.ipv4.ping_group_range"))
    return [run(*c) for c in commands] + [open(f, "rb").read() for f in ("/etc/resolv.conf", "/etc/passwd")]


def traces():
    """Runs of the lab that left something: network namespaces and folders begin with or are the number of a run."""
    found = []
    for folder in ("/run/netns", "/run/loadstar-lab"):
        found += os.listdir(folder) if os.path.isdir(folder) else []
    return found


def cluster_is_good():
    """the cluster of scripts/lab is as it should be"""
    before = machine()
    p = subprocess.Popen([f"{SOURCE}/scripts/lab", "check", "--packages", DEBS], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = p.communicate()[0]
    if p.returncode == SKIPPED:
        skip(said)
    assert p.returncode == 0, said
    assert " 0 failed" in said and "FAIL" not in said, said
    left = [t for t in traces() if t == str(p.pid) or t.startswith(f"ls{p.pid}-")]
    assert not left, f"left behind: {left}"
    assert machine() == before, "the machine itself was changed"
    return said.splitlines()[-1]


def speaks_of_what_is_not_there():
    """it has a help, and says what is not there"""
    lab = f"{SOURCE}/scripts/lab"
    assert run(lab, "--help").count("scripts/lab") >= 6
    run(lab, "exec", "nobody", "true", code=2)
    said = run(lab, "check", "--packages", "/nowhere", code=1)
    assert "there has to be one loadstar_*.deb in /nowhere" in said, said


if __name__ == "__main__":
    if os.geteuid() != 0:
        skip("needs root, for namespaces of its own")
    run_checks([cluster_is_good, speaks_of_what_is_not_there])

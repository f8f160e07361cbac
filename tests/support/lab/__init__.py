# SPDX-License-Identifier: Apache-2.0
"""A cluster in network namespaces for tests and the demo. lab.py: the network; sandbox.py: what a run owns and its
clean-up; state.py: Mesos' side of it as operator API events; master.py: a master that sends them; daemon.py: loadstard
on a node; overlay.py and overlay_cluster.py: the overlay on nodes, wired by a tool and by daemons; overlay_traffic.py: who
reaches whom in it; zookeeper.py: a ZooKeeper ensemble and masters that elect a leader in it; odd_master.py: a master and a wire that
misbehave; steady.py: clients that never stop; report.py: how a test tells its results."""
from . import dns, dns_peers, overlay, overlay_cluster, overlay_traffic, proc, sandbox, state, zookeeper
from .daemon import Daemon, difference
from .dns_upstream import Upstreams
from .lab import Container, Lab, Node, Place, end_dial, find_binary, next_event, parse_lines, separate_source_ports, wait_until
from .master import Master
from .odd_master import OddMaster, Wire
from .report import Failed, Report, Skip, arguments, expect
from .steady import Steady

__all__ = ["Container", "Daemon", "Failed", "Lab", "Master", "Node", "OddMaster", "Place", "Report", "Skip", "Steady", "Upstreams", "Wire", "arguments", "dns", "dns_peers",
           "difference", "end_dial", "expect", "find_binary", "next_event", "overlay", "overlay_cluster", "overlay_traffic", "parse_lines", "proc", "sandbox", "separate_source_ports",
           "state", "wait_until", "zookeeper"]

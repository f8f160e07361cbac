# SPDX-License-Identifier: Apache-2.0
"""A cluster in network namespaces for tests and the demo. lab.py: the network; sandbox.py: what a run owns and its
clean-up; state.py: Mesos' side of it as operator API events; daemon.py: loadstard on a node."""
from .daemon import Daemon, difference
from .lab import Container, Lab, Node, Place, end_dial, find_binary, next_event, parse_lines, wait_until

__all__ = ["Container", "Daemon", "Lab", "Node", "Place", "difference", "end_dial", "find_binary",
           "next_event", "parse_lines", "wait_until"]

# SPDX-License-Identifier: Apache-2.0
"""Empties the connection tracking table of the network namespace it runs in: one netlink request. So a round's new flows
find no entry of the round before, and the machine's limit of entries is never reached."""
import socket
import struct

NETLINK_NETFILTER = 12
_NFNL_SUBSYS_CTNETLINK, _IPCTNL_MSG_CT_DELETE = 1, 2
_NLM_F_REQUEST, _NLM_F_ACK = 1, 4

body = struct.pack("=BBH", socket.AF_INET, 0, 0)  # nfgenmsg; no attribute: everything of the family
header = struct.pack("=IHHII", 16 + len(body), _NFNL_SUBSYS_CTNETLINK << 8 | _IPCTNL_MSG_CT_DELETE,
                     _NLM_F_REQUEST | _NLM_F_ACK, 1, 0)
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as s:
    s.send(header + body)
    error = struct.unpack_from("=i", s.recv(4096), 16)[0]
if error:
    raise SystemExit(f"conntrack flush: error {-error}")

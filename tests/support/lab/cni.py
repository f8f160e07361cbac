# SPDX-License-Identifier: Apache-2.0
"""A machine of its own for CNI plugins: this process moves into a network and mount namespace that it makes, with empty /run/netns,
a BPF file system and a folder for state. All of it goes away with the process."""
import ctypes
import fcntl
import json
import os
import shutil
import struct
import subprocess
import tempfile

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_MS_PRIVATE, _MS_REC = 1 << 18, 1 << 14
REFERENCE = "/usr/lib/cni"  # Debian's containernetworking-plugins


def _mount(source, target, kind, flags=0):
    if _libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, None) != 0:
        raise OSError(ctypes.get_errno(), f"mount {kind} on {target}")


class Machine:
    PIN = "/sys/fs/bpf/loadstar"

    def __init__(self, plugin):
        self.plugin = plugin
        if _libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        _mount("none", "/", None, _MS_PRIVATE | _MS_REC)
        os.makedirs("/run/netns", exist_ok=True)
        _mount("netns", "/run/netns", "tmpfs")
        _mount("bpf", "/sys/fs/bpf", "bpf")
        _mount("lib", "/var/lib", "tmpfs")  # where configurations without a dataDir keep their state
        self.dir = tempfile.mkdtemp(prefix="ls-cni-")
        _mount("state", self.dir, "tmpfs")
        self.sh("ip link set lo up")
        os.makedirs(f"{self.PIN}/maps")

    def close(self):
        _libc.umount2(self.dir.encode(), 2)
        shutil.rmtree(self.dir, ignore_errors=True)

    def sh(self, command, check=True):
        p = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
        if check and p.returncode != 0:
            raise OSError(f"{command}: {p.stderr.strip()}")
        return p.stdout

    def maps(self, local=False):
        """The maps that loadstard would have pinned."""
        self.sh(f"bpftool map create {self.PIN}/maps/ls_portmap type hash key 4 value 24 entries 4096 name ls_portmap")
        if local:
            self.sh(f"bpftool map create {self.PIN}/maps/ls_ovl_local type hash key 16 value 16 entries 4096 name ls_ovl_local")

    def dump(self, name):
        """Entries as pairs of octets."""
        rows = json.loads(self.sh(f"bpftool -j map dump pinned {self.PIN}/maps/{name}") or "[]")
        octets = lambda v: bytes(int(x, 16) for x in v)
        return {octets(r["key"]): octets(r["value"]) for r in rows}

    def ports(self):
        """(protocol, host port, family) -> address and port of the container, bridge"""
        out = {}
        for key, value in self.dump("ls_portmap").items():
            port, proto, family = struct.unpack(">HBB", key)
            to, = struct.unpack(">H", value[16:18])
            bridge, = struct.unpack("=I", value[20:24])
            out[proto, port, family] = (value[12:16] if family == 4 else value[:16], to, bridge)
        return out

    def netns(self, name):
        self.sh(f"ip netns add {name}")
        self.sh(f"ip -n {name} link set lo up")
        return f"/run/netns/{name}"

    def links(self, netns=None):
        rows = json.loads(self.sh(f"ip {'-n ' + netns if netns else ''} -j -d link"))
        return {r["ifname"]: r for r in rows if r["ifname"] != "lo"}

    def veths(self):
        return [n for n, r in self.links().items() if r.get("linkinfo", {}).get("info_kind") == "veth"]

    def start(self, command, config, container="c1", netns="", ifname="eth0", plugin=None, path=REFERENCE, args=None, stdin=None, **env):
        variables = {"CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": netns, "CNI_IFNAME": ifname, "CNI_PATH": path,
                     "PATH": os.environ["PATH"], **({"CNI_ARGS": args} if args else {}), **env}
        variables = {k: v for k, v in variables.items() if v is not None}
        p = subprocess.Popen([plugin or self.plugin], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        p.input = stdin if stdin is not None else json.dumps(config).encode()
        return p

    @staticmethod
    def finish(p, timeout=60):
        out, err = p.communicate(p.input, timeout=timeout)
        return Answer(p.returncode, out.decode(), err.decode())

    def call(self, *args, **kwargs):
        return self.finish(self.start(*args, **kwargs))

    def reference(self, name):
        file = f"{REFERENCE}/{name}"
        return file if os.path.exists(file) else None

    def hold_lock(self, file):
        """The lock of a network's state file; close the descriptor to release it."""
        fd = os.open(file, os.O_RDWR)
        fcntl.fcntl(fd, 37, struct.pack("hhlli4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))  # F_OFD_SETLK
        return fd


class Answer:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err
        self.json = json.loads(out) if out.strip() else None  # anything but one document ends the test

    @property
    def error(self):
        """Number of the error object; None: success."""
        return None if self.code == 0 else self.json["code"]

    @property
    def address(self):
        if "ips" in self.json:
            return self.json["ips"][0]["address"]
        return self.json["ip4"]["ip"]

    def __str__(self):
        return f"exit {self.code}: {self.out.strip()} {self.err.strip()}"

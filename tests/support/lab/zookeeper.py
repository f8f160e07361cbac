# SPDX-License-Identifier: Apache-2.0
"""A real ZooKeeper ensemble on machines of its own in the lab, and Mesos masters that elect a leader in it.

A machine is a network namespace on the fabric with one server and, if wanted, one master beside it, as clusters are built:

    fabric -- z1 10.10.0.231   ZooKeeper (client 2181, followers 2888, election 3888), master stand-in 5050
           -- z2 10.10.0.232
           -- z3 10.10.0.233

A master is ls-mesos-standin with one master in it and mesos_election.py, which takes part in the election and tells the stand-in whether
it leads: with another leader it redirects, with none it answers 503. Everything belongs to the lab and goes away with it."""
import os
import re
import signal
import socket
import subprocess

from . import proc
from .dns import socket_in
from .lab import Place, wait_until

JAR = "/usr/share/java/zookeeper.jar"
PYTHON = "/usr/bin/python3"  # Debian's, which has Debian's modules; the tests may run in another one
PORT = 2181
MASTER_PORT = 5050
TICK_MS = 200


def missing():
    """Why there can be no ensemble here; empty: there can."""
    if not os.path.exists(JAR):
        return "the package zookeeper is not installed"
    if subprocess.run([PYTHON, "-c", "import kazoo"], capture_output=True, check=False).returncode:
        return "the package python3-kazoo is not installed"
    return ""


def java(config):
    """The command line of a server: small, quick to start, and not careful about power cuts."""
    return ["java", "-Xmx64m", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true",
            "-Dzookeeper.forceSync=no", "-cp", JAR, "org.apache.zookeeper.server.quorum.QuorumPeerMain", config]


class Server(Place):
    """One machine with a server of the ensemble."""

    def __init__(self, lab, number, size):
        super().__init__(lab, f"z{number}", f"{lab.prefix}z{number}", None, os.path.join(lab.cgroup, f"z{number}"))
        self.number = number
        self.ip_address = f"10.10.0.{230 + number}"
        self.address = f"{self.ip_address}:{PORT}"
        self.process = None
        self._slow = None
        self.dir = os.path.join(lab.dir, self.name)
        os.makedirs(os.path.join(self.dir, "data"))
        os.makedirs(self.cgroup)
        proc.ip_batch([f"netns add {self.netns}", f"link add eth0 netns {self.netns} type veth peer name {self.name} netns {lab.fabric.netns}"])
        lab.fabric.ip(f"link set {self.name} master fab up")
        self.ip("link set lo up", "link set eth0 up", f"addr add {self.ip_address}/24 dev eth0", "route add default via 10.10.0.254")
        servers = "".join(f"server.{i}=10.10.0.{230 + i}:2888:3888\n" for i in range(1, size + 1)) if size > 1 else ""
        with open(os.path.join(self.dir, "zoo.cfg"), "w") as f:
            f.write(f"tickTime={TICK_MS}\ninitLimit=50\nsyncLimit=15\nmaxSessionTimeout=60000\nadmin.enableServer=false\n"
                    f"4lw.commands.whitelist=srvr,cons\nmaxClientCnxns=0\ndataDir={self.dir}/data\nclientPort={PORT}\n{servers}")
        with open(os.path.join(self.dir, "data", "myid"), "w") as f:
            f.write(str(number))

    def launch(self):
        log = open(os.path.join(self.dir, "log"), "ab")  # noqa: SIM115 (the child keeps it)
        self.process = self.spawn(java(os.path.join(self.dir, "zoo.cfg")), task="zookeeper", stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()

    def kill(self):
        """As by a power cut. It keeps its data for launch()."""
        self.normal()
        self.process.kill()
        self.process.wait()

    def pause(self):
        """It says nothing any more; its connections stay."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def slow(self, seconds):
        """It works for an instant every so many seconds only."""
        self._slow = self.spawn(["sh", "-c", f"while kill -STOP {self.process.pid}; do sleep {seconds}; kill -CONT {self.process.pid}; sleep 0.05; done"],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def normal(self):
        if self._slow:
            self._slow.kill()
            self._slow.wait()
            self._slow = None
            self.resume()

    def cut(self, others):
        """Nothing passes between it and `others`; all else goes on."""
        them = ", ".join(o.ip_address for o in others)
        self.nft(f"table inet lab_split {{\n chain in {{\n type filter hook prerouting priority -350;\n ip saddr {{ {them} }} drop\n }}\n"
                 f" chain out {{\n type filter hook output priority -350;\n ip daddr {{ {them} }} drop\n }}\n}}\n")

    def heal(self):
        self.nft("delete table inet lab_split\n")

    def ask(self, word):
        """A four-letter word, asked from the machine itself; empty where nobody answers."""
        with socket_in(self, socket.AF_INET, socket.SOCK_STREAM) as s:
            s.settimeout(0.5)
            try:
                s.connect((self.ip_address, PORT))
                s.sendall(word.encode())
                text = b""
                while part := s.recv(65536):
                    text += part
                return text.decode(errors="replace")
            except OSError:
                return ""

    def mode(self):
        """"leader", "follower", "standalone", or empty."""
        found = re.search(r"^Mode: (\w+)", self.ask("srvr"), re.M)
        return found[1] if found else ""

    def sessions(self):
        """Address of the client and number of the session, of each connection here."""
        return re.findall(r"/([0-9.]+):\d+\[.*?sid=(0x[0-9a-f]+)", self.ask("cons"))


class Ensemble:
    """`size` servers (1 or 3), started; wait_for_leader() when they must serve."""

    def __init__(self, lab, size=3):
        self.lab = lab
        self.servers = [Server(lab, i, size) for i in range(1, size + 1)]
        for s in self.servers:
            s.launch()

    def hosts(self):
        return ",".join(s.address for s in self.servers)

    def url(self, path="/mesos"):
        return f"zk://{self.hosts()}{path}"

    def leader(self):
        """The server that leads the ensemble, or None."""
        return next((s for s in self.servers if s.process.poll() is None and s.mode() in ("leader", "standalone")), None)

    def wait_for_leader(self, seconds=30):
        return wait_until(self.leader, seconds, "a leader of the ensemble")

    def kill(self):
        for s in self.servers:
            s.kill()

    def launch(self):
        for s in self.servers:
            s.launch()

    def split(self, alone):
        """`alone` on one side, the others on the other. Clients reach all."""
        alone.cut([s for s in self.servers if s is not alone])

    def session_of(self, client_ip):
        """(server, number) of the session that a client has, or None."""
        for s in self.servers:
            if s.process.poll() is None:
                for ip, number in s.sessions():
                    if ip == client_ip:
                        return s, int(number, 16)
        return None

    def end_session(self, number):
        """As its time-out would: another client takes it over and closes it."""
        self.servers[0].run([PYTHON, _beside("mesos_election.py"), "end-session", self.hosts(), number])


class ElectedMaster:
    """A Mesos master beside a server. `commands` is the cluster as ls-mesos-standin takes it, told again at each start."""

    def __init__(self, ensemble, server, commands, session_s=2.0, path="/mesos"):
        self.ensemble, self.server, self.commands = ensemble, server, commands
        self.address = f"{server.ip_address}:{MASTER_PORT}"
        self.session_s, self.path = session_s, path
        self.control = os.path.join(server.dir, "master.sock")
        self.start()

    def start(self):
        lab = self.server.lab
        if os.path.exists(self.control):
            os.unlink(self.control)
        self.standin = self.server.spawn([lab.tool("ls-mesos-standin"), "--control", self.control, "--listen", self.address, "--heartbeat", "1"],
                                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if not self.standin.stdout.readline().startswith("listening "):
            raise proc.CommandFailed(f"the master on {self.server.name} did not start")
        wait_until(lambda: os.path.exists(self.control), 5, "control socket")
        self.say("leader none", *self.commands)
        with open(os.path.join(self.server.dir, "election.log"), "ab") as log:
            self.election = self.server.spawn([PYTHON, _beside("mesos_election.py"), "master", self.ensemble.hosts(), self.path, self.address, self.control,
                                               self.session_s], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def say(self, *commands):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.control)
            lines = s.makefile("rw")
            for c in commands:
                lines.write(c + "\n")
                lines.flush()
                answer = lines.readline().strip()
                if not answer.startswith("ok"):
                    raise proc.CommandFailed(f"master on {self.server.name}: {c}: {answer or 'ended'}")

    def log(self):
        with open(os.path.join(self.server.dir, "election.log"), errors="replace") as f:
            return f.read()

    def kill(self):
        """As by a power cut: its node stays until its session is over."""
        for p in (self.election, self.standin):
            p.kill()
            p.wait()
        self.standin.stdout.close()


def _beside(name):
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), name)

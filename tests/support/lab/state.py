# SPDX-License-Identifier: Apache-2.0
"""Mesos' side of a lab: agents, a framework and tasks as the v1 operator API says them, in JSON, RecordIO-framed.

    cluster = Cluster()
    cluster.add_agents(lab)
    cluster.add(host_task("web.1", node, 4, 31000, ["/web:80"]))
    write_replay(path, [cluster.subscribed()])

An agent has one address in Mesos, so a node is two agents here: `A<n>` by its IPv4 and `A<n>-6` by its IPv6 address.
That is how a host port, or a mapped one, becomes a backend of the other family."""
import json
import time

FRAMEWORK = "lab-framework"
FRAMEWORK_NAME = "marathon"


def agent_id(node, family):
    return f"A{node.number}" + ("-6" if family == 6 else "")


def _agent(node, family):
    return {"agent_info": {"id": {"value": agent_id(node, family)}, "hostname": node.address[family], "port": 5051,
                           "resources": []},
            "active": True, "version": "1.12.0", "pid": f"slave(1)@{node.address[4]}:5051"}


def _framework():
    return {"framework_info": {"id": {"value": FRAMEWORK}, "name": FRAMEWORK_NAME, "user": "root"},
            "active": True, "connected": True}


def _status(task_id, agent, state, address, **more):
    return {"task_id": {"value": task_id}, "agent_id": {"value": agent}, "state": state, "timestamp": time.time(),
            "container_status": {"network_infos": [{"ip_addresses": [{"ip_address": address}]}]}, **more}


def _task(task_id, node, family, address, number, scope, vips, container, ports, protocols):
    labels = [{"key": f"VIP_{i}", "value": v} for i, v in enumerate(vips)]
    if scope:
        labels.append({"key": "network-scope", "value": scope})
    return {"task_id": {"value": task_id}, "name": task_id.partition(".")[0], "framework_id": {"value": FRAMEWORK},
            "agent_id": {"value": agent_id(node, family)}, "state": "TASK_RUNNING",
            "discovery": {"visibility": "FRAMEWORK", "name": task_id.partition(".")[0],
                          "ports": {"ports": [{"number": number, "name": "p", "protocol": p,
                                               "labels": {"labels": labels}} for p in protocols]}},
            "container": container,
            "statuses": [_status(task_id, agent_id(node, family), "TASK_RUNNING", address)],
            "resources": [{"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": p, "end": p}
                                                                                     for p in ports]}}]}


def host_task(task_id, node, family, port, vips, protocols=("tcp", "udp")):
    """A task on the host's network."""
    return _task(task_id, node, family, node.address[family], port, None, vips, {"type": "MESOS"}, [port], protocols)


def mapped_task(task_id, container, family, host_port, container_port, vips, protocols=("tcp", "udp")):
    """A task in a bridged container whose port is published on its node."""
    mappings = [{"host_port": host_port, "container_port": container_port, "protocol": p} for p in protocols]
    network = {"name": "mesos-bridge", "port_mappings": mappings}
    task = _task(task_id, container.node, family, container.address[family], host_port, "host", vips,
                 {"type": "MESOS", "network_infos": [network]}, [host_port], protocols)
    task["statuses"][0]["container_status"]["network_infos"][0].update(network)
    return task


def routed_task(task_id, container, family, port, vips, protocols=("tcp", "udp")):
    """A task in a container with an address of its own."""
    return _task(task_id, container.node, family, container.address[family], port, "container", vips,
                 {"type": "MESOS", "network_infos": [{"name": "dcos"}]}, [], protocols)


class Cluster:
    """What the master knows. Methods that change it also give the event that tells a subscriber."""

    def __init__(self):
        self.agents = []
        self.tasks = {}

    def add_agents(self, lab):
        for node in lab.nodes.values():
            self.agents += [_agent(node, 4), _agent(node, 6)]

    def add(self, task):
        self.tasks[task["task_id"]["value"]] = task
        return {"type": "TASK_ADDED", "task_added": {"task": task}}

    def update(self, task_id, state, healthy=None):
        """The task's new state, as TASK_UPDATED."""
        task = self.tasks[task_id]
        task["state"] = state
        more = {} if healthy is None else {"healthy": healthy}
        status = _status(task_id, task["agent_id"]["value"], state,
                         task["statuses"][-1]["container_status"]["network_infos"][0]["ip_addresses"][0]["ip_address"],
                         **more)
        task["statuses"].append(status)
        event = {"type": "TASK_UPDATED", "task_updated": {"framework_id": {"value": FRAMEWORK}, "state": state,
                                                          "status": status}}
        if state not in ("TASK_RUNNING", "TASK_KILLING", "TASK_STAGING", "TASK_STARTING", "TASK_UNREACHABLE"):
            del self.tasks[task_id]
        return event

    def subscribed(self):
        return {"type": "SUBSCRIBED", "subscribed": {
            "heartbeat_interval_seconds": 15.0,
            "get_state": {"get_agents": {"agents": self.agents, "recovered_agents": []},
                          "get_frameworks": {"frameworks": [_framework()], "completed_frameworks": []},
                          "get_tasks": {"tasks": list(self.tasks.values()), "completed_tasks": [],
                                        "unreachable_tasks": []},
                          "get_executors": {"executors": []}}}}


    def save(self, path):
        with open(path, "w") as f:
            json.dump({"agents": self.agents, "tasks": self.tasks}, f)

    @classmethod
    def load(cls, path):
        cluster = cls()
        with open(path) as f:
            saved = json.load(f)
        cluster.agents, cluster.tasks = saved["agents"], saved["tasks"]
        return cluster


HEARTBEAT = {"type": "HEARTBEAT"}


def frame(event):
    """One RecordIO record: length in bytes, line feed, JSON."""
    body = json.dumps(event).encode()
    return b"%d\n" % len(body) + body


def write_replay(path, events):
    with open(path, "wb") as f:
        for event in events:
            f.write(frame(event))

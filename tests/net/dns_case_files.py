# SPDX-License-Identifier: Apache-2.0
"""Cases of spec/mesos-dns-cases: reading them, what is to be different from the reference and why, comparing. No I/O but
the files; dns_cases.py asks the daemon.

A difference is nowhere skipped: DIFFERENCES rewrites what is expected into what is required instead, and the answer has to
equal that. Numbers such as B7 are those of spec/mesos-dns.md section 15."""
import ast
import copy
import json
import os
import re
from dataclasses import dataclass, field

CASES = ["01-upstream-fixture", "02-upstream-fixture-rfc952", "03-dcos-like", "04-ip-sources", "05-names"]


@dataclass
class Expected:
    """One question of wire.txt and its answer. Records are (name, ttl, type, data); data may be a set of possible ones."""
    name: str
    type: str
    tcp: bool = False
    edns: bool = False
    cls: str = "IN"
    rcode: str = ""
    flags: set = field(default_factory=set)
    counts: tuple = (0, 0, 0)
    opt: bool = False
    answer: list = field(default_factory=list)
    authority: list = field(default_factory=list)
    additional: list = field(default_factory=list)
    part_of: str = ""  # the answer is one set, or a part, of these records: "set" (RFC 8482), "part" (truncated)

    @property
    def question(self):
        return (f"{self.name} {self.type}" + (" +tcp" if self.tcp else "") + (" +edns" if self.edns else "")
                + (f" +rdclass={self.cls}" if self.cls != "IN" else ""))


_HEAD = re.compile(r"^  (\S+) flags=\[([a-z ]*)\] an=(\d+) ns=(\d+) ar=(\d+) opt=(yes|no)$")


def _record(text):
    name, ttl, rtype, *data = text.split(" ", 3)
    data = data[0] if data else ""
    if data.startswith("one-of{"):
        data = frozenset(data[len("one-of{"):-1].split("|"))
    return (name, int(ttl), rtype, data)


def read_wire(path):
    found = []
    with open(path) as f:
        for number, line in enumerate(f.read().splitlines(), 1):
            if line.startswith("Q "):
                _, name, rtype, *more = line.split(" ")
                q = Expected(name, rtype)
                for option in more:
                    if option == "+tcp":
                        q.tcp = True
                    elif option == "+edns":
                        q.edns = True
                    elif option.startswith("+rdclass="):
                        q.cls = option.partition("=")[2]
                    else:
                        raise ValueError(f"{path}:{number}: option {option}")
                found.append(q)
            elif match := _HEAD.match(line):
                q.rcode, q.flags, q.opt = match[1], set(match[2].split()), match[6] == "yes"
                q.counts = tuple(int(match[i]) for i in (3, 4, 5))
            elif line[:5] in ("  AN ", "  NS ", "  AR "):
                {"AN": q.answer, "NS": q.authority, "AR": q.additional}[line[2:4]].append(_record(line[5:]))
            elif line.strip():
                raise ValueError(f"{path}:{number}: {line}")
    return found


def read_records(path):
    """expected.txt or api-only.txt: (name, type, data, remark)."""
    found = []
    with open(path) as f:
        for line in f.read().splitlines():
            text, _, remark = line.partition("  # ")
            name, rtype, data = text.split(" ", 2)
            found.append((name, rtype, data, remark))
    return found


@dataclass
class Request:
    method: str
    path: str
    headers: dict
    status: int = 0
    content_type: str = ""
    body: object = None  # parsed where it is JSON

    @property
    def question(self):
        return f"{self.method} {self.path}" + (f" {self.headers}" if self.headers else "")


def read_http(path):
    found = []
    with open(path) as f:
        for number, line in enumerate(f.read().splitlines(), 1):
            if not line.startswith("  "):
                method, where, *headers = line.split(" ", 2)
                found.append(Request(method, where, ast.literal_eval(headers[0]) if headers else {}))
                continue
            if line.startswith("  (skipped: "):
                continue  # status stays 0: several answers are right
            status, rest = line.strip().split(" ", 1)
            match = re.match(r"^([a-z]+/[a-z]+(?:; [^ ]+)?) ?(.*)$", rest)
            if not match:
                raise ValueError(f"{path}:{number}: {line}")
            last = found[-1]
            last.status, last.content_type = int(status), match[1]
            last.body = json.loads(match[2]) if match[1] == "application/json" else match[2]
    return found


@dataclass
class Case:
    name: str
    folder: str
    config: dict
    wire: list
    expected: list
    api_only: list
    http: list
    enumerate: dict
    axfr: dict

    @property
    def state(self):
        return os.path.join(self.folder, "state.json")

    @property
    def domain(self):
        return self.config.get("domain", "mesos").lower() + "."

    def names(self):
        """Everything that exists, in lower case, and every name above."""
        own = {name.lower() for name, rtype, *_ in self.expected if rtype not in ("SOA", "NS")}
        above = set()
        for name in own:
            while name != self.domain and "." in name:
                name = name.partition(".")[2]
                if name:
                    above.add(name)
        return own, above


def read_case(shared, name):
    folder = os.path.join(shared, "spec", "mesos-dns-cases", name)

    def load(file):
        with open(os.path.join(folder, file)) as f:
            return json.load(f)

    return Case(name, folder, load("config.json"), read_wire(os.path.join(folder, "wire.txt")), read_records(os.path.join(folder, "expected.txt")),
                read_records(os.path.join(folder, "api-only.txt")), read_http(os.path.join(folder, "http.txt")), load("enumerate.json"), load("axfr.json"))


# --- what is to be different. Each takes (case, expected) and changes `expected`; true when it did.

def _any_udp(case, q):
    if q.type != "ANY" or q.tcp or len({r[2] for r in q.answer}) == 0:
        return False
    q.part_of, q.additional = "set", []
    return True


def _empty_names(case, q):
    own, above = case.names()
    name = q.name.lower().replace(".*", "")
    if q.rcode != "NXDOMAIN" or name in own or (name not in above and name != case.domain):
        return False
    q.rcode = "NOERROR"
    return True


def _spelling(case, q):
    changed = False
    for i, (name, ttl, rtype, data) in enumerate(q.answer):
        if rtype in ("A", "AAAA") and name != q.name:
            q.answer[i] = (q.name, ttl, rtype, data)
            changed = True
    return changed


def _class(case, q):
    if q.cls == "IN":
        return False
    q.rcode, q.flags, q.answer, q.authority, q.additional = "REFUSED", q.flags - {"aa", "ra"}, [], [], []
    return True


def _edns(case, q):
    if not q.edns:
        return False
    q.opt = True
    return True


def _all_additional(case, q):
    changed = False
    records = []
    for name, ttl, rtype, data in q.additional:
        if isinstance(data, frozenset):
            records += [(name, ttl, rtype, d) for d in sorted(data)]
            changed = True
        else:
            records.append((name, ttl, rtype, data))
    q.additional = records
    return changed


def _truncated(case, q):
    if "tc" not in q.flags:
        return False
    q.part_of, q.additional = "part", []
    q.answer = [(q.name, q.answer[0][1] if q.answer else 60, t, d) for n, t, d, _ in case.expected if n.lower() == q.name.lower() and t == q.type]
    return True


@dataclass
class Difference:
    item: str        # of spec/mesos-dns.md section 15
    why: str
    rewrite: object
    option: str = ""  # the setting that brings the reference's behaviour back


DIFFERENCES = [
    Difference("B8", "EDNS is understood: a question with OPT gets one back", _edns),
    Difference("B12", "A and AAAA come back under the name as it was spelled in the question", _spelling),
    Difference("B14", "a class that is not ours is refused, not answered as IN", _class),
    Difference("B29", "SRV carries every address of its targets, not one of them", _all_additional),
    Difference("B7", "the apex and empty non-terminals exist: NODATA, not NXDOMAIN", _empty_names, "authority.empty_is_nxdomain"),
    Difference("ANY", "ANY over UDP gives one set (RFC 8482)", _any_udp),
    Difference("TC", "which records a truncated answer holds is not fixed", _truncated),
]


def required(case, expected, options=()):
    """What has to come, and the items that made it different. `options`: settings that bring old behaviour back."""
    q = copy.deepcopy(expected)
    items = [d.item for d in DIFFERENCES if d.option not in options and d.rewrite(case, q)]
    return q, items


# --- comparing

def _soa_serial(data):
    words = data.split(" ")
    if len(words) == 7:
        words[2] = "SERIAL"
    return " ".join(words)


def shown(records):
    """Records of a dns.Message in the form of the cases."""
    return sorted((r.name, r.ttl, r.type, _soa_serial(r.data) if r.type == "SOA" else r.data) for r in records)


def compare_wire(required_, message):
    """What is wrong with the answer, in words; nothing when it is right."""
    q, wrong = required_, []
    if message.rcode != q.rcode:
        wrong.append(f"rcode {message.rcode}, not {q.rcode}")
    flags = message.flags - {"qr"}
    if "qr" not in message.flags:
        wrong.append("no response bit")
    if flags != q.flags:
        wrong.append(f"flags {sorted(flags)}, not {sorted(q.flags)}")
    if bool(message.edns) != q.opt:
        wrong.append("OPT " + ("missing" if q.opt else "that nobody asked for"))
    if message.question is None or message.question[0] != q.name:
        wrong.append(f"question {message.question} echoed for {q.name}")
    answer = shown(message.answer)
    full = sorted(q.answer, key=str)
    if q.part_of:
        extra = [r for r in answer if r not in full]
        if extra:
            wrong.append(f"answer has {extra}")
        if not answer and q.part_of == "set":
            wrong.append("answer is empty")
        types = {r[2] for r in answer}
        if q.part_of == "set" and (len(types) > 1 or answer != sorted(r for r in full if r[2] in types)):
            wrong.append(f"answer is not one whole set: {answer}")
        if q.part_of == "part" and message.size > (1232 if q.edns else 512):
            wrong.append(f"{message.size} octets")
    elif answer != sorted(full):
        wrong.append(_difference("answer", answer, full))
    for section, got, want in (("authority", shown(message.authority), q.authority), ("additional", shown(message.additional), q.additional)):
        if q.part_of == "part":
            continue
        if got != sorted(want, key=str) and not _matches(got, want):
            wrong.append(_difference(section, got, want))
    return wrong


def _matches(got, want):
    """Equal, where a wanted record may leave a choice."""
    left = list(got)
    for w in sorted(want, key=lambda r: isinstance(r[3], frozenset)):
        hit = next((g for g in left if g[:3] == w[:3] and (g[3] in w[3] if isinstance(w[3], frozenset) else g[3] == w[3])), None)
        if hit is None:
            return False
        left.remove(hit)
    return not left


def _difference(section, got, want):
    missing = [w for w in want if w not in got]
    extra = [g for g in got if g not in want]
    return f"{section}:" + (f" missing {missing}" if missing else "") + (f" extra {extra}" if extra else "") + (
        "" if missing or extra else f" {got}, not {want}")


def compare_records(expected, got):
    """expected.txt against what came back: sets of (name, type, data)."""
    want = {(n, t, d) for n, t, d, _ in expected}
    return [f"missing {' '.join(r)}" for r in sorted(want - got)] + [f"extra {' '.join(r)}" for r in sorted(got - want)]


def _normal(value):
    """Lists sorted, as http.txt has them."""
    if isinstance(value, list):
        return sorted((_normal(v) for v in value), key=lambda v: json.dumps(v, sort_keys=True))
    if isinstance(value, dict):
        return {k: _normal(v) for k, v in value.items()}
    return value


# Members of JSON answers that are not ours to repeat, with the reason.
OWN_VALUES = {
    "/v1/version": {"Service": "names the program", "URL": "names the program", "Version": "is this program's"},
    "/v1/config": {"SOASerial": "the case replaced it", "File": "the case replaced it", "MesosCredentials": "B17: no secret is shown",
                   "SOAMinttl": "B10: it is not used, so there is no such setting"},
}


def compare_http(request, status, content_type, body):
    wrong = []
    if not request.status:
        return [] if status == 200 else [f"status {status}"]
    if status != request.status:
        wrong.append(f"status {status}, not {request.status}")
    if content_type.replace(" ", "").lower() != request.content_type.replace(" ", "").lower():
        wrong.append(f"content type {content_type}, not {request.content_type}")
    if request.content_type != "application/json":
        if body.strip() != str(request.body).strip():
            wrong.append(f"body {body.strip()[:80]!r}, not {request.body!r}")
        return wrong
    try:
        got, want = json.loads(body), request.body
    except ValueError as e:
        return wrong + [f"no JSON: {e}: {body[:80]!r}"]
    path = request.path.rstrip("/")
    if path.endswith(("/enumerate", "/axfr")):
        return wrong  # compared in full with their own files
    own = OWN_VALUES.get(path, {})
    if own and isinstance(got, dict):
        if list(got) and set(got) != set(want):
            wrong.append(f"members {sorted(set(got) ^ set(want))} differ")
        got, want = ({k: v for k, v in d.items() if k not in own} for d in (got, want))
    if _normal(got) != _normal(want):
        wrong.append(f"body {json.dumps(_normal(got))[:300]}, not {json.dumps(_normal(want))[:300]}")
    return wrong


def _encodable(name):
    labels = name.rstrip(".").split(".")
    return all(0 < len(label) <= 63 for label in labels) and len(name) <= 254


def compare_axfr(case, got):
    """/v1/axfr: everything but values, whose order is not fixed, and the serial. B22: names with an empty label may be listed or not."""
    wrong = []
    want = case.axfr
    for key in want:
        if key in ("Records", "Serial"):
            continue
        if got.get(key) != want[key]:
            wrong.append(f"{key} is {got.get(key)!r}, not {want[key]!r}")
    for kind, names in want["Records"].items():
        mine = got.get("Records", {}).get(kind) or {}
        names, mine = ({n: v for n, v in (some or {}).items() if "" not in n.rstrip(".").split(".")} for some in (names, mine))
        wrong += [f"{kind}: missing {n}" for n in names if n not in mine]
        wrong += [f"{kind}: extra {n}" for n in mine if n not in names]
        wrong += [f"{kind} {n}: {sorted(mine[n])}, not {sorted(names[n])}" for n in names if n in mine and sorted(mine[n]) != sorted(names[n])]
        if list(mine) != sorted(mine):
            wrong.append(f"{kind}: names are not sorted")
    return wrong


def compare_enumerate(case, got):
    """/v1/enumerate: the order counts. B22 as above."""
    def usable(tree):
        tree = copy.deepcopy(tree)
        for framework in tree.get("frameworks") or []:
            for task in framework.get("tasks") or []:
                if task["records"] is not None:
                    task["records"] = [r for r in task["records"] if "" not in r["name"].rstrip(".").split(".")]
        return tree
    want, got = usable(case.enumerate), usable(got)
    if got == want:
        return []
    wrong = []
    mine, theirs = got.get("frameworks"), want.get("frameworks")
    if not isinstance(mine, list) or [f["name"] for f in mine] != [f["name"] for f in theirs]:
        return [f"frameworks {[f.get('name') for f in mine or []]}, not {[f['name'] for f in theirs]}"]
    for a, b in zip(mine, theirs):
        if [t["id"] for t in a["tasks"]] != [t["id"] for t in b["tasks"]]:
            wrong.append(f"{b['name']}: tasks {[t['id'] for t in a['tasks']]}, not {[t['id'] for t in b['tasks']]}")
            continue
        for s, t in zip(a["tasks"], b["tasks"]):
            if s != t:
                mine_records, their_records = s.get("records") or [], t["records"] or []
                extra = [r for r in mine_records if r not in their_records][:3]
                missing = [r for r in their_records if r not in mine_records][:3]
                wrong.append(f"{b['name']} {t['id']}: extra {extra}, missing {missing}" if extra or missing else f"{b['name']} {t['id']}: order of records, or name")
    return wrong or ["differs"]

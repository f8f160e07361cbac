#!/usr/bin/env python3
"""Rules of the house that no compiler checks. Each rule is a function from a source tree to a list of findings.

Run by ctest (house_test.py, which also plants a violation of every rule and wants it found) and by scripts/lint.
Usage: house_rules.py [ROOT]; prints FILE:LINE: text for each finding, exit code 1 when there is one.
"""
import re
import sys
from pathlib import Path

# Who may include whom (docs/architecture.md). "abi" is include/loadstar/abi, "skeleton" a generated *.skel.h.
# A folder may always include itself. `app` wires everything and is not listed.
ALLOWED = {
    "util": set(),
    "bpf": {"util"},
    "netlink": {"util"},
    "state": {"util"},
    "zk": {"util"},
    "hub": {"state", "util"},
    "sources": {"hub", "zk", "overlay", "dns", "derive", "state", "util"},
    "store": {"zk", "state", "util"},
    "derive": {"state", "abi", "util"},
    "datapath": {"overlay", "derive", "state", "bpf", "netlink", "abi", "skeleton", "util"},
    "dns": {"derive", "state", "store", "abi", "util"},
    "overlay": {"derive", "state", "store", "netlink", "abi", "util"},
    "edge": {"derive", "state", "util"},
    "cni": {"netlink", "overlay", "bpf", "abi", "util"},
    "api": {"dns", "derive", "state", "abi", "util"},
    "cli": {"api", "util"},
}
# The side of the interface that only the daemon has; the command line sees the types and the client.
API_SERVER_SIDE = {"server.h", "router.h", "provider.h", "event_hub.h"}

LIBBPF_USERS = {"bpf", "datapath"}

# Headers that cost seconds a file: only in a .cpp, behind a plain interface.
HEAVY = re.compile(r"^(boost/beast|boost/asio/ssl|simdjson|toml\+\+|CLI/|nlohmann/json\.hpp|spdlog/)")

MAX_LINES = 700
MAP_NAME_MAX = 15  # BPF_OBJ_NAME_LEN of linux/bpf.h is 16 with the final zero

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
CODE = {".h", ".c", ".cpp", ".py", ".sh", ".cmake", ".txt", ""}
CODE_FOLDERS = ("controller", "bpf", "include", "tests", "scripts", "cmake", "vagrant", ".ci")


def files(root, folder, *suffixes):
    base = root / folder
    found = [p for p in base.rglob("*") if p.is_file() and (not suffixes or p.suffix in suffixes)]
    return sorted(p for p in found if "__pycache__" not in p.parts)


def lines(path):
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def finding(root, path, number, text):
    return f"{path.relative_to(root)}:{number}: {text}"


def includes(path):
    """(line number, is a system include, what)"""
    for number, row in enumerate(lines(path), 1):
        match = INCLUDE.match(row)
        if match:
            yield number, match.group(1) == "<", match.group(2)


def layer_of(what, folders):
    """The folder an include reaches into; None for the own folder, a system header or a library."""
    if what.startswith("loadstar/abi/"):
        return "abi"
    if what.endswith(".skel.h"):
        return "skeleton"
    first = what.split("/")[0] if "/" in what else None
    return first if first in folders else None


def include_rules(root):
    found = []
    controller = root / "controller"
    folders = sorted(p.name for p in controller.iterdir() if p.is_dir()) if controller.is_dir() else []
    known = set(ALLOWED) | set(folders)
    for folder in folders:
        if folder == "app":
            continue
        if folder not in ALLOWED:
            found.append(f"controller/{folder}:1: this folder has no line in the include rules")
            continue
        for path in files(root, f"controller/{folder}", ".h", ".cpp"):
            for number, system, what in includes(path):
                if ".." in what.split("/"):
                    found.append(finding(root, path, number, f'"{what}" climbs out of its folder'))
                    continue
                if system and what.startswith("bpf/"):
                    # <bpf/...> is libbpf, "bpf/..." is ours.
                    if folder not in LIBBPF_USERS:
                        found.append(finding(root, path, number, f"{folder} may not include libbpf's {what}"))
                    continue
                layer = layer_of(what, known)
                if layer is None or layer == folder:
                    continue
                if layer not in ALLOWED[folder]:
                    found.append(finding(root, path, number, f"{folder} may not include {what}"))
                elif folder == "cli" and layer == "api" and what.split("/")[1] in API_SERVER_SIDE:
                    found.append(finding(root, path, number, f"cli may not include {what}, the daemon's side of api"))
    for path in files(root, "bpf", ".h", ".c"):
        for number, system, what in includes(path):
            # stdbool.h and stddef.h come with the compiler and hold no code.
            good = what.startswith(("linux/", "bpf/", "stdbool.h", "stddef.h")) if system else what.startswith(("lib/", "loadstar/abi/"))
            if not good:
                found.append(finding(root, path, number, f"a BPF program may not include {what}"))
    for path in files(root, "include/loadstar/abi", ".h"):
        for number, system, what in includes(path):
            good = what == "linux/types.h" if system else what.startswith("loadstar/abi/")
            if not good:
                found.append(finding(root, path, number, f"an ABI header may not include {what}"))
    return found


def one_way_to_drop(root):
    """A packet dropped in any other way is not counted and nobody learns why."""
    found = []
    verdict = re.compile(r"\b(TC_ACT_SHOT|XDP_DROP|XDP_ABORTED|TCX_DROP)\b")
    for path in files(root, "bpf", ".h", ".c"):
        if path.relative_to(root).as_posix() == "bpf/lib/drop.h":
            continue
        for number, row in enumerate(without_comments(path), 1):
            match = verdict.search(row)
            if match:
                found.append(finding(root, path, number, f"{match.group(1)} outside bpf/lib/drop.h: use drop()"))
    return found


def without_comments(path):
    """The lines with C comments blanked out."""
    text = path.read_text(encoding="utf-8", errors="replace")
    blank = lambda m: re.sub(r"[^\n]", " ", m.group(0))
    return re.sub(r"/\*.*?\*/|//[^\n]*", blank, text, flags=re.S).splitlines()


def drop_reasons(root):
    """(label, line) of the X-macro list LS_DROP_REASONS."""
    path = root / "include/loadstar/abi/drop.h"
    if not path.is_file():
        return []
    out, inside = [], False
    for number, row in enumerate(lines(path), 1):
        inside = inside or "define LS_DROP_REASONS" in row
        if inside:
            match = re.search(r'X\(\w+,\s*\d+,\s*"(\w+)"', row)
            if match:
                out.append((match.group(1), number))
            if not row.rstrip().endswith("\\"):
                break
    return out


def reasons_explained(root):
    """Every drop reason has its entry in the troubleshooting page, and every entry a reason."""
    page = root / "docs/operate/troubleshoot.md"
    reasons = drop_reasons(root)
    if not reasons and not page.is_file():
        return []
    headings = {}
    if page.is_file():
        for number, row in enumerate(lines(page), 1):
            match = re.match(r"### `(\w+)`", row)
            if match:
                headings[match.group(1)] = number
    found = []
    for label, number in reasons:
        if label != "none" and label not in headings:
            found.append(f"include/loadstar/abi/drop.h:{number}: reason {label} has no entry in {page.relative_to(root)}")
    for label, number in headings.items():
        if label not in {name for name, _ in reasons}:
            found.append(finding(root, page, number, f"entry {label} is no drop reason"))
    return found


def abi_asserted(root):
    """The size of every shared struct is asserted, so that padding cannot slip in."""
    found = []
    for path in files(root, "include/loadstar/abi", ".h"):
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"^struct (\w+) \{", text, flags=re.M):
            name = match.group(1)
            if not re.search(rf"LS_ABI_ASSERT\(sizeof\(struct {name}\) == \d+\)", text):
                number = text[: match.start()].count("\n") + 1
                found.append(finding(root, path, number, f"size of struct {name} is not asserted"))
    return found


def map_names(root):
    found = []
    for path in files(root, "bpf", ".h", ".c"):
        for number, row in enumerate(lines(path), 1):
            for name in re.findall(r'^\}\s*(\w+)\s+SEC\("\.maps"\)', row) + re.findall(r"^LS_MAP_ARRAY\((\w+),", row):
                if not name.startswith("ls_") or len(name) > MAP_NAME_MAX:
                    found.append(finding(root, path, number, f"map {name}: ls_ in front, {MAP_NAME_MAX} characters at most"))
    return found


# Assembled, so that this file does not contain what it forbids.
FORBIDDEN = [
    (re.compile(r"\b(" + "TO" + "DO|FIX" + "ME)\\b"), "unfinished work belongs into an issue"),
    (re.compile(r"\b(p" + "kill|kill" + r"all)\b"), "end processes by their id"),
    (re.compile(r"(^|[\s\"'=(:])/(ho" + "me|wo" + r"rk)/"), "path of one machine"),
]


def forbidden_words(root):
    found = []
    for folder in CODE_FOLDERS:
        for path in files(root, folder):
            if path.suffix not in CODE:
                continue
            for number, row in enumerate(lines(path), 1):
                for pattern, why in FORBIDDEN:
                    match = pattern.search(row)
                    if match:
                        found.append(finding(root, path, number, f"{match.group(0).strip()}: {why}"))
    return found


def file_length(root):
    found = []
    for folder in CODE_FOLDERS:
        for path in files(root, folder, ".h", ".c", ".cpp", ".py", ".sh", ""):
            count = len(lines(path))
            if count > MAX_LINES:
                found.append(finding(root, path, count, f"{count} lines, {MAX_LINES} at most: one idea a file"))
    return found


def locks_in_util(root):
    """Threads share published values and queues of util, nothing else."""
    found = []
    pattern = re.compile(r"\bstd::(recursive_|shared_|timed_)?mutex\b|\bstd::condition_variable\b|\bpthread_mutex_t\b")
    for path in files(root, "controller", ".h", ".cpp"):
        if path.relative_to(root).parts[1] == "util":
            continue
        for number, row in enumerate(without_comments(path), 1):
            if pattern.search(row):
                found.append(finding(root, path, number, "a lock outside util/"))
    return found


def light_headers(root):
    found = []
    for path in files(root, "controller", ".h"):
        for number, _, what in includes(path):
            if HEAVY.match(what):
                found.append(finding(root, path, number, f"{what} in a header: keep it in one .cpp"))
    return found


def headers_guarded(root):
    found = []
    for path in files(root, "controller", ".h"):
        if "#pragma once" not in lines(path)[:1]:
            found.append(finding(root, path, 1, "a header starts with #pragma once"))
    return found


RULES = [
    include_rules,
    one_way_to_drop,
    reasons_explained,
    abi_asserted,
    map_names,
    forbidden_words,
    file_length,
    locks_in_util,
    light_headers,
    headers_guarded,
]


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[3]).resolve()
    found = [text for rule in RULES for text in rule(root)]
    for text in found:
        print(text)
    print(f"house rules: {len(RULES)} rules, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

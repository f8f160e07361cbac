#!/usr/bin/env python3
"""The house rules hold for this source tree, and each of them finds a planted violation."""
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True
import house_rules as rules

ROOT = Path(__file__).resolve().parents[3]


class ThisTree(unittest.TestCase):
    """One test a rule, so that a failure names it."""


for rule in rules.RULES:

    def check(self, rule=rule):
        found = rule(ROOT)
        self.assertEqual(found, [], "\n" + "\n".join(found))

    setattr(ThisTree, f"test_{rule.__name__}", check)


class Planted(unittest.TestCase):
    """A small good tree, then one violation at a time."""

    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.root = Path(self.dir.name)
        self.put("controller/util/result.h", "#pragma once\n#include <string>\n")
        self.put("controller/derive/vips.h", '#pragma once\n#include "state/task.h"\n#include "util/result.h"\n')
        self.put("controller/state/task.h", '#pragma once\n#include "util/result.h"\n')
        self.put("controller/datapath/sync.cpp", '#include <bpf/bpf.h>\n#include "bpf/map.h"\n#include "lb_tc.skel.h"\n')
        self.put("controller/bpf/map.h", "#pragma once\n#include <bpf/libbpf.h>\n")
        self.put("controller/app/main.cpp", '#include "datapath/sync.h"\n')
        self.put("controller/cli/main.cpp", '#include "api/client.h"\n')
        self.put("bpf/lb.bpf.c", '#include <linux/bpf.h>\n#include "lib/drop.h"\n')
        self.put("bpf/lib/drop.h", "static int drop(int r) { return TC_ACT_SHOT; }\n")
        self.put("include/loadstar/abi/drop.h",
                 '#include <linux/types.h>\n#define LS_DROP_REASONS(X) \\\n\tX(NONE, 0, "none", "n") \\\n'
                 '\tX(FULL, 1, "full", "f")\nstruct ls_a {\n\t__u32 x;\n};\nLS_ABI_ASSERT(sizeof(struct ls_a) == 4);\n')
        self.put("docs/operate/troubleshoot.md", "### `full`\n\nIt is full.\n")

    def tearDown(self):
        self.dir.cleanup()

    def put(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def assert_found(self, rule, *places):
        got = [text.split(": ")[0] for text in rule(self.root)]
        self.assertEqual(got, list(places))

    def test_good_tree_has_no_findings(self):
        for rule in rules.RULES:
            self.assertEqual(rule(self.root), [], rule.__name__)

    def test_derive_sees_datapath(self):
        self.put("controller/derive/bad.cpp", '\n#include "datapath/sync.h"\n')
        self.assert_found(rules.include_rules, "controller/derive/bad.cpp:2")

    def test_angle_brackets_do_not_hide_an_include(self):
        self.put("controller/sources/bad.cpp", "#  include <datapath/sync.h>\n")
        self.assert_found(rules.include_rules, "controller/sources/bad.cpp:1")

    def test_path_upwards_does_not_hide_an_include(self):
        self.put("controller/dns/bad.cpp", '#include "../datapath/sync.h"\n')
        self.assert_found(rules.include_rules, "controller/dns/bad.cpp:1")

    def test_every_forbidden_edge_of_the_design(self):
        edges = [("util", "state/x.h"), ("bpf", "state/x.h"), ("bpf", "loadstar/abi/drop.h"), ("netlink", "bpf/x.h"),
                 ("netlink", "derive/x.h"), ("derive", "sources/x.h"), ("derive", "bpf/x.h"), ("derive", "app/x.h"),
                 ("sources", "datapath/x.h"), ("dns", "datapath/x.h"), ("cli", "state/x.h"), ("cli", "datapath/x.h"),
                 ("cli", "api/server.h"), ("state", "derive/x.h"), ("datapath", "api/x.h"), ("api", "datapath/x.h"),
                 ("derive", "lb_tc.skel.h")]
        for folder, what in edges:
            path = f"controller/{folder}/planted.cpp"
            self.put(path, f'#include "{what}"\n')
            with self.subTest(folder=folder, what=what):
                self.assert_found(rules.include_rules, f"{path}:1")
            (self.root / path).unlink()

    def test_libbpf_outside_its_wrappers(self):
        self.put("controller/sources/bad.cpp", "#include <bpf/libbpf.h>\n")
        self.assert_found(rules.include_rules, "controller/sources/bad.cpp:1")

    def test_folder_without_a_rule(self):
        self.put("controller/novel/a.cpp", "\n")
        self.assert_found(rules.include_rules, "controller/novel:1")

    def test_bpf_program_includes_the_controller(self):
        self.put("bpf/bad.bpf.c", '#include "util/result.h"\n#include <stdio.h>\n')
        self.assert_found(rules.include_rules, "bpf/bad.bpf.c:1", "bpf/bad.bpf.c:2")

    def test_abi_includes_more_than_types(self):
        self.put("include/loadstar/abi/bad.h", "#include <linux/bpf.h>\n")
        self.assert_found(rules.include_rules, "include/loadstar/abi/bad.h:1")

    def test_silent_drop(self):
        self.put("bpf/lib/nat.h", "/* never TC_ACT_SHOT here */\nreturn XDP_DROP;\nreturn TC_ACT_SHOT;\n")
        self.assert_found(rules.one_way_to_drop, "bpf/lib/nat.h:2", "bpf/lib/nat.h:3")

    def test_reason_without_entry_and_entry_without_reason(self):
        self.put("docs/operate/troubleshoot.md", "### `other`\n")
        self.assert_found(rules.reasons_explained, "include/loadstar/abi/drop.h:4", "docs/operate/troubleshoot.md:1")

    def test_no_troubleshooting_page_at_all(self):
        (self.root / "docs/operate/troubleshoot.md").unlink()
        self.assert_found(rules.reasons_explained, "include/loadstar/abi/drop.h:4")

    def test_struct_without_assertion(self):
        self.put("include/loadstar/abi/bad.h", "\nstruct ls_b {\n\t__u8 x;\n};\nLS_ABI_ASSERT(sizeof(struct ls_a) == 4);\n")
        self.assert_found(rules.abi_asserted, "include/loadstar/abi/bad.h:2")

    def test_map_names(self):
        self.put("bpf/lib/maps.h", 'LS_MAP_ARRAY(svc, 1, int, 0);\n} ls_far_too_long_a SEC(".maps");\n} ls_ok SEC(".maps");\n')
        self.assert_found(rules.map_names, "bpf/lib/maps.h:1", "bpf/lib/maps.h:2")

    def test_forbidden_words(self):
        self.put("scripts/bad", "# TO" + "DO later\np" + "kill haproxy\ncd /ho" + "me/me\n")
        self.assert_found(rules.forbidden_words, "scripts/bad:1", "scripts/bad:2", "scripts/bad:3")

    def test_long_file(self):
        self.put("controller/state/long.cpp", "\n" * 701)
        self.assert_found(rules.file_length, "controller/state/long.cpp:701")

    def test_lock_outside_util(self):
        self.put("controller/api/bad.h", "#pragma once\n// std::mutex is forbidden\nstd::mutex m;\n")
        self.assert_found(rules.locks_in_util, "controller/api/bad.h:3")

    def test_heavy_header(self):
        self.put("controller/api/bad.h", "#pragma once\n#include <boost/beast/http.hpp>\n")
        self.assert_found(rules.light_headers, "controller/api/bad.h:2")

    def test_header_without_guard(self):
        self.put("controller/api/bad.h", "int x;\n")
        self.assert_found(rules.headers_guarded, "controller/api/bad.h:1")


if __name__ == "__main__":
    unittest.main()

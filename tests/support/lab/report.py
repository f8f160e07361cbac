# SPDX-License-Identifier: Apache-2.0
"""How a network test runs its checks and tells their results: a line each, then `N passed, N failed, N skipped`."""
import argparse
import os
import subprocess
import sys
import time
import traceback

from .lab import find_binary
from .proc import CommandFailed

SKIPPED = 77  # ctest's SKIP_RETURN_CODE


class Failed(AssertionError):
    """What a check found wrong, in one line."""


def expect(condition, otherwise):
    if not condition:
        raise Failed(otherwise() if callable(otherwise) else otherwise)


class Skip(Exception):
    """A check that cannot be made here, and why."""


class Report:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self._begin = time.monotonic()

    def ok(self, name, note=""):
        self.passed += 1
        print(f"ok   {name}" + (f": {note}" if note else ""), flush=True)

    def fail(self, name, why):
        self.failed += 1
        print(f"FAIL {name}: {why}", flush=True)

    def skip(self, name, why):
        self.skipped += 1
        print(f"skip {name}: {why}", flush=True)

    def run(self, name, check, *args):
        """One check. What it returns, if anything, is printed beside its name: the measured value."""
        try:
            self.ok(name, check(*args) or "")
        except Skip as e:
            self.skip(name, e)
        except Failed as e:
            self.fail(name, e)
        except (CommandFailed, subprocess.TimeoutExpired, LookupError, OSError) as e:
            self.fail(name, f"{type(e).__name__}: {e}")
            if not isinstance(e, TimeoutError):
                traceback.print_exc()

    def close(self):
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped "
              f"in {time.monotonic() - self._begin:.1f} s")
        return 1 if self.failed else 0


def arguments(doc, add=None, daemon=True):
    """Parses the command line; ends the program as skipped where the test cannot run."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", help="build folder with the programs")
    parser.add_argument("--only", default="", help="checks whose name contains this text")
    if add:
        add(parser)
    args = parser.parse_args()
    if os.geteuid() != 0:
        print("skipped: network namespaces need root")
        sys.exit(SKIPPED)
    if daemon:
        try:
            find_binary("loadstard", args.tools)
        except FileNotFoundError as e:
            print(f"skipped: {e}")
            sys.exit(SKIPPED)
    return args

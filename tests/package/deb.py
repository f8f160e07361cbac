# SPDX-License-Identifier: Apache-2.0
"""The packages that the test package_make made, and how a test says what it found."""
import glob
import os
import subprocess
import sys
import time

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("LS_BUILD_DIR", os.path.join(SOURCE, "build/dev"))
DEBS = os.path.join(BUILD, "package/debs")
PACKAGES = ("loadstar", "loadstar-cni")


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def deb(package):
    found = glob.glob(os.path.join(DEBS, f"{package}_*.deb"))
    assert len(found) == 1, f"{package}: {found} below {DEBS}"
    return found[0]


def run(*command, code=0, **options):
    """Output of a command, both streams; fails on another exit code than `code`."""
    p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    assert p.returncode == code, f"{' '.join(command)}: exit code {p.returncode}, not {code}:\n{p.stdout}"
    return p.stdout


def run_checks(checks):
    """Each check is a function whose first line of documentation says what holds. Ends the process: 1 when one failed."""
    failed = 0
    for check in checks:
        begin = time.monotonic()
        what = check.__doc__.strip().splitlines()[0]
        try:
            note = check()
            print(f"ok    {what}{': ' + note if note else ''} ({time.monotonic() - begin:.1f} s)", flush=True)
        except (AssertionError, OSError, subprocess.SubprocessError) as e:
            failed += 1
            print(f"FAIL  {what}\n{e}", flush=True)
    sys.exit(1 if failed else 0)

"""Limits of time, memory, disk and processes; all processes end."""

import os
import sys
from pathlib import Path

import pytest

from gradlab.debugger.sandbox import limits
from gradlab.debugger.sandbox.limits import Limits, descendants, end_descendants, watch

MIB = 2**20
pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")


def watched(code, **changes):
    """Run Python code below a process that watches it; return the reason of its end."""
    get, put = os.pipe()
    keeper = os.fork()
    if not keeper:
        child = os.fork()
        if not child:
            os.execv(sys.executable, [sys.executable, "-c", code])
        values = {"seconds": 20, "memory": 200 * MIB, "disk": MIB, **changes}
        reason = watch(child, Limits(**values), lambda: 0 if "disk" not in changes else MIB)
        end_descendants(os.getpid())
        os.write(put, f"{reason} {[*descendants(os.getpid())]}".encode())
        os._exit(0)
    os.close(put)
    os.waitpid(keeper, 0)
    with os.fdopen(get) as stream:
        return stream.read()


def test_a_program_that_ends_returns_its_status():
    assert watched("raise SystemExit(3)") == f"{3 << 8} []"


def test_each_limit_ends_the_program(monkeypatch):
    assert watched("import time; time.sleep(60)", seconds=0.3) == "time []"
    assert watched("import time; x = b'1' * 400_000_000; time.sleep(60)") == "memory []"
    assert watched("import time; time.sleep(60)", disk=1000) == "disk []"
    monkeypatch.setattr(limits, "MOST_PROCESSES", 3)
    assert (
        watched("import os, time\nfor _ in range(3): os.fork()\ntime.sleep(60)") == "processes []"
    )


def test_the_kernel_limits_the_size_of_a_file(tmp_path):
    child = os.fork()
    if not child:
        Limits(1, 2**40, MIB).apply()
        try:
            (tmp_path / "large").write_bytes(bytes(2 * MIB))
        except OSError:
            os._exit(5)
        os._exit(6)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5


def test_every_limit_has_a_message():
    found = Limits(60, 2**31, 2**30)
    assert "60 s; --time" in found.explain("time")
    assert "2 GiB of memory; --memory" in found.explain("memory")
    assert "1 GiB; --disk" in found.explain("disk")
    assert "1000 processes" in found.explain("processes")

"""Every mechanism that works on this system protects the user's files."""

import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from gradlab.debugger.sandbox.mechanisms import MECHANISMS, NAMES

OLD = "trained for a week"
RUN = """
import os, sys
from pathlib import Path
from gradlab.debugger.sandbox.kernel import adopt_orphans
from gradlab.debugger.sandbox.limits import end_descendants
from gradlab.debugger.sandbox.mechanisms import MECHANISMS, Scope
adopt_orphans()
name, folder, working, code = sys.argv[1:]
mechanism = next(each for each in MECHANISMS if each.name == name)
scope = Scope(Path(folder), Path(working), False, 2**30)
if code == "works":
    sys.exit(not mechanism.works(scope))
mechanism.enter()
python = [sys.executable, "-c", code]
command = mechanism.command(scope)
bwrap = command[: command.index("--") + 1] if "--" in command else []
def main():
    os.execv((bwrap or python)[0], [*bwrap, *python])
child = mechanism.start(scope, main)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
end_descendants(os.getpid())
sys.exit(code)
"""


def run(name, folder, working, code):
    """Run Python code in a sandbox, in a new process; return its exit code and errors."""
    folder = folder / "1"  # the sandbox hides the folder above, which is of the session
    folder.mkdir(parents=True)
    command = [sys.executable, "-c", RUN, name, str(folder), str(working), code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def works(tmp_path_factory):
    """The mechanisms that work on this system."""
    top = tmp_path_factory.mktemp("works")
    return {name for name in NAMES if run(name, top / name, top, "works")[0] == 0}


@pytest.fixture(params=NAMES)
def name(request, works):
    if request.param not in works:
        pytest.skip(f"this system has no {request.param}")
    return request.param


@pytest.fixture
def user(tmp_path):
    """A working folder with a space and a letter outside ASCII, and a second folder."""
    working, other = tmp_path / "my prøject", tmp_path / "other"
    (working / "ckpt" / "deep").mkdir(parents=True)
    other.mkdir()
    for each in ("best.pt", "log.txt", "ckpt/1.pt", "ckpt/deep/3.pt", "mode.pt"):
        (working / each).write_text(OLD)
    (other / "notes.txt").write_text(OLD)
    (working / "latest.pt").symlink_to("best.pt")
    (working / "absolute.pt").symlink_to(working / "best.pt")
    return working


def state(folder):
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns, path.lstat().st_nlink)
        + ((path.read_bytes(),) if path.is_file() else ())
        for path in sorted(folder.rglob("*"))
        if not path.is_dir()
    }


INSIDE = """
import ctypes, mmap, os, shutil, subprocess
from pathlib import Path
assert Path("best.pt").read_text() == Path("../other/notes.txt").read_text()
with open("best.pt", "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
    memory[:4] = b"XXXX"
assert Path("latest.pt").read_text().startswith("XXXX")
Path("absolute.pt").write_text("new")
assert Path("best.pt").read_text() == "new"
os.truncate("log.txt", 1)
os.chmod("mode.pt", 0)
os.utime("mode.pt", (1, 1))
shutil.rmtree("ckpt")
subprocess.run(["rm", "best.pt"], check=True)
ctypes.CDLL(None).unlink(b"mode.pt")
Path("new.txt").write_text("new")
assert sorted(os.listdir()) == ["absolute.pt", "latest.pt", "log.txt", "new.txt"]
"""


def test_the_working_folder_does_not_change(name, user, tmp_path):
    before = state(user.parent)
    assert run(name, tmp_path / "layers", user, INSIDE) == (0, "")
    after = {k: v for k, v in state(user.parent).items() if "layers" not in k}
    assert after == before


OUTSIDE = """
import os, shutil
from pathlib import Path
path = Path("{other}")
for change in (
    lambda: os.chmod(path / "notes.txt", 0),
    lambda: os.utime(path / "notes.txt", (1, 1)),
    lambda: (path / "notes.txt").write_text("new"),
    lambda: os.truncate(path / "notes.txt", 0),
    lambda: os.rename(path / "notes.txt", path / "b.txt"),
    lambda: os.mkdir(path / "new"),
    lambda: shutil.rmtree(path),
):
    try:
        change()
    except OSError:
        pass
"""


def test_no_other_folder_changes(name, user, tmp_path):
    if name == "copy":
        pytest.skip("it states that it does not protect other folders")
    before = state(user.parent)
    code = OUTSIDE.format(other=user.parent / "other")
    assert run(name, tmp_path / "layers", user, code) == (0, "")
    assert {k: v for k, v in state(user.parent).items() if "layers" not in k} == before


def test_a_local_server_cannot_be_reached(name, user, tmp_path):
    if name in ("landlock", "copy"):
        pytest.skip("it states how far it restricts the network")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        code = f"import socket; socket.create_connection({address}, timeout=5)"
        found, errors = run(name, tmp_path / "layers", user, code)
    assert found != 0
    assert "ConnectionRefusedError" in errors


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["{mark}", "30"])
    os._exit(0)
time.sleep(0.2)
sys.exit(77)
"""


def test_processes_in_the_background_end(name, user, tmp_path):
    if not Path("/proc/self/task").exists():
        pytest.skip("this system does not list processes in files")
    mark = f"gradlab-test-{os.getpid()}-{name}"
    found, _ = run(name, tmp_path / "layers", user, DAEMON.format(mark=mark))
    assert found == 77
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            assert mark.encode() + b"\0" not in path.read_bytes()


def test_only_the_copy_leaves_files_unprotected():
    assert [each.name for each in MECHANISMS if not each.protects] == ["copy"]

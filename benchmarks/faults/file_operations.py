"""Runs file operations in every sandbox of `gradlab doctor`, and compares the user's files.

    python benchmarks/faults/file_operations.py                    all operations, all sandboxes
    python benchmarks/faults/file_operations.py mmap_write daemon  only these operations
    python benchmarks/faults/file_operations.py --sandbox overlay  only this sandbox

`operations.py` contains the operations. *Harmed*: a file of the user has another content, mode,
time, name or attribute afterwards, or is missing, or a new file exists. *Refused*: no file is
harmed, but the program ends with an error that it would not have without the sandbox.
"""

import argparse
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gradlab.debugger.sandbox.limits import GIB, Limits
from gradlab.debugger.sandbox.mechanisms import MECHANISMS, NAMES, Scope
from gradlab.debugger.sandbox.server import Server

HERE = Path(__file__).resolve().parent
OLD = "trained for a week"


def make_files(folder: Path) -> dict[str, str]:
    """Make the files of a user: a project, a home folder and other places.

    Args:
        folder: an empty folder.

    Returns:
        The environment that names them.
    """
    project, home, other = (folder / name for name in ("project", "home", "other"))
    for each in (project / "ckpt" / "deep", home / ".cache", other / "results", project / "repo"):
        each.mkdir(parents=True)
    names = ("best.pt", "log.txt", "ckpt/1.pt", "ckpt/2.pt", "ckpt/deep/3.pt", "hard0.pt")
    files = [project / name for name in names]
    files += [folder / "outside.txt", home / ".settings", home / ".cache" / "weights"]
    files += [other / "notes.txt", other / "results" / "table.csv", project / "train.py"]
    for each in files:
        each.write_text(OLD)
    (project / "config.json").write_text('{"epochs": 3}')
    (project / "data.npy").write_bytes(bytes(range(200)))
    (project / "latest.pt").symlink_to("best.pt")
    (project / "results").symlink_to(other / "results")
    os.link(project / "hard0.pt", project / "hard.pt")
    os.mkfifo(project / "pipe")
    with sqlite3.connect(project / "runs.db") as runs:
        runs.execute("create table runs (loss)")
        runs.execute("insert into runs values (0.5)")
    runs.close()
    repo = project / "repo"
    (repo / "model.py").write_text("committed")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], cwd=repo, check=True, capture_output=True)
    (repo / "model.py").write_text("not committed yet")
    (repo / "untracked.txt").write_text(OLD)
    shutil.copy(HERE / "operations.py", project / "operations.py")
    in_shm = Path("/dev/shm" if Path("/dev/shm").is_dir() else folder) / f"{folder.name}-shm"
    in_tmp = Path(tempfile.gettempdir()) / f"{folder.name}-file"
    for each in (in_shm, in_tmp):
        each.write_text(OLD)
    return {
        "HOME": str(home),
        "OTHER": str(other),
        "IN_TMP": str(in_tmp),
        "IN_SHM": str(in_shm),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def read_files(folder: Path, more: Sequence[Path]) -> dict[str, tuple[object, ...]]:
    """Return the state of all files: kind, mode, links, time, content, target and attributes."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [*sorted(folder.rglob("*")), *more]:
        if not path.is_symlink() and not path.exists():
            continue
        state = path.lstat()
        is_file = path.is_file() and not path.is_symlink()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if is_file else ""
        target = str(path.readlink()) if path.is_symlink() else ""
        attributes: list[str] = []
        with suppress(OSError, AttributeError):
            attributes = os.listxattr(path, follow_symlinks=False)
        flags = _flags(path) if is_file else 0
        times = (state.st_mtime_ns, state.st_nlink) if is_file else ()
        found[str(path)] = (state.st_mode, *times, content, target, *attributes, flags)
    return found


def _flags(path: Path) -> int:
    """Return the flags of `lsattr`, 0 where the file system has none."""
    import array
    import fcntl

    flags = array.array("l", [0])
    with suppress(OSError), path.open("rb") as file:
        fcntl.ioctl(file, 0x80086601, flags)
    return flags[0]


def measure(name: str, operation: str) -> dict[str, object]:
    """Run one operation in one sandbox.

    Args:
        name: the sandbox.
        operation: the operation.

    Returns:
        The changed files, and the error of the program if it had one.
    """
    folder = Path(tempfile.mkdtemp(prefix="files-"))
    scratch = Path(tempfile.mkdtemp(prefix="sandbox-"))
    try:
        environment = make_files(folder)
        os.environ |= environment
        if operation == "at_import":
            os.environ["AT_IMPORT"] = "1"
        more = [Path(environment["IN_TMP"]), Path(environment["IN_SHM"])]
        before = read_files(folder, more)
        project = folder / "project"
        os.chdir(project)
        mechanism = next(each for each in MECHANISMS if each.name == name)
        scope = Scope(scratch, project, False, GIB)
        server = Server(mechanism, scope, Limits(60, 8 * GIB, GIB))
        result = server.run({"target": f"operations.py:{operation}"})
        time.sleep(0.5 if operation in ("late_thread", "daemon") else 0)
        after = read_files(folder, more)
        changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
        return {"changed": sorted(changed), "error": result.get("error", "")}
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(scratch, ignore_errors=True)
        for key in ("IN_TMP", "IN_SHM"):
            Path(os.environ[key]).unlink(missing_ok=True)
        os.environ.pop("AT_IMPORT", None)


def measure_all(name: str, operations: Sequence[str]) -> dict[str, dict[str, object]]:
    """Run operations in one sandbox, in a new process; return nothing if it does not work here."""
    command = [sys.executable, __file__, "--in-sandbox", name, *operations]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def in_sandbox(name: str, operations: Sequence[str]) -> None:
    """Run operations in one sandbox, and print the results as JSON."""
    mechanism = next(each for each in MECHANISMS if each.name == name)
    test = Path(tempfile.mkdtemp(prefix="sandbox-"))
    scope = Scope(test, Path("/"), False, GIB)
    child = os.fork()
    if not child:
        os._exit(not mechanism.works(scope))
    works = os.waitpid(child, 0)[1] == 0
    shutil.rmtree(test, ignore_errors=True)
    if not works:
        print("{}")
        return
    mechanism.enter()
    from gradlab.debugger.sandbox.program import preload  # torch, once

    preload()

    results: dict[str, dict[str, object]] = {}
    for each in operations:
        began = time.monotonic()
        results[each] = measure(name, each)
        print(f"{name} {each} {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    print(json.dumps(results))


def cell(result: dict[str, object] | None) -> str:
    """Return a cell of the table."""
    if result is None:
        return ""
    return "**harmed**" if result["changed"] else "refused" if result["error"] else "safe"


def main() -> None:
    """Print the table and the counts."""
    if sys.argv[1:2] == ["--in-sandbox"]:
        in_sandbox(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("operations", nargs="*", help="names of operations, all by default")
    parser.add_argument("--sandbox", choices=NAMES, action="append", help="only this sandbox")
    parser.add_argument("--details", action="store_true", help="print changed files and errors")
    options = parser.parse_args()
    sys.path.insert(0, str(HERE))
    from operations import OPERATIONS

    names = options.sandbox or NAMES
    chosen = options.operations or [*OPERATIONS]
    results = {name: measure_all(name, chosen) for name in names}
    works = [name for name in names if results[name]]
    print(f"| operation | {' | '.join(works)} |\n|{'---|' * (len(works) + 1)}")
    for each in chosen:
        print(f"| {each} | {' | '.join(cell(results[name][each]) for name in works)} |")
    for word in ("**harmed**", "refused", "safe"):
        counts = [sum(cell(e) == word for e in results[name].values()) for name in works]
        print(f"| {word}, of {len(chosen)} | {' | '.join(map(str, counts))} |")
    if options.details:
        for name in works:
            for each, result in results[name].items():
                if result["changed"] or result["error"]:
                    print(f"{name} {each}: {result['changed']} {result['error']}")


if __name__ == "__main__":
    main()

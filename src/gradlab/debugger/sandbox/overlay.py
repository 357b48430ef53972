"""Builds the plan of `mounts` with the system calls of Linux."""

import os
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gradlab.debugger.sandbox import kernel
from gradlab.debugger.sandbox.mounts import Kind, Mount, PlanStep, is_below, plan

NODES = ("null", "zero", "full", "random", "urandom", "tty")
GPUS = ("nvidia*", "dri", "kfd", "dxg")  # patterns in /dev
OPTIONS = (
    "redirect_dir=on,volatile",  # folders can be renamed; the end does not wait for the disk
    "userxattr,volatile",  # the only way in a user namespace
    "userxattr",
)
LARGEST_COPY = 64 * 2**20  # bytes of a file; the sandbox shows larger files read-only


class OverlayTree:
    """A root folder that shows all files; the upper layers receive all changes.

    Args:
        root: an empty folder, which becomes the root.
        layers: an empty folder for the upper layers.
        hidden: a folder that the new root does not show. The layers are inside; the kernel lets
            nobody read or remove them there.
    """

    def __init__(self, root: Path, layers: Path, hidden: Path) -> None:
        self.root, self.layers, self.hidden = root, layers, hidden

    def build(self, mounts: Sequence[Mount], *, split: bool) -> None:
        """Mount everything.

        Args:
            mounts: the mounts before the sandbox makes its first one.
            split: whether the kernel refuses one overlay of a folder that contains mounts.

        Raises:
            OSError: the kernel refuses an overlay of the root folder.
        """
        for step in plan(mounts, split=split):
            try:
                self._take(step)
            except OSError:
                if step.path == "/":
                    raise
                with suppress(OSError):  # the folder below stays visible, in its overlay
                    kernel.bind(step.path, self._at(step.path), read_only=True, recursive=True)
        self._make_proc()
        with suppress(OSError):
            kernel.bind("/sys", self._at("/sys"), read_only=True, recursive=True)
        self._make_devices()

    def _at(self, path: str) -> str:
        return str(self.root) + (path if path != "/" else "")

    def _take(self, step: PlanStep) -> None:
        at = self._at(step.path)
        if step.kind is Kind.OVERLAY:
            if not Path(at).exists():
                Path(at).mkdir()
            self._overlay(step.path, at, self.layers)
        elif step.kind is Kind.READ_ONLY:
            kernel.bind(step.path, at, read_only=True, recursive=True)
        elif step.kind is Kind.LINK:
            Path(at).symlink_to(Path(step.path).readlink())
        elif step.kind is Kind.COPY:
            _copy(step.path, at)
        elif step.path == "/":
            folder = self._new_folder("root")
            kernel.bind(str(folder), at)
        else:
            Path(at).mkdir(exist_ok=True)
            _copy_attributes(Path(step.path), Path(at))

    def _overlay(self, lower: str, at: str, layers: Path) -> None:
        """Mount an overlay.

        Args:
            lower: the folder that must not change.
            at: the folder that shows the lower folder with all changes.
            layers: the folder for the changes.
        """
        number = len([*layers.iterdir()])
        upper, work = self._new_folder(f"{number}", layers), self._new_folder(f"{number}w", layers)
        _copy_attributes(Path(lower), upper)
        if is_below(str(self.hidden), lower):
            self._hide(Path(lower), upper)
        mount_overlay(Path(lower), upper, work, at)

    def _hide(self, lower: Path, upper: Path) -> None:
        *parents, name = self.hidden.relative_to(lower).parts
        for part in parents:
            lower, upper = lower / part, upper / part
            upper.mkdir()
            _copy_attributes(lower, upper)
        with suppress(OSError):  # an overlay reads this device as the absence of a file
            os.mknod(upper / name, stat.S_IFCHR, 0)

    def _new_folder(self, name: str, layers: Path | None = None) -> Path:
        folder = (layers or self.layers) / name
        folder.mkdir()
        return folder

    def _make_proc(self) -> None:
        """Show the processes of the new namespace; nothing in the folder can be written."""
        at = self._at("/proc")
        try:
            kernel.mount("proc", at, "proc", kernel.NO_SET_UID | kernel.NO_DEVICES)
            kernel.make_read_only(at)
        except OSError:  # in a container that hides parts of /proc
            kernel.bind("/proc", at, read_only=True, recursive=True)

    def _make_devices(self) -> None:
        """Make `/dev` with harmless devices and graphics cards only."""
        at = Path(self._at("/dev"))
        kernel.mount("tmpfs", str(at), "tmpfs", kernel.NO_SET_UID, "mode=755")
        found = [Path("/dev", name) for name in NODES]
        found += [path for pattern in GPUS for path in Path("/dev").glob(pattern)]
        for each in found:
            if each.is_dir():
                (at / each.name).mkdir()
            elif each.exists():
                (at / each.name).touch()
            else:
                continue
            kernel.bind(str(each), str(at / each.name), recursive=True)
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            (at / name).symlink_to(f"/proc/self/fd/{number}")
        (at / "fd").symlink_to("/proc/self/fd")
        (at / "shm").mkdir(mode=0o1777)
        with suppress(OSError):
            (at / "pts").mkdir()
            kernel.mount("devpts", str(at / "pts"), "devpts", 0, "newinstance,ptmxmode=0666")
            (at / "ptmx").symlink_to("pts/ptmx")
        self._share_memory(at / "shm")

    def _share_memory(self, at: Path) -> None:
        """Show `/dev/shm`; changes stay in memory, as programs expect there."""
        memory = self._new_folder("memory")
        kernel.mount("tmpfs", str(memory), "tmpfs", kernel.NO_SET_UID | kernel.NO_DEVICES)
        try:
            self._overlay("/dev/shm", str(at), memory)
        except OSError:
            kernel.bind(str(self._new_folder("empty", memory)), str(at))


def mount_overlay(lower: Path, upper: Path, work: Path, at: str) -> None:
    """Mount an overlay of three folders.

    Raises:
        OSError: the kernel refuses it.
    """
    opened = [os.open(each, os.O_PATH | os.O_CLOEXEC) for each in (lower, upper, work)]
    names = [f"/proc/self/fd/{each}" for each in opened]  # paths may contain separators
    folders = "lowerdir={},upperdir={},workdir={}".format(*names)
    flags = kernel.NO_SET_UID | kernel.NO_DEVICES
    problem = OSError("no options")
    try:
        for options in OPTIONS:
            try:
                kernel.mount("gradlab", at, "overlay", flags, f"{folders},{options}")
                return
            except OSError as error:
                problem = error
        raise problem
    finally:
        for each in opened:
            os.close(each)


def _copy(path: str, at: str) -> None:
    """Copy a small file; show another file read-only."""
    if Path(path).is_file() and Path(path).stat().st_size <= LARGEST_COPY:
        with suppress(PermissionError):  # a file that this user cannot read
            shutil.copy2(path, at)
            return
    Path(at).touch()
    kernel.bind(path, at, read_only=True)


def _copy_attributes(source: Path, target: Path) -> None:
    """Copy mode, owner and times of a folder, as far as this user may."""
    state = source.stat()
    with suppress(OSError):
        os.chown(target, state.st_uid, state.st_gid)
    with suppress(OSError):
        target.chmod(stat.S_IMODE(state.st_mode))
    with suppress(OSError):
        os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns))


def supports_layers(folder: Path) -> bool:
    """Return whether the file system of an empty folder can store upper layers."""
    names = [folder / name for name in ("lower", "upper", "work", "merged")]
    for each in names:
        each.mkdir()
    try:
        mount_overlay(names[0], names[1], names[2], str(names[3]))
        (names[3] / "file").touch()
    except OSError:
        return False
    return True

"""System calls of Linux that Python 3.11 lacks: namespaces, mounts, capabilities, Landlock.

Each function raises OSError if the kernel refuses. On other systems every function raises OSError.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

NEWNS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
READ_ONLY, NO_SET_UID, NO_DEVICES = 0x1, 0x2, 0x4  # flags of a mount
BIND, RECURSIVE, PRIVATE = 0x1000, 0x4000, 0x40000
_DETACH = 2
_MOUNT_SETATTR, _LANDLOCK = 442, 444  # numbers of system calls, equal on all processors
_AT_RECURSIVE, _O_PATH = 0x8000, 0x200000

_DEATH_SIGNAL, _SET_SECCOMP, _DROP_BOUND, _SUBREAPER, _NO_NEW_PRIVILEGES = 1, 22, 24, 36, 38
# The capabilities that a root user's program has over files: chown, chmod, and access.
_OF_FILES = frozenset({0, 1, 3, 4, 5, 6, 7})
_CAPABILITY_VERSION, _MOST_CAPABILITIES = 0x20080522, 64

_libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None


def is_linux() -> bool:
    """Return whether the system is Linux."""
    return sys.platform == "linux"


def _call(name: str, *arguments: object) -> int:
    if not is_linux() or not hasattr(_libc, name):
        raise OSError(errno.ENOSYS, f"the system has no {name}")
    result = getattr(_libc, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def _number(value: int) -> ctypes.c_ulong:
    return ctypes.c_ulong(value)


def unshare(flags: int) -> None:
    """Move this process into new namespaces."""
    _call("unshare", ctypes.c_int(flags))


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount a file system.

    Args:
        source: the device, or the folder to bind.
        target: the folder.
        kind: the file system, such as `overlay`; empty for a bind.
        flags: the flags of the mount.
        options: further options, separated by commas.
    """
    _call(
        "mount",
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() or None,
        _number(flags),
        os.fsencode(options) or None,
    )


def bind(source: str, target: str, *, read_only: bool = False, recursive: bool = False) -> None:
    """Show a file or folder at a second place.

    Args:
        source: the file or folder.
        target: an existing file or folder.
        read_only: whether to refuse writes at the new place.
        recursive: whether to include the mounts below the folder.
    """
    mount(source, target, flags=BIND | (RECURSIVE if recursive else 0))
    if read_only:
        make_read_only(target, recursive=recursive)


def make_read_only(target: str, *, recursive: bool = False) -> None:
    """Refuse writes below a mount, and with `recursive` below the mounts inside."""
    attributes = struct.pack("=QQQQ", READ_ONLY | NO_SET_UID, 0, 0, 0)
    _call(
        "syscall",
        ctypes.c_long(_MOUNT_SETATTR),
        ctypes.c_int(-100),
        os.fsencode(target),
        ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
        attributes,
        ctypes.c_size_t(len(attributes)),
    )


def change_root(new: str) -> None:
    """Make a mount the root of this process, and detach all other mounts."""
    os.chdir(new)
    _call("pivot_root", b".", b".")
    _call("umount2", b".", ctypes.c_int(_DETACH))
    os.chdir("/")


def map_user(user: int, group: int) -> None:
    """Give this process its former user and group in a new user namespace."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def start_loopback() -> None:
    """Start the loopback device of a new network namespace: programs use localhost."""
    import fcntl
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        request = struct.pack("16sH14x", b"lo", 1)  # IFF_UP
        fcntl.ioctl(device, 0x8914, request)  # SIOCSIFFLAGS


def die_with_parent(signal: int) -> None:
    """Send this process a signal when its parent ends."""
    if is_linux():
        _prctl(_DEATH_SIGNAL, signal)


def adopt_orphans() -> None:
    """Make this process the parent of all descendants whose parents end."""
    if is_linux():
        _prctl(_SUBREAPER, 1)


def forbid_new_privileges() -> None:
    """Make programs such as sudo powerless in this process and its children."""
    _prctl(_NO_NEW_PRIVILEGES, 1)


def drop_capabilities(*, keep_files: bool) -> None:
    """Give up all capabilities.

    Args:
        keep_files: whether to keep the access of a root user to the files of others.
    """
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    held = ctypes.create_string_buffer(24)
    _call("capget", header, held)
    words = struct.unpack("=6I", held.raw)
    wanted = sum(1 << each for each in _OF_FILES) if keep_files else 0
    low, effective = wanted & words[1], wanted & words[0]
    for each in range(_MOST_CAPABILITIES):
        if not 1 << each & low:
            try:
                _prctl(_DROP_BOUND, each)
            except OSError as error:
                if error.errno == errno.EINVAL:  # above the last capability of this kernel
                    break
                if error.errno != errno.EPERM:
                    raise
    _call("capset", header, struct.pack("=6I", effective, low, 0, 0, 0, 0))


def _prctl(option: int, value: int, pointer: object = None) -> None:
    _call("prctl", ctypes.c_int(option), _number(value), pointer, _number(0), _number(0))


# Landlock: https://docs.kernel.org/userspace-api/landlock.html

_WRITE, _REMOVE, _MAKE = 1 << 1, 1 << 4 | 1 << 5, 0b1111111 << 6
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_TCP, _SCOPES = 0b11, 0b11
WRITES = _WRITE | _REMOVE | _MAKE | _REFER | _TRUNCATE  # accesses that change files
WRITES_OF_A_FILE = _WRITE | _TRUNCATE
LEAST_LANDLOCK = 3  # the first version that can refuse to truncate files
TCP_LANDLOCK, SCOPE_LANDLOCK = 4, 6  # the first versions with network rules and with scopes


def landlock_version() -> int:
    """Return the version of Landlock, 0 if the kernel lacks it."""
    try:
        return _call("syscall", ctypes.c_long(_LANDLOCK), None, ctypes.c_size_t(0), _number(1))
    except OSError:
        return 0


def landlock(folders: Iterable[str], files: Iterable[str], *, network: bool) -> None:
    """Refuse all writes of this process and its children, except below some folders.

    Args:
        folders: the folders below which all files may change.
        files: the files and devices that may be written.
        network: whether TCP connections are allowed.
    """
    version = landlock_version()
    tcp = 0 if network or version < TCP_LANDLOCK else _TCP
    scopes = 0 if version < SCOPE_LANDLOCK else _SCOPES
    rules = struct.pack("=QQQ", WRITES, tcp, scopes)
    size = 24 if scopes else 16 if version >= TCP_LANDLOCK else 8
    ruleset = _call("syscall", ctypes.c_long(_LANDLOCK), rules, ctypes.c_size_t(size), _number(0))
    allowed = [(each, WRITES) for each in folders] + [(each, WRITES_OF_A_FILE) for each in files]
    for path, access in allowed:
        opened = os.open(path, _O_PATH | os.O_CLOEXEC)
        rule = struct.pack("=Qi", access, opened)
        _call(
            "syscall", ctypes.c_long(_LANDLOCK + 1), ctypes.c_int(ruleset), ctypes.c_int(1), rule,
            _number(0),
        )  # fmt: skip
        os.close(opened)
    forbid_new_privileges()
    _call("syscall", ctypes.c_long(_LANDLOCK + 2), ctypes.c_int(ruleset), _number(0))
    os.close(ruleset)


# Landlock cannot refuse changes of permissions, owners, times and attributes. A filter of system
# calls makes them succeed without an effect, so that programs that copy files go on.

_IO_URING_SETUP = 425
_ATTRIBUTE_CALLS = {
    # chmod fchmod chown fchown lchown utime utimes futimesat fchownat fchmodat utimensat,
    # and the six calls that set or remove extended attributes; then fchmodat2, setxattrat,
    # removexattrat and file_setattr
    "x86_64": (
        0xC000003E,
        (90, 91, 92, 93, 94, 132, 235, 261, 260, 268, 280, 188, 189, 190, 197, 198, 199, 452, 463,
         466, 469),
    ),
    "aarch64": (0xC00000B7, (52, 53, 54, 55, 88, 5, 6, 7, 14, 15, 16, 452, 463, 466, 469)),
}  # fmt: skip
_IOCTL = {"x86_64": 16, "aarch64": 29}
_SET_FLAGS = 0x40086602, 0x401C5820  # chattr, by two requests
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_X32 = 0x40000000  # a second table of system calls of x86_64, which nothing uses


def can_filter_attributes() -> bool:
    """Return whether `filter_attributes` knows the system calls of this processor."""
    return is_linux() and platform.machine() in _ATTRIBUTE_CALLS and sys.maxsize > 2**32


def filter_attributes() -> None:
    """Make changes of permissions, owners, times and attributes of files ineffective."""
    machine = platform.machine()
    architecture, calls = _ATTRIBUTE_CALLS[machine]
    steps = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _ERROR | errno.ENOSYS),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _ERROR | errno.ENOSYS),
        (_EQUAL, 0, 1, _IO_URING_SETUP),
        (_RETURN, 0, 0, _ERROR | errno.ENOSYS),
    ]
    for call in calls:
        steps += [(_EQUAL, 0, 1, call), (_RETURN, 0, 0, _ERROR)]
    steps += [(_EQUAL, 0, 5, _IOCTL[machine]), (_LOAD, 0, 0, 24)]
    for request in _SET_FLAGS:
        steps += [(_EQUAL, 0, 1, request), (_RETURN, 0, 0, _ERROR)]
    steps += [(_RETURN, 0, 0, _ALLOW)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in steps))
    header = struct.pack("@HP", len(steps), ctypes.addressof(program))
    forbid_new_privileges()
    _prctl(_SET_SECCOMP, 2, header)

"""The plan of overlays: visible mounts, folders that need several overlays, special folders."""

from gradlab.debugger.sandbox.mounts import Kind, Mount, parse, plan, visible

TABLE = rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
28 27 0:30 / /mnt/a\040disk ro,nosuid - xfs /dev/vdb rw
29 27 0:31 / /mnt/locked rw - nfs server:/x ro
30 27 0:32 / /mnt/over rw - tmpfs a rw
31 30 0:33 / /mnt/over rw - tmpfs b rw
32 30 0:34 / /mnt/over/lost rw - tmpfs c rw
33 31 0:35 / /mnt/over/found rw - tmpfs d rw
34 27 0:36 / /opt/x/y rw - tmpfs e rw
35 27 0:37 / /opt/x rw - tmpfs f rw
"""


def test_the_table_is_parsed():
    mounts = {each.number: each for each in parse(TABLE)}
    assert mounts[28] == Mount(28, 27, "/mnt/a disk", "xfs", True)
    assert mounts[29].read_only
    assert not mounts[27].read_only


def test_hidden_mounts_are_left_out():
    found = visible([*parse(TABLE)])
    assert [each.number for each in found if each.path.startswith(("/mnt/o", "/opt"))] == [
        35,
        31,
        33,
    ]
    paths = [each.path for each in found]
    assert paths[0] == "/"
    assert paths.index("/mnt/over") < paths.index("/mnt/over/found")


def steps(mounts, split):
    return [(each.kind, each.path) for each in plan(mounts, split=split)]


def test_one_overlay_for_each_mount(tmp_path):
    inner, locked = tmp_path / "inner", tmp_path / "locked"
    for each in (inner, locked):
        each.mkdir()
    mounts = [
        Mount(1, 0, str(tmp_path), "ext4", False),
        Mount(2, 1, str(inner), "tmpfs", False),
        Mount(3, 1, str(locked), "ext4", True),
        Mount(4, 1, "/proc/sys", "proc", False),
    ]
    assert steps(mounts, split=False) == [
        (Kind.OVERLAY, str(tmp_path)),
        (Kind.OVERLAY, str(inner)),
        (Kind.READ_ONLY, str(locked)),
    ]


def test_a_folder_with_mounts_is_split(tmp_path):
    for name in ("disk", "data/disk", "plain"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    top = str(tmp_path)
    mounts = [
        Mount(1, 0, top, "ext4", False),
        Mount(2, 1, f"{top}/disk", "ext4", False),
        Mount(3, 1, f"{top}/data/disk", "ext4", False),
    ]
    assert steps(mounts, split=True) == [
        (Kind.FOLDER, top),
        (Kind.FOLDER, f"{top}/data"),
        (Kind.FOLDER, f"{top}/data/disk"),
        (Kind.FOLDER, f"{top}/disk"),
        (Kind.COPY, f"{top}/file"),
        (Kind.LINK, f"{top}/link"),
        (Kind.OVERLAY, f"{top}/plain"),
        (Kind.OVERLAY, f"{top}/disk"),
        (Kind.OVERLAY, f"{top}/data/disk"),
    ]

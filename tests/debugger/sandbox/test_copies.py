"""The copy of the working folder, and the removal of temporary folders."""

import os
import stat

import pytest

from gradlab.debugger.sandbox.copies import mirror, remove_tree
from gradlab.errors import ExaminationError


def test_a_copy_has_the_files_links_and_modes(tmp_path):
    folder, session = tmp_path / "project", tmp_path / "session"
    (folder / "ckpt").mkdir(parents=True)
    session.mkdir()
    (tmp_path / "data.csv").write_text("data")
    (folder / "ckpt" / "1.pt").write_text("weights")
    (folder / "run.sh").touch(0o755)
    os.utime(folder / "run.sh", (1, 1))
    (folder / "near").symlink_to("ckpt/1.pt")
    (folder / "absolute").symlink_to(folder / "ckpt")
    (folder / "far").symlink_to("/etc/hostname")
    os.mkfifo(folder / "pipe")
    copy = mirror(folder, session / "root", 1000, session)
    assert copy == session / "root" / folder.relative_to("/")
    assert (copy / "ckpt" / "1.pt").read_text() == (copy / "near").read_text() == "weights"
    assert (copy / "absolute").readlink() == copy / "ckpt"
    assert str((copy / "far").readlink()) == "/etc/hostname"
    assert stat.S_IMODE((copy / "run.sh").stat().st_mode) == 0o755
    assert (copy / "run.sh").stat().st_mtime == 1
    assert (copy / ".." / "data.csv").read_text() == "data"
    (copy / "near").write_text("new")
    assert (folder / "ckpt" / "1.pt").read_text() == "weights"


def test_the_copy_leaves_out_the_temporary_folder(tmp_path):
    session = tmp_path / "gradlab-doctor-1"
    session.mkdir()
    (tmp_path / "train.py").touch()
    copy = mirror(tmp_path, session / "root", 1000, session)
    assert os.listdir(copy) == ["train.py"]


def test_a_large_folder_is_an_error(tmp_path):
    (tmp_path / "data.bin").write_bytes(bytes(2000))
    with pytest.raises(ExaminationError, match="--disk GIB"):
        mirror(tmp_path, tmp_path / "session" / "root", 1000, tmp_path / "session")


def test_folders_that_nobody_can_read_are_removed(tmp_path):
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    (tmp_path / "a" / "link").symlink_to(tmp_path)
    (tmp_path / "a" / "b").chmod(0)
    remove_tree(tmp_path / "a")
    assert os.listdir(tmp_path) == []

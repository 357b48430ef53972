"""Files that a training overwrites are restored, byte by byte."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from gradlab.debugger.sandbox.isolation import restored_files


def by_open(path):
    with open(path, "w") as file:
        file.write("new")


def by_path(path):
    path.write_bytes(b"new")


def by_appending(path):
    with path.open("a") as file:
        file.write("new")


def by_torch(path):
    torch.save({"w": torch.ones(2)}, path)


def by_replacing(path):
    torch.save({"w": torch.ones(2)}, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


def by_removing(path):
    path.unlink()


def by_moving_away(path):
    path.rename(path.with_suffix(".old"))


WAYS = (by_open, by_path, by_appending, by_torch, by_replacing, by_removing, by_moving_away)


@pytest.mark.parametrize("write", WAYS, ids=lambda each: each.__name__)
def test_a_file_is_restored(write, tmp_path):
    path = tmp_path / "best.pt"
    path.write_bytes(b"trained for a week")
    write(path.with_suffix(".pt"))
    assert not path.exists() or path.read_bytes() != b"trained for a week"
    path.write_bytes(b"trained for a week")
    with suppress(KeyError), restored_files():
        write(path)
        raise KeyError
    assert path.read_bytes() == b"trained for a week"


def test_a_relative_path_is_restored_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    Path("log.txt").write_text("old")
    with restored_files():
        by_open("log.txt")
        os.chdir("other")
        by_open("log.txt")
    assert (tmp_path / "log.txt").read_text() == "old"
    assert (tmp_path / "other" / "log.txt").read_text() == "new"  # a new file


def test_new_files_can_be_read_inside(tmp_path):
    before = open, Path.open, torch.save, os.replace
    with restored_files():
        torch.save({"w": torch.ones(2)}, tmp_path / "new.pt")
        assert torch.load(tmp_path / "new.pt")["w"].tolist() == [1, 1]
    assert (tmp_path / "new.pt").exists()
    assert (open, Path.open, torch.save, os.replace) == before

"""A folder of pages is replaced as a whole, also for a reader in between and after a kill."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gradlab.errors import StoreError
from gradlab.pages import output_folder
from gradlab.pages.output_folder import new_folder


def write(folder, text):
    with new_folder(folder) as new:
        (new / "index.html").write_text(text)
        (new / "figure.svg").write_text(text)


def test_a_reader_always_finds_a_whole_folder(tmp_path):
    folder, ended, seen = tmp_path / "report", threading.Event(), set()
    write(folder, "0")

    def read():
        while not ended.is_set():
            handle = os.open(folder, os.O_RDONLY)  # as a browser that opened the page
            names = ("index.html", "figure.svg")
            for name in names:
                try:
                    file = os.open(name, os.O_RDONLY, dir_fd=handle)
                except FileNotFoundError:  # the old folder is being removed
                    break
                os.close(file)
            os.close(handle)
            seen.add((folder / "index.html").exists())

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(200):
        write(folder, str(i))
    ended.set()
    reader.join()
    assert seen == {True}


@pytest.mark.parametrize("atomic", [True, False])
def test_the_folder_is_replaced_and_nothing_else_is_left(tmp_path, monkeypatch, atomic):
    if not atomic:
        monkeypatch.setattr(output_folder, "_swap", lambda *folders: False)
    write(tmp_path / "report", "old")
    write(tmp_path / "report", "new")
    assert (tmp_path / "report" / "index.html").read_text() == "new"
    assert os.listdir(tmp_path) == ["report"]


KILLED = """
import os, sys
from pathlib import Path
from gradlab.pages import output_folder
def die(*_): os.kill(os.getpid(), 9)
if sys.argv[2] == "between":
    output_folder._swap = lambda *folders: False
    rename = Path.rename
    Path.rename = lambda path, to: rename(path, to) and die()
with output_folder.new_folder(Path(sys.argv[1])) as new:
    (new / "index.html").write_text("new")
    if sys.argv[2] == "writing": die()
"""


@pytest.mark.parametrize("moment", ["writing", "between"])
def test_the_next_report_removes_what_a_killed_one_left(tmp_path, moment):
    folder = tmp_path / "report"
    write(folder, "old")
    (tmp_path / ".report.1.tmp.mine").write_text("of the user")
    subprocess.run([sys.executable, "-c", KILLED, str(folder), moment], check=False)
    assert len(os.listdir(tmp_path)) == 3
    with pytest.raises(ZeroDivisionError), new_folder(folder):
        raise ZeroDivisionError  # a report that fails
    assert sorted(os.listdir(tmp_path)) == [".report.1.tmp.mine", "report"]
    assert (folder / "index.html").read_text() == "old"


def test_a_file_of_the_user_is_never_replaced(tmp_path):
    write(tmp_path / "report", "old")
    (tmp_path / "report" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"notes\.txt was not written by gradlab"):
        write(tmp_path / "report", "new")
    assert (tmp_path / "report" / "index.html").read_text() == "old"
    assert Path(tmp_path / "report" / "notes.txt").read_text() == "mine"

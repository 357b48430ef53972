"""The owner of a folder: one at a time, gone after a kill, not confused by damaged files."""

import json
import os
import subprocess
import sys
import time

import pytest

from gradlab.cli.main import main
from gradlab.errors import StoreError
from gradlab.results import owner as owner_module
from gradlab.results.load import find
from gradlab.results.owner import NAME, SILENT, Owner, living_owner
from gradlab.results.parquet import Table
from gradlab.results.resume import is_free


def test_a_second_owner_is_refused_and_the_first_is_named(tmp_path):
    first, second = Owner(tmp_path), Owner(tmp_path)
    first.acquire()
    first.acquire()
    with pytest.raises(StoreError, match=f"is being written by process {os.getpid()} on"):
        second.acquire()
    second.release()  # it owns nothing, so it removes nothing
    assert living_owner(tmp_path)
    assert not is_free(tmp_path, resume=True)
    first.release()
    second.acquire()
    second.release()
    assert os.listdir(tmp_path) == []


CHILD = """
import sys, time
from pathlib import Path
from gradlab.results.owner import Owner
Owner(Path(sys.argv[1])).acquire()
print("owned", flush=True)
time.sleep(60)
"""


def test_the_folder_of_a_killed_process_is_free(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "owned\n"
        assert living_owner(tmp_path) == f"process {child.pid} on {os.uname().nodename}"
        child.kill()
    assert living_owner(tmp_path) is None
    Owner(tmp_path).acquire()


def write(folder, **changes):
    """Write the file of an owner that is this process, with changes."""
    owner = Owner(folder)
    owner.acquire()
    content = json.loads((folder / NAME).read_text()) | changes
    (folder / NAME).write_text(json.dumps(content))


def test_another_process_with_the_same_number_is_not_the_owner(tmp_path):
    write(tmp_path, start="123")
    assert living_owner(tmp_path) is None
    Owner(tmp_path).acquire()


def test_a_machine_of_the_same_name_and_a_restart_are_distinguished(tmp_path, monkeypatch):
    write(tmp_path, boot="another")
    assert living_owner(tmp_path)  # it wrote just now, after this machine has started
    monkeypatch.setattr(owner_module, "_uptime", lambda: 0.0)
    assert living_owner(tmp_path) is None


def test_an_owner_on_another_host_is_alive_while_it_writes(tmp_path):
    write(tmp_path, host="another")
    assert living_owner(tmp_path) == f"process {os.getpid()} on another"
    silent = time.time() - SILENT - 1
    os.utime(tmp_path / NAME, (silent, silent))
    assert living_owner(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"pid": "x"}', "[" * 100_000, "\x00"])
def test_a_damaged_file_names_no_owner(tmp_path, content):
    (tmp_path / NAME).write_text(content)
    owner = Owner(tmp_path)
    owner.acquire()
    assert living_owner(tmp_path)
    owner.release()
    assert os.listdir(tmp_path) == []


def test_a_pipe_or_a_link_does_not_block_or_lead_away(tmp_path):
    target = tmp_path / "target"
    target.write_text("precious")
    for k, make in enumerate((os.mkfifo, lambda path: os.symlink(target, path))):
        folder = tmp_path / str(k)
        folder.mkdir()
        make(folder / NAME)
        Owner(folder).acquire()
        assert living_owner(folder)
    assert target.read_text() == "precious"


def test_a_folder_in_place_of_the_file_is_named(tmp_path):
    (tmp_path / NAME).mkdir()
    with pytest.raises(StoreError, match=f"{NAME} is a folder; remove it"):
        Owner(tmp_path).acquire()


def test_a_forked_process_does_not_remove_the_file(tmp_path):
    owner = Owner(tmp_path)
    owner.acquire()
    pid = os.fork()
    if pid == 0:
        owner.release()
        os._exit(0)
    os.waitpid(pid, 0)
    assert living_owner(tmp_path)


def test_of_many_processes_one_becomes_the_owner(tmp_path):
    (tmp_path / NAME).write_text("{}")  # of an owner that is gone
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD.replace("sleep(60)", "sleep(3)"), str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(5)
    ]
    owned = [child.communicate()[0] for child in children]
    assert owned.count("owned\n") == 1


def test_an_owner_that_lost_the_folder_does_not_write(tmp_path):
    owner = Owner(tmp_path)
    owner.acquire()
    owner.touch()
    (tmp_path / NAME).write_text('{"pid": 7, "host": "another", "record": 3}')
    with pytest.raises(StoreError, match="is being written by process 7 on another"):
        owner.touch()
    owner.release()
    assert (tmp_path / NAME).exists()


def test_a_removed_file_is_written_again(tmp_path):
    owner = Owner(tmp_path)
    owner.acquire()
    (tmp_path / NAME).unlink()
    owner.touch()
    assert living_owner(tmp_path)
    owner.release()
    assert os.listdir(tmp_path) == []


def test_a_process_of_another_container_is_judged_by_its_last_write(tmp_path):
    write(tmp_path, namespace="pid:[1]", start="99 of another container")
    assert living_owner(tmp_path)
    silent = time.time() - SILENT - 1
    os.utime(tmp_path / NAME, (silent, silent))
    assert living_owner(tmp_path) is None


@pytest.mark.parametrize("launcher", ["alone", "basic", "fused"])
def test_a_run_stops_if_another_process_takes_its_folder(tmp_path, monkeypatch, capsys, launcher):
    """The other process stands for one on another host, to which this one seemed silent."""
    other = '{"pid": 7, "host": "another", "record": 3}'
    folder = tmp_path / ("out" if launcher == "alone" else "out/1")
    flush = Table.flush

    def taken(table, waits=()):
        flush(table, waits)
        if table.path.parent == folder and len(table.table()) > 2:
            (folder / NAME).write_text(other)
            (folder / "steps.parquet").write_text("the other's")

    monkeypatch.setattr(Table, "flush", taken)
    words = [f"{key}.dir={tmp_path / 'out'}" for key in ("hydra.run", "hydra.sweep")]
    sweep = [] if launcher == "alone" else ["-m", "seed=0,1,2", f"hydra/launcher={launcher}"]
    code = main(["run", *sweep, *words, "tracking=none", "model.depth=2", "train.steps=9"])
    assert code == (1 if sweep else 2)
    printed = capsys.readouterr()
    assert "is being written by process 7 on another" in printed.out + printed.err
    assert "Traceback" not in printed.err
    assert (folder / NAME).read_text() == other
    assert (folder / "steps.parquet").read_text() == "the other's"
    assert not (folder / "traceback.txt").exists()
    if sweep:
        others = [find(tmp_path / "out" / name).runs[0].info["status"] for name in "02"]
        assert others == ["completed"] * 2

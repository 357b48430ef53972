"""Readers that go away, full disks and missing homes, as the shell shows them."""

import os
import subprocess
import sys

import pytest

GRADLAB = f"{sys.executable} -m gradlab"
SHORT = "model.depth=2 model.width=8 train.steps=4 record.every=2 hydra.run.dir=out"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run in `out`."""
    folder = tmp_path_factory.mktemp("runs")
    shell(folder, f"{GRADLAB} run tracking=none {SHORT}")
    return folder


def shell(folder, command: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
    given = {name: v for name, v in {**os.environ, **environment}.items() if v is not None}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=given, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", ["show out", "run --cfg all", "run --help"])
@pytest.mark.parametrize("reader", ["true", "head -1"])
def test_a_reader_that_goes_away_is_no_error(folder, command, reader):
    done = shell(folder, f"{GRADLAB} {command} | {reader}; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["show out", "report out", "run --cfg job", "--help"])
def test_a_full_disk_under_the_output_is_one_line(folder, command):
    done = shell(folder, f"{GRADLAB} {command} >/dev/full")
    assert done.returncode == 2
    assert done.stderr == "gradlab: the output cannot be written: No space left on device\n"


def test_a_closed_output_is_no_error(folder):
    done = shell(folder, f"{GRADLAB} --help >&-")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("home", ["/proc/none", None])
def test_without_a_home_a_run_is_tracked_and_silent(tmp_path, home):
    done = shell(tmp_path, f"{GRADLAB} run {SHORT}", HOME=home)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "healthy\nout\n"
    assert list(tmp_path.glob("out/wandb/offline-run-*/files/media/table/*.json"))


def test_without_a_home_a_report_is_silent(folder):
    done = shell(folder, f"{GRADLAB} report out", HOME="/proc/none", MPLCONFIGDIR=None)
    assert (done.returncode, done.stderr) == (0, "")

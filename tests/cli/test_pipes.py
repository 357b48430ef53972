"""Commands in a shell: the reader of a pipe exits, the disk is full, the home folder is missing."""

import os
import re
import subprocess
import sys

import pytest

GRADLAB = f"{sys.executable} -m gradlab"
PROGRESS = re.compile(r"step \d of 4, loss [\d.]+")
SHORT = "model.depth=2 model.width=8 train.steps=4 record.every=2 hydra.run.dir=out"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run in `out`."""
    folder = tmp_path_factory.mktemp("runs")
    shell(folder, f"{GRADLAB} run tracking=none {SHORT}")
    return folder


def shell(folder, command: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
    variables = {name: v for name, v in {**os.environ, **environment}.items() if v is not None}
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", ["show out", "run --cfg all", "run --help"])
@pytest.mark.parametrize("reader", ["true", "head -1"])
def test_a_reader_that_exits_early_causes_no_error(folder, command, reader):
    done = shell(folder, f"{GRADLAB} {command} | {reader}; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["show out", "report out", "run --cfg job", "--help"])
def test_output_to_a_full_disk_gives_a_one_line_error(folder, command):
    done = shell(folder, f"{GRADLAB} {command} >/dev/full")
    assert done.returncode == 2
    assert done.stderr == "gradlab: the output cannot be written: No space left on device\n"


def test_a_closed_output_causes_no_error(folder):
    done = shell(folder, f"{GRADLAB} --help >&-")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("home", ["/proc/none", None])
def test_without_a_home_a_run_is_tracked_and_silent(tmp_path, home):
    done = shell(tmp_path, f"{GRADLAB} run {SHORT}", HOME=home)
    assert (done.returncode, done.stderr) == (0, "")
    # Only a slow machine prints progress: a run is silent for its first ten seconds.
    lines = [each for each in done.stdout.splitlines() if not PROGRESS.fullmatch(each)]
    assert lines == ["too early to judge", "out"]
    assert list(tmp_path.glob("out/wandb/offline-run-*/files/media/table/*.json"))


def test_without_a_home_a_report_is_silent(folder):
    done = shell(folder, f"{GRADLAB} report out", HOME="/proc/none", MPLCONFIGDIR=None)
    assert (done.returncode, done.stderr) == (0, "")

"""The commands and examples of the README run as printed, in order, with the output shown."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.printed import assert_printed

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(bash|python|text)\n(.*?)```", README, flags=re.DOTALL)
SETUP = re.compile(r"^(make|git|pip)\b", re.MULTILINE)


def run(command: list[str], folder: Path) -> str:
    """Run a command in a folder, with this environment's `gradlab` on the PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_example_runs_and_prints_its_output(tmp_path):
    printed, compared = "", 0
    for language, block in BLOCKS:
        if language == "bash" and not SETUP.search(block):
            run(["bash", "-euo", "pipefail", "-c", block], tmp_path)
        elif language == "python":
            printed = run([sys.executable, "-W", "error", "-c", block], tmp_path)
        elif language == "text":
            assert_printed(block, printed)
            compared += 1
    assert compared == 1
    assert {language for language, _ in BLOCKS} == {"bash", "python", "text"}


def test_it_is_short():
    assert len(README.splitlines()) <= 110


def test_its_links_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target

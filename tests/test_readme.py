"""The README's commands, run as they stand, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_every_example_runs(tmp_path):
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    setup = re.compile(r"\b(make|git|pip)\b")
    commands = [block for block in blocks("bash") if not setup.search(block)]
    assert len(commands) >= 2
    root = Path(__file__).parents[1]
    (tmp_path / "experiments").symlink_to(root / "experiments")
    for block in commands:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    for block in blocks("python"):
        script = [sys.executable, "-W", "error", "-c", block]
        done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stderr}"
    assert blocks("python")


def test_it_is_short():
    assert len(README.splitlines()) <= 110

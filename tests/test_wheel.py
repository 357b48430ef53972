"""The wheel, installed in another folder, runs anywhere with the configs that it contains."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from gradlab.results.load import load

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_contains_every_config_and_template(wheel):
    content = set(ZipFile(wheel).namelist())
    configs = {
        f"gradlab/conf/{f.relative_to(ROOT / 'conf').as_posix()}"
        for f in (ROOT / "conf").rglob("*.yaml")
    }
    assert len(configs) > 30
    assert configs <= content
    assert {"gradlab/pages/page.html.j2", "gradlab/py.typed"} <= content
    assert "hydra_plugins/gradlab_fused/launcher.py" in content
    assert "hydra_plugins/__init__.py" not in content  # other packages have plugins there too


def test_the_installed_wheel_runs_in_another_folder(wheel, tmp_path):
    installed, home = tmp_path / "module", tmp_path / "elsewhere"
    home.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", installed, wheel], check=True)
    environment = {**os.environ, "PYTHONPATH": str(installed)}

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=home, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run(
        "-c",
        "import gradlab, gradlab.config.choices as c; print(gradlab.__file__); print(c.conf_dir())",
    )
    assert [Path(line).parent for line in where.splitlines()] == [installed / "gradlab"] * 2
    assert "gradlab run" in run("-m", "gradlab", "--help")
    short = ["train.steps=3", "record.every=1", "model.depth=2", "tracking=none"]
    run("-m", "gradlab", "run", *short, "hydra.run.dir=out/a")
    frames = load(home / "out")
    assert len(frames.layers) == 9
    assert "4 at most in a stack" in run("-m", "gradlab", "run", "-m", *short, "seed=0,1,2,3")
    assert "1 run:" in run("-m", "gradlab", "report", "out")
    assert (home / "out" / "report" / "index.html").exists()

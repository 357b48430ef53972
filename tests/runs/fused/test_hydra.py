"""Hydra's tests of launchers: for other programs, the fused launcher equals the basic one."""

import sys
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from hydra.version import Version, VersionBase

import gradlab
from hydra_plugins.gradlab_fused.launcher import FusedLauncher

pytestmark = pytest.mark.filterwarnings("ignore:Future Hydra versions:UserWarning")
NAME = "fused"
FIRST = Version("1.1")  # Hydra's tests assume this version


@pytest.fixture(autouse=True)
def _as_gradlab(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gradlab"])
    monkeypatch.setattr(VersionBase.instance(), "version_base", FIRST)
    monkeypatch.setenv("PYTHONPATH", str(Path(gradlab.__file__).parents[1]))


def test_hydra_discovers_the_launcher():
    assert FusedLauncher.__name__ in [each.__name__ for each in Plugins.instance().discover()]


@pytest.mark.parametrize(("launcher_name", "overrides"), [(NAME, [])])
class TestFused(LauncherTestSuite):
    pass


@pytest.mark.parametrize(
    ("launcher_name", "overrides"), [(NAME, ["hydra.sweeper.max_batch_size=2"])]
)
class TestFusedInBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"), [({}, ["-m", f"hydra/launcher={NAME}"])]
)
class TestFusedIntegration(IntegrationTestSuite):
    pass

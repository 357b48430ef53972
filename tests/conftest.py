"""Every test runs with one thread, fixed seeds and no W&B account."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch read it

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("gradlab", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("gradlab")


@pytest.fixture(autouse=True)
def _fixed(monkeypatch, tmp_path_factory):
    torch.manual_seed(0)
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path_factory.getbasetemp() / "no-netrc"))

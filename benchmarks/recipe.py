"""The usual recipe for benchmarks/study.py: a Hydra script with W&B, `wandb.watch`, single jobs.

python benchmarks/recipe.py -m depth=5,10 activation=relu,gelu    # `Config` has the keys
"""

import math
import os
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import hydra
import numpy as np
import torch
import wandb
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "gelu": nn.GELU}
INITS = {
    "default": None,
    "xavier_normal": nn.init.xavier_normal_,
    "kaiming_normal": nn.init.kaiming_normal_,
    "orthogonal": nn.init.orthogonal_,
}


@dataclass
class Config:
    """Keys with their defaults."""

    depth: int = 5
    width: int = 64
    activation: str = "relu"
    init: str = "default"
    clip: str = "none"
    seed: int = 0
    steps: int = 100
    batch_size: int = 64
    lr: float = 0.1
    log_freq: int = 10
    hydra: Any = field(default_factory=lambda: {"job": {"chdir": False}})


ConfigStore.instance().store(name="config", node=Config)


def data(seed):
    """Return the digits, standardised."""
    x, y = load_digits(return_X_y=True)
    split = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    mean, std = split[0].mean(0), split[0].std(0)
    scale = np.where(std > 0, std, np.inf)
    x, x_test = (torch.tensor((each - mean) / scale, dtype=torch.float32) for each in split[:2])
    return x, x_test, torch.tensor(split[2]), torch.tensor(split[3])


def network(config, n_in, n_out):
    """Return an MLP."""
    widths = [n_in, *[config.width] * config.depth]
    layers = []
    for n, m in pairwise(widths):
        layers += [nn.Linear(n, m), ACTIVATIONS[config.activation]()]
    model = nn.Sequential(*layers, nn.Linear(widths[-1], n_out))
    init = INITS[config.init]
    for module in model:
        if init is not None and isinstance(module, nn.Linear):
            init(module.weight)
            nn.init.zeros_(module.bias)
    return model


@hydra.main(config_path=None, config_name="config", version_base="1.3")
def main(config) -> float:
    """Train one network."""
    torch.manual_seed(config.seed)
    x, x_test, y, y_test = data(config.seed)
    model = network(config, x.shape[1], 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=config.lr)
    loss_of = nn.CrossEntropyLoss()
    folder = HydraConfig.get().runtime.output_dir
    run = wandb.init(
        project="recipe",
        mode="offline",
        dir=folder,
        config=OmegaConf.to_container(config),
        settings=wandb.Settings(silent=True, console="off", disable_git=True),
    )
    run.watch(model, loss_of, log="all", log_freq=config.log_freq)
    order = torch.randperm(len(x)).repeat(math.ceil(config.steps * config.batch_size / len(x)))
    for step in range(config.steps):
        batch = order[step * config.batch_size : (step + 1) * config.batch_size]
        optimizer.zero_grad()
        output = model(x[batch])
        loss = loss_of(output, y[batch])
        loss.backward()
        if config.clip == "norm":
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        accuracy = (output.argmax(1) == y[batch]).float().mean()
        run.log({"loss": loss.item(), "accuracy": accuracy.item()})
    with torch.no_grad():
        test = loss_of(model(x_test), y_test).item()
    run.summary["test_loss"] = test
    run.finish()
    return test


if __name__ == "__main__":
    os.environ.setdefault("WANDB_SILENT", "true")
    main()
